"""Callbacks: what they see, when they are called, and what they leave behind."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from family import bits, images
from matplotlib.image import imread

import scratchae as sa
from scratchae import nn, optim

X = images(12)


class Scripted(nn.Module):
    """Falls by 1 per epoch of one batch, counts its batches, and reads its validation losses off a script."""

    def __init__(self, script: list[float]):
        self.w, self.script = nn.Parameter(np.zeros(1, np.float32)), script
        self.register_buffer("seen", np.zeros(1, np.int64))

    def loss_terms(self, x: Any) -> dict[str, Any]:
        if self.training:
            self.seen += 1
            return {"loss": self.w.sum()}
        return {"loss": sa.Tensor(np.float32(self.script[int(self.seen[0]) - 1]))}


class Each(sa.Callback):
    """Calls a function after each epoch."""

    def __init__(self, function: Callable[[sa.Trainer, Any], Any]):
        self.on_epoch_end = function  # type: ignore[method-assign]


def run(model: Any, *callbacks: Any, data: Any = X, validation: Any = None, **options: Any) -> sa.Trainer:
    trainer = sa.Trainer(model, optim.SGD(model.parameters(), lr=1.0), callbacks)
    trainer.fit(data, validation, **{"epochs": 5, "batch_size": len(data), "progress": False, **options})
    return trainer


def scripted(script: list[float], *callbacks: Any, epochs: int = 9) -> sa.Trainer:
    return run(Scripted(script), *callbacks, data=X[:1], validation=X[:1], epochs=epochs)


def autoencoder() -> sa.Autoencoder:
    return sa.Autoencoder.dense((16, 5, 3))


# --- early stopping -------------------------------------------------------------------------------

# losses per epoch, options -> epochs run, best epoch
SCRIPTS: dict[str, tuple[list[float], dict[str, Any], int, int]] = {
    "falling": ([9, 8, 7, 6, 5, 4, 3, 2, 1], {"patience": 1}, 9, 9),
    "one bad epoch": ([5, 4, 6, 3, 2, 1, 0, 0, 0], {"patience": 1}, 3, 2),
    "patience": ([5, 4, 6, 3, 7, 8, 9, 1, 0], {"patience": 3}, 7, 4),
    "the same is no better": ([5, 4, 4, 4, 4, 4, 4, 4, 4], {"patience": 3}, 5, 2),
    "rising": ([1, 2, 3, 4, 5, 6, 7, 8, 9], {"patience": 5}, 6, 1),
    "too little": ([5, 4.5, 4.1, 3.9, 3, 3, 3, 3, 3], {"patience": 3, "min_delta": 1.0}, 7, 4),
    "little by little": ([5, 4.8, 4.6, 4.4, 4.2, 3.8, 3.6, 3.4, 3.2], {"patience": 4, "min_delta": 1.0}, 5, 1),
    "below zero": ([0, -1, -2, -2, -3, -1, -1, -1, -1], {"patience": 2}, 7, 5),
    "nan": ([3, 2, np.nan, np.nan, 1, 1, 1, 1, 1], {"patience": 2}, 4, 2),
    "nan first": ([np.nan, 2, 3, 1, 1, 1, 1, 1, 1], {"patience": 2}, 6, 4),
    "no end in sight": ([1, 2, 3, 4, 5, 6, 7, 8, 9], {"patience": 20}, 9, 1),
}


@pytest.mark.parametrize("case", SCRIPTS)
@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping_waits_and_brings_the_best_epoch_back(case: str, restore: bool) -> None:
    script, options, epochs, best = SCRIPTS[case]
    stopper = sa.EarlyStopping(**options, restore_best=restore)
    told = pytest.warns(RuntimeWarning, match=r"epoch \d: val_loss is nan") if case.startswith("nan") else nullcontext()
    with told:
        trainer = scripted(script, stopper)
    assert len(trainer.history["val_loss"]) == epochs and trainer.stop == (case not in ("falling", "no end in sight"))
    assert (stopper.best_epoch, stopper.best) == (best, pytest.approx(script[best - 1], rel=1e-6))
    kept = best if restore else epochs
    assert trainer.model.w.data[0] == -kept and trainer.model.seen[0] == kept  # weights and buffers
    assert trainer.model.seen.dtype == np.int64


def test_a_second_fit_starts_anew() -> None:
    stopper = sa.EarlyStopping(patience=2)
    first = scripted([1, 2, 3, 4], stopper)
    assert (len(first.history["loss"]), stopper.best, first.model.w.data[0]) == (3, 1, -1)
    second = scripted([9, 8, 7, 8, 9, 9], stopper, epochs=6)
    assert (len(second.history["loss"]), stopper.best, stopper.best_epoch) == (5, 7, 3)
    assert second.model.w.data[0] == -3
    second.model.seen[0] = 0
    second.fit(X[:1], X[:1], epochs=2, batch_size=1, progress=False)  # of the same trainer, with what was restored
    assert (stopper.best, stopper.best_epoch) == (8, 2) and second.model.w.data[0] == -5 and not second.stop


def test_weights_and_running_statistics_of_the_best_epoch_come_back() -> None:
    states: list[list[bytes]] = []
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4))
    model = sa.Autoencoder(encoder, nn.Sequential(nn.Linear(4, 16)))
    stopper = sa.EarlyStopping("val_reconstruction", patience=2)
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    data = X.copy()

    def mislead(trainer: sa.Trainer, row: Any) -> None:
        states.append(bits(model))
        if len(states) == 4:
            data[...] = 1 - X

    sa.Trainer(model, optimizer, [Each(mislead), stopper]).fit(data, X, epochs=9, batch_size=4, progress=False)
    assert stopper.best_epoch == 4 and len(states) == 6
    assert bits(model) == states[3] != states[-1]
    assert sa.Trainer(model, optimizer).evaluate(X)["reconstruction"] == pytest.approx(stopper.best, rel=1e-6)


def test_other_numbers_can_be_watched_and_missing_ones_are_told() -> None:
    stopper = sa.EarlyStopping("loss", patience=1)
    run(model := autoencoder(), stopper, epochs=3)
    assert stopper.best_epoch >= 1
    for callback, name in (
        (sa.EarlyStopping(), "EarlyStopping: monitor='val_loss'"),
        (sa.Schedule(optim.ReduceOnPlateau(optim.SGD(model.parameters(), lr=0.1)), "val_loss"), "Schedule: monitor="),
    ):
        with pytest.raises(ValueError, match=f"{name}.*there is no validation; pass validation="):
            run(model, callback)
    with pytest.raises(ValueError, match="monitor='kl'; this run records loss, reconstruction, seconds, images_per_s"):
        run(model, sa.EarlyStopping("kl"))


@pytest.mark.parametrize("options", [{"patience": 0}, {"min_delta": -0.1}, {"min_delta": float("nan")}], ids=str)
def test_early_stopping_refuses_numbers_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^EarlyStopping: (patience|min_delta)=.*; expected a.* of at least [01]"):
        sa.EarlyStopping(**options)


def test_early_stopping_on_every_device(device: str) -> None:
    model = autoencoder().to(device)
    states: list[list[np.ndarray]] = []
    stopper = sa.EarlyStopping(patience=2)
    keep = Each(lambda trainer, row: states.append([p.numpy().copy() for p in model.parameters()]))
    run(model, keep, stopper, validation=X, epochs=3)
    for p, kept in zip(model.parameters(), states[stopper.best_epoch - 1], strict=True):
        np.testing.assert_array_equal(p.numpy(), kept)


# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pictures", [X[:2], X[:2].reshape(2, 16)], ids=["images", "flat"])
def test_snapshots_keep_and_draw_every_reconstruction(pictures: np.ndarray, tmp_path: Any) -> None:
    path, seen, sizes = tmp_path / "new" / "film.png", [], []
    model = autoencoder()
    before = model.reconstruct(pictures)

    def note(trainer: sa.Trainer, row: Any) -> None:
        seen.append(model.reconstruct(pictures))
        sizes.append(imread(path).shape if path.exists() else (0, 0))

    strip = sa.Snapshots(pictures, path, every=2)
    run(model, strip, Each(note), epochs=4)
    assert list(strip.frames) == ["original", "before", "epoch 2", "epoch 4"]
    wanted = [pictures, before, seen[1], seen[3]]
    for frame, array in zip(strip.frames.values(), wanted, strict=True):
        np.testing.assert_array_equal(frame, array)
    assert not np.array_equal(seen[1], seen[3])
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    heights = [size[0] for size in sizes]
    assert heights[0] == 0 < heights[1] == heights[2] < heights[3]  # a row more each time
    run(model, strip, epochs=3)
    assert list(strip.frames) == ["original", "before", "epoch 2", "epoch 3"]  # the last epoch too
    np.testing.assert_array_equal(strip.frames["before"], seen[3])
    np.testing.assert_array_equal(strip.frames["epoch 3"], model.reconstruct(pictures))


def test_the_last_row_is_of_the_last_epoch_also_where_earlier_weights_come_back(tmp_path: Any) -> None:
    seen: list[np.ndarray] = []
    model = autoencoder()
    strip = sa.Snapshots(X[:2], tmp_path / "film.png", every=100)
    stopper = sa.EarlyStopping(monitor="loss", patience=1, min_delta=10.0)
    run(model, stopper, Each(lambda trainer, row: seen.append(model.reconstruct(X[:2]))), strip, epochs=9)
    assert stopper.best_epoch == 1 and list(strip.frames) == ["original", "before", "epoch 2"]
    np.testing.assert_array_equal(strip.frames["epoch 2"], seen[1])
    np.testing.assert_array_equal(model.reconstruct(X[:2]), seen[0])


@pytest.mark.parametrize("every", [1, 2])
def test_a_denoiser_shows_noisy_denoised_and_clean_images(every: int, device: str, tmp_path: Any) -> None:
    pictures = (X[:2] * 255).astype(np.uint8)
    sa.manual_seed(0)
    model = sa.DenoisingAutoencoder.dense((16, 8), amount=0.2).to(device)
    strip = sa.Snapshots(pictures, tmp_path / "film.png", every)
    before = sa.random.random_state()
    strip.on_fit_begin(sa.Trainer(model, optim.SGD(model.parameters(), lr=0.0)))
    assert sa.random.random_state() == before
    first = strip.frames["noisy"]
    run(model, strip, epochs=3, data=pictures)
    epochs = ["epoch 1", "epoch 2", "epoch 3"][every - 1 :]
    assert list(strip.frames) == ["noisy", "before", *epochs, "clean"]
    noisy = strip.frames["noisy"]
    np.testing.assert_array_equal(noisy, first)
    assert 0.05 < abs(noisy - pictures / 255).mean() < 0.2 and strip.frames["clean"] is strip.images
    np.testing.assert_array_equal(strip.frames["epoch 3"], model.reconstruct(noisy))
    assert imread(tmp_path / "film.png").shape[0] > 100


def test_snapshots_of_series_are_lines(tmp_path: Any) -> None:
    series = np.random.default_rng(0).random((6, 10), np.float32)
    sa.manual_seed(0)
    model = sa.Autoencoder.dense((10, 3))
    run(model, sa.Snapshots(series[:3], tmp_path / "film.svg"), epochs=2, data=series)
    drawn = (tmp_path / "film.svg").read_text()
    assert all(f"<!-- {title} -->" in drawn for title in ("original", "before", "epoch 1", "epoch 2"))
    with pytest.raises(ValueError, match="Snapshots: series='yes'; expected True or False"):
        sa.Snapshots(series, tmp_path / "film.svg", series="yes")  # type: ignore[arg-type]


def test_snapshots_need_an_autoencoder_and_say_so_before_training(tmp_path: Any) -> None:
    model = Scripted([1.0])
    with pytest.raises(TypeError, match=r"Snapshots: Scripted has no reconstruct\(\); it is for autoencoders"):
        run(model, sa.Snapshots(X, tmp_path / "film.png"))
    assert model.seen[0] == 0
    with pytest.raises(ValueError, match="Snapshots: every=0; expected an integer of at least 1"):
        sa.Snapshots(X, tmp_path / "film.png", every=0)


# --- files ----------------------------------------------------------------------------------------


def test_the_history_is_on_disk_after_every_epoch(tmp_path: Any) -> None:
    table, object_ = tmp_path / "a" / "run.csv", tmp_path / "b" / "run.json"
    read: list[tuple[dict, dict]] = []

    def compare(trainer: sa.Trainer, row: Any) -> None:
        with open(table, newline="") as file:
            header, *rows = csv.reader(file)
        assert header == ["epoch", *trainer.history] and [int(r[0]) for r in rows] == [*range(1, len(rows) + 1)]
        columns = dict(zip(header[1:], zip(*([float(n) for n in r[1:]] for r in rows), strict=True), strict=True))
        assert {name: list(column) for name, column in columns.items()} == trainer.history
        assert json.loads(object_.read_text()) == trainer.history
        read.append((columns, dict(row)))

    trainer = run(autoencoder(), sa.SaveHistory(table), sa.SaveHistory(str(object_)), Each(compare), validation=X)
    assert len(read) == 5 and [row for _, row in read] == [
        {name: values[i] for name, values in trainer.history.items()} for i in range(5)
    ]
    run(autoencoder(), sa.SaveHistory(table), epochs=1)
    assert len(table.read_text().splitlines()) == 2  # the new run's history, not one appended


@pytest.mark.parametrize("path", ["run.txt", "run", "csv"])
def test_other_suffixes_are_refused_at_once(path: str) -> None:
    with pytest.raises(ValueError, match=rf"SaveHistory\('{path}'\): expected a name that ends in \.csv or \.json"):
        sa.SaveHistory(path)


# --- schedules ------------------------------------------------------------------------------------


def test_a_schedule_steps_once_per_epoch_with_its_number_where_it_follows_one() -> None:
    rates: list[float] = []
    model = Scripted([5, 4, 6, 6, 6, 3])
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    plateau = optim.ReduceOnPlateau(optimizer, factor=0.5, patience=1)
    note = Each(lambda trainer, row: rates.append(optimizer.lr))
    trainer = sa.Trainer(model, optimizer, [sa.Schedule(plateau, monitor="val_loss"), note])
    trainer.fit(X[:1], X[:1], epochs=6, batch_size=1, progress=False)
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5] and plateau.best == 3
    halving = sa.Schedule(optim.StepLR(optimizer, 1, 0.5))
    sa.Trainer(model, optimizer, [halving, note]).fit(X[:1], epochs=3, batch_size=1, progress=False)
    assert rates[6:] == [0.25, 0.125, 0.0625]


# --- when they are called -------------------------------------------------------------------------


class Diary(sa.Callback):
    """Writes down when it was called."""

    def __init__(self, name: str, pages: list[str], fail: str = ""):
        self.name, self.pages, self.fail = name, pages, fail

    def _note(self, moment: str, trainer: sa.Trainer) -> None:
        self.pages.append(f"{self.name} {moment} {len(trainer.history.get('loss', []))}")
        if moment == self.fail:
            raise KeyboardInterrupt

    def on_fit_begin(self, trainer: sa.Trainer) -> None:
        self._note("begin", trainer)

    def on_epoch_end(self, trainer: sa.Trainer, row: Any) -> None:
        self._note("epoch", trainer)

    def on_fit_end(self, trainer: sa.Trainer) -> None:
        self._note("end", trainer)


def test_every_moment_comes_once_and_in_order() -> None:
    pages: list[str] = []
    trainer = run(autoencoder(), Diary("a", pages), Diary("b", pages), epochs=2)
    wanted = ["begin 0", "epoch 1", "epoch 2", "end 2"]
    assert pages == [f"{name} {moment}" for moment in wanted for name in "ab"]
    pages.clear()
    trainer.fit(X, epochs=1, progress=False)
    assert pages == [f"{name} {moment}" for moment in ("begin 0", "epoch 1", "end 1") for name in "ab"]


def test_after_a_stop_training_has_ended_and_after_an_error_it_has_not() -> None:
    pages: list[str] = []

    def stop(trainer: sa.Trainer, row: Any) -> None:
        trainer.stop = True

    run(autoencoder(), Each(stop), Diary("a", pages))
    assert pages == ["a begin 0", "a epoch 1", "a end 1"]
    for moment, wanted in (("begin", ["a begin 0"]), ("epoch", ["a begin 0", "a epoch 1"])):
        pages.clear()
        with pytest.raises(KeyboardInterrupt):
            run(autoencoder(), Diary("a", pages, fail=moment))
        assert pages == wanted
    pages.clear()
    bad = X.copy()
    bad[3] = np.nan
    with pytest.raises(FloatingPointError):
        run(autoencoder(), Diary("a", pages), data=bad)
    assert pages == ["a begin 0"]


def test_mistakes_in_the_data_are_found_before_any_callback_is_told() -> None:
    pages: list[str] = []
    for data, options in ((X[:0], {}), (X, {"validation": X[:0]}), (X, {"epochs": 0})):
        with pytest.raises(ValueError):
            run(autoencoder(), Diary("a", pages), data=data, batch_size=4, **options)
    assert pages == []


def test_a_plain_callback_does_nothing_and_an_object_without_the_moment_is_refused() -> None:
    assert len(run(autoencoder(), sa.Callback()).history["loss"]) == 5
    pages: list[Any] = []
    like_one = type("Writer", (), {"on_epoch_end": lambda self, trainer, row: pages.append(row)})
    assert run(autoencoder(), like_one()).history["loss"] == [row["loss"] for row in pages]
    with pytest.raises(TypeError, match=r"callback object has no on_epoch_end\(\); derive it from sa.Callback"):
        run(autoencoder(), object())
