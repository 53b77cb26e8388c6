"""A learning rate by trying many: the rate rises from step to step, until the loss does too.

Source: L. Smith, "Cyclical learning rates for training neural networks", WACV 2017, section 3.3.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from scratchae import random
from scratchae.callbacks import Callback
from scratchae.checks import check_count, check_number
from scratchae.data.loader import DataLoader
from scratchae.training import Trainer


@dataclass
class LearningRates:
    """The result of `find_lr`: `rates`, and the loss of each step, in `losses`."""

    rates: list[float]
    losses: list[float]
    plot: ClassVar[Callable[..., Any]]  # from plotting/

    @property
    def smoothed(self) -> list[float]:
        """For each step, the mean loss of the steps around, a twentieth of all steps on either side."""
        n = len(self.losses)
        reach = max(1, n // 20)
        return [float(np.mean(self.losses[max(0, i - reach) : i + reach + 1])) for i in range(n)]

    @property
    def suggestion(self) -> float:
        """A tenth of the rate at which the smoothed loss is lowest."""
        return self.rates[int(np.argmin(self.smoothed))] / 10


def find_lr(
    trainer: Trainer,
    images: Any,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    batch_size: int = 64,
    seed: int = 0,
) -> LearningRates:
    """Train a copy of the model for `steps` steps, while the learning rate rises from `low` to `high`.

    Args:
        trainer: its model, optimiser and loss are copied, with their state. So the search leaves them as they are. The
            search uses the trainer's `clip_grad_norm` and `accumulate`, and no callbacks.
        images, batch_size, seed: the training data, as for `Trainer.fit`. The noise follows from `seed` too, and the
            package's own generators do not move.
        low, high: the first and the last rate. In between, the rate grows by the same factor in each step. All groups
            of parameters get the same rate.
        steps: the number of rates. The search ends earlier at a loss of four times the first, or not finite.

    Choose a rate at which the loss falls fast, well below the rate at which the loss rises again. `suggestion` of the
    result is a tenth of the rate with the lowest smoothed loss. `plot(path)` draws the losses.

    Raises ValueError for rates or steps out of range, FloatingPointError where even the first loss is not finite, and
    RuntimeError in a run of several processes.
    """
    low, high = check_number("low", low, "(0, inf)"), check_number("high", high, "(0, inf)")
    if low >= high:
        raise ValueError(f"low={low:g} and high={high:g}; expected a low rate below the high one")
    steps = check_count("steps", steps, 2)
    if trainer.world.size > 1:
        raise RuntimeError(f"find_lr in {trainer.world.size} processes; run the search in a process of its own")
    images = copy.copy(images) if isinstance(images, DataLoader) else images  # a loader counts its epochs
    model, optimizer, loss = copy.deepcopy((trainer.model, trainer.optimizer, trainer.loss))
    rising = _Rising(np.geomspace(low, high, steps).tolist())
    copied = Trainer(model, optimizer, [rising], loss, trainer.clip_grad_norm, accumulate=trainer.accumulate)
    try:
        with random.fixed_seed(seed), np.errstate(all="ignore"):
            copied.fit(images, epochs=steps, batch_size=batch_size, seed=seed, progress=False)  # a step each at least
    except FloatingPointError:
        if not rising.found.losses:
            raise
    except _Enough:
        pass
    return rising.found


class _Enough(Exception):
    """Ends the search."""


class _Rising(Callback):
    """Gives each step the next rate, and notes its loss."""

    def __init__(self, rates: list[float]):
        self.rates, self.found = rates, LearningRates([], [])
        self.of_batches: list[float] = []

    def after_forward(self, run: Any) -> None:
        self.of_batches.append(sum(run.numbers.values()))

    def after_backward(self, run: Any) -> None:
        """`accumulate` may give a step several batches."""
        self.found.rates.append(self.rates[len(self.found.rates)])
        self.found.losses.append(sum(self.of_batches) / len(self.of_batches))
        self.of_batches = []
        run.trainer.optimizer.lr = self.found.rates[-1]

    def after_step(self, run: Any) -> None:
        losses = self.found.losses
        if len(losses) == len(self.rates) or losses[-1] > losses[0] + 3 * abs(losses[0]):
            raise _Enough
