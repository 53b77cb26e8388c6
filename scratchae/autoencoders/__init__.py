"""The autoencoder family."""

from scratchae.autoencoders.base import Autoencoder

__all__ = ["Autoencoder"]
