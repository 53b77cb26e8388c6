"""Operations on images (N, C, H, W) for users. The arguments are checked and completed here."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae.autograd.precision import in_float32
from scratchae.autograd.tensor import values_of
from scratchae.images import options
from scratchae.images.conv import conv, conv_input
from scratchae.images.pooling import max_pool, pool_sum, upsample_bilinear, upsample_nearest
from scratchae.images.window import Size

__all__ = ["conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d", "upsample"]


@in_float32
def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Size | str = 0,
    dilation: Size = 1, groups: int = 1,
) -> Any:  # fmt: skip
    """Cross-correlation, as in PyTorch.

    Args:
        x: (N, C, H, W).
        weight: (O, C / groups, kh, kw); bias: (O) or None.
        stride, dilation: one number or (vertical, horizontal).
        padding: zeros around the image, one number or a pair. "valid" is 0. "same" gives an output of the
            input's size, for stride 1 only; an even kernel puts the odd row or column below and to the right.
        groups: the number of blocks of channels. Each block of outputs depends on one block of inputs only.

    Returns: (N, O, Ho, Wo) with Ho = floor((H + 2 p - d (kh - 1) - 1) / s) + 1.
    """
    check_arrays("conv2d", x, weight, bias, groups)
    window = options.conv_window("conv2d", weight.shape[2:], stride, padding, dilation, x.shape[2:])
    return conv(x, weight, bias, window, groups)


@in_float32
def conv_transpose2d(
    x: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Size = 0, output_padding: Size = 0,
    groups: int = 1, dilation: Size = 1,
) -> Any:  # fmt: skip
    """The gradient of conv2d for its input, used as a forward map. The map undoes conv2d's change of shape.

    Args as in conv2d, but `weight` is (C, O / groups, kh, kw). Several input sizes of conv2d give one output size.
    `output_padding` chooses among these sizes: rows and columns are added below and to the right. `output_padding` must
    be smaller than the stride or the dilation.

    Returns: (N, O, Ho, Wo) with Ho = (H - 1) s - 2 p + d (kh - 1) + output_padding + 1.
    """
    name = "conv_transpose2d"
    check_arrays(name, x, weight, bias, groups, transposed=True)
    window = options.transposed_window(name, weight.shape[2:], stride, padding, output_padding, dilation)
    size = tuple((n - 1) * s - sum(p) + d * (k - 1) + 1 for n, k, s, p, d in zip(x.shape[2:], *window, strict=True))
    if min(size) < 1:
        given = f"input {tuple(x.shape[2:])}, kernel {window.kernel} and padding {window.pads}"
        raise ValueError(f"{name}: the output would have size {size}, from {given}; use less padding")
    return conv_input(x, weight, bias, size, window, groups)


def max_pool2d(x: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> Any:
    """The largest element of each window (padding is -inf); `stride` is the kernel's size if None."""
    options.check_images("max_pool2d", x)
    return max_pool(x, options.pool_window("max_pool2d", kernel_size, stride, padding, x.shape[2:]))


@in_float32
def avg_pool2d(x: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> Any:
    """The mean of each window (zeros of the padding count); `stride` is the kernel's size if None."""
    options.check_images("avg_pool2d", x)
    window = options.pool_window("avg_pool2d", kernel_size, stride, padding, x.shape[2:])
    return pool_sum(x, window) * (1 / math.prod(window.kernel))


@in_float32
def upsample(x: Any, scale_factor: Size, mode: str = "nearest") -> Any:
    """Images `scale_factor` times as large, by repeated pixels or by linear interpolation between pixel centres."""
    options.check_images("upsample", x)
    scale = options.scaling("upsample", scale_factor, mode)
    return upsample_nearest(x, scale) if mode == "nearest" else upsample_bilinear(x, scale)


def check_arrays(
    name: str, x: Any, weight: Any, bias: Any, groups: int, transposed: bool = False,
    kernel: tuple[str, ...] = ("kh", "kw"), check_input: Callable[..., None] = options.check_images,
) -> None:  # fmt: skip
    """Raise errors for shapes that do not fit each other, in the order weight, groups, bias, input."""
    shape = values_of(weight, f"{name}: the weight").shape
    if len(shape) != 2 + len(kernel) or 0 in shape[:2]:
        wanted = ", ".join(["C, O / groups" if transposed else "O, C / groups", *kernel])
        raise ValueError(f"{name}: the weight has shape {shape}; expected ({wanted})")
    options.check_groups(name, groups, "weight.shape[0] =", shape[0])
    inputs, outputs = (shape[0], shape[1] * groups) if transposed else (shape[1] * groups, shape[0])
    if bias is not None and (given := np.shape(bias)) != (outputs,):
        raise ValueError(f"{name}: the bias has shape {given}; expected {(outputs,)}, one for each output channel")
    check_input(name if groups == 1 else f"{name} with groups={groups}", x, inputs)
