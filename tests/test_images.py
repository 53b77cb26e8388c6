"""Operations on images: against the slow way, their adjoints and their derivatives."""

from __future__ import annotations

import itertools
import math
from typing import Any

import naive
import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn
from scratchae.images import conv

GRID = list(
    itertools.product(
        [(1, 1), (2, 2), (3, 2)],  # stride
        [(0, 0), (1, 1), (2, 1)],  # padding
        [(1, 1), (2, 1), (2, 3)],  # dilation
        [1, 2],  # groups
        [(1, 1), (2, 3), (3, 3), (5, 4)],  # kernel
    )
)


def close(found: Any, wanted: np.ndarray, tolerance: float) -> None:
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max(initial=0) <= tolerance * np.abs(wanted).max(initial=0)


@pytest.mark.parametrize("channels", [(8, 2), (2, 8)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_convolution_and_its_gradients_are_those_of_the_slow_way(rng, channels, dtype, tolerance) -> None:
    for stride, padding, dilation, groups, kernel in GRID:
        x = rng.standard_normal((3, channels[0], 9, 11)).astype(dtype)
        w = rng.standard_normal((channels[1], channels[0] // groups, *kernel)).astype(dtype)
        X, W = sa.tensor(x, requires_grad=True), sa.tensor(w, requires_grad=True)
        out = F.conv2d(X, W, None, stride, padding, dilation, groups)
        close(out.numpy(), naive.conv2d(x, w, None, stride, padding, dilation, groups), tolerance)
        g = rng.standard_normal(out.shape).astype(dtype)
        out.backward(g)
        assert out.dtype == X.grad.dtype == W.grad.dtype == dtype
        # C is linear in x and in w: <C(x', w), g> = <x', T(g, w)> and <C(x, w'), g> = <w', W(x, g)>
        for given, grad in ((X, X.grad), (W, W.grad)):
            other = rng.standard_normal(given.shape).astype(dtype)
            moved = naive.conv2d(
                *((other, w) if given is X else (x, other)), None, stride, padding, dilation, groups
            ).astype(np.float64)
            scale = np.linalg.norm(moved) * np.linalg.norm(g)
            assert abs((moved * g).sum() - (other.astype(np.float64) * grad).sum()) <= 10 * tolerance * scale


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1])
def test_the_transposed_convolution_is_the_adjoint(rng, stride, padding) -> None:
    w = rng.standard_normal((4, 3, 3, 3))
    v = rng.standard_normal((2, 4, 5, 6))
    back = F.conv_transpose2d(v, w, None, stride, padding)
    x = rng.standard_normal(back.shape)
    there = F.conv2d(x, w, None, stride, padding)
    assert abs((there * v).sum() - (x * back).sum()) <= 1e-12 * np.linalg.norm(there) * np.linalg.norm(v)


# stride <= output_padding < dilation, in one axis or both: some rows of the output are under no tap of any kernel.
TRANSPOSED = [
    {"kernel": (2, 2), "stride": 1, "dilation": 2, "output_padding": 1},
    {"kernel": (2, 3), "stride": 1, "dilation": 3, "output_padding": 2, "padding": 1},
    {"kernel": (1, 1), "stride": 1, "dilation": 3, "output_padding": 2},
    {"kernel": (3, 2), "stride": 2, "dilation": 3, "output_padding": 2, "padding": (1, 0), "groups": 2},
    {"kernel": (1, 4), "stride": (3, 1), "dilation": (1, 2), "output_padding": (2, 1), "padding": (0, 2)},
    {"kernel": (4, 1), "stride": (1, 2), "dilation": (2, 3), "output_padding": (1, 2), "groups": 4},
    {"kernel": (3, 3), "stride": (2, 3), "dilation": 1, "output_padding": (1, 2), "padding": (1, 3)},
]


@pytest.mark.parametrize("plan", [None, True, False])  # None: as the channels suggest
@pytest.mark.parametrize("case", TRANSPOSED, ids=str)
def test_transposed_convolutions_and_their_first_two_derivatives(rng, monkeypatch, case, plan) -> None:
    options = {name: value for name, value in case.items() if name != "kernel"}
    groups = options.get("groups", 1)
    arrays = (rng.standard_normal((2, 4, 3, 2)), rng.standard_normal((4, 2, *case["kernel"])))
    bias = rng.standard_normal(2 * groups)
    if plan is not None:
        monkeypatch.setattr(conv, "shift_the_output", lambda *channels: plan)
    for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-12)):
        given = [a.astype(dtype) for a in (*arrays, bias)]
        close(F.conv_transpose2d(*given, **options), naive.conv_transpose2d(*given, **options), tolerance)
    given = [sa.tensor(a, requires_grad=True) for a in (*arrays, bias)]
    assert sa.gradcheck(lambda *a: F.conv_transpose2d(*a, **options), given)
    assert sa.gradgradcheck(lambda *a: F.conv_transpose2d(*a, **options), given)


CONVOLUTIONS = [
    {"kernel": (2, 3), "stride": (3, 1), "dilation": (1, 2), "padding": (0, 2)},
    {"kernel": (1, 4), "stride": (1, 2), "dilation": (3, 1), "padding": (2, 1), "groups": 2},
    {"kernel": (3, 2), "stride": 3, "dilation": (2, 3), "padding": 2, "groups": 4},  # rows that no window reaches
    {"kernel": (1, 1), "stride": (2, 3), "padding": (1, 0)},
]


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolutions_and_their_first_two_derivatives(rng, case) -> None:
    options = {name: value for name, value in case.items() if name != "kernel"}
    shapes = (1, 4, 5, 7), (4, 4 // options.get("groups", 1), *case["kernel"]), (4,)
    given = [sa.tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]
    pairs = {n: v if isinstance(v, tuple) or n == "groups" else (v, v) for n, v in options.items()}
    close(F.conv2d(*given, **options).numpy(), naive.conv2d(*(t.numpy() for t in given), **pairs), 1e-12)
    assert sa.gradcheck(lambda *a: F.conv2d(*a, **options), given)
    assert sa.gradgradcheck(lambda *a: F.conv2d(*a, **options), given)


@pytest.mark.parametrize("kernel, stride, padding", [((1, 4), (3, 2), (0, 2)), ((4, 3), (1, 3), (2, 1)), (2, 3, 1)])
def test_pools_and_their_first_two_derivatives(rng, kernel, stride, padding) -> None:
    x = sa.tensor(rng.permutation(2 * 5 * 7).reshape(1, 2, 5, 7) / 10, requires_grad=True)  # no ties
    for pool, reduce, fill in ((F.max_pool2d, np.max, -np.inf), (F.avg_pool2d, np.mean, 0)):
        close(pool(x, kernel, stride, padding).numpy(), naive.pool(x.numpy(), kernel, stride, padding, reduce, fill),
            1e-15)  # fmt: skip
        assert sa.gradcheck(lambda a, pool=pool: pool(a, kernel, stride, padding), [x])
        assert sa.gradgradcheck(lambda a, pool=pool: pool(a, kernel, stride, padding) ** 2, [x])


@pytest.mark.parametrize("operation", [
    lambda x, w: F.conv2d(x, w, padding=1), lambda x, w: F.conv_transpose2d(x, w, None, 2),
    lambda x, w: F.avg_pool2d(x, 3), lambda x, w: F.upsample(x, 3, "bilinear"),
])  # fmt: skip
def test_half_precision_is_rounded_once(rng, operation) -> None:
    x, w = rng.standard_normal((2, 8, 6, 7)).astype(np.float16), rng.standard_normal((8, 8, 3, 3)).astype(np.float16)
    X = sa.tensor(x, requires_grad=True)
    out, wanted = operation(X, w), operation(x.astype(np.float64), w.astype(np.float64))
    assert out.dtype == np.float16
    assert (np.abs(out.numpy() - wanted) <= 2.0**-11 * 1.01 * np.abs(wanted) + 1e-5).all()
    large = operation(np.full_like(x, 30000), np.full_like(w, 1 / 1024))  # whose sums are above 65,504
    assert np.isfinite(large).all()
    (out * out).sum().backward()
    assert X.grad.dtype == np.float16 and np.isfinite(X.grad).all()


@pytest.mark.parametrize("plan", [True, False])
def test_both_plans_give_the_same(rng, monkeypatch, plan) -> None:
    x, w = rng.standard_normal((2, 8, 7, 6)), rng.standard_normal((2, 8, 3, 3))
    wanted = naive.conv2d(x, w, None, (1, 1), (1, 1))
    monkeypatch.setattr(conv, "shift_the_output", lambda *channels: plan)
    X = sa.tensor(x, requires_grad=True)
    out = F.conv2d(X, w, padding=1)
    close(out.numpy(), wanted, 1e-14)
    out.backward(np.ones(out.shape))
    turned = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    close(X.grad, naive.conv2d(np.ones(out.shape), turned, None, (1, 1), (1, 1)), 1e-14)


def test_the_batch_lies_innermost_and_stays_there() -> None:
    x = sa.Tensor(np.ones((4, 2, 6, 5), np.float32))
    layers = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Upsample(2))
    for layer in layers:
        x = layer(x)
        assert x.data.transpose(2, 1, 3, 0).flags.c_contiguous


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(2, 3, 3), nn.ConvTranspose2d(2, 3, 3, 2), nn.MaxPool2d(2), nn.AvgPool2d(2)]
)
def test_an_empty_batch_passes(layer) -> None:
    x = sa.tensor(np.zeros((0, 2, 6, 6), np.float32), requires_grad=True)
    out = layer(x)
    out.sum().backward()
    assert len(out) == 0 and x.grad.shape == x.shape
    assert all((p.grad == 0).all() for p in layer.parameters())


def test_max_pool_gives_the_gradient_to_the_first_of_equals_and_passes_nan_on() -> None:
    x = sa.tensor(np.ones((1, 1, 4, 4)), requires_grad=True)
    F.max_pool2d(x, 2).sum().backward()
    first = np.zeros((4, 4))
    first[::2, ::2] = 1
    np.testing.assert_array_equal(x.grad[0, 0], first)
    for place in range(4):
        data = np.arange(4.0)
        data[place] = np.nan
        assert np.isnan(F.max_pool2d(data.reshape(1, 1, 2, 2), 2))
    low = np.full((1, 1, 2, 2), -5.0)
    np.testing.assert_array_equal(F.max_pool2d(low, 2, 1, 1), np.full((1, 1, 3, 3), -5.0))


def test_layers_have_pytorchs_names_layouts_and_default_bounds() -> None:
    layer, back = nn.Conv2d(4, 6, (3, 5), 2, 1, 1, 2), nn.ConvTranspose2d(6, 4, 3, 2, 1, 1)
    assert {n: a.shape for n, a in layer.state_dict().items()} == {"weight": (6, 2, 3, 5), "bias": (6,)}
    assert {n: a.shape for n, a in back.state_dict().items()} == {"weight": (6, 4, 3, 3), "bias": (4,)}
    for p, fan in ((layer.weight, 2 * 15), (layer.bias, 2 * 15), (back.weight, 4 * 9), (back.bias, 4 * 9)):
        assert 0.5 / math.sqrt(fan) < np.abs(p.data).max() <= 1 / math.sqrt(fan)
    assert back(layer(sa.Tensor(np.zeros((1, 4, 8, 10), np.float32)))).shape == (1, 4, 8, 8)


def test_dropout_of_channels_keeps_or_drops_them_whole() -> None:
    x = np.ones((50, 40, 3, 3), np.float32)
    out = nn.Dropout2d(0.25)(x)
    assert ((out == out[:, :, :1, :1]).all()) and set(np.unique(out)) == {0, np.float32(4 / 3)}
    assert abs(out.mean() - 1) < 0.05
    assert nn.Dropout2d(0.25).eval()(x) is x


def test_batch_norm_of_images_normalises_each_channel(rng) -> None:
    x = rng.standard_normal((4, 3, 5, 6)) * 3 + 1
    out = nn.BatchNorm2d(3).to(np.float64)(sa.Tensor(x)).numpy()
    mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    close(out, (x - mean) / np.sqrt(var + 1e-5), 1e-12)
