"""Parameters that change in place between a forward and a backward pass."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim
from scratchae.debug import changes


def held(weight):
    module = nn.Module()
    module.weight = weight
    return module


def by_an_optimiser(rule):
    """The step is taken later; the optimiser is made before the loss, as usual."""

    def prepare(weight):
        optimizer = rule([weight])

        def step():
            weight.grad = np.ones(weight.shape, np.float32)
            optimizer.step()
            weight.grad = None

        return step

    return prepare


# name -> what is made of the weight before the forward pass; it is called after it
CHANGES = {
    "SGD": by_an_optimiser(lambda ps: optim.SGD(ps, lr=0.1)),
    "Adam": by_an_optimiser(lambda ps: optim.Adam(ps, lr=0.1)),
    "RMSprop": by_an_optimiser(lambda ps: optim.RMSprop(ps, lr=0.1)),
    "load_state_dict": lambda w: lambda: held(w).load_state_dict({"weight": np.full(w.shape, 5.0)}),
    "initialisation": lambda w: lambda: nn.init.constant_(w, 5.0),
    "by hand": lambda w: lambda: (w.data.fill(5.0), w.changed()),
}
# name -> a function of a weight (2, 3) whose gradient for x reads the weight's values
READS = {
    "itself": lambda w, x: x * w,
    "a transposed view": lambda w, x: (x @ w.T).sum(),
    "a row": lambda w, x: x * w[1],
    "a slice": lambda w, x: x * w[1:],
    "another shape": lambda w, x: (x * 1.0).reshape(3) * w.reshape(3, 2)[:, 0],
    "a view of a view": lambda w, x: x * w.reshape(6)[::2],
    "swapped axes": lambda w, x: x.T * w.swapaxes(0, 1),
    "a row more": lambda w, x: x * F.expand_dims(w, 0),
    "broadcast": lambda w, x: x * F.broadcast_to(w, (4, 2, 3)),
    "linear": lambda w, x: F.linear(x, w),
    "detached": lambda w, x: x * w.detach(),
    "its array": lambda w, x: x * w.data,
    "a constant around it": lambda w, x: x * sa.Tensor(w.data),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("create_graph", [False, True])
def test_values_changed_since_the_forward_pass_are_refused(change, reads, create_graph):
    weight = nn.Parameter(np.arange(1, 7, dtype=np.float32).reshape(2, 3))
    x = sa.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    act = CHANGES[change](weight)
    loss = READS[reads](weight, x).sum()
    act()
    with pytest.raises(RuntimeError, match=r"a parameter of shape \(.*changed in place.*step\(\)"):
        sa.grad(loss, x, create_graph=True) if create_graph else loss.backward()
    READS[reads](weight, x).sum().backward()  # a new loss reads the new values
    assert np.isfinite(x.grad).all()


def test_a_frozen_weight_that_is_trained_after_the_forward_pass_is_refused():
    layer, x = nn.Linear(3, 2), sa.tensor(np.ones((1, 3)), np.float32, True)
    optimizer = optim.SGD(layer.parameters(), lr=0.5)
    layer.requires_grad_(False)
    loss = (layer(x) ** 2).sum()
    layer.requires_grad_(True)
    layer(x).sum().backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_batch_norm_whose_weight_moved_is_refused():
    layer, x = nn.BatchNorm1d(3), sa.tensor(np.random.default_rng(0).random((4, 3)), np.float32, True)
    optimizer = optim.SGD(layer.parameters(), lr=0.5)
    y = layer(x)
    (y * y).sum().backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="changed in place"):
        (y * y).sum().backward()


def test_an_optimiser_made_after_the_forward_pass_leaves_the_graph_its_values():
    weight = nn.Parameter(np.array([2.0, 3.0], np.float32))
    loss = (weight * weight).sum()
    CHANGES["SGD"](weight)()  # moves the values into a buffer first
    loss.backward()
    np.testing.assert_array_equal(weight.grad, [4.0, 6.0])


def test_parts_of_one_buffer_are_told_apart():
    moved, still = (nn.Parameter(np.full(3, 2.0, np.float32)) for _ in range(2))
    optimizer = optim.SGD([moved, still], lr=0.1)
    loss = (still * still).sum()
    moved.grad = np.ones(3, np.float32)
    optimizer.step()
    loss.backward()
    np.testing.assert_array_equal(still.grad, [4.0, 4.0, 4.0])


def test_memory_that_is_freed_is_forgotten():
    gc.collect()
    before = len(changes._changes)
    for _ in range(20):
        CHANGES["SGD"](nn.Parameter(np.ones(3, np.float32)))()
    gc.collect()
    assert len(changes._changes) <= before + 1


def test_a_changed_leaf_whose_value_no_vjp_reads_does_no_harm():
    weight = nn.Parameter(np.array([2.0, 3.0], np.float32))
    loss = (weight + 1.0).sum()
    CHANGES["load_state_dict"](weight)()
    loss.backward()
    np.testing.assert_array_equal(weight.grad, [1.0, 1.0])


def test_a_changed_leaf_in_a_list_argument_is_refused():
    @sa.primitive(xs=lambda g, xs: [g * 2 * x for x in xs])
    def sum_of_squares(xs):
        return sum(x * x for x in xs)

    first, second = (nn.Parameter(np.ones(3, np.float32)) for _ in range(2))
    act = CHANGES["SGD"](second)
    out = sum_of_squares([first, second]).sum()
    act()
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward()


def test_a_frozen_parameter_that_is_loaded_leaves_old_graphs_their_values():
    layer = nn.Linear(2, 2, bias=False).requires_grad_(False)
    before, x = layer.weight.data.copy(), sa.tensor([[1.0, 2.0]], requires_grad=True)
    loss = layer(x).sum()
    layer.load_state_dict({"weight": np.zeros((2, 2), np.float32)})
    loss.backward()
    np.testing.assert_allclose(x.grad, before.sum(axis=0, keepdims=True))
