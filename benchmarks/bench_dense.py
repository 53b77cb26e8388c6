"""pytest-benchmark: training steps, and what the engine itself costs. Run with `pytest benchmarks/`."""

from __future__ import annotations

import numpy as np
import pytest
from workloads import WORKLOADS, build_scratchae

import scratchae as sa

CHAIN = 1000


@pytest.mark.parametrize("name", WORKLOADS)
def test_training_step(benchmark, name):
    step = build_scratchae(WORKLOADS[name])
    first = step(0)
    benchmark(step, 0)
    assert 0 < step(0) < first


def test_engine_cost_per_op(benchmark):
    """A chain of 1,000 additions on arrays of one element, forward and backward: divide by 1,000."""
    x = sa.tensor([1.0], requires_grad=True)

    def chain():
        y = x
        for _ in range(CHAIN):
            y = y + x
        y.backward(np.ones(1, np.float32))

    benchmark(chain)
    x.grad = None
    chain()
    assert x.grad == CHAIN + 1


def test_adam_step(benchmark):
    """One million parameters in one buffer."""
    p = sa.nn.Parameter(np.ones((1000, 1000), np.float32))
    optimizer = sa.optim.Adam([p], lr=1e-3)

    def setup():
        optimizer.zero_grad()
        p.grad = np.ones_like(p.data)

    benchmark.pedantic(optimizer.step, setup=setup, rounds=20, warmup_rounds=2)
    assert (p.data < 1).all()
