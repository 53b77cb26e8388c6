"""Fully connected layer, and the layers that only change shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae.nn import init
from scratchae.nn.module import Module, Parameter


class Linear(Module):
    """y = x W^T + b on the last axis: (..., in_features) to (..., out_features).

    `weight` (out_features, in_features) and `bias` (out_features) start uniform in
    [-1/sqrt(in_features), 1/sqrt(in_features)], as PyTorch's do.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"Linear: {name}={value!r}; expected an integer of at least 1")
        self.in_features, self.out_features = in_features, out_features
        self.weight, self.bias = new_parameters((out_features, in_features), out_features, bias)

    def forward(self, x: Any) -> Any:
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            fits_flat = math.prod(x.shape[1:]) == self.in_features
            raise ValueError(
                f"Linear({self.describe()}): the input has shape {x.shape}, whose last dimension must be "
                f"{self.in_features}; the weight has shape {self.weight.shape}"
                + ("; flatten the images first, with nn.Flatten()" if fits_flat else "")
            )
        check_dtype(self, x, self.weight)
        return F.linear(x, self.weight, self.bias)

    def describe(self) -> str:
        return f"{self.in_features}, {self.out_features}" + ("" if self.bias is not None else ", bias=False")


def new_parameters(shape: tuple[int, ...], outputs: int, bias: bool) -> tuple[Parameter, Parameter | None]:
    """A weight and a bias, uniform in [-1/sqrt(fan_in), 1/sqrt(fan_in)]: how PyTorch's layers start."""
    bound = 1 / math.sqrt(init.fans(shape)[0])
    weight = Parameter(np.empty(shape, np.float32))
    init.uniform_(weight, -bound, bound)
    if not bias:
        return weight, None
    offset = Parameter(np.empty(outputs, np.float32))
    init.uniform_(offset, -bound, bound)
    return weight, offset


def check_dtype(layer: Module, x: Any, weight: Parameter) -> None:
    """Refuse to mix dtypes: NumPy would compute everything after this layer in the wider one."""
    if x.dtype != weight.dtype:
        advice = f"convert the input with .astype('{weight.dtype}')"
        if x.dtype == np.uint8:
            advice += " / 255"
        elif x.dtype.kind == "f":
            advice += f", or the model with .to(np.{x.dtype})"
        name = f"{type(layer).__name__}({layer.describe()})"
        raise TypeError(f"{name}: the input is {x.dtype}, the weights are {weight.dtype}; {advice}")


class Flatten(Module):
    """(N, a, b, ...) to (N, a b ...)."""

    def __init__(self, start_dim: int = 1):
        self.start_dim = start_dim

    def forward(self, x: Any) -> Any:
        if x.ndim <= self.start_dim:
            raise ValueError(f"Flatten: the input has shape {x.shape}; expected over {self.start_dim} dimensions")
        flat = (*x.shape[: self.start_dim], math.prod(x.shape[self.start_dim :]))
        return x if x.shape == flat else F.reshape(x, flat)


class Unflatten(Module):
    """One dimension split into several: Unflatten(1, (1, 28, 28)) makes images of (N, 784)."""

    def __init__(self, dim: int, shape: tuple[int, ...]):
        self.dim, self.shape = dim, tuple(shape)

    def forward(self, x: Any) -> Any:
        if not -x.ndim <= self.dim < x.ndim or x.shape[self.dim] != math.prod(self.shape):
            wanted = f"{math.prod(self.shape)} in dimension {self.dim}"
            raise ValueError(f"Unflatten({self.describe()}): the input has shape {x.shape}; expected {wanted}")
        dim = self.dim % x.ndim
        return F.reshape(x, (*x.shape[:dim], *self.shape, *x.shape[dim + 1 :]))

    def describe(self) -> str:
        return f"{self.dim}, {self.shape}"


class Identity(Module):
    """The input itself."""

    def forward(self, x: Any) -> Any:
        return x
