"""What layers are made with: their options, first weights, and the check of what comes in."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

from scratchae.checks import check_count
from scratchae.nn import init
from scratchae.nn.module import Module, Parameter


class Layer(Module):
    """A module that keeps its constructor's options as attributes of the same names."""

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


def check_sizes(layer: Module, **sizes: Any) -> None:
    """ValueError that names layer and option, where one is no integer of at least 1."""
    for name, value in sizes.items():
        check_count(f"{type(layer).__name__}: {name}", value)


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
