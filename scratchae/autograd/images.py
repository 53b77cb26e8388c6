"""Operations on images (N, C, H, W) as people call them: arguments are checked and filled in here."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchae.autograd.conv import Pads, Pair, conv, conv_input, output_size
from scratchae.autograd.pooling import max_pool, pool_sum, upsample_bilinear, upsample_nearest
from scratchae.autograd.shaping import reshape, transpose

__all__ = ["conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d", "upsample", "pixel_shuffle", "pixel_unshuffle"]


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Pair = 1,
    padding: int | Pair | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Any:
    """Cross-correlation, as PyTorch has it.

    Args:
        x: (N, C, H, W).
        weight: (O, C / groups, kh, kw); bias: (O) or None.
        stride, dilation: one number or (vertical, horizontal).
        padding: zeros around the image, one number or a pair, or "same" for an output of the input's
            size (stride 1 only; an even kernel puts the odd row or column below and to the right).
        groups: input and output channels are cut into so many blocks that see only each other.

    Returns: (N, O, Ho, Wo) with Ho = floor((H + 2 p - d (kh - 1) - 1) / s) + 1.
    """
    stride, dilation = _pair("stride", stride, 1), _pair("dilation", dilation, 1)
    kernel = weight.shape[2:]
    check_images("conv2d", x, weight.shape[1] * groups)
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(f"conv2d: {weight.shape[0]} output channels cannot be cut into groups={groups}")
    pads = _pads(padding, kernel, stride, dilation)
    _check_size("conv2d", x.shape[2:], kernel, stride, pads, dilation)
    return conv(x, weight, bias, stride, pads, dilation, groups)


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    output_padding: int | Pair = 0,
    groups: int = 1,
    dilation: int | Pair = 1,
) -> Any:
    """The gradient of conv2d for its input, used forwards: it undoes conv2d's change of shape.

    Args as in conv2d, but `weight` is (C, O / groups, kh, kw), and `output_padding` adds rows and columns
    below and to the right, since several input sizes of conv2d give one output size.

    Returns: (N, O, Ho, Wo) with Ho = (H - 1) s - 2 p + d (kh - 1) + output_padding + 1.
    """
    stride, dilation = _pair("stride", stride, 1), _pair("dilation", dilation, 1)
    extra, padding = _pair("output_padding", output_padding, 0), _pair("padding", padding, 0)
    check_images("conv_transpose2d", x, weight.shape[0])
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(f"conv_transpose2d: {weight.shape[0]} input channels cannot be cut into groups={groups}")
    for e, s, d in zip(extra, stride, dilation, strict=True):
        if e >= max(s, d):
            raise ValueError(
                f"conv_transpose2d: output_padding={extra} must be smaller than stride {stride} or dilation {dilation}"
            )
    size = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, s, p, d, k, e in zip(x.shape[2:], stride, padding, dilation, weight.shape[2:], extra, strict=True)
    )
    if min(size) < 1:
        given = f"input {tuple(x.shape[2:])}, kernel {tuple(weight.shape[2:])} and padding {padding}"
        raise ValueError(f"conv_transpose2d: the output would have size {size}, from {given}; use less padding")
    pads = ((padding[0], padding[0]), (padding[1], padding[1]))
    return conv_input(x, weight, bias, size, stride, pads, dilation, groups)


def max_pool2d(
    x: Any, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0
) -> Any:
    """The largest element of each window (padding is -inf); `stride` is the kernel's size if None."""
    return max_pool(x, _window("max_pool2d", x, kernel_size, stride, padding))


def avg_pool2d(
    x: Any, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0
) -> Any:
    """The mean of each window (zeros of the padding count); `stride` is the kernel's size if None."""
    window = _window("avg_pool2d", x, kernel_size, stride, padding)
    return pool_sum(x, window) * (1 / (window[0][0] * window[0][1]))


def upsample(x: Any, scale_factor: int | Pair, mode: str = "nearest") -> Any:
    """Images `scale_factor` times as large, by repeating pixels or by straight lines between their centres."""
    check_images("upsample", x)
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"upsample: mode={mode!r}; expected 'nearest' or 'bilinear'")
    scale = _pair("scale_factor", scale_factor, 1)
    return upsample_nearest(x, scale) if mode == "nearest" else upsample_bilinear(x, scale)


def pixel_shuffle(x: Any, factor: int) -> Any:
    """(N, C f^2, H, W) to (N, C, H f, W f): channels become pixels (Shi et al. 2016)."""
    n, c, h, w = x.shape
    blocks = reshape(x, (n, c // factor**2, factor, factor, h, w))
    return reshape(transpose(blocks, (0, 1, 4, 2, 5, 3)), (n, c // factor**2, h * factor, w * factor))


def pixel_unshuffle(x: Any, factor: int) -> Any:
    """(N, C, H f, W f) to (N, C f^2, H, W), the reverse."""
    n, c, h, w = x.shape
    blocks = reshape(x, (n, c, h // factor, factor, w // factor, factor))
    return reshape(transpose(blocks, (0, 1, 3, 5, 2, 4)), (n, c * factor**2, h // factor, w // factor))


def check_images(name: str, x: Any, channels: int | None = None) -> None:
    """Refuse what is not (N, C, H, W) with `channels` channels; tell images with the channels last."""
    if x.ndim == 4 and channels in (None, x.shape[1]):
        return
    wanted = f"(N, {'C' if channels is None else channels}, H, W)"
    hint = "add the missing dimension with reshape" if x.ndim != 4 else "check the number of channels"
    if x.ndim == 4 and x.shape[3] == channels:
        n, h, w, c = x.shape
        hint = f"it looks like NHWC: transpose to {(n, c, h, w)} with x.transpose(0, 3, 1, 2)"
    raise ValueError(f"{name}: expected {wanted}, got {tuple(x.shape)}; {hint}")


def _pair(name: str, value: int | Pair, least: int) -> Pair:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or any(not isinstance(v, (int, np.integer)) or v < least for v in pair):
        raise ValueError(f"{name}={value!r}; expected an integer of at least {least}, or two of them")
    return pair


def _pads(padding: int | Pair | str, kernel: Pair, stride: Pair, dilation: Pair) -> Pads:
    if padding == "same":
        if stride != (1, 1):
            raise ValueError(f"padding='same' needs stride 1, got {stride}; pass the padding as a number")
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return (total[0] // 2, total[0] - total[0] // 2), (total[1] // 2, total[1] - total[1] // 2)
    if isinstance(padding, str):
        raise ValueError(f"padding={padding!r}; expected an integer, two integers, or 'same'")
    p = _pair("padding", padding, 0)
    return (p[0], p[0]), (p[1], p[1])


def _window(name: str, x: Any, kernel_size: int | Pair, stride: Any, padding: int | Pair) -> tuple[Pair, Pair, Pads]:
    check_images(name, x)
    kernel, p = _pair("kernel_size", kernel_size, 1), _pair("padding", padding, 0)
    step = kernel if stride is None else _pair("stride", stride, 1)
    if any(2 * pad > k for pad, k in zip(p, kernel, strict=True)):
        raise ValueError(f"{name}: padding={p} must be at most half of kernel_size={kernel}")
    pads = ((p[0], p[0]), (p[1], p[1]))
    _check_size(name, x.shape[2:], kernel, step, pads, (1, 1))
    return kernel, step, pads


def _check_size(name: str, size: Pair, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair) -> None:
    out = output_size(size, kernel, stride, pads, dilation)
    if min(out) < 1:
        raise ValueError(
            f"{name}: the output would have size {out}, from input {tuple(size)}, kernel {tuple(kernel)} and padding "
            f"{pads}; use a smaller kernel or more padding"
        )
