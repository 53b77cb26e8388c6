"""Convolutional autoencoders: the code is an image too, with fewer pixels and more channels.

Two ways to halve an image and to double its size again, for channels = (1, 16, 32):

    down="pool"      conv 1-16, ReLU, max-pool, conv 16-32, ReLU, max-pool
                     conv 32-16, ReLU, upsample, conv 16-16, ReLU, upsample, conv 16-1, sigmoid
    down="stride"    conv 1-16 with stride 2, ReLU, conv 16-32 with stride 2, ReLU
                     transposed conv 32-16 with stride 2, ReLU, transposed conv 16-1 with stride 2, sigmoid

`conv_encoder` and `conv_decoder` build the halves for any kind: `DenoisingAutoencoder(conv_encoder(c),
conv_decoder(c), ...)`. With `code_size` a linear layer turns the last images into a flat code, and another back.
"""

from collections.abc import Sequence
from typing import Any

from scratchae import nn
from scratchae.autoencoders import base
from scratchae.autoencoders.base import Autoencoder, Loss, activation_layers, drawn_or_not
from scratchae.checks import check_choice, check_count


def conv_encoder(
    channels: Sequence[int] = (1, 16, 16), down: str = "pool", kernel_size: int = 3, activation: str | None = "relu",
    code_size: int | None = None, size: int = 28,
) -> nn.Sequential:  # fmt: skip
    """From images (N, channels[0], H, W) to (N, channels[-1], H / 2^k, W / 2^k), k halvings, or (N, code_size).

    Args:
        channels: of the images, and after each halving.
        down: "pool" or "stride".
        kernel_size: odd.
        activation: after each convolution.
        code_size: the code's length; None keeps the code an image.
        size: side of the images; used with `code_size` only.
    """
    channels, features = _check(channels, down, kernel_size, code_size, size)
    layers: list[nn.Module] = []
    with drawn_or_not():
        for c_in, c_out in zip(channels[:-1], channels[1:], strict=True):
            stride = 2 if down == "stride" else 1
            layers += [nn.Conv2d(c_in, c_out, kernel_size, stride, kernel_size // 2), *activation_layers(activation)]
            layers += [nn.MaxPool2d(2)] if down == "pool" else []
        if code_size is not None:
            layers += [nn.Flatten(), nn.Linear(features, code_size)]
    return nn.Sequential(*layers)


def conv_decoder(
    channels: Sequence[int] = (1, 16, 16), down: str = "pool", kernel_size: int = 3, activation: str | None = "relu",
    output: str | None = "sigmoid", code_size: int | None = None, size: int = 28,
) -> nn.Sequential:  # fmt: skip
    """The way back from `conv_encoder` of the same arguments; `output` is the activation of the last layer."""
    channels, features = _check(channels, down, kernel_size, code_size, size)
    last = activation_layers(base.check_activation(output, "output"))
    back, pad = channels[::-1], kernel_size // 2
    layers: list[nn.Module] = []
    with drawn_or_not():
        if code_size is not None:
            side = size // 2 ** (len(channels) - 1)
            layers += [nn.Linear(code_size, features), nn.Unflatten(1, (back[0], side, side))]
            layers += activation_layers(activation)
        if down == "stride":
            for c_in, c_out in zip(back[:-2], back[1:-1], strict=True):
                layers += [nn.ConvTranspose2d(c_in, c_out, kernel_size, 2, pad, 1), *activation_layers(activation)]
            layers += [nn.ConvTranspose2d(back[-2], back[-1], kernel_size, 2, pad, 1)]
        else:
            for c_in, c_out in zip(back[:-1], [*back[1:-1], back[-2]], strict=True):
                layers += [nn.Conv2d(c_in, c_out, kernel_size, 1, pad), *activation_layers(activation), nn.Upsample(2)]
            layers += [nn.Conv2d(back[-2], back[-1], kernel_size, 1, pad)]
    return nn.Sequential(*layers, *last)


def feature_size(channels: Sequence[int], size: int) -> int:
    """The number of features of the encoder's last images: `feature_size` of a `VariationalAutoencoder`."""
    channels, size = _check_channels(channels), check_count("size", size)
    halvings = len(channels) - 1
    if size % 2**halvings:
        raise ValueError(f"size={size} cannot be halved {halvings} times; expected a multiple of {2**halvings}")
    return channels[-1] * (size // 2**halvings) ** 2


class ConvAutoencoder(Autoencoder):
    """Builds both halves; see `conv_encoder` and `conv_decoder` for the arguments, `Autoencoder` for `loss`."""

    def __init__(
        self, channels: Sequence[int] = (1, 16, 16), down: str = "pool", kernel_size: int = 3,
        activation: str | None = "relu", output: str | None = "sigmoid", loss: Loss = "bce",
        code_size: int | None = None, size: int = 28,
    ):  # fmt: skip
        with drawn_or_not():
            encoder = conv_encoder(channels, down, kernel_size, activation, code_size, size)
            output = base.output_activation(output, loss)
            decoder = conv_decoder(channels, down, kernel_size, activation, output, code_size, size)
            super().__init__(encoder, decoder, loss)


def _check(channels: Any, down: Any, kernel_size: Any, code_size: Any, size: Any) -> tuple[list[int], int]:
    """The channels as a list, and the number of features before a flat code, else 0; ValueError for other options."""
    channels = _check_channels(channels)
    check_choice("down", down, ("pool", "stride"))
    if check_count("kernel_size", kernel_size) % 2 == 0:
        raise ValueError(f"kernel_size={kernel_size}; expected an odd number, which keeps the size")
    if code_size is None:
        return channels, 0
    check_count("code_size", code_size)
    return channels, feature_size(channels, size)


def _check_channels(channels: Any) -> list[int]:
    """The channels as a list; ValueError for fewer than two, TypeError for modules."""
    if isinstance(channels, nn.Module):
        raise TypeError("ConvAutoencoder builds its own halves; for halves of yours, or dense ones, use Autoencoder")
    given = channels[0] if isinstance(channels, (tuple, list)) and len(channels) == 1 else channels
    return base.check_counts("channels", given, "the images' channels and one number per halving: (1, 16, 16)")
