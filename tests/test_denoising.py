"""The denoising autoencoder: what it damages, when, and by how much."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from family import SIZES, assert_gradients_are_slopes, conv_kind, images

import scratchae as sa
from scratchae import optim
from scratchae.autoencoders import Autoencoder, DenoisingAutoencoder
from scratchae.data import noise

X = images()
NAMED: dict[str, Callable[..., np.ndarray]] = {
    "gaussian": noise.gaussian,
    "masking": noise.masking,
    "salt_and_pepper": noise.salt_and_pepper,
}


def build(corruption: Any = "gaussian", loss: str = "bce", **options: Any) -> DenoisingAutoencoder:
    return DenoisingAutoencoder.dense(SIZES, activation="tanh", loss=loss, corruption=corruption, **options)


def plain(model: Any) -> Autoencoder:
    twin = Autoencoder(model.encoder, model.decoder)
    twin._distance = model._distance
    return twin


def never(x: np.ndarray) -> np.ndarray:
    raise AssertionError("nothing should be damaged here")


# --- the loss -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("training", [True, False])
def test_the_loss_compares_what_comes_of_a_damaged_copy_with_the_clean_input(name: str, training: bool) -> None:
    model, kept = build(name, amount=0.4).to(np.float64).train(training), images(dtype=np.float64)
    x = kept.copy()
    with sa.random.fixed_seed(2):
        loss = model.loss(sa.Tensor(x)).item()
    with sa.random.fixed_seed(2):
        damaged = NAMED[name](kept, 0.4, sa.random.generator())
    assert loss == plain(model).loss(sa.Tensor(damaged), sa.Tensor(kept)).item()
    assert loss != plain(model).loss(sa.Tensor(kept)).item()
    np.testing.assert_array_equal(x, kept)


def test_a_noisy_and_a_clean_image_are_taken_as_they_are() -> None:
    model, noisy, clean = build(never), sa.Tensor(X), sa.Tensor(images(seed=2))
    assert model.loss(noisy, clean).item() == plain(model).loss(noisy, clean).item()
    terms = model.loss_terms(noisy, target=clean)
    assert list(terms) == ["reconstruction"] and terms["reconstruction"].item() == model.loss(noisy, clean).item()
    history = sa.Trainer(model, optim.SGD(model.parameters(), lr=0.0)).fit((X, X**2), (X, X**2), progress=False)
    assert history["loss"][0] == pytest.approx(plain(model).loss(noisy, sa.Tensor(X**2)).item(), rel=1e-6)


def test_nothing_but_the_loss_damages_anything() -> None:
    model, x = build(never), sa.Tensor(X)
    undamaged = plain(model)
    for training in (True, False):
        model.train(training)
        np.testing.assert_array_equal(model(x).numpy(), undamaged(x).numpy())
        np.testing.assert_array_equal(model.encode(x).numpy(), undamaged.encode(x).numpy())
        for method in ("reconstruct", "transform", "reconstruction_error"):
            np.testing.assert_array_equal(getattr(model, method)(X), getattr(undamaged, method)(X))
    with pytest.raises(AssertionError, match="nothing should be damaged"):
        model.loss(x)


@pytest.mark.parametrize("training", [True, False])
def test_a_function_of_ones_own(training: bool) -> None:
    model = build(lambda x: x / 2).train(training)
    assert model.amount is None
    assert model.loss(sa.Tensor(X)).item() == plain(model).loss(sa.Tensor(X / 2), sa.Tensor(X)).item()
    np.testing.assert_array_equal(model.corrupt(X), X / 2)
    with pytest.raises(ValueError, match=r"made shape \(7, 1, 4\) of \(7, 1, 4, 4\); it must keep the shape"):
        build(lambda x: x[..., 0]).loss(sa.Tensor(X))


@pytest.mark.parametrize(
    "corruption",
    [
        lambda x: x.astype(np.float64) / 2,
        lambda x: sa.Tensor(x / 2),
        lambda x: np.multiply(x, 0.5, out=x),  # in place
        lambda x: (x * 0.5).T.copy().T,  # another layout
    ],
    ids=["float64", "Tensor", "in place", "layout"],
)
def test_what_a_function_returns_becomes_an_array_like_the_input(corruption: Any) -> None:
    model, x = build(corruption), X.copy()
    damaged = model.corrupt(x)
    assert type(damaged) is np.ndarray and damaged.dtype == X.dtype
    np.testing.assert_array_equal(damaged, X / 2)
    assert model.loss(sa.Tensor(x)).item() == plain(model).loss(sa.Tensor(X / 2), sa.Tensor(X)).item()
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize("corruption", [lambda x: None, lambda x: x.tolist(), lambda x: x * 1j, np.ma.masked_array])
def test_a_function_that_returns_no_array_of_numbers_is_refused(corruption: Any) -> None:
    with pytest.raises(TypeError, match="what the corruption returns is"):
        build(corruption).loss(sa.Tensor(X))


def test_a_function_that_makes_nan_ends_training_before_the_weights_change() -> None:
    model = build(lambda x: x * np.nan)
    before = {name: value.copy() for name, value in model.state_dict().items()}
    with pytest.raises(FloatingPointError, match="step 1"):
        sa.Trainer(model, optim.SGD(model.parameters(), lr=0.1)).fit(X, progress=False)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_data_beyond_zero_and_one_are_trained_without_clipping() -> None:
    x = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
    options: dict[str, Any] = {"loss": "mse", "output": None, "amount": 0.1}
    clipping = DenoisingAutoencoder.dense((8, 4, 2), **options)
    with pytest.raises(ValueError, match=r"gaussian noise got x in \[.*\]; .* or pass clip=False"):
        clipping.loss(sa.Tensor(x))
    model = DenoisingAutoencoder.dense((8, 4, 2), **options, clip=False)
    damaged = model.corrupt(x)
    assert (damaged - x).std() == pytest.approx(0.1, rel=0.1) and damaged.min() < -1 and damaged.max() > 1
    history = sa.Trainer(model, optim.Adam(model.parameters(), lr=0.01)).fit(x, epochs=5, progress=False)
    assert history["loss"][-1] < history["loss"][0]
    assert clipping.clip and not model.clip


@pytest.mark.parametrize("name", NAMED)
def test_no_noise_leaves_the_plain_autoencoder(name: str) -> None:
    model = build(name, amount=0)
    assert model.loss(sa.Tensor(X)).item() == plain(model).loss(sa.Tensor(X)).item()


# --- the damage -----------------------------------------------------------------------------------


def test_the_amount_is_the_gaussians_standard_deviation_and_the_others_share_of_pixels() -> None:
    grey = np.full((50, 1, 20, 20), 0.5, np.float32)  # 20,000 pixels: a share of 0.3 has a standard error of 0.0032
    damaged = {name: build(name, amount=0.3).corrupt(grey) for name in NAMED}
    assert (damaged["masking"] == 0).mean() == pytest.approx(0.3, abs=0.015)
    assert set(np.unique(damaged["masking"])) == {0, 0.5}
    for value in (0, 1):
        assert (damaged["salt_and_pepper"] == value).mean() == pytest.approx(0.15, abs=0.012)
    assert set(np.unique(damaged["salt_and_pepper"])) == {0, 0.5, 1}
    assert damaged["gaussian"].min() == 0 and damaged["gaussian"].max() == 1  # clipped
    little = build(amount=0.05).corrupt(grey)
    assert little.std() == pytest.approx(0.05, rel=0.03) and little.mean() == pytest.approx(0.5, abs=0.002)
    assert all(a.dtype == np.float32 and a.shape == grey.shape for a in damaged.values())
    assert (grey == 0.5).all()


def test_noise_follows_the_seed_and_differs_from_call_to_call() -> None:
    model = build("masking")
    assert model.amount == 0.3
    first, second = model.corrupt(X), model.corrupt(X)
    sa.manual_seed(0)
    again = build("masking").corrupt(X), model.corrupt(X)
    sa.manual_seed(4)
    start = model.corrupt(X)
    sa.manual_seed(4)
    np.testing.assert_array_equal(model.corrupt(X), start)
    assert not np.array_equal(first, second) and not np.array_equal(*again)


def test_validation_meets_the_same_noise_each_time_and_draws_none_of_the_training() -> None:
    model = build("salt_and_pepper")
    trainer = sa.Trainer(model, optim.SGD(model.parameters(), lr=0.0))
    state = sa.random.generator().bit_generator.state
    first = trainer.evaluate(X)
    assert trainer.evaluate(X) == first and sa.random.generator().bit_generator.state == state
    still = trainer.fit(X, validation=X, epochs=3, progress=False)
    assert len(set(still["val_loss"])) == 1 and len(set(still["loss"])) == 3


@pytest.mark.parametrize("name", [*NAMED, "function"])
def test_the_damage_is_done_where_the_data_is(name: str, device: str) -> None:
    model = build((lambda x: x * 0.5) if name == "function" else name).to(device)
    x = sa.tensor(X, device=device)
    damaged = model.corrupt(x.data)
    assert type(damaged) is type(x.data) and (damaged.shape, damaged.dtype) == (X.shape, X.dtype)
    loss = model.loss(x)
    loss.backward()
    assert loss.device == x.device and 0 < loss.item() < 10
    assert all(type(p.grad) is type(x.data) for p in model.parameters())


# --- learning -------------------------------------------------------------------------------------


def test_it_learns_to_take_noise_away() -> None:
    rng = np.random.default_rng(0)
    ways = rng.standard_normal((2, 16)).astype(np.float32)
    clean, unseen = (1 / (1 + np.exp(-rng.standard_normal((n, 2)).astype(np.float32) @ ways)) for n in (400, 200))
    model = build(amount=0.2, loss="mse")
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    sa.Trainer(model, optimizer).fit(clean, epochs=25, batch_size=32, progress=False)
    noisy = model.corrupt(unseen)
    left = ((model.reconstruct(noisy) - unseen) ** 2).mean() / ((noisy - unseen) ** 2).mean()
    assert left < 0.6


@pytest.mark.parametrize("corruption", [*NAMED, lambda x: x**2])
@pytest.mark.parametrize("loss", ["mse", "mae", "bce", "bce_logits", "cb"])
def test_gradients_of_all_parameters_are_the_slopes(corruption: Any, loss: str) -> None:
    model = DenoisingAutoencoder.dense((4, 3, 2), "gelu", corruption=corruption, loss=loss)
    assert_gradients_are_slopes(model, images(3, np.float64)[..., :2, :2])


@pytest.mark.parametrize("down", ["pool", "stride"])
def test_gradients_on_convolutional_halves(down: str) -> None:
    assert_gradients_are_slopes(conv_kind(down=down, channels=(1, 2), corruption="masking"), images(2, np.float64))


# --- mistakes -------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"corruption": "snow"}, r"corruption='snow'; expected a function or one of \['gaussian', 'masking'"),
    "no corruption": ({"corruption": None}, "corruption=None"),
    "amount beside a function": ({"corruption": np.sqrt, "amount": 0.1}, "amount=0.1 beside a corruption function"),
    "less than none": ({"amount": -0.1}, "amount=-0.1; expected a finite number of at least 0"),
    "endless noise": ({"amount": float("inf")}, "amount=inf"),
    "more than all": ({"corruption": "masking", "amount": 1.1}, r"amount=1.1; expected a number in \[0, 1\]"),
    "more than all again": ({"corruption": "salt_and_pepper", "amount": 2}, r"amount=2; expected a number in \[0, 1\]"),
    "nan": ({"corruption": "masking", "amount": float("nan")}, "amount=nan"),
    "a word": ({"amount": "much"}, "amount='much'"),
    "a truth": ({"amount": True}, "amount=True; expected a finite number"),
    "beyond all numbers": ({"amount": 10**400}, "amount=1000"),
    "a list of names": ({"corruption": ["gaussian"]}, r"corruption=\['gaussian'\]; expected a function or one of"),
    "clip beside another": ({"corruption": "masking", "clip": False}, "clip=False beside corruption='masking'"),
    "clip beside a function": ({"corruption": np.sqrt, "clip": False}, "clip=False beside corruption=<ufunc 'sqrt'>"),
    "clip is no number": ({"clip": 0}, "clip=0; expected True or False"),
    "clip is no word": ({"clip": "no"}, "clip='no'; expected True or False"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(case: str) -> None:
    options, message = MISTAKES[case]
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_integers_are_refused_with_advice() -> None:
    with pytest.raises(TypeError, match=r"gaussian noise got uint8.*\.astype"):
        build().loss(sa.Tensor((X * 255).astype(np.uint8)))
    assert build(amount=2.5).amount == 2.5 and build("masking", amount=1).amount == 1  # the ends of the ranges
