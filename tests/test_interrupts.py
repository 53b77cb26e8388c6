"""Signals that are held back: what becomes of them in each way out of the block."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae.files.interrupts import HELD, HeldSignals

ENDS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: SystemExit}


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """Every test begins and ends with the handlers that Python starts with, which a block must put back."""
    before = [signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGTERM, signal.SIG_DFL)]
    yield
    for number, handler in zip(HELD, before, strict=True):
        signal.signal(number, handler)


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in HELD]


def check_end(error: BaseException, number: int) -> None:
    assert type(error) is ENDS[signal.Signals(number)]
    assert not isinstance(error, SystemExit) or error.code == 143


# --- the ways out of the block --------------------------------------------------------------------


@pytest.mark.parametrize("number", HELD)
def test_a_signal_is_noted_and_acts_at_the_end(number: int) -> None:
    before, reached = handlers(), []
    with pytest.raises(ENDS[signal.Signals(number)]) as caught:
        with HeldSignals() as signals:
            signal.raise_signal(number)
            reached.append(signals.pending)
    assert reached == [number] and handlers() == before
    check_end(caught.value, number)


@pytest.mark.parametrize("number", HELD)
@pytest.mark.parametrize(
    "error", [ValueError("x"), FloatingPointError("y"), KeyboardInterrupt(), SystemExit(3)], ids=repr
)
def test_an_exception_that_is_caught_outside_hides_no_signal(number: int, error: BaseException) -> None:
    with pytest.raises(ENDS[signal.Signals(number)]) as caught:
        try:
            with HeldSignals():
                signal.raise_signal(number)
                raise error
        except (ValueError, FloatingPointError):
            pass
    assert caught.value is not error and caught.value.__cause__ is error
    check_end(caught.value, number)


@pytest.mark.parametrize("number", HELD)
def test_the_end_that_a_signal_asked_for_is_not_asked_for_twice(number: int) -> None:
    with pytest.raises(ENDS[signal.Signals(number)]) as caught:
        with HeldSignals() as signals:
            signal.raise_signal(number)
            signals.act()
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    check_end(caught.value, number)


@pytest.mark.parametrize("second", HELD)
@pytest.mark.parametrize("first", HELD)
def test_a_second_signal_acts_at_once_and_is_not_lost_where_it_is_caught(first: int, second: int) -> None:
    reached = []
    with pytest.raises(ENDS[signal.Signals(second)]):
        with HeldSignals() as signals:
            signal.raise_signal(first)
            with pytest.raises(ENDS[signal.Signals(second)]):
                signal.raise_signal(second)
            reached.append(signals.pending)
    assert reached == [second]


def test_an_error_while_the_second_signal_is_on_its_way_does_not_replace_it() -> None:
    with pytest.raises(SystemExit) as caught:
        with HeldSignals():
            try:
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGTERM)
            finally:
                raise ValueError("while cleaning up")
    assert caught.value.code == 143 and isinstance(caught.value.__cause__, ValueError)


# --- handlers of the script's own -----------------------------------------------------------------


@pytest.mark.parametrize("number", HELD)
def test_a_handler_of_the_scripts_own_is_called_once_and_may_return(number: int) -> None:
    calls: list[Any] = []
    signal.signal(number, mine := lambda *arguments: calls.append(arguments))
    with HeldSignals() as signals:
        signal.raise_signal(number)
        assert calls == []
        signals.act()
        assert calls == [(number, None)] and signals.pending is None
        signal.raise_signal(number)
        assert len(calls) == 1
    assert len(calls) == 2 and signal.getsignal(number) is mine


@pytest.mark.parametrize("number", HELD)
def test_a_handler_of_the_scripts_own_may_raise(number: int) -> None:
    class Preempted(Exception):
        pass

    def handler(number: int, frame: Any) -> None:
        raise Preempted(number)

    signal.signal(number, handler)
    with pytest.raises(Preempted) as caught:
        with HeldSignals():
            signal.raise_signal(number)
            raise ValueError("as well")
    assert caught.value.args == (number,) and isinstance(caught.value.__context__, ValueError)
    assert signal.getsignal(number) is handler


def test_what_is_ignored_stays_ignored() -> None:
    for number in HELD:
        signal.signal(number, signal.SIG_IGN)
    with HeldSignals() as signals:
        for number in HELD:
            signal.raise_signal(number)
    assert signals.pending is None and handlers() == [signal.SIG_IGN] * 2


@pytest.mark.parametrize("mine", [signal.SIG_IGN, signal.SIG_DFL, lambda number, frame: None], ids=str)
def test_a_handler_set_inside_the_block_stays(mine: Any) -> None:
    with HeldSignals():
        signal.signal(signal.SIGTERM, mine)
    assert handlers() == [signal.default_int_handler, mine]


def test_a_handler_set_and_put_back_inside_the_block_is_the_blocks_again() -> None:
    with pytest.raises(KeyboardInterrupt), HeldSignals() as signals:
        held = signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.raise_signal(signal.SIGINT)
        assert signals.pending is None
        signal.signal(signal.SIGINT, held)
        signal.raise_signal(signal.SIGINT)
        assert signals.pending == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("number", HELD)
def test_the_blocks_handler_put_back_after_the_block_holds_nothing_back(number: int) -> None:
    with HeldSignals():
        held = signal.getsignal(number)
    signal.signal(number, held)
    with pytest.raises(ENDS[signal.Signals(number)]):
        signal.raise_signal(number)


# --- one in another, threads ----------------------------------------------------------------------


@pytest.mark.parametrize("number", HELD)
def test_the_inner_one_ends_both(number: int) -> None:
    before, reached = handlers(), []
    with pytest.raises(ENDS[signal.Signals(number)]) as caught:
        with HeldSignals() as outer:
            around = handlers()
            with HeldSignals() as inner:
                signal.raise_signal(number)
                reached.append((outer.pending, inner.pending))
            reached.append("between")
    assert reached == [(None, number)] and around != before == handlers()
    check_end(caught.value, number)


def test_an_end_of_the_inner_one_that_is_caught_is_no_end_of_the_outer_one() -> None:
    with HeldSignals() as outer:
        around = handlers()
        with pytest.raises(KeyboardInterrupt), HeldSignals():
            signal.raise_signal(signal.SIGINT)
        assert handlers() == around and outer.pending is None


def test_the_inner_one_calls_the_scripts_own_handler() -> None:
    calls: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: calls.append(number))
    with HeldSignals(), HeldSignals(), HeldSignals():
        signal.raise_signal(signal.SIGTERM)
        assert calls == []
    assert calls == [signal.SIGTERM]


def test_in_another_thread_nothing_is_held() -> None:
    before, inside = handlers(), []

    def hold() -> None:
        with HeldSignals() as signals:
            inside.append((handlers(), signals.pending))

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert inside == [(before, None)] and handlers() == before


# --- training -------------------------------------------------------------------------------------


class At(sa.Callback):
    def __init__(self, act: Any):
        self.act = act

    def on_epoch_end(self, trainer: Any, row: dict) -> None:
        self.act()


def fit(act: Any, **options: Any) -> sa.History:
    model = sa.Autoencoder.dense((6, 2))
    trainer = sa.Trainer(model, sa.optim.Adam(model.parameters()), [At(act)])
    return trainer.fit(np.ones((8, 6), np.float32) / 2, progress=False, **options)


def test_a_callback_that_fails_after_the_signal_hides_it_not(tmp_path: Path) -> None:
    def act() -> None:
        signal.raise_signal(signal.SIGTERM)
        raise OSError("no space for the picture")

    with pytest.raises(SystemExit) as caught:
        try:
            fit(act, checkpoint=tmp_path / "run")
        except OSError:
            pass
    assert caught.value.code == 143 and "picture" in str(caught.value.__cause__)
    assert (tmp_path / "run").exists()


@pytest.mark.parametrize("step", [0, 3, 4, 9])
def test_a_script_with_a_handler_of_its_own_decides_itself_whether_training_goes_on(step: int, tmp_path: Path) -> None:
    calls: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: calls.append(number))

    def run(path: Path | None = None) -> tuple[sa.History, np.ndarray]:
        sa.manual_seed(0)
        model = sa.Autoencoder.dense((6, 2))
        trainer, steps = sa.Trainer(model, sa.optim.Adam(model.parameters())), iter(range(100))
        update = trainer.optimizer.step

        def step_and_signal() -> None:
            if next(steps) == step and path is not None:
                signal.raise_signal(signal.SIGTERM)
            update()

        trainer.optimizer.step = step_and_signal  # type: ignore[method-assign]
        x = np.random.default_rng(0).random((40, 6), np.float32)
        history = trainer.fit(x, epochs=2, batch_size=8, progress=False, checkpoint=path)
        return history["loss"], model.encoder[1].weight.data.copy()

    (losses, weights), (undisturbed, wanted) = run(tmp_path / "run"), run()
    assert calls == [signal.SIGTERM] and losses == undisturbed and (weights == wanted).all()


@pytest.mark.parametrize("batch", range(4))
def test_a_handler_that_comes_back_during_the_validation_costs_none_of_it(batch: int) -> None:
    calls: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: calls.append(number))
    x = np.random.default_rng(0).random((40, 6), np.float32)

    def run(interrupted: bool) -> sa.History:
        sa.manual_seed(0)
        model = sa.Autoencoder.dense((6, 2))
        trainer, looks = sa.Trainer(model, sa.optim.Adam(model.parameters())), iter(range(100))
        terms = trainer._terms

        def terms_and_signal(inputs: Any) -> Any:
            if not model.training and next(looks) == batch and interrupted:
                signal.raise_signal(signal.SIGTERM)
            return terms(inputs)

        trainer._terms = terms_and_signal  # type: ignore[method-assign]
        return trainer.fit(x, validation=x, epochs=2, batch_size=12, progress=False)

    history, undisturbed = run(True), run(False)
    assert calls == [signal.SIGTERM]
    assert (history["loss"], history["val_loss"]) == (undisturbed["loss"], undisturbed["val_loss"])
