"""Convolution: three linear maps that are each other's derivatives, and the memory layout that makes them fast.

For one kernel, let y = C(x, w) be the convolution, T(g, w) its gradient for x and W(x, g) its gradient for w. C is
linear in both arguments, hence so are T and W, and the derivatives close up:

    C(x, w)   gives y; its gradients are  T(g, w)  and  W(x, g)
    T(y, w)   gives x; its gradients are  C(g, w)  and  W(g, y)       T is the transposed convolution
    W(x, y)   gives w; its gradients are  T(y, g)  and  C(x, g)

Layout. Images are (N, C, H, W) to everybody, but what is computed here lies in memory as (H, C, W, N), batch
innermost. Copies then move runs of N numbers, and elementwise layers keep the order, so that it costs one
transposition, at the first layer. For the products, the padded input is copied once per horizontal tap j:

    taps[h, j, c, w] = padded[h, c, stride * w + j]            memory (H + padding, kw, C, Wo, N)

         row h     [ j=0: c=0, c=1, ... | j=1: ... | j=2: ... ]  \\
         row h+1   [ j=0: c=0, c=1, ... | j=1: ... | j=2: ... ]   |  kh rows, as they lie, are ONE matrix of
         row h+2   [ j=0: c=0, c=1, ... | j=1: ... | j=2: ... ]  /   kh * kw * C rows and Wo * N columns

Each row of the output is the product of the weight (O, kh kw C) with such a matrix, and neighbouring matrices
share their rows, so the copy is kw times the input and not kh kw times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scratchae.attach import PLAIN, replaceable
from scratchae.autograd.engine import primitive
from scratchae.autograd.shaping import broadcast_to, reshape
from scratchae.backend import Array, xp_of
from scratchae.gpu import images as gpu
from scratchae.images.window import Pair, Window


@primitive(
    x=lambda g, weight, x_shape, window, groups: conv_input(g, weight, None, x_shape[2:], window, groups),
    weight=lambda g, x, window, groups: conv_weight(x, g, window, groups),
    bias=lambda g: sum_over_images(g),
)
def conv(x: Array, weight: Array, bias: Any, window: Window, groups: int) -> Array:
    """C: (N, C, H, W) and weight (O, C / groups, kh, kw) to (N, O, Ho, Wo)."""
    out = output_size(x.shape[2:], window)

    def one_group(X: Array, w: Array) -> Array:
        if window.stride == (1, 1) and shift_the_output(len(w), X.shape[1]):
            return _scatter(X, _reversed_kernel(w), _reversed(window), out)
        return _gather(X, w, window, out)

    Y = _by_group(one_group, groups, inner(x), weight)
    if bias is not None:
        Y += bias[:, None, None]
    return outer(Y)


@primitive(
    y=lambda g, weight, window, groups: conv(g, weight, None, window, groups),
    weight=lambda g, y, window, groups: conv_weight(g, y, window, groups),
    bias=lambda g: sum_over_images(g),
)
def conv_input(y: Array, weight: Array, bias: Any, size: Pair, window: Window, groups: int) -> Array:
    """T: (N, O, Ho, Wo) and weight (O, C / groups, kh, kw) to (N, C, *size)."""

    def one_group(Y: Array, w: Array) -> Array:
        at_once = window.stride == (1, 1)
        if at_once and not shift_the_output(w.shape[1], len(w)):
            return _gather(Y, _reversed_kernel(w), _reversed(window), size)
        if not at_once and window.dilation == (1, 1) and not PLAIN and not gpu.takes(Y):  # GPUs add in one launch
            return _interleave(Y, w, window, size)
        return _scatter(Y, w, window, size)

    X = _by_group(one_group, groups, inner(y), weight)
    if bias is not None:
        X += bias[:, None, None]
    return outer(X)


@primitive(
    x=lambda g, y, x_shape, window, groups: conv_input(y, g, None, x_shape[2:], window, groups),
    y=lambda g, x, window, groups: conv(x, g, None, window, groups),
)
def conv_weight(x: Array, y: Array, window: Window, groups: int) -> Array:
    """W: (N, C, H, W) and (N, O, Ho, Wo) to (O, C / groups, kh, kw)."""
    X, Y, size, out = inner(x), inner(y), x.shape[2:], y.shape[2:]
    c, o = X.shape[1] // groups, Y.shape[1] // groups
    parts = []
    for i in range(groups):
        Xi, Yi = X[:, i * c : (i + 1) * c], Y[:, i * o : (i + 1) * o]
        if window.stride == (1, 1) and o < c:  # shift the thinner of the two
            sums = _products(_columns(Yi, _reversed(window), size), Xi)
            parts.append(sums.reshape(*window.kernel, o, c)[::-1, ::-1].transpose(2, 3, 0, 1))
        else:
            sums = _products(_columns(Xi, window, out), Yi)
            parts.append(sums.reshape(*window.kernel, c, o).transpose(3, 2, 0, 1))
    xp = xp_of(X)
    return xp.ascontiguousarray(xp.concatenate(parts) if groups > 1 else parts[0])


@primitive(g=lambda h, g_shape: broadcast_to(reshape(h, (1, -1, 1, 1)), g_shape))
def sum_over_images(g: Array) -> Array:
    """(N, C, H, W) to (C): the gradient of a bias."""
    G = inner(g)
    rows, channels, width, n = G.shape
    ones = xp_of(g).ones(width * n, g.dtype)  # a product with ones is several times faster than `sum`
    return product(G.reshape(rows, channels, width * n), ones).sum(axis=0)


def shift_the_output(channels_out: int, channels_in: int) -> bool:
    """The plan for stride 1. Shifting the input copies kw * channels_in images, shifting the output adds
    kh * kw * channels_out. Measured (ms, batch 128, 3x3, two cores of a Zen 5 machine), input against output:

        16 -> 1  at 28x28    1.13 / 0.34        64 -> 32 at 14x14    6.2 / 5.9
        16 -> 16 at 14x14    1.13 / 2.01        32 -> 64 at 14x14    4.1 / 10.0
    """
    return PLAIN or 4 * channels_out <= channels_in


def output_size(size: Pair, window: Window) -> Pair:
    h, w = (
        (n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, *window, strict=True)
    )
    return h, w


# --- the plans, on arrays whose memory and shape are (H, C, W, N) ---------------------------------


def inner(x: Array) -> Array:
    """(N, C, H, W) as (H, C, W, N) in one piece: free where it lies so already."""
    return xp_of(x).ascontiguousarray(x.transpose(2, 1, 3, 0))


def outer(y: Array) -> Array:
    return y.transpose(3, 1, 0, 2)


def _by_group(plan: Callable[[Array, Array], Array], groups: int, X: Array, w: Array) -> Array:
    if groups == 1:
        return plan(X, w)
    c, o = X.shape[1] // groups, len(w) // groups
    pieces = [plan(X[:, i * c : (i + 1) * c], w[i * o : (i + 1) * o]) for i in range(groups)]
    return xp_of(X).concatenate(pieces, axis=1)


def _reversed_kernel(w: Array) -> Array:
    """The kernel that leads back at stride 1: rotated by half a turn, input and output channels exchanged."""
    return w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)


def _reversed(window: Window) -> Window:
    """The window that leads back at stride 1."""
    rows, columns = (
        (d * (k - 1) - before, d * (k - 1) - after) for k, _, (before, after), d in zip(*window, strict=True)
    )
    return window._replace(pads=(rows, columns))


def _gather(X: Array, w: Array, window: Window, out: Pair) -> Array:
    """Shift the input, then multiply: each output row is the weight times one matrix."""
    Y = product(w.transpose(0, 2, 3, 1).reshape(len(w), -1), _columns(X, window, out))
    return Y.reshape(out[0], len(w), out[1], X.shape[3])


def _columns(X: Array, window: Window, out: Pair) -> Array:
    """For every output row the matrix (kh kw C, Wo N) of the drawing above; together (Ho, kh kw C, Wo N)."""
    (H, C, W, N), (Ho, Wo), xp = X.shape, out, xp_of(X)
    (kh, kw), stride, pads, dilation = window
    if (kh, kw) == stride == (1, 1) and out == (H, W) and pads == ((0, 0), (0, 0)):
        return X.reshape(H, C, W * N)
    if gpu.takes(X):
        return gpu.columns(X, window, out)
    n_rows, top = max(0, (Ho - 1) * stride[0] + dilation[0] * (kh - 1) + 1), pads[0][0]
    taps = xp.empty((n_rows, kw, C, Wo, N), X.dtype)
    first, last = min(max(top, 0), n_rows), min(max(top + H, 0), n_rows)
    taps[:first] = 0
    taps[last:] = 0
    for j in range(kw):
        to, source = reach(window, 1, j, W, Wo)
        taps[first:last, j, :, : to.start] = 0
        taps[first:last, j, :, to.stop :] = 0
        taps[first:last, j, :, to] = X[first - top : last - top, :, source]
    row, item = taps.strides[0], taps.itemsize
    windows = xp.lib.stride_tricks.as_strided(
        taps, (Ho, kh, kw * C, Wo * N), (stride[0] * row, dilation[0] * row, Wo * N * item, item)
    )
    return windows.reshape(Ho, kh * kw * C, Wo * N)  # a view, but for dilated rows


def _scatter(Y: Array, w: Array, window: Window, size: Pair) -> Array:
    """Multiply, then shift the output: every tap's product is added where it belongs."""
    (Ho, o, Wo, N), (C, kh, kw), xp = Y.shape, w.shape[1:], xp_of(Y)
    taps = product(w.transpose(2, 3, 1, 0).reshape(-1, o), Y.reshape(Ho, o, Wo * N))
    taps = taps.reshape(Ho, kh, kw, C, Wo, N)
    if gpu.takes(taps):
        return gpu.fold(taps, size, window)
    X = xp.zeros((size[0], C, size[1], N), taps.dtype)
    for i in range(kh):
        rows, to_rows = reach(window, 0, i, size[0], Ho)
        for j in range(kw):
            columns, to_columns = reach(window, 1, j, size[1], Wo)
            X[to_rows, :, to_columns] += taps[rows, i, j, :, columns]
    return X


def _interleave(Y: Array, w: Array, window: Window, size: Pair) -> Array:
    """T with a stride: the pixels in phase (a, b) of the stride's grid see only every stride-th tap. All phases
    together are one convolution at stride 1 with sh sw C outputs; its results are interleaved, nothing is added.
    """
    (o, C, kh, kw), (sh, sw), ((top, _), (left, _)), xp = w.shape, window.stride, window.pads, xp_of(Y)
    mh, mw = -(-kh // sh), -(-kw // sw)  # taps per phase
    full = xp.zeros((o, C, mh * sh, mw * sw), w.dtype)
    full[:, :, :kh, :kw] = w
    phases = full.reshape(o, C, mh, sh, mw, sw)[:, :, ::-1, :, ::-1].transpose(3, 5, 1, 0, 2, 4)
    rows, columns = -(-(size[0] + top) // sh), -(-(size[1] + left) // sw)
    one_phase = Window((mh, mw), (1, 1), ((mh - 1, 0), (mw - 1, 0)))
    Z = _gather(Y, phases.reshape(sh * sw * C, o, mh, mw), one_phase, (rows, columns))
    Z = Z.reshape(rows, sh, sw, C, columns, Y.shape[3])
    X = xp.empty((size[0], C, size[1], Y.shape[3]), Z.dtype)
    for a in range(sh):
        to_rows, from_rows = _phase(a, sh, top, size[0])
        for b in range(sw):
            to_columns, from_columns = _phase(b, sw, left, size[1])
            X[to_rows, :, to_columns] = Z[from_rows, a, b, :, from_columns]
    return X


def _products(columns: Array, Y: Array) -> Array:
    """The sum over all rows and images of columns times Y: (K, O). In this order BLAS takes half the time."""
    rows, channels, width, n = Y.shape
    return product(columns, Y.reshape(rows, channels, width * n).transpose(0, 2, 1)).sum(axis=0)


def reach(window: Window, axis: int, tap: int, n_in: int, n_out: int) -> tuple[slice, slice]:
    """Along one axis: the outputs for which `tap` reads inside the input, and the inputs that it reads."""
    stride, shift = window.stride[axis], window.dilation[axis] * tap - window.pads[axis][0]
    first = min(max(0, -(shift // stride)), n_out)
    last = max(first, min(n_out, (n_in - 1 - shift) // stride + 1))
    start = first * stride + shift
    return slice(first, last), slice(start, start + (last - first - 1) * stride + 1 if last > first else start, stride)


def _phase(phase: int, stride: int, pad: int, n: int) -> tuple[slice, slice]:
    """Along one axis of n pixels: those with (position + pad) in `phase`, and where their values stand."""
    first = (phase - pad) % stride
    count = max(0, -(-(n - first) // stride))
    row = (first + pad) // stride
    return slice(first, n, stride), slice(row, row + count)


@replaceable
def product(x: Array, y: Array) -> Array:
    """The products of two stacks of matrices."""
    return x @ y
