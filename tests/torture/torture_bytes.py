"""Every corruption of one byte and every truncation of a checkpoint is refused. The argument: values tried per byte."""

from __future__ import annotations

import os
import random

import common

import scratchae as sa
from scratchae import nn, optim
from scratchae.files.storage import FileError, read_arrays

N = min(common.count(255), 255)


def main() -> None:
    problems: list[str] = []
    random.seed(0)
    cases = 0
    with common.folder() as folder:
        path = folder / "run.safetensors"
        model = nn.Linear(2, 1)
        sa.save_checkpoint(path, model, optim.SGD(model.parameters(), momentum=0.9), epoch=3)
        good = path.read_bytes()

        def refused(what: str) -> None:
            nonlocal cases
            cases += 1
            try:
                read_arrays(path, checked=True)
                problems.append(f"{what}: taken")
            except FileError:
                pass
            except BaseException as error:
                problems.append(f"{what}: {type(error).__name__}: {error}")

        # In place, and never emptied: ext4 would write a file that was emptied and filled to the disk each time.
        file = os.open(path, os.O_RDWR)
        for place, byte in enumerate(good):
            for value in random.sample([v for v in range(256) if v != byte], N):
                os.pwrite(file, bytes([value]), place)
                refused(f"byte {place} = {value}")
            os.pwrite(file, bytes([byte]), place)
        for tail in range(256):
            os.pwrite(file, bytes([tail]), len(good))
            refused(f"byte {tail} behind it")
        for length in reversed(range(len(good))):
            os.ftruncate(file, length)
            refused(f"the first {length} bytes")
        for start in range(1, len(good)):
            os.pwrite(file, good[start:], 0)
            os.ftruncate(file, len(good) - start)
            refused(f"all but the first {start} bytes")
    common.verdict(problems, f"{cases:,} files ({len(good):,} bytes with {N} other values each, all cuts), "
                             f"{cases - len(problems):,} refused")  # fmt: skip


main()
