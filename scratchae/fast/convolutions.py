"""Convolutions with 3 x 3 windows by the loops of image_loops.py, shared by threads."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from scratchae.backend import Array
from scratchae.fast.elements import native
from scratchae.fast.numba import image_loops
from scratchae.fast.threads import cut, run
from scratchae.images.conv import half_turn, inner, outer, shift_the_output, turned
from scratchae.images.pooling import tiled
from scratchae.images.window import Pair, Window, output_size

Way = Callable[..., Any]
_LINE = 1 << 9  # numbers of an output row, or more: shorter ones leave too little between two calls
_MOVED = 1 << 17  # numbers of images, or more, for a thread at a time
_PIECE = 1 << 19  # multiplications, or more, for a thread at a time


def convolved(formula: Way) -> Way:
    """For `conv`: each output row begins with the bias, so no pass over the result is needed to add the bias."""

    def conv(x: Array, weight: Array, bias: Any, window: Window, groups: int) -> Array:
        plain = type(bias) is not np.ndarray or groups > 1 or type(x) is not np.ndarray or x.dtype != bias.dtype
        if plain or window.stride == (1, 1) and shift_the_output(len(weight), x.shape[1]):
            return formula(x, weight, bias, window, groups)
        X, out = inner(x), output_size(x.shape[2:], window)
        if not suits(X, weight, window, out):
            return formula(outer(X), weight, bias, window, groups)
        return outer(correlate(X, weight, window, out, bias))

    return conv


def correlated(formula: Way) -> Way:
    """For `shift_then_multiply`: no matrix of columns is made."""

    def shift_then_multiply(X: Array, w: Array, window: Window, out: Pair) -> Array:
        return correlate(X, w, window, out) if suits(X, w, window, out) else formula(X, w, window, out)

    return shift_then_multiply


def correlate(X: Array, w: Array, window: Window, out: Pair, bias: Array | None = None) -> Array:
    """C of images/conv.py: X (H, C, W, N), w (O, C, 3, 3) and a bias (O) to (Ho, O, Wo, N)."""
    P, distances = framed(X, window, out)
    weights, Y = np.ascontiguousarray(w), aligned((out[0], len(w), out[1] * X.shape[3]), X.dtype)
    begin = np.zeros(len(w), X.dtype) if bias is None else np.ascontiguousarray(bias)

    def part(rows: slice) -> None:
        image_loops().correlate_nine(P, weights, begin, Y, *distances, rows.start, rows.stop)

    run(part, cut(len(Y), _PIECE * len(Y) / (Y.size * X.shape[1] * 9), 16))
    return Y.reshape(out[0], len(w), out[1], X.shape[3])


def correlated_weights(formula: Way) -> Way:
    """For `summed_products`: threads share the output rows, and the sums of the pieces are added in their order."""

    def summed_products(X: Array, Y: Array, window: Window, out: Pair) -> Array:
        if not suits(X, Y, window, out):
            return formula(X, Y, window, out)
        P, distances = framed(X, window, out)
        G = Y.reshape(out[0], Y.shape[1], -1)
        pieces = cut(len(G), _PIECE * len(G) / (G.size * X.shape[1] * 9))
        W = np.empty((len(pieces), Y.shape[1], X.shape[1], 9), X.dtype)

        def part(i: int) -> None:
            image_loops().weights_nine(P, G, W[i], *distances, pieces[i].start, pieces[i].stop)

        run(part, range(len(pieces)))
        return W.sum(axis=0).reshape(*W.shape[1:3], 3, 3)

    return summed_products


def transposed(formula: Way) -> Way:
    """For `multiply_then_shift`: no sum over overlapping windows, for the strides 1 and 2."""

    def multiply_then_shift(Y: Array, w: Array, window: Window, size: Pair) -> Array:
        if window.stride == (1, 1) and suits(Y, w, window, size):
            return correlate(Y, half_turn(w), turned(window), size)
        (top, _), (left, _) = window.pads
        rows, columns = ((n + pad // 2 * 2 + 1) // 2 for n, pad in zip(size, (top, left), strict=True))
        doubling = window.stride == (2, 2) and window.dilation == (1, 1) and (top - left) % 2 == 0
        if not doubling or not suits(Y, w, window, (rows, columns)):
            return formula(Y, w, window, size)
        odd = top % 2
        P, _ = framed(Y, Window((2, 2), (1, 1), ((1 - odd, odd), (1 - odd, odd)), (1, 1)), (rows, columns))
        weights, X = np.ascontiguousarray(w), np.empty((size[0], w.shape[1], size[1], Y.shape[3]), Y.dtype)

        def part(own: slice) -> None:
            image_loops().transpose_nine[odd](P, weights, X, top // 2, left // 2, own.start, own.stop)

        run(part, cut(rows, _PIECE * rows / (P.size * w.shape[1] * 9), 16))
        return X

    return multiply_then_shift


def suits(X: Any, other: Any, window: Window, out: Pair) -> bool:
    """Whether the loops are made for these arrays and this window."""
    if type(X) is not np.ndarray or type(other) is not np.ndarray or X.dtype != other.dtype or not native(X.dtype):
        return False
    large = out[1] * X.shape[3] >= _LINE and X.size > 0 < out[0]
    return large and window.kernel == (3, 3) and image_loops() is not None


def framed(X: Array, window: Window, out: Pair) -> tuple[Array, tuple]:
    """The copy of X that `frame` makes, and in it the distances of output rows, of a window's rows, of its columns."""
    (_, channels, _, n), (sh, sw), (dh, dw), pads = X.shape, window.stride, window.dilation, window.pads
    last_row, last_column = (d * (k - 1) for d, k in zip(window.dilation, window.kernel, strict=True))
    columns = out[1] + last_column // sw
    P = aligned(((out[0] - 1) * sh + last_row + 1, channels, sw, columns, n), X.dtype)

    def part(rows: slice) -> None:
        image_loops().frame(X, P, pads[0][0], pads[1][0], rows.start, rows.stop)

    run(part, cut(len(P), _MOVED * len(P) / P.size))
    row = prod(P.shape[1:])
    return P, (sh * row, dh * row, *(((j * dw) % sw * columns + j * dw // sw) * n for j in (1, 2)))


def aligned(shape: tuple[int, ...], dtype: Any) -> Array:
    """An empty array that begins at a multiple of 64 bytes: loads of whole vectors then never cross a cache line."""
    size, itemsize = prod(shape), np.dtype(dtype).itemsize
    memory = np.empty(size + 64 // itemsize, dtype)
    start = -memory.__array_interface__["data"][0] % 64 // itemsize
    return memory[start : start + size].reshape(shape)


# --- windows that tile the image ------------------------------------------------------------------


def largest(formula: Way) -> Way:
    """For `take_largest`."""

    def take_largest(best: Array, index: Array, X: Array, window: Window) -> None:
        if not tiles(X, window):
            return formula(best, index, X, window)
        _fill("largest_in_tiles", best, X, best, index, window=window)

    return take_largest


def summed(formula: Way) -> Way:
    """For `add_windows`."""

    def add_windows(Y: Array, X: Array, window: Window) -> None:
        if not tiles(X, window):
            return formula(Y, X, window)
        _fill("sum_of_tiles", Y, X, Y, window=window)

    return add_windows


def put_back(formula: Way) -> Way:
    """For `put_back`."""

    def by_loop(g: Array, index: Array, size: Pair, window: Window) -> Array:
        X = _images(g, size)
        if not tiles(X, window) or type(index) is not np.ndarray:
            return formula(g, index, size, window)
        _fill("put_into_tiles", G := inner(g), G, inner(index), X, window=window)
        return outer(X)

    return by_loop


def spread(formula: Way) -> Way:
    """For `spread`."""

    def by_loop(g: Array, size: Pair, window: Window) -> Array:
        X = _images(g, size)
        if not tiles(X, window):
            return formula(g, size, window)
        _fill("repeat_in_tiles", G := inner(g), G, X, window=window)
        return outer(X)

    return by_loop


def _images(g: Any, size: Pair) -> Any:
    """An empty array (H, C, W, N) for images of `size` with the channels and the number of `g`; None on a GPU."""
    return np.empty((size[0], g.shape[1], size[1], g.shape[0]), g.dtype) if type(g) is np.ndarray else None


def tiles(X: Any, window: Window) -> bool:
    """Whether the windows cover every pixel of the images X once, and X is worth a loop."""
    if type(X) is not np.ndarray or X.size < _LINE or X.shape[3] < 16 or not native(X.dtype):
        return False
    return tiled((X.shape[0], X.shape[2]), window) and image_loops() is not None


def _fill(name: str, rows: Array, *arrays: Array, window: Window) -> None:
    """Call a loop with `arrays`; threads share the rows of the array `rows`."""
    compute, largest = getattr(image_loops(), name), max(a.size for a in arrays)

    def part(own: slice) -> None:
        compute(*arrays, *window.kernel, own.start, own.stop)

    run(part, cut(len(rows), _MOVED * len(rows) / largest))
