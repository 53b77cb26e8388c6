"""Data in files: a fingerprint that tells data sets apart, and memory maps that do not fill the memory."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scratchae.backend import Array, to_device
from scratchae.data.loader import DataLoader


def fingerprint(loader: DataLoader) -> str:
    """A hash of the arrays' shapes, dtypes and some 256 of their rows, to tell whether data are the same."""
    digest = hashlib.sha256()
    for a in loader.sources:
        rows = to_device(a[:: max(1, loader.n_samples // 256)], "cpu")
        digest.update(f"{a.shape} {a.dtype}".encode() + np.ascontiguousarray(rows).tobytes())
    return digest.hexdigest()


def batches_of_files(formula: Callable[..., Iterator[tuple]]) -> Callable[..., Iterator[tuple]]:
    """Batches of memory maps: the system is told which pages to read, and which may leave the memory."""

    def batches_of(arrays: tuple[Array, ...], order: Array | None, *others: Any) -> Iterator[tuple]:
        batches, maps = formula(arrays, order, *others), [m for m in map(_memory_map, arrays) if m is not None]
        return _with_advice(batches, maps, order is not None) if maps else batches

    return batches_of


def _with_advice(batches: Iterator[tuple], maps: list[mmap.mmap], shuffled: bool) -> Iterator[tuple]:
    for pages in maps if shuffled else ():
        pages.madvise(mmap.MADV_RANDOM)  # the rows beside a random row are not wanted next
    for i, batch in enumerate(batches, 1):
        yield batch
        if i % 64 == 0:
            for pages in maps:  # else what was read stays in memory, up to the whole file
                pages.madvise(mmap.MADV_DONTNEED)


def _memory_map(array: Array) -> mmap.mmap | None:
    """The map behind an array, if its pages can be dropped and read again from the file."""
    base: object = array
    shared = False  # the pages of a private map are in memory alone, and so are the changes of one with mode "c"
    while isinstance(base, np.ndarray):
        shared |= isinstance(base, np.memmap) and base.mode != "c"
        base = base.base
    return base if shared and isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") else None
