"""Optimisers: saving and restoring, and what they refuse."""

from __future__ import annotations

import copy
import inspect
import json
import math
import pickle
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from textbook import RULES, bits, every_case, every_rule, leaf, loss, net

import scratchae as sa
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
    others = {"SGD": {"momentum": 0.5}, "RMSprop": {"momentum": 0.5, "centered": True}, "Adagrad": {"lr_decay": 0.5}}
    switched = others.get(name, {"amsgrad": True})
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
    "lr as a word": (lambda s: s["groups"][0].update(lr="fast"), "lr='fast'"),
    "huge lr": (lambda s: s["groups"][0].update(lr=10**400), "lr="),
    "one beta": (lambda s: s["groups"][0].update(betas=0.9), "betas=0.9"),
    "flag": (lambda s: s["groups"][0].update(amsgrad="yes"), "amsgrad='yes'"),
    "no lr": (lambda s: s["groups"][0].pop("lr"), r"lacks the options \['lr'\]"),
    "option": (lambda s: s["groups"][0].update(speed=3), "speed"),
    "groups a dict": (lambda s: s.update(groups={"0": s["groups"][0]}), "list of 'groups'"),
    "groups a number": (lambda s: s.update(groups=3), "list of 'groups'"),
    "group a list": (lambda s: s.update(groups=[[1]]), "list of 'params'"),
    "params a number": (lambda s: s["groups"][0].update(params=4), "list of 'params'"),
    "entry a list": (lambda s: s["groups"][0]["params"].__setitem__(2, [0]), "parameter 2: the state holds a list"),
    "step beyond 64 bits": (lambda s: first(s, 1).update(step=2**70), "parameter 1: step="),
    "step a bool": (lambda s: first(s).update(step=True), "step=True"),
    "step an array": (lambda s: first(s).update(step=np.array([1])), r"step=array\(\[1\]\)"),
    "no step": (lambda s: first(s).pop("step"), "parameter 0.*expected a step"),
    "complex": (lambda s: first(s, 3).update(sum=np.ones(3, complex)), "parameter 3: sum is of dtype complex128"),
    "objects": (lambda s: first(s, 3).update(sum=np.array([1, None, 2])), "parameter 3: sum is of dtype object"),
    "masked": (lambda s: first(s, 3).update(sum_sq=np.ma.ones(3)), "parameter 3: sum_sq is a MaskedArray"),
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


@pytest.mark.parametrize("state", [None, [], "state", 3, {}])
def test_what_is_no_state_is_refused(state: Any) -> None:
    with pytest.raises(ValueError, match="the state is.*nothing was loaded"):
        optim.SGD([leaf([1.0])]).load_state_dict(state)


@pytest.mark.parametrize("action", ["error", "ignore"])
def test_numbers_that_the_parameters_dtype_cannot_hold_are_refused_before_anything_changes(action: Any) -> None:
    params = [leaf([1.0], np.float32), leaf([2.0], np.float32)]
    optimizer = optim.SGD(params, lr=0.5, momentum=0.5)
    state, before = optimizer.state_dict(), bits(optimizer)
    state["groups"][0]["lr"] = 0.25
    for i, value in enumerate((3.0, 1e300)):
        state["groups"][0]["params"][i] |= {"step": 7, "momentum_buffer": np.array([value])}
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        with pytest.raises(ValueError, match="parameter 1: momentum_buffer holds.*that float32 cannot.*nothing"):
            optimizer.load_state_dict(state)
    assert bits(optimizer) == before


@pytest.mark.parametrize("dtype", ["<f8", ">f8", ">f4", "f2", "i8", ">u2", "?"])
def test_a_state_of_any_real_dtype_and_byte_order_is_taken_in_the_parameters(dtype: str, device: str) -> None:
    p = sa.tensor([1.0, 2.0], requires_grad=True, device=device)
    optimizer = optim.SGD([p], momentum=0.5)
    state = optimizer.state_dict()
    state["groups"][0]["params"][0]["momentum_buffer"] = np.array([1, 0], dtype)
    optimizer.load_state_dict(state)
    buffer = optimizer.state_dict()["groups"][0]["params"][0]["momentum_buffer"]
    assert (buffer.dtype, buffer.tolist()) == (np.dtype(np.float32), [1.0, 0.0])


# --- what it was made with ------------------------------------------------------------------------


def test_made_with_holds_each_groups_options_and_never_changes() -> None:
    params = [leaf([1.0]), leaf([1.0])]
    groups = [{"params": params[:1], "lr": 1}, {"params": params[1:], "betas": [np.float32(0.5), 0.75]}]
    optimizer = optim.Adam(groups, lr=np.float64(0.25), amsgrad=np.True_)
    rest = {"eps": 1e-8, "weight_decay": 0.0, "amsgrad": True}
    wanted = [{"lr": 1.0, "betas": [0.9, 0.999], **rest}, {"lr": 0.25, "betas": [0.5, 0.75], **rest}]
    assert optimizer.made_with == json.loads(json.dumps(wanted))
    assert [type(v) for v in optimizer.made_with[0].values()] == [float, list, float, float, bool]
    optimizer.lr = 3
    optimizer.param_groups[1]["betas"] = (0.1, 0.2)
    optim.StepLR(optimizer, 1).step()
    other = optim.Adam([{"params": [leaf([1.0])]}, {"params": [leaf([1.0])]}])
    other.load_state_dict(optimizer.state_dict())
    assert other.made_with[0]["lr"] == 1e-3 and other.lr != 1e-3
    for same in (optimizer, copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert same.made_with == wanted


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
    "a group alone": (lambda: optim.SGD({"params": [leaf([1.0])]}), TypeError, r"got a dict; pass \[group\]"),
    "state_dict": (lambda: optim.SGD(nn.Linear(2, 2).state_dict()), TypeError, r"got a dict.*model\.parameters\(\)"),
    "names": (lambda: optim.SGD(["weight"]), TypeError, "Tensors, got a str"),
    "pairs": (lambda: optim.SGD(nn.Linear(2, 2).named_parameters()), TypeError, r"got a tuple.*\.parameters\(\)"),
    "a set": (lambda: optim.SGD({leaf([1.0]), leaf([2.0])}), TypeError, "got a set; its order differs"),
    "a set in a group": (lambda: optim.SGD([{"params": {leaf([1.0])}}]), TypeError, "got a set; its order differs"),
    "no list in a group": (lambda: optim.SGD([{"params": None}]), TypeError, "list of parameters, got a NoneType"),
    "a generator again": (lambda: [optim.SGD(g) for g in [iter([leaf([1.0])])] * 2], ValueError, "no parameters"),
    "layers": (lambda: optim.SGD(nn.Sequential(nn.Linear(2, 2))), TypeError, r"got a Linear; pass model\.parameters"),
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


NO_NUMBERS: list[Any] = [
    math.nan, math.inf, -math.inf, -0.5, "0.1", None, True, False, 10**400, -(10**400), 1j, [0.1], (0.1, 0.2, 0.3),
    {}, np.array(0.1), np.array([0.1, 0.2, 0.3]), np.float32(math.nan), np.True_, object(),
]  # fmt: skip
OPTIONS = [
    (name, option, default.default)
    for name, (cls, _) in RULES.items()
    for option, default in inspect.signature(cls).parameters.items()
    if option != "params"
]


@pytest.mark.parametrize(("name", "option", "default"), OPTIONS)
def test_every_option_is_checked_wherever_it_is_set(name: str, option: str, default: Any) -> None:
    cls, p = RULES[name][0], leaf([1.0])
    optimizer = cls([p])
    before = bits(optimizer)
    wrong = [1, 0, 1.0, "yes", None, [True], np.array(True)] if isinstance(default, bool) else NO_NUMBERS
    if option == "alpha":
        wrong = [*wrong, 1, 1.5]
    if option == "betas":
        wrong = [*wrong, *((0.9, bad) for bad in NO_NUMBERS), (1, 0.9), "ab", {0.9, 0.99}, np.ones((2, 2))]
    for value in wrong:
        state = optimizer.state_dict()
        state["groups"][0][option] = value
        attempts: list[Callable[[], Any]] = [
            lambda value=value: cls([p], **{option: value}),
            lambda value=value: cls([{"params": [p], option: value}]),
            lambda state=state: optimizer.load_state_dict(state),
        ]
        for attempt in attempts:
            with pytest.raises(ValueError, match=f"^{option}="):
                attempt()
    assert bits(optimizer) == before


def test_options_at_their_bounds_and_as_numpys_numbers_are_taken_as_pythons() -> None:
    p = leaf([1.0])
    zeros = optim.Adam([p], lr=0, betas=np.zeros(2, np.float32), eps=np.int8(0), weight_decay=np.float16(0))
    assert zeros.param_groups[0] == {"params": [p], "lr": 0, "betas": (0, 0), "eps": 0, "weight_decay": 0} | {
        "amsgrad": False
    }
    assert {type(v) for v in zeros.param_groups[0].values()} == {list, float, tuple, bool}
    assert type(zeros.param_groups[0]["betas"][0]) is float


@every_rule
@pytest.mark.parametrize("lr", [-0.1, math.nan, math.inf, "fast", None, True, [1.0]])
def test_a_learning_rate_must_be_a_finite_number_of_at_least_0(name: str, lr: Any) -> None:
    x = leaf([1.0])
    for make in (lambda: RULES[name][0]([x], lr=lr), lambda: RULES[name][0]([{"params": [x], "lr": lr}])):
        with pytest.raises(ValueError, match=re.escape(f"lr={lr!r}; expected a finite number of at least 0")):
            make()
    optimizer = RULES[name][0]([x], lr=0.5)
    with pytest.raises(ValueError, match="lr="):
        optimizer.lr = lr
    assert optimizer.lr == 0.5
