"""Denoising autoencoder: it reconstructs the clean input from a damaged one.

    noisy = corruption(x)        loss = distance(decode(encode(noisy)), x)

Copying the input does not help. To fill in missing pixels, the code must hold how the pixels of an image depend on
each other. Source: P. Vincent, H. Larochelle, Y. Bengio, P.-A. Manzagol, "Extracting and composing robust features
with denoising autoencoders", ICML 2008.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae import nn
from scratchae.autoencoders.base import Autoencoder, Loss
from scratchae.autograd import Tensor
from scratchae.autograd.tensor import values_of
from scratchae.backend import Array, device_of
from scratchae.checks import check_bool, shown
from scratchae.data import noise
from scratchae.random import generator

CORRUPTIONS: dict[str, Callable[..., Any]] = {
    "gaussian": noise.gaussian, "masking": noise.masking, "salt_and_pepper": noise.salt_and_pepper,
}  # fmt: skip


class DenoisingAutoencoder(Autoencoder):
    """Corrupts the input in `loss_terms(x)`, and nowhere else.

    Args:
        encoder, decoder, loss: see `Autoencoder`.
        corruption: "gaussian", "masking" or "salt_and_pepper", see `data.noise`; or a function from an array to a
            damaged array of the same shape. Draw its noise from `sa.generator(device, per_sample=True)`, which follows
            the seeds; a generator of its own does not. The result takes the dtype of the input.
        amount: standard deviation of the Gaussian, fraction of damaged elements of the others; not for a function.
        clip: whether Gaussian noise stays in [0, 1], as images do. False is for data that leave [0, 1], such as
            standardised ones.

    Raises ValueError for another corruption, amount or clip, and for a function that changes the shape. Raises
    TypeError for a function that returns no array.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, loss: Loss = F.mse_loss, *,
        corruption: str | Callable[[Array], Array] = "gaussian", amount: float | None = None, clip: bool = True,
        **others: Any,
    ):  # fmt: skip
        super().__init__(encoder, decoder, loss, **others)
        if isinstance(corruption, str) and corruption in CORRUPTIONS:
            amount = 0.3 if amount is None else amount
            noise.check_amount(corruption, amount)
        elif not callable(corruption):
            raise ValueError(f"corruption={shown(corruption)}; expected a function or one of {sorted(CORRUPTIONS)}")
        elif amount is not None:
            raise ValueError(f"amount={shown(amount)} beside a corruption function, which has its own; leave it out")
        if not check_bool("clip", clip) and corruption != "gaussian":
            raise ValueError(f"clip={clip} beside {corruption=}; it is an option of 'gaussian' alone, leave it out")
        self.corruption, self.amount, self.clip = corruption, amount, clip

    def corrupt(self, x: Array) -> Array:
        """A damaged copy of the array `x`, drawn from the seeded generator of its device."""
        if not callable(self.corruption):
            options = {"clip": self.clip} if self.corruption == "gaussian" else {}
            wide = x.astype(np.float32) if x.dtype == np.float16 else x  # noise is drawn in float32 at least
            noisy = CORRUPTIONS[self.corruption](wide, self.amount, generator(device_of(x), per_sample=True), **options)
            return noisy.astype(x.dtype, copy=False)
        damaged = values_of(self.corruption(x.copy()), "what the corruption returns")
        if damaged.shape != x.shape:
            raise ValueError(f"the corruption made shape {damaged.shape} of {x.shape}; it must keep the shape")
        return damaged.astype(x.dtype, copy=False)

    def loss_terms(self, x: Any, target: Any = None) -> dict[str, Any]:
        """The reconstruction of `x` from a damaged copy; with `target`, of the clean `target` from the noisy `x`."""
        if target is None:
            x, target = Tensor(self.corrupt(values_of(x, "the images"))), x
        return super().loss_terms(x, target)
