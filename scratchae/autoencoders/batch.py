"""Penalties that compare the samples of a batch with each other need the whole batch in one process."""

from typing import Any

from scratchae import functional as F
from scratchae.autoencoders.base import check_samples
from scratchae.autograd import is_grad_enabled
from scratchae.autograd.reductions import batch_count


def has_pairs(model: Any, x: Any) -> bool:
    """Whether the batch has two samples or more. Without a graph, as in the validation, a batch may have one sample.

    Raises ValueError for a batch of one sample in training. Raises ValueError for a batch that is shared among
    processes or is one of several that make a step. One process would see the pairs within its own part only.
    """
    check_samples(model, x)
    name = type(model).__name__
    if len(x) < 2 and is_grad_enabled():
        advice = "If it is the short last batch, leave it out with sa.DataLoader(..., drop_last=True)"
        raise ValueError(f"{name}: a batch of {len(x)} samples; the penalty needs 2 or more. {advice}")
    if batch_count(len(x)) != len(x):
        found = f"this process has {len(x)} of {batch_count(len(x))} samples of the batch"
        raise ValueError(f"{name}: {found}, but the penalty compares all pairs; train in one process")
    F.batch_mean(x.data[:1], axis=0)  # refused where several batches make a step
    return len(x) > 1
