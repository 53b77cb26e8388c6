"""Models in ONNX and in PyTorch compute what they compute here: every layer with its options, every kind.

Run by name, `python -m pytest tests/interop_with_extras.py`; needs `pip install onnx onnxruntime torch`.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import family
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator

import scratchae as sa
from scratchae import autoencoders as ae
from scratchae import functional as F
from scratchae import interop, nn
from scratchae.interop import from_torch, to_onnx, to_torch

# Name: layer, shape of one sample.
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(5, 3), (5,)),
    "linear, no bias": (lambda: nn.Linear(5, 3, bias=False), (5,)),
    "linear, 3 axes": (lambda: nn.Linear(5, 3), (4, 5)),
    "linear, 4 axes, no bias": (lambda: nn.Linear(5, 3, bias=False), (2, 4, 5)),
    "conv": (lambda: nn.Conv2d(2, 3, 3), (2, 7, 6)),
    "conv, stride, padding": (lambda: nn.Conv2d(2, 3, (3, 2), (2, 3), (1, 0), bias=False), (2, 9, 8)),
    "conv, dilation, groups": (lambda: nn.Conv2d(4, 6, 3, padding=2, dilation=(1, 2), groups=2), (4, 7, 8)),
    "conv, depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4), (4, 5, 5)),
    "conv, valid": (lambda: nn.Conv2d(2, 3, 3, padding="valid"), (2, 5, 6)),
    "conv, same": (lambda: nn.Conv2d(2, 3, 3, padding="same"), (2, 5, 6)),
    "conv, same, even": (lambda: nn.Conv2d(2, 3, (4, 2), padding="same"), (2, 5, 6)),
    "conv, same, dilation": (lambda: nn.Conv2d(2, 3, (2, 4), padding="same", dilation=(3, 1)), (2, 7, 6)),
    **{
        f"conv, {mode}": (lambda mode=mode: nn.Conv2d(2, 3, (3, 4), 2, (2, 1), padding_mode=mode), (2, 7, 6))
        for mode in ("reflect", "replicate", "circular")
    },
    "conv, same, circular": (lambda: nn.Conv2d(2, 3, (4, 2), padding="same", padding_mode="circular"), (2, 5, 6)),
    "conv 1d, reflect": (lambda: nn.Conv1d(2, 3, 5, padding=2, padding_mode="reflect"), (2, 7)),
    "conv 1d, circular": (lambda: nn.Conv1d(2, 3, 4, padding="same", dilation=2, padding_mode="circular"), (2, 7)),
    "transposed": (lambda: nn.ConvTranspose2d(2, 3, 3), (2, 4, 5)),
    "transposed, doubling": (lambda: nn.ConvTranspose2d(2, 3, 3, 2, 1, 1), (2, 4, 5)),
    "transposed, uneven": (lambda: nn.ConvTranspose2d(2, 3, (3, 2), (2, 3), (1, 0), (1, 2), bias=False), (2, 4, 5)),
    "transposed, groups": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, groups=2, dilation=(1, 2)), (4, 4, 5)),
    "max pool": (lambda: nn.MaxPool2d(2), (2, 6, 7)),
    "max pool, overlapping": (lambda: nn.MaxPool2d((3, 2), (2, 1), (1, 0)), (2, 6, 7)),
    "average pool": (lambda: nn.AvgPool2d(2), (2, 6, 7)),
    "average pool, padded": (lambda: nn.AvgPool2d(3, 2, 1), (2, 6, 7)),
    "upsample": (lambda: nn.Upsample(2), (2, 3, 4)),
    "upsample, uneven": (lambda: nn.Upsample((3, 2)), (2, 3, 4)),
    "bilinear": (lambda: nn.Upsample(2, "bilinear"), (2, 3, 4)),
    "bilinear, uneven": (lambda: nn.Upsample((3, 5), "bilinear"), (2, 1, 4)),
    "pixel shuffle": (lambda: nn.PixelShuffle(2), (8, 3, 2)),
    "pixel unshuffle": (lambda: nn.PixelUnshuffle(3), (2, 6, 9)),
    "pixel unshuffle, 1": (lambda: nn.PixelUnshuffle(1), (2, 6, 9)),
    "flatten": (lambda: nn.Flatten(), (2, 3, 4)),
    "flatten, start 2": (lambda: nn.Flatten(2), (2, 3, 4)),
    "flatten, start -2": (lambda: nn.Flatten(-2), (2, 3, 4)),
    "unflatten": (lambda: nn.Unflatten(1, (2, 3)), (6,)),
    "unflatten, last": (lambda: nn.Unflatten(-1, (3, 2, 1)), (4, 6)),
    "identity": (lambda: nn.Identity(), (4,)),
    "relu": (lambda: nn.ReLU(), (4,)),
    "leaky relu": (lambda: nn.LeakyReLU(), (4,)),
    "leaky relu, 0.3": (lambda: nn.LeakyReLU(0.3), (2, 3)),
    "elu": (lambda: nn.ELU(), (4,)),
    "elu, 0.5": (lambda: nn.ELU(0.5), (2, 3)),
    "gelu": (lambda: nn.GELU(), (4,)),
    "sigmoid": (lambda: nn.Sigmoid(), (4,)),
    "tanh": (lambda: nn.Tanh(), (4,)),
    "softplus": (lambda: nn.Softplus(), (4,)),
    "softmax": (lambda: nn.Softmax(), (4,)),
    "softmax, channels": (lambda: nn.Softmax(1), (3, 2, 2)),
    "dropout": (lambda: nn.Dropout(0.3), (4,)),
    "dropout 2d": (lambda: nn.Dropout2d(0.3), (2, 3, 3)),
    "layer norm": (lambda: nn.LayerNorm(5), (5,)),
    "layer norm, 2 axes, eps": (lambda: nn.LayerNorm((3, 4), eps=0.1), (2, 3, 4)),
    "silu": (lambda: nn.SiLU(), (4,)),
    "hardtanh": (lambda: nn.Hardtanh(), (4,)),
    "hardtanh, bounds": (lambda: nn.Hardtanh(-0.5, 2), (2, 3)),
    "conv 1d": (lambda: nn.Conv1d(2, 3, 3), (2, 7)),
    "conv 1d, options": (lambda: nn.Conv1d(4, 6, 3, 2, 1, 2, 2, bias=False), (4, 11)),
    "conv 1d, same, even": (lambda: nn.Conv1d(2, 3, 4, padding="same"), (2, 6)),
    "transposed 1d": (lambda: nn.ConvTranspose1d(2, 3, 3), (2, 4)),
    "transposed 1d, doubling": (lambda: nn.ConvTranspose1d(2, 3, 5, 2, 2, 1, dilation=2, bias=False), (2, 6)),
    "max pool 1d": (lambda: nn.MaxPool1d(2), (2, 7)),
    "max pool 1d, overlapping": (lambda: nn.MaxPool1d(3, 2, 1), (2, 7)),
    "average pool 1d": (lambda: nn.AvgPool1d(2), (2, 7)),
    "average pool 1d, padded": (lambda: nn.AvgPool1d(3, 2, 1), (2, 7)),
    "group norm": (lambda: nn.GroupNorm(2, 4), (4, 3, 5)),
    "group norm, features": (lambda: nn.GroupNorm(2, 6, eps=0.1), (6,)),
    "group norm, length, not affine": (lambda: nn.GroupNorm(1, 4, affine=False), (4, 5)),
    "instance norm": (lambda: nn.InstanceNorm2d(3), (3, 4, 5)),
    "instance norm, affine": (lambda: nn.InstanceNorm2d(3, eps=0.1, affine=True), (3, 4, 5)),
    "batch norm 1d": (lambda: nn.BatchNorm1d(4), (4,)),
    "batch norm 1d, length": (lambda: nn.BatchNorm1d(4, eps=0.1, momentum=0.3), (4, 5)),
    "batch norm 2d": (lambda: nn.BatchNorm2d(3, eps=1e-3, momentum=0.01), (3, 4, 5)),
}
ONLY_HERE: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "gaussian noise": (lambda: nn.GaussianNoise(0.3), (4,))
}
ALLOWED = {np.float32: 1e-5, np.float64: 1e-12}


def drawn(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    return (2 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def shaken(model: Any, dtype: Any = np.float32) -> Any:
    """All weights and statistics moved away from the values they start with."""
    state = model.state_dict()
    rng = np.random.default_rng(1)
    model.load_state_dict({name: a + rng.uniform(0.05, 0.3, a.shape) for name, a in state.items()})
    return model.to(dtype)


def outputs(model: nn.Module, x: np.ndarray) -> np.ndarray:
    with sa.no_grad(), nn.module.evaluating(model):
        return model(sa.Tensor(x)).numpy()


def torch_outputs(module: Any, x: np.ndarray) -> np.ndarray:
    modes = [(m, m.training) for m in module.modules()]
    with torch.no_grad():
        out = module.eval()(torch.tensor(x)).numpy()
    for m, training in modes:
        m.training = training
    return out


def exported(model: nn.Module, path: Path, example: np.ndarray) -> onnxruntime.InferenceSession:
    to_onnx(model, path, example)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("x", ["N", *example.shape[1:]])]
    assert [i.name for i in session.get_outputs()] == ["y"] and session.get_outputs()[0].shape[0] == "N"
    return session


def assert_runs_as_here(model: nn.Module, path: Path, shape: tuple[int, ...]) -> None:
    """One file, several batch sizes, against onnxruntime."""
    session = exported(model, path, drawn((2, *shape)))
    for n in (1, 3, 7):
        x = drawn((n, *shape), seed=n)
        (y,) = session.run(None, {"x": x})
        expected = outputs(model, x)
        assert y.shape == expected.shape and y.dtype == expected.dtype
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_the_tables_have_every_layer_that_is_translated() -> None:
    both = {type(build()) for build, _ in LAYERS.values()}
    assert set(interop.torch.LAYERS) == both, "add a line to LAYERS"
    assert set(interop.onnx.LAYERS) == both | {type(build()) for build, _ in ONLY_HERE.values()}, "or to ONLY_HERE"


# --- ONNX -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYERS | ONLY_HERE)
def test_onnxruntime_runs_every_layer(name: str, tmp_path: Path) -> None:
    build, shape = (LAYERS | ONLY_HERE)[name]
    assert_runs_as_here(shaken(build()), tmp_path / "model.onnx", shape)


@pytest.mark.parametrize("name", sorted((LAYERS | ONLY_HERE).keys() - {"transposed, groups"}))
def test_onnx_in_float64(name: str, tmp_path: Path) -> None:
    """In ONNX's own evaluator, as onnxruntime has many operators in float32 only; it cannot do groups in ConvTranspose.

    Options are float32 in the file: 0.3 is 0.3 + 1e-8.
    """
    build, shape = (LAYERS | ONLY_HERE)[name]
    model, path = shaken(build(), np.float64), tmp_path / "model.onnx"
    to_onnx(model, path, drawn((2, *shape), np.float64))
    x = drawn((3, *shape), np.float64, 3)
    (y,) = ReferenceEvaluator(onnx.load(path)).run(None, {"x": x})
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, outputs(model, x), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", family.KINDS)
@pytest.mark.parametrize("loss", ["bce", "bce_logits"])
def test_onnxruntime_runs_every_kind(kind: str, loss: str, tmp_path: Path) -> None:
    model = family.KINDS[kind].build(loss=loss)
    assert_runs_as_here(model, tmp_path / "whole.onnx", (1, 4, 4))
    assert_runs_as_here(model.encoder, tmp_path / "encoder.onnx", (1, 4, 4))
    code = model.transform(family.images(1)).shape[1:]
    assert_runs_as_here(model.decoder, tmp_path / "decoder.onnx", code)


def tutorial_models() -> dict[str, sa.Autoencoder]:
    """The networks of tutorials 04, 06 and 09, with one of each way down and up."""
    encoder = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.ConvTranspose2d(32, 32, 3, stride=2, padding=1, output_padding=1), nn.ReLU(),
        nn.ConvTranspose2d(32, 32, 3, stride=2, padding=1, output_padding=1), nn.ReLU(),
        nn.Conv2d(32, 1, 3, padding=1), nn.Sigmoid(),
    )  # fmt: skip
    return {
        "shallow": sa.Autoencoder.dense((784, 128, 64)),
        "deep": sa.Autoencoder.dense((784, 512, 256, 64), loss="mse"),
        "deep, ReLU code": sa.Autoencoder.dense((784, 512, 256, 64), loss="mse", code_activation="relu"),
        "convolutional": sa.Autoencoder(encoder, decoder, loss="bce"),
        "denoising": ae.DenoisingAutoencoder(copy.deepcopy(encoder), copy.deepcopy(decoder), amount=0.4),
        "pooled": ae.ConvAutoencoder((1, 32, 32), "pool"),
        "strided": ae.ConvAutoencoder((1, 32, 32), "stride"),
        "flat code": ae.ConvAutoencoder((1, 16, 32), code_size=64),
        "variational": ae.VariationalAutoencoder.dense((784, 400, 20)),
    }


@pytest.mark.parametrize("name", tutorial_models())
def test_onnxruntime_runs_the_tutorials_networks_on_digits(name: str, tmp_path: Path) -> None:
    model, (digits, _) = tutorial_models()[name], sa.data.mnist_sample("test")
    session = exported(model, tmp_path / "model.onnx", digits[:1])
    for n in (1, 3, 7):
        (y,) = session.run(None, {"x": digits[:n]})
        assert y.shape == (n, 1, 28, 28)
        np.testing.assert_allclose(y, model.reconstruct(digits[:n]), atol=1e-5)


FREE: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "pooled, normalised": (lambda: ae.ConvAutoencoder((2, 3, 4), norm="batch"), (2, 8, 12)),
    "strided": (lambda: ae.ConvAutoencoder((2, 3, 4), "stride", loss="bce_logits"), (2, 8, 12)),
    "series": (lambda: ae.ConvAutoencoder((2, 3, 4), kernel_size=(1, 5)), (2, 1, 12)),
    "mirrored": (lambda: nn.Conv2d(2, 3, 5, padding="same", padding_mode="reflect"), (2, 4, 4)),
    "circular": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 4, 4)),
    "norms": (lambda: nn.Sequential(nn.GroupNorm(2, 4), nn.Residual(nn.InstanceNorm2d(4))), (4, 4, 4)),
    "pixels": (lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(8, 8, 1), nn.PixelShuffle(2)), (2, 4, 4)),
    "bilinear": (lambda: nn.Sequential(nn.AvgPool2d(2), nn.Upsample(4, "bilinear")), (2, 4, 4)),
    "1d": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.GroupNorm(2, 4), nn.MaxPool1d(2)), (2, 8)),
}


@pytest.mark.parametrize("name", FREE)
def test_a_file_for_images_of_any_size(name: str, tmp_path: Path) -> None:
    build, shape = FREE[name]
    model, path = shaken(build()), tmp_path / "model.onnx"
    to_onnx(model, path, drawn((1, *shape)), free_size=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["N", shape[0], *(["L"] if len(shape) == 2 else ["H", "W"])]
    for n, scale in ((1, 1), (3, 2), (2, 5)):
        x = drawn((n, shape[0], *(scale * side for side in shape[1:])), seed=n)
        np.testing.assert_allclose(session.run(None, {"x": x})[0], outputs(model, x), rtol=1e-5, atol=1e-5)


def test_codes_of_a_variational_autoencoder(tmp_path: Path) -> None:
    model, x = ae.VariationalAutoencoder.dense((16, 6, 2)), family.images(5)
    session = exported(nn.Sequential(model.encoder, model.mu), tmp_path / "codes.onnx", x)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], model.transform(x), atol=1e-6)


def test_extremes_and_no_samples_at_all(tmp_path: Path) -> None:
    x = np.array([[-90, -20, -1e-7, 0, 1e-7, 20, 90]], np.float32)
    for name, layer in {"gelu": nn.GELU(), "softplus": nn.Softplus(), "sigmoid": nn.Sigmoid(), "elu": nn.ELU()}.items():
        session = exported(layer, tmp_path / f"{name}.onnx", x)
        np.testing.assert_allclose(session.run(None, {"x": x})[0], outputs(layer, x), rtol=1e-5, atol=1e-6)
    session = exported(sa.Autoencoder.dense((16, 3)), tmp_path / "empty.onnx", family.images(1))
    assert session.run(None, {"x": family.images(1)[:0]})[0].shape == (0, 1, 4, 4)


def test_a_shared_layer_is_stored_once_and_the_file_holds_no_more_than_the_weights(tmp_path: Path) -> None:
    layer = nn.Linear(50, 50)
    once, twice = tmp_path / "once.onnx", tmp_path / "twice.onnx"
    to_onnx(nn.Sequential(layer), once, drawn((1, 50)))
    assert_runs_as_here(nn.Sequential(layer, nn.Sigmoid(), nn.Sequential(layer)), twice, (50,))
    assert 4 * 50 * 51 < once.stat().st_size < twice.stat().st_size < 4 * 50 * 51 + 1000
    names = {i.name for i in onnx.load(twice).graph.initializer}
    assert names == {"0.weight", "0.bias"}


def test_a_model_on_the_gpu_gives_the_same_file(device: str, tmp_path: Path) -> None:
    model, path = ae.ConvAutoencoder((1, 2, 3), "stride"), tmp_path / "model.onnx"
    to_onnx(model, path, family.images())
    before = path.read_bytes()
    to_onnx(model.to(device), path, family.images())
    assert path.read_bytes() == before


# --- PyTorch --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("dtype", ALLOWED)
@pytest.mark.parametrize("name", LAYERS)
def test_to_pytorch_and_back(name: str, dtype: Any) -> None:
    build, shape = LAYERS[name]
    ours = nn.Sequential(shaken(build()), nn.Sequential(nn.Identity())).to(dtype)
    there = to_torch(ours)
    back = from_torch(there)
    x = drawn((3, *shape), dtype)
    expected, allowed = outputs(ours, x), ALLOWED[dtype]
    if name == "softplus" and dtype is np.float64:
        allowed = 1e-8  # PyTorch's is x itself from x = 20 on
    y = torch_outputs(there, x)
    assert y.shape == expected.shape and y.dtype == dtype
    np.testing.assert_allclose(y, expected, rtol=allowed, atol=allowed)
    np.testing.assert_array_equal(outputs(back, x), expected)
    assert family.bits(back) == family.bits(ours) and list(back.state_dict()) == list(ours.state_dict())
    assert repr(to_torch(back)) == repr(there)  # PyTorch's shows all options


@pytest.mark.parametrize("name", ["batch norm 1d, length", "batch norm 2d", "layer norm, 2 axes, eps"])
def test_normalisation_trains_on_alike(name: str) -> None:
    build, shape = LAYERS[name]
    ours = shaken(build(), np.float64)
    there, x = to_torch(ours), drawn((6, *shape), np.float64)
    np.testing.assert_allclose(there(torch.tensor(x)).detach(), ours(sa.Tensor(x)).numpy(), atol=1e-12)
    for key, value in ours.state_dict().items():  # running statistics moved by the same momentum
        np.testing.assert_allclose(there.state_dict()[key], value, rtol=1e-12, err_msg=key)


THEIRS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "named": (lambda: torch.nn.Sequential(torch.nn.modules.container.OrderedDict(a=torch.nn.Linear(4, 2))), (4,)),
    "in place": (lambda: torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.ReLU(inplace=True)), (4,)),
    "valid": (lambda: torch.nn.Conv2d(2, 3, 3, padding="valid", dilation=2), (2, 5, 6)),
    "same, even": (lambda: torch.nn.Conv2d(2, 3, (2, 4), padding="same"), (2, 5, 6)),
    "bilinear": (lambda: torch.nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), (2, 3, 4)),
    "unflatten": (lambda: torch.nn.Unflatten(1, torch.Size([2, 2])), (4,)),
    "max pool": (lambda: torch.nn.MaxPool2d(3, 2, 1), (2, 5, 6)),
    "double": (lambda: torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Softmax(1)).double(), (4,)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", THEIRS)
def test_what_pytorch_writes_in_other_ways(name: str) -> None:
    build, shape = THEIRS[name]
    module = build()
    dtype = np.float64 if name == "double" else np.float32
    x = drawn((3, *shape), dtype)
    y = outputs(from_torch(module), x)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, torch_outputs(module, x), rtol=ALLOWED[dtype], atol=ALLOWED[dtype])


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "layer": (lambda: torch.nn.Bilinear(2, 3, 4), "Bilinear"),
    "subclass": (lambda: torch.nn.LazyLinear(3), "LazyLinear"),
    "ceil": (lambda: torch.nn.MaxPool2d(2, ceil_mode=True), "ceil_mode=True"),
    "pool dilation": (lambda: torch.nn.MaxPool2d(2, dilation=2), "dilation=2"),
    "indices": (lambda: torch.nn.MaxPool2d(2, return_indices=True), "return_indices=True"),
    "padding not counted": (lambda: torch.nn.AvgPool2d(2, count_include_pad=False), "count_include_pad=False"),
    "divisor": (lambda: torch.nn.AvgPool2d(2, divisor_override=3), "divisor_override=3"),
    "size": (lambda: torch.nn.Upsample(size=3), "scale_factor=None, size=3"),
    "fraction": (lambda: torch.nn.Upsample(scale_factor=1.5), "scale_factor=1.5"),
    "bicubic": (lambda: torch.nn.Upsample(scale_factor=2, mode="bicubic"), "mode='bicubic'"),
    "corners": (lambda: torch.nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), "align_corners=True"),
    "end": (lambda: torch.nn.Flatten(1, 2), "end_dim=2"),
    "free size": (lambda: torch.nn.Unflatten(1, (-1, 2)), "shape=(-1, 2)"),
    "approximation": (lambda: torch.nn.GELU("tanh"), "approximate='tanh'"),
    "beta": (lambda: torch.nn.Softplus(beta=2), "beta=2"),
    "threshold": (lambda: torch.nn.Softplus(threshold=5), "threshold=5"),
    "implicit": (lambda: torch.nn.Softmax(), "dim=None"),
    "no affine": (lambda: torch.nn.BatchNorm2d(3, affine=False), "affine=False"),
    "no statistics": (lambda: torch.nn.BatchNorm1d(3, track_running_stats=False), "track_running_stats=False"),
    "cumulative": (lambda: torch.nn.BatchNorm1d(3, momentum=None), "momentum=None"),
    "no bias": (lambda: torch.nn.LayerNorm(3, bias=False), "weights: weight"),
    "half": (lambda: torch.nn.Linear(2, 3).to(torch.bfloat16), "torch.bfloat16"),
    "weight norm": (lambda: torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 3)), "ParametrizedLinear"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_only_pytorch_has_is_refused(name: str) -> None:
    build, named = REFUSED[name]
    module = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Sequential(torch.nn.ReLU(), build()))
    with pytest.raises(TypeError) as caught:
        from_torch(module)
    assert str(caught.value).startswith("layer 1.1 is a torch.nn.") and named in str(caught.value)


def test_what_only_we_have_is_refused() -> None:
    with pytest.raises(TypeError, match=r"layer 0\.1 is a scratchae\.more\.layers\.GaussianNoise"):
        to_torch(nn.Sequential(nn.Sequential(nn.ReLU(), nn.GaussianNoise())))
    with pytest.raises(TypeError, match=r"the model is a scratchae\.autoencoders\.base\.Autoencoder"):
        to_torch(sa.Autoencoder.dense((4, 2)))


FUNCTIONS: dict[str, tuple[Callable[[Any], Any], nn.Module]] = {
    "relu": (F.relu, nn.ReLU()),
    "slope": (functools.partial(F.leaky_relu, slope=0.3), nn.LeakyReLU(0.3)),
    "softmax": (functools.partial(F.softmax, axis=1), nn.Softmax(1)),
    "silu": (F.silu, nn.SiLU()),
    "upper bound": (functools.partial(F.hardtanh, max_val=0.5), nn.Hardtanh(-1.0, 0.5)),
    "pool": (functools.partial(F.max_pool2d, kernel_size=(2, 1), padding=(1, 0)), nn.MaxPool2d((2, 1), (2, 1), (1, 0))),
    "enlarged": (functools.partial(F.upsample, scale_factor=2, mode="bilinear"), nn.Upsample(2, "bilinear")),
}


def test_every_function_has_the_layer_of_its_values() -> None:
    made = {"kernel_size": 2, "scale_factor": 2, "factor": 2}
    for function, layer in interop.common.LAYER_OF.items():
        options = {name: made[name] for name in inspect.signature(function).parameters if name in made}
        same = interop.common.as_layer(functools.partial(function, **options))
        x = drawn((2, 8, 4) if function.__name__.endswith("1d") else (2, 8, 4, 4))
        assert type(same) is layer
        np.testing.assert_array_equal(same(x), function(x, **options))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_between_the_layers_are_translated(name: str, tmp_path: Path) -> None:
    function, layer = FUNCTIONS[name]
    model = shaken(nn.Sequential(nn.Conv2d(2, 3, 3), function))
    assert_runs_as_here(model, tmp_path / "model.onnx", (2, 6, 7))
    there = to_torch(model)
    x = drawn((3, 2, 6, 7))
    np.testing.assert_allclose(torch_outputs(there, x), outputs(model, x), rtol=1e-5, atol=1e-5)
    back = from_torch(there)
    assert repr(back[1]) == repr(layer)
    np.testing.assert_array_equal(outputs(back, x), outputs(model, x))


@dataclasses.dataclass
class Scale:
    """An object that is called like a function, and has no hash."""

    factor: float

    def __call__(self, x: Any) -> Any:
        return x * self.factor


def test_functions_that_no_layer_computes_are_refused_by_name(tmp_path: Path) -> None:
    padded = functools.partial(F.pad, widths=((0, 0), (1, 1)))
    for function, name in ((lambda x: x * 2, "<lambda>"), (F.exp, "exp"), (padded, "pad"), (Scale(2.0), "Scale")):
        model = nn.Sequential(nn.ReLU(), function)
        with pytest.raises(TypeError, match=f"layer 1 is a .*Function: no layer computes the function {name}"):
            to_torch(model)
        with pytest.raises(TypeError, match=rf"layer 1 is a Function\({name}"):
            to_onnx(model, tmp_path / "model.onnx", drawn((1, 2)))


def residual() -> nn.Module:
    block = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), F.silu, nn.Residual(nn.Conv2d(4, 4, 1)), nn.Conv2d(4, 2, 1))
    return nn.Sequential(nn.Residual(block), nn.GroupNorm(2, 2))


@pytest.mark.parametrize("dtype", ALLOWED)
def test_residuals_go_there_and_back(dtype: Any) -> None:
    ours = shaken(residual(), dtype)
    there, x = to_torch(ours), drawn((3, 2, 5, 4), dtype)
    np.testing.assert_allclose(torch_outputs(there, x), outputs(ours, x), rtol=ALLOWED[dtype], atol=ALLOWED[dtype])
    assert [n for n, _ in there.named_parameters()] == [n for n, _ in ours.named_parameters()]
    back = from_torch(copy.deepcopy(there))
    np.testing.assert_array_equal(outputs(back, x), outputs(ours, x))
    assert family.bits(back) == family.bits(ours) and isinstance(back[0].net[2], nn.Residual)


def test_residuals_in_onnx_and_what_is_refused_inside(tmp_path: Path) -> None:
    assert_runs_as_here(shaken(residual()), tmp_path / "model.onnx", (2, 5, 4))
    with pytest.raises(TypeError, match=r"layer 0\.net\.1 is a scratchae\.more\.layers\.GaussianNoise"):
        to_torch(nn.Sequential(nn.Residual(nn.Sequential(nn.ReLU(), nn.GaussianNoise()))))


def test_shared_layers_stay_shared_and_shared_weights_are_refused() -> None:
    layer, other = nn.Linear(3, 3), nn.Linear(3, 3)
    there = to_torch(nn.Sequential(layer, nn.Tanh(), nn.Sequential(layer)))
    assert there[0] is there[2][0]
    back = from_torch(there)
    assert back[0] is back[2][0] and back.count_parameters() == 12
    other.weight = layer.weight
    with pytest.raises(TypeError, match="share a weight: 3 parameters would become 4"):
        to_torch(nn.Sequential(layer, other))


def test_modes_frozen_weights_and_random_numbers_are_left_as_they_are() -> None:
    ours = nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.Sequential(nn.BatchNorm1d(3).eval(), nn.Linear(3, 2)))
    ours[0].requires_grad_(False)
    torch.manual_seed(0)
    states = torch.random.get_rng_state(), copy.deepcopy(sa.random.random_state())
    there = to_torch(ours)
    back = from_torch(there)
    assert torch.equal(torch.random.get_rng_state(), states[0]) and sa.random.random_state() == states[1]
    for model in (there, back):
        assert [p.requires_grad for p in model.parameters()] == [False, False, True, True, True, True]
        assert [m.training for m in model.modules()] == [True, True, True, True, False, True]


def test_weights_are_copies(device: str) -> None:
    ours = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).to(device)
    there = to_torch(ours)
    back = from_torch(there)
    before = [family.bits(back), family.bits(ours.to("cpu"))]
    with torch.no_grad():
        for a in there.state_dict().values():
            a.fill_(9)
    assert [family.bits(back), family.bits(ours)] == before


def test_the_deep_autoencoder_trains_an_epoch_here_and_an_epoch_there() -> None:
    """At each crossing both compute the same: to 1e-6, and to 1e-5 where float32 rounds after every layer.

    After an epoch rounding alone puts either library about 1e-6 beside the exact outputs of the same weights.
    """
    (images, _), (held_out, _) = sa.data.mnist_sample(), sa.data.mnist_sample("test")
    images, held_out = images[:1000], held_out[:100]
    model = sa.Autoencoder.dense((784, 512, 256, 64), loss="mse")

    def assert_equal(there: Any) -> None:
        halves = nn.Sequential(model.encoder, model.decoder)
        np.testing.assert_allclose(torch_outputs(there, held_out), outputs(halves, held_out), rtol=0, atol=1e-5)
        exact = copy.deepcopy(there).double(), copy.deepcopy(halves).to(np.float64), held_out.astype(np.float64)
        np.testing.assert_allclose(torch_outputs(exact[0], exact[2]), outputs(*exact[1:]), rtol=0, atol=1e-12)

    def moved() -> Any:
        return to_torch(nn.Sequential(model.encoder, model.decoder))

    np.testing.assert_allclose(torch_outputs(moved(), held_out).ravel(), model.reconstruct(held_out).ravel(), atol=1e-6)
    sa.Trainer(model, sa.optim.Adam(model.parameters(), lr=1e-3)).fit(images, batch_size=64, progress=False)
    there, before = moved(), model.reconstruction_error(held_out).mean()
    assert_equal(there)

    optimizer = torch.optim.Adam(there.parameters(), lr=1e-3)
    for x in torch.tensor(images).split(64):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(there(x), x.flatten(1)).backward()
        optimizer.step()

    model.encoder, model.decoder = from_torch(there)
    assert_equal(there)
    assert model.reconstruction_error(held_out).mean() < 0.95 * before
    assert all(torch.equal(a, b) for a, b in zip(moved().parameters(), there.parameters(), strict=True))


class Around(torch.nn.Module):
    def __init__(self, net: Any):
        super().__init__()
        self.net = net

    def forward(self, x: Any) -> Any:
        return x + self.net(x)


def torch_block(channels_in: int, channels_out: int) -> Any:
    first, second = (
        (torch.nn.Conv2d(n, channels_out, 3, padding=1), torch.nn.GroupNorm(4, channels_out), torch.nn.SiLU())
        for n in (channels_in, channels_out)
    )
    return torch.nn.Sequential(*first, Around(torch.nn.Sequential(*second)))


class TorchUNet(torch.nn.Module):
    """The network of docs/examples/unet.py."""

    def __init__(self) -> None:
        super().__init__()
        self.down = torch.nn.ModuleList([torch_block(1, 8), torch_block(8, 12), torch_block(12, 16)])
        self.up = torch.nn.ModuleList([torch_block(12 + 16, 12), torch_block(8 + 12, 8)])
        self.last = torch.nn.Conv2d(8, 1, 1)

    def forward(self, x: Any) -> Any:
        a = self.down[0](x)
        b = self.down[1](torch.nn.functional.max_pool2d(a, 2))
        c = self.down[2](torch.nn.functional.max_pool2d(b, 2))
        c = self.up[0](torch.cat([b, torch.nn.functional.interpolate(c, scale_factor=2)], 1))
        return x + self.last(self.up[1](torch.cat([a, torch.nn.functional.interpolate(c, scale_factor=2)], 1)))


@pytest.mark.parametrize("dtype", ALLOWED)
def test_the_unet_computes_pytorchs_outputs_and_gradients_from_its_weights(dtype: Any) -> None:
    there = TorchUNet().to(torch.float64 if dtype is np.float64 else torch.float32)
    ours = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "examples" / "unet.py"))["UNet"](1, (8, 12, 16))
    ours.to(dtype).load_state_dict({name: a.numpy() for name, a in there.state_dict().items()})
    x, target = drawn((3, 1, 8, 12), dtype), drawn((3, 1, 8, 12), dtype, seed=1)
    y, expected = ours(sa.Tensor(x)), there(torch.tensor(x))
    F.mse_loss(y, target).backward()
    torch.nn.functional.mse_loss(expected, torch.tensor(target)).backward()
    pairs = {"output": (y.numpy(), expected)} | {
        name: (p.grad, q.grad) for (name, p), q in zip(ours.named_parameters(), there.parameters(), strict=True)
    }
    for name, (a, b) in pairs.items():
        b = b.detach().numpy()
        assert abs(a - b).max() <= ALLOWED[dtype] * abs(b).max(), name


@pytest.mark.parametrize("theirs", [torch.ones(2), torch.ones(2, requires_grad=True), torch.tensor(1.0)], ids=str)
def test_tensors_of_pytorch_are_refused_by_name(theirs):
    x = sa.tensor([1.0, 2.0], requires_grad=True)
    calls = {
        "x + t": lambda: x + theirs, "t + x": lambda: theirs + x, "x @ t": lambda: x @ theirs,
        "t @ x": lambda: theirs @ x,
        "t > x": lambda: theirs > x, "mse_loss": lambda: sa.functional.mse_loss(x, theirs),
        "tensor": lambda: sa.tensor(theirs),
        "Linear": lambda: nn.Linear(2, 1)(theirs), "transform": lambda: sa.Autoencoder.dense((2, 1)).transform(theirs),
        "DataLoader": lambda: sa.DataLoader(theirs, 1),
    }  # fmt: skip
    for name, call in calls.items():
        with pytest.raises(TypeError) as caught:
            call()
        assert ".detach().cpu().numpy()" in str(caught.value), (name, str(caught.value))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "uint8", "bool"])
def test_dlpack_shares_memory_with_pytorch_both_ways(dtype: str) -> None:
    here = sa.tensor(np.arange(6).reshape(2, 3), dtype=dtype)
    there = torch.from_dlpack(here)
    back = sa.from_dlpack(there)
    assert str(there.dtype) == f"torch.{dtype}" and back.dtype == dtype
    there[1, 2] = 0
    assert here.data[1, 2] == back.data[1, 2] == 0
    assert back.data.ctypes.data == there.data_ptr() == here.data.ctypes.data


def test_dlpack_refuses_gradients_on_both_sides_and_dtypes_of_pytorch_alone() -> None:
    with pytest.raises(BufferError, match="requires a gradient"):
        torch.from_dlpack(sa.tensor([1.0], requires_grad=True))
    with pytest.raises(BufferError, match="detach"):
        sa.from_dlpack(torch.ones(2, requires_grad=True))
    with pytest.raises(TypeError, match="a Tensor of torch.bfloat16: .*Convert it to float32 first"):
        sa.from_dlpack(torch.ones(2, dtype=torch.bfloat16))
