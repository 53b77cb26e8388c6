"""The training steps that are measured, once in scratchae and once in PyTorch, from the same weights and data.

Each `build_...` function returns `step(i)`, which trains on batch `i` and returns the loss as a Python float.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

BATCHES = 16  # different batches, used in turn, so that inputs do not stay in the cache


@dataclass(frozen=True)
class Dense:
    """An autoencoder of linear layers, trained with Adam (lr 1e-3) on the mean squared error."""

    sizes: tuple[int, ...]
    batch: int
    activation: str | None = "relu"
    output: str | None = "sigmoid"


WORKLOADS = {
    "linear 784-64-784, batch 64": Dense((784, 64), 64, None, None),
    "784-128-64-128-784, batch 128": Dense((784, 128, 64), 128),
    "784-512-256-64 mirrored, batch 256": Dense((784, 512, 256, 64), 256),
}

Step = Callable[[int], float]


def data(w: Dense) -> np.ndarray:
    return np.random.default_rng(1).random((BATCHES, w.batch, w.sizes[0]), dtype=np.float32)


def weights(w: Dense) -> list[np.ndarray]:
    """Weight and bias of every layer, in order, in PyTorch's layout."""
    rng = np.random.default_rng(0)
    sizes = [*w.sizes, *w.sizes[-2::-1]]
    found = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        bound = n_in**-0.5
        found += [rng.uniform(-bound, bound, shape).astype(np.float32) for shape in ((n_out, n_in), (n_out,))]
    return found


def build_scratchae(w: Dense) -> Step:
    import scratchae as sa

    model = sa.Autoencoder.dense(w.sizes, activation=w.activation, output=w.output, loss="mse")
    for p, value in zip(model.parameters(), weights(w), strict=True):
        p.data[...] = value
    optimizer = sa.optim.Adam(model.parameters(), lr=1e-3)
    batches = [sa.Tensor(x) for x in data(w)]

    def step(i: int) -> float:
        loss = model.loss(batches[i % BATCHES])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def build_torch(w: Dense, mode: str) -> Step:
    """`mode`: "eager" (Adam as a user gets it), "fused" (the fused Adam), "compile" (and torch.compile)."""
    import torch

    torch.set_num_threads(2)
    values = [torch.from_numpy(v) for v in weights(w)]
    activations = {None: torch.nn.Identity, "relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}
    hidden = [w.activation] * (len(w.sizes) - 2)
    layers: list[torch.nn.Module] = []
    for i, name in enumerate([*hidden, None, *hidden, w.output]):
        layer = torch.nn.Linear(*reversed(values[2 * i].shape))
        layer.load_state_dict({"weight": values[2 * i], "bias": values[2 * i + 1]})
        layers += [layer] if name is None else [layer, activations[name]()]
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=mode != "eager")
    run = torch.compile(model) if mode == "compile" else model
    batches = [torch.from_numpy(x) for x in data(w)]

    def step(i: int) -> float:
        x = batches[i % BATCHES]
        loss = torch.nn.functional.mse_loss(run(x), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def build(name: str, who: str) -> Step:
    """The step of workload `name` for "scratchae", "torch eager", "torch fused" or "torch compile"."""
    w = WORKLOADS[name]
    return build_scratchae(w) if who == "scratchae" else build_torch(w, who.removeprefix("torch "))
