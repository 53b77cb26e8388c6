"""Layers that add randomness in train mode and do nothing in eval mode."""

from __future__ import annotations

from typing import Any

from scratchae import functional as F
from scratchae.autograd import Tensor
from scratchae.nn.module import Module
from scratchae.random import normal_like


class Dropout(Module):
    """In train mode, each element becomes 0 with probability `p`, the others are divided by 1 - p."""

    def __init__(self, p: float = 0.5):
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p={p}; expected 0 <= p <= 1")
        self.p = p

    def forward(self, x: Any) -> Any:
        return F.dropout(x, self.p, self.training)

    def describe(self) -> str:
        return f"{self.p}"


class GaussianNoise(Module):
    """In train mode, adds noise from N(0, std^2)."""

    def __init__(self, std: float = 0.1):
        if not 0 <= std < float("inf"):
            raise ValueError(f"GaussianNoise: std={std}; expected a finite number of at least 0")
        self.std = std

    def forward(self, x: Any) -> Any:
        if not self.training or self.std == 0:
            return x
        return x + normal_like(x.data if isinstance(x, Tensor) else x) * self.std

    def describe(self) -> str:
        return f"{self.std}"
