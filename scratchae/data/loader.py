"""Mini-batches: cutting arrays along their first dimension, in order or shuffled anew each epoch."""

from __future__ import annotations

import hashlib
import mmap
import threading
from collections.abc import Iterator, Sequence
from itertools import chain, islice

import numpy as np

from scratchae.backend import Array, is_array, plain_array, to_device, xp_of
from scratchae.checks import check_bool, check_count, shown
from scratchae.gpu import upload
from scratchae.random import random_seed, rows_of

_placing = threading.RLock()  # several threads may train on batches of one loader


class DataLoader:
    """Iterates over batches of one array, or of several of equal length side by side.

    `arrays` is one array (a memory map or an array on a GPU too) or a tuple or list of them, of shapes
    (n, ...). A batch is an array of shape (batch_size, ...), or a tuple of those where a tuple or list
    was given; the last one has what is left, or is left out under `drop_last`. `len()` is the number
    of batches.

    Batches in order are views. Under `shuffle` they are copies, and only a batch's own rows are read.
    The order of epoch e follows from (seed, e) alone; setting `epoch` thus repeats or resumes a run.
    `seed=None` takes one from the package's generator, so that it follows `manual_seed`.
    With `device="gpu"` the batches come there: a set of up to a gigabyte is copied once, of a larger one the next
    batch travels while this one is in use.

    Attributes: `batch_size`, `n_samples`, `seed`, `device`, and `epoch`, the number of iterations started so far.
    `skip` is a number of batches that the next iteration leaves out at its start, to go on in the middle of an epoch.
    `part`, a pair (rank, size), makes it give only that process's rows of each batch; the batches are the same for
    every size.
    Raises ValueError for an empty set, unequal lengths or a batch size or seed out of range, TypeError
    for anything that is no array, or a batch size or seed that is no integer.
    """

    def __init__(
        self,
        arrays: Array | Sequence[Array],
        batch_size: int,
        shuffle: bool = False,
        seed: int | None = None,
        drop_last: bool = False,
        device: str | None = None,
    ) -> None:
        self._several = isinstance(arrays, (tuple, list))
        given = tuple(arrays) if self._several else (arrays,)
        _check_arrays(given)
        # A plain view of a memory map: its subclass would stick to every batch and slow it down.
        self._arrays = tuple(np.asarray(a) if isinstance(a, np.ndarray) else a for a in given)
        self._maps = [m for m in map(_memory_map, given) if m is not None]
        self.n_samples = len(given[0])
        self.batch_size = _integer("batch_size", batch_size, smallest=1)
        self.seed = random_seed() if seed is None else _integer("seed", seed, smallest=0)
        self.shuffle = check_bool("DataLoader: shuffle", shuffle)
        self.drop_last = check_bool("DataLoader: drop_last", drop_last)
        self.epoch = 0
        self.skip = 0
        self.part = (0, 1)
        self.device = device
        self._copies: tuple[str, tuple[Array, ...]] | None = None  # of the arrays, on a GPU
        for pages in self._maps if shuffle else ():
            pages.madvise(mmap.MADV_RANDOM)  # reading ahead of a random row reads what nobody asked for

    def __len__(self) -> int:
        full, rest = divmod(self.n_samples, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Array | tuple[Array, ...]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        skip, self.skip = self.skip, 0
        order = np.random.default_rng([self.seed, epoch]).permutation(self.n_samples) if self.shuffle else None
        return self._batches(order, skip, self.part, self.device or "cpu")

    @property
    def arrays(self) -> int:
        """How many arrays a batch holds."""
        return len(self._arrays)

    def batch_length(self, i: int) -> int:
        """Samples in batch `i`, those of other processes included."""
        return min(self.batch_size, self.n_samples - i * self.batch_size)

    def fingerprint(self) -> str:
        """A hash of the arrays' shapes, dtypes and some 256 of their rows, to tell whether data are the same."""
        digest = hashlib.sha256()
        for a in self._arrays:
            rows = to_device(a[:: max(1, self.n_samples // 256)], "cpu")
            digest.update(f"{a.shape} {a.dtype}".encode() + np.ascontiguousarray(rows).tobytes())
        return digest.hexdigest()

    def placed(
        self, epoch: int, skip: int = 0, part: tuple[int, int] = (0, 1), device: str | None = None
    ) -> Iterator[Array | tuple[Array, ...]]:
        """The batches of epoch `epoch` from number `skip` on: `part` of each, on `device` unless the loader has one.

        Others may iterate over the loader meanwhile. Its own count, `part` and `device` stay as they are.
        """
        with _placing:
            before = self.epoch, self.part, self.device
            self.epoch, self.skip, self.part, self.device = epoch, skip, part, self.device or device
            try:
                batches = iter(self)
                first = list(islice(batches, 1))  # an `__iter__` with a yield in it reads the place only now
            finally:
                self.skip = 0
                self.epoch, self.part, self.device = before
        return chain(first, batches)

    def forget_copies(self) -> None:
        """Give up the memory that the arrays take on a GPU, if they were copied there."""
        self._copies = None

    def _batches(
        self, order: np.ndarray | None, skip: int, part: tuple[int, int], device: str
    ) -> Iterator[Array | tuple[Array, ...]]:
        arrays = self._arrays
        travel = device != "cpu" and all(isinstance(a, np.ndarray) for a in arrays)
        if travel and sum(a.nbytes for a in arrays) <= upload.RESIDENT:
            arrays, travel = self._copied(device), False
        batches = self._cut(arrays, order, skip, part)
        for batch in upload.ahead(batches, device) if travel else batches:
            yield batch if self._several else batch[0]

    def _copied(self, device: str) -> tuple[Array, ...]:
        """The arrays on `device`, copied when they are first asked for."""
        if self._copies is None or self._copies[0] != device:
            self._copies = (device, tuple(to_device(a, device) for a in self._arrays))
        return self._copies[1]

    def _cut(
        self, arrays: tuple[Array, ...], order: np.ndarray | None, skip: int, part: tuple[int, int]
    ) -> Iterator[tuple[Array, ...]]:
        orders = {xp: order if xp is np else xp.asarray(order) for xp in map(xp_of, arrays) if order is not None}
        for i in range(skip, len(self)):
            start, own = i * self.batch_size, rows_of(self.batch_length(i), *part)
            rows = slice(start + own.start, start + own.stop)
            yield tuple(_native(a[rows] if order is None else a[orders[xp_of(a)][rows]]) for a in arrays)
            if self._maps and i % 64 == 63:
                for pages in self._maps:  # else what was read stays in memory, up to the whole file
                    pages.madvise(mmap.MADV_DONTNEED)


def _native(batch: Array) -> Array:
    """A batch in this machine's byte order: files of others may have another one."""
    return batch if batch.dtype.isnative else batch.astype(batch.dtype.newbyteorder("="))


def _memory_map(array: Array) -> mmap.mmap | None:
    """The map behind an array, if its pages can be dropped and read again from the file."""
    if not isinstance(array, np.memmap) or array.mode == "c" or not hasattr(mmap, "MADV_DONTNEED"):
        return None  # mode "c" has changes that are nowhere but in memory
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def _check_arrays(arrays: tuple[Array, ...]) -> None:
    if not arrays:
        raise ValueError("DataLoader got no arrays; expected one array or a tuple of at least one")
    for a in arrays:
        plain_array(a[:0] if is_array(a) and a.ndim else a, "DataLoader: the data")  # of a file, nothing is read
        if a.ndim == 0:
            raise ValueError("DataLoader got a 0-dimensional array; expected shape (n, ...), n samples")
    lengths = [len(a) for a in arrays]
    listed = f"; a list of {len(arrays)} samples becomes one array by np.stack(...)" if len(arrays) > 2 else ""
    if len(set(lengths)) > 1:
        raise ValueError(f"DataLoader got arrays of lengths {lengths[:8]}; expected one row per sample in each{listed}")
    if lengths[0] == 0:
        shapes = ", ".join(str(tuple(a.shape)) for a in arrays[:8])
        raise ValueError(f"DataLoader got an empty data set of shape {shapes}; expected at least one sample")


def _integer(name: str, value: int, smallest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"DataLoader({name}={shown(value)}): expected an integer, such as 64")
    return check_count(f"DataLoader: {name}", value, smallest)
