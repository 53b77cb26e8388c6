"""Where the random generators stand, as numbers and strings, so that a run can go on with the same numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from scratchae import random
from scratchae.backend import gpu_available, load_cupy
from scratchae.checks import shown


def random_state() -> dict[str, Any]:
    """The seed, and where the generators stand, as numbers and strings; for `set_random_state`."""
    now = random.local.randomness
    gpus = {name: g.state for name, g in now.generators.items() if name != "cpu"}
    return {"seed": now.seed, "forks": now.derived, "cpu": now.generator("cpu").bit_generator.state, **gpus}


def check_random_state(state: Any) -> None:
    """ValueError unless `state` is what `random_state` gives, or gave before the state counted forks."""
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
    """Whether a generator on the CPU can stand there. NumPy raises errors of many kinds, and misses some faults."""
    trial = np.random.default_rng(0).bit_generator
    try:
        trial.state = value
        return bool(trial.state == value)
    except Exception:
        return False


def set_random_state(state: dict[str, Any]) -> None:
    """Go on where `random_state` was taken.

    A GPU that is not in the state, or not in this machine, starts anew from the seed. Raises ValueError, with nothing
    changed, for a `state` that `check_random_state` refuses.
    """
    check_random_state(state)
    now = random.local.randomness
    now.start(state["seed"])
    now.derived = state.get("forks", 0)
    now.generator("cpu").bit_generator.state = state["cpu"]
    count = load_cupy().cuda.runtime.getDeviceCount() if gpu_available() else 0
    for name in state.keys() & {f"gpu:{number}" for number in range(count)}:
        now.generator(name).state = state[name]
