"""Clipping and learning-rate schedules."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from textbook import leaf

import scratchae as sa
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


def test_a_cosine_goes_on_after_its_end_as_pytorchs_does() -> None:
    found = [lr for lr, _ in rates(optim.CosineLR(two_groups(), 4), epochs=12)]
    np.testing.assert_allclose(found[3::4], [0, 1, 0], atol=1e-15)  # down, up again, down again
    np.testing.assert_allclose(found[4:7], found[2::-1], rtol=1e-12)


def plateau(**options: Any) -> optim.ReduceOnPlateau:
    return optim.ReduceOnPlateau(optim.SGD([leaf([1.0])], lr=1.0), factor=0.5, **options)


NAN, INF = math.nan, math.inf
# metrics, options -> the best one, rate after each
PLATEAUS: dict[str, tuple[list[Any], dict[str, Any], float, list[float]]] = {
    "negative and falling": ([-1, -2, -3, -4, -5], {"patience": 0}, -5, [1, 1, 1, 1, 1]),
    "negative, too little": ([-100, -100.009, -100.02], {"patience": 0}, -100.02, [1, 0.5, 0.5]),
    "through zero": ([1, 0, -1e-9, -1], {"patience": 0}, -1, [1, 1, 1, 1]),
    "flat": ([2, 2, 2, 2], {"patience": 1}, 2, [1, 1, 0.5, 0.5]),
    "flat at zero": ([0, 0, 0, 0], {"patience": 1}, 0, [1, 1, 0.5, 0.5]),
    "flat, no margin": ([2, 2, 2], {"patience": 0, "threshold": 0}, 2, [1, 0.5, 0.25]),
    "a wide margin": ([-10, -14, -15.5, -16], {"patience": 0, "threshold": 0.5}, -15.5, [1, 0.5, 0.5, 0.25]),
    "nan first": ([NAN, 3, 2, NAN, NAN, NAN, 1], {"patience": 1}, 1, [1, 1, 1, 1, 0.5, 0.5, 0.5]),
    "only nan": ([NAN] * 5, {"patience": 1}, INF, [1, 0.5, 0.5, 0.25, 0.25]),
    "inf first": ([INF, 3, 2], {"patience": 1}, 2, [1, 1, 1]),
    "inf later": ([3, INF, INF, 2], {"patience": 1}, 2, [1, 1, 0.5, 0.5]),
    "-inf is no improvement": ([3, -INF, -INF, 2], {"patience": 1}, 2, [1, 1, 0.5, 0.5]),
    "max": ([0.5, 0.7, 0.6, 0.7, 0.8], {"patience": 0, "mode": "max"}, 0.8, [1, 1, 0.5, 0.25, 0.25]),
    "max, negative": ([-9, -5, -4.9999, -3], {"patience": 0, "mode": "max"}, -3, [1, 1, 0.5, 0.5]),
    "max, nan and inf": ([NAN, INF, 1, 2], {"patience": 2, "mode": "max"}, 2, [1, 1, 1, 1]),
    "max, never": ([NAN, -INF, INF], {"patience": 2, "mode": "max"}, -INF, [1, 1, 0.5]),
    "lowest rate": ([1] * 4, {"patience": 0, "min_lr": 0.3}, 1, [1, 0.5, 0.3, 0.3]),
    "a rate below the lowest": ([1] * 3, {"patience": 0, "min_lr": 2.0}, 1, [1, 1, 1]),
}


@pytest.mark.parametrize("case", PLATEAUS)
def test_a_plateau_knows_improvement_when_it_sees_it(case: str) -> None:
    metrics, options, best, wanted = PLATEAUS[case]
    schedule = plateau(**options)
    assert rates(schedule, *metrics) == [[lr] for lr in wanted]
    assert (schedule.best, schedule.epoch) == (best, len(metrics))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", "i8"])
def test_a_plateau_takes_numbers_of_every_kind(dtype: str, device: str) -> None:
    schedule = plateau(patience=0)
    arrays = [np.array(3, dtype)[()], np.array(2, dtype)]
    for metric in [*arrays, *([sa.tensor(arrays[1] / 2, np.float32, device=device)] if dtype != "g" else [])]:
        schedule.step(metric)
    assert (schedule.best, type(schedule.best), schedule.optimizer.lr) == (1 if dtype != "g" else 2, float, 1)
    schedule.step(np.array(NAN, "f4") if dtype == "i8" else np.array(NAN, dtype)[()])
    assert schedule.optimizer.lr == 0.5


@pytest.mark.parametrize("metric", ["1", None, True, 1j, [1.0], np.ones(1), np.ones((2, 2)), 10**400, {}], ids=str)
def test_a_plateau_refuses_what_is_no_number_and_stays_where_it_was(metric: Any) -> None:
    schedule = plateau(patience=0)
    schedule.step(1.0)
    before = schedule.state_dict()
    with pytest.raises(ValueError, match="ReduceOnPlateau: metric"):
        schedule.step(metric)
    assert schedule.state_dict() == before


def test_a_function_of_the_epoch_multiplies_each_groups_rate_from_the_start() -> None:
    schedule = optim.LambdaLR(two_groups(), lambda epoch: np.float32(0.5) ** epoch / 2)
    assert schedule.rates == [0.5, 0.1]
    assert rates(schedule, epochs=2) == [[0.25, 0.05], [0.125, 0.025]]


def test_a_warm_up_rises_in_equal_parts_and_then_the_next_schedule_begins() -> None:
    alone = optim.WarmupLR(two_groups(), 3)
    assert alone.rates == [0.25, 0.05]
    np.testing.assert_allclose(rates(alone, epochs=5), np.outer([0.5, 0.75, 1, 1, 1], [1, 0.2]), rtol=1e-15)
    optimizer = two_groups()
    after = optim.LambdaLR(optimizer, lambda epoch: 2.0 / (1 + epoch))  # which sets rates of its own at the start
    both = optim.WarmupLR(optimizer, 3, after)
    assert both.rates == [0.5, 0.1]
    np.testing.assert_allclose(rates(both, epochs=5), np.outer([1, 1.5, 2, 1, 2 / 3], [1, 0.2]), rtol=1e-15)


def test_a_warm_up_leaves_its_rates_to_a_plateau() -> None:
    optimizer = two_groups()
    warm, flat = optim.WarmupLR(optimizer, 2), optim.ReduceOnPlateau(optimizer, 0.5, patience=0)
    found = []
    for metric in (1.0, 0.5, 0.5, 0.25, 0.25):
        warm.step()
        flat.step(metric)
        found.append(optimizer.lr)
    assert found == [pytest.approx(2 / 3), 1.0, 0.5, 0.5, 0.25]


def test_schedules_of_what_cannot_follow_are_refused_and_no_rate_changes() -> None:
    optimizer = two_groups()
    for make, error, text in [
        (lambda: optim.LambdaLR(optimizer, 0.5), TypeError, "f=0.5; expected a function of the epoch"),
        (lambda: optim.LambdaLR(optimizer, lambda e: -1), ValueError, r"for epoch 0 \(f\(epoch\)=-1; expected"),
        (lambda: optim.LambdaLR(optimizer, lambda e: None), ValueError, r"f\(epoch\)=None"),
        (lambda: optim.LambdaLR(optimizer, lambda e: math.nan), ValueError, "no finite learning rate"),
        (lambda: optim.WarmupLR(optimizer, 3, 5), TypeError, "after=5; expected a schedule"),
        (lambda: optim.WarmupLR(optimizer, 3, optim.StepLR(two_groups(), 1)), ValueError, "of another optimiser"),
        (lambda: optim.WarmupLR(optimizer, 3, optim.ReduceOnPlateau(optimizer)), TypeError, "step both schedules"),
    ]:
        with pytest.raises(error, match=text):
            make()
        assert [g["lr"] for g in optimizer.param_groups] == [1.0, 0.2]


@pytest.mark.parametrize("make", [lambda o: optim.LambdaLR(o, lambda e: 1.0), lambda o: optim.WarmupLR(o, 2)])
def test_a_callback_asks_for_no_metric_where_a_schedule_takes_none(make: Any) -> None:
    with pytest.raises(ValueError, match="takes no monitor, got monitor='loss'"):
        sa.Schedule(make(two_groups()), monitor="loss")


def test_a_run_with_a_warm_up_is_resumed_and_one_with_another_function_refused(tmp_path: Any) -> None:
    x = np.random.default_rng(0).random((16, 4)).astype(np.float32)

    def weights(epochs: int, base: float = 0.5, **options: Any) -> bytes:
        sa.manual_seed(0)
        model = sa.Autoencoder.dense((4, 2))
        optimizer = optim.Adagrad(model.parameters(), lr=0.1)
        after = optim.LambdaLR(optimizer, lambda epoch: base**epoch)
        callback = sa.Schedule(optim.WarmupLR(optimizer, 2, after))
        sa.Trainer(model, optimizer, [callback]).fit(x, epochs=epochs, batch_size=8, progress=False, **options)
        return b"".join(a.tobytes() for a in model.state_dict().values())

    for stop in (1, 3):
        weights(stop, checkpoint=tmp_path / "run")
        with pytest.raises(ValueError, match="base"):
            weights(5, base=0.25, checkpoint=tmp_path / "run", resume=True)
        assert weights(5, checkpoint=tmp_path / "run", resume=True) == weights(5)


def test_a_metric_is_wanted_by_those_that_follow_one() -> None:
    with pytest.raises(TypeError, match="metric"):
        plateau().step()  # type: ignore[call-arg]
    schedule = optim.StepLR(two_groups(), 1)
    with pytest.raises(TypeError, match="argument"):
        schedule.step(0.5)  # type: ignore[call-arg]
    assert (schedule.epoch, schedule.optimizer.lr) == (0, 1.0)


# --- what they are made with --------------------------------------------------------------------

WRONG: list[Any] = [NAN, INF, -INF, -1, "2", None, True, 10**400, 1j, [2], np.ones(2), np.array(2), {}, object()]
OPTIONS: dict[str, tuple[Callable[..., Any], str, list[Any]]] = {
    "StepLR step_size": (optim.StepLR, "step_size", [0, 1.0, np.float64(2), 2**63]),
    "StepLR gamma": (lambda o, **k: optim.StepLR(o, 1, **k), "gamma", [0, 0.0]),
    "CosineLR T_max": (optim.CosineLR, "T_max", [0, 10.0, 2**63]),
    "CosineLR eta_min": (lambda o, **k: optim.CosineLR(o, 9, **k), "eta_min", [0.21, 1e-300 + 0.5]),
    "WarmupLR steps": (optim.WarmupLR, "steps", [0, 1.5, 2**63]),
    "ReduceOnPlateau factor": (optim.ReduceOnPlateau, "factor", [0, 1, 1.5]),
    "ReduceOnPlateau patience": (optim.ReduceOnPlateau, "patience", [0.5, 2.0]),
    "ReduceOnPlateau threshold": (optim.ReduceOnPlateau, "threshold", []),
    "ReduceOnPlateau min_lr": (optim.ReduceOnPlateau, "min_lr", []),
    "ReduceOnPlateau mode": (optim.ReduceOnPlateau, "mode", ["MIN", "", "mean"]),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_out_of_range_are_refused_by_name(case: str) -> None:
    make, option, more = OPTIONS[case]
    for value in WRONG + more:
        with pytest.raises(ValueError, match=f"^{case.replace(' ', ': ')}="):
            make(two_groups(), **{option: value})
    for no_optimizer in (None, two_groups().param_groups, [leaf([1.0])]):
        with pytest.raises(TypeError, match="takes an optimiser, got"):
            optim.StepLR(no_optimizer, 1)  # type: ignore[arg-type]


def test_made_with_holds_the_options_and_never_changes() -> None:
    plain = optim.ReduceOnPlateau(two_groups(), np.float64(0.5), np.int32(3), 0, 1e-6, "max")
    for schedule, wanted in (
        (optim.StepLR(two_groups(), 3), {"step_size": 3, "gamma": 0.1}),
        (optim.CosineLR(two_groups(), np.int64(10)), {"T_max": 10, "eta_min": 0.0}),
        (plain, {"factor": 0.5, "patience": 3, "threshold": 0.0, "min_lr": 1e-6, "mode": "max"}),
    ):
        rates(schedule, *([1.0] if schedule is plain else []), epochs=1)
        for option in wanted:
            setattr(schedule, option, None)
        for same in (schedule, copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
            assert same.made_with == wanted == json.loads(json.dumps(same.made_with))


def test_a_rate_too_large_for_a_float_is_refused_before_anything_changes() -> None:
    for gamma, epoch in ((2.0, 1023), (1e308, 1)):
        schedule = optim.StepLR(two_groups(), 1, gamma)
        schedule.epoch = epoch
        with pytest.raises(ValueError, match=f"StepLR has no finite learning rate for epoch {epoch + 1}"):
            schedule.step()
        assert (schedule.epoch, schedule.optimizer.lr) == (epoch, 1.0)
    fading = optim.StepLR(two_groups(), 1, 0.5)
    fading.epoch = 10**9
    fading.step()
    assert (fading.optimizer.lr, fading.epoch) == (0.0, 10**9 + 1)


# --- state --------------------------------------------------------------------------------------

SCHEDULES: dict[str, Callable[[optim.Optimizer], Any]] = {
    "StepLR": lambda o: optim.StepLR(o, 2),
    "CosineLR": lambda o: optim.CosineLR(o, 5),
    "ReduceOnPlateau": lambda o: optim.ReduceOnPlateau(o, patience=1),
    "LambdaLR": lambda o: optim.LambdaLR(o, lambda epoch: 0.9**epoch),
    "WarmupLR": lambda o: optim.WarmupLR(o, 5),
    "WarmupLR, then cosine": lambda o: optim.WarmupLR(o, 2, optim.CosineLR(o, 5)),
}


def gone_on(kind: str) -> Any:
    schedule = SCHEDULES[kind](two_groups())
    rates(schedule, *([1.0] * 4 if kind == "ReduceOnPlateau" else []), epochs=4)
    return schedule


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("optimizers_own", ["not restored", "before", "after"])
def test_a_restored_schedule_sets_its_optimisers_rates_and_goes_on(kind: str, optimizers_own: str) -> None:
    schedule, other = gone_on(kind), SCHEDULES[kind](two_groups())
    metrics = [1.0] * 3 if kind == "ReduceOnPlateau" else []
    state, optimizer_state = json.loads(json.dumps(schedule.state_dict())), schedule.optimizer.state_dict()
    if optimizers_own == "before":
        other.optimizer.load_state_dict(optimizer_state)
    other.load_state_dict(state)
    if optimizers_own == "after":
        other.optimizer.load_state_dict(optimizer_state)
    assert schedule.optimizer.lr != 1.0 and other.epoch == 4
    assert other.state_dict() == schedule.state_dict()
    assert [g["lr"] for g in other.optimizer.param_groups] == [g["lr"] for g in schedule.optimizer.param_groups]
    assert rates(other, *metrics, epochs=3) == rates(schedule, *metrics, epochs=3)


def test_a_rate_that_was_set_by_hand_since_the_last_epoch_is_the_one_restored() -> None:
    schedule, other = gone_on("CosineLR"), SCHEDULES["CosineLR"](two_groups())
    schedule.optimizer.lr = 0.75
    other.load_state_dict(schedule.state_dict())
    assert other.optimizer.lr == 0.75


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_state_without_rates_from_an_older_file_loads(kind: str) -> None:
    schedule, other = gone_on(kind), SCHEDULES[kind](two_groups())
    state = schedule.state_dict()
    del state["lrs"]
    other.optimizer.load_state_dict(schedule.optimizer.state_dict())
    other.load_state_dict(state)
    assert other.state_dict() == schedule.state_dict()


WRONG_STATES: list[tuple[str, Any]] = [
    *(("epoch", value) for value in (-1, 1.0, True, "3", None, 2**70, NAN, [1])),
    *((n, value) for n in ("base_lrs", "lrs") for value in ([1.0], [1.0, NAN], [1.0, "x"], [1, -1], 1.0, {}, None)),
    *(("bad_epochs", value) for value in (-1, 0.5, "x", None, True)),
    *(("best", value) for value in (NAN, "x", None, True, [1.0], -INF)),
]


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_state_that_does_not_fit_is_refused_and_nothing_changes(kind: str) -> None:
    schedule, good = gone_on(kind), gone_on(kind).state_dict()
    before = schedule.state_dict()
    spoilt: list[Any] = [{**good, name: value} for name, value in WRONG_STATES if name in good]
    spoilt += [{k: v for k, v in good.items() if k != name} for name in good if name != "lrs"]
    for state in [*spoilt, {**good, "more": 1}, {}, None, [1], "state", {1: 2}]:
        with pytest.raises(ValueError, match="nothing was loaded"):
            schedule.load_state_dict(state)
        assert schedule.state_dict() == before
