"""Convolutions: a bias's gradient as a product, and transposed convolution with a stride without additions."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from scratchae.backend import Array, xp_of
from scratchae.images.conv import inner, product, shift_then_multiply
from scratchae.images.window import Pair, Window


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
    for a in range(sh):
        to_rows, from_rows = _phase(a, sh, top, size[0])
        for b in range(sw):
            to_columns, from_columns = _phase(b, sw, left, size[1])
            X[to_rows, :, to_columns] = Z[from_rows, a, b, :, from_columns]
    return X


def _phase(phase: int, stride: int, pad: int, n: int) -> tuple[slice, slice]:
    """Along an axis of n pixels: the pixels with (position + pad) in `phase`, and the places of their values."""
    first = (phase - pad) % stride
    count = max(0, -(-(n - first) // stride))
    row = (first + pad) // stride
    return slice(first, n, stride), slice(row, row + count)
