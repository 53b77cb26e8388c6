"""Who owns which memory: gradients, what a node keeps, when a graph is freed, copies."""

from __future__ import annotations

import contextlib
import copy
import gc
import pickle
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F


def leaf(values: Any = (1.0, 2.0, 3.0), dtype: Any = np.float64) -> sa.Tensor:
    return sa.tensor(np.array(values, dtype), requires_grad=True)


def equal(found: Any, wanted: Any) -> None:
    np.testing.assert_array_equal(found.numpy() if isinstance(found, sa.Tensor) else found, wanted)


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# --- who owns a gradient's memory -----------------------------------------------------------------

SHARED = {
    "sum": lambda x, y, g: (x + y).backward(g),
    "difference": lambda x, y, g: (x - -y).backward(g),
    "reshape": lambda x, y, g: (x.reshape(3, 1).reshape(3) + y).backward(g),
    "the leaf itself": lambda x, y, g: [t.backward(g) for t in (x, y)],
    "a Tensor as gradient": lambda x, y, g: (x + y).backward(sa.Tensor(g)),
    "concatenate": lambda x, y, g: F.concatenate([x, y]).reshape(2, 3).backward(np.stack([g, g])),
    "assigned": lambda x, y, g: [setattr(t, "grad", g) for t in (x, y)],
    "assigned Tensor": lambda x, y, g: [setattr(t, "grad", sa.Tensor(g)) for t in (x, y)],
}


@pytest.mark.parametrize("way", SHARED)
def test_gradients_share_memory_with_nothing(way: str) -> None:
    x, y, g = leaf(), leaf(), np.array([1.0, 2.0, 3.0])
    SHARED[way](x, y, g)
    assert not any(np.shares_memory(*pair) for pair in ((x.grad, y.grad), (x.grad, g), (y.grad, g), (x.grad, x.data)))
    (5 * x).sum().backward()
    equal(x.grad, [6, 7, 8])
    equal(y.grad, [1, 2, 3])
    equal(g, [1, 2, 3])


def test_sa_grad_gives_memory_of_its_own() -> None:
    x, y, g = leaf(), leaf(), np.ones(3)
    dx, dy = sa.grad(x + y, [x, y], g)
    dx.data[...] = 5
    equal(dy, [1, 1, 1])
    equal(g, [1, 1, 1])


def test_a_weight_used_twice_gets_both_gradients(rng: np.random.Generator) -> None:
    w, x = leaf(rng.normal(size=(3, 3))), rng.normal(size=(5, 3))
    assert sa.gradcheck(lambda w: F.linear(F.linear(sa.Tensor(x), w), w), [w.data])
    F.linear(F.linear(sa.Tensor(x), w), w).sum().backward()
    once = w.grad.copy()
    F.linear(F.linear(sa.Tensor(x), w), w).sum().backward()
    np.testing.assert_allclose(w.grad, 2 * once, rtol=1e-15)


def test_an_assigned_gradient_takes_the_leafs_dtype_and_must_have_its_shape() -> None:
    x = leaf(np.ones(3), np.float32)
    x.grad = np.ones(3)
    assert x.grad.dtype == np.float32
    with pytest.raises(ValueError, match=r"shape \(3,\), got \(2,\)"):
        x.grad = np.ones(2)
    x.grad = None
    assert x.grad is None
    with pytest.raises(RuntimeError, match="only a leaf"):
        sa.tensor([1.0]).grad = np.ones(1)


@pytest.mark.parametrize("part", [lambda g: g, lambda g: g[1:], lambda g: g.T], ids=["all", "slice", "transposed"])
def test_a_gradient_that_was_kept_outlives_zero_grad_and_the_next_step(part: Callable) -> None:
    w = leaf(np.ones((2, 2)))
    optimizer = sa.optim.Adam([w], lr=0.1)
    F.linear(sa.Tensor(np.array([[1.0, 2.0]])), w).sum().backward()
    kept = part(w.grad)
    before = kept.copy()
    for _ in range(3):
        optimizer.step()
        optimizer.zero_grad()
        assert w.grad is None
        F.linear(sa.Tensor(np.full((1, 2), 50.0)), w).sum().backward()
    equal(kept, before)


def test_two_optimisers_of_one_parameter_both_see_its_gradient() -> None:
    w = leaf([1.0, 2.0])
    first, second = sa.optim.SGD([w], lr=1.0), sa.optim.SGD([w], lr=10.0)
    (w * np.array([3.0, 4.0])).sum().backward()
    first.step()
    equal(w, [-2, -2])
    second.step()
    equal(w, [-32, -42])


def test_data_replaced_after_backward_is_stepped_with_the_gradient_that_is_there() -> None:
    w = leaf([1.0, 2.0])
    optimizer = sa.optim.SGD([w], lr=1.0)
    (w * np.array([3.0, 4.0])).sum().backward()
    w.data = np.array([100.0, 200.0])
    equal(w.grad, [3, 4])
    optimizer.step()
    equal(w, [97, 196])


# --- memory ---------------------------------------------------------------------------------------


def test_a_chain_of_20_000_operations() -> None:
    x = y = leaf(1.0)
    for _ in range(20_000):
        y = y * 1.0001
    np.testing.assert_allclose(sa.grad(y, x).numpy(), 1.0001**20_000, rtol=1e-10)
    y.backward()
    np.testing.assert_allclose(x.grad, 1.0001**20_000, rtol=1e-10)


def test_a_chain_of_200_000_operations_is_dropped_without_recursion() -> None:
    y = F.exp(leaf(1.0))
    first = weakref.ref(y.data)  # which the first node keeps
    for _ in range(200_000):
        y = y + 1.0
    del y
    assert first() is None


C = np.array([2.0, 3.0, 4.0])
KEPT = {
    "sum": (lambda h: h.sum(), False), "mean": (lambda h: h.mean(), False), "add": (lambda h: h + C, False),
    "subtract": (lambda h: 1 - h, False), "negative": (lambda h: -h, False), "relu": (F.relu, False),
    "times a constant": (lambda h: h * C, False), "times a number": (lambda h: h * 2.0, False),
    "over a constant": (lambda h: h / C, False), "exp": (F.exp, False), "tanh": (F.tanh, False),
    "sigmoid": (F.sigmoid, False), "sqrt": (F.sqrt, False), "softmax": (F.softmax, False),
    "log_softmax": (F.log_softmax, False), "a repeated element": (lambda h: h[[0, 0]], False),
    "linear, frozen weight": (lambda h: F.linear(h, sa.Tensor(np.ones((2, 3)))), False),
    "square": (lambda h: h**2, True), "log": (F.log, True), "sin": (F.sin, True),
    "linear": (lambda h: F.linear(h, leaf(np.ones((2, 3)))), True),
}  # fmt: skip


@pytest.mark.parametrize("op", KEPT)
def test_a_node_keeps_only_what_its_derivative_reads(op: str) -> None:
    f, kept = KEPT[op]
    h = leaf() + 0.0
    data = weakref.ref(h.data)
    out = f(h)
    del h
    assert (data() is not None) == kept
    assert out.requires_grad


def test_a_product_with_a_constant_keeps_the_constant_until_backward() -> None:
    x, c = leaf(), np.array([2.0, 3.0, 4.0])
    ref = weakref.ref(c)
    out = (x * c).sum()
    del c
    assert ref() is not None
    out.backward()
    assert ref() is None
    equal(x.grad, [2, 3, 4])


def test_dropping_the_loss_frees_the_graph_at_once() -> None:
    with without_collector():
        x = leaf()
        h = F.exp(x)
        refs = [weakref.ref(h.data)]
        for f in (F.tanh, F.softmax, lambda t: t * t, lambda t: F.concatenate([t, t])[1:4], F.log_softmax):
            h = f(h)
            refs.append(weakref.ref(h.data))
        loss = sa.grad(h.sum(), x, create_graph=True).sum()
        del h
        assert any(r() is not None for r in refs)
        del loss
        assert [r() for r in refs] == [None] * len(refs)


def test_the_graph_is_freed_while_backward_walks_it() -> None:
    """When the gradient arrives at the first operation, all the later ones' results are gone."""
    results: list[weakref.ref] = []
    alive: list[int] = []

    def count(g: Any) -> Any:
        alive.append(sum(r() is not None for r in results))
        return g

    @sa.primitive(x=count)
    def first(x: Any) -> Any:
        return x + 0

    h = first(leaf())
    for _ in range(10):
        h = F.tanh(h)
        results.append(weakref.ref(h.data))
    loss = h.sum()
    del h
    assert sum(r() is not None for r in results) == 10
    loss.backward()
    assert alive == [0]


def test_a_thousand_steps_leave_memory_as_it_was(rng: np.random.Generator) -> None:
    x = sa.tensor(rng.normal(size=(4, 3)).astype(np.float32))
    model = sa.nn.Sequential(sa.nn.Linear(3, 5), sa.nn.ReLU(), sa.nn.BatchNorm1d(5), sa.nn.Linear(5, 3))
    optimizer = sa.optim.Adam(model.parameters(), lr=1e-3)

    def steps(n: int) -> None:
        for _ in range(n):
            optimizer.zero_grad()
            F.mse_loss(model(x), x).backward()
            optimizer.step()

    with without_collector():
        tracemalloc.start()
        steps(1000)  # Python's own free lists fill up meanwhile
        objects, memory = len(gc.get_objects()), tracemalloc.get_traced_memory()[0]
        steps(1000)
        grown = len(gc.get_objects()) - objects, tracemalloc.get_traced_memory()[0] - memory
        tracemalloc.stop()
    assert grown[0] < 100 and grown[1] < 2000  # one object per step would be 1000; other threads may make a few


# --- copies ---------------------------------------------------------------------------------------

COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda t: pickle.loads(pickle.dumps(t))}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_of_a_leaf_is_a_leaf_with_a_gradient_of_its_own(way: str) -> None:
    x = leaf()
    (x * x).sum().backward()
    y = COPIES[way](x)
    assert y.requires_grad and y is not x
    equal(y, x.data)
    equal(y.grad, [2, 4, 6])
    assert not np.shares_memory(x.grad, y.grad)
    (y * 10).sum().backward()
    equal(y.grad, [12, 14, 16])
    equal(x.grad, [2, 4, 6])


def test_results_are_not_copied_and_constants_stay_constants() -> None:
    with pytest.raises(RuntimeError, match="detach"):
        copy.deepcopy(leaf() * 2)
    y = copy.deepcopy(sa.tensor([1, 2], dtype="int32"))
    assert y.dtype == np.int32 and not y.requires_grad
