"""The sparse autoencoder: both penalties by hand, their gradients, and what they do to codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from family import SIZES, assert_gradients_are_slopes, conv_kind, images

import scratchae as sa
from scratchae import nn, optim
from scratchae.autoencoders import Autoencoder, SparseAutoencoder

X = images()


def build(sizes: Any = SIZES, **options: Any) -> SparseAutoencoder:
    return SparseAutoencoder.dense(sizes, **{"activation": "tanh", **options})


def term(model: SparseAutoencoder, x: np.ndarray) -> float:
    return model.loss_terms(sa.Tensor(x))["sparsity"].item()


def kl_by_hand(codes: np.ndarray, target: float) -> float:
    mean = codes.reshape(len(codes), -1).mean(0)
    return float((target * np.log(target / mean) + (1 - target) * np.log((1 - target) / (1 - mean))).sum())


def l1_by_hand(codes: np.ndarray) -> float:
    return float(np.abs(codes).reshape(len(codes), -1).sum(1).mean())


# --- the penalties --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 3), (9, 3), (5, 2, 3, 3)], ids=["one sample", "flat", "images"])
@pytest.mark.parametrize("target, weight", [(0.05, 1e-3), (0.5, 2.0), (0.9, 0.0)])
def test_kl_is_summed_over_units_and_compares_the_mean_over_samples(shape: Any, target: float, weight: float) -> None:
    codes = np.random.default_rng(0).uniform(0.01, 0.99, shape)
    model = SparseAutoencoder(nn.Identity(), nn.Identity(), target=target, weight=weight)
    assert term(model, codes) == pytest.approx(weight * kl_by_hand(codes, target), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("shape", [(1, 3), (9, 3), (5, 2, 3, 3)], ids=["one sample", "flat", "images"])
def test_l1_is_summed_over_units_and_averaged_over_samples(shape: Any) -> None:
    codes = np.random.default_rng(0).standard_normal(shape)
    model = SparseAutoencoder(nn.Identity(), nn.Identity(), penalty="l1", weight=0.3)
    assert term(model, codes) == pytest.approx(0.3 * l1_by_hand(codes), rel=1e-12)


def test_two_units_on_paper() -> None:
    codes = np.array([[0.2, 0.5], [0.4, 0.7]])  # means 0.3 and 0.6
    kl = SparseAutoencoder(nn.Identity(), nn.Identity(), target=0.3, weight=1.0)
    assert term(kl, codes) == pytest.approx(0.3 * np.log(0.3 / 0.6) + 0.7 * np.log(0.7 / 0.4), rel=1e-12)
    l1 = SparseAutoencoder(nn.Identity(), nn.Identity(), penalty="l1", weight=1.0)
    assert term(l1, codes - 0.5) == pytest.approx((0.3 + 0.0 + 0.1 + 0.2) / 2, rel=1e-12)


@pytest.mark.parametrize("penalty", ["kl", "l1"])
def test_the_model_adds_it_to_the_plain_loss(penalty: str) -> None:
    model, x = build(penalty=penalty, target=0.2, weight=0.7).to(np.float64), images(dtype=np.float64)
    codes = model.transform(x)
    wanted = 0.7 * (kl_by_hand(codes, 0.2) if penalty == "kl" else l1_by_hand(codes))
    terms = model.loss_terms(sa.Tensor(x))
    assert list(terms) == ["reconstruction", "sparsity"]
    assert terms["sparsity"].item() == pytest.approx(wanted, rel=1e-12)
    plain = Autoencoder(model.encoder, model.decoder, loss="bce").loss(sa.Tensor(x)).item()
    assert terms["reconstruction"].item() == plain
    assert model.loss(sa.Tensor(x)).item() == pytest.approx(plain + wanted, rel=1e-14)


def test_the_numbers_are_the_same_on_every_device(device: str) -> None:
    for penalty in ("kl", "l1"):
        model = build(penalty=penalty, weight=0.5)
        here = term(model, X)
        there = model.to(device).loss_terms(sa.tensor(X, device=device))["sparsity"]
        assert there.item() == pytest.approx(here, rel=1e-5) and there.dtype == np.float32


# --- what is built --------------------------------------------------------------------------------


def test_a_dense_code_is_a_sigmoid_under_kl_only() -> None:
    def last(**options: Any) -> type:
        return type(SparseAutoencoder.dense(SIZES, **options).encoder[-1])

    assert last() is last(penalty="kl") is last(activation="tanh") is nn.Sigmoid
    assert last(penalty="l1") is nn.Linear and last(penalty="l1", activation="tanh") is nn.Tanh
    assert last(penalty="l1", code_activation="relu") is nn.ReLU and last(code_activation=None) is nn.Linear
    by_position = SparseAutoencoder.dense(SIZES, "elu", None, "mse", "sigmoid", penalty="l1")
    assert [type(layer) for layer in by_position.encoder] == [nn.Flatten, nn.Linear, nn.ELU, nn.Linear, nn.Sigmoid]
    assert type(by_position.decoder[-1]) is nn.Linear and by_position.penalty == "l1"


# --- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", ["kl", "l1"])
@pytest.mark.parametrize("loss", ["mse", "mae", "bce", "bce_logits", "cb"])
def test_gradients_of_all_parameters_are_the_slopes(penalty: str, loss: str) -> None:
    x = images(3, np.float64)[..., :2, :2]
    assert_gradients_are_slopes(build((4, 3, 2), penalty=penalty, loss=loss, weight=0.5, target=0.3), x)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "gelu", "sigmoid", "tanh", "softplus", None])
def test_gradients_of_deep_encoders(activation: str | None) -> None:
    x = images(3, np.float64)[..., :2, :2]
    assert_gradients_are_slopes(build((4, 4, 3, 2), activation=activation, weight=1.0), x)


@pytest.mark.parametrize("penalty", ["kl", "l1"])
def test_gradients_of_convolutional_codes(penalty: str) -> None:
    model = conv_kind(SparseAutoencoder, "stride", (1, 2), penalty=penalty, weight=0.5)
    if penalty == "kl":
        model.encoder = nn.Sequential(*model.encoder, nn.Sigmoid())
    assert_gradients_are_slopes(model, images(2, np.float64))


# --- what it does ---------------------------------------------------------------------------------


def trained(**options: Any) -> SparseAutoencoder:
    sa.manual_seed(0)
    model = build((16, 6), **options)
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    sa.Trainer(model, optimizer).fit(images(64), epochs=40, batch_size=32, progress=False)
    return model


def test_kl_pulls_every_units_mean_to_the_target() -> None:
    codes = trained(target=0.2, weight=1.0).transform(images(64))
    np.testing.assert_allclose(codes.mean(0), 0.2, atol=0.03)
    free = trained(target=0.2, weight=0.0).transform(images(64))
    assert np.abs(free.mean(0) - 0.2).max() > 0.1


def test_l1_makes_codes_small() -> None:
    codes, free = (trained(penalty="l1", weight=w, code_activation=None).transform(images(64)) for w in (0.1, 0.0))
    assert np.abs(codes).mean() < 0.2 * np.abs(free).mean()


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("codes", [[[0.5, 1.01]], [[-0.01, 0.5]]])
def test_codes_that_are_no_probabilities_are_refused_under_kl(codes: Any) -> None:
    x = sa.Tensor(np.array(codes))
    with pytest.raises(ValueError, match=r"range over \[.*\]; end the encoder in a sigmoid, or use penalty='l1'"):
        SparseAutoencoder(nn.Identity(), nn.Identity()).loss(x)
    assert SparseAutoencoder(nn.Identity(), nn.Identity(), penalty="l1", weight=1.0).loss(x).item() > 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("always, nearly", [(0.0, "tiny"), (1.0, "eps")])
def test_a_unit_that_always_is_0_or_1_has_a_large_penalty(always: float, nearly: str, dtype: Any) -> None:
    model = SparseAutoencoder(nn.Identity(), nn.Identity(), target=0.25, weight=1.0)
    assert term(model, np.array([[1.0, 0.5], [0.0, 0.5]])) == pytest.approx(kl_by_hand(np.full((1, 2), 0.5), 0.25))
    rest = kl_by_hand(np.full((1, 1), 0.5), 0.25)
    distance = {"tiny": float(np.finfo(dtype).tiny), "eps": float(np.finfo(dtype).eps) / 2}[nearly]
    rho = 0.25 if always == 0 else 0.75
    wanted = rho * np.log(rho / distance) + (1 - rho) * np.log((1 - rho) / (1 - distance))
    assert term(model, np.array([[always, 0.5]] * 3, dtype)) == pytest.approx(rest + wanted, rel=1e-5)
    x = sa.tensor(np.array([[always, 0.5]] * 3, dtype), requires_grad=True)
    model.loss_terms(x)["sparsity"].backward()
    assert np.isfinite(x.grad).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_one_rounding_outside_are_taken_and_told_apart_from_those_further_away(dtype: Any) -> None:
    model, eps = SparseAutoencoder(nn.Identity(), nn.Identity(), target=0.25, weight=1.0), np.finfo(dtype).eps
    codes = np.array([[1 + eps, -eps], [0.5, 0.5]], dtype)
    assert term(model, codes) == pytest.approx(kl_by_hand(np.array([[0.75, 0.25]]), 0.25), rel=1e-5)
    with pytest.raises(ValueError, match=r"range over \[0.5, 1\.0000\d+\]; end the encoder in a sigmoid"):
        model.loss(sa.Tensor(np.array([[1 + 16 * eps, 0.5]], dtype)))


def test_saturated_codes_do_not_end_the_training() -> None:
    x = (np.random.default_rng(0).random((64, 200)) * 255).astype(np.float32)
    model = SparseAutoencoder.dense((200, 50), loss="mse", output=None)
    history = sa.Trainer(model, optim.Adam(model.parameters())).fit(x, epochs=5, progress=False)
    assert np.isfinite(history["sparsity"]).all() and history["loss"][-1] < history["loss"][0]


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "penalty": ({"penalty": "l2"}, "penalty='l2'; expected 'kl' or 'l1'"),
    "target 0": ({"target": 0.0}, r"target=0.0; expected a mean activation in \(0, 1\)"),
    "target 1": ({"target": 1}, "target=1;"),
    "target nan": ({"target": float("nan")}, "target=nan"),
    "a word": ({"target": "few"}, "target='few'"),
    "target True": ({"target": True}, "target=True"),
    "a huge target": ({"target": 10**400}, "target=1000.*; expected a mean activation"),
    "targets": ({"target": np.ones(2)}, "target=array"),
    "penalties": ({"penalty": ["kl"]}, r"penalty=\['kl'\]; expected 'kl' or 'l1'"),
    "weight below 0": ({"weight": -0.1}, "weight=-0.1; expected a finite number of at least 0"),
    "weight nan": ({"weight": float("nan")}, "weight=nan"),
    "endless weight": ({"weight": float("inf")}, "weight=inf"),
    "no weight": ({"weight": None}, "weight=None"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(case: str) -> None:
    options, message = MISTAKES[case]
    with pytest.raises(ValueError, match=message):
        build(**options)
