"""Batches that a function changes on their way to the model: `DataLoader(..., transform=f)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scratchae.backend import Array, is_array, plain_array, to_device
from scratchae.data.loader import DataLoader, batch_rows, batches_of


def after_transform(stub: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    """`loader.transformed`. The function gets whole batches, and a process takes its own rows of the result.

    So the numbers that the function draws are the same for every number of processes.
    """

    def transformed(loader: DataLoader, order: Array | None, epoch: int, skip: int) -> Iterator[Any]:
        size, device = loader.batch_size, loader.device
        places = [slice(i * size, i * size + loader.batch_length(i)) for i in range(skip, len(loader))]
        whole = batches_of(loader.sources, order, iter(places), None, {})
        numbered = zip(range(skip, len(loader)), places, batch_rows(loader, skip), whole, strict=True)
        return (_changed(loader, epoch, *one, device) for one in numbered)

    return transformed


def _changed(
    loader: DataLoader, epoch: int, i: int, place: slice, own: slice, batch: tuple[Array, ...], device: str | None
) -> Any:
    """The rows `own` of batch `i`, which has the rows `place`, after the transform."""
    # Not [seed, epoch, i]: NumPy fills up with zeros, so that batch 0 would draw the numbers of the epoch's order.
    generator = np.random.default_rng([loader.seed, epoch, i + 1])
    copies = tuple(a.copy() for a in batch)
    result = loader.transform(copies if loader._several else copies[0], generator)  # type: ignore[misc]
    n = place.stop - place.start
    rows = slice(own.start - place.start, own.stop - place.start)

    def taken(array: Any) -> Array:
        array = plain_array(array, "what the transform returns")
        if array.shape[:1] != (n,):
            raise ValueError(f"the transform made shape {array.shape} of {n} samples; expected ({n}, ...)")
        return array[rows] if device is None else to_device(array[rows], device)

    if not is_array(result) and not (isinstance(result, tuple) and result):
        given = "an empty tuple" if isinstance(result, tuple) else f"a {type(result).__name__}"
        raise TypeError(f"the transform returned {given}; expected an array, or a tuple of arrays")
    return tuple(map(taken, result)) if isinstance(result, tuple) else taken(result)
