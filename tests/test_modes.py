"""Train and eval mode: the module's own switch, and a look in eval mode that belongs to the thread that looks."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import nn, optim
from scratchae.nn.module import evaluating

X = np.random.default_rng(0).random((320, 6), dtype=np.float32)


def modes(model: nn.Module) -> list[bool]:
    return [m.training for m in model.modules()]


def model_with_dropout() -> sa.Autoencoder:
    encoder = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    return sa.Autoencoder(encoder, nn.Linear(2, 6))


# --- in one thread --------------------------------------------------------------------------------


def test_evaluating_hides_the_switches_and_flips_none() -> None:
    model = model_with_dropout()
    model.encoder[1].eval()
    before, held = modes(model), [dict(vars(m)) for m in model.modules()]
    with evaluating(model):
        assert not any(modes(model)) and [dict(vars(m)) for m in model.modules()] == held
        with evaluating(model.encoder):
            assert not any(modes(model))
        assert not any(modes(model))
        with pytest.raises(RuntimeError), evaluating(model):
            raise RuntimeError
        assert not any(modes(model))
    assert modes(model) == before and before.count(False) == 1


def test_blocks_may_be_left_in_another_order_than_entered() -> None:
    model = model_with_dropout()
    first, second = evaluating(model), evaluating(model.encoder)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert model.training and not any(modes(model.encoder))
    second.__exit__(None, None, None)
    assert all(modes(model))


def test_train_inside_evaluating_shows_when_the_block_has_ended() -> None:
    model = model_with_dropout().eval()
    with evaluating(model):
        model.encoder.train()
        model.decoder.training = True
        assert not any(modes(model))
    assert modes(model) == [False, True, True, True, True, True, True]
    with evaluating(model):
        model.eval()
    assert not any(modes(model))


def test_modules_that_come_and_go_meanwhile_have_their_own_switch() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))
    with evaluating(model):
        model.late = late = nn.Dropout(0.5)
        gone = model[1]
        del model.__dict__["1"]
        assert late.training and not gone.training
    assert late.training and gone.training and all(modes(model))


def test_a_class_or_a_constructor_says_how_its_modules_start() -> None:
    class Frozen(nn.Module):
        training = False

    class Mixin:
        training = False

    class Mixed(Mixin, nn.Dropout):
        pass

    class Own(nn.Module):
        def __init__(self) -> None:
            self.training = False

    for module in (Frozen(), Mixed(0.5), Own()):
        assert not module.training
        assert module.train().training and vars(module)["training"] is True
        with evaluating(module):
            assert not module.training
        assert module.training and not module.eval().training
    assert nn.Dropout(0.5).training and type("Sub", (Frozen,), {})().training is False


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_made_inside_evaluating_has_the_switches(way: Any) -> None:
    model = model_with_dropout()
    model.encoder.eval()
    with evaluating(model):
        twin = way(model)
    assert modes(twin) == modes(model) == [True, False, False, False, False, False, True]
    assert "training" not in vars(model) and vars(model.encoder)["training"] is False


@pytest.mark.parametrize("mode", ["yes", 1, 0, None, [True], np.ones(2)])
def test_a_mode_is_true_or_false(mode: Any) -> None:
    model = model_with_dropout()
    with pytest.raises(ValueError, match="mode=.*; expected True or False"):
        model.train(mode)
    with pytest.raises(ValueError, match="Sequential: training=.*; expected True or False"):
        model.encoder.training = mode
    with pytest.raises(ValueError, match="wanted=.*; expected True or False"):
        model.requires_grad_(mode)
    assert all(modes(model)) and all(p.requires_grad for p in model.parameters())
    assert not model.train(np.False_).training


# --- in several -----------------------------------------------------------------------------------


def test_evaluating_in_one_thread_is_none_of_the_others_business() -> None:
    model, seen = model_with_dropout(), []
    entered, done = threading.Event(), threading.Event()

    def look() -> None:
        with evaluating(model):
            entered.set()
            done.wait(10)
            seen.append(any(modes(model)))

    thread = threading.Thread(target=look)
    thread.start()
    entered.wait(10)
    assert all(modes(model))
    with evaluating(model):
        assert not any(modes(model))
    model.train(False)
    done.set()
    thread.join()
    assert seen == [False] and not any(modes(model))


def test_reconstructing_while_another_thread_trains_changes_no_step() -> None:
    class Spy(nn.Module):
        def __init__(self) -> None:
            self.seen: list[tuple[bool, bool]] = []

        def forward(self, x: Any) -> Any:
            self.seen.append((threading.current_thread() is threading.main_thread(), self.training))
            return x

    def fitted(beside: bool) -> tuple[list[bytes], set[tuple[bool, bool]]]:
        sa.manual_seed(0)
        model, spy, over = model_with_dropout(), Spy(), threading.Event()
        model.encoder = nn.Sequential(*model.encoder, spy)

        def look() -> None:
            while not over.is_set():
                model.reconstruct(X[:20])

        thread = threading.Thread(target=look)
        if beside:
            thread.start()
        sa.Trainer(model, optim.Adam(model.parameters())).fit(X, epochs=5, batch_size=5, progress=False)
        over.set()
        if beside:
            thread.join()
        return [a.tobytes() for a in model.state_dict().values()], set(spy.seen)

    alone, _ = fitted(beside=False)
    together, seen = fitted(beside=True)
    assert seen == {(True, True), (False, False)}
    assert together == alone


def test_a_summary_while_another_thread_trains_shows_its_own_calls(capsys: pytest.CaptureFixture) -> None:
    model, over = sa.Autoencoder.dense((6, 4, 2)), threading.Event()

    def use() -> None:
        while not over.is_set():
            model(sa.Tensor(X[:3]))
            assert not any("forward" in vars(m) for m in model.modules())

    thread = threading.Thread(target=use)
    thread.start()
    try:
        for _ in range(20):
            model.summary((6,))
    finally:
        over.set()
        thread.join()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20 * 10 and lines[:10] * 20 == lines


def test_a_summary_leaves_a_forward_of_ones_own() -> None:
    layer = nn.Linear(3, 2)
    layer.forward = lambda x: x * 2  # type: ignore[method-assign]
    nn.Sequential(layer).summary((3,))
    assert layer(sa.Tensor(np.ones(1, np.float32))).item() == 2
