"""Parameters that change in place between a forward and a backward pass."""

from __future__ import annotations

import numpy as np
import pytest

import scratchae as sa
from scratchae import nn, optim


def changes():
    """Ways in which the library writes to a parameter in place."""

    def step(weight):
        optimizer = optim.SGD([weight], lr=0.1)
        weight.grad = np.ones(weight.shape, np.float32)
        optimizer.step()
        weight.grad = None

    def module(weight):
        held = nn.Module()
        held.weight = weight
        return held

    return {
        "an optimiser's step": step,
        "load_state_dict": lambda weight: module(weight).load_state_dict({"weight": np.full(weight.shape, 5.0)}),
        "initialisation": lambda weight: nn.init.constant_(weight, 5.0),
    }


@pytest.mark.parametrize("change", changes())
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_leaf_changed_since_the_forward_pass_is_refused_by_name(change, create_graph):
    weight = nn.Parameter(np.array([2.0, 3.0], np.float32))
    loss = (weight * weight).sum()
    changes()[change](weight)
    with pytest.raises(RuntimeError, match=r"'multiply': a parameter of shape \(2,\).*changed in place.*step\(\)"):
        sa.grad(loss, weight, create_graph=True) if create_graph else loss.backward()
    (weight * weight).sum().backward()  # a new loss reads the new values
    np.testing.assert_array_equal(weight.grad, 2 * weight.data)


def test_a_changed_leaf_whose_value_no_vjp_reads_does_no_harm():
    weight = nn.Parameter(np.array([2.0, 3.0], np.float32))
    loss = (weight + 1.0).sum()
    changes()["load_state_dict"](weight)
    loss.backward()
    np.testing.assert_array_equal(weight.grad, [1.0, 1.0])


def test_a_changed_leaf_in_a_list_argument_is_refused():
    @sa.primitive(xs=lambda g, xs: [g * 2 * x for x in xs])
    def sum_of_squares(xs):
        return sum(x * x for x in xs)

    first, second = (nn.Parameter(np.ones(3, np.float32)) for _ in range(2))
    out = sum_of_squares([first, second]).sum()
    changes()["an optimiser's step"](second)
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward()


def test_a_frozen_parameter_that_is_loaded_leaves_old_graphs_their_values():
    layer = nn.Linear(2, 2, bias=False).requires_grad_(False)
    before, x = layer.weight.data.copy(), sa.tensor([[1.0, 2.0]], requires_grad=True)
    loss = layer(x).sum()
    layer.load_state_dict({"weight": np.zeros((2, 2), np.float32)})
    loss.backward()
    np.testing.assert_allclose(x.grad, before.sum(axis=0, keepdims=True))
