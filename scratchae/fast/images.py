"""Images: a bias's gradient as a product, transposed convolution without additions, channels shared by threads."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae.backend import Array, xp_of
from scratchae.fast.passes import COMPUTED, MOVED, worth_sharing
from scratchae.fast.threads import cut, run, several_threads
from scratchae.images.conv import inner, product, shift_then_multiply
from scratchae.images.window import Pair, Window

_IMAGES = 3 << 16  # numbers that a piece reads or fills


def by_channels(fill: Callable[..., None]) -> Callable[..., None]:
    """For a function that fills its first argument: threads share the channels.

    The last axes of all its arrays are (C, W, N), and the function treats every channel alone.
    """

    def shared(*arguments: Any) -> None:
        first = arguments[0]
        largest = max(a.size for a in arguments if hasattr(a, "size"))
        if type(first) is not np.ndarray or largest < 2 * _IMAGES or not several_threads():
            return fill(*arguments)

        def part(channels: slice) -> None:
            fill(*(a[..., channels, :, :] if type(a) is np.ndarray else a for a in arguments))

        run(part, _channels(first.shape[-3], largest))

    return shared


def folded_by_channels(formula: Callable[..., Array]) -> Callable[..., Array]:
    """For `fold`: threads share the channels."""

    def fold(products: Array, size: Pair, window: Window) -> Array:
        if not worth_sharing(products, _IMAGES):
            return formula(products, size, window)
        *_, channels, _, images = products.shape
        X = np.empty((size[0], channels, size[1], images), products.dtype)

        def part(own: slice) -> None:
            X[:, own] = formula(products[:, :, :, own], size, window)

        run(part, _channels(channels, products.size))
        return X

    return fold


def _channels(n: int, size: int) -> list[slice]:
    """`n` channels of arrays with up to `size` numbers, in few pieces: each goes through all elements of a window."""
    return cut(n, max(n / 4, _IMAGES * n / size))


def by_rows(formula: Callable[..., Array]) -> Callable[..., Array]:
    """For `plus_bias`: threads share the rows of the images."""

    def plus_bias(Y: Array, bias: Array | None) -> Array:
        if bias is None or not worth_sharing(Y, MOVED):
            return formula(Y, bias)
        run(lambda rows: formula(Y[rows], bias), cut(len(Y), MOVED * len(Y) / Y.size))
        return formula(Y, None)

    return plus_bias


def transposed_by_rows(formula: Callable[..., Array]) -> Callable[..., Array]:
    """For `inner`: threads share the rows of images that lie in another order."""

    def inner(x: Array) -> Array:
        if not worth_sharing(x, COMPUTED):
            return formula(x)
        rows = x.transpose(2, 1, 3, 0)
        if rows.flags.c_contiguous:
            return rows
        X = np.empty(rows.shape, x.dtype)

        def part(piece: slice) -> None:
            X[piece] = rows[piece]

        run(part, cut(len(X), COMPUTED * len(X) / X.size))
        return X

    return inner


def by_ones(formula: Callable[..., Array]) -> Callable[..., Array]:
    """For `sum_over_images`: a product with ones, which is several times faster than `sum`."""

    @functools.wraps(formula)
    def sum_over_images(g: Array) -> Array:
        rows, channels, width, n = (G := inner(g)).shape
        ones = xp_of(g).ones(width * n, g.dtype)
        return product(G.reshape(rows, channels, width * n), ones).sum(axis=0)

    return sum_over_images


def by_phases(formula: Callable[..., Array]) -> Callable[..., Array]:
    """For `multiply_then_shift`: on the CPU, strides above 1 are interleaved unless the kernel is dilated."""

    @functools.wraps(formula)
    def multiply_then_shift(Y: Array, w: Array, window: Window, size: Pair) -> Array:
        suits = isinstance(Y, np.ndarray) and window.stride != (1, 1) and window.dilation == (1, 1)
        return interleave(Y, w, window, size) if suits else formula(Y, w, window, size)

    return multiply_then_shift


def interleave(Y: Array, w: Array, window: Window, size: Pair) -> Array:
    """T of images/conv.py for strides (sh, sw): from (Ho, O, Wo, N) to (H, C, W, N).

    The pixels in phase (a, b) of the stride's grid depend only on every stride-th tap. All phases together are one
    convolution at stride 1 with sh sw C outputs. The outputs are interleaved, and never added.
    """
    (o, C, kh, kw), (sh, sw), ((top, _), (left, _)) = w.shape, window.stride, window.pads
    mh, mw = -(-kh // sh), -(-kw // sw)  # taps per phase
    full = np.zeros((o, C, mh * sh, mw * sw), w.dtype)
    full[:, :, :kh, :kw] = w
    phases = full.reshape(o, C, mh, sh, mw, sw)[:, :, ::-1, :, ::-1].transpose(3, 5, 1, 0, 2, 4)
    rows, columns = -(-(size[0] + top) // sh), -(-(size[1] + left) // sw)
    one_phase = Window((mh, mw), (1, 1), ((mh - 1, 0), (mw - 1, 0)))
    Z = shift_then_multiply(Y, phases.reshape(sh * sw * C, o, mh, mw), one_phase, (rows, columns))
    Z = Z.reshape(rows, sh, sw, C, columns, Y.shape[3])
    X = np.empty((size[0], C, size[1], Y.shape[3]), Z.dtype)
    _weave(X, Z, (top, left))
    return X


@by_channels
def _weave(X: Array, Z: Array, pads: Pair) -> None:
    """Fill X (H, C, W, N) from Z (rows, sh, sw, C, columns, N): each phase gives the pixels that lie in it."""
    _, sh, sw, *_ = Z.shape
    for a in range(sh):
        to_rows, from_rows = _phase(a, sh, pads[0], len(X))
        for b in range(sw):
            to_columns, from_columns = _phase(b, sw, pads[1], X.shape[2])
            X[to_rows, :, to_columns] = Z[from_rows, a, b, :, from_columns]


def _phase(phase: int, stride: int, pad: int, n: int) -> tuple[slice, slice]:
    """Along an axis of n pixels: the pixels with (position + pad) in `phase`, and the places of their values."""
    first = (phase - pad) % stride
    count = max(0, -(-(n - first) // stride))
    row = (first + pad) // stride
    return slice(first, n, stride), slice(row, row + count)
