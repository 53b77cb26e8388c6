"""What `mpi_with_extras.py` starts under mpiexec: one training run, its result written by every process.

mpiexec -n 2 python tests/mpi_program.py CASE FOLDER
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import nn, optim

CASES: dict[str, Callable[[], sa.Autoencoder]] = {}


def case(make: Callable[[], sa.Autoencoder]) -> Callable[[], sa.Autoencoder]:
    CASES[make.__name__] = make
    return make


@case
def dense():
    return sa.Autoencoder.dense((36, 20, 5))


@case
def convolutional():
    return sa.ConvAutoencoder((1, 4, 4), code_size=5, size=8)


@case
def variational():
    return sa.VariationalAutoencoder.dense((36, 20, 5))


@case
def normalised():
    """Batch statistics, dropout, noise, and a penalty on the batch's mean: all look beyond one process's rows."""

    class Both(sa.SparseAutoencoder, sa.DenoisingAutoencoder):
        pass

    # A bias before BatchNorm has no gradient but rounding, which Adam would blow up.
    layers = [nn.Linear(36, 20, bias=False), nn.BatchNorm1d(20), nn.ReLU(), nn.Dropout(0.2), nn.Linear(20, 5)]
    options = {"corruption": "masking", "amount": 0.3, "weight": 0.1}
    return Both(nn.Sequential(*layers, nn.Sigmoid()), nn.Linear(5, 36), "mse", **options)


@case
def contractive():
    return sa.ContractiveAutoencoder.dense((36, 5))


def images(name: str, dtype: str) -> np.ndarray:
    shape = (150, 1, 8, 8) if name == "convolutional" else (150, 36)
    return np.random.default_rng(0).random(shape).astype(dtype)


def fail() -> None:
    raise RuntimeError("a disk is on fire")


def send(number: int) -> None:
    os.kill(os.getpid(), number)


FAULTS: dict[str, Callable[[], object]] = {
    "raise": fail,
    "exit": lambda: sys.exit(7),
    "exit 0": lambda: sys.exit(),
    "leave": lambda: os._exit(9),
    "kill": lambda: send(signal.SIGKILL),
    "term": lambda: send(signal.SIGTERM),
    "term twice": lambda: (send(signal.SIGTERM), send(signal.SIGTERM)),
}


class Fault:
    """Something happens once to the last process (`everywhere`: to all of them), after the first epoch.

    It is no `sa.Callback`, whose options must be the same in a run that goes on.
    """

    def __init__(self, what: str, everywhere: bool):
        self.what, self.everywhere, self.happened = what, everywhere, False

    def on_epoch_end(self, trainer, row):
        here = self.everywhere or trainer.world.rank == trainer.world.size - 1
        if here and not self.happened:
            self.happened = True
            trainer.stop = self.what == "stop"
            FAULTS.get(self.what, lambda: None)()


def fault_in(place: str, model: nn.Module, loader: sa.DataLoader) -> None:
    """Let the model fail in its second pass over the "validation", or the loader in the second epoch of the "data"."""
    calls = iter(range(1, 10_000))
    if place == "validation":
        terms = model.loss_terms
        model.loss_terms = lambda *x: terms(*x) if model.training or next(calls) != 2 else 1 / 0
    if place == "data":
        begin = type(loader).__iter__
        type(loader).__iter__ = lambda self: begin(self) if self is not loader or next(calls) != 2 else 1 / 0


def main(name: str, folder: str, dtype: str = "float64", rule: str = "Adam", epochs: int = 5, fault: str = "",
         everywhere: bool = False, resume: bool = False, differs: str = "", batch_size: int = 30,
         again: bool = False) -> None:  # fmt: skip
    world = sa.distributed.init()
    sa.manual_seed(0 if differs != "weights" else world.rank)  # other weights at the start are no fault
    model = CASES[name]().to(dtype)
    data = images(name, dtype)
    if differs == "data" and world.rank:
        data = data + 1e-3
    if differs == "resume":
        resume = world.rank == 0
    if differs == "model" and world.rank:
        model = sa.Autoencoder.dense((36, 21, 5)).to(dtype)
    loader = sa.DataLoader(data, batch_size, shuffle=True, seed=0)
    if everywhere or world.rank == world.size - 1:
        fault_in(fault, model, loader)
    optimizer = getattr(optim, rule)(model.parameters(), lr=1e-2)
    trainer = sa.Trainer(model, optimizer, [Fault(fault, everywhere)], distributed=True)
    options = {"validation": data[:31], "epochs": epochs, "progress": False, "checkpoint": f"{folder}/run.safetensors"}
    try:
        history = trainer.fit(loader, resume=resume, **options)
    except (RuntimeError, ZeroDivisionError, SystemExit):
        if not again:
            raise
        history = trainer.fit(loader, resume=True, **options)
    sa.save_checkpoint(f"{folder}/end-{world.size}-{world.rank}.safetensors", model)
    if world.rank == 0:
        numbers = {k: v for k, v in history.items() if k not in ("seconds", "images_per_second")}
        Path(folder, f"history-{world.size}.json").write_text(json.dumps(numbers))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], **json.loads(sys.argv[3] if len(sys.argv) > 3 else "{}"))
