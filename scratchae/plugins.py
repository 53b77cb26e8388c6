"""Plug-ins of a training step: objects with methods that are named after the moments at which they are called.

`Trainer.fit` calls a plug-in's methods with its `Run`, in this order:

    around_fit            a context manager around all that follows
    begin                 after the callbacks' `on_fit_begin`; a run that is resumed goes to its place here
    around_epochs         a context manager around all epochs
      begin_epoch         the model is in train mode
      around_epoch        a context manager around the steps of the epoch and the validation
        take              called with the batch too: do the whole step in another way and return True, or return False
        around_step       a context manager around forward and backward; an error of the step passes through it
          after_forward   `run.numbers` and `run.loss` are there
          after_backward  the gradients are there too
        after_step        the weights have moved
        between_steps     the place of the run, `run.batch` and `run.step`, has moved on too
        after_steps       the last step of the epoch is done
        breaks_off        in the validation, after each batch: return True to break the validation off
        pause             after the validation, and after the epoch: the run may end here; return True to validate again
        end_epoch         `run.row` holds the numbers of the epoch
      around_callbacks    a context manager around the callbacks' `on_epoch_end`
      save                the callbacks were told
      after_epoch         all of the epoch is done
    end                   after the callbacks' `on_fit_end`

A plug-in has the methods that it needs. Callbacks are plug-ins too: see `Callback`.
"""

from __future__ import annotations

import math
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np

from scratchae.history import Means
from scratchae.optim import clip_grad_norm
from scratchae.progress import Progress

STEP = ("around_step", "after_forward", "after_backward", "after_step")
"""The moments inside a step."""


class Run:
    """One call of `Trainer.fit`: its data, its options, and how far it has come.

    Attributes:
        trainer: has the model, the optimiser, the callbacks and the history.
        loader, held_out: the DataLoaders of the training data and of the validation data, or None.
        device: where the batches go; None leaves them where they are.
        options: the arguments of `fit` by name.
        epoch: number of complete epochs; `batch`, `means` and `seconds` are of the epoch in progress.
        first_epoch: the loader's own count of epochs when the run began.
        told: how many callbacks have seen the last complete epoch.
        lively: ids of the frozen modules that were in train mode when the run began. They want batch statistics.
        first: whether this process shows the progress and writes the files.
        numbers, loss: the terms of the step's loss as numbers, by name, and their sum as a Tensor.
        row: the numbers of the last epoch, by name.
    """

    def __init__(self, trainer: Any, loader: Any, held_out: Any = None, device: str | None = None, **options: Any):
        self.trainer, self.loader, self.held_out, self.device = trainer, loader, held_out, device
        self.options = options
        self.epoch, self.batch, self.means, self.seconds = 0, 0, Means(), 0.0
        self.first_epoch, self.told, self.first = loader.epoch, 0, True
        self.lively = {id(m) for m in trainer.model.modules() if _is_frozen(m) and m.training}
        self.numbers: dict[str, float] = {}
        self.row: dict[str, float] = {}
        self.loss: Any = None
        self.plugins: list[Any] = []
        self._methods: dict[str, list[Callable]] = {}

    @property
    def step(self) -> int:
        """How many steps are done."""
        return self.epoch * len(self.loader) + self.batch

    def tell(self, moment: str, *news: Any) -> bool:
        """Call the plug-ins' methods of that name, in their order. Returns whether a method returned True."""
        answer = False
        for method in self._of(moment):
            answer |= method(self, *news) is True
        return answer

    @contextmanager
    def around(self, moment: str) -> Iterator[None]:
        """The contexts that the plug-ins' methods of that name give; the first plug-in's is the outermost."""
        with ExitStack() as contexts:
            for method in self._of(moment):
                contexts.enter_context(method(self))
            yield

    def _of(self, moment: str) -> list[Callable]:
        if moment not in self._methods:
            self._methods[moment] = [getattr(p, moment) for p in self.plugins if hasattr(p, moment)]
        return self._methods[moment]

    def find(self, kind: type) -> Any:
        """The plug-in of that class, or None."""
        return next((plugin for plugin in self.plugins if isinstance(plugin, kind)), None)

    def calls(self, callback: Any) -> bool:
        """Whether a callback is called in this process: one that only writes files is called in the first alone."""
        return self.first or not getattr(callback, "only_writes", False)

    def train_mode(self) -> None:
        """Train mode for all modules but those that are frozen, and were in eval mode when the run began."""
        model = self.trainer.model
        aside = [m for m in model.modules() if _is_frozen(m) and not m.training and id(m) not in self.lively]
        resting = [m for top in aside for m in top.modules()]
        model.train()
        for module in resting:
            module.training = False


def _is_frozen(module: Any) -> bool:
    """Whether a module has parameters, and none of them is trained."""
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)


_in_training: set[int] = set()  # parameters, by id
_entering = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_training.clear)  # the child has copies of its own


class Alone:
    """Two fits that train the same parameters would undo each other's work: RuntimeError for the second."""

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


class Finite:
    """Stops training where a number is NaN or infinite.

    For a loss term or a gradient: FloatingPointError before the weights change, with the buffers as they were before
    the step. For weights: FloatingPointError at the epoch's end, before a checkpoint, and at the end. For a number of
    the validation: one RuntimeWarning.
    """

    warned = False

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
        self.after_forward(run)  # processes that share a batch know the numbers only now
        if not all(map(is_finite, run.trainer.optimizer.gradients())):
            named = run.trainer.model.named_parameters()
            bad = (name for name, p in named if p.grad is not None and not is_finite(p.grad))
            found = f"the gradient of {next(bad, 'a parameter outside the model')}"
            raise not_finite(f"{found} is not finite", run.step + 1)

    def check_weights(self, run: Run) -> None:
        trainer = run.trainer
        if all(map(is_finite, trainer.optimizer.values())):  # few arrays: on a GPU each look waits
            return
        if names := non_finite_weights(trainer.model, trainer.optimizer):
            raise FloatingPointError(
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


class Clip:
    """Scales the gradients down to a joint norm of at most `max_norm`."""

    def __init__(self, max_norm: float):
        self.max_norm = max_norm

    def begin_epoch(self, run: Run) -> None:
        self.parameters = list(run.trainer.model.parameters())

    def after_backward(self, run: Run) -> None:
        clip_grad_norm((p for p in self.parameters if p.requires_grad), self.max_norm)


def is_finite(g: Any) -> bool:
    """Whether all elements of an array are."""
    flat = g.ravel()
    # One dot product tells almost always; only a huge but finite gradient needs the second look.
    with np.errstate(over="ignore", invalid="ignore"):
        square = float(flat @ flat)
    return math.isfinite(square) or bool((abs(g) < math.inf).all())


def not_finite(found: str, step: int) -> FloatingPointError:
    """The error of a step that is not done, since `found` (a loss or a gradient is not finite)."""
    return FloatingPointError(
        f"{found} at step {step}; the weights are those of the step before. Check the data for NaN and targets outside "
        "their range, lower the learning rate, or clip gradients with Trainer(..., clip_grad_norm=1.0)"
    )


def outside(model: Any, optimizer: Any) -> list[Any]:
    """The parameters that an optimiser moves and a model does not have: a weight of a loss, say."""
    inside = {id(p) for p in model.parameters()}
    groups = [] if optimizer is None else optimizer.param_groups
    return [p for group in groups for p in group["params"] if id(p) not in inside]


def non_finite_weights(model: Any, optimizer: Any = None) -> list[str]:
    """Names of trained parameters with a NaN or an infinity in them; frozen parameters and buffers may be masks."""
    others = [(f"parameter {i} outside the model", p) for i, p in enumerate(outside(model, optimizer))]
    trained = [(name, p) for name, p in [*model.named_parameters(), *others] if p.requires_grad]
    return [name for name, p in trained if not is_finite(p.data)]


def _in_step(callback: Any) -> Any:
    """A callback as a plug-in: its methods that are named after moments inside a step, and no others."""
    return SimpleNamespace(**{moment: getattr(callback, moment) for moment in STEP if hasattr(callback, moment)})


def _none(run: Run) -> list:
    """The plug-ins of a room that nothing was attached from."""
    return []


ORDER: dict[str, Callable[[Run], list]] = {
    "alone": lambda run: [Alone()],
    "processes": _none,  # first in a step: they sum the losses and gradients that the others look at
    "signals": _none,
    "replay": _none,
    "finite": lambda run: [Finite()],
    "callbacks": lambda run: [_in_step(c) for c in run.trainer.callbacks if run.calls(c)],
    "clip": lambda run: [] if run.trainer.clip_grad_norm is None else [Clip(run.trainer.clip_grad_norm)],
    "checkpoint": _none,
    "progress": lambda run: [Progress(run.options["epochs"])] if run.options["progress"] and run.first else [],
}
"""The plug-ins in the order in which they act at each moment, as functions that make them for a run.

A room above puts a function of its own in place of `_none`.
"""
