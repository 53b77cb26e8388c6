"""Optimisers against textbook loops over single parameters, whatever happens to the parameters in between."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textbook import CASES, RULES, Textbook, close, every_case, every_rule, leaf, loss, net

import scratchae as sa
from scratchae import nn, optim
from scratchae.fast.flat import move
from scratchae.optim import base

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
def test_parameters_in_one_buffer_move_as_parameters_one_by_one(
    name: str, options: dict, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: list[tuple[tuple[int, ...], type]] = [
        ((3, 4), np.float32), ((), np.float64), ((5,), np.float16), ((0, 2), np.float32), ((70_000,), np.float32),
    ]  # fmt: skip
    start = [rng.standard_normal(shape).astype(dtype) for shape, dtype in kinds]
    together, single = ([leaf(a, a.dtype) for a in start] for _ in range(2))
    single[0].data = np.asfortranarray(single[0].data)
    flat = RULES[name][0](together, **options)
    monkeypatch.setattr(move.op, "forward", move.__wrapped__)  # type: ignore[attr-defined]  # compiled loops round once
    monkeypatch.setattr(base.updaters_of.op, "forward", base.updaters_of.__wrapped__)  # type: ignore[attr-defined]
    plain = RULES[name][0](single, **options)
    assert len(list(plain.updaters())) == 5
    for i in range(6):
        for j, (p, q) in enumerate(zip(together, single, strict=True)):
            p.grad = q.grad = None if (i + j) % 4 == 0 else rng.standard_normal(p.shape)
        flat.step()
        plain.step()
        if i == 2:
            single, plain = pickle.loads(pickle.dumps((single, plain)))
    held = [optimizer.state_dict()["groups"][0]["params"] for optimizer in (flat, plain)]
    for p, q, mine, other in zip(together, single, *held, strict=True):
        assert p.data.tobytes() == q.data.tobytes()
        assert mine.keys() == other.keys() and mine["step"] == other["step"]
        for key in mine.keys() - {"step"}:
            assert mine[key].dtype == other[key].dtype and mine[key].tobytes() == other[key].tobytes()
    for optimizer, params in ((flat, together), (plain, single)):
        assert sum(g.size for g in optimizer.gradients()) == sum(p.size for p in params if p.grad is not None)
        assert sum(v.size for v in optimizer.values()) == sum(p.size for p in params)
        optimizer.zero_grad()
        assert all(p.grad is None for p in params)
    plain.load_state_dict(flat.state_dict())
    assert plain.state_dict()["groups"][0]["params"][0]["step"] == held[0][0]["step"]


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
    optimizer = RULES[name][0]([x], lr=2.0 if name == "Adagrad" else 0.1, weight_decay=0.0)
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
    "weights loaded": lambda m, o, t: m.load_state_dict(m.state_dict()) and None,
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


@every_rule
def test_a_step_tells_the_parameters_that_it_moves_and_no_others(name: str) -> None:
    moved, resting = leaf([2.0]), leaf([3.0])
    optimizer = RULES[name][0]([moved, resting], lr=0.5)
    kept = (resting * resting).sum(), (moved * moved).sum()
    moved.grad = np.ones(1)
    optimizer.step()
    kept[0].backward()
    assert resting.grad.tolist() == [6.0]
    with pytest.raises(RuntimeError, match="changed in place"):
        kept[1].backward()


def test_momentum_switched_on_between_steps_starts_from_zero() -> None:
    p = leaf([1.0])
    optimizer = optim.SGD([p], lr=0.1)
    for momentum in (0.0, 0.5, 0.5):
        optimizer.param_groups[0]["momentum"] = momentum
        optimizer.zero_grad()
        (p * 1.0).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(p.numpy(), 1 - 0.1 * (1 + 1 + 1.5), rtol=1e-12)


def test_rates_that_are_numpy_numbers_compute_as_pythons() -> None:
    ends = []
    for rate in (0.1, np.float64(0.1)):
        p = sa.nn.Parameter(np.linspace(-1, 1, 50, dtype=np.float32))
        for optimizer in (optim.Adam([p], lr=rate), optim.SGD([p], lr=0.5)):
            optimizer.lr = optimizer.lr * type(rate)(0.5)
            assert type(optimizer.lr) is float
            optimizer.zero_grad()
            (p * p).sum().backward()
            optimizer.step()
        ends.append(p.numpy().tobytes())
    assert ends[0] == ends[1]


def test_options_may_stand_in_the_class() -> None:
    class Sign(optim.Optimizer):
        defaults = {"lr": 0.5}

        def update(self, p: Any, g: Any, state: Any, step: int, group: dict, scratch: Any) -> None:
            p -= group["lr"] * np.sign(g)

    x = sa.tensor([1.0, 2.0], requires_grad=True)
    optimizer = Sign([x])
    (x * x).sum().backward()
    optimizer.step()
    assert x.data.tolist() == [0.5, 1.5]
