"""Mistakes, and what the error must say: what was given, what was expected, what to do. Nothing changes by it.

The checks hold without assertions too: this file is also a script, which the last test runs under `python -O`.
"""

from __future__ import annotations

import math
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim


class World:
    """A model in training: weights, optimiser state, gradients and modes."""

    def __init__(self) -> None:
        sa.manual_seed(0)
        self.x = np.random.default_rng(0).random((8, 6), np.float32)
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Dropout(0.5), nn.Linear(4, 2))
        self.model = sa.Autoencoder(encoder, nn.Sequential(nn.Linear(2, 6), nn.Sigmoid()), loss="bce")
        self.optimizer = optim.Adam(self.model.parameters())
        self.trainer = sa.Trainer(self.model, self.optimizer)
        self.trainer.fit(self.x, batch_size=4, progress=False)
        self.optimizer.zero_grad()
        self.model.loss(sa.Tensor(self.x)).backward()
        self.infinite = tensor(2, grad=True)
        self.infinite.grad = np.array([1, np.inf])

    def bits(self) -> bytes:
        grads = [p.grad for p in self.model.parameters()]
        modes = [m.training for m in self.model.modules()]
        return pickle.dumps((self.model.state_dict(), self.optimizer.state_dict(), grads, modes, self.x))

    def fit(self, x: Any = None, **options: Any) -> None:
        self.trainer.fit(self.x if x is None else x, progress=False, **options)


def tensor(*shape: int, dtype: Any = np.float32, value: float = 0.5, grad: bool = False) -> sa.Tensor:
    return sa.Tensor(np.full(shape, value, dtype), requires_grad=grad)


def backward_twice(w: World) -> None:
    loss = (tensor(3, grad=True) * tensor(3)).sum()
    loss.backward()
    loss.backward()


def under_no_grad(w: World) -> None:
    with sa.no_grad():
        loss = w.model.loss(sa.Tensor(w.x))
    loss.backward()


def exploding(w: World) -> None:
    net = nn.Linear(6, 6)
    net.weight.data[...] = 1e30
    with np.errstate(over="ignore", invalid="ignore"):
        sa.Trainer(net, optim.SGD(net.parameters()), loss=F.mse_loss).fit((w.x, w.x), progress=False)


def with_nan(w: World) -> np.ndarray:
    x = w.x.copy()
    x[0, 3] = math.nan
    return x


Mistake = tuple[Callable[[World], object], "type[Exception] | tuple[type[Exception], ...]", list[str]]
TABLE: dict[str, Mistake] = {
    # shapes
    "features into Linear": (
        lambda w: nn.Linear(784, 64)(tensor(5, 100)), ValueError,
        [r"Linear\(784, 64\)", r"\(5, 100\)", "last dimension must be 784", r"\(64, 784\)"],
    ),
    "images into Linear": (lambda w: nn.Linear(784, 64)(tensor(5, 1, 28, 28)), ValueError, [r"nn\.Flatten\(\)"]),
    "features in a chain": (
        lambda w: nn.Sequential(nn.ReLU(), nn.Linear(3, 2), nn.Linear(3, 2))(tensor(5, 3)), ValueError,
        ["layer 2", r"Linear\(3, 2\)", r"\(5, 2\)"],
    ),
    "features in a chain of chains": (
        lambda w: nn.Sequential(nn.ReLU(), nn.Sequential(nn.Tanh(), nn.Linear(4, 2)))(tensor(5, 3)), ValueError,
        ["layer 1: layer 1: Linear"],
    ),
    "features into an encoder": (lambda w: w.model.encode(tensor(5, 7)), ValueError, ["layer 1", r"\(5, 7\)", "6"]),
    "LayerNorm": (lambda w: nn.LayerNorm((2, 3))(tensor(3, 2)), ValueError, [r"LayerNorm\(\(2, 3\)\)", r"\(3, 2\)"]),
    "LayerNorm on too little": (lambda w: nn.LayerNorm((2, 3))(tensor(3)), ValueError, [r"\(3,\)", "2, 3"]),
    "BatchNorm features": (
        lambda w: nn.BatchNorm1d(4)(tensor(8, 5)), ValueError, [r"BatchNorm1d\(4\)", r"\(8, 5\)", r"\(N, C\)", "C = 4"],
    ),
    "BatchNorm of images": (lambda w: nn.BatchNorm1d(4)(tensor(2, 4, 3, 3)), ValueError, [r"\(2, 4, 3, 3\)", "C, L"]),
    "BatchNorm of one": (lambda w: nn.BatchNorm1d(4)(tensor(1, 4)), ValueError, [r"\(1, 4\)", "one value", "train"]),
    "Flatten": (lambda w: nn.Flatten()(tensor(3)), ValueError, ["Flatten", r"\(3,\)", "over 1 dim"]),
    "Unflatten": (lambda w: nn.Unflatten(1, (2, 3))(tensor(4, 5)), ValueError, [r"\(4, 5\)", "6 in dimension 1"]),
    # dtypes
    "float64 into float32": (
        lambda w: w.model(tensor(8, 6, dtype=np.float64)), TypeError,
        ["layer 1", "input is float64", "weights are float32", r"\.astype\('float32'\)", r"\.to\(np\.float64\)"],
    ),
    "float32 into float64": (
        lambda w: nn.Linear(6, 2).to(np.float64)(tensor(8, 6)), TypeError,
        ["input is float32", "weights are float64", r"\.astype\('float64'\)"],
    ),
    "integer images": (lambda w: w.fit(np.int16(w.x * 255)), TypeError, ["int16", r"\.astype\('float32'\)"]),
    "integers into Linear": (
        lambda w: nn.Linear(3, 2)(tensor(2, 3, dtype=int)), TypeError, ["int64", r"\.astype\('float32'\)"],
    ),
    "integers with a gradient": (
        lambda w: sa.tensor(np.arange(3), requires_grad=True), TypeError, ["int64", "floating point", r"\.astype\("],
    ),
    "to integers": (lambda w: w.model.to(np.int32), ValueError, ["int32", "'cpu'", "'gpu'", "floating point"]),
    "to cuda": (lambda w: w.model.to("cuda"), ValueError, ["'cuda'", "'cpu'", "'gpu'"]),
    # backward
    "backward of a vector": (
        lambda w: (tensor(3, grad=True) * 2).backward(), RuntimeError, [r"\(3,\)", r"\.sum\(\)", "pass a gradient"],
    ),
    "backward twice": (backward_twice, RuntimeError, ["freed", "retain_graph=True"]),
    "nothing requires a gradient": (
        lambda w: (tensor(3) * tensor(3)).sum().backward(), RuntimeError,
        ["nothing requires a gradient", r"sum on float32\[3\]"],
    ),
    "under no_grad": (under_no_grad, RuntimeError, ["nothing requires a gradient", r"no_grad\(\)"]),
    "gradient's shape": (
        lambda w: (tensor(3, grad=True) * 2).backward(np.ones(2)), ValueError, [r"\(2,\)", r"\(3,\)"],
    ),
    ".grad's shape": (
        lambda w: setattr(w.model.decoder[0].bias, "grad", np.ones(5)), ValueError, [r"\(5,\)", r"\(6,\)"],
    ),
    # losses
    **{
        f"shapes in {name}": (
            lambda w, loss=loss: loss(tensor(8, 6), tensor(8, 1)), ValueError,
            [name, r"\(8, 6\)", r"\(8, 1\)", "equal"],
        )
        for name, loss in {"mse_loss": F.mse_loss, "l1_loss": F.l1_loss, "binary_cross_entropy": F.binary_cross_entropy,
                           "binary_cross_entropy_with_logits": nn.BCEWithLogitsLoss(), "kl_div": nn.KLDivLoss(),
                           "gaussian_kl": F.gaussian_kl}.items()
    },
    "target of another rank": (lambda w: w.model.loss(tensor(8, 6), tensor(8, 6, 1)), ValueError, [r"\(8, 6, 1\)"]),
    "BCE of logits": (
        lambda w: F.binary_cross_entropy(tensor(3, value=-2.5), tensor(3)), ValueError,
        [r"input ranges over \[-2\.5, -2\.5\]", r"\[0, 1\]", "pass logits to binary_cross_entropy_with_logits"],
    ),
    "BCE target": (
        lambda w: F.binary_cross_entropy(tensor(3), tensor(3, value=255)), ValueError,
        [r"target.*\[255, 255\]", r"\[0, 1\]", "scale"],
    ),
    "logits' target": (
        lambda w: nn.BCEWithLogitsLoss()(tensor(3), tensor(3, value=-1)), ValueError, [r"\[-1, -1\]", "scale"],
    ),
    "labels of floats": (
        lambda w: F.cross_entropy(tensor(4, 3), tensor(4)), TypeError, ["float32", "integers", r"\.astype\('int64'\)"],
    ),
    "labels out of range": (
        lambda w: F.cross_entropy(tensor(2, 3), np.array([0, 3])), ValueError, [r"\[0, 3\]", "expected 0 to 2"],
    ),
    "reduction": (lambda w: nn.MSELoss("average"), ValueError, ["MSELoss", "'average'", "mean.*sum.*none"]),
    "reduction of cross-entropy": (lambda w: nn.CrossEntropyLoss("batchmean"), ValueError, ["'batchmean'", "none"]),
    "a loss that gives a dict": (
        lambda w: sa.Autoencoder.dense((6, 2), loss=lambda y, x: {"mse": y.mean()}).loss(tensor(8, 6)), TypeError,
        ["Autoencoder: the loss gave a dict; expected one Tensor", "loss_terms"],
    ),
    "a VAE's loss that gives a pair": (
        lambda w: sa.VariationalAutoencoder.dense((6, 4, 2), loss=lambda y, x: (y, x)).loss(tensor(8, 6)), TypeError,
        ["VariationalAutoencoder: the loss gave a tuple", "let loss_terms"],
    ),
    "a trainer's loss that gives a dict": (
        lambda w: sa.Trainer(w.model, w.optimizer, loss=lambda y, x: {"mse": y.mean()}).fit((w.x, w.x)), TypeError,
        ["'loss' is a dict; expected a Tensor", "let the model's loss_terms return it"],
    ),
    # data and training
    "empty data": (lambda w: w.fit(w.x[:0]), ValueError, [r"\(0, 6\)", "at least one sample"]),
    "empty array": (lambda w: w.model.transform(w.x[:0]), ValueError, [r"\(0, 6\)", "at least one sample"]),
    "batch size 0": (lambda w: w.fit(batch_size=0), ValueError, ["batch_size=0", "at least 1"]),
    "batch size -3": (lambda w: w.model.reconstruct(w.x, batch_size=-3), ValueError, ["batch_size=-3", "at least 1"]),
    "no epochs": (lambda w: w.fit(epochs=0), ValueError, ["epochs=0", "at least 1"]),
    "unscaled pixels": (lambda w: w.fit(w.x * 255), ValueError, [r"\[0, 1\]", "scale the data"]),
    "NaN in the data": (
        lambda w: w.fit(with_nan(w), shuffle=False, batch_size=4), FloatingPointError,
        ["'reconstruction'", "not finite", "step 1", "Check the data"],
    ),
    "exploding": (exploding, FloatingPointError, ["'loss'", "inf", "not finite", "step 1", "learning rate"]),
    # optimisers
    "negative lr": (lambda w: optim.SGD(w.model.parameters(), lr=-1), ValueError, ["lr=-1", "at least 0"]),
    "lr NaN": (lambda w: setattr(w.optimizer, "lr", math.nan), ValueError, ["lr=nan", "at least 0"]),
    "lr infinite": (lambda w: optim.Adam(w.model.parameters(), lr=math.inf), ValueError, ["lr=inf", "finite"]),
    "nothing to optimise": (lambda w: optim.SGD(nn.ReLU().parameters()), ValueError, ["no parameters"]),
    "a result to optimise": (lambda w: optim.SGD([tensor(3, grad=True) * 2]), ValueError, [r"\(3,\)", "leaves"]),
    "infinite gradient": (
        lambda w: optim.clip_grad_norm([*w.model.parameters(), w.infinite], 1.0), ValueError,
        ["inf, not finite", "nothing was changed"],
    ),
    # state
    "another model's state": (
        lambda w: w.model.load_state_dict(nn.Sequential(nn.Linear(6, 4)).state_dict()), ValueError,
        ["nothing was loaded", "missing: encoder.1.weight", "missing: decoder.0.bias", "unexpected: 0.weight"],
    ),
    "weights of another size": (
        lambda w: w.model.load_state_dict({**w.model.state_dict(), "decoder.0.bias": np.ones(5)}), ValueError,
        ["nothing was loaded", r"decoder\.0\.bias is \(5,\) in the state, \(6,\) in the model"],
    ),
    "another optimiser's state": (
        lambda w: w.optimizer.load_state_dict(optim.SGD(w.model.parameters()).state_dict()), ValueError,
        ["'SGD'", "Adam", "nothing was loaded"],
    ),
    # layers' arguments
    "Linear of nothing": (lambda w: nn.Linear(0, 3), ValueError, ["in_features=0", "at least 1"]),
    "Linear of a fraction": (lambda w: nn.Linear(3, 1.5), ValueError, ["out_features=1.5", "integer"]),
    "Dropout": (lambda w: nn.Dropout(1.5), ValueError, ["p=1.5", r"in \[0, 1\]"]),
    "GaussianNoise": (lambda w: nn.GaussianNoise(-1), ValueError, ["std=-1", "at least 0"]),
    "Sequential of a list": (
        lambda w: nn.Sequential([nn.ReLU()]), TypeError, ["argument 0", "list", r"nn\.ReLU\(\) or F\.relu"],
    ),
    "Sequential of a class": (lambda w: nn.Sequential(nn.ReLU(), nn.Tanh), TypeError, ["argument 1", "type"]),
    "Sequential of a string": (lambda w: nn.Sequential("relu"), TypeError, ["argument 0", "str"]),
    "Residual of a function": (lambda w: nn.Residual(F.relu), TypeError, ["net is a function", r"nn\.Sequential"]),
    "Residual of another shape": (
        lambda w: nn.Residual(nn.Linear(6, 4))(tensor(8, 6)), ValueError, [r"\(8, 4\)", r"\(8, 6\)", "equal shapes"],
    ),
    "GroupNorm channels": (
        lambda w: nn.GroupNorm(2, 4)(tensor(8, 5)), ValueError, [r"GroupNorm\(2, 4\)", r"\(8, 5\)", "C = 4"],
    ),
    "GroupNorm on no pixel": (lambda w: nn.GroupNorm(2, 4)(tensor(8, 4, 0)), ValueError, [r"\(8, 4, 0\)", "length 0"]),
    "GroupNorm groups": (lambda w: nn.GroupNorm(4, 6), ValueError, ["num_groups=4", "num_channels=6", "divide"]),
    "GroupNorm dtype": (
        lambda w: nn.GroupNorm(2, 4)(tensor(8, 4, dtype=np.float64)), TypeError, [r"GroupNorm\(2, 4\)", "float64"],
    ),
    "InstanceNorm2d channels": (
        lambda w: nn.InstanceNorm2d(4)(tensor(2, 3, 5, 5)), ValueError, [r"InstanceNorm2d\(4\)", r"\(2, 3, 5, 5\)"],
    ),
    "InstanceNorm2d of a pixel": (
        lambda w: nn.InstanceNorm2d(4)(tensor(2, 4, 1, 1)), ValueError, [r"\(2, 4, 1, 1\)", "two pixels"],
    ),
    "InstanceNorm2d of integers": (
        lambda w: nn.InstanceNorm2d(4)(tensor(2, 4, 3, 3, dtype=np.uint8)), TypeError, ["uint8", r"\.astype\("],
    ),
    "Hardtanh": (lambda w: nn.Hardtanh(1, 1), ValueError, ["max_val=1", r"in \(1\.0, inf\)"]),
    "no forward": (lambda w: nn.Module()(w.x), NotImplementedError, ["Module", "forward"]),
    "gain": (lambda w: nn.init.gain("swish"), ValueError, ["'swish'", "'relu'"]),
    "fan": (lambda w: nn.init.kaiming_uniform_(tensor(2, 2), mode="in"), ValueError, ["'in'", "'fan_in'"]),
    "fans of a vector": (lambda w: nn.init.xavier_normal_(tensor(3)), ValueError, [r"\(3,\)", "two axes"]),
}  # fmt: skip


def complaint(name: str) -> str | None:
    """What is wrong with the error that a mistake raises, or with what it leaves behind."""
    call, kind, patterns = TABLE[name]
    world = World()
    before = world.bits()
    try:
        call(world)
    except kind as error:
        message = str(error)
    except Exception as error:
        return f"{type(error).__name__} in place of {kind}: {error}"
    else:
        return "no error"
    if missing := [p for p in patterns if not re.search(p, message)]:
        return f"{missing} not in: {message}"
    return None if world.bits() == before else f"something has changed, though it said: {message}"


@pytest.mark.parametrize("name", TABLE)
def test_the_error_says_what_helps_and_nothing_changes(name: str) -> None:
    assert complaint(name) is None


def test_the_errors_are_the_same_under_python_O() -> None:
    here = {name: fault for name in TABLE if (fault := complaint(name))}
    environment = {**os.environ, "PYTHONPATH": str(Path(sa.__file__).parents[1])}
    run = subprocess.run([sys.executable, "-O", __file__], env=environment, capture_output=True, text=True)
    assert run.stdout.splitlines() == [f"{len(TABLE)} mistakes, assertions off", *map(str, here)], run.stderr


if __name__ == "__main__":
    print(f"{len(TABLE)} mistakes, assertions {'on' if __debug__ else 'off'}")
    for name in TABLE:
        if fault := complaint(name):
            print(name)
            print(f"{name}: {fault}", file=sys.stderr)
