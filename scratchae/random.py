"""Random numbers: one generator per device, all derived from one seed, and parts of them for parts of a batch."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from scratchae.backend import Array, current, device_of, gpu_available, load_cupy
from scratchae.checks import check_count, shown


class _Randomness:
    """A seed, the generators derived from it, and the randomness `around` that holds again afterwards."""

    def __init__(self, seed: int | None = None, around: _Randomness | None = None):
        self.seed, self.around = seed, around
        self.forks = 0  # processes forked since the seed was set
        self.generators: dict[str, Any] = {}

    def generator(self, device: str = "cpu") -> Any:
        if device not in self.generators:
            if device == "cpu":
                self.generators[device] = np.random.default_rng(self.seed)
            else:
                from scratchae.gpu.random import Generator

                with current(device):
                    self.generators[device] = Generator(load_cupy(), self.seed)
        return self.generators[device]

    def start_child(self) -> None:
        """In a process that was just forked: start from a seed that follows from the parent's and the fork's number."""
        if self.seed is not None:
            derived = np.random.SeedSequence(self.seed, spawn_key=(self.forks,))
            self.seed = int(derived.generate_state(1, np.uint64)[0]) >> 1  # as large as `manual_seed` takes
        self.forks = 0
        cpu = self.generators.get("cpu")
        self.generators.clear()  # a GPU cannot be used after a fork
        # Somebody may keep the generator, so it stays. But a thread that drew from it in the parent has locked it.
        if cpu is not None and cpu.bit_generator.lock.acquire(blocking=False):
            cpu.bit_generator.lock.release()
            cpu.bit_generator.state = np.random.default_rng(self.seed).bit_generator.state
            self.generators["cpu"] = cpu


class _Local(threading.local):
    """What holds for one thread: its randomness (that of all but inside `fixed_seed`), and its part of a batch."""

    def __init__(self) -> None:
        self.randomness = _shared
        self.part: tuple[slice, int] | None = None


_shared = _Randomness()
_local = _Local()


def manual_seed(seed: int) -> None:
    """Seed everything random here: initialisation, dropout, noise, sampling, shuffling without a seed.

    Raises ValueError unless `seed` is an integer of at least 0.
    """
    _local.randomness.seed = check_count("seed", seed, 0)
    _local.randomness.forks = 0
    _local.randomness.generators.clear()


def generator(device: str = "cpu") -> Any:
    """The device's random generator: `numpy.random.Generator`, or one on the GPU that has its common methods.

    Where several processes share a batch, what is drawn per sample is drawn for all of it, and each takes its own:
    the numbers are then those of a single process. An array counts as one of samples if its first axis is as long as
    the process's part of the batch.

    A forked process draws numbers of its own: they follow from the seed and from how many processes were forked before.
    A spawned one starts like a new script, without a seed until it sets one.
    """
    whole = _local.randomness.generator("gpu:0" if device == "gpu" else device)
    return whole if _local.part is None else _PartOfBatch(whole, *_local.part)


class _PartOfBatch:
    """A generator whose arrays of `rows`' length are those rows of arrays of length `total`."""

    def __init__(self, whole: Any, rows: slice, total: int):
        self._whole, self._rows, self._total = whole, rows, total

    def random(self, size: Any = None, **options: Any) -> Any:
        return self._draw(self._whole.random, size, options)

    def standard_normal(self, size: Any = None, **options: Any) -> Any:
        return self._draw(self._whole.standard_normal, size, options)

    def _draw(self, draw: Any, size: Any, options: dict) -> Any:
        shape = tuple(size) if isinstance(size, (tuple, list)) else (size,)
        if shape[:1] != (self._rows.stop - self._rows.start,):
            return draw(size, **options)
        return draw((self._total, *shape[1:]), **options)[self._rows]

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
    before = _local.randomness
    _local.randomness = _Randomness(check_count("seed", seed, 0), around=before)
    try:
        yield
    finally:
        _local.randomness = before


def random_state() -> dict[str, Any]:
    """The seed, and where the generators stand, as numbers and strings; for `set_random_state`."""
    now = _local.randomness
    gpus = {name: g.state for name, g in now.generators.items() if name != "cpu"}
    return {"seed": now.seed, "forks": now.forks, "cpu": now.generator().bit_generator.state, **gpus}


def check_random_state(state: Any) -> None:
    """ValueError unless `state` is what `random_state` gives, or gave before it counted forks."""
    if not isinstance(state, dict) or not {"seed", "cpu"} <= state.keys():
        raise ValueError(f"the random state is {shown(state)}; expected what sa.random.random_state() gave")
    for name, value in state.items():
        if name == "cpu":
            right, expected = _is_place(value), "where a generator of numpy.random.default_rng stands"
        elif name == "seed":
            right, expected = value is None or _is_natural(value), "None or an integer of at least 0"
        elif name == "forks":
            right, expected = _is_natural(value), "an integer of at least 0"
        else:
            gpu = isinstance(name, str) and name.startswith("gpu:") and name[4:].isdecimal()
            right = gpu and isinstance(value, list) and len(value) == 2 and all(_is_natural(v, 2**64) for v in value)
            expected = "nothing but seed, forks, cpu and 'gpu:<number>', with two integers of 64 bits"
        if not right:
            raise ValueError(f"the random state has {name!r}: {shown(value)}; expected {expected}")


def _is_natural(value: Any, below: float = math.inf) -> bool:
    return type(value) is int and 0 <= value < below


def _is_place(value: Any) -> bool:
    """Whether a generator on the CPU can stand there; NumPy's errors are of many kinds, and not all faults give one."""
    trial = np.random.default_rng(0).bit_generator
    try:
        trial.state = value
        return bool(trial.state == value)
    except Exception:
        return False


def set_random_state(state: dict[str, Any]) -> None:
    """Go on where `random_state` was taken. A GPU that is not in it, or not here, starts anew from the seed.

    Raises ValueError, with nothing changed, for what is no such state.
    """
    check_random_state(state)
    now = _local.randomness
    now.seed, now.forks = state["seed"], state.get("forks", 0)
    now.generators.clear()
    now.generator().bit_generator.state = state["cpu"]
    count = load_cupy().cuda.runtime.getDeviceCount() if gpu_available() else 0
    for name in state.keys() & {f"gpu:{number}" for number in range(count)}:
        now.generator(name).state = state[name]


def normal_like(x: Array) -> Array:
    """Standard normal numbers in the shape, dtype and place of `x`."""
    noise = generator(device_of(x)).standard_normal(x.shape, dtype=np.float64 if x.dtype == np.float64 else np.float32)
    return noise.astype(x.dtype, copy=False)


def random_seed() -> int:
    """A fresh seed for something that keeps its own generator (a loader)."""
    return int(generator().integers(2**31))


def _chain() -> Iterator[_Randomness]:
    """What this thread draws from, and what it will draw from again when it leaves `fixed_seed`."""
    randomness: _Randomness | None = _local.randomness
    while randomness is not None:
        yield randomness
        randomness = randomness.around


def _count_fork() -> None:
    for randomness in _chain():
        randomness.forks += 1


def _start_child() -> None:
    for randomness in _chain():
        randomness.start_child()


if hasattr(os, "register_at_fork"):  # not on Windows, where no process is forked
    os.register_at_fork(before=_count_fork, after_in_child=_start_child)
