"""Layers for images (N, C, H, W); positional order and defaults are PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae.autograd import Tensor
from scratchae.autograd.images import check_images
from scratchae.backend import xp_of
from scratchae.nn.linear import check_dtype, new_parameters
from scratchae.nn.module import Module
from scratchae.nn.normalisation import BatchNorm1d
from scratchae.nn.regularisation import Dropout

Size = int | tuple[int, int]


def _both(value: Size) -> tuple[int, int]:
    return (value[0], value[1]) if isinstance(value, (tuple, list)) else (value, value)


class _Conv(Module):
    """What both convolutions share: the check of their sizes, and how they are shown."""

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, int]
    stride: Size
    padding: Any  # a number or a pair, or "same"

    def describe(self) -> str:
        sizes = f"{self.in_channels}, {self.out_channels}, {self.kernel_size}"
        return f"{sizes}, stride={self.stride}, padding={self.padding!r}"

    def _check_sizes(self, **sizes: int) -> None:
        for name, value in sizes.items():
            if not isinstance(value, (int, np.integer)) or value < 1:
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
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight, self.bias = new_parameters(shape, out_channels, bias)

    def forward(self, x: Any) -> Any:
        check_dtype(self, x, self.weight)
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


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
        shape = (in_channels, out_channels // groups, *self.kernel_size)
        self.weight, self.bias = new_parameters(shape, out_channels, bias)

    def forward(self, x: Any) -> Any:
        check_dtype(self, x, self.weight)
        return F.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


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


class Dropout2d(Dropout):
    """In train mode, whole channels become 0 with probability `p`, the others are divided by 1 - p."""

    def forward(self, x: Any) -> Any:
        check_images("Dropout2d", x)
        if not self.training or self.p == 0:
            return x
        data = x.data if isinstance(x, Tensor) else x
        return x * F.dropout(xp_of(data).ones((*x.shape[:2], 1, 1), x.dtype), self.p)
