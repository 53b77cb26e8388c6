"""The autoencoder family."""

from scratchae.autoencoders.base import Autoencoder
from scratchae.autoencoders.contractive import ContractiveAutoencoder, jacobian
from scratchae.autoencoders.convolutional import ConvAutoencoder, conv_decoder, conv_encoder, feature_size
from scratchae.autoencoders.denoising import DenoisingAutoencoder
from scratchae.autoencoders.sparse import SparseAutoencoder
from scratchae.autoencoders.variational import VariationalAutoencoder

KINDS: dict[str, type[Autoencoder]] = {  # those that have a `dense`, by the names that other tools call them by
    "plain": Autoencoder,
    "denoising": DenoisingAutoencoder,
    "sparse": SparseAutoencoder,
    "contractive": ContractiveAutoencoder,
    "variational": VariationalAutoencoder,
}

__all__ = [
    "Autoencoder", "ContractiveAutoencoder", "ConvAutoencoder", "DenoisingAutoencoder", "SparseAutoencoder",
    "VariationalAutoencoder", "conv_decoder", "conv_encoder", "feature_size", "jacobian",
]  # fmt: skip
