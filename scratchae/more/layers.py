"""Layers for arrays of any shape."""

from typing import Any

from scratchae import functional as F
from scratchae.autograd import primitive
from scratchae.autograd.elementwise import masked
from scratchae.autograd.precision import in_float32
from scratchae.backend import Array, xp_of
from scratchae.nn.layer import Layer, number
from scratchae.nn.module import Module, titled


@in_float32
def silu(x: Any) -> Any:
    """x sigmoid(x), also called swish (Hendrycks & Gimpel 2016)."""
    return x * F.sigmoid(x)


@primitive(x=lambda g, x, min_val, max_val: masked(g, (x > min_val) & (x < max_val)))
def hardtanh(x: Array, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """`x` limited to `min_val` and `max_val`. The gradient is 1 between the bounds and 0 elsewhere, as in PyTorch.

    The gradient of `clip` is 1 on the bounds too.
    """
    return xp_of(x).clip(x, min_val, max_val)


def check_floats(layer: Layer, x: Any) -> None:
    """Raise TypeError for an input of integers or booleans."""
    if x.dtype.kind != "f":
        raise TypeError(f"{titled(layer)}: the input is {x.dtype}; convert it with .astype('float32')")


class SiLU(Layer):
    """x sigmoid(x)."""

    def forward(self, x: Any) -> Any:
        return silu(x)


class Hardtanh(Layer):
    """x between `min_val` and `max_val`, and these bounds elsewhere."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0):
        self.min_val = number(self, "min_val", min_val, "(-inf, inf)")
        self.max_val = number(self, "max_val", max_val, f"({self.min_val}, inf)")

    def forward(self, x: Any) -> Any:
        return hardtanh(x, self.min_val, self.max_val)


class GaussianNoise(Layer):
    """In train mode, adds noise from N(0, std^2)."""

    def __init__(self, std: float = 0.1):
        self.std = number(self, "std", std, "[0, inf)")

    def forward(self, x: Any) -> Any:
        if not self.training or self.std == 0:
            return x
        check_floats(self, x)
        return x + F.normal_like(x) * self.std


class Residual(Module):
    """x + net(x): the module `net` learns a change of its input (He et al. 2016). `net` must keep the shape."""

    def __init__(self, net: Module):
        if not isinstance(net, Module):
            raise TypeError(f"Residual: net is a {type(net).__name__}; expected a module, such as nn.Sequential(...)")
        self.net = net

    def forward(self, x: Any) -> Any:
        change = self.net(x)
        if change.shape != x.shape:
            raise ValueError(f"Residual: net makes shape {change.shape} of shape {x.shape}; expected equal shapes")
        return x + change
