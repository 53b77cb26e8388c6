"""Matrix products in several threads, with BLAS at one thread for each.

A stack is cut along its first axis, where the products are independent. A product of two matrices is cut along the
longest of its three axes: BLAS packs anew, for each piece, the matrix that does not have this axis. BLAS rounds some
elements differently where a matrix is cut elsewhere. The places therefore depend on the shapes alone, and one thread
cuts at the same places.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae.backend import Array
from scratchae.fast.blas import one_thread
from scratchae.fast.elements import BLOCK, blocks_of, native
from scratchae.fast.numba import gemm
from scratchae.fast.threads import cut, run, run_product, several_threads

Way = Callable[..., Any]
_ALONE = 1 << 13  # multiplications for which OpenBLAS never uses a second thread
_WATCHED = 1 << 20  # and those from which two threads are faster, where they watch for products
_SHARED = 1 << 22  # the same where they sleep
_LARGE = 1 << 27  # from here on four pieces: with two, the repeated packing costs one thread the least
_ROWS, _COLUMNS, _TERMS = range(3)  # the axes m, n and k, along which a product is cut


def matmul(x: Array, y: Array, out: Array | None = None, bias: Array | None = None) -> Array:
    """`x @ y + bias` of two matrices of one dtype and a row, or of no row."""
    (m, k), n = x.shape, y.shape[1]
    axis, step, count = _places(m, k, n)
    out = np.empty((m, n), x.dtype) if out is None else out
    target = np.empty((count, m, n), x.dtype) if axis == _TERMS else out
    added = bias if axis != _TERMS else None
    with one_thread:
        if gemm() is None or not _by_gemm(x, y, target, added):
            _by_numpy(x, y, target, added)
    if axis == _TERMS:
        np.add(target[0], target[1] if count > 1 else 0, out=out)
        for addend in (*target[2:], *([] if bias is None else [bias])):
            out += addend
    return out


@functools.cache
def _places(m: int, k: int, n: int) -> tuple[int, int, int]:
    """Which axis of a product is cut, the length of a piece, and the number of pieces."""
    longest = max(m, k, n)
    step = -(-longest // (16 * (2 if m * k * n < _LARGE else 4))) * 16
    axis = _COLUMNS if n == longest else _ROWS if m == longest else _TERMS
    return axis, step, -(-longest // step)


def _by_numpy(x: Array, y: Array, target: Array, bias: Array | None) -> None:
    """The pieces as products of NumPy."""
    axis, step, count = _places(*x.shape, y.shape[1])

    def part(i: int) -> None:
        own = slice(i * step, (i + 1) * step)
        if axis == _TERMS:
            np.matmul(x[:, own], y[own], out=target[i])
            return
        place = target[:, own] if axis == _COLUMNS else target[own]
        np.matmul(x if axis == _COLUMNS else x[own], y[:, own] if axis == _COLUMNS else y, out=place)
        if bias is not None:
            place += bias[own] if axis == _COLUMNS else bias

    run(part, range(count))


def _by_gemm(x: Array, y: Array, target: Array, bias: Array | None) -> bool:
    """The pieces as products of gemm.py. False for matrices that lie in memory in another way than row by row."""
    a, b = (z if z.flags.c_contiguous else z.T for z in (x, y))
    if not a.flags.c_contiguous or not b.flags.c_contiguous or not target.flags.c_contiguous:
        return False
    if bias is not None:
        target[...] = bias  # the products are added
    plan = _plan(*x.shape, y.shape[1], a is not x, b is not y, x.itemsize, bias is not None)
    run_product(plan, a, b, target.reshape(-1, target.shape[-1]))
    return True


@functools.cache
def _plan(m: int, k: int, n: int, across_x: bool, across_y: bool, size: int, added: bool) -> Array:
    """The numbers that gemm.py needs, from COUNT to PER_C. `across` matrices lie in memory column by column."""
    axis, step, count = _places(m, k, n)
    last = (m, n, k)[axis] - (count - 1) * step
    row_x, row_y = m if across_x else k, k if across_y else n
    # How far apart in memory are the pieces of x, of y and of the result?
    x = {_ROWS: 1 if across_x else row_x, _COLUMNS: 0, _TERMS: row_x if across_x else 1}[axis] * step
    y = {_ROWS: 0, _COLUMNS: row_y if across_y else 1, _TERMS: 1 if across_y else row_y}[axis] * step
    result = {_ROWS: n * step, _COLUMNS: step, _TERMS: m * n}[axis]
    flags = (size == 8, added, 111 + across_x, 111 + across_y)  # CBLAS: 111 as it is, 112 transposed
    numbers = (count, axis, step, last, m, n, k, *flags, row_x, row_y, n, x * size, y * size, result * size)
    return np.array(numbers, np.int64)


def _worth_cutting(work: int) -> bool:
    return work >= _SHARED or work >= _WATCHED and gemm() is not None


def _work(x: Array, y: Array) -> int:
    """How many multiplications the product of two matrices of one dtype takes. 0 for operands that do not fit."""
    if type(x) is np.ndarray and type(y) is np.ndarray and x.ndim == y.ndim == 2 and x.dtype is y.dtype:
        return x.size * y.shape[1] if native(x.dtype) and x.shape[1] == len(y) else 0
    return 0


def stack_product(formula: Way) -> Way:
    """`x @ y` of stacks: the products of a stack are shared out. Two matrices are cut."""

    def in_threads(x: Array, y: Array) -> Array:
        if type(x) is not np.ndarray or x.size * y.shape[-1] <= _ALONE:
            return formula(x, y)
        work = _work(x, y)
        if _worth_cutting(work):
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
        if fits and _worth_cutting(work):
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
        if _worth_cutting(work):
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
