"""Random numbers in forked processes. The parent's sequence goes on, and each child draws other numbers.

A child's seed follows from the parent's seed and the number of earlier forks. So a script that forks workers draws the
same numbers each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from scratchae import random
from scratchae.random import Randomness


def watch_forks() -> None:
    """From here on, give every forked process a seed of its own. On Windows no process is forked."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_count_fork, after_in_child=_start_child)


def _chain() -> Iterator[Randomness]:
    """The present `Randomness` of this thread, and every earlier state that `fixed_seed` puts back at its end."""
    randomness: Randomness | None = random.local.randomness
    while randomness is not None:
        yield randomness
        randomness = randomness.around


def _count_fork() -> None:
    for randomness in _chain():
        randomness.derived += 1


def _start_child() -> None:
    """In the child: start from the derived seeds. The GPU's generators are dropped; no GPU works after a fork."""
    for randomness in _chain():
        cpu, seed = randomness.generators.get("cpu"), randomness.seed
        if seed is not None:
            derived = np.random.SeedSequence(seed, spawn_key=(randomness.derived,))
            seed = int(derived.generate_state(1, np.uint64)[0]) >> 1  # as large as `manual_seed` takes
        randomness.start(seed)
        # The script may keep the generator, so the object stays. A thread that drew in the parent has locked it.
        if cpu is not None and cpu.bit_generator.lock.acquire(blocking=False):
            cpu.bit_generator.lock.release()
            cpu.bit_generator.state = np.random.default_rng(seed).bit_generator.state
            randomness.generators["cpu"] = cpu
