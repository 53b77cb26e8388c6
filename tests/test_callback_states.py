"""Callbacks: metrics that are no numbers, states that do not fit, and what is refused before training."""

from __future__ import annotations

import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_callbacks import X, autoencoder, run, scripted

import scratchae as sa
from scratchae import optim

NAN, INF = math.nan, math.inf

# --- early stopping and metrics that are not finite -------------------------------------------------


told_by_trainer = pytest.mark.filterwarnings("ignore:epoch .. val_loss is")


@told_by_trainer
@pytest.mark.parametrize("metric", [NAN, INF, -INF])
def test_early_stopping_without_a_single_number_says_so_and_keeps_the_last_weights(metric: float) -> None:
    stopper = sa.EarlyStopping(patience=3)
    with pytest.warns(RuntimeWarning, match="EarlyStopping ends training: 'val_loss' was not finite in any of 3 "):
        trainer = scripted([metric] * 9, stopper)
    assert len(trainer.history["loss"]) == 3 and trainer.stop and stopper.stopped
    assert (stopper.best, stopper.best_epoch) == (INF, 0)
    assert trainer.model.w.data[0] == -3


@told_by_trainer
@pytest.mark.parametrize(
    ("script", "epochs", "best"),
    [
        ([NAN, NAN, 5, NAN, NAN, NAN], 6, 3),
        ([INF, 5, 4, INF, INF, -INF], 6, 3),
        ([-INF, 5, 6, 7, 8, 9], 5, 2),
        ([-1, -2, NAN, -3, -3, -3, -3], 7, 4),
        ([0, 0, 0, 0, 0], 4, 1),
        ([-5, -5, -5, -5, -5], 4, 1),
    ],
    ids=str,
)
def test_early_stopping_takes_finite_numbers_only(script: list[float], epochs: int, best: int) -> None:
    stopper = sa.EarlyStopping(patience=3)
    trainer = scripted(script, stopper, epochs=len(script))
    assert len(trainer.history["loss"]) == epochs and stopper.stopped
    assert (stopper.best, stopper.best_epoch, trainer.model.w.data[0]) == (script[best - 1], best, -best)


@told_by_trainer
def test_restoring_where_nothing_was_best_leaves_the_model_alone() -> None:
    stopper = sa.EarlyStopping(patience=5)
    trainer = scripted([NAN, NAN], stopper, epochs=2)
    assert not trainer.stop and not stopper.stopped
    stopper.restore(trainer.model)
    assert trainer.model.w.data[0] == -2


# --- states ---------------------------------------------------------------------------------------


def test_early_stopping_tells_whether_it_has_ended_training() -> None:
    stopper = sa.EarlyStopping(patience=2)
    assert sa.Callback.stopped is False is stopper.stopped
    scripted([3, 2, 1], stopper, epochs=3)
    assert stopper.stopped is False is stopper.state_dict()["stopped"]
    model = scripted([1, 2, 3, 4], stopper).model
    state = stopper.state_dict()
    assert stopper.stopped is True is state["stopped"]
    scripted([1], stopper, epochs=1)
    assert stopper.stopped is False
    stopper.load_state_dict(state)
    assert (stopper.stopped, stopper.best, stopper.best_epoch) == (True, 1, 1)
    model.w.data[...] = 7
    stopper.restore(model)
    assert model.w.data[0] == -1


def test_a_state_from_an_older_file_does_not_know_of_stopped() -> None:
    stopper = sa.EarlyStopping()
    stopper.load_state_dict({"best": INF, "best_epoch": 0, "weights": {}})
    assert (stopper.best, stopper.best_epoch, stopper.stopped) == (INF, 0, False)


WRONG: dict[str, list[Any]] = {
    "best": [NAN, -INF, "1", None, True, 10**400, np.ones(2), [1.0]],
    "best_epoch": [-1, 1.0, "1", None, True, 2**70],
    "weights": [None, 3, [np.ones(1)], {"w": 3.0}, {"w": np.ones(1, complex)}, {1: np.ones(1)}, {"w": np.ones(1)}, {
        "w": np.ones(2, np.float32), "seen": np.ones(1)}],
    "stopped": ["yes", 1, None],
}  # fmt: skip


def test_a_state_of_early_stopping_that_does_not_fit_is_refused_and_nothing_changes() -> None:
    stopper = sa.EarlyStopping(patience=2)
    scripted([2, 1, 3, 3], stopper)
    good = stopper.state_dict()
    spoilt: list[Any] = [{**good, name: value} for name, values in WRONG.items() for value in values]
    spoilt += [{k: v for k, v in good.items() if k != name} for name in good if name != "stopped"]
    for state in [*spoilt, {**good, "more": 1}, {}, None, [], "state"]:
        with pytest.raises(ValueError):
            stopper.load_state_dict(state)
        after = stopper.state_dict()
        assert after["weights"] is good["weights"] and {**after, "weights": 0} == {**good, "weights": 0}


def test_a_state_of_snapshots_that_does_not_fit_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    strip = sa.Snapshots(X[:2], tmp_path / "film.png")
    run(autoencoder(), strip, epochs=1)
    frames = strip.frames
    for wrong in (None, [X[:2]], {"before": 3}, {"before": X[:3]}, {"before": "x"}, {3: X[:2]}):
        with pytest.raises(ValueError):
            strip.load_state_dict({"frames": wrong})
    for state in ({}, None, {"frames": {}, "more": 1}):
        with pytest.raises(ValueError, match="nothing was loaded"):
            strip.load_state_dict(state)  # type: ignore[arg-type]
    assert strip.frames is frames
    for latest in (3, {"epoch 1": X[:3]}):
        with pytest.raises(ValueError):
            strip.load_state_dict({"frames": {}, "latest": latest})
    assert strip.frames is frames
    strip.load_state_dict({"frames": {"before": X[2:4]}})  # as older checkpoints have it
    np.testing.assert_array_equal(strip.frames["before"], X[2:4])
    assert strip.latest == {}


def test_a_schedules_state_goes_through_its_callback() -> None:
    optimizer = optim.SGD(autoencoder().parameters(), lr=1.0)
    callback = sa.Schedule(optim.StepLR(optimizer, 1, 0.5))
    run(autoencoder(), callback, epochs=2)
    state = json.loads(json.dumps(callback.state_dict()))
    optimizer.lr = 9.0
    callback.load_state_dict(state)
    assert optimizer.lr == 0.25
    with pytest.raises(ValueError, match="epoch=-1.*nothing was loaded"):
        callback.load_state_dict({**state, "epoch": -1})


# --- what is refused before training --------------------------------------------------------------


@pytest.mark.parametrize("schedule", [None, 3, "cosine", optim.StepLR, "an optimiser"], ids=str)
def test_a_schedule_is_wanted(schedule: Any) -> None:
    if schedule == "an optimiser":  # it has a step() too
        schedule = optim.SGD([sa.tensor([1.0], requires_grad=True)])
    with pytest.raises(TypeError, match=r"Schedule: expected a schedule such as optim.StepLR\(optimizer, 10\), got"):
        sa.Schedule(schedule)


@pytest.mark.parametrize("monitor", [3, True, ["val_loss"], 1.5], ids=str)
def test_a_monitor_is_a_name(monitor: Any) -> None:
    plateau = optim.ReduceOnPlateau(optim.SGD(autoencoder().parameters()))
    for make in (lambda: sa.Schedule(plateau, monitor), lambda: sa.EarlyStopping(monitor)):
        with pytest.raises(TypeError, match=r"monitor=.*expected a name"):
            make()


@pytest.mark.parametrize("option", ["patience", "min_delta", "restore_best"])
def test_early_stopping_checks_its_options(option: str) -> None:
    wrong: list[Any] = [NAN, INF, -1, "2", None, 10**400, 1j, [1], np.ones(2), np.array(1)]
    for value in [*wrong, 1 if option == "restore_best" else True, 1.5 if option == "patience" else -0.5]:
        with pytest.raises(ValueError, match=f"^EarlyStopping: {option}="):
            sa.EarlyStopping(**{option: value})


def paths(folder: Path, name: str) -> dict[str, Path]:
    """Places where nothing can be written, for this user or any."""
    (folder / "file").write_text("a file")
    (folder / name).mkdir()
    return {"below a file": folder / "file" / name, "a folder": folder / name}


@pytest.mark.parametrize("name", ["run.csv", "run.json", "film.png"])
def test_a_path_that_cannot_be_written_is_told_before_training(name: str, tmp_path: Path) -> None:
    for place in paths(tmp_path, name).values():
        model = autoencoder()
        before = model.state_dict()
        callback = sa.Snapshots(X[:2], place) if name == "film.png" else sa.SaveHistory(place)
        with pytest.raises(OSError, match=os.path.basename(place)):
            run(model, callback)
        assert all((before[n] == a).all() for n, a in model.state_dict().items())


PICTURES: dict[str, tuple[Any, type[Exception], str]] = {
    "a list": ([[0.0] * 16], TypeError, "Snapshots: images is a list"),
    "masked": (np.ma.ones((2, 16)), TypeError, "Snapshots: images is a MaskedArray"),
    "complex": (np.ones((2, 16), complex), TypeError, "Snapshots: images is of dtype complex128"),
    "words": (np.array([["a"] * 16]), TypeError, "Snapshots: images is of dtype <U1"),
    "none": (X[:0], ValueError, "empty array"),
    "no square": (np.ones((2, 15), np.float32), ValueError, "15"),
    "other size": (np.ones((2, 1, 5, 5), np.float32), ValueError, "16"),
}


@pytest.mark.parametrize("case", PICTURES)
def test_pictures_that_cannot_be_drawn_are_told_before_training(case: str, tmp_path: Path) -> None:
    pictures, error, message = PICTURES[case]
    model = autoencoder()
    before = model.state_dict()
    with pytest.raises(error, match=message):
        run(model, sa.Snapshots(pictures, tmp_path / "film.png"))
    assert all((before[n] == a).all() for n, a in model.state_dict().items())
    assert list(tmp_path.iterdir()) == []


def test_pictures_that_no_figure_can_show_are_told_before_training(tmp_path: Path) -> None:
    model = sa.Autoencoder.dense((15, 3))
    data = np.full((4, 15), 0.5, np.float32)
    with pytest.raises(ValueError, match="15 values an image, expected a square number"):
        run(model, sa.Snapshots(data[:2], tmp_path / "film.png", series=False), data=data)
    assert list(tmp_path.iterdir()) == []


def test_pictures_may_be_a_tensor_or_lie_on_the_models_device(tmp_path: Path, device: str) -> None:
    model = autoencoder().to(device)
    strip = sa.Snapshots(sa.tensor(X[:2], device=device), tmp_path / "film.png")
    run(model, strip, epochs=1)
    np.testing.assert_array_equal(strip.frames["original"], X[:2])
    assert (tmp_path / "film.png").stat().st_size > 0


def test_no_warning_is_given_where_nothing_is_wrong() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scripted([3, 2, 3, 3, 3, 3, 3, 3, 3], sa.EarlyStopping(patience=2))
