"""Operations on images: against the slow way, their adjoints, what they refuse, and what their layers show."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import naive
import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn
from scratchae.autograd import conv

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


IMAGES = np.zeros((2, 3, 8, 8), np.float32)
WEIGHT = np.zeros((4, 3, 3, 3), np.float32)  # of a convolution with 4 outputs, of a transposed one with 4 inputs
MISTAKES = {
    "channels last": (lambda: nn.Conv2d(3, 4, 3)(IMAGES.transpose(0, 2, 3, 1)),
        r"expected \(N, 3, H, W\), got \(2, 8, 8, 3\).*NHWC.*transpose"),
    "wrong channels": (lambda: nn.Conv2d(5, 4, 3)(IMAGES), r"expected \(N, 5, H, W\), got \(2, 3, 8, 8\)"),
    "no batch": (lambda: nn.Conv2d(3, 4, 3)(IMAGES[0]), r"got \(3, 8, 8\).*four dimensions"),
    "five dimensions": (lambda: nn.Conv2d(3, 4, 3)(IMAGES[None]), r"got \(1, 2, 3, 8, 8\).*four dimensions"),
    "weight": (lambda: F.conv2d(IMAGES, WEIGHT[None]),
        r"conv2d: the weight.*\(1, 4, 3, 3, 3\).*\(O, C / groups, kh, kw\)"),
    "transposed weight": (lambda: F.conv_transpose2d(IMAGES, WEIGHT[0]),
        r"conv_transpose2d: the weight.*\(3, 3, 3\).*\(C, O / groups, kh, kw\)"),
    "bias": (lambda: F.conv2d(IMAGES, WEIGHT, WEIGHT[0, :, 0, 0]), r"bias has shape \(3,\); expected \(4,\)"),
    "bias of two axes": (lambda: F.conv2d(IMAGES, WEIGHT, WEIGHT[:, :1, 0, 0]), r"bias has shape \(4, 1\); expected"),
    "transposed bias": (lambda: F.conv_transpose2d(IMAGES, WEIGHT[:3], WEIGHT[:, 0, 0, 0]),
        r"bias has shape \(4,\); expected \(3,\)"),
    "three groups": (lambda: F.conv2d(IMAGES, WEIGHT, groups=3), r"conv2d: groups=3.*weight.shape\[0\] = 4"),
    "half a group": (lambda: F.conv2d(IMAGES, WEIGHT, groups=2.0), r"groups=2.0; expected"),
    "no group": (lambda: F.conv_transpose2d(IMAGES, WEIGHT, groups=0), r"conv_transpose2d: groups=0; expected"),
    "channels of a group": (lambda: F.conv2d(IMAGES, WEIGHT, groups=2), r"groups=2: expected \(N, 6, H, W\)"),
    "no kernel": (lambda: F.conv2d(IMAGES, WEIGHT[:, :, :0]), r"conv2d: kernel_size=\(0, 3\)"),
    "large kernel": (lambda: nn.Conv2d(3, 4, 11)(IMAGES),
        r"size \(-2, -2\).*input \(8, 8\).*kernel \(11, 11\).*padding"),
    "large pool": (lambda: F.max_pool2d(IMAGES, 9), r"size \(0, 0\).*kernel \(9, 9\)"),
    "output padding": (lambda: nn.ConvTranspose2d(3, 4, 3, 2, 1, 2)(IMAGES),
        r"output_padding=\(2, 2\).*stride \(2, 2\)"),
    "negative output": (lambda: nn.ConvTranspose2d(3, 4, 3, 1, 9)(IMAGES),
        r"size \(-8, -8\).*padding \(\(9, 9\), \(9, 9\)\)"),
    "stride": (lambda: F.conv2d(IMAGES, np.zeros((1, 3, 1, 1), np.float32), stride=0), r"stride=0"),
    "same with stride": (lambda: F.conv2d(IMAGES, np.zeros((1, 3, 1, 1), np.float32), None, 2, "same"), r"stride 1"),
    "padding word": (lambda: F.conv2d(IMAGES, np.zeros((1, 3, 1, 1), np.float32), padding="valid?"), r"'same'"),
    "pool padding": (lambda: F.max_pool2d(IMAGES, 2, padding=2), r"half of kernel_size"),
    "mode": (lambda: F.upsample(IMAGES, 2, "cubic"), r"'nearest' or 'bilinear'"),
    "no pixels": (lambda: F.conv2d(IMAGES[:, :, :0], WEIGHT, padding=2), r"conv2d: images of shape \(2, 3, 0, 8\)"),
    "no columns": (lambda: F.max_pool2d(IMAGES[..., :0], 2, padding=1), r"max_pool2d: images of shape \(2, 3, 8, 0\)"),
    "no channels": (lambda: F.upsample(IMAGES[:, :0], 2), r"\(2, 0, 8, 8\); expected at least one channel"),
    "no outputs": (lambda: F.conv2d(IMAGES, WEIGHT[:0]), r"the weight has shape \(0, 3, 3, 3\); expected"),
    "channels to shuffle": (lambda: F.pixel_shuffle(IMAGES, 2),
        r"pixel_shuffle: factor=2 with 3 channels; expected a multiple of 4"),
    "rows to unshuffle": (lambda: F.pixel_unshuffle(IMAGES[:0, :, 1:], 2),
        r"pixel_unshuffle: factor=2 with images of 7 x 8; expected multiples of 2"),
    "shuffled rows": (lambda: F.pixel_shuffle(IMAGES[0], 1),
        r"pixel_shuffle: expected \(N, C, H, W\), got \(3, 8, 8\)"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(mistake) -> None:
    call, message = MISTAKES[mistake]
    with pytest.raises(ValueError, match=message):
        call()


NO_SIZES = [0, -1, True, np.True_, math.nan, math.inf, 2.5, "3", b"3", None, [], (1, 2, 3), (2, True), (2, math.nan),
            np.array([2, 2]), {}, 10**400, (1, -(10**400)), 2**31]  # fmt: skip
TAKERS = {
    "conv2d: stride": lambda n: F.conv2d(IMAGES, WEIGHT, stride=n),
    "conv2d: padding": lambda n: F.conv2d(IMAGES, WEIGHT, padding=n),
    "conv2d: dilation": lambda n: F.conv2d(IMAGES, WEIGHT, dilation=n),
    "conv2d: groups": lambda n: F.conv2d(IMAGES, WEIGHT, groups=n),
    "conv_transpose2d: stride": lambda n: F.conv_transpose2d(IMAGES, WEIGHT[:3], stride=n),
    "conv_transpose2d: padding": lambda n: F.conv_transpose2d(IMAGES, WEIGHT[:3], padding=n),
    "conv_transpose2d: output_padding": lambda n: F.conv_transpose2d(IMAGES, WEIGHT[:3], output_padding=n),
    "conv_transpose2d: dilation": lambda n: F.conv_transpose2d(IMAGES, WEIGHT[:3], dilation=n),
    "conv_transpose2d: groups": lambda n: F.conv_transpose2d(IMAGES, WEIGHT[:3], groups=n),
    "max_pool2d: kernel_size": lambda n: F.max_pool2d(IMAGES, n),
    "max_pool2d: padding": lambda n: F.max_pool2d(IMAGES, 2, padding=n),
    "avg_pool2d: stride": lambda n: F.avg_pool2d(IMAGES, 2, n),
    "upsample: scale_factor": lambda n: F.upsample(IMAGES, n),
    "pixel_shuffle: factor": lambda n: F.pixel_shuffle(IMAGES, n),
    "pixel_unshuffle: factor": lambda n: F.pixel_unshuffle(IMAGES, n),
}


@pytest.mark.parametrize("option", TAKERS)
def test_what_is_no_size_is_refused_by_name(option) -> None:
    taken = [0] if "padding" in option else [None] if option == "avg_pool2d: stride" else []
    for value in NO_SIZES:
        if not any(value is n for n in taken):
            with pytest.raises(ValueError, match=re.escape(option)):
                TAKERS[option](value)


@pytest.mark.parametrize("call", [
    lambda x: F.conv2d(x, WEIGHT), lambda x: F.conv2d(IMAGES, x), lambda x: F.conv_transpose2d(x, WEIGHT),
    lambda x: F.max_pool2d(x, 2), lambda x: F.avg_pool2d(x, 2), lambda x: F.upsample(x, 2),
    lambda x: F.pixel_shuffle(x, 1), lambda x: F.pixel_unshuffle(x, 1),
])  # fmt: skip
@pytest.mark.parametrize("given", [IMAGES.tolist(), None, 3.0, "images", IMAGES.astype(complex), IMAGES.astype(object)],
    ids=lambda given: type(given).__name__)  # fmt: skip
def test_what_is_no_array_of_real_numbers_is_refused(call, given) -> None:
    with pytest.raises(TypeError, match=r"2d: the|shuffle: the|upsample: the"):
        call(given)


OPTIONS = {
    "Conv2d: kernel_size=(3, 5, 7); expected": lambda: nn.Conv2d(1, 1, (3, 5, 7)),
    "Conv2d: kernel_size=(3,); expected": lambda: nn.Conv2d(1, 1, (3,)),
    "Conv2d: kernel_size=0; expected": lambda: nn.Conv2d(1, 1, 0),
    "Conv2d: kernel_size=2.5; expected": lambda: nn.Conv2d(1, 1, 2.5),
    "Conv2d: kernel_size=-3; expected": lambda: nn.Conv2d(1, 1, -3),
    "Conv2d: stride=0; expected": lambda: nn.Conv2d(1, 1, 3, stride=0),
    "Conv2d: stride=None; expected": lambda: nn.Conv2d(1, 1, 3, stride=None),
    "Conv2d: dilation=(1, 0); expected": lambda: nn.Conv2d(1, 1, 3, dilation=(1, 0)),
    "Conv2d: padding=-1; expected": lambda: nn.Conv2d(1, 1, 3, padding=-1),
    "Conv2d: padding='smae'; expected an integer of at least 0, or two of them, 'same' or 'valid'":
        lambda: nn.Conv2d(1, 1, 3, padding="smae"),
    "Conv2d: padding='same' needs stride 1": lambda: nn.Conv2d(1, 1, 3, 2, "same"),
    "Conv2d: groups=2.0; expected": lambda: nn.Conv2d(2, 2, 3, groups=2.0),
    "Conv2d: groups=2 must divide both channel counts, 3, 4": lambda: nn.Conv2d(3, 4, 3, groups=2),
    "ConvTranspose2d: in_channels=0; expected": lambda: nn.ConvTranspose2d(0, 1, 3),
    "ConvTranspose2d: kernel_size='3'; expected": lambda: nn.ConvTranspose2d(1, 1, "3"),
    "ConvTranspose2d: padding='same'; expected": lambda: nn.ConvTranspose2d(1, 1, 3, padding="same"),
    "ConvTranspose2d: padding='valid'; expected": lambda: nn.ConvTranspose2d(1, 1, 3, padding="valid"),
    "ConvTranspose2d: output_padding=-1; expected": lambda: nn.ConvTranspose2d(1, 1, 3, 2, 1, -1),
    "ConvTranspose2d: output_padding=(2, 2) must be smaller": lambda: nn.ConvTranspose2d(1, 1, 3, 2, 1, 2),
    "MaxPool2d: kernel_size=(2, 2, 2); expected": lambda: nn.MaxPool2d((2, 2, 2)),
    "MaxPool2d: padding='valid'; expected": lambda: nn.MaxPool2d(2, padding="valid"),
    "MaxPool2d: padding=(2, 2) must be at most half": lambda: nn.MaxPool2d(2, padding=2),
    "AvgPool2d: stride=0; expected": lambda: nn.AvgPool2d(2, 0),
    "Upsample: scale_factor=0; expected": lambda: nn.Upsample(0),
    "Upsample: mode='cubic'; expected 'nearest' or 'bilinear'": lambda: nn.Upsample(2, "cubic"),
    "PixelShuffle: upscale_factor=0; expected": lambda: nn.PixelShuffle(0),
    "PixelUnshuffle: downscale_factor=2.5; expected": lambda: nn.PixelUnshuffle(2.5),
}  # fmt: skip


@pytest.mark.parametrize("message", OPTIONS)
def test_a_layer_refuses_its_options_by_name_before_it_draws_a_weight(message) -> None:
    before = sa.random.random_state()
    with pytest.raises(ValueError, match=re.escape(message)):
        OPTIONS[message]()
    assert sa.random.random_state() == before


def test_valid_is_no_padding(rng) -> None:
    x = rng.standard_normal((2, 3, 5, 4)).astype(np.float32)
    np.testing.assert_array_equal(F.conv2d(x, WEIGHT + x[:1, :, :3, :3], padding="valid"),
        F.conv2d(x, WEIGHT + x[:1, :, :3, :3]))  # fmt: skip


class Square(nn.Linear):
    """A constructor whose option is no attribute: shown is what the layer is made of."""

    def __init__(self, n: int):
        super().__init__(n, n)


SHOWN = {
    "Linear(2, 3)": lambda: nn.Linear(2, 3),
    "Linear(2, 3, bias=False)": lambda: nn.Linear(2, 3, bias=False),
    "Square(2, 2)": lambda: Square(2),
    "Flatten()": nn.Flatten,
    "Flatten(start_dim=2)": lambda: nn.Flatten(2),
    "Unflatten(1, (2, 3))": lambda: nn.Unflatten(1, [2, 3]),
    "Conv2d(2, 4, (3, 3))": lambda: nn.Conv2d(2, 4, 3),
    "Conv2d(2, 4, (3, 5), stride=2, padding=(1, 2), dilation=2, groups=2, bias=False)":
        lambda: nn.Conv2d(2, 4, (3, 5), 2, (1, 2), 2, 2, False),
    "Conv2d(2, 4, (3, 3), padding='same')": lambda: nn.Conv2d(2, 4, 3, padding="same"),
    "ConvTranspose2d(2, 4, (3, 3), stride=2, padding=1, output_padding=1, dilation=2)":
        lambda: nn.ConvTranspose2d(2, 4, 3, 2, 1, 1, dilation=2),
    "MaxPool2d(2)": lambda: nn.MaxPool2d(2),
    "AvgPool2d((3, 2), stride=2, padding=1)": lambda: nn.AvgPool2d((3, 2), 2, 1),
    "Upsample(2)": lambda: nn.Upsample(2),
    "Upsample((2, 3), mode='bilinear')": lambda: nn.Upsample((2, 3), "bilinear"),
    "PixelShuffle(2)": lambda: nn.PixelShuffle(2),
}  # fmt: skip


@pytest.mark.parametrize("shown", SHOWN)
def test_a_layer_shows_the_options_that_are_not_at_their_defaults(shown: str) -> None:
    assert repr(SHOWN[shown]()).partition("  #")[0] == shown
