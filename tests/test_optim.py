"""Optimisers against textbook loops over single parameters, whatever happens to the parameters in between."""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim

# --- the textbook: one parameter, one step, state in a dict ---------------------------------------


def sgd(p, g, s, t, *, lr, momentum, dampening, weight_decay, nesterov):
    g = g + weight_decay * p
    if momentum:
        s["v"] = g if t == 1 else momentum * s["v"] + (1 - dampening) * g
        g = g + momentum * s["v"] if nesterov else s["v"]
    return p - lr * g


def adam(p, g, s, t, *, lr, betas, eps, weight_decay, amsgrad, decoupled=False):
    if decoupled:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g * g
    s["max"] = np.maximum(s.get("max", 0), s["v"])
    v_hat = s["max" if amsgrad else "v"] / (1 - betas[1] ** t)
    return p - lr * s["m"] / (1 - betas[0] ** t) / (np.sqrt(v_hat) + eps)


def adamw(p, g, s, t, **options):
    return adam(p, g, s, t, **options, decoupled=True)


def rmsprop(p, g, s, t, *, lr, alpha, eps, weight_decay, momentum, centered):
    g = g + weight_decay * p
    s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g * g
    s["mean"] = alpha * s.get("mean", 0) + (1 - alpha) * g
    s["b"] = momentum * s.get("b", 0) + g / (np.sqrt(s["v"] - s["mean"] ** 2 if centered else s["v"]) + eps)
    return p - lr * s["b"]


RULES: dict[str, tuple[type[optim.Optimizer], Callable]] = {
    "SGD": (optim.SGD, sgd), "Adam": (optim.Adam, adam), "AdamW": (optim.AdamW, adamw),
    "RMSprop": (optim.RMSprop, rmsprop),
}  # fmt: skip
CASES: list[tuple[str, dict]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.7, 0.9), "eps": 1e-2, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "betas": (0.7, 0.5), "amsgrad": True}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "betas": (0.7, 0.5), "weight_decay": 0.3, "amsgrad": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.8, "centered": True}),
]
every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{n}{o}" for n, o in CASES])
every_rule = pytest.mark.parametrize("name", RULES)


class Textbook:
    """An optimiser as anybody would write it first; knows nothing of buffers."""

    def __init__(self, params: Any, name: str, **options: Any):
        cls, self.rule = RULES[name]
        self.params, self.options = list(params), {**cls.defaults, **options}
        self.state: list[dict] = [{"t": 0} for _ in self.params]

    def step(self) -> None:
        for p, s in zip(self.params, self.state, strict=True):
            if p.grad is not None:
                s["t"] += 1
                p.data[...] = self.rule(p.data, p.grad, s, s["t"], **self.options)

    def zero_grad(self) -> None:
        for p in self.params:
            if p.requires_grad:
                p.grad = None


def leaf(values: Any, dtype: Any = np.float64) -> sa.Tensor:
    return sa.tensor(np.array(values, dtype), requires_grad=True)


def net() -> nn.Sequential:
    sa.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).to(np.float64)


def loss(model: Any, i: int) -> sa.Tensor:
    x = np.random.default_rng(i).standard_normal((6, 4))
    return F.mse_loss(model(sa.Tensor(x)), sa.Tensor(x[:, :3] ** 2))


def close(model: nn.Module, wanted: nn.Module) -> None:
    for (name, p), q in zip(model.named_parameters(), wanted.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-11, atol=1e-14, err_msg=name)


def bits(optimizer: optim.Optimizer) -> bytes:
    return pickle.dumps(optimizer.state_dict())


# --- the rules ------------------------------------------------------------------------------------


@every_case
def test_steps_are_the_textbooks(name: str, options: dict, rng: np.random.Generator) -> None:
    shapes: list[tuple[int, ...]] = [(3, 4), (), (5,), (0, 2), (70_000,)]  # a number, nothing, more than one chunk
    params, twins = ([leaf(np.ones(s)) for s in shapes] for _ in range(2))
    optimizer, textbook = RULES[name][0](params, **options), Textbook(twins, name, **options)
    for i in range(6):
        for j, (p, q) in enumerate(zip(params, twins, strict=True)):
            p.grad = q.grad = None if (i + j) % 4 == 0 else rng.standard_normal(p.shape)  # each counts its own steps
        optimizer.step()
        textbook.step()
    for p, q in zip(params, twins, strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-11, atol=1e-13)
    steps = [entry["step"] for entry in optimizer.state_dict()["groups"][0]["params"]]
    assert steps == [s["t"] for s in textbook.state] == [4, 5, 5, 4, 4]


@every_case
def test_parameters_of_several_dtypes_keep_them(name: str, options: dict, rng: np.random.Generator) -> None:
    params = [leaf(rng.standard_normal(4), d) for d in (np.float32, np.float64, np.float32)]
    twins = [leaf(p.data, np.float64) for p in params]
    optimizer, textbook = RULES[name][0](params, **options), Textbook(twins, name, **options)
    for _ in range(3):
        for p, q in zip(params, twins, strict=True):
            p.grad = rng.standard_normal(4)
            q.grad = p.grad.astype(np.float64)
        optimizer.step()
        textbook.step()
    for p, q, dtype in zip(params, twins, (np.float32, np.float64, np.float32), strict=True):
        assert p.dtype == p.grad.dtype == dtype
        np.testing.assert_allclose(p.data, q.data, rtol=1e-5 if dtype == np.float32 else 1e-12)
    states = [a for e in optimizer.state_dict()["groups"][0]["params"] for k, a in e.items() if k != "step"]
    assert {a.dtype for a in states} <= {np.dtype(np.float32), np.dtype(np.float64)}


@every_rule
def test_a_quadratic_is_brought_to_its_minimum(name: str) -> None:
    x, target, scales = leaf([5.0, -3.0]), sa.Tensor(np.array([1.0, 2.0])), np.array([1.0, 5.0])
    optimizer = RULES[name][0]([x], lr=0.1, weight_decay=0.0)
    schedule = optim.CosineLR(optimizer, 400)
    for _ in range(400):
        optimizer.zero_grad()
        (scales * (x - target) * (x - target)).sum().backward()
        optimizer.step()
        schedule.step()
    np.testing.assert_allclose(x.data, [1, 2], atol=1e-2)


def test_groups_have_their_own_options() -> None:
    a, b, c = leaf([1.0]), leaf([1.0]), leaf([1.0])
    optimizer = optim.SGD([{"params": [a], "lr": 0.5}, {"params": iter([b, c]), "weight_decay": 1.0}], lr=0.1)
    for p in (a, b):
        p.grad = np.array([1.0])
    optimizer.step()
    assert (a.data, b.data, c.data) == pytest.approx((0.5, 0.8, 1.0), abs=1e-15)
    assert optimizer.lr == 0.5
    optimizer.lr = 0.25
    assert [g["lr"] for g in optimizer.param_groups] == [0.25, 0.25] == [optimizer.lr] * 2
    a.grad = b.grad = c.grad = None
    optimizer.zero_grad()


def test_a_group_may_hold_a_single_tensor() -> None:
    a = leaf([1.0, 2.0])
    optimizer = optim.SGD([{"params": a, "lr": 1.0}])
    a.grad = np.ones(2)
    optimizer.step()
    np.testing.assert_array_equal(a.data, [0, 1])


@every_case
def test_frozen_parameters_and_those_without_a_gradient_keep_every_bit(name: str, options: dict) -> None:
    model = net()
    model[0].weight.requires_grad = False
    optimizer = RULES[name][0]([*model.parameters(), unused := leaf([0.1, 0.2])], **options)
    before = [model[0].weight.data.copy(), unused.data.copy()]
    for i in range(3):
        optimizer.zero_grad()
        loss(model, i).backward()
        optimizer.step()
    np.testing.assert_array_equal(model[0].weight.data, before[0])
    np.testing.assert_array_equal(unused.data, before[1])
    model[0].weight.requires_grad, moved = True, model[0].bias.data.copy()
    loss(model, 9).backward()
    optimizer.step()
    assert (model[0].weight.data != before[0]).all() and (model[0].bias.data != moved).all()


# --- whatever happens to the parameters -----------------------------------------------------------

# Each takes (model, optimizer, textbook's model) and returns what to go on with.
Disturbance = Callable[[nn.Module, optim.Optimizer, nn.Module], Any]


def both(change: Callable[[nn.Module], object]) -> Disturbance:
    return lambda model, optimizer, twin: (change(model), change(twin)) and None


def new_data(model: nn.Module) -> None:
    model[0].weight.data = model[0].weight.data * 0.5


def new_gradient(model: nn.Module) -> None:
    for p in model.parameters():
        p.grad = np.full(p.shape, 0.25)


def freeze_for_a_moment(model: nn.Module) -> None:
    model[0].bias.requires_grad = False
    model[0].bias.requires_grad = True


def reloaded(model: nn.Module, optimizer: optim.Optimizer, twin: nn.Module) -> Any:
    fresh = type(optimizer)(model.parameters())
    fresh.load_state_dict(optimizer.state_dict())
    return model, fresh


DISTURBANCES: dict[str, Disturbance] = {
    "nothing": lambda model, optimizer, twin: None,
    "data replaced": both(new_data),
    "data written": both(lambda m: m[2].bias.data.fill(0.3)),
    "layout changed": lambda m, o, t: setattr(m[0].weight, "data", np.asfortranarray(m[0].weight.data)),
    "gradient by hand": both(new_gradient),
    "gradient scaled": both(lambda m: [p.grad.__imul__(0.5) for p in m.parameters() if p.grad is not None]),
    "second optimiser": lambda m, o, t: optim.Adam(list(m.parameters())[1:]) and None,
    "model zero_grad": both(lambda m: m.zero_grad()),
    "optimiser zero_grad": lambda m, o, t: (o.zero_grad(), t.zero_grad()) and None,
    "another backward": both(lambda m: loss(m, 77).backward()),
    "frozen for a moment": both(freeze_for_a_moment),
    "weights loaded": lambda m, o, t: m.load_state_dict(m.state_dict()),
    "to its dtype": both(lambda m: m.to(np.float64)),
    "model copied": lambda m, o, t: copy.deepcopy(m) and pickle.loads(pickle.dumps(m)) and None,
    "pair copied": lambda m, o, t: copy.deepcopy((m, o)),
    "pair pickled": lambda m, o, t: pickle.loads(pickle.dumps((m, o))),
    "optimiser reloaded": reloaded,
}


def run_disturbed(name: str, options: dict, plan: list[tuple[str, str, str]]) -> None:
    """Train next to the textbook; before backward, before step and after it the plan's disturbances strike."""
    model, twin = net(), net()
    optimizer, textbook = RULES[name][0](model.parameters(), **options), Textbook(twin.parameters(), name, **options)
    for i, moments in enumerate(plan):
        for moment, disturbance in enumerate(moments):
            model, optimizer = DISTURBANCES[disturbance](model, optimizer, twin) or (model, optimizer)
            if moment == 0:
                loss(model, i).backward()
                loss(twin, i).backward()
            elif moment == 1:
                optimizer.step()
                textbook.step()
        close(model, twin)
        optimizer.zero_grad()
        textbook.zero_grad()


@pytest.mark.parametrize("moment", [0, 1, 2], ids=["before backward", "before step", "after step"])
@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_the_weights_are_the_textbooks_whatever_happens_in_between(disturbance: str, moment: int) -> None:
    calm = ("nothing",) * 3
    disturbed = tuple(disturbance if m == moment else "nothing" for m in range(3))
    for name, options in (CASES[4], CASES[6]):
        run_disturbed(name, options, [calm, disturbed, calm, disturbed, disturbed, calm])


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(*[st.sampled_from(list(DISTURBANCES))] * 3), min_size=1, max_size=6), st.sampled_from(CASES))
def test_no_sequence_of_disturbances_matters(plan: list, case: tuple[str, dict]) -> None:
    run_disturbed(*case, plan)


def test_a_gradient_computed_before_the_optimiser_was_made_is_used() -> None:
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    optimizer = optim.SGD([x], lr=0.5)
    np.testing.assert_array_equal(x.grad, [2, 4])
    optimizer.step()
    np.testing.assert_array_equal(x.data, [0, 0])


def test_a_model_converted_after_the_optimiser_was_made_goes_on_in_its_new_dtype() -> None:
    model, twin = net().to(np.float32), net().to(np.float32).to(np.float64)
    optimizer, textbook = optim.Adam(model.parameters(), lr=0.05), Textbook(twin.parameters(), "Adam", lr=0.05)
    model.to(np.float64)
    for i in range(3):
        for m, o in ((model, optimizer), (twin, textbook)):
            o.zero_grad()
            loss(m, i).backward()
            o.step()
            assert all(p.dtype == p.grad.dtype == np.float64 for p in m.parameters())
    close(model, twin)


def test_a_model_moved_after_the_optimiser_was_made_goes_on_where_it_is(device: str) -> None:
    model, twin, x = net(), net(), np.random.default_rng(0).standard_normal((6, 4))
    optimizer, textbook = optim.Adam(model.parameters(), lr=0.05), Textbook(twin.parameters(), "Adam", lr=0.05)
    model.to(device)
    for _ in range(3):
        for m, o, where in ((model, optimizer, device), (twin, textbook, "cpu")):
            o.zero_grad()
            m(sa.tensor(x, device=where)).sum().backward()
            o.step()
    close(model.to("cpu"), twin)


def test_a_gradient_that_the_user_holds_is_not_overwritten() -> None:
    model = net()
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    held = []
    for i in range(4):
        optimizer.zero_grad()
        loss(model, i).backward()
        gradients = [p.grad for p in model.parameters()][i % 2 :]
        held.append((gradients, [g.copy() for g in gradients]))
        optimizer.step()
    for gradients, copies in held:
        for g, c in zip(gradients, copies, strict=True):
            np.testing.assert_array_equal(g, c)


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


# --- clipping -------------------------------------------------------------------------------------


def test_clipping_scales_all_gradients_to_the_joint_norm_and_returns_the_old_one(rng: np.random.Generator) -> None:
    params = [leaf(np.zeros(s)) for s in ((3, 4), (), (5,))] + [leaf([1.0])]
    for p in params[:3]:
        p.grad = rng.standard_normal(p.shape) * 3
    before = [p.grad.copy() for p in params[:3]]
    norm = math.sqrt(sum((g**2).sum() for g in before))
    assert optim.clip_grad_norm(iter(params), norm * 1.01) == pytest.approx(norm, rel=1e-14)
    assert all((p.grad == g).all() for p, g in zip(params, before, strict=False)) and params[3].grad is None
    assert optim.clip_grad_norm(params, 0.5) == pytest.approx(norm, rel=1e-14)
    for p, g in zip(params, before, strict=False):
        np.testing.assert_allclose(p.grad, g * 0.5 / norm, rtol=1e-6)
    assert optim.clip_grad_norm(params[0], 100) == pytest.approx(0.5 * np.linalg.norm(before[0]) / norm, rel=1e-6)
    assert optim.clip_grad_norm([params[3]], 1.0) == 0


@pytest.mark.parametrize("value", [1e25, 1e-30])
def test_clipping_takes_gradients_whose_squares_float32_cannot_hold(value: float) -> None:
    x = leaf([0, 0, 0, 0], np.float32)
    x.grad = np.full(4, value, np.float32)
    assert optim.clip_grad_norm([x], 1.0) == pytest.approx(2 * value, rel=1e-6, abs=0)
    np.testing.assert_allclose(x.grad, min(value, 0.5), rtol=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_clipping_refuses_gradients_that_are_not_finite_and_changes_none(bad: float) -> None:
    a, b = leaf([1.0, 2.0]), leaf([1.0])
    a.grad, b.grad = np.array([30.0, 40.0]), np.array([bad])
    with pytest.raises(ValueError, match="not finite"):
        optim.clip_grad_norm([a, b], 1.0)
    np.testing.assert_array_equal(a.grad, [30, 40])
    for max_norm in (-1.0, math.nan):
        with pytest.raises(ValueError, match="max_norm="):
            optim.clip_grad_norm([a], max_norm)


# --- schedules ------------------------------------------------------------------------------------


def rates(schedule: Any, *metrics: float, epochs: int = 0) -> list[list[float]]:
    """The groups' learning rates after each step."""
    groups, found = schedule.optimizer.param_groups, []
    for metric in metrics or [None] * epochs:
        schedule.step(*([] if metric is None else [metric]))
        found.append([g["lr"] for g in groups])
    return found


def two_groups() -> optim.Optimizer:
    return optim.SGD([{"params": [leaf([1.0])]}, {"params": [leaf([1.0])], "lr": 0.2}], lr=1.0)


def test_step_and_cosine_follow_their_formulas_in_every_group() -> None:
    wanted = np.outer([1, 0.5, 0.5, 0.25, 0.25, 0.125], [1, 0.2])
    np.testing.assert_allclose(rates(optim.StepLR(two_groups(), 2, 0.5), epochs=6), wanted, rtol=1e-14)
    found = rates(optim.CosineLR(two_groups(), 4, eta_min=0.1), epochs=4)
    half = (1 + np.cos(np.pi * np.arange(1, 5) / 4)) / 2
    np.testing.assert_allclose(found, 0.1 + np.outer(half, [0.9, 0.1]), rtol=1e-14)
    assert found[-1] == [0.1, 0.1]


def test_a_plateau_lowers_the_rate_after_more_than_patience_bad_epochs() -> None:
    schedule = optim.ReduceOnPlateau(two_groups(), factor=0.5, patience=1)
    found = rates(schedule, 3.0, 2.0, 1.9999, 2.0, 1.0, 1.1, math.nan, 1.1, 1.1)
    np.testing.assert_allclose(found, np.outer([1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125], [1, 0.2]), rtol=1e-14)


@pytest.mark.parametrize("make", [lambda o: optim.StepLR(o, 2), lambda o: optim.CosineLR(o, 5), optim.ReduceOnPlateau])
def test_a_schedule_goes_on_from_its_state(make: Callable) -> None:
    metrics = [1.0] * 3 if make is optim.ReduceOnPlateau else []
    schedule, other = make(two_groups()), make(two_groups())
    rates(schedule, *metrics, epochs=3)
    other.load_state_dict(schedule.state_dict())
    assert other.state_dict() == schedule.state_dict() and other.epoch == 3
    assert rates(other, *metrics, epochs=1) == rates(schedule, *metrics, epochs=1)
    with pytest.raises(ValueError, match="nothing was loaded"):
        other.load_state_dict({"epoch": 1})
    assert other.state_dict() == schedule.state_dict()


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
    "step_size": (lambda: optim.StepLR(two_groups(), 0), ValueError, "step_size=0"),
    "T_max": (lambda: optim.CosineLR(two_groups(), 0), ValueError, "T_max=0"),
    "factor": (lambda: optim.ReduceOnPlateau(two_groups(), factor=1.0), ValueError, "factor=1.0"),
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
        with pytest.raises(ValueError, match=re.escape(f"lr={lr!r}; expected a number of at least 0, and finite")):
            make()
    optimizer = RULES[name][0]([x], lr=0.5)
    with pytest.raises(ValueError, match="lr="):
        optimizer.lr = lr
    assert optimizer.lr == 0.5
