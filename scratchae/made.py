"""MadeWith: an object that keeps the options which its constructor was given."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from scratchae.attach import replaceable


class MadeWith:
    """Keeps its constructor's options in `_made_with`, by name and with the defaults.

    `_made_with` never changes, whatever becomes of the attributes. It is empty for a class without a constructor.
    """

    _made_with: Mapping[str, Any] = {}

    def __new__(cls, *args: Any, **options: Any) -> Any:
        made = super().__new__(cls)
        try:
            bound = inspect.signature(cls.__init__).bind(made, *args, **options)
        except TypeError:  # a copy, or a call that the constructor refuses by itself
            return made
        bound.apply_defaults()
        _, *given = bound.arguments.items()  # without self
        vars(made)["_made_with"] = kept(dict(given))
        return made

    # For `inspect.signature` of a class without a constructor of its own: no parameters.
    __new__.__signature__ = inspect.Signature([inspect.Parameter("cls", inspect.Parameter.POSITIONAL_ONLY)])  # type: ignore[attr-defined]


@replaceable
def kept(options: dict[str, Any]) -> dict[str, Any]:
    """Options in the form in which an object keeps them: as they were given.

    A room may attach a form that later changes of a list or an array do not reach.
    """
    return options
