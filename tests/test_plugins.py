"""Plug-ins of a training step: callbacks at the moments of a step, and the order of all plug-ins."""

from __future__ import annotations

import ast
import contextlib
import importlib
import signal
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import plugins
from scratchae.autograd import products

X = np.random.default_rng(0).random((40, 6), np.float32)


def trainer_of(*callbacks: Any, **options: Any) -> sa.Trainer:
    sa.manual_seed(0)
    model = sa.Autoencoder.dense((6, 3))
    return sa.Trainer(model, sa.optim.SGD(model.parameters(), lr=0.1), callbacks, **options)


class GradientNorms(sa.Callback):
    """The callback of `Callback`'s docstring."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def after_backward(self, run: Any) -> None:
        squares = sum(float((g * g).sum()) for g in run.trainer.optimizer.gradients())
        self.norms.append(squares**0.5)


def test_a_callback_logs_the_norm_of_each_steps_gradients() -> None:
    log = GradientNorms()
    trainer = trainer_of(log)
    trainer.fit(X, epochs=2, batch_size=16, progress=False)
    assert len(log.norms) == 6
    last = np.concatenate([p.grad.ravel() for p in trainer.model.parameters()])  # type: ignore[union-attr]
    assert log.norms[-1] == pytest.approx(np.linalg.norm(last), rel=1e-6)


def test_a_callback_sees_gradients_before_they_are_clipped() -> None:
    free, clipped = GradientNorms(), GradientNorms()
    trainer_of(free).fit(X, batch_size=40, progress=False)
    trainer_of(clipped, clip_grad_norm=1e-3).fit(X, batch_size=40, progress=False)
    assert clipped.norms == free.norms and free.norms[0] > 1e-3


class Everything(sa.Callback):
    """Notes the moments of a step. Methods of other moments' names are its own business."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    @contextlib.contextmanager
    def around_step(self, run: Any) -> Iterator[None]:
        self.seen.append(f"before step {run.step + 1}")
        yield
        self.seen.append("around")

    def after_forward(self, run: Any) -> None:
        assert run.loss.item() == pytest.approx(sum(run.numbers.values()))
        self.seen.append("forward")

    def after_backward(self, run: Any) -> None:
        self.seen.append("backward")

    def after_step(self, run: Any) -> None:
        self.seen.append("step")

    def save(self, path: str) -> None:
        raise AssertionError

    begin = end = between_steps = save


def test_the_moments_of_a_step_come_in_order() -> None:
    notes = Everything()
    trainer_of(notes).fit(X, batch_size=20, validation=X, progress=False)
    moments = ["forward", "backward", "around", "step"]
    assert notes.seen == ["before step 1", *moments, "before step 2", *moments]


def test_an_error_in_a_moment_leaves_the_weights() -> None:
    class Odd(sa.Callback):
        def after_backward(self, run: Any) -> None:
            raise ArithmeticError("no")

    trainer = trainer_of(Odd())
    before = trainer.model.state_dict()
    with pytest.raises(ArithmeticError, match="no"):
        trainer.fit(X, progress=False)
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_all_plug_ins_are_attached_in_the_order_that_one_place_says() -> None:
    importlib.import_module("scratchae.gpu.attach")  # as the first array on a GPU does
    trainer = trainer_of(GradientNorms(), clip_grad_norm=1.0, metrics={"mae": F.l1_loss}, accumulate=2)
    run = plugins.Run(trainer, sa.DataLoader(X, 8), epochs=1, progress=True, checkpoint="run", checkpoint_every=None,
                      resume=False, sample_weight=np.ones(40))  # fmt: skip
    kinds = [type(plugin).__name__ for plugins_of in plugins.ORDER.values() for plugin in plugins_of(run)]
    assert kinds == [
        "Alone", "Weights", "Metrics", "Signals", "Replay", "Finite", "Accumulate", "SimpleNamespace", "Clip",
        "Checkpoint", "Progress",
    ]  # fmt: skip


def test_without_the_guards_nothing_looks_for_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plugins.ORDER, "finite", lambda run: [])
    history = trainer_of().fit(np.full_like(X, np.nan), progress=False)
    assert np.isnan(history["loss"]).all()


@pytest.mark.parametrize("name", ["training", "plugins", "callbacks", "history", "guards", "progress"])
def test_training_imports_no_optional_room(name: str) -> None:
    tree = ast.parse((Path(sa.__file__).parent / f"{name}.py").read_text())
    names = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    names += [alias.name for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom)) for alias in n.names]
    rooms = {"files", "distributed", "gpu", "plotting", "debug", "fast", "interop", "more", "explorer"}
    assert not rooms & {part for name in names for part in name.split(".")}


@pytest.mark.parametrize(
    ("operation", "start", "most"),
    [(products.linear, "fit", 12), (products.sum_rows, "backward", 9)],
)
def test_numpy_is_a_few_frames_below(
    operation: Any, start: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The formula of the layer, which calls NumPy, is the last frame."""
    found: list[list[str]] = []
    formula = operation.op.forward

    def counting(*args: Any) -> Any:
        frames = [f.name for f in traceback.extract_stack()]
        found.append(frames[frames.index(start) :])
        return formula(*args)

    monkeypatch.setattr(operation.op, "forward", counting)
    trainer_of().fit(X, progress=False)
    assert found[0][-2:] == ["call", "counting"] and len(found[0]) <= most
    assert start != "fit" or found[0][:3] == ["fit", "_epoch", "_step"]


class Counting:
    """A plug-in with a state."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def after_step(self, run: plugins.Run) -> None:
        self.steps.append(run.step + 1)
        if len(self.steps) == self.fails_after:
            raise KeyboardInterrupt

    fails_after = -1

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = list(state["steps"])


def test_a_plug_in_keeps_its_state_in_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Counting] = []
    monkeypatch.setitem(plugins.ORDER, "counting", lambda run: made.append(Counting()) or made[-1:])  # type: ignore[func-returns-value]
    run = {"epochs": 3, "batch_size": 8, "progress": False, "checkpoint": tmp_path / "run.safetensors"}
    trainer_of().fit(X, **run, checkpoint_every=1)
    whole = made[-1].steps
    (tmp_path / "run.safetensors").unlink()
    monkeypatch.setattr(Counting, "fails_after", len(whole) // 3)
    with pytest.raises(KeyboardInterrupt):
        trainer_of().fit(X, **run)
    monkeypatch.setattr(Counting, "fails_after", -1)
    trainer_of().fit(X, **run, resume=True)
    assert made[-1].steps == whole
    monkeypatch.delitem(plugins.ORDER, "counting")
    with pytest.raises(ValueError, match=r"its plug-ins with a state are \['Counting'\], those of this run \[\]"):
        trainer_of().fit(X, **(run | {"epochs": 4}), resume=True)


def test_callbacks_that_change_the_list_are_told_as_the_list_was_before_them() -> None:
    told: list[str] = []

    class Logging(sa.Callback):
        def on_epoch_end(self, trainer: sa.Trainer, row: Any) -> None:
            told.append("log")

    class Once(sa.Callback):
        def on_epoch_end(self, trainer: sa.Trainer, row: Any) -> None:
            told.append("once")
            trainer.callbacks.remove(self)

    trainer_of(Once(), Logging()).fit(X, epochs=2, progress=False)
    assert told == ["once", "log", "log"]


def test_an_attribute_named_after_a_moment_is_no_method() -> None:
    log = GradientNorms()
    log.after_step = 3  # type: ignore[attr-defined]
    trainer_of(log, Mock()).fit(X, batch_size=8, progress=False)
    assert len(log.norms) == 5


def test_a_signal_that_a_script_handles_leaves_later_plug_ins_their_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []

    class Raising(sa.Callback):
        def after_step(self, run: Any) -> None:
            if run.step == 1:
                signal.raise_signal(signal.SIGTERM)

    noting = SimpleNamespace(between_steps=lambda run: batches.append(run.batch))
    monkeypatch.setitem(plugins.ORDER, "progress", lambda run: [noting])
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        trainer_of(Raising()).fit(X, batch_size=10)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert batches == [1, 2, 3, 4]


class Mine(FloatingPointError):
    """An error of the user's own."""


def test_an_error_of_a_callback_leaves_fit_as_it_is(tmp_path: Path) -> None:
    class Failing(sa.Callback):
        def on_epoch_end(self, trainer: sa.Trainer, row: Any) -> None:
            if len(trainer.history["loss"]) == 2:
                raise Mine("my own")

    with pytest.raises(Mine, match="^my own$") as caught:
        trainer_of(Failing()).fit(X, epochs=3, checkpoint=tmp_path / "run.safetensors", progress=False)
    assert traceback.extract_tb(caught.tb)[-1].name == "on_epoch_end"


def test_the_error_of_a_fit_inside_a_callback_names_one_checkpoint(tmp_path: Path) -> None:
    class Nested(sa.Callback):
        def on_epoch_end(self, trainer: sa.Trainer, row: Any) -> None:
            bad = np.concatenate([X, np.full((8, 6), np.nan, np.float32)])
            run = {"checkpoint": tmp_path / "inner.safetensors", "checkpoint_every": 1, "progress": False}
            trainer_of(loss=F.mse_loss).fit((bad, bad), batch_size=8, shuffle=False, **run)

    with pytest.raises(FloatingPointError, match="not finite") as caught:
        trainer_of(Nested()).fit(X, epochs=3, checkpoint=tmp_path / "outer.safetensors", progress=False)
    assert str(caught.value).count("last good checkpoint") == 1
    assert "inner.safetensors, of step 5" in str(caught.value)


def test_a_loader_that_filters_its_batches_is_weighted_by_their_lengths() -> None:
    class Bright(sa.DataLoader):
        def __iter__(self) -> Iterator[Any]:
            return (batch[batch[:, 0] > 0.5] for batch in super().__iter__())

    trainer = trainer_of(loss=None)
    bright = X[X[:, 0] > 0.5]
    wanted = trainer.evaluate(bright)["loss"]
    np.testing.assert_allclose(trainer.evaluate(Bright(X, 16))["loss"], wanted, rtol=1e-6)


def test_the_loss_of_a_part_in_one_process_is_the_mean_of_the_part() -> None:
    loader = sa.DataLoader(X, 16)
    loader.part = (0, 2)
    trainer = trainer_of()
    before = trainer.evaluate(loader)["loss"]
    trainer.optimizer.lr = 0.0
    np.testing.assert_allclose(trainer.fit(loader, progress=False)["loss"], [before], rtol=1e-6)
