"""Contractive autoencoder: codes that hardly move when the input does.

    penalty = mean over samples of ||J||^2,    J[k, d] = d code_k / d x_d

the squared Frobenius norm of the encoder's Jacobian. Reconstruction resists it: directions along which the data vary
must stay visible in the code, and so only the others are contracted. Source: S. Rifai, P. Vincent, X. Muller,
X. Glorot, Y. Bengio, "Contractive auto-encoders", ICML 2011.

Each row of J is one backward pass. To train with it, that pass is itself differentiated, which works for any encoder.
For a single sigmoid layer h = sigmoid(W x + b) it comes to (Rifai et al., eq. 4)

    ||J||^2 = sum over k of (h_k (1 - h_k))^2 * sum over d of W[k, d]^2
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae import nn
from scratchae.autoencoders.base import Autoencoder
from scratchae.autograd import Tensor, enable_grad, grad, is_grad_enabled
from scratchae.backend import Array, seen, xp_of
from scratchae.checks import check_number


class ContractiveAutoencoder(Autoencoder):
    """Adds `weight` times the squared norm of the encoder's Jacobian, averaged over samples.

    A step costs as many extra backward passes through the encoder as the code has units. Raises ValueError for an
    encoder in which samples influence each other (BatchNorm in train mode): no sample has a Jacobian of its own there.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        loss: str | Callable[..., Any] = F.mse_loss,
        *,
        weight: float = 1e-3,
        **others: Any,
    ):
        super().__init__(encoder, decoder, loss, **others)
        self.contraction_weight = check_number("weight", weight)

    def penalties(self, x: Any, code: Any) -> dict[str, Any]:
        rows = _jacobian_rows(self.encode, x, create_graph=is_grad_enabled())
        with enable_grad():
            contraction = sum(map(F.sum_of_squares, rows)) * (self.contraction_weight / len(x))
        return {**super().penalties(x, code), "contraction": contraction}


def jacobian(model: Autoencoder, x: Array, batch_size: int = 256) -> np.ndarray:
    """d code / d x of any autoencoder's encoder, in eval mode: (n, code size, features) of inputs (n, ...)."""

    def one_batch(batch: Any) -> Any:
        rows = [row.data.reshape(len(batch), -1) for row in _jacobian_rows(model.encode, batch, create_graph=False)]
        return Tensor(xp_of(*rows).stack(rows, axis=1))

    return model.in_batches(one_batch, x, batch_size)


def _jacobian_rows(encode: Callable[[Any], Any], x: Any, create_graph: bool) -> list[Tensor]:
    """For each unit of the code, its gradient at every sample: Tensors in the shape of `x`."""
    with enable_grad():
        x = Tensor(x.data if isinstance(x, Tensor) else x, requires_grad=True)
        code = encode(x)
        code = F.reshape(code, (len(code), -1))
        _check_that_samples_keep_apart(code, x)
        units = code.shape[1]
        one_unit = xp_of(code.data).eye(units, dtype=code.dtype)
        return [grad(code, x, F.broadcast_to(one_unit[i], code.shape), create_graph) for i in range(units)]


def _check_that_samples_keep_apart(code: Tensor, x: Tensor) -> None:
    """The codes of every second sample must not depend on the samples between; a NaN is for the loss to show."""
    every_second = xp_of(code.data).zeros_like(code.data)
    every_second[::2] = code.data[::2]
    if seen((abs(grad(code, x, every_second).data[1::2]) > 0).any()):
        raise ValueError(
            "ContractiveAutoencoder: in this encoder a sample's code depends on other samples, so that it has no "
            "Jacobian of its own. BatchNorm in train mode does that; use LayerNorm, or none"
        )
