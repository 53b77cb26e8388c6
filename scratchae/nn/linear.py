"""Fully connected layer, and the layers that only change shapes."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae.nn import init
from scratchae.nn.module import Module, Parameter


class Layer(Module):
    """A module that keeps its constructor's options as attributes of the same names."""

    def describe(self) -> str:
        """The options as the constructor takes them, without those at their defaults."""
        signatures = (inspect.signature(cls).parameters for cls in type(self).__mro__)
        options = next(s for s in signatures if all(hasattr(self, name) for name in s))
        values = {name: option(self, name) for name in options}
        names = {name: "" if p.default is p.empty else f"{name}=" for name, p in options.items()}
        return ", ".join(f"{names[n]}{value!r}" for n, value in values.items() if value != options[n].default)


def option(layer: Any, name: str) -> Any:
    """What `layer` was made with: its attribute of that name, but for `bias`, which is an array there."""
    value = getattr(layer, name)
    return value is not None if name == "bias" else value


def check_sizes(layer: Module, **sizes: Any) -> None:
    """Refuse what is no positive integer."""
    for name, value in sizes.items():
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{type(layer).__name__}: {name}={value!r}; expected an integer of at least 1")


class Linear(Layer):
    """y = x W^T + b on the last axis: (..., in_features) to (..., out_features).

    `weight` (out_features, in_features) and `bias` (out_features) start uniform in
    [-1/sqrt(in_features), 1/sqrt(in_features)], as PyTorch's do.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        check_sizes(self, in_features=in_features, out_features=out_features)
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


def new_parameters(shape: tuple[int, ...], outputs: int, bias: bool) -> tuple[Parameter, Parameter | None]:
    """A weight and a bias, uniform in [-1/sqrt(fan_in), 1/sqrt(fan_in)]: how PyTorch's layers start."""
    bound = 1 / math.sqrt(init.fans(shape)[0])

    def uniform(*shape: int) -> Parameter:
        made = Parameter(np.empty(shape, np.float32))
        init.uniform_(made, -bound, bound)
        return made

    return uniform(*shape), uniform(outputs) if bias else None


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


class Flatten(Layer):
    """(N, a, b, ...) to (N, a b ...)."""

    def __init__(self, start_dim: int = 1):
        self.start_dim = start_dim

    def forward(self, x: Any) -> Any:
        if x.ndim <= self.start_dim:
            raise ValueError(f"Flatten: the input has shape {x.shape}; expected over {self.start_dim} dimensions")
        flat = (*x.shape[: self.start_dim], math.prod(x.shape[self.start_dim :]))
        return x if x.shape == flat else F.reshape(x, flat)


class Unflatten(Layer):
    """One dimension split into several: Unflatten(1, (1, 28, 28)) makes images of (N, 784)."""

    def __init__(self, dim: int, shape: tuple[int, ...]):
        self.dim, self.shape = dim, tuple(shape)

    def forward(self, x: Any) -> Any:
        if not -x.ndim <= self.dim < x.ndim or x.shape[self.dim] != math.prod(self.shape):
            wanted = f"{math.prod(self.shape)} in dimension {self.dim}"
            raise ValueError(f"Unflatten({self.describe()}): the input has shape {x.shape}; expected {wanted}")
        dim = self.dim % x.ndim
        return F.reshape(x, (*x.shape[:dim], *self.shape, *x.shape[dim + 1 :]))


class Identity(Module):
    """The input itself."""

    def forward(self, x: Any) -> Any:
        return x
