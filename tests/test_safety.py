"""Mistakes are told with assertions off as well, and two trainings at once do not touch each other.

This file is also a script: `python -O test_safety.py` prints what each mistake of the table raises.
"""

from __future__ import annotations

import ast
import math
import os
import pickle
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim

PACKAGE = Path(sa.__file__).parent


def tensor(*shape: int, value: float = 0.5, grad: bool = False, dtype: Any = np.float32) -> sa.Tensor:
    return sa.Tensor(np.full(shape, value, dtype), requires_grad=grad)


class World:
    """A trained model with a checkpoint, in a folder of its own."""

    def __init__(self, folder: Path):
        sa.manual_seed(0)
        self.x = np.random.default_rng(0).random((8, 6), np.float32)
        self.model = sa.Autoencoder.dense((6, 4, 2))
        self.optimizer = optim.Adam(self.model.parameters())
        self.file = folder / "run.safetensors"
        self.trainer = sa.Trainer(self.model, self.optimizer)
        self.fit(checkpoint=self.file)

    def fit(self, x: Any = None, **options: Any) -> None:
        self.trainer.fit(self.x if x is None else x, progress=False, **options)

    def state(self) -> bytes:
        return pickle.dumps((self.model.state_dict(), self.optimizer.state_dict(), self.file.read_bytes()))

    def other(self) -> tuple[nn.Module, optim.Optimizer]:
        model = sa.Autoencoder.dense((6, 5, 2))
        return model, optim.Adam(model.parameters())


def twice(world: World) -> None:
    loss = (tensor(3, grad=True) * tensor(3)).sum()
    loss.backward()
    loss.backward()


def damaged(world: World) -> Path:
    path = world.file.with_name("damaged")
    path.write_bytes(world.file.read_bytes()[:-1] + b"?")
    return path


TABLE: dict[str, tuple[Callable[[World], object], type[Exception], list[str]]] = {
    # shapes
    "features into Linear": (lambda w: nn.Linear(784, 64)(tensor(5, 100)), ValueError, [r"\(5, 100\)", "784"]),
    "features into a model": (lambda w: w.model(tensor(5, 7)), ValueError, [r"\(5, 7\)", "6"]),
    "NHWC into Conv2d": (lambda w: nn.Conv2d(3, 4, 3)(tensor(2, 8, 9, 3)), ValueError,
                         [r"\(2, 8, 9, 3\)", "NHWC", r"\.transpose\(0, 3, 1, 2\)"]),
    "no batch into Conv2d": (lambda w: nn.Conv2d(3, 4, 3)(tensor(3, 8, 8)), ValueError, [r"\(3, 8, 8\)", "N, 3, H, W"]),
    "a kernel larger than the input": (lambda w: nn.Conv2d(1, 2, 5)(tensor(2, 1, 4, 4)), ValueError,
                                       [r"\(4, 4\)", r"\(5, 5\)", "smaller kernel or more padding"]),
    "a kernel larger than the padded input": (lambda w: nn.Conv2d(1, 2, 7, padding=1)(tensor(2, 1, 4, 4)), ValueError,
                                              [r"\(4, 4\)", r"\(7, 7\)", r"\(1, 1\)", "more padding"]),
    "a window larger than the input": (lambda w: nn.MaxPool2d(3)(tensor(2, 1, 2, 2)), ValueError, [r"\(2, 2\)"]),
    "a dilated kernel too large": (lambda w: nn.Conv2d(1, 2, 3, dilation=3)(tensor(2, 1, 6, 6)), ValueError,
                                   [r"\(6, 6\)"]),
    "shapes in a loss": (lambda w: F.mse_loss(tensor(8, 6), tensor(8, 1)), ValueError, [r"\(8, 6\)", r"\(8, 1\)"]),
    "shapes that do not broadcast": (lambda w: tensor(2, 3) + tensor(2, 4), ValueError, [r"2, ?3", r"2, ?4"]),
    "reshape": (lambda w: tensor(2, 3).reshape(4, 2), ValueError, ["6", r"4, ?2"]),
    # gradients
    "backward of a vector": (lambda w: (tensor(3, grad=True) * 2).backward(), RuntimeError, [r"\(3,\)", "scalar"]),
    "backward twice": (twice, RuntimeError, ["freed", "retain_graph=True"]),
    "nothing requires a gradient": (lambda w: tensor(3).sum().backward(), RuntimeError, ["requires a gradient"]),
    "integers with a gradient": (lambda w: sa.tensor([1, 2], dtype="int64", requires_grad=True), TypeError,
                                 ["int64", "floating point"]),
    "grad of the unrelated": (lambda w: sa.grad(tensor(3, grad=True).sum(), tensor(2, grad=True)), ValueError,
                              ["do not depend", r"\(2,\)"]),
    "optimiser of integers": (lambda w: optim.SGD([np.zeros(3)]), TypeError, ["ndarray"]),
    # losses
    "BCE above 1": (lambda w: F.binary_cross_entropy(tensor(3, value=1.5), tensor(3)), ValueError, [r"\[0, 1\]"]),
    "BCE below 0": (lambda w: F.binary_cross_entropy(tensor(3), tensor(3, value=-0.1)), ValueError, [r"\[0, 1\]"]),
    "labels": (lambda w: F.cross_entropy(tensor(2, 3), np.array([0, -1])), ValueError, ["-1", "0 to 2"]),
    # data and settings
    "empty data": (lambda w: w.fit(w.x[:0]), ValueError, [r"\(0, 6\)", "at least one sample"]),
    "batch size 0": (lambda w: w.fit(batch_size=0), ValueError, ["batch_size=0", "at least 1"]),
    "batch size 2.5": (lambda w: w.fit(batch_size=2.5), TypeError, ["batch_size=2.5", "integer"]),
    "a negative rate": (lambda w: optim.Adam(w.model.parameters(), lr=-0.1), ValueError, ["lr=-0.1"]),
    "a rate that is NaN": (lambda w: optim.SGD(w.model.parameters(), lr=math.nan), ValueError, ["lr=nan"]),
    "a seed below 0": (lambda w: sa.manual_seed(-1), ValueError, ["-1"]),
    "patience 0": (lambda w: sa.EarlyStopping(patience=0), ValueError, ["patience=0"]),
    "no layers": (lambda w: sa.Autoencoder.dense((6,)), ValueError, [r"\(6,\)"]),
    "an unknown loss": (lambda w: sa.Autoencoder.dense((6, 2), loss="l3"), ValueError, ["'l3'", "'bce'"]),
    "not finite": (lambda w: w.fit(w.x * np.nan), FloatingPointError, ["not finite", "step 1"]),
    # files
    "a checkpoint of another model": (lambda w: sa.load_checkpoint(w.file, *w.other()), ValueError,
                                      [r"run\.safetensors", "nothing was loaded", r"\(4, 6\).*\(5, 6\)"]),
    "a checkpoint into another optimiser": (
        lambda w: sa.load_checkpoint(w.file, w.model, optim.SGD(w.model.parameters())), ValueError,
        [r"run\.safetensors", "'Adam'", "SGD", "nothing was loaded"],
    ),
    "a checkpoint as weights": (lambda w: w.model.load_weights(w.file), ValueError, ["nothing was loaded"]),
    "a damaged checkpoint": (lambda w: sa.load_checkpoint(damaged(w), w.model), ValueError, ["damaged"]),
    "a damaged run": (lambda w: w.fit(checkpoint=damaged(w), resume=True), ValueError, ["damaged"]),
    "a run on other data": (lambda w: w.fit(w.x[:7], checkpoint=w.file, resume=True), ValueError, ["data"]),
    "no file": (lambda w: sa.load_checkpoint(w.file.with_name("x"), w.model), FileNotFoundError, ["x"]),
    "metadata": (lambda w: sa.save_checkpoint(w.file, w.model, x=(1,)), ValueError, ["metadata x"]),
    "damaged IDX": (lambda w: sa.data.read_idx(w.file), ValueError, [r"run\.safetensors", "IDX"]),
}  # fmt: skip


def complaint(name: str, folder: Path) -> str | None:
    """What is wrong with a mistake's error, or with what is left after it."""
    call, kind, patterns = TABLE[name]
    world = World(folder)
    before = world.state()
    try:
        call(world)
    except kind as error:
        message = str(error)
    except Exception as error:
        return f"{type(error).__name__} in place of {kind.__name__}: {error}"
    else:
        return "no error"
    if missing := [p for p in patterns if not re.search(p, message)]:
        return f"{missing} not in: {message}"
    return None if world.state() == before else f"something has changed, though it said: {message}"


@pytest.mark.parametrize("name", TABLE)
def test_a_mistake_is_told_and_changes_nothing(tmp_path: Path, name: str) -> None:
    assert complaint(name, tmp_path) is None


def test_the_same_without_assertions() -> None:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    run = subprocess.run([sys.executable, "-O", __file__], env=environment, capture_output=True, text=True)
    assert run.stdout.splitlines() == [f"{len(TABLE)} mistakes, assertions off"], run.stderr


def test_the_library_asserts_nothing() -> None:
    """What -O would take away is not there."""
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert) or isinstance(node, ast.Name) and node.id == "__debug__"
    ]
    assert found == []


# --- two at once ----------------------------------------------------------------------------------

IMAGES = np.random.default_rng(1).random((64, 1, 8, 8), np.float32)


def dense() -> nn.Module:
    return sa.Autoencoder.dense((64, 16, 4), activation="tanh")


def convolutional() -> nn.Module:
    return sa.autoencoders.ConvAutoencoder((1, 2, 4), "pool", loss="bce")


def normalised() -> nn.Module:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU())
    return sa.Autoencoder(encoder, nn.Sequential(nn.Linear(8, 64), nn.Sigmoid()), loss="bce")


def trainer_of(build: Callable[[], nn.Module]) -> sa.Trainer:
    sa.manual_seed(0)
    model = build()
    return sa.Trainer(model, optim.Adam(model.parameters(), lr=0.01))


def train(trainer: sa.Trainer) -> None:
    trainer.fit(IMAGES, IMAGES[:9], epochs=6, batch_size=10, progress=False)


def all_at_once(works: list[Callable[[], None]]) -> None:
    """Run them in threads that change places as often as they can."""
    failures: list[BaseException] = []
    start = threading.Barrier(len(works))

    def guarded(work: Callable[[], None]) -> None:
        try:
            start.wait()
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    if failures:
        raise failures[0]


def result(trainer: sa.Trainer) -> tuple:
    history = {n: v for n, v in trainer.history.items() if n not in ("seconds", "images_per_second")}
    return history, [a.tobytes() for a in trainer.model.state_dict().values()]


@pytest.mark.parametrize("kinds", [(dense, dense), (dense, convolutional), (normalised, convolutional, dense)])
def test_trainings_at_once_give_what_they_give_one_after_the_other(kinds: tuple) -> None:
    alone = [trainer_of(kind) for kind in kinds]
    for trainer in alone:
        train(trainer)
    together = [trainer_of(kind) for kind in kinds]
    all_at_once([lambda trainer=trainer: train(trainer) for trainer in together])
    assert [result(t) for t in together] == [result(t) for t in alone]


def test_two_validations_at_once_leave_the_random_generator_where_it_was() -> None:
    """The second begins before the first has ended, which ends first."""
    sa.manual_seed(5)
    wanted = sa.random.generator().random(3).tolist()
    sa.manual_seed(5)
    sa.random.generator()
    inside = {True: threading.Event(), False: threading.Event()}
    first_has_ended = threading.Event()

    class Slow(nn.Module):
        def __init__(self, first: bool) -> None:
            self.w, self.first = nn.Parameter(np.zeros(1, np.float32)), first

        def loss_terms(self, x: Any) -> dict[str, Any]:
            inside[self.first].set()
            (inside[False] if self.first else first_has_ended).wait(timeout=10)
            return {"loss": (self.w * x).mean()}

    def evaluate(first: bool) -> None:
        if not first:
            inside[True].wait(timeout=10)
        model = Slow(first)
        sa.Trainer(model, optim.SGD(model.parameters())).evaluate(np.ones((1, 1), np.float32))
        if first:
            first_has_ended.set()

    all_at_once([lambda: evaluate(True), lambda: evaluate(False)])
    assert sa.random.generator().random(3).tolist() == wanted


def test_no_grad_in_one_thread_is_none_of_the_others_business() -> None:
    entered, done = threading.Event(), threading.Event()
    seen: list[bool] = []

    def without() -> None:
        with sa.no_grad():
            entered.set()
            done.wait(timeout=10)

    def recording() -> None:
        entered.wait(timeout=10)
        seen.append((tensor(2, grad=True) * 2).requires_grad)
        done.set()

    all_at_once([without, recording])
    assert seen == [True]


if __name__ == "__main__":
    print(f"{len(TABLE)} mistakes, assertions {'on' if __debug__ else 'off'}")
    with tempfile.TemporaryDirectory() as folder:
        for name in TABLE:
            if fault := complaint(name, Path(folder)):
                print(f"{name}: {fault}")
