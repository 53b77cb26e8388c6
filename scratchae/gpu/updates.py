"""An optimiser's update on a GPU: one launch over the flat buffer, with what changes from step to step kept there.

The learning rate and the number of steps lie in an array on the GPU, and the kernels of kernels.cu count on by
themselves. A recorded step can so be replayed, and the host only writes where its own idea of them differs.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from scratchae.gpu.kernels import launch


class Counters:
    """The numbers of one flat buffer on its GPU, and what the host knows of them."""

    def __init__(self, cupy: ModuleType):
        self.cupy = cupy
        self.numbers = cupy.zeros(4, "float64")  # learning rate, steps taken, two factors: see kernels.cu
        self.halted = cupy.zeros(1, "float64")  # not 0: nothing moves
        self.lr, self.step = 0.0, 0
        self.corrections = 0  # of the number of steps, by the host

    def prepare(self, lr: float, taken: int) -> None:
        """Tell the GPU the learning rate and the number of steps taken, where it has others."""
        if lr != self.lr:
            self.numbers[0] = self.lr = lr
        if taken != self.step:
            self.numbers[1] = self.step = taken
            self.corrections += 1


class Update:
    """One update of a piece: what an optimiser's `update_on_gpu` calls."""

    def __init__(self, counters: Counters, p: Any, g: Any, is_new: bool):
        self._counters, self._p, self._g, self._is_new = counters, p, g, is_new

    def count(self, kernel: str, *constants: float) -> None:
        """A kernel of one thread, which counts the step, once for all pieces; `constants` are of float64."""
        if self._is_new:
            self._counters.step += 1
            arguments = (self._counters.numbers, *constants, self._counters.halted)
            launch(self._counters.cupy, "kernels.cu", kernel, "float64", 1, *arguments)

    def move(self, kernel: str, state: list[Any], *constants: float) -> None:
        """The kernel that moves the parameters; `state` are arrays beside them, None for one that it will not read."""
        p, counters = self._p, self._counters
        arrays = [p, self._g, *(p if array is None else array for array in state), counters.numbers, counters.halted]
        launch(counters.cupy, "kernels.cu", kernel, p.dtype, p.size, *arrays, *constants)
