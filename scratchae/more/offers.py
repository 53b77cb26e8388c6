"""How a room adds names to a module of the core."""

from types import ModuleType
from typing import Any


def offer(module: ModuleType, *things: Any) -> None:
    """Give `module` the functions or classes under their own names, and list the names in its `__all__`, if it has one.

    A name that is there already, such as `pad`, now means the function that can do more.
    """
    listed = getattr(module, "__all__", [])
    for thing in things:
        setattr(module, thing.__name__, thing)
        if thing.__name__ not in listed:
            listed.append(thing.__name__)
