"""The door of optional rooms: what is attached, what falls through to the formula, and errors that change nothing."""

from __future__ import annotations

import gc
import importlib
import threading
import time
import weakref
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import backend, nn, optim
from scratchae import functional as F
from scratchae.attach import PLAIN, attach, replaceable


def test_a_replacement_computes_and_calls_the_formula_for_the_rest() -> None:
    @sa.primitive(x=lambda g, x: 2 * g * x)
    def square(x: Any) -> Any:
        return x * x

    calls: list[str] = []

    def by_power(formula: Any) -> Any:
        def way(x: Any) -> Any:
            calls.append("way" if x.dtype == np.float32 else "formula")
            return x**2 if x.dtype == np.float32 else formula(x)

        return way

    def slope(formula: Any) -> Any:
        def way(g: Any, x: Any) -> Any:
            calls.append("slope")
            return formula(g, x)

        return way

    x = sa.tensor([3.0], requires_grad=True)
    square(x).sum().backward()  # a plan from before
    attach(square, forward=by_power, x=slope)
    x.grad = None
    square(x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [6.0]
    assert square(np.array([2.0])) == 4.0 and calls == ["way", "slope", "formula"]


def test_an_error_attaches_nothing() -> None:
    @sa.primitive(x=lambda g: g)
    def same(x: Any) -> Any:
        return x

    def bad(formula: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        attach(same, forward=lambda formula: lambda x: x + 1, x=bad)
    assert same(np.ones(1)) == 1
    with pytest.raises(TypeError, match=r"attach: same has no vjps for \['y'\]"):
        attach(same, y=lambda formula: formula)
    with pytest.raises(TypeError, match="neither a primitive nor replaceable"):
        attach(len, forward=lambda formula: formula)


def test_a_function_without_a_derivative_can_be_replaceable() -> None:
    @replaceable
    def twice(x: int) -> int:
        """Two times x."""
        return 2 * x

    attach(twice, forward=lambda formula: lambda x: formula(x) + 1)
    assert twice(3) == 7 and twice.__doc__ == "Two times x."


def test_the_rooms_of_a_gpu_are_entered_once_and_by_one_thread(
    stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[str] = []

    def slow(name: str) -> None:
        time.sleep(0.05)
        if not entered:
            entered.append("interrupted")
            raise KeyboardInterrupt
        entered.append(name)

    monkeypatch.setattr(importlib, "import_module", slow)
    monkeypatch.setattr(backend, "rooms", ["a.room"])
    with pytest.raises(KeyboardInterrupt):
        backend.load_cupy()
    assert backend.rooms == ["a.room"]
    threads = [threading.Thread(target=backend.load_cupy) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert entered == ["interrupted", "a.room"] and backend.rooms == []


@pytest.mark.skipif(PLAIN, reason="SCRATCHAE_PLAIN=1 has no flat buffers")
def test_the_memory_on_a_gpu_is_free_when_the_model_has_left(stand_in: ModuleType) -> None:
    model = nn.Linear(3, 2).to("gpu")
    optimizer = optim.Adam(model.parameters())
    model(sa.tensor(np.ones((4, 3)), dtype=np.float32, device="gpu")).sum().backward()
    optimizer.step()
    [(_, flat)] = optimizer.updaters()
    held = weakref.ref(flat.values)  # type: ignore[attr-defined]
    model.to("cpu")
    optimizer.zero_grad()
    model(np.ones((4, 3), np.float32)).sum().backward()
    optimizer.step()
    gc.collect()
    assert held() is None


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_gelu_of_integers_is_no_integer(dtype: type) -> None:
    found = F.gelu(np.arange(2).astype(dtype))
    np.testing.assert_allclose(found, [0, 0.8413447460685429], rtol=1e-12)


def test_empty_arrays_on_two_devices_are_refused(stand_in: ModuleType) -> None:
    here, there = np.ones((0, 3), np.float32), stand_in.ones((0, 3), np.float32)
    with pytest.raises(ValueError, match="operand 0 is on gpu:0, operand 1 is on cpu"):
        F.linear(there, np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match="operand 0 is on gpu:0, operand 1 is on cpu"):
        F.matmul(there, here.T)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_larger_of_an_array_and_a_number_keeps_the_array_s_dtype(dtype: type) -> None:
    x = np.array([0, 1], dtype)
    for number in (0.5, True, 1) if PLAIN else (0.5, True, 1, np.float64(0.5)):
        assert F.maximum(x, number).dtype == F.minimum(x, number).dtype == dtype


def test_a_module_that_is_shared_a_thousand_times_is_found_once() -> None:
    model: nn.Module = nn.ReLU()
    for _ in range(40):
        model = nn.Sequential(model, model)
    assert len(list(model.modules())) == 41


def test_losses_take_lists_and_numbers() -> None:
    assert float(nn.MSELoss()([1.0, 2.0], [1.0, 3.0])) == 0.5
    assert nn.CrossEntropyLoss()([[1.0, 2.0]], [0]) == pytest.approx(1.3132616875)
    assert nn.BCELoss()(0.5, 1.0).dtype == np.float64


def test_a_layer_with_an_array_as_default_is_printed() -> None:
    class Own(nn.Linear):
        def __init__(self, sizes: Any = np.array([3, 2])):  # noqa: B008
            super().__init__(*map(int, sizes))

    assert repr(Own()).startswith("Own()")
    with pytest.raises(ValueError, match=r"Own\(\): the input has shape \(4, 5\)"):
        Own()(np.ones((4, 5), np.float32))


def test_noise_on_integers_is_refused_by_the_layer() -> None:
    with pytest.raises(TypeError, match=r"GaussianNoise\(\): the input is uint8; convert it with"):
        nn.GaussianNoise()(np.zeros((2, 2), np.uint8))


def test_clipping_takes_sets_and_refuses_others_by_its_name() -> None:
    p = nn.Parameter(np.ones(2, np.float32))
    p.grad = np.array([3.0, 4.0], np.float32)
    assert optim.clip_grad_norm({p}, 10.0) == 5.0
    with pytest.raises(TypeError, match="clip_grad_norm: params is a dict; pass model.parameters"):
        optim.clip_grad_norm({"params": [p]}, 1.0)
