"""Faster NumPy for elementwise functions that are slow: masks, numbers beside arrays, log1p, sums of rows.

Each function is a decorator for `attach`, and replaces a formula of the core by a faster function. The formula and the
faster function give the same result, up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae.backend import Array, xp_of

Way = Callable[..., Array]


def native(dtype: Any, kinds: str = "fd") -> bool:
    """Whether a dtype is one of `kinds` (float32, float64) in this machine's byte order, as compiled code takes it."""
    return dtype.char in kinds and dtype.isnative


def masked(formula: Way) -> Way:
    """Mask the bits of the numbers. NumPy's `where` branches at every element.

    On a mask that looks random, as masks of activations do, `where` takes some ten times as long.
    """

    def by_bits(g: Array, keep: Array) -> Array:
        if xp_of(g, keep) is not np or g.dtype.kind != "f":
            return formula(g, keep)
        bits = _bits(keep, g)
        return np.bitwise_and(bits, g.view(bits.dtype), out=bits if bits.shape == g.shape else None).view(g.dtype)

    return by_bits


def masked_into(g: Array, keep: Array, out: Array) -> None:
    """The same, written into `out`."""
    bits = _bits(keep, g)
    np.bitwise_and(bits, g.view(bits.dtype), out=out.view(bits.dtype))


def _bits(keep: Any, like: Array) -> Array:
    """All ones where `keep` is True, all zeros elsewhere, in integers as wide as the numbers of `like`."""
    return np.asarray(-np.asarray(keep).view(np.int8)).astype(f"i{like.itemsize}")


def against_a_row(formula: Way) -> Way:
    """maximum and minimum of an array and a number, which becomes a row along the innermost axis in memory.

    NumPy takes several times as long with a scalar as with a row.
    """

    def with_a_row(x: Array, y: Any) -> Array:
        return formula(x, _row(x, y) if isinstance(y, (int, float)) and type(x) is np.ndarray else y)

    return with_a_row


def relu(formula: Way) -> Way:
    """The maximum of `x` and a row of zeros."""

    def with_a_row(x: Array) -> Array:
        return np.maximum(x, _row(x, 0)) if type(x) is np.ndarray else formula(x)

    return with_a_row


def relu_into(x: Array, out: Array) -> None:
    """The same, written into `out`."""
    np.maximum(x, _row(x, 0), out=out)


def leaky_relu(formula: Way) -> Way:
    """The formula with one row of zeros."""

    def with_a_row(x: Array, slope: float = 0.01) -> Array:
        if type(x) is not np.ndarray:
            return formula(x, slope)
        zeros = _row(x, 0)
        return np.maximum(x, zeros) + slope * np.minimum(x, zeros)

    return with_a_row


def elu(formula: Way) -> Way:
    """The formula with one row of zeros."""

    def with_a_row(x: Array, alpha: float = 1.0) -> Array:
        if type(x) is not np.ndarray:
            return formula(x, alpha)
        zeros = _row(x, 0)
        return np.maximum(x, zeros) + alpha * np.expm1(np.minimum(x, zeros))

    return with_a_row


def _row(x: Array, y: Any) -> Any:
    if x.dtype.kind != "f":
        return y
    if x.flags.c_contiguous:
        return np.full(x.shape[-1:], y, x.dtype)
    axis = int(np.argmin(x.strides))
    return np.full([n if i == axis else 1 for i, n in enumerate(x.shape)], y, x.dtype)


def log_1_plus(formula: Way) -> Way:
    """Accurate to the last bits, in at most half the time of NumPy's log1p.

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


def sum_of_squares(formula: Way) -> Way:
    """Dot products, which need no array of squares."""

    def by_dot_products(x: Array, scale: float = 1.0) -> Array:
        if xp_of(x) is not np:
            return formula(x, scale)
        if x.size <= BLOCK:
            return ((flat := x.ravel(order="K")) @ flat) * scale
        rows, rest = blocks_of(x)
        return ((rows @ rows.swapaxes(1, 2)).sum() + rest @ rest) * scale

    return by_dot_products


BLOCK = 1 << 16  # numbers of one dot product: a float32 sum over more would lose digits


def blocks_of(x: Array) -> tuple[Array, Array]:
    """The numbers of `x` as rows (n, 1, BLOCK), and the rest."""
    flat = x.ravel(order="K")
    rows = flat[: flat.size // BLOCK * BLOCK].reshape(-1, 1, BLOCK)
    return rows, flat[rows.size :]


def normal_cdf(formula: Way) -> Way:
    """Phi(x) = erfc(-x / sqrt 2) / 2 without a Python loop. The relative error is small in the left tail too.

    For z >= 0, erfc(z) = t exp(p(t) - z^2) with t = 2 / (2 + z). The function p is smooth on (0, 1], so its Chebyshev
    series converges fast (Numerical Recipes, 3rd edition, section 6.2).
    """

    def by_a_series(x: Array) -> Array:
        xp = xp_of(x)
        z = xp.abs(x) * math.sqrt(0.5)
        t = 2 / (2 + z)
        s, b, b_next = 4 * t - 2, 0.0, 0.0
        for c in (ERFC_SERIES[11:0:-1] if x.dtype in (np.float16, np.float32) else ERFC_SERIES[:0:-1]):  # Clenshaw
            b, b_next = s * b - b_next + c, b
        tail = 0.5 * t * xp.exp(0.5 * (s * b + ERFC_SERIES[0]) - b_next - z * z)
        positive = x > 0
        return xp.abs(positive - tail)

    return by_a_series


# Coefficients of p(t) = log(erfc(z) / t) + z^2 in Chebyshev polynomials of 2t - 1, to the last bit of a double.
ERFC_SERIES = (
    -1.3026537197817094, 0.6419697923564902, 0.019476473204185836, -0.009561514786808632,
    -0.0009465953444820369, 0.00036683949785276145, 4.252332480690777e-05, -2.0278578112534242e-05,
    -1.6242900046470256e-06, 1.3036558355805232e-06, 1.5626441722066142e-08, -8.523809591492654e-08,
    6.5290544390988515e-09, 5.059343495551469e-09, -9.91364156493033e-10, -2.273651222931836e-10,
    9.646791102015527e-11, 2.3940380830391146e-12, -6.886027526497553e-12, 8.944879273090725e-13,
    3.130921399342958e-13, -1.1270822361367252e-13, 3.810905255189232e-16, 7.106097613609237e-15,
    -1.5230282014571043e-15, -9.457494571291233e-17, 1.210237189224279e-16, -2.816663087747177e-17,
    5.003005559445902e-20,
)
