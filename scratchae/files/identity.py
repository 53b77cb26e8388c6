"""Plain values of what a run was made with. Two runs are the same if these values are equal.

A number among an object's attributes, such as a `beta` that warms up, may change while a run goes on. The options of
the object's constructor do not change.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import hashlib
import inspect
import math
from collections import UserDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from scratchae.nn.linear import Sequential

NO_SETTINGS = ("training", "_buffers", "_made_with")  # a checkpoint keeps these in other ways, or not
_MANY = 1000  # items; of a larger container only the size is compared


def plain_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """A constructor's options as plain values, without modules, which have paths of their own in `structure`."""
    return {name: plain(value) for name, value in given.items() if not _are_modules(value)}


class Options(UserDict):
    """The options that an object was made with; no dict, so that the walk over a module passes them by."""


def noting(owner: Any) -> Callable[..., Any]:
    """A `__new__` for `owner` that keeps the constructor's options in `_made_with`, by name and with the defaults.

    `_made_with` never changes, whatever becomes of the attributes. A class without a constructor has no options.
    """

    def __new__(cls: Any, *args: Any, **options: Any) -> Any:
        made = super(owner, cls).__new__(cls)
        try:
            bound = inspect.signature(cls.__init__).bind(made, *args, **options)
        except TypeError:  # a copy, or a call that the constructor refuses by itself
            return made
        bound.apply_defaults()
        _, *given = bound.arguments.items()  # without self
        vars(made)["_made_with"] = Options(plain_options(dict(given)))
        return made

    # The signature is for `inspect.signature` of a class without a constructor of its own.
    __new__.__signature__ = inspect.Signature([inspect.Parameter("cls", inspect.Parameter.POSITIONAL_ONLY)])  # type: ignore[attr-defined]
    return __new__


def plain(value: Any) -> Any:
    """A value in JSON's types; functions by their names and their code, objects by their class and their numbers."""
    try:
        return _plain(value)
    except Exception:  # an object that answers with errors, or a list that contains itself
        return type(value).__qualname__


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return f"{type(value).__qualname__}.{value.name}"
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, float, str)):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else hex(value)  # Python refuses to print very long ones
    if isinstance(value, (list, tuple, Mapping, set, frozenset)) and len(value) > _MANY:
        return f"{type(value).__qualname__} of {len(value)}"
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k if isinstance(k, str) else repr(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, value))
    if isinstance(value, (bytes, complex, range, slice)):
        return repr(value)[:_MANY]
    if isinstance(value, functools.partial):
        return ["partial", _plain(value.func), _plain(value.args), _plain(value.keywords)]
    if inspect.isroutine(value) or isinstance(value, np.ufunc):
        return _function(value)
    if isinstance(value, type):
        return value.__qualname__
    if hasattr(value, "dtype") and isinstance(getattr(value, "shape", None), tuple):
        small = isinstance(value, np.ndarray) and value.size <= 64  # the weights of classes, say
        return value.tolist() if small else f"{type(value).__qualname__} of {value.dtype} {list(value.shape)}"
    return _object(value)


def _object(value: Any) -> Any:
    kind, made_with = type(value).__qualname__, getattr(value, "_made_with", getattr(value, "made_with", None))
    if not isinstance(made_with, Mapping):
        attributes = getattr(value, "__dict__", {})
        made_with = {k: v for k, v in attributes.items() if v is None or isinstance(v, (bool, int, float, str))}
    return {"class": kind, **_plain(made_with)} if made_with else kind


def _function(function: Callable[..., Any]) -> Any:
    """A function's name, and the object of a bound method. A lambda or a local function adds a hash of its code."""
    owner = getattr(function, "__self__", None)
    if owner is not None and not inspect.ismodule(owner):
        return [_name(function), _object(owner)]
    code, name = getattr(function, "__code__", None), _name(function)
    if code is None or "<" not in name:  # <lambda>, or <locals> of another function
        return name
    constants = [repr(c) for c in code.co_consts if not inspect.iscode(c)]
    told = repr((code.co_code, code.co_names, constants, getattr(function, "__defaults__", None)))
    return [name, hashlib.sha256(told.encode()).hexdigest()[:16], _closed_over(function)]


def _name(function: Any) -> str:
    """The function's name. The ufuncs of NumPy 2.0 have no `__qualname__`."""
    return getattr(function, "__qualname__", getattr(function, "__name__", repr(function)))


def _closed_over(function: Any) -> dict[str, Any]:
    """The variables that a local function reads from around it, without those that the function changes."""
    import dis

    stored = {i.argval for i in dis.get_instructions(function.__code__) if i.opname == "STORE_DEREF"}
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # a cell that is empty yet
            value = cell.cell_contents
            if inspect.isroutine(value) or isinstance(value, type):
                found[name] = value.__qualname__
            elif name not in stored and (value is None or isinstance(value, (bool, int, float, str, tuple))):
                found[name] = plain(value)
    return found


def structure(model: Any, name: str = "model") -> dict[str, Any]:
    """The options and the kind of each module inside `model`, by its path and in order."""
    found: dict[str, Any] = {}
    for path, module in model.named_modules(name):
        if type(module) is not Sequential:  # the layers of a Sequential have paths of their own
            found |= {f"{path}.{option}": value for option, value in module._made_with.items()}
        found[path] = type(module).__qualname__
    return found


def at_defaults(model: Any, name: str = "model") -> set[str]:
    """The names in `structure` of options at their defaults. A file lacks those that are younger than the file."""
    return {
        f"{path}.{option}"
        for path, module in model.named_modules(name)
        for option, parameter in inspect.signature(type(module).__init__).parameters.items()
        if option in module._made_with and same(module._made_with[option], plain(parameter.default))
    }


def settings_of(model: Any, name: str = "") -> dict[str, Any]:
    """Numbers, strings and None among the attributes of all modules, and lists of them: beta, decoder.2.p, ..."""
    return {
        f"{path}.{attribute}" if path else attribute: value
        for path, module in model.named_modules(name)
        for attribute, value in list(vars(module).items())
        if is_setting(value) and attribute not in NO_SETTINGS
    }


def is_setting(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) <= _MANY and all(map(is_setting, value))
    return value is None or isinstance(value, (bool, int, float, str, np.number))


def frozen(model: Any) -> list[str]:
    """The names of the parameters that are not trained."""
    return [name for name, p in model.named_parameters() if not p.requires_grad]


def _are_modules(value: Any) -> bool:
    """Whether `value` is a module, or a container with nothing but modules."""
    if isinstance(value, (list, tuple, Mapping)) and value:
        return all(map(_are_modules, value.values() if isinstance(value, Mapping) else value))
    return hasattr(type(value), "named_modules")


def same(a: Any, b: Any) -> bool:
    """Whether plain values are equal; True is not 1, and NaN equals itself."""
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    both_nan = isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)
    return both_nan or (isinstance(a, bool) == isinstance(b, bool) and a == b)


def differences(own: Mapping[str, Any], theirs: Mapping[str, Any], most: int = 8) -> str:
    """The differences of two dicts of plain values in words; "" for equal dicts."""
    names = [n for n in {**own, **theirs} if not same(own.get(n), theirs.get(n)) or (n in own) != (n in theirs)]
    if not names and list(own) != list(theirs):
        return "its layers in another order"
    told = [f"{n} {own.get(n)!r}, not {theirs.get(n)!r}" for n in names[:most]]
    return "; ".join(told) + (f" and {len(names) - most} more" if len(names) > most else "")
