"""Random numbers: one generator per device, and all generators follow from one seed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from scratchae.attach import replaceable
from scratchae.backend import Array, current, device_of
from scratchae.checks import check_count

random_state: Callable[[], dict[str, Any]]  # from files/, like the next two
check_random_state: Callable[[Any], None]
set_random_state: Callable[[dict[str, Any]], None]


class Randomness:
    """A seed, and the generators that follow from the seed, by device.

    `around` is the randomness that a thread returns to at the end of `fixed_seed`. `derived` counts the seeds that
    were derived from this seed; each count gives another seed.
    """

    def __init__(self, seed: int | None = None, around: Randomness | None = None):
        self.around = around
        self.start(seed)

    def start(self, seed: int | None) -> None:
        """Forget all generators; new generators follow from `seed`."""
        self.seed, self.derived = seed, 0
        self.generators: dict[str, Any] = {}

    def generator(self, device: str) -> Any:
        if device not in self.generators:
            with current(device):
                self.generators[device] = new_generator(device, self.seed)
        return self.generators[device]


@replaceable
def new_generator(device: str, seed: int | None) -> Any:
    """A generator on `device` with NumPy's methods `random`, `standard_normal`, `uniform`, `normal` and `integers`."""
    return np.random.default_rng(seed)


class _Local(threading.local):
    """The randomness of the current thread. Outside `fixed_seed` all threads share one."""

    randomness = Randomness()


local = _Local()


def manual_seed(seed: int) -> None:
    """Seed everything random here: initialisation, dropout, noise, sampling, shuffling without a seed.

    Raises ValueError unless `seed` is an integer of at least 0.
    """
    local.randomness.start(check_count("seed", seed, 0))


@replaceable
def generator(device: str = "cpu", per_sample: bool = False) -> Any:
    """The device's random generator: `numpy.random.Generator`, or a generator on the GPU with its common methods.

    Pass `per_sample=True` for noise of a batch: the first axis of every draw then counts the samples of the batch in
    progress. Where several processes share a batch, each gets the rows of its own samples from the draw for the whole
    batch. The numbers are thus equal for every number of processes. Pass the draw's `size` by name; where processes
    share the batch, a size that does not begin with the number of samples raises ValueError.

    A forked process draws numbers of its own. Its seed follows from the parent's seed and from the number of forks
    before. A spawned process starts like a new script, without a seed until the process sets a seed.
    """
    return local.randomness.generator("gpu:0" if device == "gpu" else device)


@contextmanager
def fixed_seed(seed: int) -> Iterator[None]:
    """Inside, all randomness of this thread comes from `seed`; afterwards the generators go on where they were."""
    before = local.randomness
    local.randomness = Randomness(check_count("seed", seed, 0), around=before)
    try:
        yield
    finally:
        local.randomness = before


def normal_like(x: Array, per_sample: bool = True) -> Array:
    """Standard normal numbers in the shape, dtype and place of the array `x`; see `functional.normal_like`."""
    dtype = np.float64 if x.dtype == np.float64 else np.float32
    return generator(device_of(x), per_sample).standard_normal(x.shape, dtype=dtype).astype(x.dtype, copy=False)


def random_seed() -> int:
    """A fresh seed, for an object that keeps a generator of its own, such as a loader."""
    return int(generator().integers(2**31))
