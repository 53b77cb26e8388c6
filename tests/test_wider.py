"""The wider family: closed forms of its losses, the derivatives, and what wrong options say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from family import SIZES, bits, images

import scratchae as sa
from scratchae import autoencoders as ae
from scratchae import functional as F
from scratchae import nn, optim
from scratchae.autoencoders.adversarial import AdversarialAutoencoder
from scratchae.autoencoders.codebook import Codebook
from scratchae.autoencoders.conditional import Conditional
from scratchae.autoencoders.labels import LabelBias
from scratchae.autoencoders.total_correlation import kl_parts
from scratchae.autoencoders.wasserstein import mmd

X = images(8, np.float64)
rng = np.random.default_rng(0)


def fitted(model: Any, data: Any, epochs: int = 3, **options: Any) -> Any:
    history = sa.Trainer(model, optim.Adam(model.parameters(), lr=1e-2)).fit(
        data, epochs=epochs, batch_size=8, progress=False, **options
    )
    assert np.isfinite(history["loss"]).all()
    return history


# --- importance weighting -------------------------------------------------------------------------


def test_one_weight_is_the_elbo_and_more_are_tighter() -> None:
    model = ae.ImportanceWeightedAutoencoder.dense(SIZES, samples=1).to(np.float64)
    x = sa.Tensor(np.repeat(X, 500, axis=0))

    def bound(samples: int) -> float:
        model.samples = samples
        with sa.random.fixed_seed(0), sa.no_grad():
            return model.loss(x).item()

    plain = ae.VariationalAutoencoder(model.encoder, model.decoder, "bce", code_size=3, feature_size=5).to(np.float64)
    plain.load_state_dict(model.state_dict())
    with sa.random.fixed_seed(0), sa.no_grad():
        elbo = plain.loss(x).item()
    assert bound(1) == pytest.approx(elbo, abs=0.05)  # both estimate the same mean over 4,000 draws
    assert bound(50) < bound(5) < bound(1)


def test_importance_weights_of_a_linear_model_give_the_exact_likelihood() -> None:
    # p(x | z) = N(x; z, 1/2), p(z) = N(0, 1): p(x) = N(0, 3/2), and the posterior is N(2 x / 3, 1/3)
    sizes = {"code_size": 1, "feature_size": 1}
    model = ae.ImportanceWeightedAutoencoder(nn.Identity(), nn.Identity(), "mse", samples=1, **sizes)
    model.to(np.float64)
    for head, weight, bias in ((model.mu, 2 / 3, 0.0), (model.logvar, 0.0, math.log(1 / 3))):
        head.weight.data[...], head.bias.data[...] = weight, bias
    x = np.array([[-1.0], [0.0], [2.0]])
    exact = 0.5 * math.log(2 * math.pi * 1.5) + float(np.mean(x**2)) / 3
    assert model.loss(sa.Tensor(x)).item() == pytest.approx(exact, rel=1e-12)  # each weight is p(x) itself


# --- total correlation ----------------------------------------------------------------------------


def test_the_parts_sum_to_the_sampled_kl() -> None:
    mu, logvar, noise = (sa.Tensor(rng.standard_normal((6, 3))) for _ in range(3))
    z = mu + F.exp(0.5 * logvar) * noise
    by_hand = 0.5 * (z.data**2 - noise.data**2 - logvar.data).sum(axis=1).mean()
    assert sum(part.item() for part in kl_parts(z, mu, logvar, 50)) == pytest.approx(by_hand, rel=1e-12)


def test_the_total_correlation_of_a_known_gaussian() -> None:
    n, r, spread = 2000, 0.8, 0.5  # codes N(0, C) with correlation r, and posteriors of variance spread^2
    factor = np.linalg.cholesky(np.array([[1, r], [r, 1]]))
    mu = rng.standard_normal((n, 2)) @ factor.T
    z = mu + spread * rng.standard_normal((n, 2))
    logvar = np.full((n, 2), 2 * math.log(spread))
    information, correlation, dimensions = (p.item() for p in kl_parts(*map(sa.Tensor, (z, mu, logvar)), n))
    variance = 1 + spread**2
    assert correlation == pytest.approx(-0.5 * math.log(1 - (r / variance) ** 2), abs=0.02)
    assert dimensions == pytest.approx(variance - 1 - math.log(variance), abs=0.05)
    joint = np.array([[variance, r], [r, variance]])
    exact = 0.5 * math.log(np.linalg.det(joint)) - 2 * math.log(spread)
    assert information == pytest.approx(exact, abs=0.05)


def test_the_terms_with_all_weights_one_are_a_vae() -> None:
    model = ae.TotalCorrelationAutoencoder.dense(SIZES, beta=1.0).to(np.float64)
    x = sa.Tensor(np.repeat(X, 20, axis=0))
    terms = model.loss_terms(x)
    mu, logvar = model.posterior(x)
    kl = F.gaussian_kl(mu, logvar, reduction="sum").item() / len(x)
    parts = sum(v.item() for name, v in terms.items() if name != "reconstruction")
    assert parts == pytest.approx(kl, abs=0.3)


# --- maximum mean discrepancy ---------------------------------------------------------------------


def expected_rbf(c: float, variance: float, shift: float) -> float:
    """E exp(-(x - y)^2 / c) where x - y is N(shift, variance)."""
    return math.sqrt(c / (c + 2 * variance)) * math.exp(-(shift**2) / (c + 2 * variance))


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_mmd_of_two_gaussians(kernel: str) -> None:
    n, spread, shift = 4000, 0.5, 1.5
    x, y = rng.standard_normal((n, 1)), shift + spread * rng.standard_normal((n, 1))
    c = 2.0

    def expected(variance: float, shift: float) -> float:
        if kernel == "rbf":
            return expected_rbf(c, variance, shift)
        t = (np.arange(200_000) + 0.5) * 1e-4  # c / (c + r^2) is the integral of exp(-t (1 + r^2 / c)) over t > 0
        over = [math.exp(-s) * expected_rbf(c / s, variance, shift) for s in t[::10]]
        return float(np.sum(over) * 1e-3)

    exact = expected(2, 0) + expected(2 * spread**2, 0) - 2 * expected(1 + spread**2, shift)
    assert mmd(sa.Tensor(x), sa.Tensor(y), kernel, scales=(1.0,)).item() == pytest.approx(exact, abs=0.02)
    same = mmd(sa.Tensor(x[: n // 2]), sa.Tensor(x[n // 2 :]), kernel).item()
    assert abs(same) < 0.005


def test_mmd_without_the_pairs_of_a_point_with_itself() -> None:
    x, y = rng.standard_normal((4, 2)), rng.standard_normal((5, 2))

    def k(a: Any, b: Any) -> float:
        return float(np.exp(-((a - b) ** 2).sum() / 4))

    within = [np.mean([k(p, q) for i, p in enumerate(a) for j, q in enumerate(a) if i != j]) for a in (x, y)]
    between = np.mean([k(p, q) for p in x for q in y])
    assert mmd(sa.Tensor(x), sa.Tensor(y), "rbf", (1.0,)).item() == pytest.approx(sum(within) - 2 * between, rel=1e-12)


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_both_derivatives_of_mmd(kernel: str) -> None:
    x, y = (sa.Tensor(rng.standard_normal((4, 2)), requires_grad=True) for _ in range(2))
    assert sa.gradcheck(lambda a, b: mmd(a, b, kernel), [x, y])
    assert sa.gradgradcheck(lambda a, b: mmd(a, b, kernel), [x, y])


# --- adversarial ----------------------------------------------------------------------------------


def test_each_network_gets_its_own_gradient() -> None:
    model = AdversarialAutoencoder.dense(SIZES, "tanh", weight=0.5).to(np.float64)
    x = sa.Tensor(X)

    def terms() -> dict[str, Any]:
        with sa.random.fixed_seed(3):
            return model.loss_terms(x)

    model.loss(x)  # draws noise; the next draws are seeded
    sum(terms().values()).backward()
    judging = {id(p) for p in model.discriminator.parameters()}
    assert {id(p) for p in model.halves()} == {id(p) for p in model.parameters()} - judging
    for name, p in model.named_parameters():
        seen_by = ("discriminator",) if id(p) in judging else ("reconstruction", "adversarial")
        index = tuple(rng.integers(s) for s in p.shape)
        old, values = p.data[index], []
        for step in (1e-6, -1e-6):
            p.data[index] = old + step
            p.changed()
            with sa.no_grad():
                values.append(sum(terms()[n].item() for n in seen_by))
        p.data[index] = old
        p.changed()
        assert p.grad is not None
        assert p.grad[index] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-9), name


def test_two_groups_are_two_optimisers() -> None:
    sa.manual_seed(0)
    model = ae.AdversarialAutoencoder.dense(SIZES)
    groups = [{"params": model.halves()}, {"params": model.discriminator.parameters(), "lr": 0.0}]
    before = [p.data.copy() for p in model.discriminator.parameters()]
    history = sa.Trainer(model, optim.Adam(groups, lr=1e-2)).fit(
        images(64), validation=images(16), epochs=2, progress=False
    )
    assert all(np.array_equal(p.data, b) for p, b in zip(model.discriminator.parameters(), before, strict=True))
    assert {"adversarial", "val_discriminator"} <= set(history)


def test_the_codes_become_normal() -> None:
    x = np.random.default_rng(1).random((512, 4)).astype(np.float32) ** 3
    for kind, options in ((ae.AdversarialAutoencoder, {"weight": 1.0}), (ae.WassersteinAutoencoder, {"weight": 10.0})):
        sa.manual_seed(0)
        model = kind.dense((4, 32, 2), "relu", None, "mse", **options)
        fitted(model, x * 3, 40)
        codes = model.transform(x * 3)
        assert abs(codes.mean(axis=0)).max() < 0.4 and np.all(abs(codes.std(axis=0) - 1) < 0.4)
        assert model.sample(5).shape == (5, 4)


@pytest.mark.parametrize("kind", [ae.WassersteinAutoencoder, ae.AdversarialAutoencoder])
def test_samples_have_the_dtype_of_the_model(kind: Any) -> None:
    model = kind.dense(SIZES)
    assert model.sample(3).dtype == np.float32
    drawn = model.to(np.float64).sample(3)
    assert drawn.dtype == np.float64 and np.isfinite(drawn).all()


# --- regularised ----------------------------------------------------------------------------------


def test_the_gradient_penalty_is_the_squared_jacobian() -> None:
    weight = rng.standard_normal((4, 2))
    decoder = nn.Linear(2, 4).to(np.float64)
    decoder.weight.data[...] = weight
    options: dict[str, Any] = {"penalty": "gradient", "code_weight": 0.0, "decoder_weight": 1.0}
    model = ae.RegularisedAutoencoder(nn.Linear(4, 2).to(np.float64), decoder, **options)
    x = sa.Tensor(rng.standard_normal((20_000, 4)))
    assert model.loss_terms(x)["decoder"].item() == pytest.approx((weight**2).sum(), rel=0.03)
    with sa.no_grad():
        assert model.loss_terms(x)["decoder"].item() == pytest.approx((weight**2).sum(), rel=0.03)


def test_the_penalties_on_paper() -> None:
    model = ae.RegularisedAutoencoder(nn.Identity(), nn.Linear(2, 2), code_weight=2.0, decoder_weight=3.0)
    x = np.array([[1, 2], [3, 4]], np.float32)
    terms = model.loss_terms(sa.Tensor(x))
    assert terms["code"].item() == pytest.approx((5 + 25) / 2)
    assert terms["decoder"].item() == pytest.approx(3 * (model.decoder.weight.numpy() ** 2).sum(), rel=1e-6)


# --- masked ---------------------------------------------------------------------------------------


def test_the_loss_is_the_mean_over_hidden_pixels() -> None:
    model = ae.MaskedAutoencoder.dense(SIZES, patch=2, share=0.25, loss="mse")
    x = X.astype(np.float32)
    with sa.random.fixed_seed(5):
        hidden, mask = model.hide(x)
    assert mask.shape == (8, 1, 4, 4) and (mask.sum(axis=(1, 2, 3)) == 4).all()
    assert (hidden[mask] == 0).all() and np.array_equal(hidden[~mask], x[~mask])
    assert len({m.tobytes() for m in mask}) > 1  # each image has places of its own
    expected = ((model.reconstruct(hidden) - x) ** 2)[mask].mean()
    with sa.random.fixed_seed(5):
        assert model.loss(sa.Tensor(x)).item() == pytest.approx(expected, rel=1e-5)


# --- vector quantisation --------------------------------------------------------------------------


def quantised(**options: Any) -> Any:
    options = {"entries": 4, "entry_size": 1, "loss": "mse", **options}
    return ae.VectorQuantisedAutoencoder.dense(SIZES, "tanh", **options)


def test_the_gradient_passes_straight_through() -> None:
    model = quantised(commitment=0.5).to(np.float64)
    x = sa.Tensor(X)
    vectors = model.encoder(x)
    entries = model.codebook.entries[model.transform(X)].reshape(8, 3)
    chosen = sa.Tensor(entries, requires_grad=True)
    F.mse_loss(F.reshape(model.decoder(chosen), X.shape), x).backward()
    commitment = 0.5 * 2 * (vectors.data - entries) / vectors.size
    expected = sa.grad(vectors, list(model.encoder.parameters()), sa.Tensor(chosen.grad + commitment))
    model.loss(x).backward()
    for p, g in zip(model.encoder.parameters(), expected, strict=True):
        assert np.allclose(p.grad, g.data, rtol=1e-10, atol=1e-14)


def test_an_entry_is_the_moving_average_of_its_vectors() -> None:
    book = Codebook(2, 1, decay=0.5, revive=0.0)
    book.entries[...], book.sums[...], book.counts[...] = [[-1], [1]], [[-1], [1]], [1, 1]
    vectors = np.array([[0.5], [1.5], [-3.0]], np.float32)
    numbers = book.nearest(vectors)
    assert numbers.tolist() == [1, 1, 0]
    book.follow(vectors, numbers)
    assert book.counts.tolist() == [1.0, 1.5]
    assert np.allclose(book.entries, [[(-1 - 3) / 2 / 1.0], [(1 + 2) / 2 / 1.5]])


def test_unused_entries_revive_and_only_training_moves_entries() -> None:
    sa.manual_seed(0)
    model = quantised(entries=8)
    x = images(64)
    model.codebook.entries[4:] += 100
    model.codebook.sums[4:] += 100
    before = model.codebook.entries.copy()
    model.reconstruct(x), model.transform(x)
    sa.Trainer(model, optim.Adam(model.parameters())).evaluate(x)
    assert np.array_equal(model.codebook.entries, before)
    fitted(model, x, 60)
    assert abs(model.codebook.entries).max() < 50 and (model.usage(x) > 0).sum() >= 6


def test_codes_are_whole_numbers_there_and_back() -> None:
    for model in (
        quantised(),
        ae.VectorQuantisedAutoencoder(ae.conv_encoder((1, 2, 3)), ae.conv_decoder((1, 2, 3)), "bce", entry_size=3),
    ):
        x = images()
        codes = model.transform(x)
        assert codes.dtype.kind == "i" and codes.shape in [(7, 3), (7, 1, 1)]
        assert np.array_equal(model.inverse_transform(codes).reshape(x.shape), model.reconstruct(x))
        assert model.usage(x).sum() == codes.size
        fitted(model, images(40))


def test_a_codebook_larger_than_the_data_trains() -> None:
    model = quantised(entries=500)
    fitted(model, images(10), 5)
    assert (model.usage(images(10)) > 0).sum() <= 30


# --- conditional ----------------------------------------------------------------------------------


class ConditionalSparse(Conditional, ae.SparseAutoencoder):  # type: ignore[misc]
    pass


class ConditionalDenoising(Conditional, ae.DenoisingAutoencoder):  # type: ignore[misc]
    pass


class ConditionalQuantised(Conditional, ae.VectorQuantisedAutoencoder):  # type: ignore[misc]
    pass


LABELS = np.arange(8) % 3


@pytest.mark.parametrize("kind, options", [
    (ae.ConditionalAutoencoder, {}), (ae.ConditionalVariationalAutoencoder, {}), (ConditionalSparse, {}),
    (ConditionalDenoising, {}), (ConditionalQuantised, {"entry_size": 1}),
])  # fmt: skip
def test_any_kind_takes_labels(kind: Any, options: dict[str, Any]) -> None:
    model = kind.dense(SIZES, classes=3, **options)
    x = images(8)
    history = fitted(model, (x, LABELS), validation=(x, LABELS))
    assert "val_reconstruction" in history
    for name in ("reconstruct", "transform", "reconstruction_error"):
        whole = getattr(model, name)(x, LABELS)
        assert np.allclose(getattr(model, name)(x, LABELS, batch_size=3), whole, atol=1e-6)
        assert np.allclose(getattr(model, name)(x[LABELS == 2], 2), whole[LABELS == 2], atol=1e-6)
        with model.given(LABELS):
            assert np.array_equal(getattr(model, name)(x), whole)
    back = model.inverse_transform(model.transform(x, LABELS), LABELS)
    assert np.allclose(back.reshape(x.shape), model.reconstruct(x, LABELS), atol=1e-6)


def test_a_label_bias_is_an_appended_one_hot_vector() -> None:
    layer, bias = nn.Linear(4, 5), LabelBias(3, 5)
    bias.weight.data[...] = rng.standard_normal((3, 5))
    x = rng.standard_normal((8, 4)).astype(np.float32)
    wide = np.concatenate([layer.weight.numpy(), bias.weight.numpy().T], axis=1)
    by_hand = np.concatenate([x, np.eye(3)[LABELS]], axis=1) @ wide.T + layer.bias.numpy()
    model = ae.ConditionalAutoencoder(nn.Sequential(layer, bias), nn.Sequential(nn.Linear(5, 4)), classes=3)
    assert np.allclose(model.transform(x, LABELS), by_hand, atol=1e-5)


def test_the_label_decides_what_is_drawn() -> None:
    sa.manual_seed(0)
    labels = np.arange(200) % 2
    x = np.where(labels[:, None] == 1, 0.9, 0.1) * np.ones((200, 4))
    model = ae.ConditionalVariationalAutoencoder.dense((4, 8, 1), classes=2)
    fitted(model, (x.astype(np.float32), labels), 60)
    drawn = model.sample(20, np.repeat([0, 1], 10))
    assert (drawn[:10] < 0.3).all() and (drawn[10:] > 0.7).all()
    assert (model.sample(5, 1) > 0.7).all()
    with model.given(1):
        assert model.interpolate(x[0].astype(np.float32), x[1].astype(np.float32), 3).shape == (3, 4)


def test_labels_stay_out_of_frozen_batches_and_other_threads() -> None:
    model = ae.ConditionalAutoencoder.dense(SIZES, classes=3)
    with pytest.raises(RuntimeError, match="no labels"):
        model.transform(images(8))
    with model.given(1), pytest.raises(ValueError, match="2 labels for 8 samples"):
        model.transform(images(8), [0, 1])
    with pytest.raises(RuntimeError, match="no labels"):
        model.transform(images(8))


def test_gradients_reach_the_label_biases() -> None:
    model = ae.ConditionalAutoencoder.dense(SIZES, classes=3).to(np.float64)
    biases = [m for m in model.modules() if isinstance(m, LabelBias)]
    assert len(biases) == 2
    model.loss(sa.Tensor(X), sa.Tensor(LABELS)).backward()
    for bias in biases:
        index, old, values = (1, 2), bias.weight.data[1, 2], []
        for step in (1e-6, -1e-6):
            bias.weight.data[index] = old + step
            bias.weight.changed()
            values.append(model.loss(sa.Tensor(X), sa.Tensor(LABELS)).item())
        assert bias.weight.grad is not None
        assert bias.weight.grad[index] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


def test_labels_go_to_the_device_of_the_model(device: str) -> None:
    model = ae.ConditionalVariationalAutoencoder.dense(SIZES, classes=3)
    x = images(8)
    here = model.reconstruct(x, LABELS)
    model.to(device)
    assert np.allclose(model.reconstruct(x, LABELS), here, atol=1e-5)
    fitted(model, (x, LABELS))
    assert model.sample(3, 2).shape == (3, 16)


@pytest.mark.parametrize("entry_size", [1, 3])
def test_a_codebook_follows_on_every_device(device: str, entry_size: int) -> None:
    model = quantised(entry_size=entry_size).to(device)
    fitted(model, images(24), 5)
    assert model.usage(images(24)).sum() == 24 * 3 // entry_size


@pytest.mark.parametrize("build", [
    lambda: quantised(entries=8), lambda: ae.ConditionalVariationalAutoencoder.dense(SIZES, classes=3),
    lambda: ae.AdversarialAutoencoder.dense(SIZES),
], ids=["vector-quantised", "conditional", "adversarial"])  # fmt: skip
def test_a_resumed_run_ends_with_the_same_bits(build: Any, tmp_path: Any) -> None:
    found = []
    for epochs in ((4,), (2, 4)):
        sa.manual_seed(0)
        model = build()
        x = (images(40), np.arange(40) % 3) if hasattr(model, "classes") else images(40)
        for until in epochs:
            path = tmp_path / f"{len(epochs)}.safetensors"
            trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=1e-2))
            trainer.fit(x, epochs=until, batch_size=8, checkpoint=path, resume=True, progress=False)
            sa.manual_seed(9)
            model = build()
            sa.load_checkpoint(path, model)
        found.append(bits(model))
    assert found[0] == found[1]


# --- samplers -------------------------------------------------------------------------------------


def test_samplers_follow_the_codes() -> None:
    sa.manual_seed(0)
    centres = np.array([[-4.0, 0.0], [4.0, 1.0]])
    codes = centres[rng.integers(2, size=2000)] + rng.standard_normal((2000, 2)) @ np.array([[1, 0], [0.6, 0.5]])
    normal = ae.fit_sampler("normal", codes).sample(20_000)
    assert np.allclose(normal.mean(axis=0), codes.mean(axis=0), atol=0.1)
    assert np.allclose(np.cov(normal.T), np.cov(codes.T), rtol=0.05, atol=0.1)
    mixture = ae.fit_sampler("mixture", codes, components=2).sample(20_000)
    between = abs(mixture[:, 0]) < 1
    assert between.mean() < 0.01 < (abs(normal[:, 0]) < 1).mean()
    assert np.allclose(np.cov(mixture.T), np.cov(codes.T), rtol=0.05, atol=0.1)
    assert mixture.dtype == np.float32


def test_the_mixture_ends_at_its_last_round_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    codes = np.random.default_rng(1).random((99, 4))
    assert ae.fit_sampler("mixture", codes, components=9, rounds=1).sample(3).shape == (3, 4)
    assert not [w for w in recwarn if "converge" in str(w.message)]


def test_em_raises_the_likelihood(monkeypatch: Any) -> None:
    from scratchae.autoencoders import samplers

    codes = np.concatenate([rng.standard_normal((300, 2)), 5 + 0.5 * rng.standard_normal((100, 2))])
    sa.manual_seed(0)
    weights, means, covariances = samplers.expectation_maximisation(codes, 2, 100)
    order = np.argsort(means[:, 0])
    assert np.allclose(weights[order], [0.75, 0.25], atol=0.02)
    assert np.allclose(means[order], [[0, 0], [5, 5]], atol=0.2)
    assert np.allclose(covariances[order[1]], 0.25 * np.eye(2), atol=0.1)


def test_codes_are_drawn_from_their_neighbours() -> None:
    sa.manual_seed(0)
    maps = np.cumsum(rng.integers(1, 3, (400, 4, 4)), axis=2) % 8  # each code follows the one to its left by 1 or 2
    entries = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)
    sampler = ae.NeighbourSampler(entries, groups=200).fit(maps)
    drawn = sampler.sample(300)
    steps = np.diff(drawn, axis=2) % 8
    assert drawn.shape == (300, 4, 4) and np.isin(steps, (1, 2)).mean() > 0.85
    line = ae.NeighbourSampler(entries).fit(maps[:, 0]).sample(50)
    assert line.shape == (50, 4)


# --- mistakes -------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[Any, type[Exception], str]] = {
    "label too large": (lambda: ae.ConditionalAutoencoder.dense(SIZES, classes=3).transform(images(2), [0, 3]),
                        ValueError, r"labels from 0 to 3; expected 0 to 2"),
    "negative label": (lambda: ae.ConditionalAutoencoder.dense(SIZES, classes=3).transform(images(2), -1),
                       ValueError, r"expected 0 to 2"),
    "labels that are floats": (lambda: ae.ConditionalAutoencoder.dense(SIZES, classes=3).transform(images(1), [1.0]),
                               TypeError, "whole numbers"),
    "one class only": (lambda: ae.ConditionalAutoencoder.dense(SIZES, classes=1), ValueError, "classes=1"),
    "no place for labels": (lambda: ae.ConditionalAutoencoder(nn.Identity(), nn.Identity(), classes=2),
                            ValueError, "in the encoder is no place for the labels"),
    "kernel": (lambda: ae.WassersteinAutoencoder.dense(SIZES, kernel="linear"), ValueError, "imq"),
    "a batch of one": (lambda: ae.WassersteinAutoencoder.dense(SIZES).loss(sa.Tensor(images(1))), ValueError,
                       "a batch of 1 samples; the penalty needs 2"),
    "code size": (lambda: ae.WassersteinAutoencoder(nn.Flatten(), nn.Identity(), code_size=3).loss(sa.Tensor(images())),
                  ValueError, r"\(7, 16\); expected \(N, 3\)"),
    "discriminator": (lambda: ae.AdversarialAutoencoder.dense(SIZES, discriminator="two layers"), TypeError, "module"),
    "patch": (lambda: ae.MaskedAutoencoder.dense(SIZES, patch=3).loss(sa.Tensor(images())), ValueError, "patch=3"),
    "share": (lambda: ae.MaskedAutoencoder.dense(SIZES, share=1.0), ValueError, "share=1.0"),
    "masked series": (lambda: ae.MaskedAutoencoder.dense(SIZES).loss(sa.Tensor(np.ones((2, 4, 4), np.float32))),
                      ValueError, r"\(2, 4, 4\)"),
    "no log-probability": (lambda: ae.ImportanceWeightedAutoencoder.dense(SIZES, loss=lambda a, b: F.mean(a - b)),
                           ValueError, "log-probability"),
    "beta of a bound": (lambda: ae.ImportanceWeightedAutoencoder.dense(SIZES, beta=2.0), TypeError, "no beta"),
    "penalty": (lambda: ae.RegularisedAutoencoder.dense(SIZES, penalty="l1"), ValueError, "l2"),
    "one entry": (lambda: quantised(entries=1), ValueError, "entries=1"),
    "entry size": (lambda: quantised(entry_size=2).loss(sa.Tensor(images())), ValueError, "entry_size=2"),
    "entries beyond the codebook": (lambda: quantised().inverse_transform(np.full((2, 3), 4)), ValueError, "0 to 3"),
    "codes that are floats": (lambda: quantised().inverse_transform(np.ones((2, 3), np.float32)), ValueError, "whole"),
    "sampler": (lambda: ae.fit_sampler("uniform", np.ones((5, 2))), ValueError, "'mixture', 'neighbours', 'normal'"),
    "fewer codes than components": (lambda: ae.fit_sampler("mixture", np.ones((5, 2))), ValueError, "at least 10"),
    "codes with NaN": (lambda: ae.fit_sampler("normal", np.full((5, 2), np.nan)), ValueError, "finite"),
    "neighbours of floats": (lambda: ae.NeighbourSampler(np.ones((3, 2))).fit(np.ones((4, 4))), ValueError, "whole"),
    "a code without an entry": (lambda: ae.NeighbourSampler(np.ones((3, 2))).fit(np.full((4, 4), 3)), ValueError,
                              "0 to 2"),
    "no sample": (lambda: ae.ConditionalAutoencoder.dense(SIZES, classes=3).sample(3, 1), TypeError, "no distribution"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(case: str) -> None:
    call, error, message = MISTAKES[case]
    with pytest.raises(error, match=message):
        call()
