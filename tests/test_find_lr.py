"""The search for a learning rate: the losses of a run by hand, and nothing else changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim
from scratchae.backend import to_device

X = np.random.default_rng(0).random((40, 6), np.float32)


def trainer_of(optimizer: Any = optim.SGD, device: str = "cpu", **options: Any) -> sa.Trainer:
    sa.manual_seed(0)
    model = sa.Autoencoder(nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.2)), nn.Linear(4, 6))
    model.to(device)
    return sa.Trainer(model, optimizer(model.parameters(), lr=0.01), **options)


def everything(trainer: sa.Trainer) -> Any:
    """All that a search may have changed."""
    model, optimizer = trainer.model, trainer.optimizer
    state = [to_device(array, "cpu").tobytes() for array in model.state_dict().values()]
    gradients = [None if p.grad is None else to_device(p.grad, "cpu").tobytes() for p in model.parameters()]
    return state, gradients, str(optimizer.state_dict()), [module.training for module in model.modules()]


@pytest.mark.parametrize("optimizer", [optim.SGD, optim.Adam])
def test_a_search_leaves_model_optimiser_and_generators_as_they_were(optimizer: Any, device: str) -> None:
    trainer = trainer_of(optimizer, device)
    trainer.fit(X, batch_size=16, progress=False)
    trainer.model.eval()
    before = everything(trainer)
    loader = sa.DataLoader(X, 8, seed=1)
    state = sa.random.random_state()
    found = sa.find_lr(trainer, loader, steps=12)
    assert len(found.rates) == 12 and loader.epoch == 0
    assert sa.random.random_state() == state
    assert trainer.optimizer.lr == 0.01 and len(trainer.history["loss"]) == 1
    assert everything(trainer) == before


def test_the_losses_are_those_of_steps_with_rising_rates() -> None:
    sa.manual_seed(0)
    model = sa.Autoencoder.dense((6, 3))
    trainer = sa.Trainer(model, optim.SGD(model.parameters(), lr=5.0))
    found = sa.find_lr(trainer, X, low=1e-3, high=10, steps=9, batch_size=16, seed=3)
    np.testing.assert_allclose(found.rates, 10 ** np.linspace(-3, 1, 9))
    losses, step = [], 0
    while step < 9:  # three batches an epoch
        order = np.random.default_rng([3, step // 3]).permutation(40)
        for start in (0, 16, 32):
            loss = model.loss(sa.Tensor(X[order[start : start + 16]]))
            losses.append(loss.item())
            model.zero_grad()
            loss.backward()
            for p in model.parameters():
                p.data[...] -= found.rates[step] * p.grad
                p.changed()
            step += 1
    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)


def test_a_step_of_several_batches_has_one_rate_and_their_mean_loss() -> None:
    def search(**options: Any) -> sa.LearningRates:
        sa.manual_seed(0)
        model = sa.Autoencoder.dense((6, 3))
        return sa.find_lr(sa.Trainer(model, optim.SGD(model.parameters(), lr=0.1), **options), X, 1e-3, 10, 5, size)

    size = 20
    large = search(clip_grad_norm=0.01)
    size = 10
    small = search(clip_grad_norm=0.01, accumulate=2)
    np.testing.assert_allclose(small.rates, large.rates)
    np.testing.assert_allclose(small.losses, large.losses, rtol=1e-5)


@pytest.mark.parametrize("shift", [0.0, -100.0], ids=["positive", "negative"])
def test_the_search_ends_where_the_loss_has_grown(shift: float) -> None:
    model = nn.Linear(6, 6)
    loss = lambda output, target: F.mse_loss(output, target) + shift  # noqa: E731
    trainer = sa.Trainer(model, optim.SGD(model.parameters(), lr=0.1), loss=loss)
    found = sa.find_lr(trainer, (X, X), low=1e-3, high=1e6, steps=200)
    assert 20 < len(found.rates) < 200 and found.losses[-1] > found.losses[0] + 3 * abs(found.losses[0])
    assert max(found.losses[:-1]) <= found.losses[0] + 3 * abs(found.losses[0])
    best = found.rates[int(np.argmin(found.smoothed))]
    assert found.suggestion == pytest.approx(best / 10) and 1e-3 < best < 100


def test_a_loss_that_is_not_finite_ends_the_search_too() -> None:
    model = nn.Linear(6, 6)
    trainer = sa.Trainer(model, optim.SGD(model.parameters(), lr=0.1), loss=F.mse_loss)
    huge = 1e15 * X
    found = sa.find_lr(trainer, (X, huge), low=1e-3, high=1e12, steps=4)
    assert 1 <= len(found.losses) < 4 and np.isfinite(found.losses).all()
    with pytest.raises(FloatingPointError, match="not finite"):
        sa.find_lr(trainer, (X, X * np.float32(np.nan)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"low": 0}, ValueError, "low=0; expected a finite number above 0"),
        ({"high": np.inf}, ValueError, "high=inf; expected a finite number above 0"),
        ({"low": 1.0, "high": 0.1}, ValueError, "low=1 and high=0.1; expected a low rate below the high one"),
        ({"steps": 1}, ValueError, "steps=1; expected an integer of at least 2"),
        ({"images": [X, X]}, TypeError, "a list of 2; expected"),
    ],
)
def test_a_search_that_cannot_be_is_refused(options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        sa.find_lr(trainer_of(), **{"images": X, **options})


def test_a_search_is_for_one_process() -> None:
    trainer = trainer_of()
    trainer.world = type("Several", (), {"size": 2})()
    with pytest.raises(RuntimeError, match="find_lr in 2 processes; run the search in a process of its own"):
        sa.find_lr(trainer, X)
