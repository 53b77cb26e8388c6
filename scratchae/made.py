"""The options that an object was made with."""

from __future__ import annotations

from typing import Any

from scratchae.attach import replaceable


@replaceable
def kept(options: dict[str, Any]) -> dict[str, Any]:
    """Options in the form in which an object keeps them: as they were given.

    A room may attach a form that later changes of a list or an array do not reach.
    """
    return options
