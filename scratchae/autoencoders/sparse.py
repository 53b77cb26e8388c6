"""Sparse autoencoder: few units of the code are active at a time.

    penalty "kl"    sum over units j of KL(target || mean over the batch of code_j)     (a sigmoid code, in (0, 1))
    penalty "l1"    mean over samples of the sum over units of |code_j|

Under "kl" every unit is active for a share `target` of the samples. Under "l1" codes are small.
Source: A. Ng, "Sparse autoencoder", CS294A lecture notes, Stanford 2011.
"""

from numbers import Real
from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae import nn
from scratchae.autoencoders.base import Autoencoder, Loss
from scratchae.backend import seen
from scratchae.checks import check_choice, check_number, rounding, shown


class SparseAutoencoder(Autoencoder):
    """Adds `weight` times a sparsity penalty on the code.

    Args:
        encoder, decoder, loss: see `Autoencoder`; under "kl" the encoder must end in activations within [0, 1].
        penalty: "kl" or "l1".
        target: the mean activation that "kl" pulls every unit to, in (0, 1).
        weight: of the penalty, beside a reconstruction term that is a mean over pixels.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, loss: Loss = F.mse_loss, *,
        penalty: str = "kl", target: float = 0.05, weight: float = 1e-3, **others: Any,
    ):  # fmt: skip
        super().__init__(encoder, decoder, loss, **others)
        if not isinstance(target, Real) or not 0 < target < 1:
            raise ValueError(f"target={shown(target)}; expected a mean activation in (0, 1), such as 0.05")
        self.penalty: str = check_choice("penalty", penalty, ("kl", "l1"))
        self.target: float = float(target)
        self.sparsity_weight: float = check_number("weight", weight)

    @classmethod
    def default_code_activation(cls, activation: str | None, options: dict[str, Any]) -> str | None:
        """A sigmoid under "kl", which takes the code for probabilities."""
        if options.get("penalty", "kl") == "kl":
            return "sigmoid"
        return super().default_code_activation(activation, options)

    def penalties(self, x: Any, code: Any) -> dict[str, Any]:
        units = F.reshape(code, (len(code), -1))
        if self.penalty == "l1":
            sparsity = F.sum(F.abs(units)) / len(units)
        else:
            sparsity = F.bernoulli_kl(self.target, _mean_activation(units), reduction="sum")
        return {**super().penalties(x, code), "sparsity": self.sparsity_weight * sparsity}


def _mean_activation(units: Any) -> Any:
    """The mean of each unit over the batch, a probability; ValueError if codes lie outside [0, 1].

    The mean is held a rounding away from 0 and 1, which keeps the divergence finite.
    """
    data, limits = units.data, np.finfo(units.dtype)
    margin = rounding(units.dtype)  # a sum in another order pushes a 1 as far
    if seen(((low := data.min()) < -margin) | (data.max() > 1 + margin)):
        found = f"penalty 'kl' takes codes for probabilities, but they range over [{low!s}, {data.max()!s}]"
        raise ValueError(f"SparseAutoencoder: {found}; end the encoder in a sigmoid, or use penalty='l1'")
    return F.clip(F.batch_mean(units, axis=0), float(limits.tiny), 1 - float(limits.eps) / 2)
