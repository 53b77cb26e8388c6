"""A memory-mapped array of 20 GB (a sparse file: it takes no room on the disk), shuffled: memory stays small."""

from __future__ import annotations

import common
import numpy as np

import scratchae as sa
from scratchae import optim

STEPS = common.count(400)
ROWS, FEATURES, BATCH = 6_400_000, 784, 64
ALLOWED = 500.0  # MB


class Enough(Exception):
    """So many steps and no more."""


def main() -> None:
    with common.folder() as folder:
        path = folder / "large.npy"
        np.lib.format.open_memmap(path, "w+", np.float32, (ROWS, FEATURES))
        gigabytes = path.stat().st_size / 1e9
        x = np.load(path, mmap_mode="r")
        model = sa.Autoencoder.dense((FEATURES, 32, 8))
        optimizer = optim.Adam(model.parameters())
        update, seen = optimizer.step, []

        def step() -> None:
            update()
            seen.append(common.memory())
            if len(seen) == STEPS:
                raise Enough

        optimizer.step = step  # type: ignore[method-assign]
        start = common.memory()
        try:
            sa.Trainer(model, optimizer).fit(x, batch_size=BATCH, checkpoint=folder / "run", checkpoint_every=100,
                                             progress=False)  # fmt: skip
        except Enough:
            pass
        peak = common.memory("VmHWM")
    problems = [f"peak {peak:.0f} MB, allowed {ALLOWED:.0f}"] if peak > ALLOWED else []
    problems += [] if len(seen) == STEPS else [f"{len(seen)} steps"]
    half = len(seen) // 2
    common.verdict(problems, f"{gigabytes:.1f} GB, {len(seen)} shuffled steps of {BATCH} rows: peak {peak:.0f} MB ("
                             f"{start:.0f} at first; at most {max(seen[:half]):.0f} in the first half of the steps, "
                             f"{max(seen[half:]):.0f} in the second)")  # fmt: skip


main()
