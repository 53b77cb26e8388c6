"""Steps of several batches: `Trainer(..., accumulate=4)`.

The gradient of a step is the mean over the samples of its batches. Let batch b have n_b samples and the gradient g_b of
a loss that is a mean over samples:

    gradient = sum over b of (n_b * g_b) / sum over b of n_b

This is the gradient of one large batch. Only one batch at a time needs memory for its graph.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from scratchae.backend import Array, plain_array, to_device
from scratchae.checks import check_count
from scratchae.more.compared import reduction_of
from scratchae.plugins import Run


class _Local(threading.local):
    splitting = False  # whether this thread computes one batch of several that make a step


_local = _Local()


class Accumulate:
    """The plug-in that puts a step off until `every` batches, or the last batches of the epoch, are done.

    Attributes: `samples` counts the samples of the batches so far. `sums` holds for each parameter of the optimiser the
    sum of n_b * g_b, in float32 at least; None for a parameter without a gradient.
    """

    def __init__(self, every: int, parameters: list[Any]):
        self.every, self.parameters = every, parameters
        self._start()

    def _start(self) -> None:
        self.samples = 0
        self.sums: list[Array | None] = [None] * len(self.parameters)

    @contextmanager
    def around_step(self, run: Run) -> Iterator[None]:
        before, _local.splitting = _local.splitting, True
        try:
            yield
        finally:
            _local.splitting = before

    def after_backward(self, run: Run) -> bool:
        """Add a batch's gradients. Returns True until the last batch of the step, whose gradients become the mean."""
        n = run.loader.batch_length(run.batch)
        self.samples += n
        for i, p in enumerate(self.parameters):
            if p.grad is not None:
                grown = p.grad.astype(np.result_type(p.dtype, np.float32)) * n
                self.sums[i] = grown if self.sums[i] is None else self.sums[i] + grown
        done = run.batch + 1
        if done % self.every and done < len(run.loader):
            return True
        for p, total in zip(self.parameters, self.sums, strict=True):
            if total is not None and p.grad is not None:
                p.grad[...] = total / self.samples
            elif total is not None:  # the last batch did not reach this parameter
                p.grad = (total / self.samples).astype(p.dtype)
        self._start()
        return False

    def state_dict(self) -> dict[str, Any]:
        sums = {str(i): total for i, total in enumerate(self.sums) if total is not None}
        return {"samples": self.samples, "sums": sums}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        samples = check_count("samples", state["samples"], 0)
        given = {int(i): plain_array(total, "a sum of gradients") for i, total in state["sums"].items()}
        shapes = {i: p.shape for i, p in enumerate(self.parameters)}
        if wrong := [i for i, total in given.items() if total.shape != shapes.get(i)]:
            raise ValueError(f"the sums of gradients of the parameters {wrong} have not the parameters' shapes")
        self._start()
        self.samples = samples
        for i, total in given.items():
            p = self.parameters[i]
            self.sums[i] = to_device(total, p.device).astype(np.result_type(p.dtype, np.float32))


def accumulating(run: Run) -> list[Accumulate]:
    """The plug-in where a step takes several batches. Raises ValueError for a loss that is a sum over samples."""
    trainer = run.trainer
    if trainer.accumulate == 1:
        return []
    loss = getattr(trainer.model, "_distance", None) if trainer.loss is None else trainer.loss
    if (reduction := reduction_of(loss)) not in ("mean", "batchmean"):
        found = f"accumulate={trainer.accumulate} with a loss of reduction={reduction!r}"
        raise ValueError(f"{found}; expected 'mean', since the gradients of the batches are averaged")
    groups = trainer.optimizer.param_groups
    return [Accumulate(trainer.accumulate, [p for group in groups for p in group["params"]])]


def whole_batch_at_hand(formula: Callable[..., Any]) -> Callable[..., Any]:
    """`reductions.batch_mean`: refused where the batch is one of several that make a step."""

    def batch_mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        if _local.splitting:
            raise ValueError(
                "Trainer(accumulate=...) computes a step in several batches, and this model needs all samples at once: "
                "BatchNorm in train mode, or the sparsity penalty 'kl'. Use LayerNorm or penalty='l1', or accumulate=1"
            )
        return formula(x, axis, keepdims)

    return batch_mean
