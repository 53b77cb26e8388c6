"""Layer: the base class of layers, the checks of options and inputs, and the first weights."""

import math
from typing import Any

import numpy as np

from scratchae.checks import check_bool, check_count, check_fits, check_number, shown
from scratchae.nn import init
from scratchae.nn.module import Module, Parameter, titled


class Layer(Module):
    """A module of one array that keeps its constructor's options as attributes of the same names.

    debug/ attaches a `describe` that prints these options.
    """


# The checks of a constructor's options: ValueErrors that name layer and option.


def size(layer: Module, name: str, value: Any, least: int = 1) -> int:
    """`value` as an int; it must be at least `least`."""
    return check_count(f"{type(layer).__name__}: {name}", value, least)


def number(layer: Module, name: str, value: Any, within: str) -> float:
    """`value` as a float; it must be in the interval, see `check_number`."""
    return check_number(f"{type(layer).__name__}: {name}", value, within)


def dimension(layer: Module, name: str, value: Any) -> int:
    """`value` as an int, the number of a dimension of an array. NumPy's arrays have at most 64 of them."""
    return size(layer, name, value, least=-64)


def shape_of(layer: Module, name: str, value: Any) -> tuple[int, ...]:
    """`value` as a tuple of sizes: several integers of at least 1, or a single one."""
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not sizes:
        raise ValueError(f"{type(layer).__name__}: {name}={shown(value)}; expected at least one size")
    return tuple(size(layer, name if len(sizes) == 1 else f"{name}[{i}]", n) for i, n in enumerate(sizes))


def new_parameters(layer: Module, shape: tuple[int, ...], n: int, bias: bool) -> tuple[Parameter, Parameter | None]:
    """A weight of `shape` and a bias of `n` numbers, uniform in [-1/sqrt(fan_in), 1/sqrt(fan_in)] as in PyTorch."""
    bias = check_bool(f"{type(layer).__name__}: bias", bias)
    check_fits(f"{type(layer).__name__}: a weight of shape {shape}", shape)
    bound = 1 / math.sqrt(init.fans(shape)[0])

    def uniform(*shape: int) -> Parameter:
        made = Parameter(np.empty(shape, np.float32))
        init.uniform_(made, -bound, bound)
        return made

    return uniform(*shape), uniform(n) if bias else None


def check_dtype(layer: Module, x: Any, weight: Parameter) -> None:
    """Raise TypeError where input and weights differ in dtype.

    NumPy would go on in the wider dtype, through all later layers.
    """
    if x.dtype != weight.dtype:
        advice = f"convert the input with .astype('{weight.dtype}')"
        if x.dtype == np.uint8:
            advice += " / 255"
        elif x.dtype.kind == "f":
            advice += f", or the model with .to(np.{x.dtype})"
        raise TypeError(f"{titled(layer)}: the input is {x.dtype}, the weights are {weight.dtype}; {advice}")
