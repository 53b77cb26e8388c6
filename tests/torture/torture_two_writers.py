"""Two processes with two threads each save to one path until they are killed; and two runs want one checkpoint.

No save fails, the file is whole and of one writer after each kill, and the next save leaves nothing else in the folder.
Of two runs with one checkpoint the second is refused by name while the first lives, and goes on once it was killed.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import common
import numpy as np

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim
from scratchae.files.storage import FileInUse

N = common.count(100)
SIZE = 200
X = np.random.default_rng(0).random((64, 6), np.float32)


def save_for_ever(path: Path, writer: int, told: int) -> None:
    model = nn.Linear(SIZE, SIZE)
    for p in model.parameters():
        p.data[...] = writer
    while True:
        try:
            sa.save_checkpoint(path, model, writer=writer)
            os.write(told, b".")
        except BaseException as error:
            os.write(told, f"\n{type(error).__name__}: {error}\n".encode())


def two_threads(path: Path, process: int, told: int) -> None:
    threading.Thread(target=save_for_ever, args=(path, 2 * process + 1, told), daemon=True).start()
    save_for_ever(path, 2 * process, told)


def fit(path: Path, epochs: int, told: int | None = None) -> None:
    """A run, slow enough to be found at work, which tells each step."""
    sa.manual_seed(0)
    model = sa.Autoencoder.dense((6, 4, 2))
    optimizer = optim.Adam(model.parameters())
    step = optimizer.step

    def slow_step() -> None:
        step()
        if told is not None:
            os.write(told, b".")
            time.sleep(0.001)

    optimizer.step = slow_step  # type: ignore[method-assign]
    sa.Trainer(model, optimizer, loss=F.mse_loss).fit((X, X), epochs=epochs, batch_size=8, checkpoint=path, resume=True,
                                                      progress=False)  # fmt: skip


def child(work: object, *arguments: object) -> tuple[int, int]:
    """A forked process that does `work` until it is killed: its number, and the pipe that it tells things by."""
    out, told = os.pipe()
    number = os.fork()
    if not number:
        work(*arguments, told)  # type: ignore[operator]
        os._exit(0)
    os.close(told)
    return number, out


def end(number: int, out: int) -> str:
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
    with os.fdopen(out, "r") as pipe:
        return pipe.read()


def main() -> None:
    problems: list[str] = []
    saved = refused = left = 0
    random.seed(0)
    with common.folder() as folder:
        path = folder / "run.safetensors"
        for trial in range(N):
            children = [child(two_threads, path, i) for i in range(2)]
            for _, out in children:
                os.read(out, 1)
            time.sleep(random.random() * 0.1)
            for number, out in children:
                lines = end(number, out).split("\n")
                saved += sum(line.count(".") for line in lines if not line.strip("."))
                problems += [f"trial {trial}: {line}" for line in lines if line.strip(".")]
            left += len(os.listdir(folder)) > 1
            model = nn.Linear(SIZE, SIZE)
            try:
                writer = sa.load_checkpoint(path, model)["writer"]
            except Exception as error:
                problems.append(f"trial {trial}: {type(error).__name__}: {error}")
            else:
                if any((p.data != writer).any() for p in model.parameters()):
                    problems.append(f"trial {trial}: a mixture of writers")
            sa.save_checkpoint(path, nn.Linear(2, 2))
            if os.listdir(folder) != [path.name]:
                problems.append(f"trial {trial}: left over: {os.listdir(folder)}")
        for trial in range(max(1, N // 5)):
            path = folder / f"{trial}"
            number, out = child(fit, path, 10**6)
            os.read(out, 1)
            try:
                fit(path, 2)
                problems.append(f"run {trial}: a second run was not refused")
            except FileInUse as error:
                refused += 1
                if str(path) not in str(error):
                    problems.append(f"run {trial}: {error}")
            time.sleep(random.random() * 0.05)
            end(number, out)
            done = sa.load_checkpoint(path, sa.Autoencoder.dense((6, 4, 2)))["epoch"] if path.exists() else 0
            fit(path, done + 1)
            if odd := [name for name in os.listdir(folder) if name.startswith(f".{trial}.")]:
                problems.append(f"run {trial}: left over: {odd}")
    common.verdict(problems, f"{N} times four writers killed, {left} times a temporary file left, {saved:,} saves, "
                             f"none failed, the file whole each time; {refused} second runs refused")  # fmt: skip


main()
