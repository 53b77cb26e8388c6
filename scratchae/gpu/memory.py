"""The memory of a recorded step, where the GPU has little."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def pool_that_keeps(cupy: Any) -> Any:
    """A pool of memory that returns no block to the driver as long as the pool lives.

    Where the driver has no more memory, CuPy's pool frees the pool's unused blocks and repeats the request. Recorded
    kernels may write to these blocks. Therefore a list holds all blocks. Where memory is short, the repeated request
    fails too, and the recording ends with an error.
    """
    blocks: list[Any] = []

    def malloc(size: int) -> Any:
        blocks.append(cupy.cuda.memory._malloc(size))
        return blocks[-1]

    return cupy.cuda.MemoryPool(malloc)


@contextmanager
def giving_way(cupy: Any, release: Callable[[str], bool]) -> Iterator[None]:
    """Inside, an allocation without memory left leads to a call of `release`, with the error's text.

    If `release` returns True, the allocation is repeated. Applies to this thread.
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
