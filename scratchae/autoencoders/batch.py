"""Penalties that compare the samples of a batch with each other need the whole batch in one process."""

from typing import Any

from scratchae import functional as F
from scratchae.autoencoders.base import check_samples
from scratchae.autograd.reductions import batch_count


def check_whole_batch(model: Any, x: Any, least: int = 2) -> None:
    """ValueError for a batch that is shared among processes, is accumulated, or has fewer than `least` samples.

    One process would see the pairs of samples within its own part only.
    """
    check_samples(model, x)
    name = type(model).__name__
    if len(x) < least:
        advice = "If it is the short last batch, leave it out with sa.DataLoader(..., drop_last=True)"
        raise ValueError(f"{name}: a batch of {len(x)} samples; the penalty needs {least} or more. {advice}")
    if batch_count(len(x)) != len(x):
        found = f"this process has {len(x)} of {batch_count(len(x))} samples of the batch"
        raise ValueError(f"{name}: {found}, but the penalty compares all pairs; train in one process")
    F.batch_mean(x.data[:1], axis=0)  # refused where several batches make a step
