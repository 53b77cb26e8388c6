"""Operators that move elements without changing them: shapes, axes, pieces.

Each operator has its reverse: a slice has a scatter, a pad has a crop, a concatenation has a split.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchae.autograd.engine import primitive
from scratchae.autograd.tensor import Tensor, operand
from scratchae.backend import Array, is_array, xp_of

Shape = Sequence[int]


@primitive(x=lambda g, x_shape: reshape(g, x_shape))
def reshape(x: Array, shape: int | Shape) -> Array:
    """The elements in another shape; one size may be -1."""
    return x.reshape(shape)


@primitive(x=lambda g, axes: transpose(g, None if axes is None else tuple(np.argsort(np.mod(axes, len(axes))))))
def transpose(x: Array, axes: Shape | None = None) -> Array:
    """The axes in another order; reversed if `axes` is None."""
    return x.transpose(axes)


@primitive(x=lambda g, axis1, axis2: swapaxes(g, axis1, axis2))
def swapaxes(x: Array, axis1: int, axis2: int) -> Array:
    return x.swapaxes(axis1, axis2)


@primitive(x=lambda g, x_shape: reshape(g, x_shape))
def squeeze(x: Array, axis: Any = None) -> Array:
    """Without the axes of length 1: without all of these axes, or the ones in `axis`."""
    return x.squeeze(axis)


@primitive(x=lambda g, x_shape: reshape(g, x_shape))
def expand_dims(x: Array, axis: Any) -> Array:
    """With new axes of length 1 at `axis`."""
    return xp_of(x).expand_dims(x, axis)


@primitive(x=lambda g: g)  # the engine undoes broadcasting
def broadcast_to(x: Array, shape: Shape) -> Array:
    """The elements repeated up to `shape`, by NumPy's rules of broadcasting."""
    return xp_of(x).broadcast_to(x, shape)


@primitive(x=lambda g, index, x_shape: _scatter(g, index, x_shape))
def _getitem(x: Array, index: Any) -> Array:
    return x[index]


@primitive(x=lambda h, index: _getitem(h, index))
def _scatter(x: Array, index: Any, shape: Shape) -> Array:
    """Zeros of `shape` with `x` added at `index`. At a repeated index, all values are added."""
    xp = xp_of(x)
    out = xp.zeros(shape, x.dtype)
    parts = index if isinstance(index, tuple) else (index,)
    if any(is_array(p) and p.dtype.kind != "b" for p in parts):
        xp.add.at(out, index, x)
    else:
        out[index] = x
    return out


def getitem(x: Any, index: Any) -> Any:
    """`x[index]` as NumPy indexes: slices, integers, integer arrays (repeats too), boolean masks."""
    return _getitem(x, tuple(map(_plain, index)) if isinstance(index, tuple) else _plain(index))


def _plain(index: Any) -> Any:
    if isinstance(index, Tensor):
        return index.data
    return np.asarray(index, None if len(index) else int) if isinstance(index, (list, tuple, range)) else index


@primitive(x=lambda g, x_shape, widths: g[tuple(slice(b, b + n) for (b, _), n in zip(widths, x_shape, strict=True))])
def pad(x: Array, widths: Sequence[Sequence[int]]) -> Array:
    """Zeros around `x`: `widths` holds one pair (before, after) for each axis. more/padding.py checks these pairs."""
    return xp_of(x).pad(x, widths)


@primitive(xs=lambda g, sizes, axis: _split(g, sizes, axis))
def _concatenate(xs: list[Array], axis: int) -> Any:
    return xp_of(*xs).concatenate(xs, axis=axis), {"sizes": [x.shape[axis] for x in xs]}


def _split(g: Any, sizes: list[int], axis: int) -> list:
    ends = np.cumsum(sizes)
    before = (slice(None),) * (axis % g.ndim)
    return [getitem(g, (*before, slice(int(end) - n, int(end)))) for n, end in zip(sizes, ends, strict=True)]


def concatenate(xs: Sequence[Any], axis: int = 0) -> Any:
    """The arrays of `xs` one after the other along an existing axis."""
    return _concatenate([operand(x, "concatenate: an item") for x in xs], axis)


def stack(xs: Sequence[Any], axis: int = 0) -> Any:
    """The arrays of `xs`, all of one shape, side by side along a new axis."""
    return _concatenate([expand_dims(operand(x, "stack: an item"), axis) for x in xs], axis)
