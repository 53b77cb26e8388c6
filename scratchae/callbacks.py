"""Callbacks: objects that training calls after each epoch, such as schedules and early stopping.

Your own derives from `Callback` and defines the methods that it needs.
"""

import math
import warnings
from collections.abc import Mapping
from typing import Any

from scratchae.backend import Array
from scratchae.checks import check_bool, check_count, check_number, shown
from scratchae.optim import Optimizer, ReduceOnPlateau
from scratchae.optim.schedules import LRSchedule

Trainer = Any  # of training.py, which stands above this file


class Callback:
    """An object whose methods training calls. It may set `trainer.stop = True`, which ends this `fit`.

    A callback may also have methods for the moments of a step: `after_forward(run)`, `after_backward(run)`,
    `after_step(run)`, and `around_step(run)`, which gives a context manager. `run.trainer` is the Trainer,
    `run.numbers` holds the loss terms, and `run.step + 1` is the step's number: see `plugins.Run`. In `after_backward`
    the gradients are those of the whole batch, finite, and not yet clipped. Where a step takes several batches, see
    `Trainer(accumulate=...)`, `around_step` and `after_forward` are called for each batch. docs/add_a_callback.md has
    an example that runs: it records the norms of the gradients, and keeps the norms in checkpoints.

    Where a callback has methods for moments of a step, a GPU does the steps one by one: no step is replayed.

    A run that is resumed trains on after a stop: the callback may have gone by the clock. A callback whose stop
    shall last sets `self.stopped = True` too. The callback sets `stopped` to False in `on_fit_begin`, and keeps it in
    its `state_dict`.

    Where several processes train, each process calls the callback. Where `only_writes` is set, the first process calls
    the callback, and the others do not.
    """

    only_writes = False
    stopped = False  # whether the callback has ended training for good

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first epoch of a `fit`."""

    def on_epoch_end(self, trainer: Trainer, row: Mapping[str, float]) -> None:
        """`row` holds this epoch's numbers, as they stand in the history.

        Where this method raises, a run that is resumed calls it again for the same epoch.
        """

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch, not after an interruption or an error."""

    def state_dict(self) -> dict[str, Any]:
        """The callback's memory for a checkpoint, as dicts, lists, arrays, numbers and strings."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave; called after `on_fit_begin`, when a run is resumed."""


class Schedule(Callback):
    """Steps a learning-rate schedule after each epoch. A schedule that follows a metric gets the number `monitor`."""

    def __init__(self, schedule: Any, monitor: str | None = None):
        if isinstance(schedule, (Optimizer, type)) or not hasattr(schedule, "step"):
            expected = "a schedule such as optim.StepLR(optimizer, 10)"
            raise TypeError(f"Schedule: expected {expected}, got {type(schedule).__name__}")
        if not isinstance(monitor, (str, type(None))):
            raise TypeError(f"Schedule(monitor={shown(monitor)}): expected a name, such as 'val_loss'")
        follows, alone = isinstance(schedule, ReduceOnPlateau), getattr(type(schedule), "step", None) is LRSchedule.step
        if (follows and monitor is None) or (alone and monitor is not None):
            wanted = "needs a number to follow: monitor='val_loss'" if follows else "takes no monitor"
            raise ValueError(f"Schedule: {type(schedule).__name__} {wanted}, got monitor={monitor!r}")
        self.schedule, self.monitor = schedule, monitor

    def on_fit_begin(self, trainer: Trainer) -> None:
        _check_monitor(self, trainer)

    def on_epoch_end(self, trainer: Trainer, row: Mapping[str, float]) -> None:
        self.schedule.step(*([] if self.monitor is None else [_monitored(self, row, self.monitor)]))

    def state_dict(self) -> dict[str, Any]:
        return self.schedule.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.schedule.load_state_dict(state)


class EarlyStopping(Callback):
    """Stops training when a number has not fallen for `patience` epochs, and gives the best weights back.

    Args:
        monitor: the name of the number, "val_loss" or another of the history's.
        patience: epochs without improvement that end training.
        min_delta: a number has improved when it falls by more than this.
        restore_best: after training, put back the weights (and buffers) of the best epoch.

    A number that is not finite is never the best. Where no number was finite, training ends with a warning, and the
    model keeps its last weights.

    Attributes: `best` and `best_epoch`, the lowest number and its epoch, counted from 1; inf and 0 before the first
    finite number. `stopped`, whether the callback has ended training; a run that is resumed does not train on then.
    """

    def __init__(self, monitor: str = "val_loss", patience: int = 5, min_delta: float = 0.0, restore_best: bool = True):
        if not isinstance(monitor, str):
            raise TypeError(f"EarlyStopping(monitor={monitor!r}): expected a name; patience=5 is another argument")
        self.monitor = monitor
        self.patience = check_count("EarlyStopping: patience", patience)
        self.min_delta = check_number("EarlyStopping: min_delta", min_delta)
        self.restore_best = check_bool("EarlyStopping: restore_best", restore_best)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._forget()

    def _forget(self) -> None:
        self.best, self.best_epoch, self.stopped = math.inf, 0, False
        self._weights: dict[str, Array] = {}

    def on_fit_begin(self, trainer: Trainer) -> None:
        _check_monitor(self, trainer)
        self._shapes = {name: array.shape for name, array in trainer.model.state_dict().items()}
        self._forget()

    def on_epoch_end(self, trainer: Trainer, row: Mapping[str, float]) -> None:
        value, epoch = float(_monitored(self, row, self.monitor)), len(trainer.history["loss"])
        if math.isfinite(value) and value < self.best - self.min_delta:
            self.best, self.best_epoch = value, epoch
            self._weights = trainer.model.state_dict() if self.restore_best else {}
        elif epoch - self.best_epoch >= self.patience:
            trainer.stop = self.stopped = True
            if self.best_epoch == 0:
                warnings.warn(
                    f"EarlyStopping ends training: {self.monitor!r} was not finite in any of {epoch} epochs. The "
                    "weights stay the last ones; look for NaN in the data, or lower the learning rate",
                    RuntimeWarning,
                    stacklevel=2,
                )

    def on_fit_end(self, trainer: Trainer) -> None:
        self.restore(trainer.model)

    def restore(self, model: Any) -> None:
        """Give `model` the best weights so far, if there are any. After an interruption you may call `restore`."""
        if self._weights:
            model.load_state_dict(self._weights)


def _check_monitor(callback: Any, trainer: Trainer) -> None:
    """ValueError where a callback follows a number of the validation, and there is no validation."""
    if (callback.monitor or "").startswith("val_") and not trainer.validates:
        name = type(callback).__name__
        raise ValueError(f"{name}: monitor={callback.monitor!r}, but there is no validation; pass validation=...")


def _monitored(callback: Callback, row: Mapping[str, float], name: str) -> float:
    if name not in row:
        raise ValueError(f"{type(callback).__name__}: monitor={name!r}; this run records {', '.join(row)}")
    return row[name]
