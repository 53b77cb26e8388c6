"""Convolution and pooling on GPUs: one kernel launch (`images.cu`) for each loop over taps in images/.

Images have shape and memory order (H, C, W, N), batch innermost, as in images/. Sums are taken in the CPU's order.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae.backend import Array, is_array, xp_of
from scratchae.gpu.kernels import TYPES, launch
from scratchae.images.conv import inner, outer
from scratchae.images.window import Pair, Window, output_size

Function = Callable[..., Any]


def _takes(x: Array) -> bool:
    """Whether a kernel computes with `x`."""
    return not isinstance(x, np.ndarray) and x.dtype.name in TYPES


# --- attached to images/conv.py ---------------------------------------------------------------------


def by_kernel(kernel: Function) -> Callable[[Function], Function]:
    """For a function on images (H, C, W, N): on a GPU, call `kernel`, a function below with the same parameters."""

    def decorate(formula: Function) -> Function:
        @functools.wraps(formula)
        def call(x: Array, *options: Any) -> Array:
            return kernel(x, *options) if _takes(x) else formula(x, *options)

        return call

    return decorate


# --- attached to images/pooling.py ------------------------------------------------------------------


def pooled_by_kernel(kernel: Function) -> Callable[[Function], Function]:
    """For a primitive on images (N, C, H, W), whose last argument is the window: on a GPU, call `kernel`.

    `kernel` is a function below. A kernel stores a place in a window in one byte. For larger windows the primitive's
    own code runs.
    """

    def decorate(formula: Function) -> Function:
        @functools.wraps(formula)
        def call(*arguments: Any) -> Any:
            *given, window = arguments
            if not _takes(given[0]) or window.kernel[0] * window.kernel[1] > 256:
                return formula(*arguments)
            out = kernel(*(inner(a) if is_array(a) else a for a in given), window)
            return (outer(out[0]), {"index": outer(out[1])}) if type(out) is tuple else outer(out)

        return call

    return decorate


def kept_there(formula: Function) -> Function:
    """Keep each matrix of an interpolation on the GPU, since a replayed step reads the matrix at its address."""
    made = functools.cache(lambda cupy, *arguments: formula(*arguments))

    @functools.wraps(formula)
    def interpolation(n: int, scale: int, dtype: np.dtype, device: str) -> Array:
        arguments = n, scale, dtype, device
        return formula(*arguments) if device == "cpu" else made(sys.modules["cupy"], *arguments)

    return interpolation


# --- convolution ----------------------------------------------------------------------------------


def launch_columns(X: Array, window: Window, out: Pair) -> Array:
    """The matrix (kh kw C, Wo N) for every output row, as drawn in images/conv.py; together (Ho, kh kw C, Wo N).

    Neighbouring matrices share rows in memory. If the kernel is dilated vertically, the rows of one matrix would not be
    adjacent. Then every matrix is written out.
    """
    (_, C, _, N), (kh, kw), (Ho, Wo), xp = X.shape, window.kernel, out, xp_of(X)
    stride, dilation = window.stride, window.dilation
    X, shape = xp.ascontiguousarray(X), (Ho, kh * kw * C, Wo * N)
    if dilation[0] > 1:
        full = xp.empty((Ho, kh, kw, C, Wo, N), X.dtype)
        return _run("columns", full, (X, full), X.shape, out, window).reshape(shape)
    rows = max(0, (Ho - 1) * stride[0] + kh)  # of the padded input; each row once, so the kernel has 1 row and stride 1
    taps = xp.empty((rows, kw, C, Wo, N), X.dtype)
    _run("columns", taps, (X, taps), X.shape, (rows, Wo), window._replace(kernel=(1, kw), stride=(1, stride[1])))
    step = taps.itemsize * Wo * N
    return xp.lib.stride_tricks.as_strided(taps, shape, (stride[0] * kw * C * step, step, taps.itemsize))


def launch_fold(product: Array, size: Pair, window: Window) -> Array:
    """Images of `size`: the values in `product` (Ho, kh, kw, C, Wo, N) for every tap of every window, summed."""
    Ho, _, _, C, Wo, N = product.shape
    X = xp_of(product).empty((size[0], C, size[1], N), product.dtype)
    return _run("fold", X, (product, X), X.shape, (Ho, Wo), window)


# --- pooling --------------------------------------------------------------------------------------


def launch_max_pool(X: Array, window: Window) -> tuple[Array, Array]:
    """The largest element of each window, and its place in the window. Ties go to the first element; NaN passes on."""
    out = output_size((X.shape[0], X.shape[2]), window)
    best = _images(X, out)
    index = xp_of(X).empty(best.shape, np.uint8)
    return _run("max_pool", best, (X, best, index, -np.inf), X.shape, out, window), index


def launch_put_back(G: Array, index: Array, size: Pair, window: Window) -> Array:
    """Each element of `G` at the place in its window that `index` names."""
    X = _images(G, size)
    return _run("put_back", X, (G, index, X), X.shape, (G.shape[0], G.shape[2]), window)


def launch_pick(X: Array, index: Array, window: Window) -> Array:
    """The element of each window that `index` names."""
    out = (index.shape[0], index.shape[2])
    Y = _images(X, out)
    return _run("pick", Y, (X, index, Y), X.shape, out, window)


def launch_pool_sum(X: Array, window: Window) -> Array:
    """The sum of each window."""
    out = output_size((X.shape[0], X.shape[2]), window)
    Y = _images(X, out)
    return _run("pool_sum", Y, (X, Y), X.shape, out, window)


def launch_spread(G: Array, size: Pair, window: Window) -> Array:
    """Each element of `G` at every place in its window. Where windows overlap, the elements are added."""
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
