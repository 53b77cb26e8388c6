"""pytest-benchmark: training steps of the fully connected kinds.

For a kind in floor.py, the losses of several steps are compared with a hand-written step in float64. For other kinds,
the first loss is compared with its formula.
"""

from __future__ import annotations

import numpy as np
import pytest
from floor import Floor
from paired import OURS
from sides import initial_values, random_batches
from workloads import WORKLOADS, Contractive, Dense, Variational


@pytest.mark.parametrize("name", [name for name, w in WORKLOADS.items() if isinstance(w, Dense)])
def test_dense(benchmark, name):
    workload = WORKLOADS[name]
    step, by_hand = workload.build(OURS), Floor(workload, np.float64).step
    np.testing.assert_allclose([step(i) for i in range(5)], [by_hand(i) for i in range(5)], rtol=2e-5)
    benchmark(step, 0)


def test_variational(benchmark):
    workload = next(w for w in WORKLOADS.values() if isinstance(w, Variational))
    n, hidden, code = workload.sizes
    values = first_values((n, hidden), (code, hidden), (hidden, n), (hidden, code), (hidden, code))
    (w1, b1), (w2, b2), (w3, b3), (w_mu, b_mu), (w_var, b_var) = values
    x = random_batches(workload.batch, n)[0].astype(np.float64)
    h = np.maximum(x @ w1.T + b1, 0)
    mu, logvar = h @ w_mu.T + b_mu, h @ w_var.T + b_var
    z = mu + np.exp(logvar / 2) * np.random.default_rng(0).standard_normal(mu.shape, dtype=np.float32)
    logits = np.maximum(z @ w2.T + b2, 0) @ w3.T + b3
    cross_entropy = (np.log1p(np.exp(logits)) - x * logits).sum()
    kl = 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar).sum()

    step = workload.build(OURS)
    assert step(0) == pytest.approx((cross_entropy + kl) / len(x), rel=1e-5)
    benchmark(step, 0)


def test_contractive(benchmark):
    """The penalty of one sigmoid layer: squares of h (1 - h), times the squared lengths of the weight's rows."""
    workload = next(w for w in WORKLOADS.values() if isinstance(w, Contractive))
    n, code = workload.sizes
    (w1, b1), (w2, b2) = first_values((n, code), (code, n))
    x = random_batches(workload.batch, n)[0].astype(np.float64)
    h = 1 / (1 + np.exp(-(x @ w1.T + b1)))
    reconstruction = 1 / (1 + np.exp(-(h @ w2.T + b2)))
    penalty = ((h * (1 - h)) ** 2 @ (w1**2).sum(axis=1)).mean()

    step = workload.build(OURS)
    assert step(0) == pytest.approx(((reconstruction - x) ** 2).mean() + workload.weight * penalty, rel=1e-5)
    benchmark(step, 0)


def first_values(*layers):
    """The initial weight and bias of each layer (inputs, outputs) in float64."""
    shapes = [shape for n_in, n_out in layers for shape in ((n_out, n_in), (n_out,))]
    values = [v.astype(np.float64) for v in initial_values(shapes)]
    return list(zip(values[::2], values[1::2], strict=True))
