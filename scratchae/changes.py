"""Moments: each operation that is recorded has one, and each change of memory that a graph may still read."""

from itertools import count
from typing import Any

from scratchae.attach import replaceable

moments = count()
latest = [-1]  # the moment of the last change; a node that was recorded later needs no check


@replaceable
def changed(array: Any) -> None:
    """Say that `array` was written to in place. debug/changes.py notes the memory and the moment."""


@replaceable
def check_unchanged(node: Any) -> None:
    """Refuse a node that kept an array whose memory has changed since; see debug/changes.py."""
