"""Mini-batches: cutting arrays along their first dimension, in order or shuffled anew each epoch."""

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np

from scratchae.attach import replaceable
from scratchae.backend import Array, plain_array, to_device
from scratchae.checks import check_bool, check_count, shown
from scratchae.random import random_seed

_placing = threading.RLock()  # several threads may train on batches of one loader


class DataLoader:
    """Iterates over batches of one array, or of several of equal length side by side.

    `arrays` is one array of shape (n, ...), or a tuple or list of such arrays. A memory map or an array on a GPU is
    allowed. A batch is an array of shape (batch_size, ...), or a tuple of arrays for a tuple or list. The last batch
    has the remaining samples. With `drop_last`, an incomplete last batch is left out. `len()` is the number of batches.

    Batches in order are views. With `shuffle` batches are copies, and only the rows of the batch are read. The order
    of epoch e follows from (seed, e) alone. So setting `epoch` repeats or resumes a run. `seed=None` takes a seed from
    the package's generator, which follows `manual_seed`. `device`, such as "gpu", is the device of the batches. With
    None the batches stay on the device of the arrays.

    `transform` is a function of (batch, generator) that gives the batch to train on: an array, or a tuple of arrays, of
    as many samples. The function gets a copy of the whole batch, also where several processes share the batch. The
    function may write to the copy, which lies where the arrays lie, and goes to `device` afterwards. The generator is
    `numpy.random.Generator`. The numbers follow from the seed, the epoch and the place of the batch alone. So a run
    that is resumed within an epoch gets the same batches. `sa.data.flip`, `crop`, `rotate` and `scale` are such
    functions for images.

    Attributes: `batch_size`, `n_samples`, `seed`, `device`, `transform`, and `epoch`, the number of iterations started
    so far. `skip` is the number of batches that the next iteration leaves out at its start, to resume within an epoch.
    `part`, a pair (rank, size), is for several processes. Each process gets only its rows of each batch. The batches
    are the same for every size.

    Raises ValueError for an empty set, unequal lengths, or a batch size or seed out of range. Raises TypeError for an
    argument that is no array, and for a batch size or seed that is no integer.
    """

    part: tuple[int, int] = (0, 1)
    fingerprint: Callable[[], str]  # from files/

    def __init__(
        self,
        arrays: Array | Sequence[Array],
        batch_size: int,
        shuffle: bool = False,
        seed: int | None = None,
        drop_last: bool = False,
        device: str | None = None,
        transform: Callable[[Any, np.random.Generator], Any] | None = None,
    ) -> None:
        self._several = isinstance(arrays, (tuple, list))
        given = tuple(arrays) if self._several else (arrays,)
        check_loader(given, transform)
        # A plain view of a memory map, since batches of the subclass np.memmap would be slower.
        self.sources = tuple(np.asarray(a) if isinstance(a, np.ndarray) else a for a in given)
        self.n_samples = len(given[0])
        self.batch_size = _integer("batch_size", batch_size, smallest=1)
        self.seed = random_seed() if seed is None else _integer("seed", seed, smallest=0)
        self.shuffle = check_bool("DataLoader: shuffle", shuffle)
        self.drop_last = check_bool("DataLoader: drop_last", drop_last)
        self.device, self.transform = device, transform
        self.epoch = self.skip = 0
        self.copies: dict[str, tuple[Array, ...]] = {}  # of the sources, by device

    def __len__(self) -> int:
        full, rest = divmod(self.n_samples, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Array | tuple[Array, ...]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        skip, self.skip = self.skip, 0
        order = np.random.default_rng([self.seed, epoch]).permutation(self.n_samples) if self.shuffle else None
        if self.transform is not None:
            return transformed(self, order, epoch, skip)
        batches = batches_of(self.sources, order, batch_rows(self, skip), self.device, self.copies)
        return batches if self._several else (batch for (batch,) in batches)

    @property
    def arrays(self) -> int:
        """How many arrays a batch holds."""
        return len(self.sources)

    def batch_length(self, i: int) -> int:
        """Samples in the whole batch `i`, also where `part` takes fewer rows."""
        return min(self.batch_size, self.n_samples - i * self.batch_size)

    def placed(
        self, epoch: int, skip: int = 0, part: tuple[int, int] = (0, 1), device: str | None = None
    ) -> Iterator[Array | tuple[Array, ...]]:
        """The batches of epoch `epoch` from number `skip` on: `part` of each, on `device` unless the loader has one.

        Other threads may iterate over the loader meanwhile. The loader's `epoch`, `part` and `device` do not change.
        """
        with _placing:
            before = self.epoch, self.part, self.device
            self.epoch, self.skip, self.part, self.device = epoch, skip, part, self.device or device
            try:
                batches = iter(self)
                first = list(islice(batches, 1))  # an `__iter__` that is a generator reads the place only now
            finally:
                self.skip = 0
                self.epoch, self.part, self.device = before
        return chain(first, batches)

    def forget_copies(self) -> None:
        """Release the memory of the arrays' copies on a device."""
        self.copies.clear()


@replaceable
def transformed(loader: DataLoader, order: Array | None, epoch: int, skip: int) -> Iterator[Any]:
    """What `loader.transform` makes of the batches from number `skip` on; see more/batches.py."""
    raise NotImplementedError


@replaceable
def batch_rows(loader: DataLoader, skip: int) -> Iterator[slice]:
    """The places of the batches from number `skip` on, in the order of an epoch."""
    size = loader.batch_size
    return (slice(i * size, i * size + loader.batch_length(i)) for i in range(skip, len(loader)))


@replaceable
def batches_of(
    arrays: tuple[Array, ...], order: Array | None, rows: Iterator[slice], device: str | None, copies: dict[str, Any]
) -> Iterator[tuple[Array, ...]]:
    """For each of `rows`, these rows of every array, on `device` unless None. `order`, if given, permutes the samples.

    In `copies` a faster function may keep copies of the arrays, by device, until the loader drops the copies.
    """

    def batch(a: Array, own: slice) -> Array:
        taken = plain_array(a[own] if order is None else a[order[own]], "DataLoader: the data")
        return taken if device is None else to_device(taken, device)

    return (tuple(batch(a, own) for a in arrays) for own in rows)


def numbers_in(arrays: Sequence[Array], model: Any) -> list[Array]:
    """The arrays of a batch, where images of bytes are numbers in [0, 1], of the dtype of the model's parameters.

    The first array holds images if it has bytes and at least two axes. An array like the first one holds images too.
    """
    kinds = [(a.dtype, a.shape) for a in arrays]
    if arrays[0].dtype != np.uint8 or arrays[0].ndim < 2:
        return list(arrays)
    dtype = next((p.dtype for p in model.parameters()), np.float32)
    return [a.astype(dtype) / 255 if kind == kinds[0] else a for a, kind in zip(arrays, kinds, strict=True)]


@replaceable
def check_loader(arrays: tuple[Array, ...], transform: Any) -> None:
    """Refuse what no batches can be made of; see guards.py."""


def _integer(name: str, value: Any, smallest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"DataLoader({name}={shown(value)}): expected an integer, such as 64")
    return check_count(f"DataLoader: {name}", value, smallest)
