"""Random numbers drawn on the GPU, from a seed and a counter in the GPU's own memory.

CuPy's generators keep a state per thread, which takes megabytes. Here the state is two numbers, which a checkpoint can
hold. A recorded step adds to the counter, and draws new numbers at each replay.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from scratchae.backend import load_cupy
from scratchae.gpu.kernels import TYPES, launch


class Generator:
    """The methods of NumPy's generator that training needs. A draw's element i follows from seed, counter and i."""

    def __init__(self, cupy: ModuleType, seed: int | None):
        self._cupy = cupy
        entropy = np.random.SeedSequence(seed).generate_state(1, np.uint64)
        self._place = cupy.asarray(np.array([entropy[0], 0], np.uint64))

    @property
    def state(self) -> list[int]:
        """Seed and counter; reading them waits for the GPU."""
        return self._place.get().tolist()

    @state.setter
    def state(self, value: list[int]) -> None:
        self._place[...] = self._cupy.asarray(np.array(value, np.uint64))

    def arrays(self) -> list[Any]:
        """The arrays that a draw changes."""
        return [self._place]

    def random(self, size: Any = None, dtype: Any = np.float64) -> Any:
        """Uniform in [0, 1)."""
        return self._draw("uniform", size, dtype)

    def standard_normal(self, size: Any = None, dtype: Any = np.float64) -> Any:
        return self._draw("normal", size, dtype)

    def uniform(self, low: float = 0.0, high: float = 1.0, size: Any = None, dtype: Any = np.float64) -> Any:
        return self.random(size, dtype) * (high - low) + low

    def normal(self, loc: float = 0.0, scale: float = 1.0, size: Any = None, dtype: Any = np.float64) -> Any:
        return self.standard_normal(size, dtype) * scale + loc

    def integers(self, low: int, high: int | None = None, size: Any = None, dtype: Any = np.int64) -> Any:
        """From low to high - 1, or from 0 to low - 1 without `high`. The resolution is 2^-53 of the range."""
        low, high = (0, low) if high is None else (low, high)
        return self._cupy.floor(self.random(size) * (high - low) + low).astype(dtype)

    def _draw(self, kernel: str, size: Any, dtype: Any) -> Any:
        if np.dtype(dtype).name not in TYPES:
            raise TypeError(f"random numbers are drawn as float32 or float64, got dtype={np.dtype(dtype)}")
        shape = () if size is None else tuple(size) if isinstance(size, (tuple, list)) else (size,)
        out = self._cupy.empty(shape, dtype)
        n = math.prod(shape)
        launch(self._cupy, "kernels.cu", kernel, dtype, n, out, self._place)
        launch(self._cupy, "kernels.cu", "count_draws", dtype, 1, self._place, n)
        return out


def generator_on_the_gpu(formula: Callable[..., Any]) -> Callable[..., Any]:
    """A `Generator` for a GPU, which must be CuPy's current device."""

    def new_generator(device: str, seed: int | None) -> Any:
        return formula(device, seed) if device == "cpu" else Generator(load_cupy(), seed)

    return new_generator
