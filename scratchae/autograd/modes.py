"""Switches: recording off (`no_grad`) and on again (`enable_grad`), and a look at every result (`detect_anomaly`)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ContextDecorator, contextmanager
from typing import Any

from scratchae.autograd.tensor import Tensor
from scratchae.backend import is_array, xp_of


class _Recording(threading.local):
    blocked = 0  # by so many nested no_grad blocks, in this thread


recording = _Recording()


class no_grad(ContextDecorator):
    """Record nothing inside: `with no_grad():` or `@no_grad()`. Each thread has a setting of its own.

    Not for generator functions, which run after the decorator has returned: use `with` in their body.
    """

    def __enter__(self) -> no_grad:
        recording.blocked += 1
        return self

    def __exit__(self, *exception: object) -> None:
        recording.blocked -= 1


@contextmanager
def enable_grad() -> Iterator[None]:
    """Record inside, even within `no_grad`: for values that are themselves made of gradients."""
    outer, recording.blocked = recording.blocked, 0
    try:
        yield
    finally:
        recording.blocked += outer  # not `=`: a no_grad block from outside may have been left inside


def is_grad_enabled() -> bool:
    """Whether operations are recorded at this point, in this thread."""
    return recording.blocked <= 0


watchers: list[object] = []  # the detect_anomaly blocks entered; there are none but when somebody looks for an error


class detect_anomaly(ContextDecorator):
    """Inside, the operation that first gives a NaN or an infinity, forward or backward, raises FloatingPointError.

    Every result is looked at, which costs time: it is for finding an error, not for every day. The setting holds for
    all threads.
    """

    def __enter__(self) -> detect_anomaly:
        watchers.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        watchers.remove(self)


def arrays_in(values: Sequence) -> list[Any]:
    """The arrays among values and lists of values."""
    return [a for v in values for a in (v if type(v) is list else [v]) if is_array(a)]


def check_finite(result: Any, what: str, inputs: Sequence) -> None:
    """FloatingPointError that names the operation, where a result is not finite."""
    result, *inputs = (v._data if isinstance(v, Tensor) else v for v in (result, *inputs))
    if not hasattr(result, "dtype"):
        return  # the engine refuses it
    xp = xp_of(result)
    if result.dtype.kind != "f" or (finite := xp.isfinite(result)).all():
        return
    place = tuple(int(i) for i in xp.argwhere(~finite)[0])
    arrays = [a for a in arrays_in(inputs) if a.size]
    ranges = "; ".join(f"{a.dtype}{list(a.shape)} in [{float(a.min()):.4g}, {float(a.max()):.4g}]" for a in arrays)
    raise FloatingPointError(
        f"{what} gave {float(result[place])} at index {place} of its result of shape {result.shape}; it read {ranges}"
    )
