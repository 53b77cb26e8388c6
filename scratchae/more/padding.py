"""`pad` with its other modes: around an array, the array's own rows continue it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchae.autograd import shaping
from scratchae.autograd.engine import primitive
from scratchae.autograd.precision import in_float32
from scratchae.autograd.tensor import operand
from scratchae.backend import Array, xp_of
from scratchae.checks import check_choice, check_count, shown

Rows = tuple[int, ...]


def pad(x: Any, widths: Sequence[Sequence[int]], mode: str = "constant") -> Any:
    """`x` with more elements on its sides: `widths` holds one pair (before, after) for each axis.

    Args:
        mode: NumPy's names. "constant" adds zeros. "reflect" mirrors `x` at its first and last row, without repeating
            these rows. "edge" repeats the first and the last row. "wrap" goes on at the other end.

    Raises ValueError for another mode, for widths that are no such pairs of counts, and, in all modes but "constant",
    for an axis without elements that would grow.
    """
    x = operand(x, "pad: x")
    check_choice("pad: mode", mode, ("constant", "reflect", "edge", "wrap"))
    pairs = isinstance(widths, (Sequence, np.ndarray)) and all(np.shape(pair) == (2,) for pair in widths)
    if not pairs or len(widths) != x.ndim:
        raise ValueError(f"pad: widths={shown(widths)}; expected one pair (before, after) for each of {x.ndim} axes")
    counts = tuple((check_count("pad: a width", b, 0), check_count("pad: a width", a, 0)) for b, a in widths)
    return shaping.pad(x, counts) if mode == "constant" else _continued(x, counts, mode)


@in_float32
def _continued(x: Any, widths: Sequence[Sequence[int]], mode: Any) -> Any:
    """`x` padded by its own rows, one axis after the other, so that the corners follow too."""
    for axis, (before, after) in enumerate(widths):
        n = x.shape[axis]
        if before == after == 0:
            continue
        if n == 0:
            raise ValueError(f"pad: axis {axis} of shape {x.shape} has no elements that mode={mode!r} could continue")
        rows = tuple(np.pad(np.arange(n), (before, after), mode).tolist())
        x = _extend(x, rows[:before], rows[before + n :], axis)
    return x


@primitive(x=lambda g, before, after, axis: _fold(g, before, after, axis))
def _extend(x: Array, before: Rows, after: Rows, axis: int) -> Array:
    """`x`, along `axis`, with its rows number `before` in front and its rows number `after` behind."""
    start, end = len(before), len(before) + x.shape[axis]
    out = xp_of(x).empty((*x.shape[:axis], end + len(after), *x.shape[axis + 1 :]), x.dtype)
    out[_at(axis, slice(start, end))] = x
    for row, source in (*enumerate(before), *enumerate(after, end)):
        out[_at(axis, row)] = x[_at(axis, source)]
    return out


@primitive(g=lambda h, before, after, axis: _extend(h, before, after, axis))
def _fold(g: Array, before: Rows, after: Rows, axis: int) -> Array:
    """The transposed map of `_extend`: each added row is added to the row that it was taken from."""
    start, end = len(before), g.shape[axis] - len(after)
    out = g[_at(axis, slice(start, end))].copy()
    for row, source in (*enumerate(before), *enumerate(after, end)):
        out[_at(axis, source)] += g[_at(axis, row)]
    return out


def _at(axis: int, rows: int | slice) -> tuple:
    """The index of rows along an axis."""
    return (slice(None),) * axis + (rows,)
