"""How the CUDA kernels of `kernels.cu` and `images.cu` are compiled and launched.

A kernel is compiled for one element type T. One thread computes one element of the result. No thread adds to memory
that another thread writes, so the same input gives the same bits. CuPy compiles a file at its first use, and keeps the
result on disk.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

THREADS = 256  # of a block
TYPES = {"float32": "float", "float64": "double"}

Function = TypeVar("Function", bound=Callable[..., Any])


def source(file: str, dtype: str) -> str:
    """A file's text for one element type T. The option -DT=... would also replace the T in CUDA's own headers."""
    return f"typedef {TYPES[dtype]} T; {(Path(__file__).parent / file).read_text(encoding='utf-8')}"


@functools.cache
def _compiled(cupy: ModuleType, file: str, dtype: str) -> Any:
    return cupy.RawModule(code=source(file, dtype))


@functools.cache
def _kernel(cupy: ModuleType, file: str, name: str, dtype: str) -> Any:
    return _compiled(cupy, file, dtype).get_function(name)


def launch(cupy: ModuleType, file: str, name: str, dtype: Any, threads: int, *arguments: Any) -> None:
    """Run kernel `name`(threads, *arguments). Arguments are contiguous arrays, and Python's integers and floats.

    A float becomes a T. Numbers of NumPy keep their own type.
    """
    largest = max(threads, *(a.size for a in arguments if hasattr(a, "size")))
    if largest >= 2**31:
        raise ValueError(f"{name}: a GPU kernel counts elements in 31 bits, got {largest}; use a smaller batch")
    if threads == 0:
        return
    dtype = np.dtype(dtype)
    given = [np.int32(a) if type(a) in (int, bool) else dtype.type(a) if type(a) is float else a for a in arguments]
    blocks = -(-threads // THREADS)
    _kernel(cupy, file, name, dtype.name)((blocks,), (THREADS,), (np.int32(threads), *given))


def fused(name: str) -> Callable[[Function], Function]:
    """A decorator for `attach`: arrays of float32 or float64 on a GPU go to the kernel `name` of kernels.cu.

    All other arguments go to the formula, also the Tensors of a gradient that is differentiated again.
    """

    def decorate(formula: Function) -> Function:
        @functools.wraps(formula)
        def call(*values: Any) -> Any:
            cupy = sys.modules.get("cupy")
            if cupy is not None and _takes(cupy, values):
                return _elementwise(cupy, name, values)
            return formula(*values)

        return call  # type: ignore[return-value]

    return decorate


def _takes(cupy: ModuleType, values: tuple) -> bool:
    dtype = getattr(values[0], "dtype", None)
    ours = all(isinstance(v, cupy.ndarray) and v.dtype == dtype and v.size for v in values)
    return ours and np.dtype(dtype).name in TYPES


def _elementwise(cupy: ModuleType, name: str, arrays: tuple) -> Any:
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    arrays = tuple(a if a.shape == shape else cupy.broadcast_to(a, shape) for a in arrays)
    leader = next((a for a in arrays if _in_one_piece(a)), None)
    out = cupy.empty(shape, arrays[0].dtype) if leader is None else cupy.empty_like(leader)
    arguments = []
    for a in arrays:
        number = not any(_layout(a))  # a single number for all elements
        if not number and _layout(a) != _layout(out):
            a, source = cupy.empty_like(out), a
            a[...] = source
        arguments += [a[(0,) * a.ndim] if number else a, int(not number)]
    launch(cupy, "kernels.cu", name, out.dtype, out.size, out, *arguments)
    return out


def _layout(a: Any) -> list[int]:
    """The strides of the axes longer than 1."""
    return [stride for stride, n in zip(a.strides, a.shape, strict=True) if n > 1]


def _in_one_piece(a: Any) -> bool:
    """Whether the elements fill one stretch of memory, in any order of axes."""
    expected = a.itemsize
    for stride, n in sorted((s, n) for s, n in zip(a.strides, a.shape, strict=True) if n > 1):
        if stride != expected:
            return False
        expected *= n
    return True
