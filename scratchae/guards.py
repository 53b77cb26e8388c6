"""Guards of training: options, data and loss terms that fit, and plug-ins.

The plug-ins check the data, refuse a second run on the same parameters, and stop at numbers that are not finite.
"""

from __future__ import annotations

import inspect
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from scratchae import training
from scratchae.attach import attach
from scratchae.autograd import Tensor
from scratchae.backend import is_array, plain_array
from scratchae.checks import check_count, check_number, shown
from scratchae.data import loader
from scratchae.nn import Module
from scratchae.optim import Optimizer
from scratchae.plugins import ORDER, Run


def options_that_fit(_: Any) -> Callable[..., None]:
    """`training.check_options`: TypeError or ValueError for what no Trainer can be made of."""
    return _check_options


def _check_options(trainer: Any, callbacks: Any) -> None:
    model, optimizer, loss = trainer.model, trainer.optimizer, trainer.loss
    if trainer.clip_grad_norm is not None:
        check_number("clip_grad_norm", trainer.clip_grad_norm)
    check_count("accumulate", trainer.accumulate)
    _check_metrics(trainer.metrics)
    for name, given, wanted in (("model", model, Module), ("optimizer", optimizer, Optimizer)):
        if not isinstance(given, wanted):
            example = "a Module" if wanted is Module else "an optimiser, such as optim.Adam(model.parameters())"
            raise TypeError(f"Trainer: {name} is {shown(given)}; expected {example}")
    if loss is not None and not callable(loss):
        raise TypeError(f"Trainer: loss={shown(loss)}; expected a function of (output, target), such as F.mse_loss")
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"Trainer: callbacks={shown(callbacks)}; expected a list of them: [{shown(callbacks)}]")
    if loss is None and not hasattr(model, "loss_terms"):
        raise TypeError(f"{type(model).__name__} has no loss_terms(); pass a loss: Trainer(..., loss=F.mse_loss)")
    moved = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not any(id(p) in moved for p in model.parameters()):
        raise ValueError("the optimiser holds none of the model's parameters; make it from model.parameters()")
    for callback in callbacks:
        if isinstance(callback, type):
            raise TypeError(f"callback {callback.__name__} is a class; pass one made of it: {callback.__name__}()")
        if not hasattr(callback, "on_epoch_end"):
            advice = "derive it from sa.Callback, or wrap a learning-rate schedule in sa.Schedule(...)"
            raise TypeError(f"callback {type(callback).__name__} has no on_epoch_end(); {advice}")


def _check_metrics(metrics: Any) -> None:
    if not isinstance(metrics, Mapping):
        raise TypeError(f"Trainer: metrics={shown(metrics)}; expected functions by name, such as {{'mae': F.l1_loss}}")
    for name, function in metrics.items():
        if not isinstance(name, str) or name in TAKEN or name.startswith("val_"):
            wanted = f"another word than {', '.join(TAKEN)}, and none that begins with val_"
            raise ValueError(f"Trainer: a metric is called {shown(name)}; expected {wanted}")
        if isinstance(function, type) or not callable(function):
            raise TypeError(f"Trainer: the metric {name!r} is {shown(function)}; expected a function (output, target)")


TAKEN = ("loss", "seconds", "images_per_second", "lr")
"""Names of columns in a history that no metric may have."""


def terms_that_fit(_: Any) -> Callable[[Any], None]:
    """`training.check_terms`: TypeError or ValueError for what cannot be added up and differentiated."""
    return _check_terms


def _check_terms(terms: Any) -> None:
    if not isinstance(terms, Mapping) or not terms:
        raise TypeError(f"loss_terms gave {type(terms).__name__}; expected a dict of terms: {{'loss': ...}}")
    for name, value in terms.items():
        if not isinstance(name, str):
            raise TypeError(f"a loss term is called {name!r}; expected a name, such as 'reconstruction'")
        if not isinstance(value, Tensor):
            advice = "let the model's loss_terms return it" if isinstance(value, Mapping) else "leave out .item()"
            raise TypeError(f"the loss term {name!r} is a {type(value).__name__}; expected a Tensor: {advice}")
        if value.size != 1:
            raise ValueError(f"the loss term {name!r} has shape {value.shape}; reduce it to a number, with .mean() say")


def batches_that_fit(_: Any) -> Callable[..., None]:
    """`loader.check_loader`: TypeError or ValueError for what no batches can be made of."""
    return _check_loader


def _check_loader(arrays: tuple[Any, ...], transform: Any) -> None:
    if transform is not None and not callable(transform):
        raise TypeError(f"DataLoader(transform={shown(transform)}): expected a function of (batch, generator)")
    if not arrays:
        raise ValueError("DataLoader got no arrays; expected one array or a tuple of at least one")
    for a in arrays:
        plain_array(a[:0] if is_array(a) and a.ndim else a, "DataLoader: the data")  # reads nothing from a file
        if a.ndim == 0:
            raise ValueError("DataLoader got a 0-dimensional array; expected shape (n, ...), n samples")
    lengths = [len(a) for a in arrays]
    listed = f"; a list of {len(arrays)} samples becomes one array by np.stack(...)" if len(arrays) > 2 else ""
    if len(set(lengths)) > 1:
        raise ValueError(f"DataLoader got arrays of lengths {lengths[:8]}; expected one row per sample in each{listed}")
    if lengths[0] == 0:
        shapes = ", ".join(str(tuple(a.shape)) for a in arrays[:8])
        raise ValueError(f"DataLoader got an empty data set of shape {shapes}; expected at least one sample")


def check_arrays(run: Run) -> list:
    """Raise TypeError, before the run, where the model cannot take as many arrays as the data have."""
    trainer, n = run.trainer, run.loader.arrays
    own = trainer.loss is None
    takes = inspect.signature(trainer.model.loss_terms if own else trainer.model.forward)
    if n > (1 if own else 2) and run.loader.transform is None:  # a transform may change their number
        try:
            takes.bind(*[None] * (n if own else n - 1))  # the last one is the targets
        except TypeError:
            name = f"{type(trainer.model).__name__}.{'loss_terms' if own else 'forward'}{takes}"
            raise TypeError(
                f"the data are {n} arrays{'' if own else ', the last for the loss'}, which {name} does not take. "
                "Many samples become one array by np.stack(...)"
            ) from None
    return []


_in_training: set[int] = set()  # parameters, by id
_entering = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_training.clear)  # the child has copies of its own


class Alone:
    """RuntimeError for a second `fit` on the same parameters, since each `fit` would undo the other's steps."""

    @contextmanager
    def around_fit(self, run: Run) -> Iterator[None]:
        groups = run.trainer.optimizer.param_groups
        moving = {id(p) for group in groups for p in group["params"] if p.requires_grad}
        with _entering:
            if moving & _in_training:
                name = type(run.trainer.model).__name__
                raise RuntimeError(f"this {name} is in training already; wait for that fit, or use a copy")
            _in_training.update(moving)
        try:
            yield
        finally:
            _in_training.difference_update(moving)


class NotFinite(FloatingPointError):
    """The error of a run whose loss, gradients or weights are not finite."""

    complete = False  # whether the error has left its `fit`, which adds the last checkpoint to the text


class Finite:
    """Stops training where a number is NaN or infinite.

    A loss term or a gradient raises FloatingPointError before the weights change. The buffers are then in the state
    before the step. Weights raise FloatingPointError at an epoch's end, before a checkpoint, and at the end of `fit`. A
    number of the validation gives one RuntimeWarning.
    """

    warned = False

    @contextmanager
    def around_fit(self, run: Run) -> Iterator[None]:
        try:
            yield
        except NotFinite as error:
            error.complete = True
            raise

    def begin_epoch(self, run: Run) -> None:
        self.buffers = run.trainer.model.buffer_places()

    def around_step(self, run: Run) -> Any:
        return self._buffers_kept() if self.buffers else nullcontext()

    @contextmanager
    def _buffers_kept(self) -> Iterator[None]:
        before = [getattr(module, name).copy() for module, name in self.buffers]
        try:
            yield
        except FloatingPointError:
            for (module, name), array in zip(self.buffers, before, strict=True):
                setattr(module, name, array)
            raise

    def after_forward(self, run: Run) -> None:
        for name, number in run.numbers.items():
            if not math.isfinite(number) and name not in run.trainer.metrics:
                raise not_finite(f"the loss term {name!r} is {number}, not finite,", run.step + 1)

    def after_backward(self, run: Run) -> None:
        self.after_forward(run)  # processes that share a batch have the numbers only now
        if not all(map(is_finite, run.trainer.optimizer.gradients())):
            named = run.trainer.model.named_parameters()
            bad = (name for name, p in named if p.grad is not None and not is_finite(p.grad))
            found = f"the gradient of {next(bad, 'a parameter outside the model')}"
            raise not_finite(f"{found} is not finite", run.step + 1)

    def check_weights(self, run: Run) -> None:
        trainer = run.trainer
        if all(map(is_finite, trainer.optimizer.values())):  # few arrays, since each check on a GPU waits
            return
        if names := non_finite_weights(trainer.model, trainer.optimizer):
            raise NotFinite(
                f"the weights {', '.join(names[:3])} are not finite after step {run.step}: an update has overflowed. "
                "Lower the learning rate, or clip gradients with Trainer(..., clip_grad_norm=1.0)"
            )

    end_epoch = before_save = end = check_weights

    def after_epoch(self, run: Run) -> None:
        held_out = {name: value for name, value in run.row.items() if name.startswith("val_")}
        bad = [f"{name} is {value}" for name, value in held_out.items() if not math.isfinite(value)]
        if bad and not self.warned:
            self.warned = True
            found = f"epoch {run.epoch}: {', '.join(bad)}. Look for NaN in the validation data"
            warnings.warn(found, RuntimeWarning, stacklevel=6)


def is_finite(g: Any) -> bool:
    """Whether all elements of an array are finite."""
    flat = g.ravel()
    # One dot product is enough, except for a huge but finite gradient, whose square overflows.
    with np.errstate(over="ignore", invalid="ignore"):
        square = float(flat @ flat)
    return math.isfinite(square) or bool((abs(g) < math.inf).all())


def not_finite(found: str, step: int) -> NotFinite:
    """The error of a step that is not taken. `found` names the loss or the gradient that is not finite."""
    return NotFinite(
        f"{found} at step {step}; the weights are those of the step before. Check the data for NaN and targets outside "
        "their range, lower the learning rate, or clip gradients with Trainer(..., clip_grad_norm=1.0)"
    )


def outside(model: Any, optimizer: Any) -> list[Any]:
    """The parameters that an optimiser moves and a model does not have, such as a weight of a loss."""
    inside = {id(p) for p in model.parameters()}
    groups = [] if optimizer is None else optimizer.param_groups
    return [p for group in groups for p in group["params"] if id(p) not in inside]


def non_finite_weights(model: Any, optimizer: Any = None) -> list[str]:
    """Names of trained parameters that hold NaN or infinity. Frozen parameters and buffers may be masks, and pass."""
    others = [(f"parameter {i} outside the model", p) for i, p in enumerate(outside(model, optimizer))]
    trained = [(name, p) for name, p in [*model.named_parameters(), *others] if p.requires_grad]
    return [name for name, p in trained if not is_finite(p.data)]


attach(loader.check_loader, forward=batches_that_fit)
attach(training.check_options, forward=options_that_fit)
attach(training.check_terms, forward=terms_that_fit)
ORDER["arrays"] = check_arrays
ORDER["alone"] = lambda run: [Alone()]
ORDER["finite"] = lambda run: [Finite()]
