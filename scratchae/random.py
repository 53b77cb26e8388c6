"""Random numbers: one generator per device, all derived from one seed, and parts of them for parts of a batch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from scratchae.backend import Array, current, device_of, gpu_available, load_cupy


class _Randomness:
    """A seed, and the generators derived from it."""

    def __init__(self, seed: int | None = None):
        self.seed = seed
        self.generators: dict[str, Any] = {}


class _Local(threading.local):
    """What holds for one thread: its randomness (that of all but inside `fixed_seed`), and its part of a batch."""

    def __init__(self) -> None:
        self.randomness = _shared
        self.part: tuple[slice, int] | None = None


_shared = _Randomness()
_local = _Local()


def manual_seed(seed: int) -> None:
    """Seed everything random here: initialisation, dropout, noise, sampling, shuffling without a seed."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"manual_seed({seed!r}): expected an integer of at least 0")
    _local.randomness.seed = int(seed)
    _local.randomness.generators.clear()


def generator(device: str = "cpu") -> Any:
    """The device's random generator: `numpy.random.Generator`, or one on the GPU that has its common methods.

    Where several processes share a batch, what is drawn per sample is drawn for all of it, and each takes its own:
    the numbers are then those of a single process. An array counts as one of samples if its first axis is as long as
    the process's part of the batch.
    """
    device = "gpu:0" if device == "gpu" else device
    seed, generators = _local.randomness.seed, _local.randomness.generators
    if device not in generators:
        if device == "cpu":
            generators[device] = np.random.default_rng(seed)
        else:
            from scratchae.gpu.random import Generator

            with current(device):
                generators[device] = Generator(load_cupy(), seed)
    return generators[device] if _local.part is None else _PartOfBatch(generators[device], *_local.part)


class _PartOfBatch:
    """A generator whose arrays of `rows`' length are those rows of arrays of length `total`."""

    def __init__(self, whole: Any, rows: slice, total: int):
        self._whole, self._rows, self._total = whole, rows, total

    def random(self, size: Any = None, **options: Any) -> Any:
        return self._draw(self._whole.random, size, options)

    def standard_normal(self, size: Any = None, **options: Any) -> Any:
        return self._draw(self._whole.standard_normal, size, options)

    def _draw(self, draw: Any, size: Any, options: dict) -> Any:
        if not isinstance(size, tuple) or size[:1] != (self._rows.stop - self._rows.start,):
            return draw(size, **options)
        return draw((self._total, *size[1:]), **options)[self._rows]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


def rows_of(n: int, rank: int, size: int) -> slice:
    """Those of `n` rows that process `rank` of `size` takes."""
    return slice(n * rank // size, n * (rank + 1) // size)


@contextmanager
def part_of_batch(rows: slice, total: int) -> Iterator[None]:
    """Inside, this thread computes only `rows` of a batch of `total`; see `generator` and `batch_share`."""
    before, _local.part = _local.part, None if rows.stop - rows.start == total else (rows, total)
    try:
        yield
    finally:
        _local.part = before


def batch_share() -> float:
    """The share of the batch that this thread computes: 1, but inside `part_of_batch`."""
    return 1.0 if _local.part is None else (_local.part[0].stop - _local.part[0].start) / _local.part[1]


@contextmanager
def fixed_seed(seed: int) -> Iterator[None]:
    """Inside, all randomness of this thread comes from `seed`; afterwards the generators go on where they were."""
    before, _local.randomness = _local.randomness, _Randomness(seed)
    try:
        yield
    finally:
        _local.randomness = before


def random_state() -> dict[str, Any]:
    """The seed, and where the generators stand, as numbers and strings; for `set_random_state`."""
    gpus = {name: g.state for name, g in _local.randomness.generators.items() if name != "cpu"}
    return {"seed": _local.randomness.seed, "cpu": generator().bit_generator.state, **gpus}


def set_random_state(state: dict[str, Any]) -> None:
    """Go on where `random_state` was taken. A GPU that is not in it, or not here, starts anew from the seed."""
    _local.randomness.seed = state["seed"]
    _local.randomness.generators.clear()
    generator().bit_generator.state = state["cpu"]
    for name, place in state.items():
        if name.startswith("gpu:") and gpu_available():
            generator(name).state = place


def normal_like(x: Array) -> Array:
    """Standard normal numbers in the shape, dtype and place of `x`."""
    noise = generator(device_of(x)).standard_normal(x.shape, dtype=np.float64 if x.dtype == np.float64 else np.float32)
    return noise.astype(x.dtype, copy=False)


def random_seed() -> int:
    """A fresh seed for something that keeps its own generator (a loader)."""
    return int(generator().integers(2**31))
