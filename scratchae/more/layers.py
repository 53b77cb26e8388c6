"""Layers for arrays of any shape."""

from typing import Any

from scratchae import functional as F
from scratchae.nn.layer import Layer, number
from scratchae.nn.module import titled


class GaussianNoise(Layer):
    """In train mode, adds noise from N(0, std^2)."""

    def __init__(self, std: float = 0.1):
        self.std = number(self, "std", std, "[0, inf)")

    def forward(self, x: Any) -> Any:
        if not self.training or self.std == 0:
            return x
        if x.dtype.kind != "f":
            raise TypeError(f"{titled(self)}: the input is {x.dtype}; convert it with .astype('float32')")
        return x + F.normal_like(x) * self.std
