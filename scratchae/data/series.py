"""Series: one long recording becomes many windows of equal length."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchae.backend import Array, plain_array, xp_of
from scratchae.checks import check_count


def windows(series: Any, length: int, stride: int = 1) -> Array:
    """Windows of a series, as a view: nothing is copied.

    A series (n,) becomes (k, length). A series of channels (n, channels) becomes (k, channels, length), the layout of a
    one-dimensional convolution. Window i begins at step i * stride, and k = (n - length) // stride + 1. The last
    steps, too few for another window, are left out.

    Windows overlap where `stride` is less than `length`, so NumPy's windows are read-only. A memory map stays on disk.
    Raises ValueError for a series with other than 1 or 2 axes or with fewer than `length` steps, and for a length or a
    stride below 1. Raises TypeError for data that are no numbers.
    """
    series = plain_array(series, "windows: the series")
    length, stride = check_count("length", length), check_count("stride", stride)
    if series.ndim not in (1, 2):
        raise ValueError(f"windows got a series of shape {series.shape}; expected (n,) or (n, channels)")
    if length > len(series):
        raise ValueError(f"length={length}, but the series has {len(series)} steps; expected at most as many")
    step, *others = series.strides
    shape = ((len(series) - length) // stride + 1, *series.shape[1:], length)
    found = xp_of(series).lib.stride_tricks.as_strided(series, shape, (step * stride, *others, step))
    if isinstance(found, np.ndarray):
        found.flags.writeable = False
    return found
