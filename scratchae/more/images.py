"""Images whose channels become pixels, and back."""

from typing import Any

from scratchae import functional as F
from scratchae.checks import check_count
from scratchae.images import options
from scratchae.nn.layer import Layer, size


def pixel_shuffle(x: Any, factor: int) -> Any:
    """(N, C f^2, H, W) to (N, C, H f, W f): channels become pixels (Shi et al. 2016)."""
    options.check_images("pixel_shuffle", x)
    f, (n, c, h, w) = check_count("pixel_shuffle: factor", factor), x.shape
    if c % f**2:
        raise ValueError(f"pixel_shuffle: factor={f} with {c} channels; expected a multiple of {f**2} channels")
    blocks = F.reshape(x, (n, c // f**2, f, f, h, w))
    return F.reshape(F.transpose(blocks, (0, 1, 4, 2, 5, 3)), (n, c // f**2, h * f, w * f))


def pixel_unshuffle(x: Any, factor: int) -> Any:
    """(N, C, H f, W f) to (N, C f^2, H, W), the reverse of `pixel_shuffle`."""
    options.check_images("pixel_unshuffle", x)
    f, (n, c, h, w) = check_count("pixel_unshuffle: factor", factor), x.shape
    if h % f or w % f:
        raise ValueError(f"pixel_unshuffle: factor={f} with images of {h} x {w}; expected multiples of {f}")
    blocks = F.reshape(x, (n, c, h // f, f, w // f, f))
    return F.reshape(F.transpose(blocks, (0, 1, 3, 5, 2, 4)), (n, c * f**2, h // f, w // f))


class PixelShuffle(Layer):
    """(N, C f^2, H, W) to (N, C, H f, W f)."""

    def __init__(self, upscale_factor: int):
        self.upscale_factor = size(self, "upscale_factor", upscale_factor)

    def forward(self, x: Any) -> Any:
        return pixel_shuffle(x, self.upscale_factor)


class PixelUnshuffle(Layer):
    """(N, C, H f, W f) to (N, C f^2, H, W)."""

    def __init__(self, downscale_factor: int):
        self.downscale_factor = size(self, "downscale_factor", downscale_factor)

    def forward(self, x: Any) -> Any:
        return pixel_unshuffle(x, self.downscale_factor)
