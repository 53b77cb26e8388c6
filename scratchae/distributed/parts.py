"""Parts of a batch: the rows of one process, and the operations that need the rows of all processes.

Inside `part_of_batch`, means over the batch are taken over all processes, and noise per sample is drawn for the whole
batch. The result equals the result of one process with the same batch. attach.py attaches the functions at the end.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from scratchae.autograd.engine import primitive
from scratchae.backend import Array
from scratchae.distributed.processes import world


def rows_of(n: int, rank: int, size: int) -> slice:
    """The rows of `n` that process `rank` of `size` takes; lengths differ by 1 at most."""
    return slice(n * rank // size, n * (rank + 1) // size)


class _Local(threading.local):
    part: tuple[slice, int] | None = None  # the rows, and the length of the whole batch; None for all rows


_local = _Local()


@contextmanager
def part_of_batch(rows: slice, total: int) -> Iterator[None]:
    """Inside, this thread computes only `rows` of a batch of `total` samples."""
    before, _local.part = _local.part, None if rows.stop - rows.start == total else (rows, total)
    try:
        yield
    finally:
        _local.part = before


def batch_share() -> float:
    """The share of the batch that this thread computes: below 1 inside `part_of_batch` only."""
    return 1.0 if _local.part is None else (_local.part[0].stop - _local.part[0].start) / _local.part[1]


class RowsOfDraws:
    """A generator of noise per sample: each draw is `rows` of a draw for all `total` samples.

    Raises ValueError for a draw whose first axis is not as long as `rows`.
    """

    def __init__(self, whole: Any, rows: slice, total: int):
        self._whole, self._rows, self._total = whole, rows, total

    def random(self, size: Any = None, **options: Any) -> Any:
        return self._draw(self._whole.random, size, options)

    def standard_normal(self, size: Any = None, **options: Any) -> Any:
        return self._draw(self._whole.standard_normal, size, options)

    def __getattr__(self, name: str) -> Any:
        """The generator's other methods, with `size` by name, and the generator's attributes."""
        draw = getattr(self._whole, name)
        if not callable(draw):
            return draw
        return lambda *args, size=None, **options: self._draw(functools.partial(draw, *args), size, options)

    def _draw(self, draw: Callable[..., Any], size: Any, options: dict[str, Any]) -> Any:
        shape = tuple(size) if isinstance(size, (tuple, list)) else (size,)
        own = self._rows.stop - self._rows.start
        if shape[:1] != (own,):
            raise ValueError(
                f"a draw per sample has size={size}, but this process computes {own} samples (of {self._total} in the "
                f"batch); expected size=({own}, ...). Draw what is not per sample from sa.generator()"
            )
        return draw(size=(self._total, *shape[1:]), **options)[self._rows]


# --- attached ways --------------------------------------------------------------------------------------


def generator_of_a_part(formula: Callable[..., Any]) -> Callable[..., Any]:
    def generator(device: str = "cpu", per_sample: bool = False) -> Any:
        whole = formula(device)
        return RowsOfDraws(whole, *_local.part) if per_sample and _local.part is not None else whole

    return generator


def mean_over_processes(formula: Callable[..., Any]) -> Callable[..., Any]:
    """The mean over the whole batch: the sum over processes of (share of the batch) * (own mean)."""

    def batch_mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        own = formula(x, axis, keepdims)
        return own if _local.part is None else _sum_over_processes(own * batch_share())

    return batch_mean


@primitive(x=lambda g: _sum_over_processes(g))
def _sum_over_processes(x: Array) -> Array:
    return world().sum(x.copy())


def count_over_processes(formula: Callable[[int], int]) -> Callable[[int], int]:
    return lambda n: round(formula(n) / batch_share())


def rows_of_a_part(formula: Callable[..., Iterator[slice]]) -> Callable[..., Iterator[slice]]:
    """Of each batch of a loader, the rows of `loader.part`."""

    def batch_rows(loader: Any, skip: int) -> Iterator[slice]:
        whole, (rank, size) = formula(loader, skip), loader.part
        return whole if size == 1 else (_within(batch, rank, size) for batch in whole)

    return batch_rows


def _within(batch: slice, rank: int, size: int) -> slice:
    own = rows_of(batch.stop - batch.start, rank, size)
    return slice(batch.start + own.start, batch.start + own.stop)
