"""Regularised autoencoder (RAE): a plain autoencoder with a smooth decoder, whose codes are drawn after training.

    penalty = code_weight * |z|^2 / 2 + decoder_weight * R

    "l2"          R = sum of the squared weights of the decoder
    "gradient"    R = |J|^2, J the Jacobian of the decoder at the code

A VAE's noise on the code makes the decoder smooth. Here R does so without noise, and the codes are no samples. The code
has no given distribution, so a density is fitted to the codes of the training set (see samplers.py). With u drawn from
N(0, 1), |J^T u|^2 has the mean |J|^2 (Hutchinson 1989). So a step needs one backward pass through the decoder.
Source: P. Ghosh, M. Sajjadi, A. Vergari, M. Black, B. Schoelkopf, "From variational to deterministic autoencoders",
ICLR 2020.
"""

from typing import Any

from scratchae import functional as F
from scratchae import nn
from scratchae.autoencoders.base import Autoencoder, Loss
from scratchae.autograd import Tensor, enable_grad, grad, is_grad_enabled
from scratchae.checks import check_choice, check_number


class RegularisedAutoencoder(Autoencoder):
    """Adds the squared length of the code, and a penalty that makes the decoder smooth.

    Args:
        encoder, decoder, loss: see `Autoencoder`.
        penalty: "l2" or "gradient".
        code_weight: of half the squared length of a code, a mean over samples.
        decoder_weight: of the decoder's penalty. "gradient" is a mean over samples.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, loss: Loss = F.mse_loss, *,
        penalty: str = "l2", code_weight: float = 1e-4, decoder_weight: float = 1e-6, **others: Any,
    ):  # fmt: skip
        super().__init__(encoder, decoder, loss, **others)
        self.penalty: str = check_choice("penalty", penalty, ("l2", "gradient"))
        self.code_weight = check_number("code_weight", code_weight)
        self.decoder_weight = check_number("decoder_weight", decoder_weight)

    def penalties(self, x: Any, code: Any) -> dict[str, Any]:
        smooth = self._squared_weights() if self.penalty == "l2" else self._squared_slope(code)
        return {
            **super().penalties(x, code),
            "code": F.sum_of_squares(code, self.code_weight / 2 / len(x)),
            "decoder": self.decoder_weight * smooth,
        }

    def _squared_weights(self) -> Any:
        """The sum over weights, without biases and scales, which have one axis."""
        return sum(F.sum_of_squares(p) for p in self.decoder.parameters() if p.ndim > 1)

    def _squared_slope(self, code: Any) -> Any:
        """An unbiased estimate of |J|^2, a mean over samples."""
        recorded = is_grad_enabled()
        with enable_grad():
            z = code if code.requires_grad else Tensor(code.data, requires_grad=True)  # in the validation
            output = self.decode(z)
            slope = grad(output, z, F.normal_like(output), create_graph=recorded)
        return F.sum_of_squares(slope) / len(code)
