"""Optimisers of half-precision parameters: float32 inside, rounded once per step."""

from __future__ import annotations

import copy
import pickle
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from textbook import RULES, Textbook, bits, every_case, every_rule, leaf

from scratchae import Tensor, nn, optim

HALF = np.float16


def gradient(i: int, shape: tuple[int, ...]) -> np.ndarray:
    """Tiny ones, ones whose squares float16 cannot hold, and, at first, none at all."""
    rng = np.random.default_rng(i)
    return np.asarray(rng.standard_normal(shape) * 10 ** rng.uniform(-6, 4) * (i > 0), HALF)


def steps(optimizer: Any, params: list, numbers: range) -> None:
    for i in numbers:
        for p in params:
            p.grad = gradient(i, p.shape)
        optimizer.step()


@every_case
def test_twenty_steps_are_those_of_full_precision_rounded_once_each(name: str, options: dict) -> None:
    shapes, rng = [(30, 4), (), (0, 2), (7,)], np.random.default_rng(9)
    params = [leaf(rng.standard_normal(shape), HALF) for shape in shapes]
    twins = [leaf(p.data, np.float64) for p in params]
    optimizer, textbook = RULES[name][0](params, **options), Textbook(twins, name, **options)
    for i in range(20):
        steps(optimizer, params, range(i, i + 1))
        for q in twins:
            q.grad = gradient(i, q.shape).astype(np.float64)
        textbook.step()
        for p, q in zip(params, twins, strict=True):
            q.data[...] = q.data.astype(HALF)
            assert p.dtype == HALF
            # A sum that lies half way between two float16 numbers may be rounded to either: one unit, 2^-10.
            np.testing.assert_allclose(p.data.astype(np.float64), q.data, rtol=1.01 * 2**-10, atol=2**-24)
            q.data[...] = p.data
    arrays = [a for e in optimizer.state_dict()["groups"][0]["params"] for k, a in e.items() if k != "step"]
    assert {a.dtype for a in arrays} <= {np.dtype(np.float32)}


@every_rule
def test_a_gradient_of_zero_moves_nothing(name: str) -> None:
    p = leaf([1.0, -2.0, 0.0], HALF)
    p.grad = np.zeros(3, HALF)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RULES[name][0]([p], weight_decay=0.0).step()
    np.testing.assert_array_equal(p.data, np.array([1, -2, 0], HALF))


def test_adam_moves_by_its_rate_where_float16_would_lose_eps_and_squares() -> None:
    for size in (1e-7, 1.0, 6e4):
        p = leaf([1.0, -1.0], HALF)
        p.grad = np.array([size, -size], HALF)
        optim.Adam([p], lr=0.25).step()
        # The first step is lr * g / (|g| + eps).
        g = float(HALF(size))
        assert p.data.tolist() == pytest.approx([1 - 0.25 * g / (g + 1e-8), -1 + 0.25 * g / (g + 1e-8)], rel=1e-3)


def test_momentum_gathers_what_float16_would_round_away() -> None:
    p = leaf([0.0], HALF)
    optimizer = optim.SGD([p], lr=1.0, momentum=1.0)
    p.grad = np.array([1.0], HALF)
    optimizer.step()
    for _ in range(4):
        p.grad = np.array([2.0**-12], HALF)
        optimizer.step()
    (buffer,) = optimizer.state_dict()["groups"][0]["params"][0]["momentum_buffer"]
    assert buffer == 1 + 2.0**-10


@every_case
def test_the_state_goes_on_bit_for_bit_through_dicts_copies_and_pickles(name: str, options: dict) -> None:
    params = [leaf(np.linspace(-1, 1, 9), HALF), leaf([0.5], np.float32)]
    optimizer = RULES[name][0](params, **options)
    steps(optimizer, params[:1], range(1, 4))
    pairs = [copy.deepcopy((params, optimizer)), pickle.loads(pickle.dumps((params, optimizer)))]
    again = [leaf(p.data, p.dtype) for p in params]
    restored = RULES[name][0](again)
    restored.load_state_dict(pickle.loads(bits(optimizer)))
    pairs.append((again, restored))
    steps(optimizer, params[:1], range(4, 7))
    for others, other in pairs:
        steps(other, others[:1], range(4, 7))
        assert bits(other) == bits(optimizer)
        np.testing.assert_array_equal(others[0].data, params[0].data)


def test_an_older_state_of_float16_loads() -> None:
    p = leaf([1.0, 2.0], HALF)
    optimizer = optim.SGD([p], momentum=0.5)
    state = optimizer.state_dict()
    state["groups"][0]["params"][0] |= {"step": 3, "momentum_buffer": np.array([0.1, 7.0], HALF)}
    optimizer.load_state_dict(state)
    buffer = optimizer.state_dict()["groups"][0]["params"][0]["momentum_buffer"]
    assert buffer.dtype == np.float32 and buffer.tolist() == [float(HALF(0.1)), 7.0]


@pytest.mark.parametrize(("before", "after"), [(np.float32, HALF), (HALF, np.float64)])
def test_a_model_converted_later_takes_its_state_along(before: type, after: type) -> None:
    layer = nn.Linear(3, 2).to(before)
    optimizer = optim.SGD(layer.parameters(), lr=0.5, momentum=0.5)
    for dtype in (before, after):
        layer.to(dtype)
        optimizer.zero_grad()
        layer.bias.grad = np.array([0.25, -1.0], dtype)
        start = layer.bias.data.astype(np.float64)
        optimizer.step()
    entry = optimizer.state_dict()["groups"][0]["params"][1]
    assert entry["momentum_buffer"].tolist() == [0.375, -1.5]
    assert entry["momentum_buffer"].dtype == np.result_type(after, np.float32)
    np.testing.assert_allclose(layer.bias.data, start - [0.1875, -0.75], rtol=2e-3)


@every_case
def test_a_gpu_gives_the_bits_of_the_cpu(name: str, options: dict, stand_in: ModuleType) -> None:
    params = [leaf(np.linspace(-1, 1, 9), HALF), leaf([0.5], HALF)]
    there = [Tensor(stand_in.asarray(p.data), requires_grad=True) for p in params]
    optimizers = [RULES[name][0](ps, **options) for ps in (params, there)]
    for i in range(1, 5):
        for p, q in zip(params, there, strict=True):
            p.grad = gradient(i, p.shape)
            q.grad = stand_in.asarray(p.grad)
        for optimizer in optimizers:
            optimizer.step()
    for p, q in zip(params, there, strict=True):
        np.testing.assert_array_equal(q.data.get(), p.data)
        assert q.dtype == HALF


# --- clipping -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [6e-8, 2.5, 65504.0])
@pytest.mark.parametrize("n", [4, 70_000])
def test_the_norm_of_float16_gradients_is_taken_in_float32(size: float, n: int) -> None:
    p = leaf(np.zeros(n), HALF)
    p.grad = np.full(n, size, HALF)
    norm = float(HALF(size)) * n**0.5
    assert optim.clip_grad_norm([p], 1e30) == pytest.approx(norm, rel=1e-5)
    assert p.grad[0] == HALF(size)
    # The factor itself may be below what float16 holds: 1 / 17,000,000.
    assert optim.clip_grad_norm([p], 1.0) == pytest.approx(norm, rel=1e-5)
    np.testing.assert_allclose(p.grad.astype(float), min(1, 1 / norm) * float(HALF(size)), rtol=1e-3, atol=1e-7)
    assert p.grad.dtype == HALF


def test_float16_and_float32_gradients_have_one_norm(device: str) -> None:
    half, full = Tensor(leaf([0.0], HALF).to(device).data, True), Tensor(leaf([0.0], np.float32).to(device).data, True)
    (half * np.float16(30000)).sum().backward()
    (full * np.float32(40000)).sum().backward()
    assert optim.clip_grad_norm([half, full], 5.0) == pytest.approx(50000, rel=1e-3)
    assert [float(half.grad[0]), float(full.grad[0])] == pytest.approx([3, 4], rel=1e-3)
