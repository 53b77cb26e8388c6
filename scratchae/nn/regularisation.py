"""Layers that add randomness in train mode and do nothing in eval mode."""

from __future__ import annotations

from numbers import Real
from typing import Any

from scratchae import functional as F
from scratchae.checks import shown
from scratchae.nn.layer import Layer, number


class Dropout(Layer):
    """In train mode, each element becomes 0 with probability `p`, the others are divided by 1 - p."""

    def __init__(self, p: float = 0.5):
        if not isinstance(p, Real) or isinstance(p, bool) or not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p={shown(p)}; expected a number with 0 <= p <= 1")
        self.p: float = float(p)

    def forward(self, x: Any) -> Any:
        return F.dropout(x, self.p, self.training)

    def describe(self) -> str:
        return f"{self.p}"


class GaussianNoise(Layer):
    """In train mode, adds noise from N(0, std^2)."""

    def __init__(self, std: float = 0.1):
        self.std = number(self, "std", std, "[0, inf)")

    def forward(self, x: Any) -> Any:
        if not self.training or self.std == 0:
            return x
        return x + F.normal_like(x) * self.std

    def describe(self) -> str:
        return f"{self.std}"
