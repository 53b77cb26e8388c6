"""Trainer: the loop over epochs and batches, with progress, validation and a history.

What it does at each step is four lines that anybody can write:

    loss = sum(model.loss_terms(batch).values())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

from __future__ import annotations

import csv
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scratchae import backend, plotting
from scratchae.autograd import Tensor, no_grad
from scratchae.callbacks import Callback
from scratchae.data import DataLoader
from scratchae.nn import Module
from scratchae.nn.module import evaluating
from scratchae.optim import Optimizer


class History(dict[str, list[float]]):
    """Numbers per epoch by name: "loss" and every term, "val_..." of each, "seconds", "images_per_second"."""

    def append(self, row: Mapping[str, float]) -> None:
        for name, value in row.items():
            self.setdefault(name, []).append(value)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """The loss curves as a matplotlib Figure, saved to `path` if that is given."""
        return plotting.loss_curves(self, path)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """One line per epoch, with a header; folders are created."""
        with _created(path) as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *self])
            writer.writerows([epoch, *row] for epoch, row in enumerate(zip(*self.values(), strict=True), 1))

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """An object with a list per name; folders are created."""
        with _created(path) as file:
            json.dump(self, file, indent=1)


class Trainer:
    """Trains a model by mini-batches.

    Args:
        model: has `loss_terms(*batch)` giving a dict of scalars (every autoencoder here), or any Module
            if `loss` is given.
        optimizer: over the model's parameters.
        callbacks: called in order after each epoch.
        loss: a function of (model(inputs), targets); batches are then pairs (inputs, targets).

    `history` is there during and after `fit`, also after an interruption.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        callbacks: Iterable[Callback] = (),
        loss: Callable[[Any, Any], Any] | None = None,
    ):
        if loss is None and not hasattr(model, "loss_terms"):
            raise TypeError(f"{type(model).__name__} has no loss_terms(); pass a loss: Trainer(..., loss=F.mse_loss)")
        moved = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not any(id(p) in moved for p in model.parameters()):
            raise ValueError("the optimiser holds none of the model's parameters; make it from model.parameters()")
        self.model, self.optimizer, self.callbacks, self._loss = model, optimizer, list(callbacks), loss
        for callback in self.callbacks:
            if not hasattr(callback, "on_epoch_end"):
                name = type(callback).__name__
                raise TypeError(f"callback {name} has no on_epoch_end(); wrap learning-rate schedules in Schedule(...)")
        self.history = History()
        self.stop = False

    def fit(
        self,
        images: Any,
        validation: Any = None,
        epochs: int = 1,
        batch_size: int = 64,
        shuffle: bool = True,
        seed: int = 0,
        progress: bool = True,
    ) -> History:
        """Train for `epochs` passes over `images`.

        Args:
            images: an array or memory map (n, ...), a tuple of them for (noisy, clean) or (inputs,
                targets), or a DataLoader, which then decides batch size and order itself.
            validation: the same kinds; its loss is taken after each epoch, in eval mode, under a fixed
                seed, and does not touch the random generators.
            epochs, batch_size, shuffle, seed: the order of epoch e follows from (seed, e).
            progress: show a bar in a terminal, one line per epoch elsewhere.

        Raises ValueError for an empty set or numbers out of range, and FloatingPointError, before the
        weights change, when a loss or a gradient is not finite.
        """
        if not isinstance(epochs, (int, np.integer)) or epochs < 1:
            raise ValueError(f"epochs={epochs!r}; expected an integer of at least 1")
        loader = _loader(images, batch_size, shuffle, seed)
        held_out = None if validation is None else _loader(validation, batch_size, False, seed)
        self.history, self.stop = History(), False
        self._tell("on_fit_begin")
        for epoch in range(1, epochs + 1):
            row = self._epoch(loader, held_out, f"epoch {epoch}/{epochs}", epoch, progress)
            self.history.append(row)
            if progress and not sys.stderr.isatty():
                print(f"epoch {epoch}/{epochs}  {_text(row)}  {row['seconds']:.1f} s", flush=True)
            self._tell("on_epoch_end", row)
            if self.stop:
                break
        self._tell("on_fit_end")
        return self.history

    def evaluate(self, data: Any, batch_size: int = 256) -> dict[str, float]:
        """The mean loss and its terms over `data`, in eval mode and without a graph.

        Randomness in it comes from a fixed seed, and the generators go on afterwards where they were.
        """
        totals = _Means()
        with evaluating(self.model), no_grad(), backend.fixed_seed(0):
            for batch in _loader(data, batch_size, False, 0):
                totals.add(self._terms(batch), len(_first(batch)))
        return totals.means()

    def _tell(self, moment: str, *news: Any) -> None:
        for callback in self.callbacks:
            if hasattr(callback, moment):  # any object with on_epoch_end will do
                getattr(callback, moment)(self, *news)

    def _epoch(
        self, loader: DataLoader, held_out: DataLoader | None, title: str, epoch: int, progress: bool
    ) -> dict[str, float]:
        """One pass over the data, then the validation; the numbers that go into the history."""
        from tqdm import tqdm

        totals, start = _Means(), time.perf_counter()
        buffers = [(module, name) for module in self.model.train().modules() for name in module._buffers]
        named = list(self.model.named_parameters())
        hidden = not (progress and sys.stderr.isatty())
        with tqdm(desc=title, total=len(loader), disable=hidden, unit="batch") as bar:
            for i, batch in enumerate(loader):
                before = [getattr(module, name).copy() for module, name in buffers]
                try:
                    terms = self._step(batch, (epoch - 1) * len(loader) + i + 1, named)
                except FloatingPointError:
                    for (module, name), array in zip(buffers, before, strict=True):
                        setattr(module, name, array)
                    raise
                totals.add(terms, len(_first(batch)))
                bar.update()
                if i % 64 == 0:
                    bar.set_postfix_str(_text(totals.means()), refresh=False)
            seconds = time.perf_counter() - start
            row = totals.means()
            if held_out is not None:
                row |= {f"val_{name}": value for name, value in self.evaluate(held_out).items()}
            bar.set_postfix_str(_text(row))
        return row | {"seconds": seconds, "images_per_second": _samples(loader) / seconds}

    def _step(self, batch: Any, number: int, named: list[tuple[str, Any]]) -> dict[str, Any]:
        """Forward, backward, update; FloatingPointError before the update where something is not finite."""
        terms = self._terms(batch)
        _check_finite_loss(terms, number)
        self.optimizer.zero_grad()
        sum(terms.values()).backward()
        _check_finite_gradients(named, number)
        self.optimizer.step()
        return terms

    def _terms(self, batch: Any) -> dict[str, Any]:
        """The loss terms of one batch, by name, with the graph behind them."""
        device = next((p.device for p in self.model.parameters()), "cpu")
        tensors = [Tensor(backend.to_device(a, device)) for a in (batch if isinstance(batch, tuple) else (batch,))]
        if self._loss is None:
            return self.model.loss_terms(*tensors)  # type: ignore[attr-defined]
        if len(tensors) != 2:
            raise ValueError(f"a batch has {len(tensors)} arrays; with a loss it must be a pair (inputs, targets)")
        inputs, targets = tensors
        return {"loss": self._loss(self.model(inputs), targets)}


class _Means:
    """Running means of loss terms, weighted by the number of samples in each batch."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.samples = 0

    def add(self, terms: Mapping[str, Any], n: int) -> None:
        self.samples += n
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.item() * n

    def means(self) -> dict[str, float]:
        means = {name: total / self.samples for name, total in self.sums.items()}
        return means if "loss" in means else {"loss": sum(means.values()), **means}


def _created(path: str | os.PathLike[str]) -> Any:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return open(path, "w", newline="")


def _loader(data: Any, batch_size: int, shuffle: bool, seed: int) -> Any:
    loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size, shuffle, seed)
    if len(loader) == 0:
        raise ValueError(f"{loader.n_samples} samples, batch_size={loader.batch_size} and drop_last give no batch")
    return loader


def _samples(loader: DataLoader) -> int:
    return min(loader.n_samples, len(loader) * loader.batch_size)


def _first(batch: Any) -> Any:
    return batch[0] if isinstance(batch, tuple) else batch


def _text(row: Mapping[str, float]) -> str:
    """The losses of a row; a lone term that says the same as the loss is left out."""
    shown = {n: v for n, v in row.items() if n not in ("seconds", "images_per_second")}
    for prefix in ("", "val_"):
        if shown.get(prefix + "loss") == shown.get(prefix + "reconstruction"):
            shown.pop(prefix + "reconstruction", None)
    return "  ".join(f"{name} {value:.5g}" for name, value in shown.items())


def _check_finite_loss(terms: Mapping[str, Any], step: int) -> None:
    for name, value in terms.items():
        if not math.isfinite(number := value.item()):
            raise FloatingPointError(
                f"the loss term {name!r} is {number}, not finite, at step {step}; the weights are those of the "
                "step before. Check the data for NaN, or lower the learning rate"
            )


def _check_finite_gradients(named: Iterable[tuple[str, Any]], step: int) -> None:
    for name, p in named:
        if p.grad is not None and not _is_finite(p.grad):
            raise FloatingPointError(
                f"the gradient of {name} is not finite at step {step}; the weights are those of the step before. "
                "A smaller learning rate, or clip_grad_norm, often helps"
            )


def _is_finite(g: Any) -> bool:
    flat = g.ravel()
    # One dot product tells almost always; only a huge but finite gradient needs the second look.
    with np.errstate(over="ignore", invalid="ignore"):
        square = float(flat @ flat)
    return math.isfinite(square) or bool(backend.xp_of(g).isfinite(g).all())
