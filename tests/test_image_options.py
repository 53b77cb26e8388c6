"""What operations on images and their layers refuse, and what the layers show of their options."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn

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
    "too small to mirror": (lambda: nn.Conv2d(3, 4, 3, padding=(0, 8), padding_mode="reflect")(IMAGES),
        r"Conv2d\(3, 4, .*input \(2, 3, 8, 8\) is too small for 8 of padding; pad less"),
    "too small to go around": (lambda: nn.Conv1d(3, 4, 3, padding=9, padding_mode="circular")(IMAGES[..., 0]),
        r"Conv1d\(3, 4, .*input \(2, 3, 8\) is too small for 9 of padding; pad less"),
    "channels last, mirrored": (lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")(IMAGES[0]),
        r"Conv2d: expected \(N, 3, H, W\), got \(3, 8, 8\)"),
    "series of two dimensions": (lambda: nn.Conv1d(3, 4, 3)(IMAGES[0, 0]),
        r"conv1d: expected \(N, 3, L\), got \(8, 8\)"),
    "channels of series": (lambda: nn.Conv1d(5, 4, 3)(IMAGES[0]), r"conv1d: expected \(N, 5, L\), got \(3, 8, 8\)"),
    "mirrored series": (lambda: nn.Conv1d(5, 4, 3, padding=1, padding_mode="reflect")(IMAGES[0]),
        r"Conv1d: expected \(N, 5, L\), got \(3, 8, 8\)"),
    "images as series": (lambda: nn.MaxPool1d(2)(IMAGES), r"max_pool1d: expected \(N, C, L\).*three dimensions"),
    "series without steps": (lambda: nn.AvgPool1d(2)(IMAGES[0, :, :0]), r"avg_pool1d: expected \(N, C, L\), got"),
    "weight of series": (lambda: F.conv1d(IMAGES[0], WEIGHT), r"conv1d: the weight.*\(O, C / groups, k\)"),
    "transposed weight of series": (lambda: F.conv_transpose1d(IMAGES[0], WEIGHT), r"the weight.*\(C, O / groups, k\)"),
    "bias of series": (lambda: F.conv1d(IMAGES[0], IMAGES[0, :, :3], IMAGES[0, 0, 0]), r"bias has shape \(8,\)"),
    "long kernel": (lambda: nn.Conv1d(8, 4, 11)(IMAGES[0]), r"conv1d: the output would have size \(1, -2\)"),
    "much padding of series": (lambda: nn.ConvTranspose1d(8, 4, 3, padding=9)(IMAGES[0]),
        r"conv_transpose1d: the output would have length -8, from input 8, kernel 3"),
    "no kernel": (lambda: F.conv2d(IMAGES, WEIGHT[:, :, :0]), r"conv2d: kernel_size=\(0, 3\)"),
    "large kernel": (lambda: nn.Conv2d(3, 4, 11)(IMAGES),
        r"size \(-2, -2\).*input \(8, 8\).*kernel \(11, 11\).*padding"),
    "dilated kernel": (lambda: F.conv2d(IMAGES, WEIGHT, dilation=(1, 4)),
        r"size \(6, 0\), from input \(8, 8\), kernel \(3, 3\) of dilation \(1, 4\)"),
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
    "Conv2d: padding_mode='edge'; expected one of 'zeros', 'reflect', 'replicate', 'circular'":
        lambda: nn.Conv2d(1, 1, 3, padding=1, padding_mode="edge"),
    "Conv1d: kernel_size=(3, 5); expected an integer": lambda: nn.Conv1d(1, 1, (3, 5)),
    "Conv1d: kernel_size=0; expected an integer of at least 1": lambda: nn.Conv1d(1, 1, 0),
    "Conv1d: stride=1.5; expected an integer": lambda: nn.Conv1d(1, 1, 3, 1.5),
    "Conv1d: padding=-1; expected an integer": lambda: nn.Conv1d(1, 1, 3, padding=-1),
    "Conv1d: padding='smae'; expected": lambda: nn.Conv1d(1, 1, 3, padding="smae"),
    "Conv1d: padding='same' needs stride 1": lambda: nn.Conv1d(1, 1, 3, 2, "same"),
    "Conv1d: groups=2 must divide both channel counts, 3, 4": lambda: nn.Conv1d(3, 4, 3, groups=2),
    "Conv1d: padding_mode=None; expected": lambda: nn.Conv1d(1, 1, 3, padding_mode=None),
    "ConvTranspose1d: padding='same'; expected an integer": lambda: nn.ConvTranspose1d(1, 1, 3, padding="same"),
    "ConvTranspose1d: output_padding=(0, 2) must be smaller": lambda: nn.ConvTranspose1d(1, 1, 3, 2, 1, 2),
    "MaxPool1d: kernel_size=(2, 2); expected": lambda: nn.MaxPool1d((2, 2)),
    "AvgPool1d: padding=2 must be at most half of kernel_size=2": lambda: nn.AvgPool1d(2, padding=2),
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
    "Square(2)": lambda: Square(2),
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
