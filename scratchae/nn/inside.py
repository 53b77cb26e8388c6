"""What a module holds: its attributes, and the items of lists, tuples and dicts among them."""

from __future__ import annotations

from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

_VIEWS = [type(view) for view in ({}.keys(), {}.values(), {}.items())]
_CLOSED = {set, frozenset, deque, UserList, UserDict, ChainMap, MappingProxyType, np.ndarray, *_VIEWS}


def inside(owner: Any, wanted: tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    """(name, value) of all attributes of `owner`, looking into lists, tuples and dicts: `blocks.0`, `heads.mu`.

    A list that contains itself is not entered again. Raises TypeError for something `wanted` in another container, a
    set for instance.
    """
    attributes = list(vars(owner).items())  # a list, since another thread may set an attribute meanwhile
    stack: list[tuple[str, Any, tuple[int, ...]]] = [(*item, ()) for item in reversed(attributes)]
    while stack:
        name, value, around = stack.pop()
        if not isinstance(value, (list, tuple, dict)):
            if type(value) in _CLOSED:
                _refuse_hidden(owner, name, value, wanted)
            yield name, value
        elif id(value) not in around and name != "_made_with":  # these are plain values
            items = list(value.items() if isinstance(value, dict) else enumerate(value))
            around = (*around, id(value))
            stack.extend((f"{name}.{key}", item, around) for key, item in reversed(items))


def _refuse_hidden(owner: Any, name: str, value: Any, wanted: tuple[type, ...]) -> None:
    if isinstance(value, np.ndarray):
        items = value.ravel().tolist() if value.dtype == object else []
    else:
        items = list(value.values() if isinstance(value, Mapping) else value)
    for part in (part for item in items for part in (item if isinstance(item, tuple) else (item,))):
        if isinstance(part, wanted):
            raise TypeError(
                f"{type(owner).__name__}.{name} is a {type(value).__name__} with a {type(part).__name__} in it, "
                "which would be neither trained nor saved; use a list, a tuple or a dict"
            )
