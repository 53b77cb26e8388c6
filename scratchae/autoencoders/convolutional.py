"""Convolutional autoencoders: the code is an image too, with fewer pixels and more channels.

Two ways to halve an image and to double its size again, for channels = (1, 16, 32):

    down="pool"      conv 1-16, ReLU, max-pool, conv 16-32, ReLU, max-pool
                     conv 32-16, ReLU, upsample, conv 16-16, ReLU, upsample, conv 16-1, sigmoid
    down="stride"    conv 1-16 with stride 2, ReLU, conv 16-32 with stride 2, ReLU
                     transposed conv 32-16 with stride 2, ReLU, transposed conv 16-1 with stride 2, sigmoid

`conv_encoder` and `conv_decoder` build the halves for any kind: `DenoisingAutoencoder(conv_encoder(c),
conv_decoder(c), ...)`. With `code_size` a linear layer turns the last images into a flat code, and another back.

A series of length L is an image (C, 1, L). A kernel such as (1, 5) looks along the series, and only the length is
halved and doubled.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from scratchae import nn
from scratchae.autoencoders import base
from scratchae.autoencoders.base import Autoencoder, Loss, activation_layers, drawn_or_not
from scratchae.checks import check_choice, check_count
from scratchae.images.options import pair
from scratchae.images.window import Size


def conv_encoder(
    channels: Sequence[int] = (1, 16, 16), down: str = "pool", kernel_size: Size = 3, activation: str | None = "relu",
    code_size: int | None = None, size: Size = 28, norm: str | None = None,
) -> nn.Sequential:  # fmt: skip
    """From images (N, channels[0], H, W) to (N, channels[-1], H / 2^k, W / 2^k), k halvings, or (N, code_size).

    Args:
        channels: of the images, and after each halving.
        down: "pool" or "stride".
        kernel_size: odd, one number or (vertical, horizontal). (1, 5) is for series: the height stays as it is.
        activation: after each convolution.
        code_size: the code's length; None keeps the code an image.
        size: side of the images, or (height, width); used with `code_size` only.
        norm: "batch" for a BatchNorm between each convolution and its activation, or None.
    """
    channels = _check(channels, down, norm)
    kernel, pad, step, _ = _layout(kernel_size)
    layers: list[nn.Module] = []
    with drawn_or_not():
        for c_in, c_out in zip(channels[:-1], channels[1:], strict=True):
            layers += _block(nn.Conv2d(c_in, c_out, kernel, step if down == "stride" else 1, pad), norm, activation)
            layers += [nn.MaxPool2d(step)] if down == "pool" else []
        if code_size is not None:
            check_count("code_size", code_size)
            layers += [nn.Flatten(), nn.Linear(feature_size(channels, size, kernel_size), code_size)]
    return nn.Sequential(*layers)


def conv_decoder(
    channels: Sequence[int] = (1, 16, 16), down: str = "pool", kernel_size: Size = 3, activation: str | None = "relu",
    output: str | None = "sigmoid", code_size: int | None = None, size: Size = 28, norm: str | None = None,
) -> nn.Sequential:  # fmt: skip
    """The way back from `conv_encoder` of the same arguments; `output` is the activation of the last layer."""
    channels = _check(channels, down, norm)
    kernel, pad, step, extra = _layout(kernel_size)
    last = activation_layers(base.check_activation(output, "output"))
    back = channels[::-1]
    layers: list[nn.Module] = []
    with drawn_or_not():
        if code_size is not None:
            check_count("code_size", code_size)
            shape = (back[0], *_last_sides(channels, size, step))
            layers += [nn.Linear(code_size, math.prod(shape)), nn.Unflatten(1, shape), *activation_layers(activation)]
        if down == "stride":
            for c_in, c_out in zip(back[:-2], back[1:-1], strict=True):
                layers += _block(nn.ConvTranspose2d(c_in, c_out, kernel, step, pad, extra), norm, activation)
            layers += [nn.ConvTranspose2d(back[-2], back[-1], kernel, step, pad, extra)]
        else:
            for c_in, c_out in zip(back[:-1], [*back[1:-1], back[-2]], strict=True):
                layers += [*_block(nn.Conv2d(c_in, c_out, kernel, 1, pad), norm, activation), nn.Upsample(step)]
            layers += [nn.Conv2d(back[-2], back[-1], kernel, 1, pad)]
    return nn.Sequential(*layers, *last)


def feature_size(channels: Sequence[int], size: Size, kernel_size: Size = 3) -> int:
    """The number of features of the encoder's last images: `feature_size` of a `VariationalAutoencoder`."""
    channels = _check_channels(channels)
    return channels[-1] * math.prod(_last_sides(channels, size, _layout(kernel_size)[2]))


class ConvAutoencoder(Autoencoder):
    """Builds both halves; see `conv_encoder` and `conv_decoder` for the arguments, `Autoencoder` for `loss`."""

    def __init__(
        self, channels: Sequence[int] = (1, 16, 16), down: str = "pool", kernel_size: Size = 3,
        activation: str | None = "relu", output: str | None = "sigmoid", loss: Loss = "bce",
        code_size: int | None = None, size: Size = 28, norm: str | None = None,
    ):  # fmt: skip
        with drawn_or_not():
            encoder = conv_encoder(channels, down, kernel_size, activation, code_size, size, norm)
            output = base.output_activation(output, loss)
            decoder = conv_decoder(channels, down, kernel_size, activation, output, code_size, size, norm)
            super().__init__(encoder, decoder, loss)


def _block(conv: Any, norm: str | None, activation: str | None) -> list[nn.Module]:
    """A convolution with its norm and its activation."""
    return [conv, *([nn.BatchNorm2d(conv.out_channels)] if norm == "batch" else []), *activation_layers(activation)]


def _layout(kernel_size: Size) -> tuple[Size, Size, Size, Size]:
    """The kernel, the padding that keeps the size, the step of a halving, and the rows that a doubling adds.

    The step is 2, but 1 across a series, where the kernel has one row.
    """
    kernel = pair("kernel_size", kernel_size, 1)
    if any(k % 2 == 0 for k in kernel):
        raise ValueError(f"kernel_size={kernel_size}; expected an odd number, which keeps the size, or two of them")
    step = [1 if k == 1 < max(kernel) else 2 for k in kernel]
    return _size(kernel), _size(k // 2 for k in kernel), _size(step), _size(s - 1 for s in step)


def _size(sides: Iterable[int]) -> Size:
    """Two numbers, or one if they are equal."""
    down, across = sides
    return down if down == across else (down, across)


def _last_sides(channels: list[int], size: Size, step: Size) -> list[int]:
    """Height and width of the encoder's last images."""
    halvings, sides = len(channels) - 1, pair("size", size, 1)
    parts = [n**halvings for n in pair("step", step, 1)]
    if any(n % part for n, part in zip(sides, parts, strict=True)):
        hint = "; for series take a kernel such as (1, 5)" if 1 in sides else ""
        raise ValueError(f"size={size} cannot be halved {halvings} times; expected a multiple of {2**halvings}{hint}")
    return [n // part for n, part in zip(sides, parts, strict=True)]


def _check(channels: Any, down: Any, norm: Any) -> list[int]:
    """The channels as a list; ValueError for other options."""
    channels = _check_channels(channels)
    check_choice("down", down, ("pool", "stride"))
    if norm is not None:
        check_choice("norm", norm, ("batch",), "None or ")
    return channels


def _check_channels(channels: Any) -> list[int]:
    """The channels as a list; ValueError for fewer than two, TypeError for modules."""
    if isinstance(channels, nn.Module):
        raise TypeError("ConvAutoencoder builds its own halves; for halves of yours, or dense ones, use Autoencoder")
    given = channels[0] if isinstance(channels, (tuple, list)) and len(channels) == 1 else channels
    return base.check_counts("channels", given, "the images' channels and one number per halving: (1, 16, 16)")
