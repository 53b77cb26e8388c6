"""Convolution and pooling on GPUs: what conv.py and pooling.py do tap by tap, in one launch (`images.cu`).

Images have the shape and the memory (H, C, W, N), batch innermost, here as there. Sums are taken in the CPU's order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchae.attach import PLAIN
from scratchae.backend import Array, xp_of
from scratchae.gpu.kernels import TYPES, launch
from scratchae.images.window import Pair, Window


def takes(x: Array, window: Window | None = None) -> bool:
    """Whether the functions below compute with `x`. They have one byte for a place in a window."""
    if PLAIN or isinstance(x, np.ndarray) or x.dtype.name not in TYPES:
        return False
    return window is None or window.kernel[0] * window.kernel[1] <= 256


# --- convolution ----------------------------------------------------------------------------------


def columns(X: Array, window: Window, out: Pair) -> Array:
    """For every output row the matrix (kh kw C, Wo N) of the drawing in conv.py; together (Ho, kh kw C, Wo N).

    Neighbouring matrices share rows in memory. Not so where the kernel is dilated vertically: the rows of one matrix
    would have others between them, so there every matrix is written out.
    """
    (_, C, _, N), (kh, kw), (Ho, Wo), xp = X.shape, window.kernel, out, xp_of(X)
    stride, dilation = window.stride, window.dilation
    X, shape = xp.ascontiguousarray(X), (Ho, kh * kw * C, Wo * N)
    if dilation[0] > 1:
        full = xp.empty((Ho, kh, kw, C, Wo, N), X.dtype)
        return _run("columns", full, (X, full), X.shape, out, window).reshape(shape)
    rows = max(0, (Ho - 1) * stride[0] + kh)  # of the padded input: each once, hence a kernel of one row at stride 1
    taps = xp.empty((rows, kw, C, Wo, N), X.dtype)
    _run("columns", taps, (X, taps), X.shape, (rows, Wo), window._replace(kernel=(1, kw), stride=(1, stride[1])))
    step = taps.itemsize * Wo * N
    return xp.lib.stride_tricks.as_strided(taps, shape, (stride[0] * kw * C * step, step, taps.itemsize))


def fold(product: Array, size: Pair, window: Window) -> Array:
    """Images of `size`: what `product` (Ho, kh, kw, C, Wo, N) has for every tap of every window, summed."""
    Ho, _, _, C, Wo, N = product.shape
    X = xp_of(product).empty((size[0], C, size[1], N), product.dtype)
    return _run("fold", X, (product, X), X.shape, (Ho, Wo), window)


# --- pooling --------------------------------------------------------------------------------------


def max_pool(X: Array, out: Pair, window: Window) -> tuple[Array, Array]:
    """The largest element of each window, and its place there; of equal ones the first, and NaN passes on."""
    best = _images(X, out)
    index = xp_of(X).empty(best.shape, np.uint8)
    return _run("max_pool", best, (X, best, index, -np.inf), X.shape, out, window), index


def put_back(G: Array, index: Array, size: Pair, window: Window) -> Array:
    """Each element of `G` at the place in its window that `index` names."""
    X = _images(G, size)
    return _run("put_back", X, (G, index, X), X.shape, (G.shape[0], G.shape[2]), window)


def pick(X: Array, index: Array, window: Window) -> Array:
    """The element of each window that `index` names."""
    out = (index.shape[0], index.shape[2])
    Y = _images(X, out)
    return _run("pick", Y, (X, index, Y), X.shape, out, window)


def pool_sum(X: Array, out: Pair, window: Window) -> Array:
    """The sum of each window."""
    Y = _images(X, out)
    return _run("pool_sum", Y, (X, Y), X.shape, out, window)


def spread(G: Array, size: Pair, window: Window) -> Array:
    """Each element of `G` to every place in its window; where windows overlap, they add up."""
    X = _images(G, size)
    return _run("spread", X, (G, X), X.shape, (G.shape[0], G.shape[2]), window)


def _images(like: Array, size: Pair) -> Array:
    return xp_of(like).empty((size[0], like.shape[1], size[1], like.shape[3]), like.dtype)


def _run(
    name: str, result: Array, arguments: tuple[Any, ...], larger: tuple[int, ...], out: Pair, window: Window
) -> Array:
    """Launch kernel `name` with one thread per element of `result`, and GEOMETRY after the `arguments`."""
    kernel, stride, pads, dilation = window
    geometry = (*larger, *out, *kernel, *stride, *dilation, pads[0][0], pads[1][0])
    launch(xp_of(result), "images.cu", name, result.dtype, result.size, *arguments, *map(int, geometry))
    return result
