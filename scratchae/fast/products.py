"""Matrix products in several threads, with BLAS at one thread for each.

A stack is cut along its first axis, where the products are independent. A product of two matrices is cut along the
longest of its three axes: BLAS packs anew, for each piece, the matrix that does not have this axis. BLAS rounds some
elements differently where a matrix is cut elsewhere. The places therefore depend on the shapes alone, and one thread
cuts at the same places.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae.backend import Array
from scratchae.fast.blas import one_thread
from scratchae.fast.elements import BLOCK, blocks_of
from scratchae.fast.threads import cut, run, several_threads

Way = Callable[..., Any]
_ALONE = 1 << 13  # multiplications for which OpenBLAS never uses a second thread
_SHARED = 1 << 22  # and those from which two threads are faster
_LARGE = 1 << 27  # from here on four pieces: with two, the repeated packing costs one thread the least


def matmul(x: Array, y: Array, out: Array | None = None, bias: Array | None = None) -> Array:
    """`x @ y + bias` of two matrices of one dtype and a row, or of no row."""
    (m, k), n = x.shape, y.shape[1]
    out = np.empty((m, n), x.dtype) if out is None else out
    longest = max(m, k, n)
    count = 2 if m * k * n < _LARGE else 4
    step = -(-longest // (16 * count)) * 16
    pieces = [slice(start, start + step) for start in range(0, longest, step)]
    addends: list[Array] = []

    def columns(piece: slice) -> None:
        own = np.matmul(x, y[:, piece], out=out[:, piece])
        if bias is not None:
            own += bias[piece]

    def rows(piece: slice) -> None:
        own = np.matmul(x[piece], y, out=out[piece])
        if bias is not None:
            own += bias

    def terms(piece: slice) -> None:
        np.matmul(x[:, piece], y[piece], out=addends[piece.start // step])

    with one_thread:
        if n == longest:
            run(columns, pieces)
        elif m == longest:
            run(rows, pieces)
        else:
            addends += [out, *(np.empty_like(out) for _ in pieces[1:])]
            run(terms, pieces)
    for addend in (*addends[1:], *([bias] if addends and bias is not None else [])):
        out += addend
    return out


def _work(x: Array, y: Array) -> int:
    """How many multiplications the product of two matrices of one dtype takes. 0 for operands that do not fit."""
    if type(x) is np.ndarray and type(y) is np.ndarray and x.ndim == y.ndim == 2 and x.dtype is y.dtype:
        return x.size * y.shape[1] if x.dtype.char in "fd" and x.shape[1] == len(y) else 0
    return 0


def stack_product(formula: Way) -> Way:
    """`x @ y` of stacks: the products of a stack are shared out. Two matrices are cut."""

    def in_threads(x: Array, y: Array) -> Array:
        if type(x) is not np.ndarray or x.size * y.shape[-1] <= _ALONE:
            return formula(x, y)
        work = _work(x, y)
        if work >= _SHARED:
            return matmul(x, y)
        with one_thread:
            if not several_threads() or x.dtype != y.dtype or (n := _stacked(x, y)) < 2:
                return formula(x, y)
            out = np.empty((n, x.shape[-2], y.shape[-1]), x.dtype)

            def part(piece: slice) -> None:
                own_x, own_y = (a[piece] if a.ndim == 3 else a for a in (x, y))
                np.matmul(own_x, own_y, out=out[piece])

            run(part, cut(n, _SHARED * n / max(1, out.size * x.shape[-1])))
        return out

    return in_threads


def _stacked(x: Array, y: Array) -> int:
    """How many products a stack of matrices has with another, or with one matrix; 0 for other operands."""
    stacks = [len(a) for a in (x, y) if a.ndim == 3]
    return stacks[0] if {x.ndim, y.ndim} <= {2, 3} and len(set(stacks)) == 1 else 0


def linear(formula: Way) -> Way:
    """The bias is added to each part of the product while that part is in the cache."""

    def in_threads(x: Array, weight: Array, bias: Array | None = None) -> Array:
        work = _work(x, weight.T)
        if 0 < work <= _ALONE or type(x) is not np.ndarray:
            return formula(x, weight, bias)
        fits = bias is None or type(bias) is np.ndarray and bias.shape == weight.shape[:1] and bias.dtype is x.dtype
        if work >= _SHARED and fits:
            return matmul(x, weight.T, bias=bias)
        with one_thread:
            return formula(x, weight, bias)

    return in_threads


def linear_weight_grad(formula: Way) -> Way:
    """`g.T @ x`, cut like every product."""

    def in_threads(g: Array, x: Array, memory: Array | None = None) -> Array:
        work = _work(g.T, x)
        if 0 < work <= _ALONE or type(x) is not np.ndarray:
            return formula(g, x, memory)
        if work >= _SHARED:
            return matmul(g.T, x, memory)
        with one_thread:
            return formula(g, x, memory)

    return in_threads


def by_one_thread(formula: Way) -> Way:
    """The formula as it is. Its vectors are too short to share, but OpenBLAS would."""

    def alone(*arguments: Any, **options: Any) -> Any:
        if arguments and type(arguments[0]) is np.ndarray and arguments[0].size <= _ALONE:
            return formula(*arguments, **options)
        with one_thread:
            return formula(*arguments, **options)

    return alone


def sum_of_squares(formula: Way) -> Way:
    """Threads share the dot products, and their sums are added in one order."""

    def in_threads(x: Array, scale: float = 1.0) -> Array:
        if type(x) is not np.ndarray or x.size <= _ALONE:
            return formula(x, scale)
        if x.size <= BLOCK:
            with one_thread:
                return formula(x, scale)
        rows, rest = blocks_of(x)
        squares = np.empty((len(rows), 1, 1), x.dtype)

        def part(piece: slice) -> None:
            np.matmul(rows[piece], rows[piece].swapaxes(1, 2), out=squares[piece])

        with one_thread:
            run(part, cut(len(rows), 2))
            return (squares.sum() + rest @ rest) * scale

    return in_threads
