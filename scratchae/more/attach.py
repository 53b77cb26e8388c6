"""The list of names that this room offers under `functional`, `nn` and `optim`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from scratchae import functional, nn
from scratchae.more import images, layers, normalisation, series


def offer(module: ModuleType, *things: Any) -> None:
    """Give `module` the functions or classes under their own names, and list the names in its `__all__`."""
    for thing in things:
        setattr(module, thing.__name__, thing)
        if thing.__name__ not in module.__all__:
            module.__all__.append(thing.__name__)


offer(functional, images.pixel_shuffle, images.pixel_unshuffle, layers.silu, layers.hardtanh)
offer(functional, series.conv1d, series.conv_transpose1d, series.max_pool1d, series.avg_pool1d)
offer(nn, images.PixelShuffle, images.PixelUnshuffle, layers.SiLU, layers.Hardtanh, layers.GaussianNoise)
offer(nn, layers.Residual, normalisation.GroupNorm, normalisation.InstanceNorm2d)
offer(nn, series.Conv1d, series.ConvTranspose1d, series.MaxPool1d, series.AvgPool1d)
