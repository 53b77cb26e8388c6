"""How a layer is described: its constructor's arguments without a default, and others where they differ from it."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import numpy as np
import pytest

from scratchae import nn
from scratchae.nn.layer import Layer
from scratchae.nn.losses import Loss
from scratchae.nn.module import titled

# For each description the values of the same layer with all its options by name.
DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "Linear(3, 2)": {"in_features": 3, "out_features": 2, "bias": True},
    "Linear(3, 2, bias=False)": {"in_features": 3, "out_features": 2, "bias": False},
    "Flatten()": {"start_dim": 1},
    "Flatten(start_dim=-2)": {"start_dim": -2},
    "Unflatten(1, (2, 3))": {"dim": 1, "shape": [2, 3]},
    "Unflatten(-1, 6)": {"dim": -1, "shape": (6,)},
    "LeakyReLU()": {"negative_slope": np.float64(0.01)},
    "LeakyReLU(negative_slope=0.5)": {"negative_slope": np.float32(0.5)},
    "ELU()": {"alpha": 1},
    "ELU(alpha=2.0)": {"alpha": 2},
    "Softmax()": {"dim": -1},
    "Softmax(dim=1)": {"dim": np.int64(1)},
    "Conv2d(1, 4, (3, 3))": {"in_channels": 1, "out_channels": 4, "kernel_size": 3, "stride": 1, "padding": 0},
    "Conv2d(2, 4, (3, 1), padding=(1, 0), groups=2, bias=False)": {
        "in_channels": 2, "out_channels": 4, "kernel_size": (3, 1), "stride": 1, "padding": (1, 0), "groups": 2,
        "bias": False,
    },
    "Conv2d(1, 2, (5, 5), padding='same')": {"in_channels": 1, "out_channels": 2, "kernel_size": 5, "padding": "same"},
    "Conv2d(1, 2, (3, 3), padding=1, padding_mode='reflect')": {
        "in_channels": 1, "out_channels": 2, "kernel_size": 3, "padding": 1, "padding_mode": "reflect",
    },
    "ConvTranspose2d(4, 1, (2, 2))": {"in_channels": 4, "out_channels": 1, "kernel_size": 2, "dilation": 1},
    "ConvTranspose2d(4, 1, (2, 2), stride=(2, 1), output_padding=(1, 0))": {
        "in_channels": 4, "out_channels": 1, "kernel_size": (2, 2), "stride": (2, 1), "output_padding": (1, 0)
    },
    "MaxPool2d(2)": {"kernel_size": 2, "stride": None},
    "Conv1d(1, 4, 3)": {"in_channels": 1, "out_channels": 4, "kernel_size": (3,), "stride": (1,), "padding": 0},
    "Conv1d(2, 4, 3, stride=2, padding='valid', groups=2, bias=False)": {
        "in_channels": 2, "out_channels": 4, "kernel_size": 3, "stride": (2,), "padding": "valid", "groups": 2,
        "bias": False,
    },
    "ConvTranspose1d(4, 1, 2, stride=2, output_padding=1)": {
        "in_channels": 4, "out_channels": 1, "kernel_size": [2], "stride": 2, "output_padding": (1,)
    },
    "MaxPool1d(2)": {"kernel_size": (2,), "stride": None},
    "AvgPool1d(3, stride=1, padding=1)": {"kernel_size": 3, "stride": (1,), "padding": (1,)},
    "AvgPool2d((2, 3), stride=1)": {"kernel_size": (2, 3), "stride": 1, "padding": 0},
    "Upsample(2)": {"scale_factor": 2, "mode": "nearest"},
    "Upsample((2, 3), mode='bilinear')": {"scale_factor": (2, 3), "mode": "bilinear"},
    "PixelShuffle(2)": {"upscale_factor": 2},
    "PixelUnshuffle(3)": {"downscale_factor": 3},
    "Dropout()": {"p": 0.5},
    "Dropout(p=0.0)": {"p": 0},
    "Dropout2d(p=0.25)": {"p": 0.25},
    "GaussianNoise(std=0.2)": {"std": 0.2},
    "LayerNorm(4)": {"normalized_shape": [4], "eps": 1e-5},
    "LayerNorm(4, eps=0.001)": {"normalized_shape": 4, "eps": 1e-3},
    "LayerNorm((2, 3))": {"normalized_shape": (2, 3)},
    "GroupNorm(2, 4)": {"num_groups": 2, "num_channels": 4, "affine": True},
    "GroupNorm(2, 4, eps=0.001, affine=False)": {"num_groups": 2, "num_channels": 4, "eps": 1e-3, "affine": False},
    "InstanceNorm2d(4)": {"num_features": 4, "affine": False},
    "InstanceNorm2d(4, affine=True)": {"num_features": 4, "affine": True},
    "Hardtanh()": {"min_val": -1, "max_val": 1},
    "Hardtanh(min_val=0.0, max_val=6.0)": {"min_val": 0, "max_val": 6},
    "BatchNorm1d(4)": {"num_features": 4, "momentum": 0.1},
    "BatchNorm1d(4, momentum=0.5)": {"num_features": 4, "momentum": 0.5},
    "BatchNorm2d(4, eps=0.0)": {"num_features": 4, "eps": 0},
    "MSELoss()": {"reduction": "mean"},
    "L1Loss(reduction='sum')": {"reduction": "sum"},
    "BCELoss()": {},
    "BCEWithLogitsLoss(reduction='none')": {"reduction": "none"},
    "CrossEntropyLoss()": {},
    "CrossEntropyLoss(reduction='sum', ignore_index=0, label_smoothing=0.1)": {
        "reduction": "sum", "ignore_index": np.int64(0), "label_smoothing": 0.1, "weight": [1.0, 2.0]
    },
    "HuberLoss(delta=0.5)": {"delta": 0.5},
    "SmoothL1Loss()": {"beta": 1},
    "GaussianNLLLoss(full=True)": {"full": True},
    "CosineSimilarity(dim=-1)": {"dim": -1},
    "KLDivLoss(log_target=True)": {"reduction": "mean", "log_target": True},
    **{f"{name}()": {} for name in ("ReLU", "GELU", "SiLU", "Sigmoid", "Tanh", "Softplus")},
}  # fmt: skip


def kind(text: str) -> type[nn.Module]:
    return getattr(nn, text.partition("(")[0])


def test_every_layer_is_among_them_and_none_describes_itself() -> None:
    layers = {thing for thing in vars(nn).values() if inspect.isclass(thing) and issubclass(thing, (Layer, Loss))}
    assert layers == set(map(kind, DESCRIPTIONS))
    assert all(layer.describe is Layer.describe for layer in layers)


@pytest.mark.parametrize("text", DESCRIPTIONS)
def test_a_layer_is_described_as_a_call_that_makes_it(text: str) -> None:
    layer = kind(text)(**DESCRIPTIONS[text])
    for same in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), eval(f"nn.{text}")):
        assert titled(same) == text and repr(same).partition("  #")[0] == text


def test_an_option_that_is_set_later_is_told() -> None:
    layer = nn.Dropout(0.5)
    layer.p = 0.25
    assert repr(layer) == "Dropout(p=0.25)"


def test_a_layer_of_ones_own_is_described_by_its_own_constructor() -> None:
    class Square(nn.Linear):
        def __init__(self, n: int, name: str = "square"):
            super().__init__(n, n, bias=False)

    class Sharp(nn.Softmax):
        def describe(self) -> str:
            return "sharp"

    assert repr(Square(3)) == "Square(3)  # 9 parameters"
    assert repr(Square(3, name="s")) == "Square(3, name='s')  # 9 parameters"
    assert repr(Sharp()) == "Sharp(sharp)"
