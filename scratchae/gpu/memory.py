"""The memory of a recorded step, where the GPU has little."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def pool_that_keeps(cupy: Any) -> Any:
    """A pool of memory that returns no block to the driver as long as the pool lives.

    Where the driver has no more memory, CuPy's pool frees the unused blocks of the pool, and asks again. During a
    recording, recorded kernels write to these blocks. Therefore a list keeps all blocks. The second request then fails
    too, and the recording ends with an error.
    """
    blocks: list[Any] = []

    def malloc(size: int) -> Any:
        blocks.append(cupy.cuda.memory._malloc(size))
        return blocks[-1]

    return cupy.cuda.MemoryPool(malloc)


@contextmanager
def giving_way(cupy: Any, release: Callable[[str], bool]) -> Iterator[None]:
    """Inside, an allocation that finds no memory calls `release` with the error's text.

    The allocation is repeated if `release` returns True. Applies to this thread.
    """
    usual = cupy.cuda.get_allocator()

    def malloc(size: int) -> Any:
        try:
            return usual(size)
        except cupy.cuda.memory.OutOfMemoryError as error:
            if not release(str(error)):
                raise
        return usual(size)

    with cupy.cuda.using_allocator(malloc):
        yield
