"""Flags of a recorded step: conditions that Python would look at, and a recording must not wait for."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class _Local(threading.local):
    flags: list[Any] | None = None  # of the step that this thread records


_local = _Local()


@contextmanager
def flags() -> Iterator[list[Any]]:
    """Inside, `backend.seen` answers False in this thread and adds its flag to this list."""
    before, _local.flags = _local.flags, []
    try:
        yield _local.flags
    finally:
        _local.flags = before


def put_down_in_a_recording(formula: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def seen(flag: Any) -> bool:
        if _local.flags is None or not isinstance(flag, sys.modules["cupy"].ndarray):
            return formula(flag)
        _local.flags.append(flag)
        return False

    return seen


def marked(value: Any, flags: list[Any]) -> Any:
    """The loss term `value`, or NaN where one of the flags is true: the step then counts as not finite."""
    for flag in flags:
        value = sys.modules["cupy"].where(flag.reshape(()), value.dtype.type("nan"), value)
    return value
