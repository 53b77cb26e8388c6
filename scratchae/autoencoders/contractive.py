"""Contractive autoencoder: codes that hardly change when the input does.

    penalty = mean over samples of ||J||^2,    J[k, d] = d code_k / d x_d

the squared Frobenius norm of the encoder's Jacobian. The reconstruction keeps directions along which the data vary
visible in the code, so the penalty contracts the other directions. Source: S. Rifai, P. Vincent, X. Muller,
X. Glorot, Y. Bengio, "Contractive auto-encoders", ICML 2011.

In a chain of linear layers and elementwise activations, J is a product. W_i is the weight of a linear layer. D_i is
the diagonal matrix of the slopes of the activation after this layer, at one sample:

    J = D_n W_n ... D_2 W_2 D_1 W_1 = A W_1,    ||J||^2 = sum over all elements of (A W_1 W_1^T) * A

The Gram matrix W_1 W_1^T is the same for all samples. Only this matrix needs the features of the input. For a single
sigmoid layer h = sigmoid(W x + b) the norm is (Rifai et al., eq. 4)

    ||J||^2 = sum over k of (h_k (1 - h_k))^2 * sum over d of W[k, d]^2

For any other encoder, each row of J is one backward pass. Training differentiates these passes again.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae import nn
from scratchae.autoencoders.base import Autoencoder, Loss
from scratchae.autograd import Tensor, enable_grad, grad, is_grad_enabled
from scratchae.autograd.tensor import values_of
from scratchae.backend import Array, seen, xp_of
from scratchae.checks import check_number


class ContractiveAutoencoder(Autoencoder):
    """Adds `weight` times the squared norm of the encoder's Jacobian, averaged over samples.

    For an encoder of linear layers and elementwise activations, the penalty costs a few matrix products. For any other
    encoder, a step costs as many extra backward passes through the encoder as the code has units. Raises ValueError for
    an encoder in which a sample's code depends on other samples, as BatchNorm's does in train mode. No sample has a
    Jacobian of its own in such an encoder.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, loss: Loss = F.mse_loss, *, weight: float = 1e-3, **others: Any
    ):
        super().__init__(encoder, decoder, loss, **others)
        self.contraction_weight = check_number("weight", weight)

    def penalties(self, x: Any, code: Any) -> dict[str, Any]:
        graph = is_grad_enabled()
        chain = _chain_of(self, x, graph)
        squares = [_by_gram_matrix(chain)] if chain else map(F.sum_of_squares, _jacobian_rows(self.encode, x, graph))
        return {**super().penalties(x, code), "contraction": sum(squares) * (self.contraction_weight / len(x))}


def jacobian(model: Autoencoder, x: Array, batch_size: int = 256) -> np.ndarray:
    """d code / d x of any autoencoder's encoder, in eval mode: (n, code size, features) of inputs (n, ...)."""

    def one_batch(batch: Any) -> Any:
        rows = _jacobian_rows(model.encode, batch, create_graph=False)
        return F.stack([row.reshape(len(batch), -1) for row in rows], axis=1)

    return model.in_batches(one_batch, x, batch_size)


# --- linear layers and activations ----------------------------------------------------------------

ELEMENTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.Sigmoid, nn.Tanh, nn.Softplus)


@enable_grad()
def _chain_of(model: Autoencoder, x: Any, create_graph: bool) -> list[list[Any]]:
    """[W_i, D_i] of each linear layer of the encoder: the weight (out, in), and the slopes (N, out) at inputs `x`.

    The list is empty for an encoder with other layers, and for a model with its own `encode`. A subclass counts as
    another layer, since its `forward` may compute anything.
    """
    if getattr(model.encode, "__func__", None) is not Autoencoder.encode:
        return []
    chain: list[list[Any]] = []
    z = Tensor(values_of(x, "the inputs"))
    for layer in _layers_of(model.encoder):
        kind = None if "forward" in vars(layer) else type(layer)
        if kind is nn.Linear and z.shape[1:] == (layer.in_features,):
            z = layer(z)
            chain.append([layer.weight, xp_of(z.data).ones_like(z.data)])
        elif kind in ELEMENTWISE and chain:
            before = z if z.requires_grad else Tensor(z.data, requires_grad=True)  # after frozen weights
            z = layer(before)
            chain[-1][1] = grad(z, before, chain[-1][1], create_graph)  # times the slope of this activation
        elif kind in (nn.Flatten, nn.Identity):
            z = layer(z)
        else:
            return []
    return chain


def _layers_of(module: Any) -> list[Any]:
    """The layers of nested Sequentials in the order of their calls."""
    nested = type(module) is nn.Sequential and "forward" not in vars(module)
    return [layer for child in module for layer in _layers_of(child)] if nested else [module]


def _by_gram_matrix(chain: list[list[Any]]) -> Tensor:
    """The sum of ||J||^2 over samples. The products begin at the code, which is narrow.

    The product with W_1 takes the place of the product with the Gram matrix where W_1 is the smaller matrix.
    """
    weights, slopes = zip(*chain, strict=True)
    units, features = weights[0].shape
    left = right = weights[-1]
    for i in reversed(range(len(weights) - 1)):
        left = right * slopes[i][:, None]
        right = left @ (weights[0] @ weights[0].T if i == 0 and units < features else weights[i])
    return F.sum(slopes[-1] ** 2 * F.sum((left if units < features else right) * right, axis=-1))


# --- any encoder ----------------------------------------------------------------------------------


def _jacobian_rows(encode: Callable[[Any], Any], x: Any, create_graph: bool) -> list[Tensor]:
    """For each unit of the code, its gradient at every sample: Tensors in the shape of `x`."""
    with enable_grad():
        x = Tensor(values_of(x, "the inputs"), requires_grad=True)
        code = F.reshape(encode(x), (len(x), -1))
        _check_that_samples_keep_apart(code, x)
        units = xp_of(code.data).eye(code.shape[1], dtype=code.dtype)
        return [grad(code, x, F.broadcast_to(unit, code.shape), create_graph) for unit in units]


def _check_that_samples_keep_apart(code: Tensor, x: Tensor) -> None:
    """ValueError if codes of every second sample depend on the samples between. NaN passes, for the loss to show."""
    every_second = xp_of(code.data).zeros_like(code.data)
    every_second[::2] = code.data[::2]
    if seen((abs(grad(code, x, every_second).data[1::2]) > 0).any()):
        raise ValueError(
            "ContractiveAutoencoder: in this encoder a sample's code depends on other samples, so that it has no "
            "Jacobian of its own. BatchNorm in train mode does that; use LayerNorm, or none"
        )
