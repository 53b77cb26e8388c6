"""Operations on images the slow way: windows cut out one by one, everything else left to einsum. And other formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def windows(x: np.ndarray, kernel: tuple, stride: tuple, dilation: tuple = (1, 1)) -> np.ndarray:
    """(N, C, H, W) to (N, C, Ho, Wo, kh, kw)."""
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    cut = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))
    return cut[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def _padded(x: np.ndarray, padding: tuple, value: float = 0) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2), constant_values=value)


def conv2d(x, w, b=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1) -> np.ndarray:
    cut = windows(_padded(x, padding), w.shape[2:], stride, dilation)
    blocks = zip(np.split(cut, groups, 1), np.split(w, groups, 0), strict=True)
    out = np.concatenate([np.einsum("nchwij,ocij->nohw", c, v) for c, v in blocks], 1)
    return out if b is None else out + b[:, None, None]


def conv_transpose2d(x, w, b, stride=1, padding=0, output_padding=0, groups=1, dilation=1) -> np.ndarray:
    """Every pixel stamps the kernel on the output."""
    (sh, sw), (ph, pw), (eh, ew), (dh, dw) = map(_pair, (stride, padding, output_padding, dilation))
    (n, _, h, width), (c, o, kh, kw) = x.shape, w.shape
    rows, columns = (h - 1) * sh + dh * (kh - 1) + 1 + eh, (width - 1) * sw + dw * (kw - 1) + 1 + ew
    out = np.zeros((n, groups, o, rows, columns), x.dtype)
    blocks = w.reshape(groups, c // groups, o, kh, kw)
    for i in range(h):
        for j in range(width):
            pixels = x[:, :, i, j].reshape(n, groups, c // groups)
            under = out[..., i * sh : i * sh + dh * (kh - 1) + 1 : dh, j * sw : j * sw + dw * (kw - 1) + 1 : dw]
            under += np.einsum("ngc,gcoij->ngoij", pixels, blocks)
    out = out.reshape(n, groups * o, rows, columns)[:, :, ph : rows - ph, pw : columns - pw]
    return out if b is None else out + b[:, None, None]


def pool(x, kernel, stride, padding, reduce: Callable, fill: float) -> np.ndarray:
    return reduce(windows(_padded(x, _pair(padding), fill), _pair(kernel), _pair(stride)), axis=(4, 5))


def bilinear_twice(x: np.ndarray) -> np.ndarray:
    """Each new pixel lies a quarter from one old pixel: 3/4 of it and 1/4 of its neighbour, the edges repeated."""
    for axis in (2, 3):
        before = np.concatenate([x.take([0], axis), x.take(range(x.shape[axis] - 1), axis)], axis)
        after = np.concatenate([x.take(range(1, x.shape[axis]), axis), x.take([-1], axis)], axis)
        pairs = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        x = pairs.reshape([2 * n if i == axis else n for i, n in enumerate(x.shape)])
    return x


def pixel_shuffle_two(x: np.ndarray) -> np.ndarray:
    n, c, h, w = x.shape
    out = np.empty((n, c // 4, 2 * h, 2 * w), x.dtype)
    for a in range(2):
        for b in range(2):
            out[:, :, a::2, b::2] = x[:, 2 * a + b :: 4]
    return out


def ssim(x: np.ndarray, y: np.ndarray, data_range: float, size: int, sigma: float) -> np.ndarray:
    """The map of Wang et al. 2004: deviations from each window's own weighted mean, averaged with its weights."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    weights = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    weights = np.outer(weights, weights) / weights.sum() ** 2
    a, b = (windows(images, weights.shape, (1, 1)) for images in (x, y))
    mean_a, mean_b = ((cut * weights).sum((4, 5), keepdims=True) for cut in (a, b))
    products = ((a - mean_a) ** 2, (b - mean_b) ** 2, (a - mean_a) * (b - mean_b))
    var_a, var_b, cov = ((p * weights).sum((4, 5)) for p in products)
    m, n, c1, c2 = mean_a[..., 0, 0], mean_b[..., 0, 0], (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    return (2 * m * n + c1) * (2 * cov + c2) / ((m**2 + n**2 + c1) * (var_a + var_b + c2))


def continuous_bernoulli(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """-log density, as Loaiza-Ganem & Cunningham 2019 write it; it needs x away from 1/2."""
    return -t * np.log(x) - (1 - t) * np.log(1 - x) - np.log(2 * np.arctanh(1 - 2 * x) / (1 - 2 * x))


def continuous_bernoulli_mean(x: np.ndarray) -> np.ndarray:
    return x / (2 * x - 1) + 1 / (2 * np.arctanh(1 - 2 * x))
