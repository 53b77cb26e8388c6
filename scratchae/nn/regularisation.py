"""Layers that add randomness in train mode and do nothing in eval mode."""

from __future__ import annotations

from typing import Any

from scratchae import functional as F
from scratchae.nn.layer import Layer, number


class Dropout(Layer):
    """In train mode, each element becomes 0 with probability `p`, the others are divided by 1 - p."""

    def __init__(self, p: float = 0.5):
        self.p = number(self, "p", p, "[0, 1]")

    def forward(self, x: Any) -> Any:
        return F.dropout(x, self.p, self.training)


class GaussianNoise(Layer):
    """In train mode, adds noise from N(0, std^2)."""

    def __init__(self, std: float = 0.1):
        self.std = number(self, "std", std, "[0, inf)")

    def forward(self, x: Any) -> Any:
        if not self.training or self.std == 0:
            return x
        return x + F.normal_like(x) * self.std
