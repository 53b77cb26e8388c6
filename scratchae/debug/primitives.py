"""Errors of primitives: a definition that the engine cannot read, and calls that do not fit."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def check_definition(formula: Callable) -> Callable[[Any], None]:
    """For `engine.check_definition`."""

    def check(op: Any) -> None:
        if any(not callable(vjp) for vjp in op.vjps.values()):
            raise TypeError(f"primitive: each keyword gives a vjp, a function; got {op.vjps}")
        if unknown := set(op.vjps) - set(op.arguments):
            raise TypeError(f"primitive {op.name}: vjps for {sorted(unknown)}; its arguments are {op.arguments}")
        for signature in (op.signature, *map(inspect.signature, op.vjps.values())):
            if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in signature.parameters.values()):
                raise TypeError(f"primitive {op.name}: name every parameter; *args and **kwargs cannot be matched")

    return check


def with_residuals(formula: Callable) -> Callable[..., Any]:
    """For `engine.with_residuals`: the pair, checked."""

    def split(op: Any, result: Any) -> Any:
        if type(result) is tuple and len(result) == 2 and not (missing := set(op.residuals) - set(result[1])):
            return result
        raise TypeError(
            f"primitive {op.name}: its vjps read {op.residuals}, so the function must return (out, dict with these)"
            + (f"; missing: {sorted(missing)}" if type(result) is tuple else "; is a name misspelt?")
        )

    return split


def complete(formula: Callable) -> Callable[..., tuple]:
    """For `engine.complete`: an error that shows the arguments."""

    def named(op: Any, args: tuple, kwargs: dict) -> tuple:
        try:
            return formula(op, args, kwargs)
        except TypeError as error:
            raise TypeError(f"{op.name}({', '.join(op.arguments)}): {error}") from None

    return named
