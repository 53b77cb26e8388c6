"""Faster NumPy for what element by element is slow: masks, numbers beside arrays, log1p, sums of rows.

Each function is a decorator for `attach`: from the formula of the core to a way that gives the same, or NumPy's
rounding of the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae.backend import Array, xp_of

Way = Callable[..., Array]


def masked(formula: Way) -> Way:
    """By the bits of the numbers. NumPy's `where` branches at every element, and takes some ten times as long on a
    mask that looks random, as the masks of activations do."""

    def by_bits(g: Array, keep: Array) -> Array:
        if xp_of(g, keep) is not np or g.dtype.kind != "f":
            return formula(g, keep)
        bits = np.asarray(-np.asarray(keep).view(np.int8)).astype(f"i{g.itemsize}")  # all ones or all zeros
        return np.bitwise_and(bits, g.view(bits.dtype), out=bits if bits.shape == g.shape else None).view(g.dtype)

    return by_bits


def against_a_row(formula: Way) -> Way:
    """maximum and minimum of an array and a number: NumPy takes several times as long with a scalar as with a row.

    The row runs along the axis that is innermost in memory.
    """

    def with_a_row(x: Array, y: Any) -> Array:
        return formula(x, _row(x, y) if type(y) in (int, float) and type(x) is np.ndarray else y)

    return with_a_row


def relu(formula: Way) -> Way:
    """The larger one of `x` and a row of zeros."""

    def with_a_row(x: Array) -> Array:
        return np.maximum(x, _row(x, 0)) if type(x) is np.ndarray else formula(x)

    return with_a_row


def _row(x: Array, y: Any) -> Any:
    if x.dtype.kind != "f":
        return y
    if x.flags.c_contiguous:
        return np.full(x.shape[-1:], y, x.dtype)
    axis = int(np.argmin(x.strides))
    return np.full([n if i == axis else 1 for i, n in enumerate(x.shape)], y, x.dtype)


def log_1_plus(formula: Way) -> Way:
    """Accurate to the last bits, in half the time of NumPy's log1p or less.

    log(1 + e) = log(u) + log((1 + e) / u) with u = 1 + e rounded, where (1 + e) / u - 1 = (e - (u - 1)) / u is tiny.
    """

    def in_two_parts(e: Array) -> Array:
        xp = xp_of(e)
        u = 1 + e
        lost = e - (u - 1)
        lost /= xp.maximum(u, np.finfo(e.dtype).tiny)  # log(0) is -inf, not NaN
        lost += xp.log(u)
        return lost

    return in_two_parts


def sum_rows(formula: Way) -> Way:
    """A product with ones, which is faster than `sum`."""

    def as_product(g: Array, memory: Array | None = None) -> Array:
        if type(g) is not np.ndarray:
            return formula(g, memory)
        rows = g if g.ndim == 2 else g.reshape(-1, g.shape[-1]) if g.size else g.reshape(0, g.shape[-1])
        ones = np.empty(len(rows), g.dtype)
        ones.fill(1)
        return np.matmul(ones, rows, out=memory)

    return as_product
