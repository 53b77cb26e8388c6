"""The numbers of a training run."""

import math
from collections.abc import Callable, Mapping
from typing import Any


class History(dict[str, list[float]]):
    """Numbers per epoch by name: "loss" and every term, "val_..." of each, "seconds", "images_per_second".

    `metrics` holds the names of the Trainer's metrics, which are among the numbers.
    """

    metrics: tuple[str, ...] = ()
    plot: Callable[..., Any]  # from plotting/
    to_csv: Callable[..., None]  # from files/
    to_json: Callable[..., None]  # from files/

    def append(self, row: Mapping[str, float]) -> None:
        """Add the numbers of an epoch."""
        epochs = max(map(len, self.values()), default=0)
        for name in {**self, **row}:  # a term that comes later, or goes, leaves NaN in the other epochs
            self.setdefault(name, [math.nan] * epochs).append(row.get(name, math.nan))


class Means:
    """Running means of loss terms, weighted by the number of samples in each batch."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.samples = 0

    def add(self, terms: Mapping[str, float], n: int) -> None:
        """Add the terms of a batch of `n` samples."""
        self.samples += n
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * n

    def means(self) -> dict[str, float]:
        """The mean of each term, and under the name "loss" their sum, unless a term has this name."""
        means = {name: total / self.samples for name, total in self.sums.items()}
        return {"loss": sum(means.values()), **means}
