"""The autoencoder family."""

from scratchae.autoencoders.base import Autoencoder
from scratchae.autoencoders.contractive import ContractiveAutoencoder, jacobian
from scratchae.autoencoders.convolutional import ConvAutoencoder, conv_decoder, conv_encoder, feature_size
from scratchae.autoencoders.denoising import DenoisingAutoencoder
from scratchae.autoencoders.sparse import SparseAutoencoder
from scratchae.autoencoders.variational import VariationalAutoencoder

KINDS: dict[str, type[Autoencoder]] = {  # the kinds with a `dense`, by their names on the command line
    "plain": Autoencoder, "denoising": DenoisingAutoencoder, "sparse": SparseAutoencoder,
    "contractive": ContractiveAutoencoder, "variational": VariationalAutoencoder,
}  # fmt: skip

__all__ = [
    "Autoencoder", "ContractiveAutoencoder", "ConvAutoencoder", "DenoisingAutoencoder", "SparseAutoencoder",
    "VariationalAutoencoder", "conv_decoder", "conv_encoder", "feature_size", "jacobian",
]  # fmt: skip
