"""Learning-rate schedules: `step()` once per epoch changes the optimiser's rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from scratchae.optim.base import Optimizer


class _Schedule:
    """The learning rate as a function of the epoch; every group's own rate is scaled."""

    def __init__(self, optimizer: Optimizer):
        self.optimizer = optimizer
        self.epoch = 0
        self.base_lrs = [group["lr"] for group in optimizer.param_groups]

    def lr_at(self, epoch: int, base_lr: float) -> float:
        raise NotImplementedError

    def step(self) -> None:
        self.epoch += 1
        for group, base_lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = self.lr_at(self.epoch, base_lr)

    _progress: tuple[str, ...] = ("epoch", "base_lrs")

    def state_dict(self) -> dict[str, Any]:
        """How far it has come; what it is set to (`T_max`, `gamma`, ...) stays the constructor's."""
        return {name: getattr(self, name) for name in self._progress}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if set(state) != (expected := set(self.state_dict())):
            raise ValueError(f"the state holds {sorted(state)}, expected {sorted(expected)}; nothing was loaded")
        vars(self).update(state)


class StepLR(_Schedule):
    """lr = base_lr * gamma^(epoch // step_size)."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1):
        super().__init__(optimizer)
        if step_size < 1:
            raise ValueError(f"StepLR: step_size={step_size}; expected at least 1 epoch")
        self.step_size, self.gamma = step_size, gamma

    def lr_at(self, epoch: int, base_lr: float) -> float:
        return base_lr * self.gamma ** (epoch // self.step_size)


class CosineLR(_Schedule):
    """Half a cosine from base_lr down to eta_min over T_max epochs (Loshchilov & Hutter 2017)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0):
        super().__init__(optimizer)
        if T_max < 1:
            raise ValueError(f"CosineLR: T_max={T_max}; expected at least 1 epoch")
        self.T_max, self.eta_min = T_max, eta_min

    def lr_at(self, epoch: int, base_lr: float) -> float:
        return self.eta_min + (base_lr - self.eta_min) * (1 + math.cos(math.pi * epoch / self.T_max)) / 2


class ReduceOnPlateau(_Schedule):
    """Multiply the rate by `factor` when the metric has not improved by a ten-thousandth for over `patience` epochs."""

    _progress = ("epoch", "base_lrs", "best", "bad_epochs")

    def __init__(self, optimizer: Optimizer, factor: float = 0.1, patience: int = 10, threshold: float = 1e-4):
        super().__init__(optimizer)
        if not 0 < factor < 1 or patience < 0:
            given = f"factor={factor}, patience={patience}"
            raise ValueError(f"ReduceOnPlateau: {given}; expected 0 < factor < 1 and patience >= 0")
        self.factor, self.patience, self.threshold = factor, patience, threshold
        self.best, self.bad_epochs = math.inf, 0

    def step(self, metric: float) -> None:  # type: ignore[override]
        self.epoch += 1
        if metric < self.best * (1 - self.threshold):
            self.best, self.bad_epochs = float(metric), 0
        else:
            self.bad_epochs += 1
        if self.bad_epochs > self.patience:
            self.bad_epochs = 0
            for group in self.optimizer.param_groups:
                group["lr"] *= self.factor
