"""An optimiser's update on a GPU: one launch over the flat buffer.

An array on the GPU holds the learning rate and the number of steps. The kernels of kernels.cu count the steps, so a
recorded step can be replayed. The host writes to the array only where its own numbers differ.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from scratchae.fast.flat import Flat
from scratchae.gpu.kernels import TYPES, launch
from scratchae.optim import SGD, Adam, RMSprop


class Counters:
    """The learning rate and the step count of one flat buffer on its GPU, and the host's copies."""

    def __init__(self, cupy: ModuleType, values: Any):
        self.cupy, self.values = cupy, values
        self.numbers = cupy.zeros(4, "float64")  # learning rate, steps taken, two factors: see kernels.cu
        self.halted = cupy.zeros(1, "float64")  # while not 0, no weight moves
        self.lr, self.step = 0.0, 0
        self.corrections = 0  # how often the host has written the number of steps

    def prepare(self, lr: float, taken: int) -> None:
        """Write the learning rate and the number of steps taken to the GPU, where the GPU's numbers differ."""
        if lr != self.lr:
            self.numbers[0] = self.lr = lr
        if taken != self.step:
            self.numbers[1] = self.step = taken
            self.corrections += 1


_counters: WeakKeyDictionary[Any, Counters] = WeakKeyDictionary()  # by flat buffer


def counters_of(flat: Any) -> Any:
    """The counters of a flat buffer, or None where no kernel moves the buffer. A new layout gets new counters."""
    if not isinstance(flat, Flat) or flat.xp is np or flat.values.dtype.name not in TYPES:
        _counters.pop(flat, None)  # they hold the flat buffer's old memory on a GPU
        return None
    counters = _counters.get(flat)
    if counters is None or counters.values is not flat.values:
        counters = _counters[flat] = Counters(flat.xp, flat.values)
    return counters


def has_kernels(optimizer: Any) -> bool:
    """Whether kernels move all of an optimiser's parameters. A subclass with its own `update` has no kernels."""
    return type(optimizer).update in RULES and all(counters_of(flat) is not None for _, flat in optimizer.updaters())


def move(formula: Callable) -> Callable[..., None]:
    """For `fast.flat.move`: two kernels for each run of parameters. One counts steps, the other moves weights."""

    def by_kernels(optimizer: Any, flat: Any, group: dict) -> None:
        rule, counters = RULES.get(type(optimizer).update), counters_of(flat)
        if rule is None or counters is None:
            return formula(optimizer, flat, group)
        counting, moving, constants_of, names_of = rule
        constants = constants_of(optimizer, group)
        counted = None
        for span, g, step in flat.runs():
            if step != counted:
                counters.prepare(group["lr"], step - 1)
                counters.step += 1
                launch(flat.xp, "kernels.cu", counting, "float64", 1, counters.numbers, *constants[0], counters.halted)
            p, state = flat.values[span], flat.state_of(span)
            arrays = [state.get(name, p) for name in names_of]  # no kernel reads the `p` in place of unused state
            numbers = (counters.numbers, counters.halted, *constants[1])
            launch(flat.xp, "kernels.cu", moving, p.dtype, p.size, p, g, *arrays, *numbers)
            counted = step

    return functools.wraps(formula)(by_kernels)


def _of_sgd(optimizer: Any, group: dict) -> tuple[list, list]:
    options = [float(group[name]) for name in ("momentum", "dampening", "weight_decay")]
    return [], [*options, bool(group["nesterov"])]


def _of_adam(optimizer: Any, group: dict) -> tuple[list, list]:
    betas = [float(beta) for beta in group["betas"]]
    options = [float(group["weight_decay"]), optimizer.decoupled, bool(group["amsgrad"])]
    return [*betas, float(group["eps"])], [*betas, *options]


def _of_rmsprop(optimizer: Any, group: dict) -> tuple[list, list]:
    options = [float(group[name]) for name in ("alpha", "eps", "weight_decay", "momentum")]
    return [], [*options, bool(group["centered"])]


RULES: dict[Any, tuple[str, str, Callable, tuple[str, ...]]] = {
    SGD.update: ("count_step", "sgd", _of_sgd, ("momentum_buffer",)),
    Adam.update: ("adam_factors", "adam", _of_adam, ("sum", "sum_sq", "max_sum_sq")),
    RMSprop.update: ("count_step", "rmsprop", _of_rmsprop, ("square_avg", "momentum_buffer", "grad_avg")),
}
"""For each rule's `update`: the kernel that counts, the kernel that moves, their constants, and the state's arrays."""
