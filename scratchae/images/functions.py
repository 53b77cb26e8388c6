"""Operations on images (N, C, H, W) as people call them: arguments are checked and filled in here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from scratchae.autograd.precision import in_float32
from scratchae.autograd.shaping import reshape, transpose
from scratchae.autograd.tensor import Tensor
from scratchae.backend import plain_array
from scratchae.checks import check_count, shown
from scratchae.images.conv import conv, conv_input, output_size
from scratchae.images.pooling import max_pool, pool_sum, upsample_bilinear, upsample_nearest
from scratchae.images.window import Pair, Window

__all__ = ["conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d", "upsample", "pixel_shuffle", "pixel_unshuffle"]

Size = int | Pair  # for (vertical, horizontal): one number for both, or two


@in_float32
def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    """Cross-correlation, as PyTorch has it.

    Args:
        x: (N, C, H, W).
        weight: (O, C / groups, kh, kw); bias: (O) or None.
        stride, dilation: one number or (vertical, horizontal).
        padding: zeros around the image, one number or a pair; "valid" is 0, and "same" gives an output of the
            input's size (stride 1 only; an even kernel puts the odd row or column below and to the right).
        groups: input and output channels are cut into so many blocks that see only each other.

    Returns: (N, O, Ho, Wo) with Ho = floor((H + 2 p - d (kh - 1) - 1) / s) + 1.
    """
    _check_arrays("conv2d", x, weight, bias, groups)
    return conv(x, weight, bias, window("conv2d", weight.shape[2:], stride, padding, dilation, x.shape[2:]), groups)


@in_float32
def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Any:
    """The gradient of conv2d for its input, used forwards: it undoes conv2d's change of shape.

    Args as in conv2d, but `weight` is (C, O / groups, kh, kw), and `output_padding` adds rows and columns
    below and to the right, since several input sizes of conv2d give one output size. It must be smaller than
    the stride or the dilation.

    Returns: (N, O, Ho, Wo) with Ho = (H - 1) s - 2 p + d (kh - 1) + output_padding + 1.
    """
    _check_arrays("conv_transpose2d", x, weight, bias, groups, transposed=True)
    options = weight.shape[2:], stride, padding, output_padding, dilation
    moved = transposed_window("conv_transpose2d", *options)
    size = tuple((n - 1) * s - sum(p) + d * (k - 1) + 1 for n, k, s, p, d in zip(x.shape[2:], *moved, strict=True))
    if min(size) < 1:
        given = f"input {tuple(x.shape[2:])}, kernel {moved.kernel} and padding {moved.pads}"
        raise ValueError(f"conv_transpose2d: the output would have size {size}, from {given}; use less padding")
    return conv_input(x, weight, bias, size, moved, groups)


def max_pool2d(x: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> Any:
    """The largest element of each window (padding is -inf); `stride` is the kernel's size if None."""
    check_images("max_pool2d", x)
    return max_pool(x, pool_window("max_pool2d", kernel_size, stride, padding, x.shape[2:]))


@in_float32
def avg_pool2d(x: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> Any:
    """The mean of each window (zeros of the padding count); `stride` is the kernel's size if None."""
    check_images("avg_pool2d", x)
    moved = pool_window("avg_pool2d", kernel_size, stride, padding, x.shape[2:])
    return pool_sum(x, moved) * (1 / math.prod(moved.kernel))


@in_float32
def upsample(x: Any, scale_factor: Size, mode: str = "nearest") -> Any:
    """Images `scale_factor` times as large, by repeating pixels or by straight lines between their centres."""
    check_images("upsample", x)
    scale = scaling("upsample", scale_factor, mode)
    return upsample_nearest(x, scale) if mode == "nearest" else upsample_bilinear(x, scale)


def pixel_shuffle(x: Any, factor: int) -> Any:
    """(N, C f^2, H, W) to (N, C, H f, W f): channels become pixels (Shi et al. 2016)."""
    f = _factor("pixel_shuffle", x, factor)
    n, c, h, w = x.shape
    if c % f**2:
        raise ValueError(f"pixel_shuffle: factor={f} with {c} channels; expected a multiple of {f**2} channels")
    blocks = reshape(x, (n, c // f**2, f, f, h, w))
    return reshape(transpose(blocks, (0, 1, 4, 2, 5, 3)), (n, c // f**2, h * f, w * f))


def pixel_unshuffle(x: Any, factor: int) -> Any:
    """(N, C, H f, W f) to (N, C f^2, H, W), the reverse."""
    f = _factor("pixel_unshuffle", x, factor)
    n, c, h, w = x.shape
    if h % f or w % f:
        raise ValueError(f"pixel_unshuffle: factor={f} with images of {h} x {w}; expected multiples of {f}")
    blocks = reshape(x, (n, c, h // f, f, w // f, f))
    return reshape(transpose(blocks, (0, 1, 3, 5, 2, 4)), (n, c * f**2, h // f, w // f))


# --- checks and options in full, for the functions above and for layers, which go by `name` -------


def check_images(name: str, x: Any, channels: int | None = None) -> None:
    """Refuse what is not (N, C, H, W) with `channels` channels; tell images with the channels last.

    There may be no image (N = 0), but no images without channels or pixels.
    """
    _check_array(f"{name}: the input", x)
    if x.ndim == 4 and channels in (None, x.shape[1]):
        if 0 in x.shape[1:]:
            raise ValueError(f"{name}: images of shape {tuple(x.shape)}; expected at least one channel and one pixel")
        return
    wanted = f"(N, {'C' if channels is None else channels}, H, W)"
    hint = "check the number of channels" if x.ndim == 4 else "bring it to four dimensions with reshape"
    if x.ndim == 4 and x.shape[3] == channels:
        n, h, w, c = x.shape
        hint = f"it looks like NHWC: transpose to {(n, c, h, w)} with x.transpose(0, 3, 1, 2)"
    raise ValueError(f"{name}: expected {wanted}, got {tuple(x.shape)}; {hint}")


def pair(name: str, value: Any, least: int, also: str = "") -> Pair:
    """A size for (vertical, horizontal), given as one integer or as two; `also` is what else an error offers."""
    down, across = value if isinstance(value, (tuple, list)) and len(value) == 2 else (value, value)
    for n in (down, across):
        whole = isinstance(n, (int, np.integer)) and not isinstance(n, bool)
        if not whole or not least <= n < 2**31:
            allowed = "below 2**31" if whole and n > least else f"of at least {least}"
            raise ValueError(f"{name}={shown(value)}; expected an integer {allowed}, or two of them{also}")
    return int(down), int(across)


def window(
    name: str, kernel_size: Size, stride: Size, padding: Size | str, dilation: Size, size: Pair | None = None
) -> Window:
    """The options of a convolution in full; they must fit images of `size`."""
    kernel, stride = pair(f"{name}: kernel_size", kernel_size, 1), pair(f"{name}: stride", stride, 1)
    dilation = pair(f"{name}: dilation", dilation, 1)
    if isinstance(padding, str) and padding == "same":
        if stride != (1, 1):
            raise ValueError(f"{name}: padding='same' needs stride 1, got {stride}; pass the padding as a number")
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    else:
        padding = 0 if isinstance(padding, str) and padding == "valid" else padding
        total = [2 * p for p in pair(f"{name}: padding", padding, 0, ", 'same' or 'valid'")]
    pads = ((total[0] // 2, total[0] - total[0] // 2), (total[1] // 2, total[1] - total[1] // 2))
    full = Window(kernel, stride, pads, dilation)
    if size is not None and min(out := output_size(size, full)) < 1:
        apart = "" if dilation == (1, 1) else f" of dilation {dilation}"
        given = f"input {tuple(size)}, kernel {kernel}{apart} and padding {pads}; use a smaller kernel or more padding"
        raise ValueError(f"{name}: the output would have size {out}, from {given}")
    return full


def transposed_window(
    name: str, kernel_size: Size, stride: Size, padding: Size, output_padding: Size, dilation: Size
) -> Window:
    """The options of a transposed convolution in full, as the window that undoes it moves over the larger images.

    Rows that `output_padding` adds below are rows that the window need not reach: there is so much less padding.
    """
    extra, padding = pair(f"{name}: output_padding", output_padding, 0), pair(f"{name}: padding", padding, 0)
    full = window(name, kernel_size, stride, padding, dilation)
    if any(e >= max(s, d) for e, s, d in zip(extra, full.stride, full.dilation, strict=True)):
        steps = f"stride {full.stride} or dilation {full.dilation}"
        raise ValueError(f"{name}: output_padding={extra} must be smaller than {steps}")
    rows, columns = ((before, after - e) for (before, after), e in zip(full.pads, extra, strict=True))
    return full._replace(pads=(rows, columns))


def pool_window(name: str, kernel_size: Size, stride: Any, padding: Size, size: Pair | None = None) -> Window:
    """The options of a pool in full: kernel, stride (the kernel's size if None) and padding."""
    p = pair(f"{name}: padding", padding, 0)
    full = window(name, kernel_size, kernel_size if stride is None else stride, p, 1, size)
    if any(2 * n > k for n, k in zip(p, full.kernel, strict=True)):
        raise ValueError(f"{name}: padding={p} must be at most half of kernel_size={full.kernel}")
    return full


def scaling(name: str, scale_factor: Size, mode: str) -> Pair:
    """The factors of an upsampling."""
    if not isinstance(mode, str) or mode not in ("nearest", "bilinear"):
        raise ValueError(f"{name}: mode={shown(mode)}; expected 'nearest' or 'bilinear'")
    return pair(f"{name}: scale_factor", scale_factor, 1)


def _check_array(what: str, x: Any) -> None:
    if not isinstance(x, Tensor):
        plain_array(x, what)


def _factor(name: str, x: Any, factor: Any) -> int:
    check_images(name, x)
    return check_count(f"{name}: factor", factor)


def _check_arrays(name: str, x: Any, weight: Any, bias: Any, groups: int, transposed: bool = False) -> None:
    _check_array(f"{name}: the weight", weight)
    if weight.ndim != 4 or 0 in weight.shape[:2]:
        wanted = "(C, O / groups, kh, kw)" if transposed else "(O, C / groups, kh, kw)"
        raise ValueError(f"{name}: the weight has shape {tuple(weight.shape)}; expected {wanted}")
    if weight.shape[0] % check_count(f"{name}: groups", groups):
        raise ValueError(f"{name}: groups={groups!r}; expected a divisor of weight.shape[0] = {weight.shape[0]}")
    channels = (weight.shape[0], weight.shape[1] * groups)
    outputs, inputs = channels[::-1] if transposed else channels
    if bias is not None and (given := np.shape(bias)) != (outputs,):
        raise ValueError(f"{name}: the bias has shape {given}; expected {(outputs,)}, one for each output channel")
    check_images(name if groups == 1 else f"{name} with groups={groups}", x, inputs)
