"""Layers for images (N, C, H, W); positional order and defaults are PyTorch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae.autograd.images import check_images
from scratchae.backend import device_of, generator
from scratchae.nn import init
from scratchae.nn.linear import check_dtype
from scratchae.nn.module import Module, Parameter
from scratchae.nn.normalisation import BatchNorm1d

Size = int | tuple[int, int]


def _both(value: Size) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def describe_conv(layer: Any) -> str:
    sizes = f"{layer.in_channels}, {layer.out_channels}, {layer.kernel_size}"
    return f"{sizes}, stride={layer.stride}, padding={layer.padding!r}"


class _Conv(Module):
    """What both convolutions share: sizes, and a weight whose first two axes the subclass decides."""

    def _create(self, first: int, second: int, out_channels: int, kernel: tuple[int, int], bias: bool) -> None:
        self.weight = Parameter(np.empty((first, second, *kernel), np.float32))
        bound = 1 / math.sqrt(second * kernel[0] * kernel[1])  # PyTorch's default: fan_in of the weight as it lies
        init.uniform_(self.weight, -bound, bound)
        self.bias = Parameter(np.empty(out_channels, np.float32)) if bias else None
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def _check_sizes(self, **sizes: int) -> None:
        for name, value in sizes.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{type(self).__name__}: {name}={value!r}; expected an integer of at least 1")
        if sizes["in_channels"] % sizes["groups"] or sizes["out_channels"] % sizes["groups"]:
            raise ValueError(f"{type(self).__name__}: groups must divide both channel counts, got {sizes}")


class Conv2d(_Conv):
    """Convolution; see `functional.conv2d`. `weight` is (out_channels, in_channels / groups, kh, kw)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        self._check_sizes(in_channels=in_channels, out_channels=out_channels, groups=groups)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, _both(kernel_size)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self._create(out_channels, in_channels // groups, out_channels, self.kernel_size, bias)

    def forward(self, x: Any) -> Any:
        check_dtype(self, x, self.weight)
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def describe(self) -> str:
        return describe_conv(self)


class ConvTranspose2d(_Conv):
    """Transposed convolution; see `functional.conv_transpose2d`.

    `weight` is (in_channels, out_channels / groups, kh, kw).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
    ):
        self._check_sizes(in_channels=in_channels, out_channels=out_channels, groups=groups)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, _both(kernel_size)
        self.stride, self.padding, self.output_padding = stride, padding, output_padding
        self.dilation, self.groups = dilation, groups
        self._create(in_channels, out_channels // groups, out_channels, self.kernel_size, bias)

    def forward(self, x: Any) -> Any:
        check_dtype(self, x, self.weight)
        return F.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )

    def describe(self) -> str:
        return describe_conv(self)


class _Pool(Module):
    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0):
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def describe(self) -> str:
        return f"{self.kernel_size}" if self.stride is None else f"{self.kernel_size}, stride={self.stride}"


class MaxPool2d(_Pool):
    """The largest element of each window; `stride` is the kernel's size if None."""

    def forward(self, x: Any) -> Any:
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2d(_Pool):
    """The mean of each window; `stride` is the kernel's size if None."""

    def forward(self, x: Any) -> Any:
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class Upsample(Module):
    """Images `scale_factor` times as large, mode "nearest" or "bilinear"."""

    def __init__(self, scale_factor: Size, mode: str = "nearest"):
        self.scale_factor, self.mode = scale_factor, mode

    def forward(self, x: Any) -> Any:
        return F.upsample(x, self.scale_factor, self.mode)

    def describe(self) -> str:
        return f"{self.scale_factor}, mode={self.mode!r}"


class PixelShuffle(Module):
    """(N, C f^2, H, W) to (N, C, H f, W f)."""

    def __init__(self, upscale_factor: int):
        self.upscale_factor = upscale_factor

    def forward(self, x: Any) -> Any:
        return F.pixel_shuffle(x, self.upscale_factor)

    def describe(self) -> str:
        return f"{self.upscale_factor}"


class PixelUnshuffle(Module):
    """(N, C, H f, W f) to (N, C f^2, H, W)."""

    def __init__(self, downscale_factor: int):
        self.downscale_factor = downscale_factor

    def forward(self, x: Any) -> Any:
        return F.pixel_unshuffle(x, self.downscale_factor)

    def describe(self) -> str:
        return f"{self.downscale_factor}"


class BatchNorm2d(BatchNorm1d):
    """BatchNorm for images: each channel is normalised over the batch and all pixels."""

    _shapes = {4: "(N, C, H, W)"}


class Dropout2d(Module):
    """In train mode, whole channels become 0 with probability `p`, the others are divided by 1 - p."""

    def __init__(self, p: float = 0.5):
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout2d: p={p}; expected 0 <= p <= 1")
        self.p = p

    def forward(self, x: Any) -> Any:
        check_images("Dropout2d", x)
        if not self.training or self.p == 0:
            return x
        device = x.device if hasattr(x, "node") else device_of(x)
        kept = generator(device).random((*x.shape[:2], 1, 1), dtype=np.float32) >= self.p
        return x * (kept.astype(x.dtype) * (1 / (1 - self.p) if self.p < 1 else 0.0))

    def describe(self) -> str:
        return f"{self.p}"
