"""SIGKILL at random instants while a process does nothing but save: a whole file is there each time.

The child saves version 1, 2, 3, ... over and over, and tells each one through a pipe once it is saved. What is found
after the kill must load, be all of one version, and not be older than the last one told.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import common
import numpy as np

import scratchae as sa
from scratchae import nn, optim

SIZE = 300  # the file has about 1 MB
N = common.count(100)


def versioned(version: int) -> tuple[nn.Module, optim.Optimizer]:
    model = nn.Linear(SIZE, SIZE)
    optimizer = optim.Adam(model.parameters())
    optimizer.zero_grad()
    model(sa.Tensor(np.ones((1, SIZE), np.float32))).sum().backward()
    optimizer.step()
    for p in model.parameters():
        p.data[...] = version
    return model, optimizer


def save_for_ever(path: Path, version: int, told: int) -> None:
    model, optimizer = versioned(version)
    while True:
        version += 1
        for p in model.parameters():
            p.data[...] = version
        sa.save_checkpoint(path, model, optimizer, version=version)
        os.write(told, b"%d\n" % version)


def main() -> None:
    problems, cut_off, last = [], 0, 0
    random.seed(0)
    with common.folder() as folder:
        path = folder / "run.safetensors"
        for trial in range(N):
            out, told = os.pipe()
            if not (child := os.fork()):
                save_for_ever(path, last, told)
            os.close(told)
            with os.fdopen(out, "rb") as pipe:
                first = pipe.readline()  # it is at work
                time.sleep(random.random() * 0.05)
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                versions = [first, *pipe.readlines()]
            last = int(versions[-1])
            cut_off += any(p != path for p in folder.iterdir())
            model, optimizer = versioned(0)
            try:
                found = sa.load_checkpoint(path, model, optimizer)["version"]
            except Exception as error:
                problems.append(f"trial {trial}: {type(error).__name__}: {error}")
                continue
            if found < last or any((p.data != found).any() for p in model.parameters()):
                problems.append(f"trial {trial}: version {found}, of which {last} was already told")
            last = found
    common.verdict(problems, f"{N} kills, {cut_off} of them in the middle of writing; {last} versions saved, "
                             "the newest told one or a newer one was whole each time")  # fmt: skip


main()
