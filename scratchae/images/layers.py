"""Layers for images (N, C, H, W); positional order and defaults are PyTorch's."""

from typing import Any

from scratchae import functional as F
from scratchae.autograd.tensor import values_of
from scratchae.backend import xp_of
from scratchae.checks import check_choice
from scratchae.images import options
from scratchae.images.window import Size
from scratchae.nn.layer import Layer, check_dtype, new_parameters, size
from scratchae.nn.module import titled
from scratchae.nn.normalisation import BatchNorm1d
from scratchae.nn.pointwise import Dropout

# Padding modes under PyTorch's names, and under NumPy's.
MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


class Conv(Layer):
    """The base of convolutions: channels in `groups`, a weight and a bias, and padding with the images' own pixels."""

    padding_mode: str = "zeros"

    def _make(self, channels: tuple[Any, Any], kernel: tuple, groups: Any, bias: Any, transposed: bool = False) -> None:
        inputs, outputs = size(self, "in_channels", channels[0]), size(self, "out_channels", channels[1])
        groups = options.check_groups(type(self).__name__, groups, "both channel counts,", inputs, outputs)
        self.in_channels, self.out_channels, self.kernel_size, self.groups = inputs, outputs, kernel, groups
        first, second = (inputs, outputs) if transposed else (outputs, inputs)
        self.weight, self.bias = new_parameters(self, (first, second // groups, *kernel), outputs, bias)

    def _continued(self, x: Any, pads: Any) -> Any:
        """`x` with `pads` more pixels at the ends of its last axes, which `padding_mode` takes from `x` itself."""
        for n, most in zip(x.shape[2:], map(max, pads), strict=True):
            if most > {"reflect": n - 1, "circular": n}.get(self.padding_mode, most):
                raise ValueError(f"{titled(self)}: input {x.shape} is too small for {most} of padding; pad less")
        return F.pad(x, ((0, 0), (0, 0), *pads), MODES[self.padding_mode])  # more/ gives `pad` its modes


class Conv2d(Conv):
    """Convolution; see `functional.conv2d`. `weight` is (out_channels, in_channels / groups, kh, kw).

    `padding_mode` says what the padding holds: "zeros"; "reflect", the image mirrored at its first and last pixels;
    "replicate", these pixels; or "circular", the other end of the image.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size | str = 0,
        dilation: Size = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
    ):  # fmt: skip
        window = options.conv_window(type(self).__name__, kernel_size, stride, padding, dilation)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.padding_mode = check_choice(f"{type(self).__name__}: padding_mode", padding_mode, MODES)
        self._make((in_channels, out_channels), window.kernel, groups, bias)

    def forward(self, x: Any) -> Any:
        check_dtype(self, x, self.weight)
        padding = self.padding
        if self.padding_mode != "zeros":
            options.check_images("Conv2d", x, self.in_channels)
            window = options.conv_window("Conv2d", self.kernel_size, self.stride, padding, self.dilation)
            x, padding = self._continued(x, window.pads), 0
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class ConvTranspose2d(Conv):
    """Transposed convolution; see `functional.conv_transpose2d`.

    `weight` is (in_channels, out_channels / groups, kh, kw).
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size = 0,
        output_padding: Size = 0, groups: int = 1, bias: bool = True, dilation: Size = 1,
    ):  # fmt: skip
        window = options.transposed_window(type(self).__name__, kernel_size, stride, padding, output_padding, dilation)
        self.stride, self.padding, self.output_padding, self.dilation = stride, padding, output_padding, dilation
        self._make((in_channels, out_channels), window.kernel, groups, bias, transposed=True)

    def forward(self, x: Any) -> Any:
        check_dtype(self, x, self.weight)
        rest = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        return F.conv_transpose2d(x, self.weight, self.bias, *rest)


class _Pool(Layer):
    """The base of both pools: their options."""

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0):
        options.pool_window(type(self).__name__, kernel_size, stride, padding)
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding


class MaxPool2d(_Pool):
    """The largest element of each window; `stride` is the kernel's size if None."""

    def forward(self, x: Any) -> Any:
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2d(_Pool):
    """The mean of each window; `stride` is the kernel's size if None."""

    def forward(self, x: Any) -> Any:
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class Upsample(Layer):
    """Images `scale_factor` times as large, mode "nearest" or "bilinear"."""

    def __init__(self, scale_factor: Size, mode: str = "nearest"):
        options.scaling("Upsample", scale_factor, mode)
        self.scale_factor, self.mode = scale_factor, mode

    def forward(self, x: Any) -> Any:
        return F.upsample(x, self.scale_factor, self.mode)


class BatchNorm2d(BatchNorm1d):
    """BatchNorm for images: each channel is normalised over the batch and all pixels."""

    _shapes = {4: "(N, C, H, W)"}


class Dropout2d(Dropout):
    """In train mode, whole channels become 0 with probability `p`. The other channels are divided by 1 - p."""

    def forward(self, x: Any) -> Any:
        options.check_images("Dropout2d", x)
        if not self.training or self.p == 0:
            return x
        return x * F.dropout(xp_of(values_of(x, "the input")).ones((*x.shape[:2], 1, 1), x.dtype), self.p)
