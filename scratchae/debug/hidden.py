"""A guard: modules and parameters in containers that a module is not looked into, a set for instance, are an error."""

from __future__ import annotations

from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from scratchae.nn.module import Module, Parameter

_VIEWS: list[type] = [type({}.keys()), type({}.values()), type({}.items())]
_CLOSED = {set, frozenset, deque, UserList, UserDict, ChainMap, MappingProxyType, np.ndarray, *_VIEWS}


def guarded(inside: Callable[[Module], Iterator[tuple[str, Any]]]) -> Callable[[Module], Iterator[tuple[str, Any]]]:
    """`inside` that raises TypeError for a module or a parameter that would be neither trained nor saved."""

    def guard(owner: Module) -> Iterator[tuple[str, Any]]:
        for name, value in inside(owner):
            if type(value) in _CLOSED:
                _refuse_hidden(owner, name, value)
            yield name, value

    return guard


def _refuse_hidden(owner: Module, name: str, value: Any) -> None:
    if isinstance(value, np.ndarray):
        items = value.ravel().tolist() if value.dtype == object else []
    else:
        items = list(value.values() if isinstance(value, Mapping) else value)
    for part in (part for item in items for part in (item if isinstance(item, tuple) else (item,))):
        if isinstance(part, (Module, Parameter)):
            raise TypeError(
                f"{type(owner).__name__}.{name} is a {type(value).__name__} with a {type(part).__name__} in it, "
                "which would be neither trained nor saved; use a list, a tuple or a dict"
            )
