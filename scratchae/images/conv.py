"""Convolution: three linear maps that are each other's derivatives, and a memory layout for speed.

The textbook's convolution, for images x (N, C, H, W), a weight w (O, C, kh, kw), stride s and dilation d:

    y[n, o, a, b] = sum over c, i, j of  w[o, c, i, j] * padded[n, c, s a + d i, s b + d j]

or, with s = d = 1, in NumPy:

    for i in range(kh):
        for j in range(kw):
            y += np.einsum("oc, nchw -> nohw", w[:, :, i, j], padded[:, :, i : i + Ho, j : j + Wo])

For one kernel, let y = C(x, w) be the convolution. Let T(g, w) be its gradient for x and W(x, g) its gradient for w. C
is linear in both arguments. Hence T and W are linear too, and every gradient is again one of the three maps:

    C(x, w)   gives y; its gradients are  T(g, w)  and  W(x, g)
    T(y, w)   gives x; its gradients are  C(g, w)  and  W(g, y)       T is the transposed convolution
    W(x, y)   gives w; its gradients are  T(y, g)  and  C(x, g)

Layout. Results have the shape (N, C, H, W), but lie in memory as (H, C, W, N), batch innermost. Copies then move runs
of N numbers. Elementwise layers keep the order, so that a network transposes once, at its first layer.
For the products, the padded input is copied once per horizontal tap j:

    taps[h, j, c, b] = padded[h, c, s b + d j]                 memory (H + padding, kw, C, Wo, N)

         row h     [ j=0: c=0, c=1, ... | j=1: ... | j=2: ... ]  \\
         row h+1   [ j=0: c=0, c=1, ... | j=1: ... | j=2: ... ]   |  kh rows, as they lie, are ONE matrix of
         row h+2   [ j=0: c=0, c=1, ... | j=1: ... | j=2: ... ]  /   kh * kw * C rows and Wo * N columns

Each row of the output is the product of the weight (O, kh kw C) with the row's matrix. Neighbouring matrices share
rows, so the copy is kw times the input and not kh kw times.

Rooms attach to `columns`, `fold`, `product` and `multiply_then_shift`. On a GPU, kernels of gpu/images.cu compute
`columns` and `fold`, and cuBLAS computes `product`: see gpu/attach.py.
"""

from collections.abc import Callable
from typing import Any

from scratchae.attach import replaceable
from scratchae.autograd.engine import primitive
from scratchae.autograd.products import product
from scratchae.autograd.shaping import broadcast_to, reshape
from scratchae.backend import Array, xp_of
from scratchae.images.window import Pair, Window, output_size, reach


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
            return multiply_then_shift(X, half_turn(w), turned(window), out)
        return shift_then_multiply(X, w, window, out)

    return plus_bias(_by_group(one_group, groups, inner(x), weight, (1, 0, 1)), bias)


@primitive(
    y=lambda g, weight, window, groups: conv(g, weight, None, window, groups),
    weight=lambda g, y, window, groups: conv_weight(g, y, window, groups),
    bias=lambda g: sum_over_images(g),
)
def conv_input(y: Array, weight: Array, bias: Any, size: Pair, window: Window, groups: int) -> Array:
    """T: (N, O, Ho, Wo) and weight (O, C / groups, kh, kw) to (N, C, *size)."""

    def one_group(Y: Array, w: Array) -> Array:
        # `Y` is the input here, so the kernel's channels change their roles.
        if window.stride == (1, 1) and not shift_the_output(w.shape[1], len(w)):
            return shift_then_multiply(Y, half_turn(w), turned(window), size)
        return multiply_then_shift(Y, w, window, size)

    return plus_bias(_by_group(one_group, groups, inner(y), weight, (1, 0, 1)), bias)


@primitive(
    x=lambda g, y, x_shape, window, groups: conv_input(y, g, None, x_shape[2:], window, groups),
    y=lambda g, x, window, groups: conv(x, g, None, window, groups),
)
def conv_weight(x: Array, y: Array, window: Window, groups: int) -> Array:
    """W: (N, C, H, W) and (N, O, Ho, Wo) to (O, C / groups, kh, kw)."""
    size, out = x.shape[2:], y.shape[2:]

    def one_group(X: Array, Y: Array) -> Array:
        if window.stride == (1, 1) and Y.shape[1] < X.shape[1]:  # shift the array with fewer channels
            return half_turn(summed_products(Y, X, turned(window), size))
        return summed_products(X, Y, window, out)

    return xp_of(x, y).ascontiguousarray(_by_group(one_group, groups, inner(x), inner(y), (1, 1, 0)))


@primitive(g=lambda h, g_shape: broadcast_to(reshape(h, (1, -1, 1, 1)), g_shape))
def sum_over_images(g: Array) -> Array:
    """(N, C, H, W) to (C): the gradient of a bias."""
    return g.sum(axis=(0, 2, 3))


def shift_the_output(channels_out: int, channels_in: int) -> bool:
    """Whether to shift the output, for stride 1.

    Shifting the input copies kw * channels_in images. Shifting the output adds kh * kw * channels_out images. Times in
    ms (batch 128, 3x3, two cores of a Zen 5 machine), input / output:

        16 -> 1  at 28x28    1.13 / 0.34        64 -> 32 at 14x14    6.2 / 5.9
        16 -> 16 at 14x14    1.13 / 2.01        32 -> 64 at 14x14    4.1 / 10.0
    """
    return 4 * channels_out <= channels_in


# --- on arrays whose memory and shape are (H, C, W, N) --------------------------------------------


@replaceable
def inner(x: Array) -> Array:
    """(N, C, H, W) as contiguous (H, C, W, N). Copies nothing if the memory has this order already."""
    return xp_of(x).ascontiguousarray(x.transpose(2, 1, 3, 0))


def outer(y: Array) -> Array:
    """(H, C, W, N) as (N, C, H, W): a view."""
    return y.transpose(3, 1, 0, 2)


@replaceable
def shift_then_multiply(X: Array, w: Array, window: Window, out: Pair) -> Array:
    """C by shifting the input: each output row is the weight times the row's matrix. Returns (Ho, O, Wo, N)."""
    Y = product(w.transpose(0, 2, 3, 1).reshape(len(w), -1), matrices(X, window, out))
    return Y.reshape(out[0], len(w), out[1], X.shape[3])


@replaceable
def multiply_then_shift(Y: Array, w: Array, window: Window, size: Pair) -> Array:
    """T by shifting the output: every tap's product is added where the tap lies. Returns (H, C, W, N)."""
    (Ho, o, Wo, N), (C, kh, kw) = Y.shape, w.shape[1:]
    products = product(w.transpose(2, 3, 1, 0).reshape(-1, o), Y.reshape(Ho, o, Wo * N))
    return fold(products.reshape(Ho, kh, kw, C, Wo, N), size, window)


def matrices(X: Array, window: Window, out: Pair) -> Array:
    """The matrix (kh kw C, Wo N) for every output row, as drawn above; together (Ho, kh kw C, Wo N)."""
    H, C, W, N = X.shape
    if window[:3] == ((1, 1), (1, 1), ((0, 0), (0, 0))) and out == (H, W):
        return X.reshape(H, C, W * N)
    return columns(X, window, out)


@replaceable
def columns(X: Array, window: Window, out: Pair) -> Array:
    """The matrices by a copy of the input, as a view of the copy unless rows are dilated."""
    (_, C, _, N), (Ho, Wo), xp = X.shape, out, xp_of(X)
    (kh, kw), stride, _, dilation = window
    n_rows = max(0, (Ho - 1) * stride[0] + dilation[0] * (kh - 1) + 1)
    taps = xp.empty((n_rows, kw, C, Wo, N), X.dtype)
    copy_taps(taps, X, window)
    strides = stride[0] * taps.strides[0], dilation[0] * taps.strides[0], taps.strides[2], taps.strides[4]
    windows = xp.lib.stride_tricks.as_strided(taps, (Ho, kh, kw * C, Wo * N), strides)
    return windows.reshape(Ho, kh * kw * C, Wo * N)


@replaceable
def copy_taps(taps: Array, X: Array, window: Window) -> None:
    """Fill `taps`, (rows, kw, C, Wo, N), of the drawing above."""
    n_rows, top, H = len(taps), window.pads[0][0], len(X)
    first, last = min(max(top, 0), n_rows), min(max(top + H, 0), n_rows)
    taps[:first] = 0
    taps[last:] = 0
    for j in range(taps.shape[1]):
        to, source = reach(window, 1, j, X.shape[2], taps.shape[3])
        taps[first:last, j, :, : to.start] = 0
        taps[first:last, j, :, to.stop :] = 0
        taps[first:last, j, :, to] = X[first - top : last - top, :, source]


@replaceable
def fold(products: Array, size: Pair, window: Window) -> Array:
    """The reverse of `columns`, from (Ho, kh, kw, C, Wo, N) to images of `size`. Overlapping values are added."""
    (Ho, kh, kw, C, Wo, N), xp = products.shape, xp_of(products)
    X = xp.zeros((size[0], C, size[1], N), products.dtype)
    for i in range(kh):
        rows, to_rows = reach(window, 0, i, size[0], Ho)
        for j in range(kw):
            across, to_across = reach(window, 1, j, size[1], Wo)
            X[to_rows, :, to_across] += products[rows, i, j, :, across]
    return X


@replaceable
def summed_products(X: Array, Y: Array, window: Window, out: Pair) -> Array:
    """W by shifting X: the sums over all rows and images, (O, C, kh, kw). In this order BLAS takes half the time."""
    rows, o, width, n = Y.shape
    sums = product(matrices(X, window, out), Y.reshape(rows, o, width * n).transpose(0, 2, 1)).sum(axis=0)
    return sums.reshape(*window.kernel, X.shape[1], o).transpose(3, 2, 0, 1)


def half_turn(w: Array) -> Array:
    """The kernel of the reverse map at stride 1: rotated by half a turn, input and output channels exchanged."""
    return w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)


def turned(window: Window) -> Window:
    """The window of the reverse map at stride 1."""
    rows, across = ((d * (k - 1) - a, d * (k - 1) - b) for k, _, (a, b), d in zip(*window, strict=True))
    return window._replace(pads=(rows, across))


def _by_group(function: Callable[..., Array], groups: int, x: Array, y: Array, axes: tuple[int, int, int]) -> Array:
    """`function` of each group's part of `x` and of `y`, concatenated. `axes` are the axes of the channels."""
    if groups == 1:
        return function(x, y)
    xp = xp_of(x, y)
    parts = zip(xp.split(x, groups, axes[0]), xp.split(y, groups, axes[1]), strict=True)
    return xp.concatenate([function(*part) for part in parts], axes[2])


@replaceable
def plus_bias(Y: Array, bias: Array | None) -> Array:
    """(H, C, W, N) and (C) or None to (N, C, H, W). The memory of `Y` is overwritten."""
    if bias is not None:
        Y += bias[:, None, None]
    return outer(Y)
