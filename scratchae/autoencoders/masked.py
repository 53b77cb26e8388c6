"""Masked autoencoder: it sees a part of the patches of an image, and reconstructs the others.

    hidden = x with a share of its patches set to 0
    loss = mean of distance(decode(encode(hidden)), x) over the hidden pixels

Neighbouring pixels tell much about a single pixel, and little about a whole patch. So the code must describe what the
image shows. The loss leaves out the visible pixels, which the network could copy.
Source: K. He, X. Chen, S. Xie, Y. Li, P. Dollar, R. Girshick, "Masked autoencoders are scalable vision learners", CVPR
2022. Their encoder is a transformer that gets the visible patches alone; the encoder here is dense or convolutional.
"""

import math
from typing import Any

from scratchae import functional as F
from scratchae import nn
from scratchae.autoencoders.base import LOSSES, Autoencoder, Loss, check_samples
from scratchae.autograd import Tensor
from scratchae.backend import Array, device_of, xp_of
from scratchae.checks import check_count, check_number
from scratchae.random import generator


class MaskedAutoencoder(Autoencoder):
    """Hides `share` of the patches of each image, and is trained on the hidden pixels.

    Args:
        encoder, decoder, loss: see `Autoencoder`; the loss is one of the names, or its function.
        patch: side of a patch, which must divide the height and the width of the images (N, C, H, W). In vectors
            (N, n), a patch is one number.
        share: of the patches that are hidden, in (0, 1). At least one patch is hidden.

    `reconstruct(model.hide(images)[0])` fills in hidden patches. Raises ValueError for inputs of other shapes.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, loss: Loss = F.mse_loss, *,
        patch: int = 7, share: float = 0.5, **others: Any,
    ):  # fmt: skip
        super().__init__(encoder, decoder, loss, **others)
        if self._loss_function not in LOSSES.values():
            raise ValueError(f"loss={loss}: the loss is taken pixel by pixel; expected one of {sorted(LOSSES)}")
        self.patch = check_count("patch", patch)
        self.share = check_number("share", share, "(0, 1)")

    def hide(self, x: Array) -> tuple[Array, Array]:
        """`x` with hidden patches set to 0, and a mask, True where numbers are hidden.

        Each sample has the same number of hidden patches, at random places. The mask is (N, 1, H, W) for images, and
        (N, n) for vectors.
        """
        side = self.patch if x.ndim == 4 else 1
        if x.ndim not in (2, 4) or any(n % side for n in x.shape[2:]):
            wanted = f"(N, n), or images (N, C, H, W) with sides that are multiples of patch={self.patch}"
            raise ValueError(f"MaskedAutoencoder: the input has shape {x.shape}; expected {wanted}")
        places = [n // side for n in x.shape[2:]] or [x.shape[1]]
        count = math.prod(places)
        draws = generator(device_of(x), per_sample=True).random(size=(len(x), count))
        mask = draws.argsort(axis=1).argsort(axis=1) < min(max(1, round(self.share * count)), count)
        if x.ndim == 4:
            mask = mask.reshape(len(x), 1, *places).repeat(side, axis=2).repeat(side, axis=3)
        return xp_of(x).where(mask, x.dtype.type(0), x), mask

    def loss_terms(self, x: Any, target: Any = None) -> dict[str, Any]:
        seen, mask = self.hide(check_samples(self, x))
        code = self.encode(Tensor(seen))
        output = self.shaped_like(self.decode(code), x)
        losses = self._loss_function(output, x if target is None else target, reduction="none")
        share = float(mask[0].mean())
        return {"reconstruction": F.mean(losses * mask) / share, **self.penalties(x, code)}
