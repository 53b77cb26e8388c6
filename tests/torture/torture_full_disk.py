"""A limit on the size of files stands in for a full disk: the previous checkpoint stays, and the run can go on.

First a save under every kind of limit; then a training run that meets one, and is resumed without it.
"""

from __future__ import annotations

import random
import resource

import common
import numpy as np
import test_resume

import scratchae as sa
from scratchae import nn, optim

N = common.count(200)


def limit(size: int) -> None:
    """SIGXFSZ, which would end the process, is ignored by Python."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def main() -> None:
    problems: list[str] = []
    random.seed(0)
    with common.folder() as folder:
        path = folder / "a" / "run.safetensors"
        path.parent.mkdir()
        model = nn.Linear(100, 100)
        optimizer = optim.Adam(model.parameters())
        sa.save_checkpoint(path, model, optimizer, version="old")
        old, size = path.read_bytes(), path.stat().st_size
        model.weight.data += np.float32(1)
        for i in range(N):
            bytes_free = random.randrange(size) if i > 2 else (0, 1, size - 1)[i]
            limit(bytes_free)
            try:
                sa.save_checkpoint(path, model, optimizer, version="new")
                problems.append(f"{bytes_free} bytes: no error")
            except OSError as error:
                if str(path) not in str(error) or "as it was" not in str(error):
                    problems.append(f"{bytes_free} bytes: {error}")
            limit(resource.RLIM_INFINITY)
            if path.read_bytes() != old or list(path.parent.iterdir()) != [path]:
                problems.append(f"{bytes_free} bytes: the old file is not as it was, or something was left")

        for name in test_resume.RUNS:
            wanted = test_resume.uninterrupted(name, folder / name)
            run = test_resume.Run(name, folder / f"{name} broken")
            run.at_step(10, lambda: limit(1000))
            try:
                run.fit()
                problems.append(f"{name}: no error")
            except OSError as error:
                if str(folder) not in str(error) and name != "variational":  # which meets the limit with its picture
                    problems.append(f"{name}: {error}")
            limit(resource.RLIM_INFINITY)
            run = test_resume.Run(name, folder / f"{name} broken", seed=99)
            run.fit()
            if run.ended() != wanted:
                problems.append(f"{name}: different after the resumption")
    common.verdict(problems, f"{N} limits below the file's {size:,} bytes, old file bit-equal each time; "
                             f"{len(test_resume.RUNS)} runs stopped by one and resumed, bit-equal")  # fmt: skip


main()
