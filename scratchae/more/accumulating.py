"""Running sums and products, `prod` and `std`. The gradients of products are exact where elements are 0.

The gradient of a product for one of its factors is the product of the others. A division of the whole product by the
factor would fail at 0. Here the products of the elements before and behind a factor are multiplied.
"""

from __future__ import annotations

import math
from typing import Any

from numpy.lib.array_utils import normalize_axis_tuple

from scratchae.autograd.elementwise import masked, sqrt
from scratchae.autograd.engine import primitive, primitive_in_float32
from scratchae.autograd.precision import in_float32
from scratchae.autograd.reductions import var
from scratchae.autograd.shaping import concatenate, reshape, swapaxes, transpose
from scratchae.autograd.tensor import data_of, operand
from scratchae.backend import Array, xp_of
from scratchae.more.rearranging import Axis, flattened, flip, with_axes


@in_float32
def std(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The standard deviation: the root of `var`, which divides by n. The gradient of a deviation of 0 is 0."""
    variance = var(x, axis, keepdims)
    return masked(sqrt(variance + (variance == 0)), variance != 0)


def cumsum(x: Any, axis: Axis = None) -> Any:
    """Running sums along `axis`, or of the flattened `x` if `axis` is None."""
    return _cumsum(*flattened(with_axes(operand(x, "cumsum: x")), axis))


@primitive_in_float32(x=lambda g, axis: flip(_cumsum(flip(g, axis), axis), axis))
def _cumsum(x: Array, axis: int) -> Array:
    return x.cumsum(axis)


def cumprod(x: Any, axis: Axis = None) -> Any:
    """Running products along `axis`, or of the flattened `x` if `axis` is None."""
    x, axis = flattened(with_axes(operand(x, "cumprod: x")), axis)
    return swapaxes(_cumprod(swapaxes(x, 0, axis)), 0, axis)


@primitive_in_float32(x=lambda g, x: _product_before(x) * _sent_back(x, g))
def _cumprod(x: Array) -> Array:
    return x.cumprod(0)


@primitive_in_float32(x=lambda g, x, axis: _slope_of_prod(g, x, axis))
def prod(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """NumPy's `prod`."""
    return x.prod(axis=axis, keepdims=keepdims)


def _slope_of_prod(g: Any, x: Any, axis: Any) -> Any:
    """`g` times the product of all other elements over the reduced axes."""
    reduced = normalize_axis_tuple(range(x.ndim) if axis is None else axis, x.ndim)
    order = (*reduced, *(i for i in range(x.ndim) if i not in reduced))
    moved = transpose(x, order)
    count = math.prod(x.shape[i] for i in reduced)
    rows = reshape(moved, (count, *moved.shape[len(reduced) :]))
    others = _product_before(rows) * flip(_product_before(flip(rows, 0)), 0)
    others = transpose(reshape(others, moved.shape), tuple(map(order.index, range(x.ndim))))
    return others * reshape(g, tuple(1 if i in reduced else n for i, n in enumerate(x.shape)))


def _product_before(x: Any) -> Any:
    """For each row, the product of all rows before it."""
    return _cumprod(_shifted(x, 1))


def _shifted(x: Any, first: float) -> Any:
    """A row of numbers `first`, and then `x` without its last row."""
    row = xp_of(data_of(x)).full((1, *x.shape[1:]), first, x.dtype)
    return concatenate([row, x])[:-1]


# The gradient of cumprod consists of such sums of products. Their own gradients, for a and b, are such sums again.
@primitive(a=lambda g, a, out: _sent_back(a, g) * _shifted(out, 0), b=lambda g, a: _sent_back(a, g))
def _recurrence(a: Array, b: Array) -> Array:
    """out[i] = b[i] + a[i] out[i - 1], row by row."""
    out = b.copy()
    for i in range(1, len(out)):
        out[i] += a[i] * out[i - 1]
    return out


def _sent_back(a: Any, g: Any) -> Any:
    """out[i] = g[i] + a[i + 1] out[i + 1], from the last row to the first."""
    return flip(_recurrence(_shifted(flip(a, 0), 0), flip(g, 0)), 0)
