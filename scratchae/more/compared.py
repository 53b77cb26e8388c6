"""What happens where a model's output meets its target: metrics are taken there, and samples weighted.

`Autoencoder.distance` and `training.compared` compute the losses of all models. This file attaches to both. The
plug-ins `Metrics` and `Weights` say what happens there in the step in progress.
"""

from __future__ import annotations

import copy
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae.autoencoders import Autoencoder, DenoisingAutoencoder
from scratchae.autograd import Tensor, no_grad
from scratchae.autograd.precision import in_float32
from scratchae.autograd.tensor import values_of
from scratchae.backend import Array, is_array, to_device
from scratchae.checks import shown
from scratchae.data.loader import DataLoader
from scratchae.history import Means
from scratchae.nn.losses import Loss
from scratchae.nn.module import device_of_model
from scratchae.plugins import Run
from scratchae.training import remaining_batches


class _Local(threading.local):
    trainer: Any = None  # whose metrics are taken
    seen: tuple[Array, Array] | None = None  # the output and the target of the last comparison
    weights: Array | None = None  # of the samples of the batch in progress


_local = _Local()


def watched_distance(formula: Callable[..., Any]) -> Callable[..., Any]:
    """`Autoencoder.distance`."""

    def distance(model: Any, output: Any, x: Any, target: Any = None) -> Any:
        if _local.trainer is None and _local.weights is None:
            return formula(model, output, x, target)
        output, target = model.shaped_like(output, x), x if target is None else target
        return _compare(model._distance, output, target, model._visible)

    return distance


def watched_loss(formula: Callable[..., Any]) -> Callable[..., Any]:
    """`training.compared`."""
    return lambda loss, output, target: _compare(loss, output, target)


def _compare(loss: Any, output: Any, target: Any, visible: Callable[[Any], Any] = lambda output: output) -> Any:
    if _local.trainer is not None:
        _local.seen = visible(values_of(output, "the model's output")), values_of(target, "the target")
    if _local.weights is None:
        return loss(output, target)
    return in_float32(functools.partial(_weighted, loss, _local.weights))(output, target)


# --- metrics --------------------------------------------------------------------------------------


@contextmanager
def _watching(trainer: Any) -> Iterator[None]:
    """Inside, `numbers_of` adds the trainer's metrics of the last output and target."""
    before = _local.trainer, _local.seen
    _local.trainer, _local.seen = trainer if trainer.metrics else None, None
    try:
        yield
    finally:
        _local.trainer, _local.seen = before


class Metrics:
    """The plug-in that takes the metrics of each training batch."""

    @contextmanager
    def around_epochs(self, run: Run) -> Iterator[None]:
        run.trainer.history.metrics = tuple(run.trainer.metrics)
        yield

    def around_step(self, run: Run) -> Any:
        return _watching(run.trainer)


def with_metrics(formula: Callable[..., dict[str, float]]) -> Callable[..., dict[str, float]]:
    """`training.numbers_of`: the metrics follow the loss and its terms."""

    def numbers_of(terms: Any) -> dict[str, float]:
        numbers, trainer = formula(terms), _local.trainer
        if trainer is None:
            return numbers
        if _local.seen is None:
            wanted = "pass Trainer(..., loss=...), or call self.distance(...) of an Autoencoder in loss_terms"
            raise ValueError(f"no metrics of {type(trainer.model).__name__}: its loss_terms show no output. {wanted}")
        if taken := sorted(set(trainer.metrics) & set(numbers)):
            raise ValueError(f"metrics={taken} are names of loss terms; expected other names")
        (output, target), _local.seen = _local.seen, None
        with no_grad():
            metrics = {name: _number(name, f(output, target)) for name, f in trainer.metrics.items()}
        numbers.setdefault("loss", sum(numbers.values()))
        return numbers | metrics

    return numbers_of


def _number(name: str, value: Any) -> float:
    if is_array(value) or isinstance(value, Tensor):
        if value.size != 1:
            raise ValueError(f"the metric {name!r} has shape {value.shape}; expected one number, the batch's mean")
        value = value.item()
    if not isinstance(value, (int, float, np.number, np.bool_)):
        raise TypeError(f"the metric {name!r} is {shown(value)}; expected one number, the batch's mean")
    return float(value)


def with_metrics_of_all(formula: Callable[..., Means]) -> Callable[..., Means]:
    """`training.totals_of`: with the metrics."""

    def totals_of(run: Run, loader: DataLoader) -> Means:
        with _watching(run.trainer):
            return formula(run, loader)

    return totals_of


# --- weights of samples -----------------------------------------------------------------------------


class Weights:
    """The plug-in that multiplies the loss of each sample by a weight.

    The weights come from a loader of their own, which takes the same places of each batch as the data's loader. Their
    mean over all samples is 1. So an epoch's mean loss is the weighted mean of the losses of all samples.
    """

    def __init__(self, run: Run):
        self.run, data, weights = copy.copy(run), run.loader, run.options["sample_weight"]
        self.run.loader = DataLoader(weights, data.batch_size, data.shuffle, data.seed, data.drop_last)
        self.run.loader.part = data.part

    def begin_epoch(self, run: Run) -> None:
        self.run.loader.seed = run.loader.seed  # which several processes agree on
        self.run.epoch, self.run.batch, self.run.first_epoch = run.epoch, run.batch, run.first_epoch
        self.batches = remaining_batches(self.run)

    @contextmanager
    def around_step(self, run: Run) -> Iterator[None]:
        before, _local.weights = _local.weights, to_device(next(self.batches), device_of_model(run.trainer.model))
        try:
            yield
        finally:
            _local.weights = before


def weights_of(run: Run) -> list[Weights]:
    """The plug-in for `fit(sample_weight=...)`. Raises TypeError or ValueError for what cannot be weighted."""
    if (given := run.options.get("sample_weight")) is None:
        return []
    _check_weighable(run.trainer, run.loader)
    weights = to_device(values_of(given, "sample_weight"), "cpu")
    if weights.shape != (run.loader.n_samples,):
        found = f"sample_weight has shape {weights.shape} for {run.loader.n_samples} samples"
        raise ValueError(f"{found}; expected ({run.loader.n_samples},), one weight for each sample")
    weights = weights.astype(np.float64)
    if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.max() > 0):
        found = f"sample_weight ranges over [{weights.min():g}, {weights.max():g}]"
        raise ValueError(f"{found}; expected finite numbers of at least 0, not all 0")
    weights = weights / weights.max()  # the sum of huge weights would overflow
    run.options["sample_weight"] = weights / weights.mean()
    return [Weights(run)]


def _check_weighable(trainer: Any, loader: DataLoader) -> None:
    if type(loader).__iter__ is not DataLoader.__iter__:
        found = f"sample_weight with a {type(loader).__name__}, which iterates in a way of its own"
        raise TypeError(f"{found}; expected arrays or a plain DataLoader, whose places the weights follow")
    kind = type(trainer.model)
    if trainer.loss is None and not _is_mean_of_distances(kind):
        raise TypeError(
            f"sample_weight: {kind.__name__}.loss_terms is no mean of one distance for each sample; expected an "
            "Autoencoder, a DenoisingAutoencoder, a ConvAutoencoder, or Trainer(..., loss=...). Or repeat the samples"
        )
    loss = trainer.model._distance if trainer.loss is None else trainer.loss
    if (reduction := reduction_of(loss)) != "mean":
        raise ValueError(f"sample_weight with a loss of reduction={reduction!r}; expected 'mean'")
    if not isinstance(loss, Loss) and "reduction" not in inspect.signature(loss).parameters:
        found = f"sample_weight needs the loss of each sample, and {shown(loss)} takes no reduction='none'"
        raise TypeError(f"{found}. Give it this option, or use a loss of functional, such as F.mse_loss")


def reduction_of(loss: Any) -> str:
    """The reduction of a loss that is a layer, or a `functools.partial` with this option."""
    options = getattr(loss, "keywords", {"reduction": getattr(loss, "reduction", "mean")})
    return options.get("reduction", "mean")


def _is_mean_of_distances(kind: type) -> bool:
    """Whether a class has the loss of a plain autoencoder: one distance, and no penalties."""
    own = [getattr(kind, name, None) for name in ("loss_terms", "penalties", "distance")]
    plain = [getattr(Autoencoder, name) for name in ("penalties", "distance")]
    return own[0] in (Autoencoder.loss_terms, DenoisingAutoencoder.loss_terms) and own[1:] == plain


def _weighted(loss: Any, weights: Array, output: Any, target: Any) -> Any:
    """The mean over samples of weight * loss."""
    if isinstance(loss, Loss):
        each = copy.copy(loss)
        each.reduction = "none"
        losses = each(output, target)
    else:
        losses = loss(output, target, reduction="none")
    if losses.shape[:1] != weights.shape:
        raise ValueError(f"the loss with reduction='none' has shape {losses.shape}; expected ({len(weights)}, ...)")
    of_samples = F.mean(F.reshape(losses, (len(weights), -1)), axis=1)
    return F.mean(of_samples * weights.astype(of_samples.dtype))
