"""Vector-quantised autoencoder (VQ-VAE): the code is a map of whole numbers, each the number of a codebook entry.

    k = argmin over j of |v - e_j|^2           at each place, v is the encoder's vector, e_j an entry
    straight = v + constant(e_k - v)           the decoder's input: the value of e_k, the derivative of v
    loss = distance(decode(straight), x) + commitment * mean of |v - constant(e_k)|^2

The choice has no derivative. The straight-through estimator passes the gradient of e_k to v unchanged. The commitment
keeps v near its entry, and so keeps the error of this gradient small. The entries are moving averages of the vectors
that chose them (see codebook.py). Source: A. van den Oord, O. Vinyals, K. Kavukcuoglu, "Neural discrete representation
learning", NeurIPS 2017.
"""

from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae import nn
from scratchae.autoencoders.base import Autoencoder, Loss, check_samples
from scratchae.autoencoders.codebook import Codebook
from scratchae.autograd import Tensor, is_grad_enabled
from scratchae.autograd.tensor import values_of
from scratchae.backend import Array, seen
from scratchae.checks import check_number


class VectorQuantisedAutoencoder(Autoencoder):
    """The code is (N, places) or (N, H, W) of whole numbers from 0 to entries - 1.

    Args:
        encoder: module from inputs to maps (N, entry_size, H, W), or to flat codes (N, places * entry_size).
        decoder: module from such maps or flat codes back.
        loss: see `Autoencoder`.
        entries, entry_size: number of the codebook's entries, and the length of an entry.
        commitment: weight of the commitment.
        decay, revive: of the codebook; see codebook.py.

    `transform` gives whole numbers, and `inverse_transform` takes whole numbers. `usage(x)` counts the entries.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, loss: Loss = F.mse_loss, *,
        entries: int = 64, entry_size: int = 16, commitment: float = 0.25, decay: float = 0.95, revive: float = 0.1,
        **others: Any,
    ):  # fmt: skip
        super().__init__(encoder, decoder, loss, **others)
        self.codebook = Codebook(entries, entry_size, decay, revive)
        self.commitment = check_number("commitment", commitment)

    def encode(self, x: Any) -> Any:
        """The numbers of the nearest entries."""
        vectors = self._places(self.encoder(x)).data
        return Tensor(self._nearest(vectors))

    def decode(self, z: Any) -> Any:
        """Reconstructions from the numbers of entries."""
        numbers = values_of(z, "the codes")
        entries = len(self.codebook.entries)
        if numbers.dtype.kind not in "iu" or seen((numbers < 0).any() | (numbers >= entries).any()):
            found = f"codes of {numbers.dtype} in [{numbers.min()!s}, {numbers.max()!s}]"
            raise ValueError(f"{type(self).__name__}: {found}; expected whole numbers from 0 to {entries - 1}")
        return self.decoder(_unplaced(Tensor(self.codebook.entries[numbers])))

    def forward(self, x: Any) -> Any:
        return self.shaped_like(self.decoder(self._straight(self.encoder(x))[0]), x)

    def loss_terms(self, x: Any, target: Any = None) -> dict[str, Any]:
        check_samples(self, x)
        straight, gap = self._straight(self.encoder(x))
        output = self.decoder(straight)
        return {
            "reconstruction": self.distance(output, x, target),
            "commitment": self.commitment * F.mean(gap * gap),
            **self.penalties(x, straight),
        }

    def usage(self, x: Array, batch_size: int = 1024) -> np.ndarray:
        """How many places of the inputs `x` have chosen each entry, (entries,)."""
        return np.bincount(self.transform(x, batch_size).ravel(), minlength=len(self.codebook.entries))

    def _straight(self, out: Any) -> tuple[Any, Any]:
        """The decoder's input for the encoder's output, and the vectors minus their entries.

        In train mode with a graph, the entries move afterwards.
        """
        vectors = self._places(out)
        numbers = self._nearest(vectors.data)
        gap = vectors - self.codebook.entries[numbers]
        if self.training and is_grad_enabled():
            self.codebook.follow(vectors.data.reshape(-1, vectors.shape[-1]), numbers.reshape(-1))
        return _unplaced(vectors - gap.detach()), gap

    def _nearest(self, vectors: Array) -> Array:
        return self.codebook.nearest(vectors.reshape(-1, vectors.shape[-1])).reshape(vectors.shape[:-1])

    def _places(self, out: Any) -> Any:
        """The encoder's output with the vectors on the last axis: (N, H, W, d), or (N, places, d) of flat codes."""
        d = self.codebook.entries.shape[1]
        if out.ndim == 4 and out.shape[1] == d:
            return F.transpose(out, (0, 2, 3, 1))
        if out.ndim == 2 and out.shape[1] % d == 0:
            return F.reshape(out, (len(out), -1, d))
        wanted = f"(N, {d}, H, W), or (N, n) with n a multiple of entry_size={d}"
        raise ValueError(f"{type(self).__name__}: the encoder gives shape {out.shape}; expected {wanted}")


def _unplaced(vectors: Any) -> Any:
    """The way back from `_places`."""
    if vectors.ndim == 4:
        return F.transpose(vectors, (0, 3, 1, 2))
    return F.reshape(vectors, (len(vectors), -1))
