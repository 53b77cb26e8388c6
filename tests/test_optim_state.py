"""Optimisers: saving and restoring, and what they refuse."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from textbook import RULES, bits, every_case, every_rule, leaf, loss, net

from scratchae import nn, optim

# --- state ----------------------------------------------------------------------------------------


def train(model: nn.Module, optimizer: optim.Optimizer, steps: range) -> None:
    for i in steps:
        optimizer.zero_grad()
        loss(model, i).backward()
        optimizer.step()


@every_case
def test_a_restored_optimiser_goes_on_bit_for_bit(name: str, options: dict) -> None:
    model, cls = net(), RULES[name][0]
    optimizer = cls(model.parameters(), **options)
    train(model, optimizer, range(3))
    twin = net()
    twin.load_state_dict(model.state_dict())
    other = cls(twin.parameters())  # options come with the state
    other.load_state_dict(pickle.loads(bits(optimizer)))
    assert bits(other) == bits(optimizer) and all(other.param_groups[0][k] == v for k, v in options.items())
    train(model, optimizer, range(3, 6))
    train(twin, other, range(3, 6))
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


@every_case
def test_a_state_with_other_options_brings_its_own_arrays(name: str, options: dict) -> None:
    switched = {"SGD": {"momentum": 0.5}, "RMSprop": {"momentum": 0.5, "centered": True}}.get(name, {"amsgrad": True})
    plain, full = (RULES[name][0](net().parameters(), **o) for o in ({}, switched))
    optimizer = RULES[name][0](net().parameters(), **options)
    for other in (plain, full):
        optimizer.load_state_dict(other.state_dict())
        assert bits(optimizer) == bits(other)


@every_case
def test_state_dict_holds_copies_in_dicts_lists_arrays_numbers_and_strings_only(name: str, options: dict) -> None:
    model = net()
    optimizer = RULES[name][0](model.parameters(), **options)
    train(model, optimizer, range(2))

    def kinds(value: Any) -> set[type]:
        below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        return {type(value)}.union(*map(kinds, below))

    state = optimizer.state_dict()
    assert kinds(state) <= {dict, list, np.ndarray, int, float, bool, str}
    before = bits(optimizer)
    for entry in state["groups"][0]["params"]:
        for array in entry.values():
            if isinstance(array, np.ndarray):
                array[...] = 9
    assert bits(optimizer) == before


def spoilt(change: Callable[[dict], object]) -> dict:
    """Adam's state for `net` after a change."""
    state = optim.Adam(net().parameters(), lr=0.7).state_dict()
    change(state)
    return state


def first(state: dict, i: int = 0) -> dict:
    return state["groups"][0]["params"][i]


BAD_STATES: dict[str, tuple[Callable[[dict], object], str]] = {
    "kind": (lambda s: s.update(kind="SGD"), "'SGD'.*Adam"),
    "no groups": (lambda s: s.pop("groups"), "groups"),
    "two groups": (lambda s: s["groups"].append(s["groups"][0]), r"\[4, 4\].*\[4\]"),
    "fewer": (lambda s: s["groups"][0]["params"].pop(), r"\[3\].*\[4\]"),
    "no parameters": (lambda s: s["groups"][0].pop("params"), "params"),
    "shape": (lambda s: first(s, 3).update(sum=np.ones(2)), r"parameter 3.*\(2,\).*\(3,\)"),
    "missing array": (lambda s: first(s, 1).pop("sum_sq"), "parameter 1.*sum_sq"),
    "extra array": (lambda s: first(s, 2).update(more=np.ones(3)), "parameter 2.*more"),
    "no array": (lambda s: first(s, 2).update(sum=[0.0] * 15), "parameter 2"),
    "step": (lambda s: first(s, 3).update(step="three"), "step.*'three'"),
    "negative step": (lambda s: first(s, 3).update(step=-1), "step.*-1"),
    "lr": (lambda s: s["groups"][0].update(lr=math.nan), "lr=nan"),
    "option": (lambda s: s["groups"][0].update(speed=3), "speed"),
}


@pytest.mark.parametrize("case", BAD_STATES)
def test_a_state_that_does_not_fit_is_refused_and_nothing_changes(case: str) -> None:
    change, message = BAD_STATES[case]
    model = net()
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    train(model, optimizer, range(2))
    before = bits(optimizer)
    with pytest.raises(TypeError if case == "option" else ValueError, match=re.compile(message, re.DOTALL)):
        optimizer.load_state_dict(spoilt(change))
    assert bits(optimizer) == before


# --- mistakes -------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "nothing": (lambda: optim.SGD([]), ValueError, r"no parameters.*model\.parameters\(\)"),
    "empty group": (lambda: optim.SGD([{"params": []}]), ValueError, "no parameters"),
    "no params": (lambda: optim.SGD([{"lr": 1.0}]), (TypeError, ValueError), "params"),
    "mixed": (lambda: optim.SGD([{"params": [leaf([1.0])]}, leaf([1.0])]), TypeError, "groups?.*Tensor|dict"),
    "twice": (lambda: optim.SGD([x := leaf([1.0, 2.0]), x]), ValueError, r"\(2,\) is given twice"),
    "in two groups": (lambda: optim.SGD([{"params": [x := leaf(1.0)]}, {"params": [x]}]), ValueError, "twice"),
    "result": (lambda: optim.SGD([leaf([1.0]) * 2]), ValueError, "result.*leaves"),
    "array": (lambda: optim.SGD([np.ones(2)]), TypeError, "takes Tensors.*ndarray"),
    "one tensor": (lambda: optim.SGD(leaf([1.0])), TypeError, r"\[tensor\]"),
    "model": (lambda: optim.SGD(nn.Linear(2, 2)), TypeError, r"Linear.*\.parameters\(\)"),
    "unknown option": (lambda: optim.Adam([leaf([1.0])], momentum=0.9), TypeError, "momentum"),
    "unknown in group": (lambda: optim.Adam([{"params": [leaf(1.0)], "momentum": 1}]), TypeError, "momentum.*betas"),
    "betas": (lambda: optim.Adam([leaf([1.0])], betas=(0.9, 1.0)), ValueError, "betas=1.0.*below 1"),
    "one beta": (lambda: optim.Adam([leaf([1.0])], betas=(0.9,)), ValueError, "betas.*0.9"),
    "eps": (lambda: optim.Adam([leaf([1.0])], eps=-1), ValueError, "eps=-1"),
    "nesterov": (lambda: optim.SGD([leaf([1.0])], nesterov=True), ValueError, "nesterov needs momentum"),
    "step_size": (lambda: optim.StepLR(optim.SGD([leaf([1.0])]), 0), ValueError, "step_size=0"),
    "T_max": (lambda: optim.CosineLR(optim.SGD([leaf([1.0])]), 0), ValueError, "T_max=0"),
    "factor": (lambda: optim.ReduceOnPlateau(optim.SGD([leaf([1.0])]), factor=1.0), ValueError, "factor=1.0"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(case: str) -> None:
    make, error, message = MISTAKES[case]
    with pytest.raises(error, match=message):
        make()


@every_rule
@pytest.mark.parametrize("lr", [-0.1, math.nan, math.inf, "fast", None])
def test_a_learning_rate_must_be_a_finite_number_of_at_least_0(name: str, lr: Any) -> None:
    x = leaf([1.0])
    for make in (lambda: RULES[name][0]([x], lr=lr), lambda: RULES[name][0]([{"params": [x], "lr": lr}])):
        with pytest.raises(ValueError, match=re.escape(f"lr={lr!r}; expected a finite number of at least 0")):
            make()
    optimizer = RULES[name][0]([x], lr=0.5)
    with pytest.raises(ValueError, match="lr="):
        optimizer.lr = lr
    assert optimizer.lr == 0.5
