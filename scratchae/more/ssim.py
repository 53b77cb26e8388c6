"""Structural similarity: how alike two images look, by local means, variances and covariances.

Source: Z. Wang, A. Bovik, H. Sheikh, E. Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE Transactions on Image Processing 13, 2004.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchae.autograd import ops
from scratchae.autograd.tensor import data_of, operand
from scratchae.backend import Array, xp_of
from scratchae.checks import check_count, check_number
from scratchae.images.functions import conv2d
from scratchae.losses import operands_of, reduce_elements


def ssim(
    x: Any, y: Any, data_range: float = 1.0, window_size: int = 11, sigma: float = 1.5, k1: float = 0.01,
    k2: float = 0.03, reduction: str = "mean",
) -> Any:  # fmt: skip
    """The structural similarity of images `x` and `y`, (N, C, H, W); 1 for equal images. A loss is `1 - F.ssim(x, y)`.

    At each place of a window of Gaussian weights, with c1 = (k1 data_range)^2 and c2 = (k2 data_range)^2:

        (2 mean_x mean_y + c1) (2 cov_xy + c2) / ((mean_x^2 + mean_y^2 + c1) (var_x + var_y + c2))

    Args:
        x, y: images of one shape. Each channel is compared on its own.
        data_range: the largest possible value minus the least: 1 for pixels in [0, 1], 255 for bytes.
        window_size, sigma: side of the window, an odd number of pixels, and the standard deviation of its weights.
        k1, k2: constants against a division by small numbers.
        reduction: "mean" averages over places, channels and images alike. "sum", or "none", which gives the map
            (N, C, H - window_size + 1, W - window_size + 1): windows lie inside the image, without padding.

    Raises ValueError for images that are smaller than the window, for other shapes, and for options out of range.
    """
    within = "[1e-50, 1e+50]"  # the squares of other numbers round to 0 or overflow
    data_range = check_number("ssim: data_range", data_range, within)
    size, sigma = check_count("ssim: window_size", window_size), check_number("ssim: sigma", sigma, within)
    k1, k2 = check_number("ssim: k1", k1, within), check_number("ssim: k2", k2, within)
    x, y = operands_of("ssim", x, operand(y, "ssim: y"), reduction)
    if x.ndim != 4:
        raise ValueError(f"ssim: the images have shape {x.shape}; expected (N, C, H, W)")
    if size % 2 == 0:
        raise ValueError(f"ssim: window_size={size}; expected an odd number, so that the window has a centre")
    if size > min(x.shape[2:]):
        found = f"the images of {x.shape[2]} x {x.shape[3]} are smaller than the window of {size} x {size}"
        raise ValueError(f"ssim: {found}; choose a smaller window_size")
    weights = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    u, v = x.astype(np.float64), y.astype(np.float64)  # a variance is the small difference of two means
    found = _ssim(u, v, weights / weights.sum(), (k1 * data_range) ** 2, (k2 * data_range) ** 2, reduction)
    return found.astype(x.dtype)


def _ssim(x: Any, y: Any, weights: np.ndarray, c1: float, c2: float, reduction: str) -> Any:
    mean_x, mean_y, xx, yy, xy = (_smoothed(a, weights) for a in (x, y, x * x, y * y, x * y))
    var_x, var_y, cov = xx - mean_x * mean_x, yy - mean_y * mean_y, xy - mean_x * mean_y
    alike = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    return reduce_elements(alike * (2 * cov + c2) / (var_x + var_y + c2), reduction)


def _smoothed(images: Any, weights: np.ndarray) -> Any:
    """Weighted means over the windows inside the images: along the columns, then along the rows."""
    n, c, h, w = images.shape
    kernel: Array = xp_of(data_of(images)).asarray(weights, images.dtype)
    along = conv2d(ops.reshape(images, (n * c, 1, h, w)), kernel.reshape(1, 1, -1, 1))
    along = conv2d(along, kernel.reshape(1, 1, 1, -1))
    return ops.reshape(along, (n, c, *along.shape[2:]))
