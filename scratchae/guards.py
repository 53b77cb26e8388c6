"""Guards of a training run, as plug-ins: data that fit, no second run on the same parameters, finite numbers."""

from __future__ import annotations

import inspect
import math
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from scratchae.plugins import ORDER, Run


def check_arrays(run: Run) -> list:
    """Raise TypeError, before the run, where the model's loss cannot take as many arrays as the data have."""
    model, n = run.trainer.model, run.loader.arrays
    if run.trainer.loss is None and n > 1:
        takes = inspect.signature(model.loss_terms)
        try:
            takes.bind(*[None] * n)
        except TypeError:
            raise TypeError(
                f"the data are {n} arrays, which {type(model).__name__}.loss_terms{takes} does not take. A list of "
                "samples becomes one array by np.stack(...)"
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
            if not math.isfinite(number):
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
            warnings.warn(found, RuntimeWarning, stacklevel=5)


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


ORDER["arrays"] = check_arrays
ORDER["alone"] = lambda run: [Alone()]
ORDER["finite"] = lambda run: [Finite()]
