"""Losses with their options: closed forms, edge values, errors. The plain values are in the op table."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import naive
import numpy as np
import pytest

import scratchae as sa
from scratchae import backend, nn
from scratchae import functional as F
from scratchae.distributed import parts


def slope(f: Callable[..., Any], *arrays: Any) -> list[np.ndarray]:
    inputs = [sa.Tensor(np.asarray(a, np.float64), requires_grad=True) for a in arrays]
    f(*inputs).backward()
    return [t.grad for t in inputs]  # type: ignore[misc]


# --- cross entropy --------------------------------------------------------------------------------

LOGITS = np.random.default_rng(0).standard_normal((6, 4))
SURPRISE = np.log(np.exp(LOGITS).sum(1, keepdims=True)) - LOGITS  # -log p of each class
LABELS = np.array([2, -100, 0, 3, -100, 1])
KEPT, TAKEN = LABELS >= 0, SURPRISE[np.arange(6), np.maximum(LABELS, 0)]
WEIGHT = np.array([0.5, 1.0, 2.0, 3.0])


def test_ignored_labels_count_for_nothing() -> None:
    assert F.cross_entropy(LOGITS, LABELS) == pytest.approx(TAKEN[KEPT].mean(), rel=1e-14)
    assert F.cross_entropy(LOGITS, LABELS, "sum") == pytest.approx(TAKEN[KEPT].sum(), rel=1e-14)
    np.testing.assert_allclose(F.cross_entropy(LOGITS, LABELS, "none"), np.where(KEPT, TAKEN, 0), rtol=1e-14)
    (grad,) = slope(lambda x: F.cross_entropy(x, LABELS), LOGITS)
    assert (grad[~KEPT] == 0).all() and (grad[KEPT] != 0).all()


def test_a_row_that_is_ignored_may_hold_anything() -> None:
    spoilt = LOGITS.copy()
    spoilt[~KEPT] = [[np.nan] * 4, [-np.inf, 0, 0, 0]]
    assert F.cross_entropy(spoilt, LABELS) == pytest.approx(TAKEN[KEPT].mean(), rel=1e-14)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64])
def test_a_label_of_any_integer_dtype_may_be_the_ignored_one(dtype: Any) -> None:
    labels = np.array([2, 255 if dtype == np.uint8 else 200, 0, 3, 1, 1]).astype(dtype)
    wanted = SURPRISE[np.arange(6), labels % 5][[0, 2, 3, 4, 5]].mean()
    assert F.cross_entropy(LOGITS, labels, ignore_index=int(labels[1])) == pytest.approx(wanted, rel=1e-14)


def test_class_weights_divide_the_mean_and_not_the_sum() -> None:
    weights = np.where(KEPT, WEIGHT[np.maximum(LABELS, 0)], 0)
    for given in (WEIGHT, WEIGHT.tolist(), sa.Tensor(WEIGHT), WEIGHT.astype(np.float32)):
        found = F.cross_entropy(sa.Tensor(LOGITS), LABELS, weight=given)
        assert found.item() == pytest.approx((weights * TAKEN).sum() / weights.sum())
    assert F.cross_entropy(LOGITS, LABELS, "sum", weight=WEIGHT) == pytest.approx((weights * TAKEN).sum())


def test_label_smoothing_is_the_cross_entropy_to_a_mixture() -> None:
    q = 0.7 * np.eye(4)[LABELS[KEPT]] + 0.3 / 4
    assert F.cross_entropy(LOGITS, LABELS, label_smoothing=0.3) == pytest.approx((q * SURPRISE[KEPT]).sum(1).mean())


def test_a_weight_that_is_a_tensor_gets_a_gradient() -> None:
    grads = slope(lambda x, w: F.cross_entropy(x, LABELS, "sum", weight=w), LOGITS, WEIGHT)
    wanted = [TAKEN[LABELS == c].sum() for c in range(4)]
    np.testing.assert_allclose(grads[1], wanted, rtol=1e-12)


def test_a_mean_of_nothing_is_an_error_and_a_sum_is_0() -> None:
    nothing = np.full(6, -100)
    assert F.cross_entropy(LOGITS, nothing, "sum") == 0
    with pytest.raises(ValueError, match="all labels are ignored, or of weight 0"):
        F.cross_entropy(LOGITS, nothing)
    with pytest.raises(ValueError, match=r"there are no labels, \(0,\), and nothing has no mean"):
        F.cross_entropy(LOGITS[:0], nothing[:0])
    with pytest.raises(ValueError, match="of weight 0"):
        F.cross_entropy(LOGITS, np.ones(6, int), weight=[1.0, 0.0, 1.0, 1.0])


def test_a_weighted_mean_is_that_of_the_whole_batch_where_processes_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = F.cross_entropy(LOGITS, LABELS, weight=WEIGHT, label_smoothing=0.1)
    shared, weights = 0.0, np.where(KEPT, WEIGHT[np.maximum(LABELS, 0)], 0)
    for rows in (slice(0, 2), slice(2, 6)):
        world = SimpleNamespace(sum=lambda own: own + (weights.sum() - weights[rows].sum()) / 6)  # noqa: B023
        monkeypatch.setattr(parts, "world", lambda world=world: world)
        with parts.part_of_batch(rows, 6):
            own = F.cross_entropy(LOGITS[rows], LABELS[rows], weight=WEIGHT, label_smoothing=0.1)
            shared += parts.batch_share() * own
    assert shared == pytest.approx(whole, rel=1e-12)


def test_labels_and_weights_on_a_device(device: str) -> None:
    logits, labels, weight = (sa.tensor(a, device=device) for a in (LOGITS.astype(np.float32), LABELS, WEIGHT))
    wanted = F.cross_entropy(LOGITS, LABELS, weight=WEIGHT, label_smoothing=0.2)
    assert F.cross_entropy(logits, labels, weight=weight, label_smoothing=0.2).item() == pytest.approx(wanted, rel=1e-5)
    layer = nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.2).to(device)
    assert layer(logits, labels).item() == pytest.approx(wanted, rel=1e-5)
    assert F.cross_entropy(logits, labels).item() == pytest.approx(TAKEN[KEPT].mean(), rel=1e-5)


def test_the_steps_of_a_training_may_ignore_labels_or_not(stand_in: Any) -> None:
    """A recorded step cannot look at its labels."""
    labels = np.arange(64) % 3
    labels[[3, 40, 41, 63]] = -100
    images = np.random.default_rng(1).random((64, 8)).astype(np.float32)
    results = []
    for place in ("gpu", "cpu"):
        sa.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 3)).to(place)
        trainer = sa.Trainer(model, sa.optim.SGD(model.parameters(), lr=0.1), loss=F.cross_entropy)
        history = trainer.fit((images, labels), epochs=3, batch_size=16, shuffle=False, progress=False)
        results.append((history["loss"], backend.to_device(model[0].weight.data, "cpu")))
    for there, here in zip(*results, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-5)


# --- weights of logits ----------------------------------------------------------------------------


def test_pos_weight_multiplies_the_term_of_the_target_and_weight_all() -> None:
    x, t = LOGITS, np.random.default_rng(1).random((6, 4))
    for pos, weight in ((WEIGHT, None), (2.0, WEIGHT), (None, np.arange(6.0)[:, None])):
        factor, p = (1.0 if v is None else v for v in (weight, pos))
        elements = factor * (p * t * np.log1p(np.exp(-x)) + (1 - t) * np.log1p(np.exp(x)))
        found = F.binary_cross_entropy_with_logits(x, t, "none", weight=weight, pos_weight=pos)
        np.testing.assert_allclose(found, elements, rtol=1e-13)
        found = nn.BCEWithLogitsLoss("mean", weight, pos)(sa.Tensor(x), sa.Tensor(t))
        assert found.item() == pytest.approx(elements.mean(), rel=1e-13)  # not divided by the weights


def test_pos_weight_is_exact_for_any_logit() -> None:
    x = np.array([-1e4, -50.0, 0.0, 50.0, 1e4])
    softplus = np.log1p(np.exp(-abs(x))) + np.maximum(x, 0)
    for t, wanted in ((1, 3 * softplus[::-1]), (0, softplus)):
        found = F.binary_cross_entropy_with_logits(x, np.full(5, t), "none", pos_weight=3.0)
        np.testing.assert_allclose(found, wanted, rtol=1e-15)


def test_the_losses_of_the_family_are_the_ones_with_all_options() -> None:
    for loss in ("bce_logits", F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss(pos_weight=2.0)):
        with pytest.raises(ValueError, match="applies a sigmoid itself"):
            sa.Autoencoder(nn.Linear(2, 1), nn.Sequential(nn.Linear(1, 2), nn.Sigmoid()), loss=loss)
    for loss in ("bce_logits", F.binary_cross_entropy_with_logits):
        sa.manual_seed(0)
        model = sa.VariationalAutoencoder.dense((4, 3, 2), loss=loss)
        found = model.log_likelihood(np.full((2, 4), 0.5, np.float32), samples=2)
        assert model.reconstruct(np.full((2, 4), 0.5, np.float32)).min() > 0 and (found < 0).all()


# --- robust losses --------------------------------------------------------------------------------

DIFFERENCES = np.array([-3.0, -1.0, -0.25, 0.0, 0.25, 1.0, 3.0])


def test_huber_and_smooth_l1_have_their_first_and_second_derivative_at_ties_and_at_0() -> None:
    (grad,) = slope(lambda x: F.huber_loss(x, np.zeros(7), "sum", 1.0), DIFFERENCES)
    np.testing.assert_array_equal(grad, np.clip(DIFFERENCES, -1, 1))
    x = sa.Tensor(DIFFERENCES, requires_grad=True)
    (first,) = sa.grad(F.huber_loss(x, np.zeros(7), "sum", 1.0), [x], create_graph=True)
    first.sum().backward()
    np.testing.assert_array_equal(x.grad, abs(DIFFERENCES) <= 1)  # PyTorch's, with delta itself inside
    (grad,) = slope(lambda x: F.smooth_l1_loss(x, np.zeros(7), "sum", 0.0), DIFFERENCES)
    np.testing.assert_array_equal(grad, np.sign(DIFFERENCES))


def test_robust_losses_take_infinities_and_pass_nan_on() -> None:
    found = F.huber_loss(np.array([np.inf, -np.inf, np.nan]), np.zeros(3), "none")
    np.testing.assert_array_equal(found, [np.inf, np.inf, np.nan])


# --- densities ------------------------------------------------------------------------------------


def test_a_variance_may_be_a_number_or_lack_an_axis() -> None:
    x, t = LOGITS, LOGITS[::-1]
    for var in (2.0, np.full((6, 1), 2.0), np.full((1, 4), 2.0), np.full(6, 2.0), np.full((6, 4), 2.0)):
        found = nn.GaussianNLLLoss(full=True)(x, t, var)
        assert found == pytest.approx((np.log(4 * np.pi) + (x - t) ** 2 / 2).mean() / 2, rel=1e-13)


def test_a_variance_below_eps_counts_as_eps_and_has_its_slope() -> None:
    x, t, var = np.array([1.0, 0.0]), np.array([0.0, 0.0]), np.array([1e-9, 0.0])
    assert F.gaussian_nll_loss(x, t, var, eps=1e-2, reduction="sum") == pytest.approx(math.log(1e-2) + 50)
    grads = slope(lambda v: F.gaussian_nll_loss(x, t, v, eps=1e-2, reduction="sum"), var)
    np.testing.assert_allclose(grads[0], [(1e2 - 1e4) / 2, 1e2 / 2], rtol=1e-12)  # as in PyTorch


def test_the_continuous_bernoulli_density_integrates_to_1() -> None:
    nodes, weights = np.polynomial.legendre.leggauss(40)
    t = (nodes + 1) / 2
    for x in (1e-30, 1e-3, 0.2, 0.4999, 0.5, 0.5 + 1e-9, 0.73, 0.9, 1 - 1e-6):
        density = np.exp(-F.continuous_bernoulli_nll(np.full(40, x), t, "none"))
        assert (density * weights).sum() / 2 == pytest.approx(1, rel=1e-11), x
        assert (density * weights * t).sum() / 2 == pytest.approx(F.continuous_bernoulli_mean(np.array(x)), rel=1e-11)


AROUND_HALF = 0.5 + np.concatenate([[0], np.logspace(-12, -1, 12), -np.logspace(-12, -1, 12)])
ONE_LOG_ODDS = 1 / (1 + np.exp(-1))  # where series and formula meet


def test_the_continuous_bernoulli_has_the_slopes_of_differences_around_one_half() -> None:
    t = np.linspace(0, 1, len(AROUND_HALF))
    for x in (AROUND_HALF, ONE_LOG_ODDS + np.linspace(-3e-3, 3e-3, len(AROUND_HALF))):
        for f in (lambda x, t: F.continuous_bernoulli_nll(x, t, "none"), lambda x, t: F.continuous_bernoulli_mean(x)):
            assert sa.gradcheck(f, [sa.tensor(x, requires_grad=True), sa.Tensor(t)])
            assert sa.gradgradcheck(f, [sa.tensor(x, requires_grad=True), sa.Tensor(t)])


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 2e-6), (np.float64, 1e-14)])
def test_the_normaliser_and_the_mean_are_the_formulas_of_the_paper(dtype: Any, rtol: float) -> None:
    """log C(p) = log(2 artanh(1 - 2p) / (1 - 2p)): the loss without its cross-entropy. Computed with 50 digits."""
    with decimal.localcontext() as context:
        context.prec = 50
        for p in (1e-30, 1e-7, 1e-3, 0.2, 0.25, 0.2689, 0.2690, 0.4, 0.499, 0.4999999, 0.5000001, 0.73, 0.99):
            given = np.array(p, dtype)
            exact = decimal.Decimal(float(given))
            log_odds = exact.ln() - (1 - exact).ln()  # -2 artanh(1 - 2p)
            mean = float(exact / (2 * exact - 1) - 1 / log_odds)
            assert F.continuous_bernoulli_mean(given) == pytest.approx(mean, rel=rtol), p
            for t in (0.0, 0.3, 1.0):
                log_c = (log_odds / (2 * exact - 1)).ln()
                nll = -decimal.Decimal(t) * exact.ln() - decimal.Decimal(1 - t) * (1 - exact).ln() - log_c
                found = F.continuous_bernoulli_nll(given, np.array(t, dtype), "none")
                assert found == pytest.approx(float(nll), rel=rtol, abs=rtol), (p, t)


def test_the_gradient_of_the_continuous_bernoulli_is_that_of_the_docstring() -> None:
    x, t = np.linspace(0.01, 0.99, 99), np.linspace(1, 0, 99)
    (grad,) = slope(lambda x: F.continuous_bernoulli_nll(x, t, "sum"), x)
    np.testing.assert_allclose(grad, (F.continuous_bernoulli_mean(x) - t) / (x * (1 - x)), rtol=1e-12)


def test_the_mean_of_a_continuous_bernoulli_needs_floats() -> None:
    with pytest.raises(TypeError, match="convert it with"):
        F.continuous_bernoulli_mean(np.array([0, 1]))


def test_the_continuous_bernoulli_is_smooth_at_one_half() -> None:
    """There, the loss is 0 for any target, its slope 4 (1/2 - t), and the second derivative 4/3."""
    t = np.array([0.0, 0.25, 1.0])
    x = sa.Tensor(np.full(3, 0.5), requires_grad=True)
    loss = F.continuous_bernoulli_nll(x, t, "none")
    np.testing.assert_allclose(loss.data, 0, atol=1e-16)
    (first,) = sa.grad(loss.sum(), [x], create_graph=True)
    np.testing.assert_allclose(first.data, 4 * (0.5 - t), rtol=1e-14)
    first.sum().backward()
    np.testing.assert_allclose(x.grad, 4 / 3, rtol=1e-14)


def test_the_continuous_bernoulli_in_float32_is_that_of_float64_also_near_one_half() -> None:
    x = np.concatenate([0.5 + np.linspace(-2e-3, 2e-3, 41), np.linspace(0.26, 0.28, 41)]).astype(np.float32)
    t, found = np.linspace(0, 1, 82).astype(np.float32), []
    for dtype in (np.float32, np.float64):
        given = sa.tensor(x, dtype, requires_grad=True)
        loss = F.continuous_bernoulli_nll(given, t, "none")
        (first,) = sa.grad(loss.sum(), [given], create_graph=True)
        (second,) = sa.grad(first.sum(), [given])
        found.append((loss.data, first.data, second.data))
    for narrow, wide in zip(*found, strict=True):
        assert narrow.dtype == np.float32
        assert abs(narrow - wide).max() <= 1e-5 * abs(wide).max()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_continuous_bernoulli_is_finite_at_0_and_1(dtype: Any) -> None:
    x = sa.tensor(np.array([0, 1, 0, 1], dtype), requires_grad=True)
    loss = F.continuous_bernoulli_nll(x, np.array([0, 1, 1, 0], dtype))
    loss.backward()
    assert np.isfinite(loss.item()) and np.isfinite(x.grad).all()


def test_the_continuous_bernoulli_is_a_likelihood_of_a_vae() -> None:
    """A decoder that gives 1/2 for every code is the uniform density, whose logarithm is 0."""
    model = sa.VariationalAutoencoder.dense((4, 3, 2), loss="cb")
    for p in (*model.decoder.parameters(), *model.mu.parameters(), *model.logvar.parameters()):
        p.data[...] = 0
    x = np.random.default_rng(0).random((3, 4)).astype(np.float32)
    np.testing.assert_allclose(model.log_likelihood(x, samples=5), 0, atol=1e-6)


# --- similarity -----------------------------------------------------------------------------------


def test_cosine_similarity_is_that_of_unit_vectors_and_0_for_none() -> None:
    x = np.array([[3.0, 4.0], [0.0, 0.0], [1e-9, 0.0]])
    y = np.array([[6.0, 8.0], [1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(F.cosine_similarity(x, y), [1, 0, 0.1], rtol=1e-13)
    found = nn.CosineSimilarity(dim=-1)(sa.Tensor(x), sa.Tensor(y[:1]))
    np.testing.assert_allclose(found.data, [1, 0, 0.06], rtol=1e-13)
    (grad,) = slope(lambda x: F.cosine_similarity(x, y).sum(), x)
    np.testing.assert_allclose(grad[1], [1e8, 0], rtol=1e-12)  # as in PyTorch


def test_ssim_is_1_for_equal_images_and_symmetric(rng: np.random.Generator) -> None:
    x, y = rng.random((2, 3, 2, 13, 15))
    assert F.ssim(x, x) == pytest.approx(1, rel=1e-12)
    assert F.ssim(x, y) == pytest.approx(F.ssim(y, x), rel=1e-12)
    assert F.ssim(255 * x, 255 * y, 255) == pytest.approx(F.ssim(x, y), rel=1e-12)
    assert F.ssim(x, 1 - x) < 0  # the paper's measure of structure is negative where bright and dark are swapped


def test_ssim_is_the_papers_map(rng: np.random.Generator) -> None:
    x = rng.random((2, 3, 14, 12))
    y = np.clip(x + 0.2 * rng.standard_normal(x.shape), 0, 1)
    wanted = naive.ssim(x, y, 1.0, 11, 1.5)
    assert wanted.shape == (2, 3, 4, 2)
    np.testing.assert_allclose(F.ssim(x, y, reduction="none"), wanted, rtol=1e-12)
    assert F.ssim(x, y) == pytest.approx(wanted.mean(), rel=1e-12)


def test_ssim_in_float32_keeps_its_digits_on_flat_images(rng: np.random.Generator) -> None:
    x = (0.95 + 1e-3 * rng.standard_normal((2, 1, 16, 16))).astype(np.float32)
    y = (x + 1e-3 * rng.standard_normal(x.shape)).astype(np.float32)
    found = F.ssim(x, y, reduction="none")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, naive.ssim(x, y, 1.0, 11, 1.5), rtol=1e-6)


def test_images_become_alike_by_the_slope_of_ssim(rng: np.random.Generator) -> None:
    target, start = rng.random((2, 1, 1, 13, 13))
    before, x = F.ssim(start, target), sa.Tensor(start, requires_grad=True)
    optimizer = sa.optim.Adam([x], lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        (1 - F.ssim(x, target)).backward()
        optimizer.step()
    assert before < 0.3 < 0.97 < F.ssim(x.data, target)


# --- what is averaged -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in F.__all__ if "loss" in n or "entropy" in n or "nll" in n or "kl" in n])
def test_every_loss_says_what_its_mean_is_over(name: str) -> None:
    text = getattr(F, name).__doc__
    assert '"mean" averages over' in text


def test_batchmean_sums_over_units_and_averages_over_samples() -> None:
    mu, logvar = LOGITS, LOGITS[::-1]
    units = F.gaussian_kl(mu, logvar, "none")
    assert F.gaussian_kl(mu, logvar, "batchmean") == pytest.approx(units.sum(1).mean(), rel=1e-14)
    assert F.gaussian_kl(1.0, 0.0, "batchmean") == F.kl_div(-0.5, 1.0, "batchmean") == 0.5  # no axis of samples
    assert F.kl_div(np.zeros((3, 0)), np.zeros((3, 0)), "batchmean") == 0
    for loss in (F.gaussian_kl, F.kl_div):
        with pytest.raises(ValueError, match=r"shape \(0, 3\) is empty"):
            loss(np.zeros((0, 3)), np.zeros((0, 3)), "batchmean")


# --- errors ---------------------------------------------------------------------------------------

IMAGES = np.zeros((2, 1, 12, 12))
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a weight for each sample": (lambda: F.cross_entropy(LOGITS, LABELS, weight=np.ones(6)),
                                 r"\(6,\); expected \(4,\), a number for each class"),
    "a text as weight": (lambda: F.cross_entropy(LOGITS, LABELS, weight="balanced"), "the weight is a str"),
    "labels beyond": (lambda: F.cross_entropy(LOGITS, LABELS + 3, ignore_index=-97), r"\[0, 6\]; expected 0 to 3"),
    "smoothing": (lambda: F.cross_entropy(LOGITS, LABELS, label_smoothing=1.5), r"label_smoothing=1.5.*\[0, 1\]"),
    "ignore_index": (lambda: nn.CrossEntropyLoss(ignore_index=0.5), "ignore_index=0.5; expected an integer"),
    "PyTorch's order": (lambda: nn.CrossEntropyLoss(WEIGHT), r"reduction=array.*expected one of 'mean'"),
    "pos_weight": (lambda: F.binary_cross_entropy_with_logits(LOGITS, LOGITS > 0, pos_weight=np.ones(6)),
                   r"pos_weight has shape \(6,\), which does not broadcast to the input's \(6, 4\)"),
    "a larger weight": (lambda: F.binary_cross_entropy_with_logits(LOGITS, LOGITS > 0, weight=np.ones((2, 6, 4))),
                        r"weight has shape \(2, 6, 4\)"),
    "a target above 1": (lambda: F.binary_cross_entropy_with_logits(LOGITS, LOGITS + 5, pos_weight=2.0), "scale"),
    "shapes of huber": (lambda: F.huber_loss(LOGITS, LOGITS[:, :1]), r"huber_loss: .*\(6, 4\), target \(6, 1\)"),
    "delta": (lambda: F.huber_loss(LOGITS, LOGITS, delta=0), "delta=0; expected a finite number above 0"),
    "beta": (lambda: nn.SmoothL1Loss(beta=-1), "SmoothL1Loss: beta=-1"),
    "variances": (lambda: F.gaussian_nll_loss(LOGITS, LOGITS, np.ones((4, 6))), r"var has shape \(4, 6\)"),
    "two axes of 1": (lambda: F.gaussian_nll_loss(LOGITS, LOGITS, np.ones((1, 1))), "at most one axis of 1"),
    "a negative variance": (lambda: F.gaussian_nll_loss(LOGITS, LOGITS, LOGITS), "var goes down to -"),
    "no variance": (lambda: nn.GaussianNLLLoss()(LOGITS, LOGITS, "one"), "var is a str"),
    "a mean's parameter": (lambda: F.continuous_bernoulli_mean(LOGITS), "end the decoder in a sigmoid"),
    "parameters": (lambda: F.continuous_bernoulli_nll(LOGITS, abs(LOGITS) / 9), "end the decoder in a sigmoid"),
    "targets": (lambda: F.continuous_bernoulli_nll(abs(LOGITS) / 9, LOGITS), "scale the data"),
    "vectors": (lambda: F.cosine_similarity(LOGITS, LOGITS[:, :3]), r"\(6, 4\), x2 \(6, 3\); they must broadcast"),
    "an axis too many": (lambda: F.cosine_similarity(LOGITS, LOGITS, 2), r"dim=2 for shape \(6, 4\)"),
    "no images": (lambda: F.ssim(LOGITS, LOGITS), r"\(6, 4\); expected \(N, C, H, W\)"),
    "small images": (lambda: F.ssim(IMAGES, IMAGES, window_size=13), "12 x 12 are smaller than the window of 13 x 13"),
    "an even window": (lambda: F.ssim(IMAGES, IMAGES, window_size=8), "window_size=8; expected an odd number"),
    "range 0": (lambda: F.ssim(IMAGES, IMAGES, 0), "data_range=0"),
    "images of two sizes": (lambda: F.ssim(IMAGES, IMAGES[:1]), "must be equal"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name: str) -> None:
    call, text = REFUSED[name]
    with pytest.raises((ValueError, TypeError), match=text):
        call()


@pytest.mark.parametrize("loss", [F.huber_loss, F.smooth_l1_loss, F.continuous_bernoulli_nll, F.ssim])
def test_no_elements_have_no_mean(loss: Callable[..., Any]) -> None:
    nothing = np.zeros((0, 1, 12, 12))
    assert loss(nothing, nothing, reduction="sum") == 0
    assert loss(nothing, nothing, reduction="none").size == 0
    with pytest.raises(ValueError, match="is empty, and nothing has no mean"):
        loss(nothing, nothing)


# --- modules --------------------------------------------------------------------------------------


def test_weights_are_buffers_that_are_saved_and_moved(device: str) -> None:
    loss = nn.CrossEntropyLoss(weight=[1, 2, 3]).to(device)
    assert loss.weight.dtype == np.float32 and backend.device_of(loss.weight).startswith(device)
    assert list(loss.state_dict()) == ["weight"] and list(nn.CrossEntropyLoss().state_dict()) == []
    assert list(nn.BCEWithLogitsLoss(pos_weight=2.0).state_dict()) == ["pos_weight"]
    assert not list(loss.parameters())


def test_a_weight_that_is_a_parameter_stays_one() -> None:
    weight = nn.Parameter(WEIGHT)
    loss = nn.CrossEntropyLoss(weight=weight)
    assert list(loss.parameters()) == [weight]
    loss(sa.Tensor(LOGITS), LABELS).backward()
    assert weight.grad is not None


@pytest.mark.parametrize(
    "loss",
    [nn.HuberLoss("sum", 0.5), nn.SmoothL1Loss("sum", 0.5), nn.KLDivLoss("sum", log_target=True),
     nn.BCEWithLogitsLoss("sum", pos_weight=3)],
    ids=repr,
)  # fmt: skip
def test_options_are_passed_on(loss: Any) -> None:
    x, t = LOGITS, abs(LOGITS) / 9
    options = {name: getattr(loss, name) for name in loss.options}
    assert loss(x, t) == type(loss).function(x, t, loss.reduction, **options) != type(loss)(loss.reduction)(x, t)
