"""Pooling and its reverse, in the memory layout of conv.py, batch innermost.

    max_pool    y[n, c, a, b] = max over i, j of  padded[n, c, s a + i, s b + j]        padding is -inf
    pool_sum    y[n, c, a, b] = sum over i, j of  padded[n, c, s a + i, s b + j]        padding is 0

Two pairs of linear maps, each the other's derivative: `pool_sum` with `spread`, `pick` with `put_back`.
Nearest-neighbour upsampling is `spread` with windows that do not overlap.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scratchae.attach import replaceable
from scratchae.autograd.elementwise import masked
from scratchae.autograd.engine import primitive
from scratchae.autograd.products import matmul
from scratchae.autograd.tensor import values_of
from scratchae.backend import Array, device_of, to_device, xp_of
from scratchae.images.conv import inner, outer
from scratchae.images.window import Pair, Window, output_size, reach


@primitive(x=lambda g, index, x_shape, window: put_back(g, index, x_shape[2:], window))
def max_pool(x: Array, window: Window) -> Any:
    """The largest element of each window, where padding is -inf. Of equal elements the first gets the gradient."""
    X, size = inner(x), x.shape[2:]
    xp, out = xp_of(X), output_size(size, window)
    best = xp.full((out[0], X.shape[1], out[1], X.shape[3]), -np.inf, X.dtype)
    index = xp.zeros(best.shape, np.uint8 if math.prod(window.kernel) <= 256 else np.int32)
    take_largest(best, index, X, window)
    return outer(best), {"index": outer(index)}


@replaceable
def take_largest(best: Array, index: Array, X: Array, window: Window) -> None:
    """Fill `best`, which holds -inf, and `index`, which holds 0: the largest element of each window, and its place."""
    size, xp = (X.shape[0], X.shape[2]), xp_of(X)
    for t, to, source in _taps(size, (best.shape[0], best.shape[2]), window):
        if t == 0 and tiled(size, window):
            best[to] = X[source]
            continue
        won = X[source] > best[to]
        xp.maximum(best[to], X[source], out=best[to])  # NaN passes on
        # Taps come in order, so the last tap with a new maximum has the largest number.
        xp.maximum(index[to], won.view(np.uint8) * index.dtype.type(t), out=index[to])


@primitive(g=lambda h, index, window: pick(h, index, window))
def put_back(g: Array, index: Array, size: Pair, window: Window) -> Array:
    """Each element of `g` at the place in its window that `index` names."""
    return _into_windows(size, window, lambda t, G, place: masked(G, place == t), inner(g), inner(index))


@primitive(x=lambda g, index, x_shape, window: put_back(g, index, x_shape[2:], window))
def pick(x: Array, index: Array, window: Window) -> Array:
    """The element of each window that `index` names."""
    X, I = inner(x), inner(index)  # noqa: E741
    Y = xp_of(X).zeros(I.shape, X.dtype)
    for t, to, source in _taps(x.shape[2:], index.shape[2:], window):
        Y[to] += masked(X[source], I[to] == t)
    return outer(Y)


@primitive(x=lambda g, x_shape, window: spread(g, x_shape[2:], window))
def pool_sum(x: Array, window: Window) -> Array:
    """The sum of each window."""
    X, out = inner(x), output_size(x.shape[2:], window)
    Y = xp_of(X).zeros((out[0], X.shape[1], out[1], X.shape[3]), X.dtype)
    add_windows(Y, X, window)
    return outer(Y)


@replaceable
def add_windows(Y: Array, X: Array, window: Window) -> None:
    """Add to each element of Y its window of X."""
    for _, to, source in _taps((X.shape[0], X.shape[2]), (Y.shape[0], Y.shape[2]), window):
        Y[to] += X[source]


@primitive(g=lambda h, window: pool_sum(h, window))
def spread(g: Array, size: Pair, window: Window) -> Array:
    """Each element of `g` at every place in its window. Where windows overlap, the elements are added."""
    return _into_windows(size, window, lambda t, G: G, inner(g))


def _into_windows(size: Pair, window: Window, value: Callable[..., Array], *arrays: Array) -> Array:
    """Images of `size`, filled by `fill_windows`."""
    G, xp = arrays[0], xp_of(*arrays)
    X = (xp.empty if tiled(size, window) else xp.zeros)((size[0], G.shape[1], size[1], G.shape[3]), G.dtype)
    fill_windows(X, window, value, *arrays)
    return outer(X)


@replaceable
def fill_windows(X: Array, window: Window, value: Callable[..., Array], *arrays: Array) -> None:
    """Place t of each window of X gets `value(t, ...)` of the window's elements in `arrays`. Overlaps are added."""
    size, (rows, _, across, _) = (X.shape[0], X.shape[2]), arrays[0].shape
    for t, to, source in _taps(size, (rows, across), window):
        values = value(t, *(a[to] for a in arrays))
        if tiled(size, window):
            X[source] = values
        else:
            X[source] += values


def _taps(size: Pair, out: Pair, window: Window) -> Iterator[tuple[int, tuple, tuple]]:
    """(number, outputs, inputs) of each element of the window, as indices into (H, C, W, N)."""
    across = window.kernel[1]
    for t in range(window.kernel[0] * across):
        rows, from_rows = reach(window, 0, t // across, size[0], out[0])
        columns, from_columns = reach(window, 1, t % across, size[1], out[1])
        yield t, (rows, slice(None), columns), (from_rows, slice(None), from_columns)


def tiled(size: Pair, window: Window) -> bool:
    """Whether the windows cover every pixel exactly once. Results can then be stored instead of added."""
    kernel, stride, pads, _ = window
    return kernel == stride and pads == ((0, 0), (0, 0)) and not (size[0] % kernel[0] or size[1] % kernel[1])


# --- upsampling -----------------------------------------------------------------------------------


def upsample_nearest(x: Any, scale: Pair) -> Any:
    """Every pixel repeated to a block of `scale` pixels."""
    return spread(x, (x.shape[2] * scale[0], x.shape[3] * scale[1]), Window(scale, scale))


def upsample_bilinear(x: Any, scale: Pair) -> Any:
    """Linear interpolation between pixel centres (PyTorch's align_corners=False)."""
    device = device_of(values_of(x, "upsample: the input"))
    rows, columns = (interpolation(n, s, x.dtype, device) for n, s in zip(x.shape[2:], scale, strict=True))
    return matmul(matmul(rows, x), columns.T)


@replaceable
def interpolation(n: int, scale: int, dtype: np.dtype, device: str) -> Array:
    """The matrix (n * scale, n) of linear interpolation, which gives `scale` numbers for each of n numbers.

    Row i has its centre at (i + 0.5) / scale - 0.5. The weight of number j is max(0, 1 - |centre - j|).
    """
    centres = np.clip((np.arange(n * scale) + 0.5) / scale - 0.5, 0, n - 1)
    weights = np.maximum(0, 1 - abs(centres[:, None] - np.arange(n)))
    return to_device(weights.astype(dtype), device)
