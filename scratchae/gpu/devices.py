"""The error for a GPU whose memory is full."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np


def told_when_full(formula: Callable) -> Callable[[str], AbstractContextManager[Any]]:
    """For `backend.told_when_full`: release the memory of the failed work, and raise a MemoryError that names it."""

    @contextmanager
    def told(what: str) -> Iterator[None]:
        try:
            yield
        except MemoryError as error:
            cupy = sys.modules.get("cupy")
            if cupy is None or not isinstance(error, cupy.cuda.memory.OutOfMemoryError):
                raise
            traceback.clear_frames(error.__traceback__)  # the frames hold the arrays of the failed work
            cupy.get_default_memory_pool().free_all_blocks()
            free, total = (f"{n / 2**30:.2f}" for n in cupy.cuda.runtime.memGetInfo())
            reason = str(error).rstrip(".")
            raise MemoryError(
                f"the GPU's memory is too small for {what}: {reason}. What that took has been released, {free} of "
                f"{total} GiB are free now; use a smaller batch_size"
            ) from None

    return told


def on_gpus(decorator: Callable) -> Callable:
    """A decorator of one argument `x` whose way is taken for arrays on a GPU alone."""

    def decorate(formula: Callable) -> Callable:
        way = decorator(formula)
        return lambda x: formula(x) if isinstance(x, np.ndarray) else way(x)

    return decorate
