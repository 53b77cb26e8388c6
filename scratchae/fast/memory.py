"""The allocator keeps the memory of freed arrays for the next step."""

from __future__ import annotations

import ctypes


def keep_freed_memory() -> bool:
    """Make glibc keep the memory of freed arrays for the next step, instead of returning it to the kernel.

    A training step frees and allocates the same sizes over and over. By default glibc returns every large block at
    once. The kernel then clears and maps each block again, page by page, which costs several times the arithmetic.
    The price is that the process keeps its peak memory until the process ends.

    Returns whether the setting took effect, which is False for another C library. `SCRATCHAE_KEEP_MEMORY=0` in the
    environment leaves the allocator's settings unchanged.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of <malloc.h>
    # Older glibc refuses thresholds over 32 MiB. Most layers need less.
    took = mallopt(mmap_threshold, 1 << 30) or mallopt(mmap_threshold, 32 << 20)
    return bool(took and mallopt(trim_threshold, 2**31 - 1))
