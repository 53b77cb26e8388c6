"""Weights that fit in part, in half precision, or in several files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from platforms import needs_links

import scratchae as sa
from scratchae import nn, optim
from scratchae.files import shards, states, storage


def model(hidden: int = 4, *, seed: int = 0, head: int = 2) -> nn.Sequential:
    sa.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, head))


def bits(module: nn.Module) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in module.state_dict().items()}


# --- what fits ------------------------------------------------------------------------------------


def test_what_fits_is_loaded_and_the_rest_is_named(tmp_path: Path) -> None:
    pretrained, other = model(seed=1), model(seed=2, head=5)
    state = pretrained.state_dict()
    del state["1.running_var"]
    state["4.weight"] = np.ones(3)
    state["1.num_batches_tracked"] = np.array(7)
    before = bits(other)
    storage.write_arrays(tmp_path / "w", state)
    left = other.load_weights(tmp_path / "w", strict=False)
    assert left == (["1.running_var"], ["4.weight"], ["3.weight", "3.bias"])
    assert (left.missing, left.unexpected, left.misshaped) == tuple(left)
    after, wanted = bits(other), bits(pretrained)
    for name in after:
        kept = name in ("1.running_var", "3.weight", "3.bias")
        assert after[name] == (before if kept else wanted)[name], name
    assert other.load_state_dict(state, strict=False) == left


def test_nothing_is_left_of_a_state_that_fits(tmp_path: Path) -> None:
    model(seed=1).save_weights(tmp_path / "w")
    for strict in (True, False):
        assert model().load_weights(tmp_path / "w", strict=strict) == states.NotLoaded([], [], [])


def test_with_strict_the_same_names_are_an_error_and_nothing_is_loaded() -> None:
    other = model(seed=2, head=5)
    before = bits(other)
    with pytest.raises(ValueError, match=r"(?s)nothing was loaded.*shape: 3.weight is \(2, 4\) in the state, \(5, 4\)"):
        other.load_state_dict(model().state_dict())
    assert bits(other) == before


def test_a_state_of_another_model_loads_nothing() -> None:
    other, names = model(), list(model().state_dict())
    before = bits(other)
    assert other.load_state_dict({"encoder": np.ones(2), 7: np.ones(2)}, strict=False) == (names, ["encoder", "7"], [])
    assert other.load_state_dict({}, strict=False).missing == names
    assert bits(other) == before


class Tied(nn.Module):
    def __init__(self) -> None:
        self.a, self.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.b.weight = self.a.weight


def test_a_tied_parameter_takes_the_name_that_fits() -> None:
    tied, value = Tied(), np.full((2, 2), 5.0)
    assert tied.load_state_dict({"a.weight": np.ones(3), "b.weight": value}, strict=False) == ([], [], ["a.weight"])
    np.testing.assert_array_equal(tied.a.weight.data, value)
    assert tied.load_state_dict({}, strict=False).missing == ["a.weight", "b.weight"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"3.bias": "zeros"}, "3.bias is a str"),
        ({"3.bias": np.array([1e300, 0])}, "too large for float32: 3.bias"),
        ({"3.bias": np.array([1j, 0])}, "3.bias is of dtype complex128"),
    ],
)
def test_values_that_cannot_be_are_errors_all_the_same(change: dict, text: str) -> None:
    other = model(seed=2)
    before = bits(other)
    with pytest.raises(ValueError, match=f"(?s)nothing was loaded.*{text}"):
        other.load_state_dict({**model().state_dict(), **change, "more": np.ones(2)}, strict=False)
    assert bits(other) == before
    for strict in (0, None, "no"):
        with pytest.raises(ValueError, match="load_state_dict: strict="):
            other.load_state_dict(model().state_dict(), strict=strict)
        with pytest.raises(ValueError, match="load_weights: strict="):
            other.load_weights("no file", strict=strict)


def test_an_optimiser_goes_on_with_weights_that_were_loaded_in_part() -> None:
    other = model(seed=2, head=5)
    optimizer = optim.SGD(other.parameters(), lr=0.5)
    other.load_state_dict(model(seed=1).state_dict(), strict=False)
    wanted = model(seed=1)[0].weight.data - 0.5
    for p in other.parameters():
        p.grad = np.ones(p.shape, np.float32)
    optimizer.step()
    np.testing.assert_array_equal(other[0].weight.data, wanted)


# --- half precision -------------------------------------------------------------------------------


def file_of(dtype: str, shape: list[int], data: bytes) -> bytes:
    header = json.dumps({"weight": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    return len(header).to_bytes(8, "little") + header + data


NUMBERS = np.array([[1.0, -2.5, 3.140625], [0.0, -0.0, 1e30]], np.float32)  # exact in bfloat16 but for the last
HALVES = (NUMBERS.view(np.uint32) >> 16).astype("<u2")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bfloat16_is_read_into_the_dtype_of_the_parameters(dtype: Any, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(file_of("BF16", [2, 3], HALVES.tobytes()))
    read, _ = storage.read_arrays(tmp_path / "w")
    assert read["weight"].dtype == np.float32
    layer = nn.Linear(3, 2, bias=False).to(dtype)
    layer.load_weights(tmp_path / "w")
    assert layer.weight.dtype == dtype
    np.testing.assert_allclose(layer.weight.data, NUMBERS, rtol=2**-7)  # cut off, not rounded
    assert (layer.weight.data.ravel()[:5] == NUMBERS.ravel()[:5]).all() and np.signbit(layer.weight.data[1, 1])


def test_bfloat16_holds_infinities_nan_and_no_numbers_too(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(file_of("BF16", [3], np.array([0x7F80, 0xFF80, 0x7FC0], "<u2").tobytes()))
    np.testing.assert_array_equal(storage.read_arrays(tmp_path / "w")[0]["weight"], [np.inf, -np.inf, np.nan])
    (tmp_path / "w").write_bytes(file_of("BF16", [0, 2], b""))
    assert storage.read_arrays(tmp_path / "w")[0]["weight"].shape == (0, 2)


def test_bfloat16_that_float16_cannot_hold_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(file_of("BF16", [2, 3], HALVES.tobytes()))
    with pytest.raises(ValueError, match="(?s)w: .*too large for float16: weight"):
        nn.Linear(3, 2, bias=False).to(np.float16).load_weights(tmp_path / "w")


def test_float16_is_read_into_float32(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(file_of("F16", [2, 3], NUMBERS[:, ::-1].clip(-9, 9).astype("<f2").tobytes()))
    layer = nn.Linear(3, 2, bias=False)
    layer.load_weights(tmp_path / "w")
    assert layer.weight.dtype == np.float32
    np.testing.assert_array_equal(layer.weight.data, NUMBERS[:, ::-1].clip(-9, 9))


# --- several files --------------------------------------------------------------------------------

INDEX = "model.safetensors.index.json"


def sharded(folder: Path, **changes: Any) -> Path:
    """The weights of `model(seed=1)` in two files. A change replaces the place of an array, or adds one."""
    state, places = model(seed=1).state_dict(), {}
    for i, names in enumerate((list(state)[:3], list(state)[3:]), 1):
        shard = f"model-{i:05}-of-00002.safetensors"
        storage.write_arrays(folder / shard, {name: state[name] for name in names})
        places |= dict.fromkeys(names, shard)
    content = {"metadata": {"total_size": 1}, "weight_map": {**places, **changes}}
    (folder / INDEX).write_text(json.dumps(content))
    return folder / INDEX


def test_the_shards_of_an_index_are_read_as_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, other = sharded(tmp_path), model()
    assert other.load_weights(index) == ([], [], [])
    assert bits(other) == bits(model(seed=1))
    monkeypatch.chdir(tmp_path)
    again = model()
    again.load_weights(INDEX)
    assert bits(again) == bits(other)
    again.save_weights("weights.json")  # no index
    assert model().load_weights("weights.json") == ([], [], [])


def test_arrays_that_the_index_does_not_name_are_left_alone(tmp_path: Path) -> None:
    index = sharded(tmp_path)
    content = json.loads(index.read_text())
    del content["weight_map"]["3.bias"]
    index.write_text(json.dumps(content))
    assert model().load_weights(index, strict=False) == (["3.bias"], [], [])


@needs_links
def test_a_shard_may_be_a_link_and_lie_in_a_folder_below(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here" / "parts").mkdir(parents=True)
    index = sharded(tmp_path / "elsewhere")
    content = json.loads(index.read_text())
    content["weight_map"] = {name: f"parts/{shard}" for name, shard in content["weight_map"].items()}
    (tmp_path / "here" / INDEX).write_text(json.dumps(content))
    for shard in (tmp_path / "elsewhere").glob("*.safetensors"):
        (tmp_path / "here" / "parts" / shard.name).symlink_to(shard)
    other = model()
    other.load_weights(tmp_path / "here" / INDEX)
    assert bits(other) == bits(model(seed=1))


@pytest.mark.parametrize(
    "place",
    ["/etc/passwd", "../w", "a/../../w", "..\\w", "C:\\w", "C:w", "\\\\host\\w", "", "a\0b", 5, None, ["w"]],
    ids=repr,
)
def test_a_path_out_of_the_folder_is_refused_before_a_file_is_opened(
    place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = sharded(tmp_path, more=place)
    monkeypatch.setattr(shards, "read_arrays", lambda path: pytest.fail("a file was opened"))
    with pytest.raises(storage.FileError, match=r"index\.json: weight_map\['more'\]=.*expected the name of a file"):
        model().load_weights(index)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b"3", b"null", b"{}", b'{"weight_map": {}}', b'{"weight_map": 1}', b"[" * 10**5],
    ids=lambda content: repr(content[:20]),
)
def test_a_bad_index_is_an_error_that_names_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_bytes(content)
    with pytest.raises(storage.FileError, match=r"index\.json is no .*nothing was loaded"):
        model().load_weights(tmp_path / INDEX)


def test_shards_that_are_missing_damaged_or_others_are_named(tmp_path: Path) -> None:
    other = model()
    before, index = bits(other), sharded(tmp_path)
    second = tmp_path / "model-00002-of-00002.safetensors"
    whole = second.read_bytes()
    second.write_bytes(whole[:-1])
    with pytest.raises(storage.FileError, match="00002-of-00002.safetensors is"):
        other.load_weights(index)
    second.unlink()
    with pytest.raises(FileNotFoundError, match=r"index\.json names the file model-00002-of-00002\.safetensors, which"):
        other.load_weights(index)
    sa.save_checkpoint(second, model())
    with pytest.raises(ValueError, match=r"00002-of-00002\.safetensors is a checkpoint"):
        other.load_weights(index)
    second.write_bytes((tmp_path / "model-00001-of-00002.safetensors").read_bytes())
    with pytest.raises(storage.FileError, match=r"00002.safetensors lacks \['1.bias', .*index\.json expects there"):
        other.load_weights(index)
    with pytest.raises(FileNotFoundError, match="none"):
        other.load_weights(tmp_path / "none.index.json")
    assert bits(other) == before
    second.write_bytes(whole)
    with pytest.raises(ValueError, match=r"(?s)index\.json: .*shape: 3\.weight is \(2, 4\) in the state"):
        model(head=3).load_weights(index)
