"""A small model of every kind, all for images (n, 1, 4, 4), and the check of gradients that the kinds' tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import scratchae as sa
from scratchae import autoencoders as ae
from scratchae import nn
from scratchae.autoencoders.base import output_activation

SIZES = (16, 5, 3)
CHANNELS = (1, 2, 3)  # halves 4 x 4 images twice


class DenoisingSparse(ae.DenoisingAutoencoder, ae.SparseAutoencoder):
    pass


class DenoisingContractive(ae.DenoisingAutoencoder, ae.ContractiveAutoencoder):
    pass


class SparseContractive(ae.SparseAutoencoder, ae.ContractiveAutoencoder):
    pass


class DenoisingVariational(ae.DenoisingAutoencoder, ae.VariationalAutoencoder):
    pass


class ContractiveVariational(ae.ContractiveAutoencoder, ae.VariationalAutoencoder):
    pass


class DenoisingSparseContractive(ae.DenoisingAutoencoder, ae.SparseAutoencoder, ae.ContractiveAutoencoder):
    pass


class DenoisingSparseVariational(ae.DenoisingAutoencoder, ae.SparseAutoencoder, ae.VariationalAutoencoder):
    pass


def conv_kind(kind: Any = ae.DenoisingAutoencoder, down: str = "pool", channels: Any = CHANNELS, **options: Any) -> Any:
    """A kind on convolutional halves, with an image for a code."""
    options = {"loss": "bce", **options}
    output = output_activation("sigmoid", options["loss"])
    encoder = ae.conv_encoder(channels, down, activation="tanh")
    return kind(encoder, ae.conv_decoder(channels, down, activation="tanh", output=output), **options)


def conv_vae(down: str = "stride", channels: Any = CHANNELS, **options: Any) -> ae.VariationalAutoencoder:
    layout: dict[str, Any] = {"channels": channels, "down": down, "activation": "tanh"}
    encoder = nn.Sequential(*ae.conv_encoder(**layout), nn.Flatten())
    options = {"loss": "bce", "code_size": 2, "feature_size": ae.feature_size(channels, 4), **options}
    output = output_activation("sigmoid", options["loss"])
    return ae.VariationalAutoencoder(encoder, ae.conv_decoder(**layout, output=output, code_size=2, size=4), **options)


class Kind(NamedTuple):
    build: Callable[..., Any]
    terms: tuple[str, ...]
    random: bool  # whether its loss draws random numbers


def dense(kind: Any, **fixed: Any) -> Callable[..., Any]:
    return lambda sizes=SIZES, **options: kind.dense(sizes, **{"activation": "tanh", **fixed, **options})


RECONSTRUCTION, KL = ("reconstruction",), ("reconstruction", "kl")
REGULARISED = ("reconstruction", "code", "decoder")
SPARSITY, CONTRACTION = ("reconstruction", "sparsity"), ("reconstruction", "contraction")
KINDS: dict[str, Kind] = {
    "plain": Kind(dense(ae.Autoencoder), RECONSTRUCTION, False),
    "denoising": Kind(dense(ae.DenoisingAutoencoder), RECONSTRUCTION, True),
    "sparse kl": Kind(dense(ae.SparseAutoencoder, weight=0.01), SPARSITY, False),
    "sparse l1": Kind(dense(ae.SparseAutoencoder, penalty="l1", weight=0.01), SPARSITY, False),
    "contractive": Kind(dense(ae.ContractiveAutoencoder, weight=0.01), CONTRACTION, False),
    "variational": Kind(dense(ae.VariationalAutoencoder), KL, True),
    "importance-weighted": Kind(dense(ae.ImportanceWeightedAutoencoder, samples=3), ("bound",), True),
    "total-correlation": Kind(
        dense(ae.TotalCorrelationAutoencoder, n_samples=7),
        ("reconstruction", "mutual_information", "total_correlation", "dimensions"), True,
    ),
    "wasserstein": Kind(dense(ae.WassersteinAutoencoder), ("reconstruction", "discrepancy"), True),
    "adversarial": Kind(dense(ae.AdversarialAutoencoder), ("reconstruction", "adversarial", "discriminator"), True),
    "regularised l2": Kind(dense(ae.RegularisedAutoencoder, decoder_weight=0.01), REGULARISED, False),
    "regularised gradient": Kind(
        dense(ae.RegularisedAutoencoder, penalty="gradient", decoder_weight=0.01), REGULARISED, True
    ),
    "masked": Kind(dense(ae.MaskedAutoencoder, patch=2), RECONSTRUCTION, True),
    "conv pool": Kind(lambda **o: ae.ConvAutoencoder(CHANNELS, "pool", **o), RECONSTRUCTION, False),
    "conv stride": Kind(lambda **o: ae.ConvAutoencoder(CHANNELS, "stride", **o), RECONSTRUCTION, False),
    "conv code": Kind(lambda **o: ae.ConvAutoencoder(CHANNELS, code_size=2, size=4, **o), RECONSTRUCTION, False),
    "conv denoising": Kind(lambda **o: conv_kind(amount=0.1, **o), RECONSTRUCTION, True),
    "conv contractive": Kind(lambda **o: conv_kind(ae.ContractiveAutoencoder, **o), CONTRACTION, False),
    "conv variational": Kind(conv_vae, KL, True),
    "denoising, sparse": Kind(dense(DenoisingSparse, weight=0.01), SPARSITY, True),
    "denoising, contractive": Kind(dense(DenoisingContractive, corruption="masking"), CONTRACTION, True),
    "sparse, contractive": Kind(dense(SparseContractive), (*SPARSITY, "contraction"), False),
    "denoising, variational": Kind(dense(DenoisingVariational, amount=0.1), KL, True),
    "contractive, variational": Kind(dense(ContractiveVariational), (*KL, "contraction"), True),
    "denoising, sparse, contractive": Kind(dense(DenoisingSparseContractive), (*SPARSITY, "contraction"), True),
    "denoising, sparse, variational": Kind(
        dense(DenoisingSparseVariational, penalty="l1", amount=0.1), (*KL, "sparsity"), True
    ),
}


def images(n: int = 7, dtype: Any = np.float32, seed: int = 1) -> np.ndarray:
    """Rather dark images in [0, 1] that vary in three ways, so that a code of 3 can hold them."""
    rng = np.random.default_rng(seed)
    ways = np.random.default_rng(0).standard_normal((3, 16))
    return (1 / (1 + np.exp(2 - rng.standard_normal((n, 3)) @ ways))).reshape(n, 1, 4, 4).astype(dtype)


def bits(model: nn.Module) -> list[bytes]:
    return [a.tobytes() for a in model.state_dict().values()]


def assert_gradients_are_slopes(model: sa.Autoencoder, *batch: np.ndarray, eps: float = 1e-6) -> None:
    """Every parameter's gradient against central differences of the loss, with the same random numbers each time."""
    model.to(np.float64)
    tensors = [sa.Tensor(a) for a in batch]

    def loss() -> sa.Tensor:
        with sa.random.fixed_seed(3):
            return model.loss(*tensors)

    def slope(weights: np.ndarray, index: tuple[int, ...]) -> float:
        old, values = weights[index], []
        for step in (eps, -eps):
            weights[index] = old + step
            values.append(loss().item())
        weights[index] = old
        return (values[0] - values[1]) / (2 * eps)

    loss().backward()
    with sa.no_grad():
        for name, p in model.named_parameters():
            numeric = np.array([slope(p.data, i) for i in np.ndindex(p.shape)]).reshape(p.shape)
            analytic = np.zeros(p.shape) if p.grad is None else p.grad
            assert np.abs(analytic - numeric).max() <= 1e-7 + 1e-5 * np.abs(numeric).max(), name
