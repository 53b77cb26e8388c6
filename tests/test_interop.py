"""Interchange with ONNX and PyTorch, as far as it can be checked without them: what is missing, what is refused.

The values are compared in interop_with_extras.py.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import family
import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn
from scratchae.autoencoders import VariationalAutoencoder
from scratchae.interop import from_torch, onnx, to_onnx, to_torch, torch
from scratchae.nn.losses import Loss

X = np.ones((2, 4), np.float32)
CHAINS = (nn.Sequential, nn.Residual)


class Doubled(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * 2


class DoubledReLU(nn.ReLU):
    def forward(self, x: Any) -> Any:
        return super().forward(x) * 2


class DoubledCode(sa.Autoencoder):
    def encode(self, x: Any) -> Any:
        return self.encoder(x) * 2


class Rectifier(nn.ReLU):
    """Another name for the same thing."""


@pytest.fixture
def no_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("onnx", "torch"):
        monkeypatch.setitem(sys.modules, package, None)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that a refused export must leave alone."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    return path


def chain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU())


def refused(target: Path, model: nn.Module, example: Any = X, error: type[Exception] = TypeError) -> str:
    with pytest.raises(error) as caught:
        to_onnx(model, target, example)
    assert target.read_bytes() == b"old" and list(target.parent.iterdir()) == [target]
    return str(caught.value)


def test_a_missing_package_is_named_with_the_command_that_installs_it(no_extras: None, target: Path) -> None:
    assert "pip install 'scratchae[onnx]'" in refused(target, chain(), error=ModuleNotFoundError)
    for convert in (to_torch, from_torch):
        with pytest.raises(ModuleNotFoundError) as caught:
            convert(chain())
        assert "package torch" in str(caught.value) and "pip install 'scratchae[torch]'" in str(caught.value)


def test_there_is_a_translation_of_every_layer() -> None:
    modules = {m for m in vars(nn).values() if inspect.isclass(m) and issubclass(m, nn.Module)}
    layers = {m for m in modules if not issubclass(m, (Loss, nn.Parameter)) and m not in (nn.Module, *CHAINS)}
    layers.remove(nn.CosineSimilarity)  # of two inputs
    assert set(onnx.LAYERS) == layers and set(onnx.CHAINS) > set(CHAINS)
    assert set(torch.LAYERS) == layers - {nn.GaussianNoise}


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (Doubled(), "the model is a Doubled"),
        (nn.Sequential(chain(), nn.Sequential(nn.ReLU(), DoubledReLU())), "layer 1.1 is a DoubledReLU"),
        (sa.Autoencoder(chain(), nn.Sequential(nn.Linear(3, 4), Doubled())), "layer decoder.1 is a Doubled"),
        (DoubledCode(chain(), nn.Linear(3, 4)), "the model is a DoubledCode"),
        (nn.MSELoss(), "the model is a MSELoss"),
    ],
)
def test_a_layer_of_ones_own_is_named_before_onnx_is_needed(
    model: nn.Module, named: str, no_extras: None, target: Path
) -> None:
    if isinstance(model, nn.MSELoss):
        model.forward = lambda x: x  # type: ignore[method-assign]
    message = refused(target, model)
    assert named in message and "nn.Sequential" in message


def test_examples_that_do_not_fit_are_refused(no_extras: None, target: Path) -> None:
    assert "layer 0: Linear(4, 3)" in refused(target, chain(), X[:, :3], ValueError)
    assert "the input is float64, the weights are float32" in refused(target, chain(), X.astype(np.float64))
    assert "example is uint8" in refused(target, chain(), X.astype(np.uint8))
    assert "example is list" in refused(target, chain(), [[1.0]])
    assert "at least one sample" in refused(target, chain(), X[:0], ValueError)
    assert "at least one sample" in refused(target, chain(), X[0], ValueError)
    assert "one output per sample" in refused(target, nn.Flatten(0), X, ValueError)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(32, 3)), "layer 1: Linear"),
        (nn.Flatten(), "a Reshape"),
        (nn.Sequential(nn.Conv2d(2, 8, 1), nn.Flatten(2)), "a Reshape"),
        (nn.LayerNorm((2, 4, 4)), "LayerNorm"),
    ],
)
def test_a_model_that_takes_one_size_is_not_exported_for_all(model: nn.Module, named: str, target: Path) -> None:
    def export(example: Any) -> str:
        with pytest.raises(ValueError, match="free_size=True: ") as caught:
            to_onnx(model, target, example, free_size=True)
        assert target.read_bytes() == b"old"
        return str(caught.value)

    message = export(np.ones((1, 2, 4, 4), np.float32))
    assert named in message and "Flatten, Unflatten and Linear layers" in message


def test_only_images_and_series_have_a_free_size(target: Path) -> None:
    with pytest.raises(ValueError, match=r"free_size=True: the example has shape \(1, 4\); expected \(n, C, H, W\)"):
        to_onnx(chain(), target, X, free_size=True)
    with pytest.raises(ValueError, match="free_size='yes'; expected True or False"):
        to_onnx(chain(), target, X, free_size="yes")  # type: ignore[arg-type]
    assert target.read_bytes() == b"old"


def test_the_model_stays_as_it_was(no_extras: None, target: Path) -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5))
    model[1].eval()
    before = family.bits(model)
    refused(target, model, error=ModuleNotFoundError)
    assert [m.training for m in model.modules()] == [True, True, False]
    assert family.bits(model) == before


def operators(model: nn.Module, x: np.ndarray) -> list[str]:
    graph = onnx.Graph(model)
    onnx._add(graph, model.eval(), "", "x", x[:1])
    return [node[0] for node in graph.nodes]


def test_the_graph_holds_what_is_computed_and_no_more() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Linear(4, 3), Rectifier(), nn.Identity(), nn.GaussianNoise())
    assert operators(model, X) == ["Gemm", "Relu"]
    vae = VariationalAutoencoder.dense((4, 3, 2))
    block = nn.Residual(nn.Sequential(nn.GroupNorm(2, 4, affine=False), F.silu))
    assert operators(block, X) == ["Reshape", "InstanceNormalization", "Shape", "Reshape", "Sigmoid", "Mul", "Add"]
    assert operators(vae, X) == ["Gemm", "Relu", "Gemm", "Gemm", "Relu", "Gemm", "Sigmoid"]
    images = X.reshape(2, 1, 2, 2)
    assert operators(sa.Autoencoder.dense((4, 2)), images) == ["Reshape", "Gemm", "Gemm", "Sigmoid", "Reshape"]


def test_weights_keep_their_names_and_shared_ones_are_stored_once() -> None:
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.BatchNorm1d(4), nn.Sequential(layer))
    graph = onnx.Graph(model)
    onnx._add(graph, model.eval(), "", "x", X[:1])
    batch_norm = ["1.weight", "1.bias", "1.running_mean", "1.running_var"]
    assert list(graph.arrays) == ["0.weight", "0.bias", *batch_norm]
    state = model.state_dict()
    assert all(array.tobytes() == state[name].tobytes() for name, array in graph.arrays.items())


@pytest.mark.parametrize("kind", family.KINDS)
def test_every_kind_has_a_graph_of_layers_in_eval_mode(kind: str, stand_in: Any) -> None:
    model = family.KINDS[kind].build().eval()
    on_cpu = onnx.Graph(model)
    _, out = onnx._add(on_cpu, model, "", "x", family.images(1))
    np.testing.assert_array_equal(out.numpy(), model(family.images(1)).numpy())
    on_gpu = onnx.Graph(model.to("gpu"))
    onnx._add(on_gpu, model, "", "x", onnx._one_sample(model, family.images(3)))
    assert on_gpu.nodes == on_cpu.nodes
    for name, array in on_gpu.arrays.items():
        assert isinstance(array, np.ndarray), name
        np.testing.assert_array_equal(array, on_cpu.arrays[name])
