"""The options of operations on images, checked and in full.

The checks raise ValueErrors that begin with `name`: the operation or the layer that was given the option.
"""

from typing import Any

import numpy as np

from scratchae.autograd.tensor import values_of
from scratchae.checks import check_choice, check_count, shown
from scratchae.images.window import Pair, Size, Window, output_size


def check_images(name: str, x: Any, channels: int | None = None) -> None:
    """ValueError for other shapes than (N, C, H, W) with `channels` channels. TypeError for an `x` that is no array.

    N = 0 is allowed, but no other axis of length 0.
    """
    shape, c = values_of(x, f"{name}: the input").shape, "C" if channels is None else channels
    if len(shape) != 4:
        raise ValueError(f"{name}: expected (N, {c}, H, W), got {shape}; bring it to four dimensions with reshape")
    if channels not in (None, shape[1]):
        nhwc = f"it looks like NHWC: transpose to {(shape[0], c, *shape[1:3])} with x.transpose(0, 3, 1, 2)"
        hint = nhwc if shape[3] == channels else "check the number of channels"
        raise ValueError(f"{name}: expected (N, {c}, H, W), got {shape}; {hint}")
    if 0 in shape[1:]:
        raise ValueError(f"{name}: images of shape {shape}; expected at least one channel and one pixel")


def check_groups(name: str, groups: Any, what: str, *channels: int) -> int:
    """`groups` as an int. ValueError unless the number divides all `channels`, which the error calls `what`."""
    groups = check_count(f"{name}: groups", groups)
    if any(n % groups for n in channels):
        raise ValueError(f"{name}: {groups=} must divide {what} {', '.join(map(str, channels))}")
    return groups


def pair(name: str, value: Any, least: int, also: str = "") -> Pair:
    """A size for (vertical, horizontal), given as one integer or as two. `also` adds to the error's text."""
    down, across = value if isinstance(value, (tuple, list)) and len(value) == 2 else (value, value)
    for n in (down, across):
        whole = isinstance(n, (int, np.integer)) and not isinstance(n, bool)
        if not whole or not least <= n < 2**31:
            allowed = "below 2**31" if whole and n > least else f"of at least {least}"
            raise ValueError(f"{name}={shown(value)}; expected an integer {allowed}, or two of them{also}")
    return int(down), int(across)


def conv_window(
    name: str, kernel_size: Size, stride: Size, padding: Size | str, dilation: Size, size: Pair | None = None
) -> Window:
    """The options of a convolution in full. The options must fit images of `size`."""
    kernel, stride = pair(f"{name}: kernel_size", kernel_size, 1), pair(f"{name}: stride", stride, 1)
    dilation, word = pair(f"{name}: dilation", dilation, 1), padding if isinstance(padding, str) else None
    if word == "same" and stride != (1, 1):
        raise ValueError(f"{name}: padding='same' needs stride 1, got {stride}; pass the padding as a number")
    zeros = pair(f"{name}: padding", 0 if word in ("same", "valid") else padding, 0, ", 'same' or 'valid'")
    total = [d * (k - 1) if word == "same" else 2 * n for n, k, d in zip(zeros, kernel, dilation, strict=True)]
    rows, columns = ((n // 2, n - n // 2) for n in total)
    window = Window(kernel, stride, (rows, columns), dilation)
    if size is not None and min(out := output_size(size, window)) < 1:
        given = f"input {tuple(size)}, kernel {kernel} of dilation {dilation} and padding {window.pads}"
        advice = "use a smaller kernel or more padding"
        raise ValueError(f"{name}: the output would have size {out}, from {given}; {advice}")
    return window


def transposed_window(
    name: str, kernel_size: Size, stride: Size, padding: Size, output_padding: Size, dilation: Size
) -> Window:
    """The options of a transposed convolution in full: the window of the convolution in the reverse direction.

    The window moves over the larger images. The window need not reach the rows that `output_padding` adds below. So
    these rows reduce the padding below.
    """
    extra, padding = pair(f"{name}: output_padding", output_padding, 0), pair(f"{name}: padding", padding, 0)
    window = conv_window(name, kernel_size, stride, padding, dilation)
    if any(e >= max(s, d) for e, s, d in zip(extra, window.stride, window.dilation, strict=True)):
        given = f"stride {window.stride} or dilation {window.dilation}"
        raise ValueError(f"{name}: output_padding={extra} must be smaller than {given}")
    rows, columns = ((before, after - e) for (before, after), e in zip(window.pads, extra, strict=True))
    return window._replace(pads=(rows, columns))


def pool_window(name: str, kernel_size: Size, stride: Size | None, padding: Size, size: Pair | None = None) -> Window:
    """The options of a pool in full. The options must fit images of `size`. A stride of None is the kernel's size."""
    zeros = pair(f"{name}: padding", padding, 0)
    window = conv_window(name, kernel_size, kernel_size if stride is None else stride, zeros, 1, size)
    if any(2 * n > k for n, k in zip(zeros, window.kernel, strict=True)):
        raise ValueError(f"{name}: padding={zeros} must be at most half of kernel_size={window.kernel}")
    return window


def scaling(name: str, scale_factor: Size, mode: str) -> Pair:
    """The factors of an upsampling."""
    check_choice(f"{name}: mode", mode, ("nearest", "bilinear"))
    return pair(f"{name}: scale_factor", scale_factor, 1)
