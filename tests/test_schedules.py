"""Clipping and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from textbook import leaf

from scratchae import optim

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
