"""Every test starts from seed 0; `device` runs a test on each device that can be had here."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import strict_cupy

import scratchae as sa
from scratchae import backend

# Decided here and not by skipping: a machine without a GPU has nothing to report about one.
DEVICES = ["cpu", "stand-in", *(["gpu"] if backend.gpu_available() else [])]

# A shell without job control starts what goes to the background with Ctrl-C ignored, and the tests send it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests that run on a real GPU, for `-m gpu`."""
    if isinstance(item, pytest.Function) and hasattr(item, "callspec") and item.callspec.params.get("device") == "gpu":
        item.add_marker("gpu")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    sa.random.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def stand_in() -> Iterator[ModuleType]:
    """The strict stand-in for CuPy, installed for one test."""
    yield strict_cupy.install()
    strict_cupy.uninstall()


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Large operations are shared out among two threads, whatever the machine has."""
    before = sa.get_num_threads()
    sa.set_num_threads(2)
    yield
    sa.set_num_threads(before)


@pytest.fixture
def formulas(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Takes faster ways away from the functions that are named."""

    def plain(*functions: Any) -> None:
        for function in functions:
            monkeypatch.setattr(function.op, "forward", function.__wrapped__)

    return plain


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """The name to give to `.to(...)` and `device=`."""
    if request.param == "stand-in":
        request.getfixturevalue("stand_in")
    return "cpu" if request.param == "cpu" else "gpu"
