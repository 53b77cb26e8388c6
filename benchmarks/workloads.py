"""The measured training steps, once in scratchae and once in PyTorch, with the same weights and data.

A workload names its `rivals` (see sides.py). `build(who)` gives one contestant's `step(i)`. A step trains on batch `i`
and returns the loss as a Python float.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from paired import OURS, Step
from sides import FLOOR, TORCH, compiled, initialise, random_batches, side, training_step


@dataclass(frozen=True)
class Dense:
    """An autoencoder of linear layers, trained with Adam on the mean squared error."""

    sizes: tuple[int, ...]
    batch: int
    activation: str | None = "relu"
    output: str | None = "sigmoid"
    rate: float = 1e-3

    rivals = (*TORCH, *FLOOR)
    checked_steps = 20

    def model(self, who: str) -> tuple[Any, Callable[[Any], Any], SimpleNamespace]:
        """The model, its loss of a batch, and the model's side."""
        s = side(who)
        if who == OURS:
            import scratchae as sa

            model = sa.Autoencoder.dense(self.sizes, activation=self.activation, output=self.output, loss="mse")
            loss_of = model.loss
        else:
            layers = []
            for n_in, n_out, name in self.layers():
                layers += [s.nn.Linear(n_in, n_out), *([getattr(s.nn, name)()] if name else [])]
            model = s.nn.Sequential(*layers)
            run = compiled(model, who)

            def loss_of(x: Any) -> Any:
                return s.F.mse_loss(run(x), x)

        initialise(model.parameters(), s)
        return model, loss_of, s

    def layers(self) -> list[tuple[int, int, str | None]]:
        """(inputs, outputs, activation) of each layer of encoder and decoder."""
        sizes = [*self.sizes, *self.sizes[-2::-1]]
        named = {None: None, "relu": "ReLU", "sigmoid": "Sigmoid"}
        hidden = [self.activation] * (len(self.sizes) - 2)
        names = [named[a] for a in (*hidden, None, *hidden, self.output)]
        return list(zip(sizes[:-1], sizes[1:], names, strict=True))

    def data(self) -> np.ndarray:
        return random_batches(self.batch, self.sizes[0])

    def build(self, who: str) -> Step:
        if who in FLOOR:
            import floor

            return floor.build(self, who)
        model, loss_of, s = self.model(who)
        return training_step(loss_of, s.adam(model.parameters(), lr=self.rate), [s.tensor(x) for x in self.data()])


class TwoSided:
    """A workload whose model is written once for each side. `ours` and `torchs` return the model and its loss."""

    sizes: tuple[int, ...]
    batch: int

    def build(self, who: str) -> Step:
        s = side(who)
        model, loss_of = self.ours() if who == OURS else self.torchs(who, s)
        initialise(model.parameters(), s)
        batches = [s.tensor(x) for x in random_batches(self.batch, self.sizes[0])]
        return training_step(loss_of, s.adam(model.parameters(), lr=1e-3), batches)

    def ours(self) -> tuple[Any, Callable[[Any], Any]]:
        raise NotImplementedError

    def torchs(self, who: str, s: SimpleNamespace) -> tuple[Any, Callable[[Any], Any]]:
        raise NotImplementedError


@dataclass(frozen=True)
class Variational(TwoSided):
    """A variational autoencoder on logits. Both sides draw their noise from equal generators of NumPy."""

    sizes: tuple[int, int, int]
    batch: int

    rivals = TORCH
    checked_steps = 20

    def ours(self) -> tuple[Any, Callable[[Any], Any]]:
        import scratchae as sa

        model = sa.VariationalAutoencoder.dense(self.sizes, loss="bce_logits")
        sa.manual_seed(0)
        return model, model.loss

    def torchs(self, who: str, s: SimpleNamespace) -> tuple[Any, Callable[[Any], Any]]:
        nn, F, (n, hidden, code) = s.nn, s.F, self.sizes
        encoder = nn.Sequential(nn.Linear(n, hidden), nn.ReLU())
        decoder = nn.Sequential(nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, n))
        to_mu, to_logvar = nn.Linear(hidden, code), nn.Linear(hidden, code)

        def loss(x: Any, noise: Any) -> Any:
            features = encoder(x)
            mu, logvar = to_mu(features), to_logvar(features)
            logits = decoder(mu + (0.5 * logvar).exp() * noise)
            reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            return (reconstruction - 0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum()) / len(x)

        run = compiled(loss, who)

        def loss_of(x: Any) -> Any:
            return run(x, s.normal(self.batch, code))

        return nn.ModuleList([encoder, decoder, to_mu, to_logvar]), loss_of


@dataclass(frozen=True)
class Contractive(TwoSided):
    """The encoder's Jacobian, and gradients through the Jacobian.

    Each side computes the Jacobian in a loop of backward passes, PyTorch also by torch.func.
    """

    sizes: tuple[int, int]
    batch: int
    weight: float = 0.1

    rivals = ("torch eager", "torch func", "torch func, our allocator")
    checked_steps = 5

    def ours(self) -> tuple[Any, Callable[[Any], Any]]:
        import scratchae as sa

        model = sa.ContractiveAutoencoder.dense(self.sizes, activation="sigmoid", loss="mse", weight=self.weight)
        return model, model.loss

    def torchs(self, who: str, s: SimpleNamespace) -> tuple[Any, Callable[[Any], Any]]:
        import torch

        nn, (n, code_size) = s.nn, self.sizes
        encoder = nn.Sequential(nn.Linear(n, code_size), nn.Sigmoid())
        decoder = nn.Sequential(nn.Linear(code_size, n), nn.Sigmoid())

        def by_rows(x: Any) -> Any:
            x = x.detach().requires_grad_()
            code = encoder(x)
            rows = [torch.autograd.grad(unit.sum(), x, create_graph=True)[0] for unit in code.T]
            return s.F.mse_loss(decoder(code), x) + sum(row.square().sum() for row in rows) * (self.weight / len(x))

        def by_func(x: Any) -> Any:
            jacobian = torch.func.vmap(torch.func.jacrev(encoder))(x)
            return s.F.mse_loss(decoder(encoder(x)), x) + jacobian.square().sum() * (self.weight / len(x))

        return nn.Sequential(encoder, decoder), by_rows if who == "torch eager" else by_func


WORKLOADS = {
    "linear 784-64-784, batch 64": Dense((784, 64), 64, None, None),
    "784-128-64-128-784, batch 128": Dense((784, 128, 64), 128),
    "784-512-256-64 mirrored, batch 256": Dense((784, 512, 256, 64), 256),
    "variational 784-400-20, batch 128": Variational((784, 400, 20), 128),
    "contractive 784-128, batch 128": Contractive((784, 128), 128),
}
