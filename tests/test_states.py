"""Loading a state: all of it or nothing, one name for what is shared, and no surprise for a recorded graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import nn, optim
from scratchae.files import storage

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


class Tied(nn.Module):
    """Two layers with one weight, and two layers that keep one array of statistics."""

    def __init__(self) -> None:
        self.a, self.b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.b.weight = self.a.weight
        self.c, self.d = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
        self.d.running_mean = self.c.running_mean

    def forward(self, x: Any) -> Any:
        return self.d(self.c(self.b(self.a(x))))


def bits(model: nn.Module) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in model.state_dict().items()}


# --- what is shared -------------------------------------------------------------------------------


@pytest.mark.parametrize("left_out", [["a.weight"], ["b.weight"], ["c.running_mean"], ["b.weight", "d.running_mean"]])
def test_one_of_its_names_is_enough_for_what_is_shared(left_out: list[str], tmp_path: Path) -> None:
    source, model = Tied(), Tied()
    source(sa.Tensor(X))
    state = source.state_dict()
    assert {"a.weight", "b.weight", "c.running_mean", "d.running_mean"} <= state.keys()
    storage.write_arrays(tmp_path / "w", {n: a for n, a in state.items() if n not in left_out})
    model.load_weights(tmp_path / "w")
    assert bits(model) == bits(source)
    assert model.a.weight is model.b.weight and model.c.running_mean is model.d.running_mean


@pytest.mark.parametrize("names", [("a.weight", "b.weight"), ("c.running_mean", "d.running_mean")])
def test_two_values_for_one_array_are_refused_by_name(names: tuple[str, str]) -> None:
    model = Tied()
    before, state = bits(model), Tied().state_dict()
    state[names[0]] = state[names[1]] + 1
    with pytest.raises(ValueError, match=f"(?s)nothing was loaded.*different values: {' and '.join(names)} are one"):
        model.load_state_dict(state)
    assert bits(model) == before
    state[names[0]] = state[names[1]].astype(np.float64)  # the same numbers, NaN too
    state[names[0]][..., 0] = state[names[1]][..., 0] = np.nan
    model.load_state_dict(state)
    assert np.isnan(model.state_dict()[names[1]][..., 0]).all()


def test_shapes_are_checked_under_every_name_and_a_missing_one_is_told_with_all() -> None:
    model, state = Tied(), Tied().state_dict()
    state["b.weight"] = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"shape: b.weight is \(2, 3\) in the state, \(3, 3\) in the model"):
        model.load_state_dict(state)
    del state["a.weight"], state["b.weight"]
    with pytest.raises(ValueError, match="missing: a.weight or b.weight"):
        model.load_state_dict(state)


def test_a_layer_used_twice_needs_one_set_of_names() -> None:
    layer = nn.BatchNorm1d(3)
    model, source = nn.Sequential(layer, nn.ReLU(), layer), nn.BatchNorm1d(3)
    source(sa.Tensor(X))
    model.load_state_dict({f"2.{name}": array for name, array in source.state_dict().items()})
    assert bits(layer) == bits(source) and len(model.state_dict()) == 8


def test_moving_and_freezing_keep_what_is_shared_together() -> None:
    model = Tied().to(np.float64)
    assert model.c.running_mean is model.d.running_mean and model.a.weight is model.b.weight
    assert {a.dtype for a in model.state_dict().values()} == {np.dtype(np.float64)}
    assert not any(p.requires_grad for p in model.requires_grad_(False).parameters())
    assert not model.b.weight.requires_grad
    model.requires_grad_()(sa.Tensor(X.astype(np.float64))).sum().backward()
    model.zero_grad()
    assert model.a.weight.grad is None and model.b.weight.requires_grad


# --- all or nothing -------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["error", "ignore"])
def test_a_number_too_large_for_the_dtype_is_refused_whatever_becomes_of_warnings(action: str) -> None:
    model = Tied()
    state, before = Tied().to(np.float64).state_dict(), bits(model)
    state["d.running_var"][1] = 1e300
    with warnings.catch_warnings():
        warnings.simplefilter(action)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"too large for float32: d\.running_var"):
            model.load_state_dict(state)
    assert bits(model) == before
    state["d.running_var"][1] = np.inf  # infinite before, too
    model.load_state_dict(state)
    assert model.d.running_var[1] == np.inf


def test_an_integer_too_large_for_half_precision_is_refused() -> None:
    model = nn.Linear(1, 1, bias=False).to(np.float16)
    before = bits(model)
    with pytest.raises(ValueError, match="too large for float16: weight"):
        model.load_state_dict({"weight": np.array([[65535]], np.uint16)})  # it would round to infinity
    assert bits(model) == before


class Stubborn(np.ndarray):
    """An array that is interrupted when it is written to."""

    def __setitem__(self, key: Any, value: Any) -> None:
        raise KeyboardInterrupt


def test_ctrl_c_between_two_arrays_leaves_the_old_values(monkeypatch: pytest.MonkeyPatch) -> None:
    model, state = Tied(), Tied().state_dict()
    before, mean = bits(model), model.c.running_mean
    with monkeypatch.context() as patch:
        patch.setattr(model.d.bias, "_data", model.d.bias.data.view(Stubborn))
        with pytest.raises(KeyboardInterrupt):
            model.load_state_dict(state)
    assert bits(model) == before and model.c.running_mean is mean is model.d.running_mean


def test_a_dtype_that_cannot_hold_a_number_converts_nothing() -> None:
    model = Tied()
    model.d.weight.data[...] = 1e30
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning):
            model.to(np.float16)
    assert {a.dtype for a in model.state_dict().values()} == {np.dtype(np.float32)}


def test_a_buffer_of_the_models_own_called_num_batches_tracked_is_loaded() -> None:
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    for layer, count in ((model, 5), (other, 0)):
        layer.register_buffer("num_batches_tracked", np.array(count))
    other.load_state_dict(model.state_dict())
    assert other.num_batches_tracked == 5
    plain = nn.Linear(2, 2)
    plain.load_state_dict(model.state_dict())  # PyTorch's, and none of ours
    assert "num_batches_tracked" not in plain.state_dict()


LINEAR: dict[str, Any] = {"weight": np.ones((2, 2)), "bias": np.ones(2)}
ODD: dict[str, tuple[Any, type[Exception], str]] = {
    "a list": ([1, 2], TypeError, r"mapping from names to arrays, got \[1, 2\]"),
    "nothing": (None, TypeError, "got None"),
    "a path": ("w.safetensors", TypeError, "'w.safetensors'; a file is loaded with load_weights"),
    "a module": (nn.Linear(2, 2), TypeError, "got Linear"),
    "a key that is a number": ({**LINEAR, 3: np.ones(2)}, ValueError, "unexpected: 3"),
    "a masked array": ({**LINEAR, "bias": np.ma.masked_equal([0.0, 1.0], 0)}, ValueError, "bias is a MaskedArray"),
    "complex numbers": ({**LINEAR, "bias": np.ones(2, complex)}, ValueError, "bias is of dtype complex128"),
    "text": ({**LINEAR, "bias": np.array(["a", "b"])}, ValueError, "bias is of dtype <U1"),
    "objects": ({**LINEAR, "bias": np.array([None, 1])}, ValueError, "bias is of dtype object"),
    "a number": ({**LINEAR, "bias": 1.0}, ValueError, "bias is a float"),
    "no dimension": ({**LINEAR, "bias": np.array(1.0)}, ValueError, r"bias is \(\) in the state, \(2,\) in the model"),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_states_are_refused_and_change_nothing(case: str) -> None:
    state, error, message = ODD[case]
    model = nn.Linear(2, 2)
    before = bits(model)
    with pytest.raises(error, match=message):
        model.load_state_dict(state)
    assert bits(model) == before


def test_big_endian_arrays_scalars_and_tensors_are_taken() -> None:
    model = nn.Linear(2, 2)
    model.scale = nn.Parameter(np.array(1, np.float32))
    model.load_state_dict({"weight": np.array([[1, 2], [3, 4]], ">f8"), "bias": sa.Tensor(np.ones(2)),
                           "scale": np.float64(7)})  # fmt: skip
    assert model.weight.data.tolist() == [[1, 2], [3, 4]] and model.weight.data.dtype.isnative
    assert model.bias.data.tolist() == [1, 1] and model.scale.data == 7 and model.scale.shape == ()


def test_a_loaded_state_shares_no_memory_with_the_arrays_given() -> None:
    model = nn.BatchNorm1d(2).requires_grad_(False)
    state = model.state_dict()
    model.load_state_dict(state)
    for array in state.values():
        array[...] = 9
    assert not any((array == 9).any() for array in model.state_dict().values())


# --- and a recorded graph -------------------------------------------------------------------------


def test_a_graph_keeps_the_frozen_weight_that_it_read() -> None:
    layer, x = nn.Linear(3, 2).requires_grad_(False), sa.tensor(X, requires_grad=True)
    weight, parameter, y = layer.weight.numpy().copy(), layer.weight, layer(x)
    layer.load_state_dict({"weight": np.zeros((2, 3)), "bias": np.zeros(2)})
    y.sum().backward()
    np.testing.assert_allclose(x.grad, np.tile(weight.sum(0), (4, 1)), rtol=1e-6)
    assert layer.weight is parameter and not layer.weight.data.any()


def test_a_graph_keeps_the_buffer_that_it_read() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            self.register_buffer("scale", np.full(3, 2, np.float32))

        def forward(self, x: Any) -> Any:
            return x * self.scale

    model, x = Scaled(), sa.tensor(X, requires_grad=True)
    y = model(x)
    model.load_state_dict({"scale": np.zeros(3)})
    y.sum().backward()
    assert (x.grad == 2).all() and not model.scale.any()


@pytest.mark.parametrize(
    "change",
    [lambda layer: layer.load_state_dict(nn.Linear(3, 2).state_dict()), lambda layer: nn.init.zeros_(layer.weight),
     lambda layer: nn.init.uniform_(layer.weight), lambda layer: nn.init.kaiming_normal_(layer.weight)],
    ids=["load", "zeros_", "uniform_", "kaiming_normal_"],
)  # fmt: skip
def test_a_backward_pass_through_a_weight_that_was_changed_is_refused(change: Callable) -> None:
    layer, x = nn.Linear(3, 2), sa.tensor(X, requires_grad=True)
    y = layer(x)
    change(layer)
    with pytest.raises(RuntimeError, match="changed"):
        y.sum().backward()


def test_an_optimiser_goes_on_with_the_loaded_weights() -> None:
    layer = nn.Linear(3, 2)
    optimizer = optim.SGD(layer.parameters(), lr=0.5)
    layer.load_state_dict({"weight": np.full((2, 3), 3.0), "bias": np.zeros(2)})
    layer(sa.Tensor(np.ones((1, 3), np.float32))).sum().backward()
    optimizer.step()
    assert (layer.weight.data == 2.5).all() and (layer.bias.data == -0.5).all()
