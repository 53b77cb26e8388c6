"""Operators that put elements into another order, or repeat them: NumPy's, one each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchae.autograd.engine import primitive
from scratchae.autograd.shaping import broadcast_to, expand_dims, getitem, reshape
from scratchae.autograd.tensor import data_of, operand
from scratchae.backend import Array, xp_of
from scratchae.checks import check_count, shown

Axis = int | None


@primitive(x=lambda g, axis: flip(g, axis))
def flip(x: Array, axis: Any = None) -> Array:
    """The elements in reverse order along `axis`: an integer, a tuple, or None for all axes."""
    return x if axis is None and x.ndim == 0 else xp_of(x).flip(x, axis)  # CuPy flips no single number


@primitive(x=lambda g, shift, axis: roll(g, _negative(shift), axis))
def roll(x: Array, shift: int | tuple[int, ...], axis: Any = None) -> Array:
    """The elements moved by `shift` places along `axis`. Elements that leave at the end come back at the start.

    With `axis` None, the elements move in the flattened array. A tuple of shifts goes with a tuple of axes.
    """
    return xp_of(x).roll(x, shift, axis)


def _negative(shift: Any) -> Any:
    return tuple(-s for s in shift) if isinstance(shift, (tuple, list)) else -shift


def flattened(x: Any, axis: Axis) -> tuple[Any, int]:
    """`x` and the number of `axis`, counted from 0; `x` in one axis if `axis` is None.

    Raises TypeError for an axis that is no integer, and NumPy's AxisError, a ValueError, where `x` has no such axis.
    """
    if axis is None:
        return reshape(x, -1), 0
    if not isinstance(axis, (int, np.integer)):
        raise TypeError(f"axis={shown(axis)}; expected an integer, or None for the flattened array")
    if not -x.ndim <= axis < x.ndim:
        raise np.exceptions.AxisError(f"axis {shown(axis)} is out of bounds for an array of shape {x.shape}")
    return x, int(axis) % x.ndim


def with_axes(x: Any) -> Any:
    """`x`, but a single number as an array of one element, as several functions of NumPy take it."""
    return reshape(x, -1) if x.ndim == 0 else x


def argsort(x: Any, axis: Axis = -1) -> Any:
    """The positions that sort `x` along `axis`, or that sort the flattened `x` if `axis` is None.

    Equal elements keep their order, and NaN comes last. The positions are constants to the derivative.
    """
    return _argsort(*flattened(with_axes(operand(x, "argsort: x")), axis))


@primitive()
def _argsort(x: Array, axis: int) -> Array:
    return x.argsort(axis, kind="stable")


def sort(x: Any, axis: Axis = -1) -> Any:
    """A sorted copy of `x` along `axis`, or of the flattened `x` if `axis` is None. NaN comes last.

    `Tensor.sort` returns a copy too, while the method of an array sorts in place.
    """
    x, axis = flattened(operand(x, "sort: x"), axis)
    return take_along_axis(x, argsort(x, axis), axis)


def take_along_axis(x: Any, indices: Any, axis: Axis = -1) -> Any:
    """The elements of `x` at the positions `indices` along `axis`. `argsort` gives such positions.

    Args:
        indices: integers in as many axes as `x`. The other axes broadcast against those of `x`.
        axis: None takes from the flattened `x`, with one axis of indices.

    Raises TypeError for indices that are no integers, and ValueError for another number of axes. On the CPU, a position
    outside of `x` is an IndexError.
    """
    x, axis = flattened(operand(x, "take_along_axis: x"), axis)
    indices = data_of(operand(indices, "take_along_axis: indices"))
    if indices.dtype.kind not in "iu":
        raise TypeError(f"take_along_axis: the indices are {indices.dtype}; expected integers: .astype('int64')")
    if indices.ndim != x.ndim:
        raise ValueError(f"take_along_axis: indices of shape {indices.shape} for an x of shape {x.shape}; expected "
                         f"{x.ndim} axes, for example by F.expand_dims(indices, {axis})")  # fmt: skip
    xp = xp_of(data_of(x), indices)
    places = [xp.arange(n).reshape([n if i == j else 1 for j in range(x.ndim)]) for i, n in enumerate(x.shape)]
    places[axis] = indices
    return getitem(x, tuple(places))


def repeat(x: Any, repeats: int | Sequence[int], axis: Axis = None) -> Any:
    """Each element `repeats` times, one copy after the other, along `axis`, or in the flattened `x` if `axis` is None.

    `repeats` is one count, or a list with a count for each element of the axis.
    """
    x, axis = flattened(with_axes(operand(x, "repeat: x")), axis)
    counts = _counts("repeat: repeats", repeats)
    before, n, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    if len(counts) == 1:
        copies = broadcast_to(expand_dims(x, axis + 1), (*before, n, counts[0], *after))
        return reshape(copies, (*before, n * counts[0], *after))
    if len(counts) != n:
        raise ValueError(f"repeat: {len(counts)} repeats for axis {axis} of shape {x.shape}; expected 1 or {n}")
    return getitem(x, (slice(None),) * axis + (np.repeat(np.arange(n), counts),))


def tile(x: Any, reps: int | Sequence[int]) -> Any:
    """Copies of the whole `x`, side by side: `reps` has a count for each axis, or for the last axes.

    Counts for more axes than `x` has give the result new axes in front.
    """
    x = operand(x, "tile: x")
    counts = _counts("tile: reps", reps)
    ndim = max(len(counts), x.ndim)
    counts, shape = [1] * (ndim - len(counts)) + counts, [1] * (ndim - x.ndim) + list(x.shape)
    pairs = list(zip(counts, shape, strict=True))
    copies = broadcast_to(reshape(x, [n for size in shape for n in (1, size)]), [n for pair in pairs for n in pair])
    return reshape(copies, [count * size for count, size in pairs])


def _counts(name: str, given: int | Sequence[int]) -> list[int]:
    listed = given if isinstance(given, (list, tuple, np.ndarray)) else [given]
    return [check_count(name, count, 0) for count in listed]
