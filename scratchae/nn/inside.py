"""What a module holds: its attributes, and what lies in lists, tuples and dicts among them."""

from __future__ import annotations

from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import numpy as np

_MAPPINGS = (MappingProxyType, ChainMap, UserDict)
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_CLOSED = {set, frozenset, deque, UserList, np.ndarray, *_MAPPINGS, *_VIEWS}  # are not looked into


def inside(owner: Any, wanted: tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    """(name, value) of all attributes of `owner`, looking into lists, tuples and dicts: `blocks.0`, `heads.mu`.

    A list that contains itself is not entered again. Raises TypeError for something `wanted` in a container that is
    not looked into, a set for instance.
    """
    for name, value in list(vars(owner).items()):  # a list, since another thread may set an attribute meanwhile
        if name == "_made_with":  # plain values, see identity.py
            continue
        if isinstance(value, (list, tuple, dict)):
            for name_inside, item in _items(name, value):
                if type(item) in _CLOSED:
                    _refuse_hidden(owner, name_inside, item, wanted)
                yield name_inside, item
        else:
            if type(value) in _CLOSED:
                _refuse_hidden(owner, name, value, wanted)
            yield name, value


def _items(name: str, container: Any) -> Iterator[tuple[str, Any]]:
    stack: list[tuple[str, Any, tuple[int, ...]]] = [(name, container, ())]
    while stack:
        name, value, around = stack.pop()
        if not isinstance(value, (list, tuple, dict)):
            yield name, value
        elif id(value) not in around:
            items = list(value.items() if isinstance(value, dict) else enumerate(value))
            around = (*around, id(value))
            stack.extend((f"{name}.{key}", item, around) for key, item in reversed(items))


def _refuse_hidden(owner: Any, name: str, value: Any, wanted: tuple[type, ...]) -> None:
    if isinstance(value, np.ndarray):
        items = value.ravel().tolist() if value.dtype == object else []
    else:
        items = list(value.values() if isinstance(value, _MAPPINGS) else value)
    for item in items:
        for part in item if isinstance(item, tuple) else (item,):
            if isinstance(part, wanted):
                raise TypeError(
                    f"{type(owner).__name__}.{name} is a {type(value).__name__} with a {type(part).__name__} in it, "
                    "which would be neither trained nor saved; use a list, a tuple or a dict"
                )
