"""float16: what adds up many numbers computes in float32 and rounds once, so that the results differ by a rounding."""

from __future__ import annotations

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn

LARGE = np.random.default_rng(0).uniform(100, 300, (40, 50)).astype(np.float16)  # its squares overflow in float16
LOGITS = np.random.default_rng(1).uniform(-10, 10, (40, 50)).astype(np.float16)
UNIT = np.random.default_rng(2).uniform(0.01, 0.99, (40, 50)).astype(np.float16)
LABELS = np.arange(40) % 50
KERNEL = np.random.default_rng(3).uniform(-0.1, 0.1, (2, 2, 3, 3)).astype(np.float16)

OPERATIONS = {
    "sum": (lambda x: x.sum(axis=1), LARGE),
    "mean": (lambda x: x.mean(), LARGE),
    "var": (lambda x: x.var(axis=0), LARGE),
    "std": (lambda x: x.std(axis=0), LARGE),
    "cumsum": (lambda x: x.cumsum(1), LARGE),
    "prod": (lambda x: (x * 2).prod(1), UNIT[:, :12]),
    "cumprod": (lambda x: x.cumprod(1), UNIT[:, :6]),
    "einsum": (lambda x: F.einsum("ij,kj,kj->i", x, LARGE[:3] / np.float16(1000), LARGE[:3] / np.float16(1000)), LARGE),
    "norm": (lambda x: F.norm(x, axis=1), LARGE),
    "sum_of_squares": (lambda x: F.sum_of_squares(x, 1e-4), LARGE),
    "logsumexp": (lambda x: F.logsumexp(x, 1), LOGITS),
    "softmax": (lambda x: F.softmax(x, 1), LOGITS),
    "log_softmax": (lambda x: F.log_softmax(x, 1), LOGITS),
    "gelu": (lambda x: F.gelu(x), LOGITS),
    "pad": (lambda x: F.pad(x, ((99, 0), (3, 70)), "reflect"), LARGE),
    "matmul": (lambda x: x @ (LARGE.T[:, :3] / np.float16(1000)), LARGE),
    "linear": (lambda x: F.linear(x, LARGE[:3] / np.float16(1000), np.ones(3, np.float16)), LARGE),
    "mse_loss": (lambda x: F.mse_loss(x, LARGE[::-1] / np.float16(4)), LARGE),
    "l1_loss": (lambda x: F.l1_loss(x, LARGE[::-1]), LARGE),
    "binary_cross_entropy": (lambda x: F.binary_cross_entropy(x, UNIT[::-1]), UNIT),
    "binary_cross_entropy_with_logits": (lambda x: F.binary_cross_entropy_with_logits(x, UNIT), LOGITS),
    "kl_div": (lambda x: F.kl_div(x, UNIT, "batchmean"), LOGITS),
    "cross_entropy": (lambda x: F.cross_entropy(x, LABELS), LOGITS),
    "gaussian_kl": (lambda x: F.gaussian_kl(x, LOGITS), LARGE),
    "bernoulli_kl": (lambda x: F.bernoulli_kl(0.05, x), UNIT),
    "gaussian_kl batchmean": (lambda x: F.gaussian_kl(x / np.float16(8), LOGITS, "batchmean"), LARGE),
    "cross_entropy weighted": (
        lambda x: F.cross_entropy(x, LABELS, weight=LABELS.repeat(2)[:50], ignore_index=3, label_smoothing=0.1), LOGITS
    ),
    "weighted logits": (lambda x: F.binary_cross_entropy_with_logits(x, UNIT, weight=LOGITS, pos_weight=3.0), LOGITS),
    "huber_loss": (lambda x: F.huber_loss(x, LARGE[::-1], delta=20.0), LARGE),
    "smooth_l1_loss": (lambda x: F.smooth_l1_loss(x, LARGE[::-1], beta=20.0), LARGE),
    "gaussian_nll_loss": (lambda x: F.gaussian_nll_loss(x, LARGE[::-1], UNIT * np.float16(1000)), LARGE),
    "cosine_similarity": (lambda x: F.cosine_similarity(x, LARGE[::-1]), LARGE),
    "continuous_bernoulli_nll": (lambda x: F.continuous_bernoulli_nll(x, UNIT[::-1]), UNIT),
    "continuous_bernoulli_mean": (F.continuous_bernoulli_mean, UNIT),
    "ssim": (lambda x: F.ssim(x.reshape(5, 2, 10, 20), UNIT[::-1].reshape(5, 2, 10, 20), window_size=7), UNIT),
}  # fmt: skip


def norm(kind, training=True):
    """A layer of the input's dtype, as a function."""

    def apply(x):
        layer = kind().to(x.dtype).train(training)
        if not training:
            layer.running_mean[...], layer.running_var[...] = 200, 400
        return layer(x)

    return apply


OPERATIONS |= {
    "LayerNorm": (norm(lambda: nn.LayerNorm(50)), LARGE),
    "BatchNorm1d": (norm(lambda: nn.BatchNorm1d(50)), LARGE),
    "BatchNorm1d, eval": (norm(lambda: nn.BatchNorm1d(50), training=False), LARGE),
    "GroupNorm": (norm(lambda: nn.GroupNorm(5, 50)), LARGE),
    "InstanceNorm2d": (lambda x: nn.InstanceNorm2d(4)(x.reshape(5, 4, 10, 10)), LARGE),
    "silu": (lambda x: F.silu(x), LOGITS),
    "conv1d": (lambda x: F.conv1d(x.reshape(20, 2, 50), KERNEL[:, :, 0].astype(x.dtype), padding=1), LARGE),
    "conv_transpose1d": (lambda x: F.conv_transpose1d(x.reshape(20, 2, 50), KERNEL[:, :, 0].astype(x.dtype)), LARGE),
    "avg_pool1d": (lambda x: F.avg_pool1d(x.reshape(1, 1, 2000), 2000), LARGE),
    "conv2d": (lambda x: F.conv2d(x.reshape(5, 2, 10, 20), KERNEL.astype(x.dtype), padding=1), LARGE),
    "conv_transpose2d": (lambda x: F.conv_transpose2d(x.reshape(5, 2, 10, 20), KERNEL.astype(x.dtype)), LARGE),
    "avg_pool2d": (lambda x: F.avg_pool2d(x.reshape(1, 1, 40, 50), (40, 50)), LARGE),
    "upsample": (lambda x: F.upsample(x.reshape(1, 1, 40, 50), 3, mode="bilinear"), LARGE),
}


def test_the_running_statistics_of_half_precision_are_rounded_once():
    layer, wide = nn.BatchNorm1d(50).to(np.float16), nn.BatchNorm1d(50)
    for _ in range(3):
        layer(sa.tensor(LARGE))
        wide(sa.tensor(LARGE.astype(np.float32)))
    assert layer.running_var.dtype == np.float16
    np.testing.assert_allclose(layer.running_var, wide.running_var, rtol=3 * 2.0**-11)
    np.testing.assert_allclose(layer.running_mean, wide.running_mean, rtol=3 * 2.0**-11)


def value_and_slope(function, array):
    x = sa.tensor(array, requires_grad=True)
    y = function(x)
    y.backward(np.full(y.shape, 0.125, y.dtype))
    assert y.dtype == x.grad.dtype == array.dtype
    return y.data, x.grad


@pytest.mark.parametrize("name", OPERATIONS)
def test_half_precision_is_float32_rounded_once(name):
    function, array = OPERATIONS[name]
    for half, exact in zip(value_and_slope(function, array), value_and_slope(function, array.astype(np.float64)),
                           strict=True):  # fmt: skip
        assert np.isfinite(half).all()
        rounding = np.maximum(np.abs(exact) * 2.0**-11, 2.0**-25)  # half a unit in the last place
        assert (np.abs(half - exact) <= 1.1 * rounding + 1e-6 * np.abs(exact).max()).all()


def test_a_float16_result_that_float16_cannot_hold_is_infinite():
    with np.errstate(over="ignore"):
        assert np.isinf(sa.tensor(LARGE).sum().data)


def test_a_wider_operand_decides_the_result():
    assert F.mse_loss(sa.tensor(UNIT), UNIT.astype(np.float32)).dtype == np.float16  # a target takes the input's
    assert (sa.tensor(UNIT) @ UNIT.T.astype(np.float32)).dtype == np.float32


def test_keywords_are_widened_too():
    assert F.mse_loss(input=sa.tensor(LARGE), target=LARGE * np.float16(0.5)).item() == pytest.approx(
        ((LARGE.astype(float) / 2) ** 2).mean(), rel=1e-3
    )


@pytest.mark.parametrize("loss", [F.binary_cross_entropy, F.binary_cross_entropy_with_logits])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_target_a_few_roundings_outside_is_taken_in_its_own_dtype(loss, dtype):
    eps = np.finfo(dtype).eps
    x = np.array([0.5, 0.5], dtype)
    clean = loss(x, np.array([0.0, 1.0], dtype))
    np.testing.assert_array_equal(loss(x, np.array([-eps, 1 + 2 * eps], dtype)), clean)
    np.testing.assert_array_equal(loss(x, np.array([0, 1 + 1.2e-7], np.float32)), clean)
    with pytest.raises(ValueError, match="target ranges over"):
        loss(x, np.array([0.0, 1 + 20 * eps], dtype))


def test_many_equal_maxima_share_the_gradient():
    x = sa.tensor(np.zeros(70_000, np.float16), requires_grad=True)
    x.max().backward()
    np.testing.assert_allclose(x.grad, 1 / 70_000, rtol=1e-2)


def test_a_denoising_autoencoder_of_half_precision_trains():
    model = sa.DenoisingAutoencoder.dense((6, 2)).to(np.float16)
    data = np.random.default_rng(0).random((16, 6)).astype(np.float16)
    history = sa.Trainer(model, sa.optim.Adam(model.parameters())).fit(data, epochs=2, batch_size=4, progress=False)
    assert np.isfinite(history["loss"]).all() and model.reconstruct(data).dtype == np.float16
