"""Adagrad, two more learning-rate schedules, and groups of parameters that join an optimiser later."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

from scratchae.backend import Array, xp_of
from scratchae.checks import check_count, check_number, shown
from scratchae.optim import Optimizer, ReduceOnPlateau
from scratchae.optim.algorithms import with_decay
from scratchae.optim.base import check_leaves, tensors
from scratchae.optim.schedules import LRSchedule


def add_param_group(self: Optimizer, group: dict[str, Any]) -> None:
    """Add a group `{"params": [...], "lr": ..., ...}`; the constructor gave the options that the group leaves out.

    A schedule takes the new group in, from the rate that the group has. Raises, with nothing changed, the errors of the
    constructor, and ValueError for a parameter that the optimiser has already.
    """
    if not isinstance(group, dict):
        found = type(group).__name__
        raise TypeError(f"add_param_group takes a dict {{'params': [...], ...}}, got a {found}; nothing was added")
    group = {**group, "params": tensors(group.get("params", []))}
    check_leaves([p for known in (*self.param_groups, group) for p in known["params"]])
    new = copy.copy(self)
    Optimizer.__init__(new, [group], **self.defaults)
    self.param_groups += new.param_groups
    self.made_with += new.made_with
    self._updaters += new._updaters


class Adagrad(Optimizer):
    """p -= lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) + eps), with s the sum of all g^2 so far (Duchi et al. 2011).

    The step counts as t from 1, and s starts from `initial_accumulator_value`.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, lr_decay: float = 0.0, weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0, eps: float = 1e-10,
    ):  # fmt: skip
        super().__init__(
            params, lr=lr, lr_decay=lr_decay, weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value, eps=eps,
        )  # fmt: skip

    def state_names(self, group: dict) -> tuple[str, ...]:
        return ("sum_sq",)

    def update(self, p: Array, g: Array, state: dict[str, Array], step: int, group: dict, scratch: Array) -> None:
        xp, (t, decayed), s = xp_of(p), scratch, state["sum_sq"]
        g = with_decay(xp, p, g, group["weight_decay"], decayed)
        if step == 1:
            s += group["initial_accumulator_value"]
        s += xp.multiply(g, g, out=t)
        xp.sqrt(s, out=t)
        t += group["eps"]
        xp.divide(g, t, out=t)
        t *= group["lr"] / (1 + (step - 1) * group["lr_decay"])
        p -= t


class LambdaLR(LRSchedule):
    """lr = base_lr * f(epoch), from f(0) at the start.

    Raises TypeError where `f` is no function, and ValueError where `f` gives no finite number of at least 0.
    """

    def __init__(self, optimizer: Optimizer, f: Callable[[int], float]):
        if not callable(f):
            raise TypeError(f"LambdaLR: f={shown(f)}; expected a function of the epoch, such as lambda e: 0.95**e")
        self.f = f
        super().__init__(optimizer, f=f)
        self.rates = self.rates_at(0, self.base_lrs)

    def lr_at(self, epoch: int, base_lr: float) -> float:
        return base_lr * check_number("f(epoch)", self.f(epoch))


class WarmupLR(LRSchedule):
    """A rate that rises for `steps` calls of `step()`, in equal parts from base_lr / (steps + 1) to base_lr.

    Then the schedule `after` goes on from its beginning. Make `after` first, of the same optimiser, and step the
    WarmupLR alone:

        schedule = optim.WarmupLR(optimizer, 5, optim.CosineLR(optimizer, 45))

    Without `after`, the rates are left alone after the warm-up. A ReduceOnPlateau of its own may lower them then.
    `sa.Schedule` steps once per epoch; a loop of your own may step once per batch.

    Raises ValueError for `steps` below 1 and for a schedule of another optimiser, and TypeError for something else as
    `after`.
    """

    def __init__(self, optimizer: Optimizer, steps: int, after: LRSchedule | None = None):
        self.steps = check_count("WarmupLR: steps", steps)
        if isinstance(after, ReduceOnPlateau):
            raise TypeError("WarmupLR: a ReduceOnPlateau needs a metric; leave `after` out, and step both schedules")
        if not isinstance(after, (LRSchedule, type(None))):
            raise TypeError(f"WarmupLR: after={shown(after)}; expected a schedule, such as CosineLR(optimizer, 10)")
        if after is not None and after.optimizer is not optimizer:
            raise ValueError("WarmupLR: `after` is a schedule of another optimiser; make both of the same")
        self.after = after
        super().__init__(optimizer, steps=self.steps, after=after)
        self.base_lrs = self.base_lrs if after is None else list(after.base_lrs)
        self.rates = self.rates_at(0, self.base_lrs)

    def rates_at(self, epoch: int, base_lrs: list[float]) -> list[float]:
        """The rates after `epoch` steps; those of now where nothing follows the warm-up."""
        if self.after is None and epoch > self.steps:
            return self.rates
        full = base_lrs if self.after is None else self.after.rates_at(max(epoch - self.steps, 0), base_lrs)
        return [lr * min(1.0, (epoch + 1) / (self.steps + 1)) for lr in full]
