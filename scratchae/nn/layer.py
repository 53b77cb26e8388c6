"""What layers are made with: their options, first weights, and the check of what comes in."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

from scratchae.autograd import Tensor
from scratchae.backend import plain_array
from scratchae.checks import check_bool, check_count, check_fits, check_number, shown
from scratchae.nn import init
from scratchae.nn.module import Module, Parameter

MOST_DIMENSIONS = 64  # of NumPy's arrays


class Layer(Module):
    """A module that keeps its constructor's options as attributes of the same names, and takes an array first."""

    def _taken(self, x: Any) -> Any:
        """An array of real numbers; TypeError that names the layer for anything else.

        A layer of somebody else's, with a `forward` of its own, takes what it likes.
        """
        if isinstance(x, Tensor) or not type(self).forward.__module__.startswith("scratchae."):
            return x
        if isinstance(x, (int, float, np.generic)):
            x = np.asarray(x, None if isinstance(x, np.generic) else np.float32)
        try:
            return plain_array(x, "the input")
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}({self.describe()}): {error}") from None

    def describe(self) -> str:
        """The options as the constructor takes them, without those at their defaults."""
        signatures = (inspect.signature(cls).parameters for cls in type(self).__mro__)
        options = next(s for s in signatures if all(hasattr(self, name) for name in s))
        values = {name: value for name in options if not hasattr(value := option(self, name), "shape")}  # no arrays
        names = {name: "" if p.default is p.empty else f"{name}=" for name, p in options.items()}
        return ", ".join(f"{names[n]}{value!r}" for n, value in values.items() if value != options[n].default)


def option(layer: Any, name: str) -> Any:
    """What `layer` was made with: its attribute of that name, but for `bias`, which is an array there."""
    value = getattr(layer, name)
    return value is not None if name == "bias" else value


# The checks of a constructor's options: ValueErrors that name layer and option.


def size(layer: Module, name: str, value: Any) -> int:
    """`value` as an int; it must be at least 1."""
    return check_count(f"{type(layer).__name__}: {name}", value)


def number(layer: Module, name: str, value: Any, within: str) -> float:
    """`value` as a float; it must be in the interval, see `check_number`."""
    return check_number(f"{type(layer).__name__}: {name}", value, within)


def dimension(layer: Module, name: str, value: Any) -> int:
    """`value` as an int, a place among the dimensions of an array; negative ones count from the last."""
    return check_count(f"{type(layer).__name__}: {name}", value, least=-MOST_DIMENSIONS)


def shape_of(layer: Module, name: str, value: Any) -> tuple[int, ...]:
    """`value` as a tuple of sizes: several integers of at least 1, or a single one."""
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not sizes:
        raise ValueError(f"{type(layer).__name__}: {name}={shown(value)}; expected at least one size")
    return tuple(size(layer, name if len(sizes) == 1 else f"{name}[{i}]", n) for i, n in enumerate(sizes))


def new_parameters(
    layer: Module, shape: tuple[int, ...], outputs: int, bias: bool
) -> tuple[Parameter, Parameter | None]:
    """A weight and a bias, uniform in [-1/sqrt(fan_in), 1/sqrt(fan_in)]: how PyTorch's layers start."""
    bias = check_bool(f"{type(layer).__name__}: bias", bias)
    check_fits(f"{type(layer).__name__}: a weight of shape {shape}", shape)
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
