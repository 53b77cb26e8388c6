"""Checkpoints and weights: all of it comes back, or nothing is touched."""

from __future__ import annotations

import json
import math
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import safetensors.numpy

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim
from scratchae.files import checkpoint
from scratchae.files.checkpoint import non_finite_weights, read_state, write_state
from scratchae.files.storage import FORMAT, FileError, read_arrays, write_arrays

X = np.random.default_rng(1).random((12, 6), np.float32)


def network(seed: int = 0, width: int = 4) -> nn.Sequential:
    sa.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Linear(width, 6))


def train(model: nn.Module, optimizer: optim.Optimizer, steps: range) -> None:
    model.train()
    for step in steps:
        optimizer.zero_grad()
        F.mse_loss(model(sa.Tensor(X[step % 3 * 4 :][:4])), sa.Tensor(X[step % 3 * 4 :][:4])).backward()
        optimizer.step()


def two_groups(model: nn.Module) -> list[dict[str, Any]]:
    parameters = list(model.parameters())
    return [{"params": parameters[:3], "lr": 0.02}, {"params": parameters[3:], "weight_decay": 0.1}]


OPTIMISERS: dict[str, Callable[[nn.Module], optim.Optimizer]] = {
    "Adam": lambda m: optim.Adam(m.parameters(), lr=0.01, betas=(0.8, 0.99)),
    "AdamW amsgrad": lambda m: optim.AdamW(m.parameters(), lr=0.01, amsgrad=True),
    "SGD": lambda m: optim.SGD(m.parameters(), lr=0.1),
    "SGD momentum": lambda m: optim.SGD(m.parameters(), lr=0.1, momentum=0.9, nesterov=True),
    "RMSprop": lambda m: optim.RMSprop(m.parameters(), lr=0.01, momentum=0.5, centered=True),
    "groups, Adam": lambda m: optim.Adam(two_groups(m)),
    "groups, SGD": lambda m: optim.SGD(two_groups(m), momentum=0.9),
}


def everything(model: nn.Module, optimizer: optim.Optimizer | None = None) -> bytes:
    modes = [m.training for m in model.modules()]
    return pickle.dumps((model.state_dict(), optimizer and optimizer.state_dict(), modes))


# --- what comes back ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_training_goes_on_as_if_it_had_not_been_interrupted(tmp_path: Path, kind: str) -> None:
    model = network()
    optimizer = OPTIMISERS[kind](model)
    train(model, optimizer, range(5))
    optimizer.lr *= 0.5  # as a schedule does
    sa.save_checkpoint(tmp_path / "run", model, optimizer, epoch=5)
    saved = everything(model, optimizer)
    train(model, optimizer, range(5, 12))

    other = network(seed=9)
    fresh = OPTIMISERS[kind](other)
    assert sa.load_checkpoint(tmp_path / "run", other, fresh) == {"epoch": 5}
    assert everything(other, fresh) == saved
    train(other, fresh, range(5, 12))
    assert everything(other, fresh) == everything(model, optimizer)


def test_options_of_every_group_are_restored(tmp_path: Path) -> None:
    model = network()
    optimizer = OPTIMISERS["groups, Adam"](model)
    optimizer.param_groups[0] |= {"betas": (0.5, 0.6), "eps": 1e-3}
    optimizer.param_groups[1] |= {"lr": 0.5, "amsgrad": True}
    train(model, optimizer, range(1))
    sa.save_checkpoint(tmp_path / "run", model, optimizer)
    fresh = OPTIMISERS["groups, Adam"](other := network())
    sa.load_checkpoint(tmp_path / "run", other, fresh)
    options = [[{k: v for k, v in g.items() if k != "params"} for g in o.param_groups] for o in (optimizer, fresh)]
    assert options[0] == options[1] and isinstance(options[1][0]["betas"], tuple)
    for o, m in ((optimizer, model), (fresh, other)):
        train(m, o, range(2))
    assert everything(model, optimizer) == everything(other, fresh)


def test_an_option_switched_on_just_before_saving_comes_back_too(tmp_path: Path) -> None:
    model, optimizer = trained(0, kind="SGD")
    optimizer.param_groups[0]["momentum"] = 0.9  # which asks for an array that no step has made yet
    sa.save_checkpoint(tmp_path / "run", model, optimizer)
    other, fresh = trained(1, kind="SGD")
    sa.load_checkpoint(tmp_path / "run", other, fresh)
    for o, m in ((optimizer, model), (fresh, other)):
        train(m, o, range(2))
    assert everything(model, optimizer) == everything(other, fresh)


def test_a_model_with_tied_weights_frozen_ones_and_own_buffers(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
            self.second.weight = self.first.weight
            self.second.bias.requires_grad = False
            self.register_buffer("count", np.array(7))
            self.register_buffer("mask", np.array([True, False]))

        def forward(self, x: Any) -> Any:
            return self.second(self.first(x))

    sa.manual_seed(0)
    model, other = Tied(), Tied()
    model.count = np.array(8)
    optimizers = [optim.Adam(m.parameters()) for m in (model, other)]
    sa.save_checkpoint(tmp_path / "run", model, optimizers[0])
    sa.load_checkpoint(tmp_path / "run", other, optimizers[1])
    assert everything(model, optimizers[0]) == everything(other, optimizers[1])
    assert other.second.weight is other.first.weight and other.count == 8 and other.count.shape == ()


METADATA = {
    "integer": 3, "large": 2**70, "float": 0.1, "tiny": 5e-324, "text": 'ü "quoted" \n 漢 🙂', "none": None,
    "truth": True, "list": [1, [2.5, None], {}], "dict": {"a": {"b": []}}, "empty": "", "@": {"@": "x"},
    "state": "mine", "sha256": "0",
}  # fmt: skip


def test_metadata_come_back_equal(tmp_path: Path) -> None:
    sa.save_checkpoint(tmp_path / "run", network(), **METADATA)
    found = sa.load_checkpoint(tmp_path / "run", network())
    assert found == METADATA and {k: type(v) for k, v in found.items()} == {k: type(v) for k, v in METADATA.items()}


@pytest.mark.parametrize(
    "value",
    [(1, 2), [(1,)], {1, 2}, math.nan, [math.inf], np.zeros(2), np.float32(1), {1: 2}, {"a": {None: 1}}, b"x", ...],
    ids=repr,
)
def test_other_metadata_are_refused_before_anything_is_written(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ValueError, match="metadata"):
        sa.save_checkpoint(tmp_path / "new", network(), value=value)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_fits_a_model_of_another_precision(tmp_path: Path) -> None:
    model, other = network(), network(seed=9).to(np.float64)
    optimizer, fresh = optim.Adam(model.parameters()), optim.Adam(other.parameters())
    train(model, optimizer, range(3))
    sa.save_checkpoint(tmp_path / "run", model, optimizer)
    sa.load_checkpoint(tmp_path / "run", other, fresh)
    for name, array in other.state_dict().items():
        assert array.dtype == np.float64 and array.tolist() == model.state_dict()[name].tolist()
    entries = zip(*(o.state_dict()["groups"][0]["params"] for o in (optimizer, fresh)), strict=True)
    assert all(a["step"] == b["step"] == 3 and a["sum"].tolist() == b["sum"].tolist() for a, b in entries)


# --- what is refused ------------------------------------------------------------------------------


def refused(path: Path, model: nn.Module, optimizer: optim.Optimizer | None, *parts: str) -> None:
    """Loading says all of `parts`, names the file, and leaves both as they were."""
    before = everything(model, optimizer)
    with pytest.raises(ValueError) as caught:
        sa.load_checkpoint(path, model, optimizer)
    for part in (str(path), *parts):
        assert part in str(caught.value)
    assert everything(model, optimizer) == before


def trained(seed: int, width: int = 4, kind: str = "Adam") -> tuple[nn.Sequential, optim.Optimizer]:
    model = network(seed, width)
    optimizer = OPTIMISERS[kind](model)
    train(model, optimizer, range(2))
    return model, optimizer


def test_all_that_does_not_fit_is_listed(tmp_path: Path) -> None:
    sa.save_checkpoint(tmp_path / "run", *trained(0, width=5))
    sa.manual_seed(1)
    layers = [nn.Linear(6, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 6)]
    model = nn.Sequential(*layers)
    listed = (
        "nothing was loaded", "missing: 2.weight", "missing: 2.bias", "unexpected: 1.weight", "unexpected: 1.bias",
        "unexpected: 1.running_mean", "unexpected: 1.running_var", "shape: 0.weight is (5, 6) in the state, (4, 6) in",
        "shape: 0.bias is (5,) in the state, (4,) in", "shape: 3.weight is (6, 5) in the state, (6, 4) in",
    )  # fmt: skip
    refused(tmp_path / "run", model, optim.Adam(model.parameters()), *listed)


def test_an_optimiser_that_does_not_fit_leaves_the_model_too(tmp_path: Path) -> None:
    sa.save_checkpoint(tmp_path / "run", *trained(0))
    for kind in ("AdamW amsgrad", "SGD momentum", "RMSprop"):
        model, optimizer = trained(1, kind=kind)
        refused(tmp_path / "run", model, optimizer, "'Adam'", type(optimizer).__name__, "nothing was loaded")
    model, _ = trained(1)
    optimizer = optim.Adam(list(model.parameters())[:3])
    refused(tmp_path / "run", model, optimizer, "[6] parameters per group", "[3]", "nothing was loaded")
    model, optimizer = trained(1, kind="groups, Adam")
    refused(tmp_path / "run", model, optimizer, "[6] parameters per group", "[3, 3]", "nothing was loaded")


def test_a_checkpoint_without_an_optimisers_state(tmp_path: Path) -> None:
    model, optimizer = trained(0)
    sa.save_checkpoint(tmp_path / "run", model)
    refused(tmp_path / "run", *trained(1), "no optimiser state", "nothing was loaded")
    assert sa.load_checkpoint(tmp_path / "run", other := network(1)) == {}
    assert everything(other) == everything(model)
    sa.save_checkpoint(tmp_path / "both", model, optimizer)
    sa.load_checkpoint(tmp_path / "both", other := network(1))  # the weights alone are fine
    assert everything(other) == everything(model)


def test_weights_and_checkpoints_are_told_apart(tmp_path: Path) -> None:
    model, optimizer = trained(0)
    model.save_weights(tmp_path / "weights")
    sa.save_checkpoint(tmp_path / "run", model, optimizer)
    refused(tmp_path / "weights", *trained(1), "is no checkpoint", "load_weights")
    model, before = network(1), everything(network(1))
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        model.load_weights(tmp_path / "run")
    assert str(tmp_path / "run") in str(caught.value) and everything(model) == before
    assert "load_checkpoint" in str(caught.value)  # what to do, as in the other direction


MALFORMED: dict[str, dict[str, str]] = {
    "no state": {"metadata": "{}"},
    "no metadata": {"state": "{}"},
    "a state that is no JSON": {"state": "{", "metadata": "{}"},
    "metadata that are no JSON": {"state": '{"model": {}, "optimizer": null}', "metadata": "{"},
    "an empty state": {"state": "{}", "metadata": "{}"},
    "an array that is not there": {"state": '{"model": {"x": {"@": "x"}}, "optimizer": null}', "metadata": "{}"},
    "a list for a model": {"state": '{"model": [1], "optimizer": null}', "metadata": "{}"},
    "a number for a model": {"state": '{"model": 1, "optimizer": null}', "metadata": "{}"},
    "a list for an optimiser": {"state": '{"model": "weights", "optimizer": [1]}', "metadata": "{}"},
    "a number for groups": {
        "state": '{"model": "weights", "optimizer": {"kind": "Adam", "groups": 3}}', "metadata": "{}",
    },
    "numbers for parameters": {
        "state": '{"model": "weights", "optimizer": {"kind": "Adam", "groups": [{"params": [1, 2, 3, 4, 5, 6]}]}}',
        "metadata": "{}",
    },
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_a_sound_file_of_nonsense_is_refused(tmp_path: Path, case: str) -> None:
    """Its checksum is right, so somebody wrote it like that."""
    weights = network().state_dict()
    strings = {"format": FORMAT, **MALFORMED[case]}
    if "state" in strings:
        references = json.dumps({name: {"@": name} for name in weights})
        strings["state"] = strings["state"].replace('"weights"', references)
    write_arrays(tmp_path / "run", weights, strings)
    refused(tmp_path / "run", *trained(1))


# --- weights --------------------------------------------------------------------------------------


def test_weights_are_stored_under_pytorchs_names(tmp_path: Path) -> None:
    model, _ = trained(0)
    model.save_weights(tmp_path / "w.safetensors")
    stored = safetensors.numpy.load_file(tmp_path / "w.safetensors")
    assert {name: a.shape for name, a in stored.items()} == {
        "0.weight": (4, 6), "0.bias": (4,), "1.weight": (4,), "1.bias": (4,), "1.running_mean": (4,),
        "1.running_var": (4,), "3.weight": (6, 4), "3.bias": (6,),
    }  # fmt: skip
    other = network(1)
    other.load_weights(tmp_path / "w.safetensors")
    assert everything(other) == everything(model)


def test_pytorchs_count_of_batches_is_ignored(tmp_path: Path) -> None:
    model, _ = trained(0)
    state = {**model.state_dict(), "1.num_batches_tracked": np.array(2)}
    safetensors.numpy.save_file(state, tmp_path / "w", {"format": "pt"})  # as PyTorch would: no checksum
    other = network(1)
    other.load_weights(tmp_path / "w")
    assert everything(other) == everything(model)


def test_weights_that_do_not_fit_name_the_file_and_load_nothing(tmp_path: Path) -> None:
    network(0, width=5).save_weights(tmp_path / "w")
    model = network(1)
    before = everything(model)
    with pytest.raises(ValueError) as caught:
        model.load_weights(tmp_path / "w")
    for part in (str(tmp_path / "w"), "nothing was loaded", "0.weight is (5, 6) in the state, (4, 6) in the model"):
        assert part in str(caught.value)
    assert everything(model) == before


def test_loading_keeps_the_models_dtype_and_the_optimisers_buffers(tmp_path: Path) -> None:
    model, _ = trained(0)
    model.save_weights(tmp_path / "w")
    double, optimizer = trained(1)
    double.load_weights(tmp_path / "w")
    train(double, optimizer, range(1))  # the optimiser moves what was loaded, not an older copy
    assert everything(double) != everything(model)
    wide = network(1).to(np.float64)
    wide.load_weights(tmp_path / "w")
    assert {a.dtype for a in wide.state_dict().values()} == {np.dtype(np.float64)}


def test_saving_over_a_good_checkpoint_is_all_or_nothing(tmp_path: Path) -> None:
    model, optimizer = trained(0)
    sa.save_checkpoint(tmp_path / "run", model, optimizer, epoch=1)
    before = (tmp_path / "run").read_bytes()
    with pytest.raises(ValueError):
        sa.save_checkpoint(tmp_path / "run", model, optimizer, epoch=math.nan)
    assert (tmp_path / "run").read_bytes() == before
    sa.save_checkpoint(tmp_path / "run", model, optimizer, epoch=2)
    assert read_arrays(tmp_path / "run", checked=True)[1]["metadata"] == '{"epoch": 2}'
    with pytest.raises(FileError):
        (tmp_path / "run").write_bytes(before[:-1])
        sa.load_checkpoint(tmp_path / "run", model, optimizer)


# --- weights that are not finite ------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_no_checkpoint(tmp_path: Path, value: float) -> None:
    model, optimizer = trained(0)
    sa.save_checkpoint(tmp_path / "run", model, optimizer)
    before = (tmp_path / "run").read_bytes()
    model[0].bias.data[1] = model[3].weight.data[2, 1] = value
    for name in ("run", "new"):
        with pytest.raises(ValueError, match=f"{name} was not written: not finite are 0.bias, 3.weight. Go back"):
            sa.save_checkpoint(tmp_path / name, model, optimizer)
    assert (tmp_path / "run").read_bytes() == before and not (tmp_path / "new").exists()
    model.save_weights(tmp_path / "weights")
    assert np.array_equal(read_arrays(tmp_path / "weights")[0]["0.bias"], model[0].bias.data, equal_nan=True)


def test_buffers_may_be_infinite_and_weights_as_large_as_the_dtype_takes(tmp_path: Path) -> None:
    model = network()
    model.register_buffer("mask", np.array([0.0, -math.inf]))
    model[0].weight.data[...] = np.finfo(np.float32).max
    assert non_finite_weights(model) == []
    sa.save_checkpoint(tmp_path / "run", model)
    model.mask = np.zeros(2)
    sa.load_checkpoint(tmp_path / "run", model)
    assert model.mask.tolist() == [0.0, -math.inf]


# --- what the optimiser moves outside the model ---------------------------------------------------


def with_outside(seed: int, *shapes: tuple[int, ...]) -> tuple[nn.Module, optim.Optimizer, list[sa.Tensor]]:
    """A model, and an optimiser that moves more than its parameters, in two groups."""
    model = network(seed)
    outside = [sa.tensor(np.full(shape, seed + i, np.float32), requires_grad=True) for i, shape in enumerate(shapes)]
    inside = list(model.parameters())
    groups = [{"params": [*outside[:1], *inside[:2]]}, {"params": [*inside[2:], *outside[1:]]}]
    return model, optim.Adam(groups), outside


def test_parameters_outside_the_model_come_back(tmp_path: Path) -> None:
    model, optimizer, outside = with_outside(3, (1,), (), (2, 3))
    train(model, optimizer, range(2))
    for p in outside:
        (p * p).sum().backward()
    optimizer.step()
    sa.save_checkpoint(tmp_path / "run", model, optimizer)
    saved = [p.data.tobytes() for p in outside]
    other, fresh, others = with_outside(7, (1,), (), (2, 3))
    sa.load_checkpoint(tmp_path / "run", other, fresh)
    assert [p.data.tobytes() for p in others] == saved and everything(other, fresh) == everything(model, optimizer)
    for o, both in ((optimizer, outside), (fresh, others)):
        o.zero_grad()
        sum((p * p).sum() for p in both).backward()
        o.step()  # it moves what was loaded, not an older copy
    assert [p.data.tobytes() for p in others] == [p.data.tobytes() for p in outside] != saved
    sa.load_checkpoint(tmp_path / "run", network(1))  # the model alone


def test_they_come_back_to_a_gpu_too(stand_in: ModuleType, tmp_path: Path) -> None:
    def on_gpu(value: float) -> tuple[nn.Module, optim.Optimizer, sa.Tensor]:
        model = network().to("gpu")
        outside = sa.tensor([value], requires_grad=True, device="gpu")
        return model, optim.Adam([*model.parameters(), outside]), outside

    model, optimizer, _ = on_gpu(3.0)
    sa.save_checkpoint(tmp_path / "run", model, optimizer)
    other, fresh, outside = on_gpu(7.0)
    sa.load_checkpoint(tmp_path / "run", other, fresh)
    assert outside.numpy().tolist() == [3.0] and outside.device == "gpu:0"
    outside.data[...] = math.inf
    assert non_finite_weights(other, fresh) == ["parameter 0 outside the model"]


def test_a_graph_that_read_them_before_notices(tmp_path: Path) -> None:
    model, optimizer, outside = with_outside(3, (1,))
    sa.save_checkpoint(tmp_path / "run", model, optimizer)
    loss = (outside[0] * outside[0]).sum()
    sa.load_checkpoint(tmp_path / "run", model, optimizer)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("shapes", [(), ((2,),), ((1,), (1,)), ((1, 1),)])
def test_a_checkpoint_without_them_or_with_others_is_refused(tmp_path: Path, shapes: tuple) -> None:
    model, optimizer, _ = with_outside(3, *shapes)
    sa.save_checkpoint(tmp_path / "run", model, optimizer)
    other, fresh, outside = with_outside(7, (1,))
    refused(tmp_path / "run", other, fresh, "parameters outside the model, of shapes [(1,)]", "nothing was loaded")
    assert outside[0].data.tolist() == [7.0]


def test_one_that_its_dtype_cannot_hold_is_refused(tmp_path: Path) -> None:
    model, optimizer, outside = with_outside(3, (1,))
    outside[0].data = np.array([1e300])
    sa.save_checkpoint(tmp_path / "run", model, optimizer)
    other, fresh, others = with_outside(7, (1,))
    refused(tmp_path / "run", other, fresh, "outside the model has numbers that its dtype cannot hold")
    assert others[0].data.tolist() == [7.0]


def test_those_that_are_not_finite_are_named_too(tmp_path: Path) -> None:
    model, optimizer, outside = with_outside(3, (1,), (2,))
    outside[1].data[0] = math.nan
    with pytest.raises(ValueError, match="not finite are parameter 1 outside the model"):
        sa.save_checkpoint(tmp_path / "run", model, optimizer)
    sa.save_checkpoint(tmp_path / "run", model)


# --- all or nothing, whatever goes wrong ----------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("no"), KeyboardInterrupt(), MemoryError()], ids=repr)
def test_whatever_fails_half_way_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    sa.save_checkpoint(tmp_path / "run", *with_outside(3, (1,))[:2])
    model, optimizer, outside = with_outside(7, (1,))
    before = everything(model, optimizer)
    for owner, name in ((optimizer, "load_state_dict"), (checkpoint, "_write")):
        with monkeypatch.context() as patch, pytest.raises(type(error)):
            patch.setattr(owner, name, Mock(side_effect=[error, None]))
            sa.load_checkpoint(tmp_path / "run", model, optimizer)
        assert everything(model, optimizer) == before and outside[0].data.tolist() == [7.0]


def test_numbers_that_do_not_fit_the_dtype_are_refused_where_warnings_are_errors(tmp_path: Path) -> None:
    big = network().to(np.float64)
    big[3].weight.data[...] = 1e300
    sa.save_checkpoint(tmp_path / "run", big)
    refused(tmp_path / "run", network(1), None)


def write_tree(path: Path, state: Any, metadata: str = "{}") -> None:
    """A checkpoint with the right checksum, whatever it holds."""
    text = state if isinstance(state, str) else json.dumps(state)
    write_arrays(path, {"w": np.ones((4, 6))}, {"format": FORMAT, "state": text, "metadata": metadata})


DEEP = "[" * 50_000 + "]" * 50_000
READ = 900 if sys.version_info < (3, 12) else 5000  # newer versions read deeper JSON, and call fewer functions for it
CRAFTED: dict[str, tuple[Any, str]] = {
    "a list": ([], "{}"),
    "a number": (1, "{}"),
    "null": (None, "{}"),
    "nothing": ({}, "{}"),
    "no optimiser": ({"model": {}}, "{}"),
    "a model that is a list": ({"model": [], "optimizer": None}, "{}"),
    "a model that is an array": ({"model": {"@": "w"}, "optimizer": None}, "{}"),
    "an optimiser that is a list": ({"model": {}, "optimizer": [1]}, "{}"),
    "an array that is not there": ({"model": {"0.weight": {"@": "v"}}, "optimizer": None}, "{}"),
    "an array without a name": ({"model": {"0.weight": {"@": ["w"]}}, "optimizer": None}, "{}"),
    "an array named by a number": ({"model": {"0.weight": {"@": 0}}, "optimizer": None}, "{}"),
    "an array and more": ({"model": {"0.weight": {"@": "w", "x": 1}}, "optimizer": None}, "{}"),
    "deep": ('{"model":' + DEEP + ',"optimizer":null}', "{}"),
    "as deep as JSON is read": ('{"model":{"x":' + "[" * READ + "]" * READ + '},"optimizer":null}', "{}"),
    "a long number": ('{"model":{"x":' + "9" * 5000 + '},"optimizer":null}', "{}"),
    "no JSON": ("{", "{}"),
    "metadata that are a list": ({"model": {}, "optimizer": None}, "[1]"),
    "metadata that are null": ({"model": {}, "optimizer": None}, "null"),
    "deep metadata": ({"model": {}, "optimizer": None}, DEEP),
    "metadata that are no JSON": ({"model": {}, "optimizer": None}, "{"),
    "metadata with NaN": ({"model": {}, "optimizer": None}, '{"a": NaN}'),
    "metadata with infinity": ({"model": {}, "optimizer": None}, '{"a": [-Infinity]}'),
}


@pytest.mark.parametrize("case", CRAFTED)
def test_a_tree_that_makes_no_sense_is_refused(tmp_path: Path, case: str) -> None:
    write_tree(tmp_path / "run", *CRAFTED[case])
    with pytest.raises(FileError, match="run is malformed"):
        read_state(tmp_path / "run")
    model, optimizer = trained(0)
    refused(tmp_path / "run", model, optimizer, "is malformed")
    refused(tmp_path / "run", model, None, "is malformed")


@pytest.mark.parametrize("wrong", [1, "x", [], [1], {}, [None], [{"@": "w"}], {"0": {"@": "w"}}], ids=repr)
def test_values_outside_the_model_that_make_no_sense_are_refused(tmp_path: Path, wrong: Any) -> None:
    model, optimizer, outside = with_outside(3, (1,))
    sa.save_checkpoint(tmp_path / "run", model, optimizer)
    arrays, strings = read_arrays(tmp_path / "run")
    tree = {**json.loads(strings["state"]), "extra": wrong}
    write_arrays(tmp_path / "run", {**arrays, "w": np.ones(3)}, {**strings, "state": json.dumps(tree)})
    refused(tmp_path / "run", model, optimizer, "parameters outside the model")
    assert outside[0].data.tolist() == [3.0]


# --- any tree -------------------------------------------------------------------------------------


def test_names_that_are_joined_alike_stay_apart(tmp_path: Path) -> None:
    state = {"model": {"a.b": np.zeros(1), "a": {"b": np.ones(1)}, "a.b'": np.full(1, 2)}, "optimizer": None}
    write_state(tmp_path / "run", state, {})
    found, _ = read_state(tmp_path / "run")
    assert [found["model"]["a.b"][0], found["model"]["a"]["b"][0], found["model"]["a.b'"][0]] == [0, 1, 2]


def test_what_cannot_be_saved_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"cannot save callbacks.0.seen, \{1\}: expected arrays, numbers"):
        write_state(tmp_path / "run", {"callbacks": [{"seen": {1}}]}, {})
    with pytest.raises(ValueError, match="keys must be strings"):
        write_state(tmp_path / "run", {"callbacks": [{1: 2}]}, {})
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="run: the state nests lists or dicts too deeply"):
        write_state(tmp_path / "run", {"callbacks": deep}, {})
    with pytest.raises(ValueError, match="metadata must be JSON values"):
        sa.save_checkpoint(tmp_path / "run", network(), deep=deep)
    assert list(tmp_path.iterdir()) == []
