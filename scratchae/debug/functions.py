"""Functions as layers of a chain: which of them are refused."""

from __future__ import annotations

import contextlib
import dis
import functools
import inspect
from collections.abc import Callable
from typing import Any

from scratchae.debug.descriptions import text_of
from scratchae.nn.linear import Function
from scratchae.nn.module import Module, Parameter


def holding(formula: Callable) -> Any:
    """For `Function.__init__`: TypeError for a function with a module or a parameter, which the chain does not find."""

    @functools.wraps(formula)
    def __init__(self: Function, function: Any) -> None:
        for value in _held(function):
            if isinstance(value, (Module, Parameter)):
                found = f"the function {text_of(function)} has a {type(value).__name__}"
                advice = "give the module itself, or write a module that holds it"
                raise TypeError(f"Sequential: {found}, which would be neither trained nor saved; {advice}")
        formula(self, function)

    return __init__


def _held(function: Any) -> list[Any]:
    """The object of a method, the arguments of a partial, the attributes, and the variables from around a function."""
    if isinstance(function, functools.partial):
        return [*_held(function.func), *function.args, *function.keywords.values()]
    held = [getattr(function, "__self__", None), *getattr(function, "__dict__", {}).values()]
    with contextlib.suppress(ValueError):  # a variable that has no value yet
        if inspect.isfunction(function):
            around = inspect.getclosurevars(function)  # its globals include those that are named like an attribute
            read = {i.argval for i in dis.get_instructions(function) if i.opname == "LOAD_GLOBAL"}
            held += [*around.nonlocals.values(), *(v for name, v in around.globals.items() if name in read)]
    return held
