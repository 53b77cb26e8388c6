"""Learning-rate schedules: `step()` once per epoch changes the optimiser's rate."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae.autograd.tensor import data_of
from scratchae.backend import is_array
from scratchae.checks import check_choice, check_count, check_number
from scratchae.optim.base import Optimizer


class LRSchedule:
    """The base class of schedules: the learning rate of each group as a function of the epoch.

    A schedule of your own defines `lr_at`. `made_with` holds the constructor's options, and never changes.
    """

    state_dict: Callable[..., dict[str, Any]]  # from files/
    load_state_dict: Callable[..., None]  # from files/
    progress: tuple[str, ...] = ("epoch", "base_lrs")  # the attributes that a state holds

    def __init__(self, optimizer: Optimizer, **options: Any):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__} takes an optimiser, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        self.made_with = options
        self.epoch = 0
        self.base_lrs = self.rates

    @property
    def rates(self) -> list[float]:
        """The learning rates of now, one for each group of the optimiser."""
        return [group["lr"] for group in self.optimizer.param_groups]

    @rates.setter
    def rates(self, rates: list[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """The rate after `epoch` epochs of a group that began with `base_lr`."""
        raise NotImplementedError

    def rates_at(self, epoch: int, base_lrs: list[float]) -> list[float]:
        """The rates after `epoch` epochs. Raises ValueError where one of them is too large for a float."""
        try:
            return [check_number("lr", self.lr_at(epoch, base_lr)) for base_lr in base_lrs]
        except (ValueError, OverflowError) as error:  # the latter from a power
            name = type(self).__name__
            raise ValueError(f"{name} has no finite learning rate for epoch {epoch} ({error})") from None

    def step(self) -> None:
        """An epoch is over. Raises ValueError, with nothing changed, where the rate would be too large for a float."""
        self.base_lrs = [*self.base_lrs, *self.rates[len(self.base_lrs) :]]  # groups may have joined the optimiser
        self.rates = self.rates_at(self.epoch + 1, self.base_lrs)
        self.epoch += 1


class StepLR(LRSchedule):
    """lr = base_lr * gamma^(epoch // step_size). Both are above 0; ValueError for other numbers."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1):
        self.step_size = check_count("StepLR: step_size", step_size)
        self.gamma = check_number("StepLR: gamma", gamma, "(0, inf)")
        super().__init__(optimizer, step_size=self.step_size, gamma=self.gamma)

    def lr_at(self, epoch: int, base_lr: float) -> float:
        return base_lr * self.gamma ** (epoch // self.step_size)


class CosineLR(LRSchedule):
    """Half a cosine from base_lr down to eta_min over T_max epochs (Loshchilov & Hutter 2017).

    After T_max the rate rises again, to base_lr at 2 * T_max, as PyTorch's does. Take the number of epochs that you
    train for as T_max. Raises ValueError for T_max below 1, and for an eta_min that is negative or above the rate of
    a group.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0):
        self.T_max = check_count("CosineLR: T_max", T_max)
        self.eta_min = check_number("CosineLR: eta_min", eta_min)
        super().__init__(optimizer, T_max=self.T_max, eta_min=self.eta_min)
        if self.eta_min > (lowest := min(self.base_lrs)):
            raise ValueError(f"CosineLR: eta_min={eta_min}; expected at most {lowest}, the rate that it starts from")

    def lr_at(self, epoch: int, base_lr: float) -> float:
        return self.eta_min + (base_lr - self.eta_min) * (1 + math.cos(math.pi * epoch / self.T_max)) / 2


class ReduceOnPlateau(LRSchedule):
    """Multiply the rate by `factor` when a metric has not improved for over `patience` epochs.

    Args:
        optimizer: whose rates are lowered, each group's on its own.
        factor: between 0 and 1.
        patience: how many epochs without improvement are waited for, 0 or more.
        threshold: a metric has improved when it is better than the best by more than `threshold * abs(best)`, also
            where it is negative.
        min_lr: the bound below which no rate is lowered.
        mode: "min" where a lower metric is better, "max" where a higher one is.

    A metric that is not finite is never an improvement. Raises ValueError for numbers out of range.
    """

    progress = (*LRSchedule.progress, "best", "bad_epochs")

    def __init__(
        self, optimizer: Optimizer, factor: float = 0.1, patience: int = 10, threshold: float = 1e-4,
        min_lr: float = 0.0, mode: str = "min",
    ):  # fmt: skip
        self.factor = check_number("ReduceOnPlateau: factor", factor, "(0, 1)")
        self.patience = check_count("ReduceOnPlateau: patience", patience, 0)
        self.threshold = check_number("ReduceOnPlateau: threshold", threshold)
        self.min_lr = check_number("ReduceOnPlateau: min_lr", min_lr)
        self.mode = check_choice("ReduceOnPlateau: mode", mode, ("min", "max"))
        self.none_yet = math.inf if mode == "min" else -math.inf  # `best` before the first metric
        self.best, self.bad_epochs = self.none_yet, 0
        names = ("factor", "patience", "threshold", "min_lr", "mode")
        super().__init__(optimizer, **{name: getattr(self, name) for name in names})

    def step(self, metric: Any) -> None:  # type: ignore[override]
        """An epoch is over. `metric` is a number, or an array or Tensor of no dimension; ValueError for others."""
        value = _number("ReduceOnPlateau: metric", metric)
        self.epoch += 1
        if self._improves(value):
            self.best, self.bad_epochs = value, 0
        else:
            self.bad_epochs += 1
        if self.bad_epochs > self.patience:
            self.bad_epochs = 0
            # A rate that is below min_lr already is not raised.
            self.rates = [min(lr, max(lr * self.factor, self.min_lr)) for lr in self.rates]

    def _improves(self, value: float) -> bool:
        if not math.isfinite(value) or not math.isfinite(self.best):  # the first finite number counts as an improvement
            return math.isfinite(value)
        fall = self.best - value if self.mode == "min" else value - self.best
        return fall > self.threshold * abs(self.best)

    def rates_at(self, epoch: int, base_lrs: list[float]) -> list[float]:
        """The rates of now: they follow from all metrics before, not from the epoch."""
        return self.rates


def _number(name: str, value: Any) -> float:
    """`value` as a float, NaN and infinities included. Raises ValueError for anything but one real number."""
    value = data_of(value)
    if is_array(value) and value.shape == ():
        value = value.item()
    if isinstance(value, (float, np.floating)) and not math.isfinite(value):
        return float(value)
    return check_number(name, value, "(-inf, inf)")
