"""The contestants, and the common parts of both sides: weights, data, and the training step itself.

    scratchae                     this package
    torch eager                   PyTorch with Adam as a user gets it
    torch fused                   the same with the fused Adam
    torch compile                 the fused Adam, and the model through torch.compile
    torch fused, our allocator    fused, and scratchae's setting that glibc keeps freed memory
    torch func                    fused; Jacobians by torch.func instead of one backward pass per row
    torch channels last           fused; images in the memory layout "channels last"
    floor, products               the step by hand in NumPy, and its matrix products alone (floor.py)

Layers and functions have the same names on both sides, so most models are written only once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from paired import OURS, Step

TORCH = ("torch eager", "torch fused", "torch compile", "torch fused, our allocator")
FLOOR = ("floor", "products")
BATCHES = 16  # different batches, used in turn, so that inputs do not stay in the cache


def side(who: str) -> SimpleNamespace:
    """Layers, functions, tensors and Adam of one side. The names are the same on both sides."""
    import scratchae as sa  # the import sets the allocator, unless the environment forbids the setting

    if who == OURS:
        return SimpleNamespace(nn=sa.nn, F=sa.functional, tensor=sa.Tensor, wrap=lambda a: a, adam=sa.optim.Adam)
    import torch

    def adam(parameters: Any, lr: float) -> Any:
        return torch.optim.Adam(parameters, lr=lr, fused=who != "torch eager")

    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))

    return SimpleNamespace(
        nn=torch.nn, F=torch.nn.functional, tensor=torch.from_numpy, wrap=torch.from_numpy, normal=normal, adam=adam
    )


def random_batches(*shape: int, batches: int = BATCHES) -> np.ndarray:
    return np.random.default_rng(1).random((batches, *shape), dtype=np.float32)


def initial_values(shapes: Iterable[tuple[int, ...]]) -> Iterator[np.ndarray]:
    """For each weight and the bias after it, numbers within 1/sqrt(fan-in), as in the layers of both sides."""
    rng, bound = np.random.default_rng(0), 1.0
    for shape in shapes:
        bound = math.prod(shape[1:]) ** -0.5 if len(shape) > 1 else bound
        yield rng.uniform(-bound, bound, shape).astype(np.float32)


def initialise(parameters: Iterable[Any], s: SimpleNamespace) -> None:
    parameters = list(parameters)
    for p, value in zip(parameters, initial_values(tuple(p.shape) for p in parameters), strict=True):
        p.data[...] = s.wrap(value)


def training_step(loss_of: Callable[[Any], Any], optimizer: Any, batches: list) -> Step:
    def step(i: int) -> float:
        loss = loss_of(batches[i % len(batches)])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def compiled(function: Any, who: str) -> Any:
    if who != "torch compile":
        return function
    import torch

    return torch.compile(function)
