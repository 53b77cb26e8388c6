"""While a CUDA graph records a step, Python must not wait for a number from the GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


class _Recording(threading.local):
    flags: list[Any] | None = None  # in this thread, while a step is recorded


_recording = _Recording()


@contextmanager
def recording() -> Iterator[list[Any]]:
    """Inside, `backend.seen` waits for no number on a GPU, but adds the number to a list. Applies to this thread."""
    before, _recording.flags = _recording.flags, []
    try:
        yield _recording.flags
    finally:
        _recording.flags = before


def noted(formula: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """For `backend.seen`: while a step is recorded, note the number and return False."""

    def seen(flag: Any) -> bool:
        if _recording.flags is None or isinstance(flag, np.generic):  # a number on the CPU needs no waiting
            return formula(flag)
        if not callable(flag):
            _recording.flags.append(flag)
        return False

    return seen
