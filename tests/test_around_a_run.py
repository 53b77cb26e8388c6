"""What goes on around a run: other threads and runs, streams that fail, clocks that stand, modes, and odd data."""

from __future__ import annotations

import io
import math
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim

X = np.random.default_rng(0).random((64, 6)).astype(np.float32)


def dropping() -> nn.Module:
    sa.manual_seed(0)
    half = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    return sa.Autoencoder(half, nn.Linear(4, 6))


def trainer_of(model: nn.Module, *callbacks: Any, **options: Any) -> sa.Trainer:
    return sa.Trainer(model, optim.Adam(model.parameters(), lr=0.01), callbacks, **options)


def assert_same(a: nn.Module, b: nn.Module) -> None:
    for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True):
        np.testing.assert_array_equal(x, y)


class EachEpoch(sa.Callback):
    def __init__(self, act: Any):
        self.act = act

    def on_epoch_end(self, trainer: Any, row: Any) -> None:
        self.act(trainer)


# --- modes ----------------------------------------------------------------------------------------


def test_a_frozen_encoder_in_eval_mode_stays_what_it_is() -> None:
    model = dropping()
    model.encoder.requires_grad_(False).eval()
    codes, mean = model.transform(X), model.encoder[1].running_mean.copy()
    sa.Trainer(model, optim.Adam(model.decoder.parameters())).fit(X, validation=X, epochs=3, progress=False)
    np.testing.assert_array_equal(model.transform(X), codes)
    np.testing.assert_array_equal(model.encoder[1].running_mean, mean)
    assert not any(m.training for m in model.encoder.modules()) and model.decoder.training


@pytest.mark.parametrize("rest", ["frozen", "eval", "neither"])
def test_one_switch_alone_is_no_rest(rest: str) -> None:
    model = dropping()
    if rest == "frozen":
        model.encoder.requires_grad_(False)
    if rest == "eval":
        model.eval()
    mean = model.encoder[1].running_mean.copy()
    trainer_of(model).fit(X, progress=False)
    assert all(m.training for m in model.modules()) and (model.encoder[1].running_mean != mean).all()


def test_a_callback_that_leaves_eval_mode_does_not_change_the_next_epoch() -> None:
    models = [dropping(), dropping()]
    for model, act in zip(models, (lambda t: t.model.eval(), lambda t: None), strict=True):
        sa.manual_seed(1)
        trainer_of(model, EachEpoch(act)).fit(X, epochs=3, progress=False)
    assert_same(*models)


# --- two at once ----------------------------------------------------------------------------------


def test_reconstructing_in_another_thread_does_not_touch_the_training() -> None:
    alone, watched = dropping(), dropping()
    sa.manual_seed(1)
    trainer_of(alone).fit(X, epochs=20, batch_size=8, progress=False)
    sa.manual_seed(1)
    done, pictures = threading.Event(), []

    def look() -> None:
        while not done.is_set():
            pictures.append(watched.reconstruct(X[:4]).shape)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        trainer_of(watched).fit(X, epochs=20, batch_size=8, progress=False)
    finally:
        done.set()
        thread.join()
    assert pictures and set(pictures) == {(4, 6)}
    assert_same(alone, watched)


def test_layers_are_found_although_an_attribute_is_set_meanwhile() -> None:
    """As another thread may do. Here the look at one attribute does, which needs no luck to happen."""
    layers = nn.Sequential(nn.ReLU(), nn.Tanh())

    class Setting:
        @property
        def __class__(self) -> type:
            layers.note = 1  # type: ignore[attr-defined]
            return Setting

    layers.odd = Setting()  # type: ignore[attr-defined]
    layers.last = nn.Sigmoid()  # type: ignore[attr-defined]
    assert [type(layer).__name__ for layer in layers] == ["ReLU", "Tanh", "Sigmoid"]


def test_two_fits_share_one_loader_without_disturbing_each_other() -> None:
    def loader() -> sa.DataLoader:
        return sa.DataLoader(X, 8, shuffle=True, seed=1)

    alone, outer, shared = dropping(), dropping(), loader()
    sa.manual_seed(1)
    trainer_of(alone).fit(loader(), epochs=4, progress=False)

    def nested(trainer: Any) -> None:
        state, other = sa.random.random_state(), dropping()
        trainer_of(other).fit(shared, epochs=2, progress=False)
        next(iter(shared))
        sa.random.set_random_state(state)

    sa.manual_seed(1)
    trainer_of(outer, EachEpoch(nested)).fit(shared, epochs=4, progress=False)
    assert_same(alone, outer)


def test_a_model_in_training_is_not_trained_by_another_fit() -> None:
    model = dropping()
    again = EachEpoch(lambda trainer: trainer_of(model).fit(X, progress=False))
    with pytest.raises(RuntimeError, match="this Autoencoder is in training already"):
        trainer_of(model, again).fit(X, epochs=2, progress=False)
    trainer_of(model).fit(X, progress=False)  # and afterwards it may be


def test_a_checkpoint_belongs_to_one_run_at_a_time(tmp_path: Path) -> None:
    path, other = tmp_path / "run", dropping()
    options: dict = {"checkpoint": path, "progress": False}
    second = EachEpoch(lambda trainer: trainer_of(other).fit(X, **options))
    with pytest.raises(OSError, match="run") as caught:
        trainer_of(dropping(), second).fit(X, **options)
    assert type(caught.value).__name__ == "FileInUse"
    trainer_of(other).fit(X, epochs=2, **options)
    assert [f.name for f in tmp_path.iterdir()] == ["run"]


# --- streams and clocks ---------------------------------------------------------------------------


class Broken(io.StringIO):
    def __init__(self, error: Exception):
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space left"),
                                   ValueError("I/O operation on closed file")], ids=repr)  # fmt: skip
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_that_cannot_be_written_does_not_end_the_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stream: str, error: Exception
) -> None:
    monkeypatch.setattr(sys, stream, Broken(error))
    history = trainer_of(dropping()).fit(X, epochs=3, checkpoint=tmp_path / "run")
    monkeypatch.undo()
    assert len(history["loss"]) == 3 and (tmp_path / "run").exists()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_program_without_a_console_trains(monkeypatch: pytest.MonkeyPatch, stream: str) -> None:
    monkeypatch.setattr(sys, stream, None)
    assert len(trainer_of(dropping()).fit(X, epochs=2)["loss"]) == 2


@pytest.mark.parametrize("step", [0.0, -1.0])
def test_a_clock_that_stands_still_or_goes_back_does_not_end_the_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: float
) -> None:
    now = [1000.0]

    def clock() -> float:
        now[0] += step
        return now[0]

    monkeypatch.setattr(time, "perf_counter", clock)
    for epochs in (1, 2):
        history = trainer_of(dropping()).fit(X, epochs=epochs, checkpoint=tmp_path / "run", resume=True, progress=False)
    assert history["seconds"] == [0.0, 0.0] and all(map(math.isnan, history["images_per_second"]))


# --- data and losses ------------------------------------------------------------------------------


def test_a_nan_in_the_validation_is_told_once_with_epoch_and_term() -> None:
    odd = X.copy()
    odd[0, 0] = np.nan
    with pytest.warns(RuntimeWarning) as caught:
        history = trainer_of(dropping()).fit(X, validation=odd, epochs=3, progress=False)
    (warning,) = caught
    assert str(warning.message).startswith("epoch 1: val_loss is nan, val_reconstruction is nan")
    assert warning.filename == __file__
    assert np.isnan(history["val_loss"]).all() and np.isfinite(history["loss"]).all()


NOT_A_LOSS = {
    "a float": (lambda y, t: F.mse_loss(y, t).item(), TypeError, r"the loss term 'loss' is a float.*\.item\(\)"),
    "an array": (lambda y, t: F.mse_loss(y, t).numpy(), TypeError, "is a ndarray"),
    "one for each sample": (lambda y, t: F.mse_loss(y, t, "none"), ValueError, r"shape \(64, 6\); reduce it"),
    "nothing": (lambda y, t: None, TypeError, "is a NoneType"),
}


@pytest.mark.parametrize("name", NOT_A_LOSS)
def test_a_loss_that_is_no_tensor_of_one_number_is_named(name: str) -> None:
    loss, error, told = NOT_A_LOSS[name]
    model = nn.Linear(6, 6)
    with pytest.raises(error, match=told):
        trainer_of(model, loss=loss).fit((X, X), progress=False)


def test_terms_that_are_no_dict_are_named() -> None:
    class Odd(sa.Autoencoder):
        def loss_terms(self, x: Any, target: Any = None) -> Any:
            return self.distance(self(x), x)

    with pytest.raises(TypeError, match="loss_terms gave Tensor; expected a dict"):
        trainer_of(Odd(nn.Linear(6, 2), nn.Linear(2, 6))).fit(X, progress=False)


def test_a_list_of_samples_is_named_before_training() -> None:
    with pytest.raises(TypeError, match=r"a list of 64; expected an array.*np.stack"):
        trainer_of(dropping()).fit(list(X), progress=False)


def test_data_of_the_other_byte_order_train_as_native_ones() -> None:
    models = [dropping(), dropping()]
    for model, data in zip(models, (X, X.astype(">f4")), strict=True):
        sa.manual_seed(1)
        trainer_of(model).fit(data, validation=data, epochs=2, progress=False)
        np.testing.assert_array_equal(model.reconstruct(data), model.reconstruct(X))
    assert_same(*models)


@pytest.mark.parametrize("data", [np.ma.masked_array(X, X > 2), X.astype(complex), X.astype(object), "text", {"a": X}],
                         ids=lambda d: type(d).__name__ + str(getattr(d, "dtype", "")))  # fmt: skip
def test_foreign_data_are_named(data: Any) -> None:
    for call in (trainer_of(dropping()).fit, trainer_of(dropping()).evaluate):
        with pytest.raises(TypeError, match="DataLoader: the data is"):
            call(data)
