"""How a layer is described in `repr` and in errors: by the options that differ from the defaults."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np

from scratchae.nn.module import Module


def describe(self: Any) -> str:
    """The constructor's arguments: those without a default as values, others as `name=value`.

    An argument at its default is left out. A tuple of one number counts as the number.
    """
    told = []
    _, *parameters = inspect.signature(type(self).__init__).parameters.values()
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        name = parameter.name
        value = option(self, name) if hasattr(self, name) else getattr(self, "_made_with", {}).get(name)
        value = value[0] if isinstance(value, tuple) and len(value) == 1 else value
        if parameter.default is parameter.empty:
            told.append(text_of(value))
        elif not hasattr(value, "shape") and not _equal(value, parameter.default):  # an array is too long to tell
            told.append(f"{name}={text_of(value)}")
    return ", ".join(told)


def text_of(value: Any) -> str:
    """`repr` of an option. A function is its name, a partial `leaky_relu, slope=0.2`, an array its shape."""
    if isinstance(value, functools.partial):
        options = [f"{name}={text_of(option)}" for name, option in value.keywords.items()]
        return ", ".join([*map(text_of, (value.func, *value.args)), *options])
    if callable(value) and not isinstance(value, Module):
        return getattr(value, "__name__", type(value).__name__)
    shape = getattr(value, "shape", ())
    return f"{type(value).__name__} of shape {shape}" if shape else repr(value)


def _equal(value: Any, default: Any) -> bool:
    """Whether an option is at its default, which may be an array or an object of any kind."""
    try:
        return bool(np.all(value == default))
    except Exception:  # an object that cannot be compared
        return False


def option(layer: Any, name: str) -> Any:
    """An option of a layer: the attribute of that name, or whether there is one where the option is `bias`."""
    value = getattr(layer, name)
    return value is not None if name == "bias" else value
