"""The variational autoencoder: its two terms, its samples, and its estimate of log p(x) against closed forms."""

from __future__ import annotations

import math
from typing import Any

import naive
import numpy as np
import pytest
from family import SIZES, assert_gradients_are_slopes, conv_vae, images

import scratchae as sa
from scratchae import backend, nn
from scratchae.autoencoders import VariationalAutoencoder
from scratchae.autoencoders.base import LOSSES

X = images(5, np.float64)


def build(sizes: Any = SIZES, **options: Any) -> VariationalAutoencoder:
    return VariationalAutoencoder.dense(sizes, **{"activation": "tanh", **options}).to(np.float64)


def set_heads(model: VariationalAutoencoder, mu: Any, logvar: Any) -> VariationalAutoencoder:
    """Give every input the same posterior."""
    for head, value in ((model.mu, mu), (model.logvar, logvar)):
        head.weight.data[...], head.bias.data[...] = 0, value
    return model


def terms(model: VariationalAutoencoder, x: np.ndarray = X, seed: int = 3) -> dict[str, float]:
    with sa.random.fixed_seed(seed):
        return {name: term.item() for name, term in model.loss_terms(sa.Tensor(x)).items()}


def sampled_code(model: VariationalAutoencoder, x: np.ndarray = X, seed: int = 3) -> np.ndarray:
    """The code that the model draws first under that seed, by the formula."""
    mu, logvar = (t.numpy() for t in model.posterior(sa.Tensor(x)))
    return mu + np.exp(logvar / 2) * np.random.default_rng(seed).standard_normal(mu.shape)


# --- the loss -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mu", [0.0, 0.3, -2.5])
@pytest.mark.parametrize("logvar", [0.0, -4.0, 1.7])
def test_kl_is_the_integral_that_it_stands_for(mu: float, logvar: float) -> None:
    model = set_heads(build((16, 1)), mu, logvar)
    sigma = math.exp(logvar / 2)
    z = mu + sigma * np.linspace(-12, 12, 20001)
    log_q = -((z - mu) ** 2) / (2 * sigma**2) - math.log(sigma)
    log_p = -(z**2) / 2
    q = np.exp(log_q) / math.sqrt(2 * math.pi)
    assert terms(model)["kl"] == pytest.approx(np.trapezoid(q * (log_q - log_p), z), abs=1e-9)


def test_kl_is_summed_over_the_code_averaged_over_samples_and_scaled_by_beta() -> None:
    model = build(beta=2.5)
    mu, logvar = (t.numpy() for t in model.posterior(sa.Tensor(X)))
    kl = ((mu**2 + np.exp(logvar) - 1 - logvar) / 2).sum(1).mean()
    assert terms(model)["kl"] == pytest.approx(2.5 * kl, rel=1e-12)
    plain, none = build(), build(beta=0)
    for other in (plain, none):
        other.load_state_dict(model.state_dict())
    assert terms(plain)["kl"] == pytest.approx(kl, rel=1e-12) and terms(none)["kl"] == 0
    assert terms(plain)["reconstruction"] == terms(none)["reconstruction"] == terms(model)["reconstruction"]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_reconstruction_is_summed_over_features_and_averaged_over_samples(loss: str, training: bool) -> None:
    model = build(loss=loss).train(training)
    flat = X.reshape(5, 16)
    y = model.decode(sa.Tensor(sampled_code(model))).numpy()
    with np.errstate(invalid="ignore"):
        elements = {
            "mse": (y - flat) ** 2,
            "mae": abs(y - flat),
            "bce": -(flat * np.log(y) + (1 - flat) * np.log(1 - y)),
            "bce_logits": np.log1p(np.exp(y)) - flat * y,
            "cb": naive.continuous_bernoulli(y, flat),
        }[loss]
    wanted = elements.sum(1).mean()
    for x in (X, flat):
        assert terms(model, x)["reconstruction"] == pytest.approx(wanted, rel=1e-12)
    assert list(terms(model)) == ["reconstruction", "kl"]
    assert terms(model, seed=4)["reconstruction"] != terms(model)["reconstruction"]  # a sample in either mode
    with sa.random.fixed_seed(3):
        assert model.loss(sa.Tensor(X)).item() == pytest.approx(sum(terms(model).values()), rel=1e-14)


def test_a_clean_target_is_what_is_compared_with() -> None:
    model = build(loss="mse")
    y = model.decode(sa.Tensor(sampled_code(model))).numpy()
    with sa.random.fixed_seed(3):
        found = model.loss_terms(sa.Tensor(X), sa.Tensor(X**2))
    assert found["reconstruction"].item() == pytest.approx(((y - X.reshape(5, 16) ** 2) ** 2).sum(1).mean(), rel=1e-12)
    assert found["kl"].item() == terms(model)["kl"]


# --- the code -------------------------------------------------------------------------------------


def test_reparameterised_samples_have_the_posteriors_mean_and_variance() -> None:
    mu, logvar, n = np.array([1.5, -0.5, 0.0]), np.array([-2.0, 0.0, 1.0]), 40_000
    model = build()
    leaves = [sa.tensor(np.broadcast_to(a, (n, 3)).copy(), requires_grad=True) for a in (mu, logvar)]
    z = model.reparameterise(*leaves)
    sigma = np.exp(logvar / 2)
    assert (abs(z.numpy().mean(0) - mu) < 5 * sigma / math.sqrt(n)).all()
    assert (abs(z.numpy().var(0) / sigma**2 - 1) < 5 * math.sqrt(2 / n)).all()
    z.sum().backward()
    np.testing.assert_array_equal(leaves[0].grad, np.ones((n, 3)))
    np.testing.assert_allclose(leaves[1].grad, (z.numpy() - mu) / 2, rtol=1e-9, atol=1e-12)


def test_forward_samples_in_train_mode_and_decodes_the_mean_in_eval_mode() -> None:
    model, x = build(), sa.Tensor(X)
    with sa.random.fixed_seed(3):
        y = model(x)
    assert y.shape == X.shape
    np.testing.assert_allclose(y.numpy().reshape(5, 16), model.decode(sa.Tensor(sampled_code(model))).numpy(), 1e-12)
    mean = model.decode(model.posterior(x)[0]).numpy().reshape(X.shape)
    state = sa.random.generator().bit_generator.state
    np.testing.assert_array_equal(model.eval()(x).numpy(), mean)
    np.testing.assert_array_equal(model.encode(x).numpy(), model.posterior(x)[0].numpy())
    np.testing.assert_allclose(model.train().reconstruct(X), mean, rtol=1e-12)
    np.testing.assert_allclose(model.transform(X), model.posterior(x)[0].numpy(), rtol=1e-12)
    assert sa.random.generator().bit_generator.state == state


def test_dense_ends_the_encoder_in_features_and_adds_two_heads() -> None:
    model = VariationalAutoencoder.dense((16, 8, 5, 3))
    assert [type(layer) for layer in model.encoder] == [nn.Flatten, nn.Linear, nn.ReLU, nn.Linear, nn.ReLU]
    assert [type(layer) for layer in model.decoder] == [
        nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear, nn.Sigmoid,
    ]  # fmt: skip
    sizes = [(16, 8), (8, 5), (5, 3), (5, 3), (3, 5), (5, 8), (8, 16)]
    assert model.count_parameters() == sum(a * b + b for a, b in sizes)
    assert (model.code_size, model.beta) == (3, 1.0) and len(VariationalAutoencoder.dense((16, 2)).encoder) == 1
    logits = VariationalAutoencoder.dense((16, 2), loss="bce_logits", code_activation="default")
    assert [type(layer) for layer in logits.decoder] == [nn.Linear]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_gradients_of_all_parameters_are_the_slopes(loss: str, beta: float) -> None:
    x = X[:3, :, :2, :2]
    assert_gradients_are_slopes(build((4, 3, 2), loss=loss, beta=beta), x)
    assert_gradients_are_slopes(build((4, 2), loss=loss, beta=beta), x)


@pytest.mark.parametrize("activation", ["relu", "gelu", "softplus", "sigmoid", None])
def test_gradients_of_deep_models(activation: str | None) -> None:
    assert_gradients_are_slopes(build((4, 3, 3, 2), activation=activation), X[:3, :, :2, :2])


@pytest.mark.parametrize("down", ["pool", "stride"])
def test_gradients_of_convolutional_halves(down: str) -> None:
    assert_gradients_are_slopes(conv_vae(down, (1, 1, 2)), X[:2])


# --- new inputs -----------------------------------------------------------------------------------


def test_sample_decodes_draws_from_the_prior() -> None:
    model = build()
    with sa.random.fixed_seed(4):
        found = model.sample(6)
    z = np.random.default_rng(4).standard_normal((6, 3))
    np.testing.assert_allclose(found, model.inverse_transform(z), rtol=1e-12)
    assert found.shape == (6, 16) and conv_vae().sample(2).shape == (2, 1, 4, 4)
    sa.manual_seed(1)
    first = model.sample(2)
    assert not np.array_equal(model.sample(2), first)
    sa.manual_seed(1)
    np.testing.assert_array_equal(model.sample(2), first)


def test_the_manifold_runs_from_left_to_right_and_from_the_top_down() -> None:
    model = VariationalAutoencoder(nn.Identity(), nn.Identity(), code_size=2, feature_size=2)  # shows the code itself
    grid = model.manifold(3, low=-1.0, high=2.0).reshape(3, 3, 2)
    np.testing.assert_array_equal(grid[:, :, 0], [[-1, 0.5, 2]] * 3)
    np.testing.assert_array_equal(grid[:, :, 1], np.transpose([[2, 0.5, -1]] * 3))
    assert model.manifold().shape == (400, 2) and abs(model.manifold()).max() == 2
    assert conv_vae().manifold(3).shape == (9, 1, 4, 4) and model.manifold(1).shape == (1, 2)


@pytest.mark.parametrize("images_or_flat", [X, X.reshape(5, 16)], ids=["images", "flat"])
def test_interpolation_is_a_straight_line_of_codes_with_both_ends(images_or_flat: np.ndarray) -> None:
    model, (a, b) = build(), images_or_flat[:2]
    found = model.interpolate(a, b, steps=5)
    start, end = model.transform(images_or_flat[:2])
    codes = [start + t * (end - start) for t in (0, 0.25, 0.5, 0.75, 1)]
    np.testing.assert_allclose(found, model.inverse_transform(np.array(codes)), rtol=1e-12)
    np.testing.assert_allclose(found[[0, -1]], model.reconstruct(images_or_flat[:2]).reshape(2, 16), rtol=1e-12)
    np.testing.assert_array_equal(model.interpolate(a[None], b[None], steps=5), found)
    assert len(model.interpolate(a, b)) == 10
    if a.ndim == 3:
        assert conv_vae().to(np.float64).interpolate(a, b[None], steps=3).shape == (3, 1, 4, 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_everything_keeps_the_models_dtype(dtype: Any) -> None:
    model, x = VariationalAutoencoder.dense((16, 5, 2)).to(dtype), X.astype(dtype)
    made = [model.sample(2), model.manifold(2), model.interpolate(x[0], x[1], 3), model.log_likelihood(x, 3)]
    made += [model.reconstruct(x), model.transform(x), model.loss(sa.Tensor(x)).numpy()]
    assert {a.dtype for a in made} == {np.dtype(dtype)} and all(type(a) is np.ndarray for a in made)


def test_everything_works_on_every_device(device: str) -> None:
    x = X.astype(np.float32)
    model = conv_vae()
    ends = model.interpolate(x[0], x[1], 2)
    there = backend.to_device(x, device)
    model.to(device)
    np.testing.assert_allclose(model.interpolate(there[0], there[1], 2), ends, rtol=1e-5)
    assert model.sample(2).shape == (2, 1, 4, 4) and model.manifold(2).shape == (4, 1, 4, 4)
    assert model.log_likelihood(there, 3).shape == (5,) and np.isfinite(model.log_likelihood(x, 3)).all()


# --- log p(x) -------------------------------------------------------------------------------------


def gaussian_model(rng: np.random.Generator, exact: bool) -> tuple[VariationalAutoencoder, np.ndarray, np.ndarray]:
    """x = W z + b + e with e of variance 1/2: p(x) is normal. Returns the model and p's mean and covariance.

    The columns of W are orthogonal, so that the posterior has a diagonal covariance and the encoder can be exact.
    """
    w = np.linalg.qr(rng.standard_normal((6, 2)))[0] * [1.5, 0.6]
    b = rng.standard_normal(6)
    model = VariationalAutoencoder(nn.Identity(), nn.Linear(2, 6), code_size=2, feature_size=6, loss="mse")
    model.to(np.float64)
    model.decoder.weight.data[...], model.decoder.bias.data[...] = w, b
    precision = 1 + 2 * np.diag(w.T @ w)  # of the posterior; its mean is 2 W^T (x - b) / precision
    model.mu.weight.data[...] = 2 * w.T / precision[:, None]
    model.mu.bias.data[...] = -model.mu.weight.data @ b
    model.logvar.weight.data[...], model.logvar.bias.data[...] = 0, -np.log(precision)
    if not exact:
        model.mu.weight.data[...] *= 0.8
        model.mu.bias.data[...] *= 0.8
        model.logvar.bias.data[...] += 0.8
    return model, b, w @ w.T + np.eye(6) / 2


def log_normal(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    squares = ((x - mean) @ np.linalg.inv(covariance) * (x - mean)).sum(1)
    return -0.5 * (squares + np.linalg.slogdet(2 * np.pi * covariance)[1])


def test_log_likelihood_is_exact_from_one_sample_of_the_exact_posterior(rng: np.random.Generator) -> None:
    model, mean, covariance = gaussian_model(rng, exact=True)
    x = rng.multivariate_normal(mean, covariance, 20)
    for batch_size in (3, 1000):
        found = model.log_likelihood(x, samples=1, batch_size=batch_size)
        np.testing.assert_allclose(found, log_normal(x, mean, covariance), rtol=0, atol=1e-10)
    single = model.to(np.float32).log_likelihood(x.astype(np.float32), samples=1)
    np.testing.assert_allclose(single, log_normal(x, mean, covariance), rtol=0, atol=1e-5)
    model.to(np.float64)
    bound = -model.loss(sa.Tensor(x)).item() - 3 * math.log(math.pi)  # 6 features of 0.5 log pi each
    assert bound == pytest.approx(log_normal(x, mean, covariance).mean(), abs=0.5)


def test_log_likelihood_rises_to_the_true_value_with_the_samples(rng: np.random.Generator) -> None:
    model, mean, covariance = gaussian_model(rng, exact=False)
    x = rng.multivariate_normal(mean, covariance, 400)
    means = [model.log_likelihood(x, samples).mean() for samples in (1, 5, 25, 300)]
    assert means[0] < means[1] < means[2] < means[3]
    true = log_normal(x, mean, covariance)
    assert means[0] < true.mean() - 0.2 and means[3] == pytest.approx(true.mean(), abs=0.02)
    np.testing.assert_allclose(model.log_likelihood(x[:20], 2000), true[:20], rtol=0, atol=0.25)


def test_one_sample_of_log_likelihood_is_the_bound_that_the_loss_negates(rng: np.random.Generator) -> None:
    model, mean, covariance = gaussian_model(rng, exact=False)
    x = np.repeat(rng.multivariate_normal(mean, covariance, 1), 20_000, axis=0)
    estimates = model.log_likelihood(x, samples=1)
    losses = model.loss(sa.Tensor(x)).item() + 3 * math.log(math.pi)
    assert estimates.mean() == pytest.approx(-losses, abs=6 * estimates.std() / math.sqrt(20_000))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("posterior", ["the prior", "another"])
def test_log_likelihood_under_every_loss_where_the_decoder_ignores_the_code(loss: str, posterior: str) -> None:
    model = set_heads(build((16, 2), loss=loss), *((0, 0) if posterior == "the prior" else (0.3, -0.2)))
    model.decoder[0].weight.data[...] = 0
    y, x = model.decode(sa.Tensor(np.zeros((1, 2)))).numpy(), X.reshape(5, 16)
    p = 1 / (1 + np.exp(-y)) if loss == "bce_logits" else y
    bernoulli = x * np.log(p) + (1 - x) * np.log(1 - p)
    log_p = {
        "mse": -((x - y) ** 2) - math.log(math.pi) / 2, "mae": -abs(x - y) - math.log(2),
        "cb": -naive.continuous_bernoulli(p, x),
    }.get(loss, bernoulli)  # fmt: skip
    if posterior == "the prior":
        np.testing.assert_allclose(model.log_likelihood(X, samples=1), log_p.sum(1), rtol=1e-12)
    else:
        np.testing.assert_allclose(model.log_likelihood(X, samples=400), log_p.sum(1), rtol=0, atol=0.1)


def test_log_likelihood_follows_the_seed_and_is_taken_in_eval_mode() -> None:
    model = build()
    model.encoder = nn.Sequential(*model.encoder, nn.Dropout(0.9))
    found = []
    for _ in range(2):
        sa.manual_seed(3)
        found.append(model.log_likelihood(X, 4))
    np.testing.assert_array_equal(*found)
    sa.manual_seed(3)
    np.testing.assert_array_equal(model.eval().log_likelihood(X, 4), found[0])
    assert found[0].shape == (5,) and not np.array_equal(model.log_likelihood(X, 4), found[0])


# --- mistakes -------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[Any, str]] = {
    "an activation of the code": (lambda: build(code_activation="tanh"), "code_activation='tanh': the code of a VAE"),
    "code size 0": (
        lambda: VariationalAutoencoder(nn.Identity(), nn.Identity(), code_size=0, feature_size=4), r"\(4, 0\)",
    ),
    "no features": (
        lambda: VariationalAutoencoder(nn.Identity(), nn.Identity(), code_size=2, feature_size=0), r"\(0, 2\)",
    ),
    "other features": (lambda: conv_vae(feature_size=7).transform(X.astype(np.float32)), r"Linear\(7, 2\).*\(5, 3\)"),
    "beta below 0": (lambda: build(beta=-1), "beta=-1; expected a finite number of at least 0"),
    "beta nan": (lambda: build(beta=math.nan), "beta=nan"),
    "no samples": (lambda: build().sample(0), r"n=0; expected an integer of at least 1"),
    "no map": (lambda: build((16, 2)).manifold(0), "n=0"),
    "a map of three": (lambda: build().manifold(), "codes of size 2, this model has 3; see interpolate"),
    "one step": (lambda: build().interpolate(X[0], X[1], 1), "steps=1; expected an integer of at least 2"),
    "unlike ends": (lambda: build().interpolate(X[0], X[1, 0]), r"\(1, 4, 4\) and \(4, 4\); they must be equal"),
    "no estimates": (lambda: build().log_likelihood(X, 0), "samples=0; expected an integer of at least 1"),
    "no probability": (
        lambda: build(loss=lambda y, x: abs(y - x).max()).log_likelihood(X), r"log-probability: one of \['bce'",
    ),
    "nothing": (lambda: build().log_likelihood(X[:0]), "empty array"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(case: str) -> None:
    call, message = MISTAKES[case]
    with pytest.raises(ValueError, match=message):
        call()
