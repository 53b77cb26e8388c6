"""`detect_anomaly`: a look at every result, forward and backward, to find the first that is not finite."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ContextDecorator
from typing import Any

from scratchae.autograd.modes import arrays_in, watchers
from scratchae.backend import xp_of


class detect_anomaly(ContextDecorator):
    """Inside, the operation that first gives a NaN or an infinity, forward or backward, raises FloatingPointError.

    The search looks at every result, which costs time. The setting holds for all threads.
    """

    def __enter__(self) -> detect_anomaly:
        watchers.append(check_finite)
        return self

    def __exit__(self, *exception: object) -> None:
        watchers.remove(check_finite)


def check_finite(result: Any, what: str, inputs: Sequence) -> None:
    """FloatingPointError that names the operation, where a result is not finite."""
    result, *inputs = (getattr(v, "_data", v) for v in (result, *inputs))
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
