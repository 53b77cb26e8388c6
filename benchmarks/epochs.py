"""Whole epochs through `Trainer.fit`: against the bare loop, and against the same loop in PyTorch.

An epoch here is a "step" for paired.py, which returns the epoch's mean loss. The images are the embedded sample of
MNIST, repeated up to the given number. Every contestant gets the images in the same shuffled order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from convolutions import NETWORKS, Network, in_layout
from paired import OURS, Step
from sides import TORCH, compiled
from workloads import Dense


def digits(n: int) -> np.ndarray:
    from scratchae import data

    return np.resize(data.mnist_sample()[0], (n, 1, 28, 28))


def bare_epoch(images: np.ndarray, batch_size: int, batch_of: Callable, loss_of: Callable, optimizer: Any) -> Step:
    """The usual loop of a user, in the order of samples that `Trainer.fit` takes in its first epoch."""
    order = np.random.default_rng([0, 0]).permutation(len(images))

    def epoch(i: int) -> float:
        total = 0.0
        for start in range(0, len(order), batch_size):
            x = batch_of(images[order[start : start + batch_size]])
            loss = loss_of(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        return total / len(order)

    return epoch


def trained_epoch(images: np.ndarray, batch_size: int, model: Any, optimizer: Any) -> Step:
    import scratchae as sa

    trainer = sa.Trainer(model, optimizer)

    def epoch(i: int) -> float:
        return trainer.fit(images, batch_size=batch_size, progress=False)["loss"][-1]

    return epoch


@dataclass(frozen=True)
class DenseEpoch:
    """scratchae only: the cost that the Trainer adds to bare steps (order, checks of losses and gradients, history)."""

    workload: Dense
    images: int

    rivals = ("scratchae Trainer",)
    checked_steps = 1

    def build(self, who: str) -> Step:
        model, loss_of, s = self.workload.model(OURS)
        optimizer = s.adam(model.parameters(), lr=1e-3)
        images = digits(self.images).reshape(self.images, -1)
        if who == OURS:
            return bare_epoch(images, self.workload.batch, s.tensor, loss_of, optimizer)
        return trained_epoch(images, self.workload.batch, model, optimizer)


@dataclass(frozen=True)
class NetworkEpoch:
    """scratchae through the Trainer, PyTorch in a bare loop."""

    network: Network
    images: int

    rivals = (*TORCH, "torch channels last")
    checked_steps = 1

    def build(self, who: str) -> Step:
        net, s = self.network.model(who)
        optimizer, images, batch_size = s.adam(net.parameters(), lr=1e-3), digits(self.images), self.network.batch
        if who == OURS:
            import scratchae as sa

            model = sa.Autoencoder(net, s.nn.Identity(), loss="bce_logits")
            return trained_epoch(images, batch_size, model, optimizer)
        run = compiled(net, who)

        def loss_of(x: Any) -> Any:
            return s.F.binary_cross_entropy_with_logits(run(x), x)

        return bare_epoch(images, batch_size, lambda x: in_layout(s.tensor(x), who), loss_of, optimizer)


EPOCHS = {
    "epoch of 60,000 images, 784-128-64-128-784": DenseEpoch(Dense((784, 128, 64), 128), 60_000),
    "epoch of 6,000 images, pool and transposed, 32 channels": NetworkEpoch(
        NETWORKS["pool and transposed, 32 channels"], 6_000
    ),
}
