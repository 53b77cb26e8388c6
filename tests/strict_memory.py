"""Memory as CuPy manages it, for the stand-in: a driver, pools, and the allocator of a thread.

Only sizes are counted here, since the stand-in's arrays are NumPy's. CuPy also cuts large blocks into pieces. A pool
here hands out whole blocks.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ROUNDED = 512  # CuPy's pool rounds sizes up to a multiple


class CUDARuntimeError(RuntimeError):
    """cupy.cuda.runtime.CUDARuntimeError, with the status cudaErrorMemoryAllocation."""


class OutOfMemoryError(MemoryError):
    """cupy.cuda.memory.OutOfMemoryError."""


class Driver:
    """The GPU's driver, with `limit` bytes of memory."""

    limit: int | None = None
    taken = 0

    def malloc(self, size: int) -> None:
        if self.limit is not None and self.taken + size > self.limit:
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
        self.taken += size


driver = Driver()


class Block:
    """Says about memory whether the driver has it back."""

    freed = False


class Memory:
    """cupy.cuda.Memory: bytes of the driver, which are freed with this object."""

    size = 0

    def __init__(self, size: int):
        driver.malloc(size)
        self.size, self.block = size, Block()

    def __del__(self) -> None:
        if self.size:
            driver.taken -= self.size
            self.block.freed = True


class MemoryPointer:
    def __init__(self, mem: Memory):
        self.mem = mem


def malloc(size: int) -> MemoryPointer:
    """cupy.cuda.memory._malloc: memory from the driver, without a pool."""
    return MemoryPointer(Memory(size))


class _Pooled(MemoryPointer):
    """A block of a pool, which goes back to the pool with this object."""

    def __init__(self, mem: Memory, pool: MemoryPool):
        super().__init__(mem)
        self._pool = weakref.ref(pool)

    def __del__(self) -> None:
        if (pool := self._pool()) is not None:
            pool.free.append(self.mem)


class MemoryPool:
    """cupy.cuda.MemoryPool. Where the driver has no more memory, unused blocks are freed."""

    def __init__(self, allocator: Callable[[int], MemoryPointer] = malloc):
        self._allocator = allocator
        self.free: list[Memory] = []

    def malloc(self, size: int) -> MemoryPointer:
        size = -(-size // ROUNDED) * ROUNDED
        fitting = [mem for mem in self.free if mem.size == size]
        if fitting:
            self.free.remove(fitting[-1])
            return _Pooled(fitting[-1], self)
        return _Pooled(self._from_driver(size), self)

    def _from_driver(self, size: int) -> Memory:
        for prepare in (lambda: None, self._free, gc.collect, self._free):
            prepare()
            try:
                return self._allocator(size).mem
            except CUDARuntimeError:
                pass
        raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes (allocated so far: {driver.taken:,} bytes).")

    def _free(self) -> None:
        self.free.clear()

    def free_all_blocks(self) -> None:
        self._free()


class _Allocators(threading.local):
    """The allocators of `using_allocator` in this thread."""

    def __init__(self) -> None:
        self.inner: list[Callable[[int], MemoryPointer]] = []


allocators = _Allocators()
default: list[Callable[[int], MemoryPointer]] = []  # the allocator of all threads, the last one


def get_allocator() -> Callable[[int], MemoryPointer]:
    return allocators.inner[-1] if allocators.inner else default[-1]


def alloc(size: int) -> MemoryPointer:
    return get_allocator()(size)


@contextmanager
def using_allocator(allocator: Callable[[int], MemoryPointer]) -> Iterator[None]:
    allocators.inner.append(allocator)
    try:
        yield
    finally:
        allocators.inner.pop()
