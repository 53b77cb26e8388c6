"""Switches: recording off (`no_grad`) and on again (`enable_grad`)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ContextDecorator, contextmanager
from typing import Any

from scratchae.backend import is_array


class _Recording(threading.local):
    blocked = 0  # the number of nested no_grad blocks in this thread


recording = _Recording()


class no_grad(ContextDecorator):
    """Record nothing inside: `with no_grad():` or `@no_grad()`. Each thread has a setting of its own.

    A generator function runs after its decorator has returned. Use `with` in the body of a generator function.
    """

    def __enter__(self) -> no_grad:
        recording.blocked += 1
        return self

    def __exit__(self, *exception: object) -> None:
        recording.blocked -= 1


@contextmanager
def enable_grad() -> Iterator[None]:
    """Record inside, even within `no_grad`. A loss that is made of gradients needs this."""
    outer, recording.blocked = recording.blocked, 0
    try:
        yield
    finally:
        recording.blocked += outer  # not `=`: a no_grad block from outside may have been left inside


def is_grad_enabled() -> bool:
    """Whether operations are recorded at this point, in this thread."""
    return recording.blocked <= 0


watchers: list[Callable[[Any, str, Sequence], None]] = []
"""Functions of (result, operation, operands), called for each result, forward and backward; see debug/anomaly.py."""


def looked_at(result: Any, operation: str, operands: Sequence) -> None:
    """Call all watchers with a result."""
    for watch in watchers:
        watch(result, operation, operands)


def arrays_in(values: Sequence) -> list[Any]:
    """The arrays among values and lists of values."""
    return [a for v in values for a in (v if type(v) is list else [v]) if is_array(a)]
