"""pytest-benchmark: single operations, forward and backward. Small arrays time the engine, large arrays the operations.

Each result and gradient is compared with the textbook's formula in float64.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)


def normal_cdf(x):
    return 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def gelu_slope(x):
    return normal_cdf(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def softmax_gradient(x, g):
    p = softmax(x)
    return p * (g - (g * p).sum(axis=-1, keepdims=True))


def spread(rows, columns):
    """One gradient per row, repeated along the columns."""
    return np.repeat(rows[:, None], columns, axis=1)


# name: operation of a Tensor x and a constant y, its value, and the gradient of x for the output's gradient g
OPS = {
    "add a row": (lambda x, y: x + y[0], lambda x, y: x + y[0], lambda x, y, g: g),
    "multiply": (lambda x, y: x * y, lambda x, y: x * y, lambda x, y, g: g * y),
    "divide": (lambda x, y: y / (x * x + 1), lambda x, y: y / (x * x + 1),
               lambda x, y, g: -2 * g * y * x / (x * x + 1) ** 2),
    "exp": (lambda x, y: F.exp(x), lambda x, y: np.exp(x), lambda x, y, g: g * np.exp(x)),
    "tanh": (lambda x, y: F.tanh(x), lambda x, y: np.tanh(x), lambda x, y, g: g / np.cosh(x) ** 2),
    "sigmoid": (lambda x, y: F.sigmoid(x), lambda x, y: sigmoid(x), lambda x, y, g: g * sigmoid(x) * sigmoid(-x)),
    "relu": (lambda x, y: F.relu(x), lambda x, y: np.maximum(x, 0), lambda x, y, g: g * (x > 0)),
    "gelu": (lambda x, y: F.gelu(x), lambda x, y: x * normal_cdf(x), lambda x, y, g: g * gelu_slope(x)),
    "softplus": (lambda x, y: F.softplus(x), lambda x, y: np.log1p(np.exp(x)), lambda x, y, g: g * sigmoid(x)),
    "softmax": (lambda x, y: F.softmax(x), lambda x, y: softmax(x), lambda x, y, g: softmax_gradient(x, g)),
    "matmul": (lambda x, y: x @ y, lambda x, y: x @ y, lambda x, y, g: g @ y.T),
    "transpose and copy": (lambda x, y: x.T * 2.0, lambda x, y: 2 * x.T, lambda x, y, g: 2 * g.T),
    "every second row": (lambda x, y: x[::2], lambda x, y: x[::2],
                         lambda x, y, g: np.stack([g, 0 * g], axis=1).reshape(x.shape)),
    "sum of rows": (lambda x, y: x.sum(axis=1), lambda x, y: x.sum(axis=1), lambda x, y, g: spread(g, len(x))),
    "max of rows": (lambda x, y: x.max(axis=1), lambda x, y: x.max(axis=1),
                    lambda x, y, g: g[:, None] * (x == x.max(axis=1, keepdims=True))),
    "mse": (lambda x, y: F.mse_loss(x, y), lambda x, y: ((x - y) ** 2).mean(),
            lambda x, y, g: g * (x - y) * 2 / x.size),
}  # fmt: skip


@pytest.mark.parametrize("size", [8, 512])
@pytest.mark.parametrize("name", OPS)
def test_forward_and_backward(benchmark, name, size):
    op, value, gradient = OPS[name]
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, size, size), dtype=np.float32)
    g = rng.standard_normal(np.shape(value(x, y))).astype(np.float32)
    leaf = sa.Tensor(x, requires_grad=True)

    def run():
        leaf.grad = None
        out = op(leaf, y)
        out.backward(g)
        return out

    found = benchmark(run).numpy(), leaf.grad
    x, y, g = (a.astype(np.float64) for a in (x, y, g))
    for ours, wanted in zip(found, (value(x, y), gradient(x, y, g)), strict=True):
        np.testing.assert_allclose(ours, wanted, atol=2e-6 * abs(wanted).max(), rtol=1e-5)


def test_engine_cost_per_op(benchmark):
    """A chain of 1,000 additions on arrays of one element, forward and backward. Divide the time by 1,000."""
    x = sa.tensor([1.0], requires_grad=True)

    def chain():
        y = x
        for _ in range(1000):
            y = y + x
        y.backward(np.ones(1, np.float32))

    benchmark(chain)
    x.grad = None
    chain()
    assert x.grad == 1001


def test_adam_step(benchmark):
    """One million parameters in one buffer. With a constant gradient, each step moves by the learning rate."""
    p = sa.nn.Parameter(np.ones((1000, 1000), np.float32))
    optimizer = sa.optim.Adam([p], lr=1e-3)
    steps = []

    def setup():
        optimizer.zero_grad()
        p.grad = np.ones_like(p.data)
        steps.append(1)

    benchmark.pedantic(optimizer.step, setup=setup, rounds=20, warmup_rounds=2)
    np.testing.assert_allclose(p.data, 1 - 1e-3 * len(steps), rtol=1e-5)
