"""Edge values: where formulas overflow, cancel, divide by zero or tie, the numbers are still the right ones.

Warnings are errors in these tests, so each of them also promises that NumPy had nothing to complain about.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae.autograd.elementwise import normal_cdf

inf, nan = math.inf, math.nan
both_precisions = pytest.mark.parametrize("dtype", ["float32", "float64"])


def slope(f: Callable, *arrays: Any, dtype: str = "float64") -> Any:
    """The gradients of the sum of `f` (one, or a list of them)."""
    inputs = [sa.tensor(np.array(a, dtype), requires_grad=True) for a in arrays]
    f(*inputs).sum().backward()
    grads = [t.grad for t in inputs]
    return grads[0] if len(grads) == 1 else grads


def equal(found: Any, wanted: Any, rtol: float = 0) -> None:
    found = found.numpy() if isinstance(found, sa.Tensor) else found
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=0, strict=isinstance(wanted, np.ndarray))


def t64(values: Any) -> sa.Tensor:
    return sa.tensor(np.array(values, np.float64))


# --- activations ----------------------------------------------------------------------------------


def test_relu_has_slope_0_at_0_and_passes_nan_on() -> None:
    equal(F.relu(t64([-1, 0, 2, nan, inf, -inf])), [0, 0, 2, nan, inf, 0])
    equal(slope(F.relu, [-1, 0, 2, inf, -inf]), [0, 0, 1, 1, 0])


@pytest.mark.parametrize(
    ("f", "at_minus_inf"),
    [(F.relu, 0), (F.leaky_relu, -inf), (F.elu, -1), (F.softplus, 0), (F.sigmoid, 0), (F.tanh, -1)],
)
def test_activations_at_infinity(f: Callable, at_minus_inf: float) -> None:
    at_inf = 1.0 if f in (F.sigmoid, F.tanh) else inf
    equal(f(t64([-inf, inf])), [at_minus_inf, at_inf])
    equal(slope(f, [inf]), [0 if f in (F.sigmoid, F.tanh) else 1])


@both_precisions
def test_sigmoid_is_accurate_far_into_the_tail(dtype: str) -> None:
    x = sa.tensor(np.array([-50, -80, 0, 50, -1e4, 1e4], dtype))
    wanted = np.array([1.9287498479639178e-22, 1.8048513878454153e-35, 0.5, 1, 0, 1], dtype)
    equal(F.sigmoid(x), wanted, rtol=1e-6 if dtype == "float32" else 1e-14)


@both_precisions
def test_softplus_in_the_tails(dtype: str) -> None:
    x = np.array([-1e4, -50, 0, 50, 1e4], dtype)
    wanted = np.array([0, 1.9287498479639178e-22, math.log(2), 50, 1e4], dtype)
    equal(F.softplus(sa.tensor(x)), wanted, rtol=1e-6 if dtype == "float32" else 1e-14)
    equal(slope(F.softplus, x, dtype=dtype), np.array([0, wanted[1], 0.5, 1, 1], dtype), rtol=1e-6)


def _phi(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 5e-6), ("float64", 1e-13)])
def test_gelu_and_the_normal_distribution_relative_to_themselves(dtype: str, rtol: float) -> None:
    """Against erfc of the C library: the left tail is right relative to itself, not only to 1."""
    x = np.linspace(-8, 8, 401).astype(dtype)
    equal(F.gelu(sa.tensor(x)), np.array([v * _phi(v) for v in x.tolist()]).astype(dtype), rtol=rtol)
    equal(normal_cdf(sa.tensor(x)), np.array([_phi(v) for v in x.tolist()]).astype(dtype), rtol=rtol)


def test_gelu_far_out() -> None:
    equal(F.gelu(t64([-37, -1e4, 1e4, 0])), [-37 * _phi(-37), 0, 1e4, 0], rtol=1e-12)
    equal(slope(F.gelu, [-1e4, 0, 1e4]), [0, 0.5, 1], rtol=1e-15)


# --- ties, corners, zeros -------------------------------------------------------------------------


def test_ties_of_max_and_min_share_the_gradient_equally() -> None:
    a = [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]
    equal(slope(lambda x: x.max(1), a), [[0, 1 / 2, 1 / 2], [1 / 3] * 3])
    equal(slope(lambda x: x.min(1), a), [[1, 0, 0], [1 / 3] * 3])
    equal(slope(lambda x: x.max(), [[4.0, 1], [4, 4]]), [[1 / 3, 0], [1 / 3, 1 / 3]])
    equal(slope(F.maximum, [1.0, 2], [1.0, 5]), [[0.5, 0], [0.5, 1]])
    equal(slope(F.minimum, [1.0, 2], [1.0, 5]), [[0.5, 1], [0.5, 0]])


def test_nan_passes_through_max_and_its_relatives() -> None:
    x = t64([1, nan, 3])
    for out in (x.max(), x.min(), F.maximum(x, 0.0)[1], F.clip(x, 0, 1)[1], F.logsumexp(x), x.var()):
        assert math.isnan(out.item())


def test_clip_has_slope_1_on_its_bounds() -> None:
    equal(slope(lambda x: x.clip(-1, 1), [-2, -1, 0, 1, 2]), [0, 1, 1, 1, 0])


def test_norm_and_abs_have_slope_0_at_0() -> None:
    equal(slope(F.norm, [[0, 0]]), [[0, 0]])
    equal(slope(lambda x: F.norm(x, axis=1), [[0, 0], [3, 4]]), [[0, 0], [0.6, 0.8]])
    equal(slope(abs, [-2, 0, 2]), [-1, 0, 1])


@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize(("exponent", "value", "first", "second"), [(0, 1, 0, 0), (1, 0, 1, 0), (2, 0, 0, 2)])
def test_powers_of_0(exponent: int, value: int, first: int, second: int, as_array: bool) -> None:
    y = np.array([float(exponent)]) if as_array else exponent
    x = sa.tensor(np.zeros(1), requires_grad=True)
    out = x**y
    g = sa.grad(out, x, np.ones(1), create_graph=True)
    equal(out, [value])
    equal(g, [first])
    equal(sa.grad(g, x, np.ones(1)) if g.requires_grad else [0.0], [second])


def test_the_exponents_slope_at_base_0_is_0() -> None:
    equal(slope(lambda y: 0.0**y, [1, 2]), [0, 0])


@both_precisions
def test_log_softmax_and_logsumexp_of_huge_and_infinite_numbers(dtype: str) -> None:
    x = np.array([[1e4, 1e4, -1e4], [-1e4, -1e4, -inf], [0, -inf, -inf]], dtype)
    two = math.log(2)
    equal(F.logsumexp(sa.tensor(x), axis=1), np.array([1e4 + two, -1e4 + two, 0], dtype))
    wanted = np.array([[-two, -two, -2e4 - two], [-two, -two, -inf], [0, -inf, -inf]], dtype)
    equal(F.log_softmax(sa.tensor(x)), wanted, rtol=1e-7)
    share = np.array([[0.5, 0.5, 0], [0.5, 0.5, 0], [1, 0, 0]], dtype)
    equal(F.softmax(sa.tensor(x)), share)
    equal(slope(lambda t: F.logsumexp(t, axis=1), x, dtype=dtype), share, rtol=2e-3 if dtype == "float32" else 1e-11)
    equal(slope(lambda t: F.log_softmax(t)[:, 0], x, dtype=dtype), np.array([1, 0, 0], dtype) - share, rtol=1e-6)


def test_logsumexp_of_nothing_but_minus_infinity_and_of_infinity() -> None:
    equal(F.logsumexp(t64([[-inf, -inf], [1e4, inf]]), axis=1), [-inf, inf])


# --- losses ---------------------------------------------------------------------------------------


@both_precisions
def test_bce_at_0_and_1_is_clamped(dtype: str) -> None:
    x, t = np.array([0, 1, 0, 1], dtype), np.array([0, 1, 1, 0], dtype)
    equal(F.binary_cross_entropy(sa.tensor(x), sa.tensor(t), "none"), np.array([0, 0, 100, 100], dtype))
    for_x, for_t = slope(lambda x, t: F.binary_cross_entropy(x, t, "sum"), x, t, dtype=dtype)
    equal(for_x, np.array([0, 0, -1e12, 1e12], dtype))
    equal(for_t, np.array([100, -100, 100, -100], dtype))


def test_bce_gradient_formula(rng: np.random.Generator) -> None:
    x, t = np.concatenate([10.0 ** np.arange(-15, 0), rng.uniform(size=5)]), rng.uniform(size=20)
    for_x = slope(lambda x: F.binary_cross_entropy(x, sa.Tensor(t), "sum"), x)
    equal(for_x, (x - t) / np.maximum(x * (1 - x), 1e-12), rtol=1e-13)


@pytest.mark.parametrize(("x", "t"), [([-0.1, 0.5], [0, 1]), ([0.5, 1.5], [0, 1]), ([0.5, 0.5], [0, 2]), ([0.5], [-1])])
def test_bce_names_the_range_it_was_given(x: list, t: list) -> None:
    low, high = (min(x), max(x)) if not 0 <= min(x) <= max(x) <= 1 else (min(t), max(t))
    advice = "with_logits" if low == min(x) and high == max(x) else "scale"
    with pytest.raises(ValueError, match=rf"\[{low:g}, {high:g}\].*{advice}"):
        F.binary_cross_entropy(t64(x), t64(t))


@both_precisions
def test_bce_with_logits_is_exact_for_any_logit(dtype: str) -> None:
    x, t = np.array([1000, -1000, 1000, -1000, 0], dtype), np.array([0, 0, 1, 1, 0.5], dtype)
    loss = F.binary_cross_entropy_with_logits(sa.tensor(x), sa.tensor(t), "none")
    equal(loss, np.array([1000, 0, 0, 1000, math.log(2)], dtype))
    for_x, for_t = slope(lambda x, t: F.binary_cross_entropy_with_logits(x, t, "sum"), x, t, dtype=dtype)
    equal(for_x, np.array([1, 0, 0, -1, 0], dtype))
    equal(for_t, -x)


def test_kl_div_with_target_0_contributes_0() -> None:
    q, p = t64([[-1, -2], [-3, -4]]), t64([[0, 1], [1, 0]])
    equal(F.kl_div(q, p, "none"), [[0, 2], [3, 0]])
    equal(F.kl_div(q, t64([[-inf, 0], [0, -inf]]), "none", log_target=True), [[0, 2], [3, 0]])
    equal(slope(lambda x: F.kl_div(x, p, "sum"), q.numpy()), [[0, -1], [-1, 0]])


@pytest.mark.parametrize(("target", "log_target"), [([0, 1], False), ([-inf, 0], True)])
def test_kl_div_where_both_probabilities_are_0_contributes_0(target: list, log_target: bool) -> None:
    equal(F.kl_div(t64([-inf, -2]), t64(target), "none", log_target), [0, 2])
    equal(slope(lambda x: F.kl_div(x, t64(target), "sum", log_target), [-inf, -2]), [0, -1])


def test_kl_div_reductions_and_a_distribution_against_itself(rng: np.random.Generator) -> None:
    q, p = (np.log(rng.dirichlet(np.ones(4), 3)) for _ in range(2))
    rows = (np.exp(p) * (p - q)).sum(1)
    for reduction, wanted in (("sum", rows.sum()), ("batchmean", rows.mean()), ("mean", rows.mean() / 4)):
        equal(F.kl_div(t64(q), t64(np.exp(p)), reduction), wanted, rtol=1e-12)
        equal(F.kl_div(t64(q), t64(p), reduction, log_target=True), wanted, rtol=1e-12)
    assert abs(F.kl_div(t64(p), t64(np.exp(p)), "sum").item()) < 1e-15


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64])
def test_cross_entropy_takes_labels_of_any_integer_dtype(dtype: Any) -> None:
    x = np.array([[1e4, 0, 0], [0, 0, 0], [-inf, 5, 5.0]])
    labels = np.array([1, 2, 2], dtype)
    for given in (labels, sa.Tensor(labels), labels.tolist()):
        equal(F.cross_entropy(t64(x), given, "none"), [1e4, math.log(3), math.log(2)], rtol=1e-14)
    wanted = [[1, -1, 0], [1 / 3, 1 / 3, -2 / 3], [0, 0.5, -0.5]]
    np.testing.assert_allclose(slope(lambda t: F.cross_entropy(t, labels, "sum"), x), wanted, atol=1e-15)


def test_cross_entropy_of_pixels(rng: np.random.Generator) -> None:
    x, labels = rng.normal(size=(2, 3, 4, 5)), rng.integers(3, size=(2, 4, 5))
    q = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    wanted = -np.log(np.take_along_axis(q, labels[:, None], 1)[:, 0])
    equal(F.cross_entropy(t64(x), labels, "none"), wanted, rtol=1e-13)
    equal(F.cross_entropy(t64(x), labels), wanted.mean(), rtol=1e-13)
    np.testing.assert_allclose(
        slope(lambda t: F.cross_entropy(t, labels), x), (q - np.eye(3)[labels].transpose(0, 3, 1, 2)) / 40, atol=1e-16
    )


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0.0, 1.0], TypeError, r"float.*astype"),
        (np.array([0, 3]), ValueError, r"\[0, 3\]; expected 0 to 2"),
        (np.array([-1, 0]), ValueError, r"\[-1, 0\]"),
        (np.array([0, 1, 2]), ValueError, r"\(2, 3\).*\(3,\)"),
    ],
)
def test_cross_entropy_refuses_other_labels(labels: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        F.cross_entropy(t64(np.zeros((2, 3))), np.array(labels))


def test_where_keeps_the_digits_of_a_numpy_number() -> None:
    assert F.where(True, np.float64(0.7), 0.0) == 0.7 and F.where(False, 1, np.float64(0.7)) == 0.7
    assert F.where(True, 0.7, 0.0).dtype == np.float32  # Python's numbers alone


def test_gaussian_kl_is_the_integral() -> None:
    """The integral of p log(p / q) over the real line, p = N(mu, exp(logvar)), q = N(0, 1)."""
    z, dz = np.linspace(-30, 30, 600_001, retstep=True)
    for mu, logvar in ((0.0, 0.0), (1.5, 0.7), (-2.0, -1.5)):
        log_p = -((z - mu) ** 2) / (2 * math.exp(logvar)) - logvar / 2
        integral = (np.exp(log_p) / math.sqrt(2 * math.pi) * (log_p + z**2 / 2)).sum() * dz
        assert abs(F.gaussian_kl(t64(mu), t64(logvar)).item() - integral) < 1e-12


def test_gaussian_kl_does_not_cancel_near_the_prior() -> None:
    """(exp(v) - 1 - v) / 2 = v^2 / 4 + v^3 / 12 + ..., of which exp(v) - 1 in float32 would leave one digit."""
    equal(F.gaussian_kl(sa.tensor([0.0]), sa.tensor([1e-3]), "none"), np.array([2.5008336e-07], np.float32), rtol=1e-3)


def test_bernoulli_kl_is_the_sum_over_both_outcomes() -> None:
    q = np.array([1e-6, 0.05, 0.5, 1 - 1e-6])
    for p in (0.05, 0.9):
        wanted = [sum(a * math.log(a / b) for a, b in ((p, v), (1 - p, 1 - v))) for v in q.tolist()]
        np.testing.assert_allclose(F.bernoulli_kl(p, t64(q), "none").numpy(), wanted, rtol=1e-10, atol=1e-16)
    equal(slope(lambda x: F.bernoulli_kl(0.05, x, "sum"), q), (1 - 0.05) / (1 - q) - 0.05 / q, rtol=1e-9)


@pytest.mark.parametrize(("rho", "rho_hat"), [(0.0, 0.5), (1.0, 0.5), (0.05, 0.0), (0.05, 1.5)])
def test_bernoulli_kl_names_what_is_no_probability(rho: float, rho_hat: float) -> None:
    with pytest.raises(ValueError, match=r"expected probabilities in \(0, 1\): hold it off the ends with F.clip\(rho"):
        F.bernoulli_kl(rho, t64([0.5, rho_hat]))


LOSSES = [F.mse_loss, F.l1_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits, F.kl_div, F.gaussian_kl]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda f: f.__name__)
def test_reductions(loss: Callable, rng: np.random.Generator) -> None:
    x, t = t64(rng.uniform(0.1, 0.9, (3, 4))), t64(rng.uniform(0.1, 0.9, (3, 4)))
    elements = loss(x, t, reduction="none").numpy()
    assert elements.shape == (3, 4)
    equal(loss(x, t, reduction="sum"), elements.sum(), rtol=1e-14)
    equal(loss(x, t), elements.mean(), rtol=1e-14)
    equal(loss(x, t, reduction="mean"), elements.mean(), rtol=1e-14)
    with pytest.raises(ValueError, match=r"'average'; expected one of .*'mean', 'sum', 'none'"):
        loss(x, t, reduction="average")
    with pytest.raises(ValueError, match=r"\(3, 4\).*\(4,\)"):
        loss(x, t[0])


# --- float32 stays float32 ------------------------------------------------------------------------

PARTNERS = {
    "float": 2.5, "int": 2, "bool": True, "np.float64": np.float64(2.5), "np.int64": np.int64(2),
    "0-d array": np.array(2.5), "list": [1.0, 2.0, 3.0], "nested list": [[1.0], [2.0]], "np.pi": np.sqrt(2) * np.pi,
}  # fmt: skip


@pytest.mark.parametrize("partner", PARTNERS)
def test_numbers_and_lists_take_the_tensors_dtype(partner: str) -> None:
    other, x = PARTNERS[partner], sa.tensor([[0.5, 1.0, 1.5]], requires_grad=True)
    as_float32, a = np.asarray(other, np.float32), x.numpy()
    for found, wanted in (
        (x + other, a + as_float32), (other + x, as_float32 + a), (x - other, a - as_float32),
        (other - x, as_float32 - a), (x * other, a * as_float32), (other * x, as_float32 * a),
        (x / other, a / as_float32), (other / x, as_float32 / a), (x**other, a**as_float32),
        (other**x, as_float32**a), (F.maximum(x, other), np.maximum(a, as_float32)),
        (F.minimum(other, x), np.minimum(as_float32, a)), (F.where(x > 1, x, other), np.where(a > 1, a, as_float32)),
    ):  # fmt: skip
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)
        assert sa.grad(found.sum(), x, create_graph=True).dtype == np.float32


def test_python_numbers_become_float32_and_arrays_keep_their_dtype() -> None:
    assert {sa.tensor(v).dtype.name for v in (1, 2.5, True, [1, 2], [[1.0]], [])} == {"float32"}
    for dtype in ("float16", "float64", "int8", "uint8", "bool"):
        assert sa.tensor(np.ones(2, dtype)).dtype == dtype == sa.Tensor(np.ones(2, dtype)).dtype
    assert sa.tensor([1, 2], dtype="int64").dtype == "int64"


def test_a_choice_between_two_numbers_is_float32() -> None:
    x = sa.tensor([-1.0, 1.0])
    equal(F.where(x > 0, 1.0, 0.25) * x, np.array([-0.25, 1.0], np.float32))


# --- what an infinite gradient must not leak into ---------------------------------------------------


@pytest.mark.parametrize(
    ("cut", "at"),
    [
        (F.relu, -1.0),
        (F.relu, 0.0),
        (lambda x: F.clip(x, 0.0, 10.0), -1.0),
        (lambda x: F.maximum(x, 0.0), -1.0),
        (lambda x: F.where(x.data > 0, x, 0.0), -1.0),
    ],
)
def test_where_the_value_was_cut_the_gradient_is_zero_even_if_infinite(cut, at) -> None:
    x = sa.tensor([at, 4.0], requires_grad=True)
    with np.errstate(divide="ignore"):
        F.sqrt(cut(x)).sum().backward()
    np.testing.assert_array_equal(x.grad, np.array([0.0, 0.25], np.float32))


@pytest.mark.parametrize("other", [np.arange(1, 4), np.array([True, False, True]), [1, 2, 3], np.float64(2), 3])
def test_float32_stays_float32_beside_integers(other) -> None:
    x = sa.tensor([1.0, 2.0, 3.0], requires_grad=True)
    out = x * other
    out.sum().backward()
    assert out.dtype == np.float32 and x.grad.dtype == np.float32
    np.testing.assert_array_equal(out.numpy(), np.float32([1, 2, 3]) * np.float32(other))
    assert (sa.tensor(np.array([51, 255], np.uint8)) / 255).dtype == np.float32


def test_a_sum_of_squares_keeps_its_digits_on_millions_of_elements() -> None:
    x = np.random.default_rng(0).random(10_000_000, dtype=np.float32)
    exact = np.mean(x.astype(np.float64) ** 2)
    assert abs(F.mse_loss(x, np.zeros_like(x)) / exact - 1) < 1e-6


def test_losses_compute_in_the_inputs_dtype() -> None:
    x = sa.tensor([1.0, 2.0])
    assert F.mse_loss(x, np.array([1, 4])).item() == 2.0
    assert F.mse_loss(x, np.array([1.0, 4.0])).dtype == np.float32
    with pytest.raises(TypeError, match=r"uint8.*astype"):
        F.mse_loss(np.zeros(3, np.uint8), np.full(3, 100, np.uint8))
    with pytest.raises(ValueError, match=r"\(0, 2\) is empty"):
        F.l1_loss(np.zeros((0, 2)), np.zeros((0, 2)))
