"""What an object was made with, in plain values: whether two runs are the same is told from these.

A number among an object's attributes may change while a run goes on, a `beta` that warms up for instance. The options
that its constructor was given do not.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


class MadeWith:
    """Keeps the options that its constructor was given, by name and with the defaults, as `made_with`."""

    made_with: Mapping[str, Any] = {}

    def __new__(cls, *args: Any, **options: Any) -> Any:
        made = super().__new__(cls)
        try:
            bound = inspect.signature(cls.__init__).bind(made, *args, **options)
        except TypeError:  # a copy, or a call that the constructor refuses by itself
            return made
        bound.apply_defaults()
        _, *given = bound.arguments.items()
        with contextlib.suppress(RecursionError):  # a list that contains itself
            vars(made)["made_with"] = {name: plain(value) for name, value in given if not _holds_modules(value)}
        return made

    # What a class without a constructor of its own takes, for `inspect.signature`: nothing.
    __new__.__signature__ = inspect.Signature([inspect.Parameter("cls", inspect.Parameter.POSITIONAL_ONLY)])  # type: ignore[attr-defined]


def plain(value: Any) -> Any:
    """A value as JSON has it; functions and objects by their names and by what they were made with."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, functools.partial):
        return ["partial", plain(value.func), plain(value.args), plain(value.keywords)]
    if inspect.isroutine(value):
        return _function(value)
    if isinstance(value, type):
        return value.__qualname__
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{type(value).__qualname__} of {value.dtype} {list(value.shape)}"
    kind, made_with = type(value).__qualname__, getattr(value, "made_with", None)
    return {"class": kind, **made_with} if isinstance(made_with, Mapping) else kind


def _function(function: Callable[..., Any]) -> Any:
    """Its name. One that is written in place has none of its own, so what it reads is told too."""
    code, name = getattr(function, "__code__", None), getattr(function, "__qualname__", repr(function))
    if code is None or "<" not in name:  # <lambda>, or <locals> of another function
        return name
    constants = [c for c in code.co_consts if isinstance(c, (int, float, str))]
    cells = [plain(c.cell_contents) for c in function.__closure__ or () if c.cell_contents is not function]
    return [name, list(code.co_names), constants, cells]


def structure(model: Any, name: str = "model") -> dict[str, Any]:
    """The options and the kind of each module inside `model`, by its path and in order."""
    found: dict[str, Any] = {}
    for path, module in model.named_modules(name):
        found |= {f"{path}.{option}": value for option, value in module.made_with.items()}
        found[path] = type(module).__qualname__
    return found


def settings_of(model: Any) -> dict[str, Any]:
    """Numbers and strings among the attributes of all modules: beta, decoder.2.p, ..."""
    return {
        f"{path}.{name}" if path else name: value
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, (int, float, str)) and name != "training"
    }


def frozen(model: Any) -> list[str]:
    """The names of the parameters that are not trained."""
    return [name for name, p in model.named_parameters() if not p.requires_grad]


def _holds_modules(value: Any) -> bool:
    """Whether it is a module, or a container with one: those have paths of their own in `structure`."""
    if isinstance(value, (list, tuple, Mapping)):
        return any(map(_holds_modules, value.values() if isinstance(value, Mapping) else value))
    return hasattr(value, "named_modules") and not isinstance(value, type)


def same(a: Any, b: Any) -> bool:
    """Whether plain values are equal; True is not 1, and NaN equals itself."""
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    both_nan = isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)
    return both_nan or (isinstance(a, bool) == isinstance(b, bool) and a == b)


def differences(own: Mapping[str, Any], theirs: Mapping[str, Any], most: int = 8) -> str:
    """What is different in two such dicts, in words; "" where nothing is."""
    names = [n for n in {**own, **theirs} if not same(own.get(n), theirs.get(n)) or (n in own) != (n in theirs)]
    if not names and list(own) != list(theirs):
        return "its layers in another order"
    told = [f"{n} {own.get(n)!r}, not {theirs.get(n)!r}" for n in names[:most]]
    return "; ".join(told) + (f" and {len(names) - most} more" if len(names) > most else "")
