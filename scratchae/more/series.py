"""Operations and layers for series (N, C, L). A series is an image of height 1."""

import math
from typing import Any

from scratchae import functional as F
from scratchae.autograd.precision import in_float32
from scratchae.autograd.tensor import values_of
from scratchae.checks import check_choice, check_count
from scratchae.images import options
from scratchae.images.conv import conv, conv_input
from scratchae.images.functions import check_arrays
from scratchae.images.layers import MODES, Conv
from scratchae.images.pooling import max_pool, pool_sum
from scratchae.images.window import Window
from scratchae.nn.layer import Layer, check_dtype

Length = int | tuple[int]  # PyTorch also writes (3,) for 3


@in_float32
def conv1d(
    x: Any, weight: Any, bias: Any = None, stride: Length = 1, padding: Length | str = 0, dilation: Length = 1,
    groups: int = 1,
) -> Any:  # fmt: skip
    """`conv2d` of series: x (N, C, L) and weight (O, C / groups, k) to (N, O, Lo)."""
    check_arrays("conv1d", x, weight, bias, groups, kernel=("k",), check_input=_check_series)
    window = window_of("conv1d", weight.shape[2:], stride, padding, dilation, x)
    return _low(conv(_high(x), _high(weight), bias, window, groups))


@in_float32
def conv_transpose1d(
    x: Any, weight: Any, bias: Any = None, stride: Length = 1, padding: Length = 0, output_padding: Length = 0,
    groups: int = 1, dilation: Length = 1,
) -> Any:  # fmt: skip
    """`conv_transpose2d` of series: x (N, C, L) and weight (C, O / groups, k) to (N, O, Lo)."""
    name = "conv_transpose1d"
    check_arrays(name, x, weight, bias, groups, transposed=True, kernel=("k",), check_input=_check_series)
    window = _transposed_window(name, weight.shape[2:], stride, padding, output_padding, dilation)
    (_, k), (_, s), (_, pads), (_, d) = window
    length = (x.shape[2] - 1) * s - sum(pads) + d * (k - 1) + 1
    if length < 1:
        given = f"input {x.shape[2]}, kernel {k} and padding {pads}"
        raise ValueError(f"{name}: the output would have length {length}, from {given}; use less padding")
    return _low(conv_input(_high(x), _high(weight), bias, (1, length), window, groups))


def max_pool1d(x: Any, kernel_size: Length, stride: Length | None = None, padding: Length = 0) -> Any:
    """The largest element of each window (padding is -inf); `stride` is the kernel's size if None."""
    _check_series("max_pool1d", x)
    return _low(max_pool(_high(x), _pool_window("max_pool1d", kernel_size, stride, padding, x)))


@in_float32
def avg_pool1d(x: Any, kernel_size: Length, stride: Length | None = None, padding: Length = 0) -> Any:
    """The mean of each window (zeros of the padding count); `stride` is the kernel's size if None."""
    _check_series("avg_pool1d", x)
    window = _pool_window("avg_pool1d", kernel_size, stride, padding, x)
    return _low(pool_sum(_high(x), window)) * (1 / math.prod(window.kernel))


# --- layers ---------------------------------------------------------------------------------------


class Conv1d(Conv):
    """Convolution of series; see `functional.conv1d`. `weight` is (out_channels, in_channels / groups, k).

    `padding_mode` is "zeros", "reflect", "replicate" or "circular"; see `Conv2d`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Length, stride: Length = 1, padding: Length | str = 0,
        dilation: Length = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
    ):  # fmt: skip
        window = window_of("Conv1d", kernel_size, stride, padding, dilation)
        self.stride, self.dilation = window.stride[1], window.dilation[1]
        self.padding = padding if isinstance(padding, str) else window.pads[1][0]
        self.padding_mode = check_choice("Conv1d: padding_mode", padding_mode, MODES)
        self._make((in_channels, out_channels), window.kernel[1:], groups, bias)

    def forward(self, x: Any) -> Any:
        check_dtype(self, x, self.weight)
        padding = self.padding
        if self.padding_mode != "zeros":
            _check_series("Conv1d", x, self.in_channels)
            window = window_of("Conv1d", self.kernel_size, self.stride, padding, self.dilation)
            x, padding = self._continued(x, window.pads[1:]), 0
        return conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class ConvTranspose1d(Conv):
    """Transposed convolution of series; see `functional.conv_transpose1d`.

    `weight` is (in_channels, out_channels / groups, k).
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Length, stride: Length = 1, padding: Length = 0,
        output_padding: Length = 0, groups: int = 1, bias: bool = True, dilation: Length = 1,
    ):  # fmt: skip
        window = _transposed_window("ConvTranspose1d", kernel_size, stride, padding, output_padding, dilation)
        self.stride, self.padding, self.dilation = window.stride[1], window.pads[1][0], window.dilation[1]
        self.output_padding = window.pads[1][0] - window.pads[1][1]
        self._make((in_channels, out_channels), window.kernel[1:], groups, bias, transposed=True)

    def forward(self, x: Any) -> Any:
        check_dtype(self, x, self.weight)
        rest = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        return conv_transpose1d(x, self.weight, self.bias, *rest)


class _Pool(Layer):
    """The base of both pools: their options."""

    def __init__(self, kernel_size: Length, stride: Length | None = None, padding: Length = 0):
        window = _pool_window(type(self).__name__, kernel_size, stride, padding)
        self.kernel_size, self.padding = window.kernel[1], window.pads[1][0]
        self.stride = None if stride is None else window.stride[1]


class MaxPool1d(_Pool):
    """The largest element of each window; `stride` is the kernel's size if None."""

    def forward(self, x: Any) -> Any:
        return max_pool1d(x, self.kernel_size, self.stride, self.padding)


class AvgPool1d(_Pool):
    """The mean of each window; `stride` is the kernel's size if None."""

    def forward(self, x: Any) -> Any:
        return avg_pool1d(x, self.kernel_size, self.stride, self.padding)


# --- series as images -----------------------------------------------------------------------------


def _high(x: Any) -> Any:
    """(N, C, L) as (N, C, 1, L)."""
    return F.expand_dims(x, 2)


def _low(x: Any) -> Any:
    """(N, C, 1, L) as (N, C, L)."""
    return F.squeeze(x, 2)


def _across(name: str, value: Any, least: int) -> int:
    """An option as an integer, given as an integer or as a tuple of one."""
    return check_count(name, value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value, least)


def window_of(name: str, kernel: Any, stride: Any, padding: Any, dilation: Any, x: Any = None) -> Window:
    """The window of a convolution over images of height 1. The options must fit the series `x`."""
    zeros = padding if isinstance(padding, str) else (0, _across(f"{name}: padding", padding, 0))
    given = {"kernel_size": kernel, "stride": stride, "dilation": dilation}
    kernel, stride, dilation = ((1, _across(f"{name}: {option}", value, 1)) for option, value in given.items())
    return options.conv_window(name, kernel, stride, zeros, dilation, None if x is None else (1, x.shape[2]))


def _transposed_window(name: str, kernel: Any, stride: Any, padding: Any, extra: Any, dilation: Any) -> Window:
    window = window_of(name, kernel, stride, _across(f"{name}: padding", padding, 0), dilation)
    zeros = 0, window.pads[1][0]
    extra = 0, _across(f"{name}: output_padding", extra, 0)
    return options.transposed_window(name, window.kernel, window.stride, zeros, extra, window.dilation)


def _pool_window(name: str, kernel: Any, stride: Any, padding: Any, x: Any = None) -> Window:
    zeros = _across(f"{name}: padding", padding, 0)
    window = window_of(name, kernel, kernel if stride is None else stride, zeros, 1, x)
    if 2 * zeros > window.kernel[1]:
        raise ValueError(f"{name}: padding={zeros} must be at most half of kernel_size={window.kernel[1]}")
    return window


def _check_series(name: str, x: Any, channels: int | None = None) -> None:
    """ValueError for other shapes than (N, C, L) with `channels` channels. N = 0 is allowed, but no other length 0."""
    shape, c = values_of(x, f"{name}: the input").shape, "C" if channels is None else channels
    if len(shape) != 3 or channels not in (None, shape[1]) or 0 in shape[1:]:
        advice = "bring it to three dimensions with reshape" if len(shape) != 3 else "check channels and length"
        raise ValueError(f"{name}: expected (N, {c}, L), got {shape}; {advice}")
