"""Windows of series, as views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import data
from scratchae.backend import to_device


@pytest.mark.parametrize("shape", [(20,), (20, 3), (20, 1), (5,), (5, 0)])
@pytest.mark.parametrize("length", [1, 4, 5])
@pytest.mark.parametrize("stride", [1, 3, 7])
def test_windows_are_those_of_a_loop(shape: tuple, length: int, stride: int, device: str) -> None:
    series = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    found = to_device(data.windows(to_device(series, device), length, stride), "cpu")
    expected = np.stack([series[i : i + length].T for i in range(0, len(series) - length + 1, stride)])
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32


def test_windows_share_memory_and_are_read_only() -> None:
    series = np.arange(60.0).reshape(20, 3)[::-1, ::2]  # not contiguous
    found = data.windows(series, 6, 2)
    np.testing.assert_array_equal(found[1], series[2:8].T)
    assert np.shares_memory(found, series) and not found.flags.writeable
    assert series.flags.writeable


def test_windows_of_a_memory_map_are_trained_on(tmp_path: Path) -> None:
    np.save(tmp_path / "series.npy", np.sin(np.arange(500) / 5).astype(np.float32))
    found = data.windows(data.load_array(tmp_path / "series.npy"), 32, 4)
    assert found.shape == (118, 32)
    model = sa.Autoencoder.dense((32, 2), activation=None, output=None, loss="mse")
    trainer = sa.Trainer(model, sa.optim.Adam(model.parameters(), lr=0.02))
    loss = trainer.fit(found, epochs=30, progress=False)["loss"]
    assert loss[-1] < 0.01 < loss[0]  # a sine has two dimensions
    assert model.reconstruction_error(found).shape == (118,)


MISTAKES: dict[str, tuple[Any, type, str]] = {
    "too long": ((np.zeros(5), 6), ValueError, "length=6, but the series has 5 steps; expected at most as many"),
    "images": ((np.zeros((5, 2, 2)), 2), ValueError, r"shape \(5, 2, 2\); expected \(n,\) or \(n, channels\)"),
    "a number": ((np.float32(3), 1), (ValueError, TypeError), "windows"),
    "text": ((np.array(["a", "b"]), 1), TypeError, "windows: the series"),
    "no length": ((np.zeros(5), 0), ValueError, "length=0; expected an integer of at least 1"),
    "no stride": ((np.zeros(5), 2, 0), ValueError, "stride=0; expected an integer of at least 1"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(case: str) -> None:
    arguments, kind, message = MISTAKES[case]
    with pytest.raises(kind, match=message):
        data.windows(*arguments)
