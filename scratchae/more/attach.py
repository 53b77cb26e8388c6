"""The list of names that this room offers under `functional`, `nn` and `optim`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from scratchae import functional, nn
from scratchae.more import images, layers


def offer(module: ModuleType, *things: Any) -> None:
    """Give `module` the functions or classes under their own names, and list the names in its `__all__`."""
    for thing in things:
        setattr(module, thing.__name__, thing)
        if thing.__name__ not in module.__all__:
            module.__all__.append(thing.__name__)


offer(functional, images.pixel_shuffle, images.pixel_unshuffle)
offer(nn, images.PixelShuffle, images.PixelUnshuffle, layers.GaussianNoise)
