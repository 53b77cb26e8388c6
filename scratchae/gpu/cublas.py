"""Matrix products on GPUs: cuBLAS, called through a handle of our own.

CuPy's products use cuBLAS too. But CuPy refuses products while a CUDA graph records. CuPy also copies a stack of
matrices that overlap in memory, as the matrices of a convolution do. A direct call of cuBLAS has neither limit. This
file calls no other CUDA library.
"""

from __future__ import annotations

import ctypes
import functools
import math
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from scratchae.backend import xp_of

GEMM = {"float32": ("S", ctypes.c_float), "float64": ("D", ctypes.c_double)}  # letter in BLAS, number in C
WORKSPACE = 32 << 20  # bytes, as NVIDIA advises for Hopper. Allocated beforehand: a recording must not allocate
DEFAULT_MATH, TF32_MATH = 0, 3  # cublasMath_t

_tf32 = False


def allow_tf32(allowed: bool = True) -> None:
    """Set whether float32 products on GPUs may round their inputs to 10 bits of mantissa (TF32).

    GPUs from Ampere on multiply TF32 several times faster. By default TF32 is off, and float32 is exact float32. The
    CPU ignores the setting.
    """
    global _tf32
    _tf32 = bool(allowed)


def tf32_allowed() -> bool:
    return _tf32


class Handle:
    """The state of cuBLAS for one stream. Products run in the stream's order, in a workspace of the stream's own."""

    def __init__(self, cupy: ModuleType, stream: int):
        self.library, self.pointer, self.math = _library(), ctypes.c_void_p(), DEFAULT_MATH
        self.workspace = cupy.cuda.alloc(WORKSPACE)
        _call(self.library, "cublasCreate_v2", ctypes.byref(self.pointer))
        self.call("cublasSetStream_v2", ctypes.c_void_p(stream))
        self.call("cublasSetWorkspace_v2", ctypes.c_void_p(self.workspace.ptr), ctypes.c_size_t(WORKSPACE))

    def call(self, name: str, *arguments: Any) -> None:
        _call(self.library, name, self.pointer, *arguments)


def _call(library: Any, name: str, *arguments: Any) -> None:
    if status := getattr(library, name)(*arguments):
        raise RuntimeError(f"{name} of cuBLAS failed with status {status}")


@functools.cache
def _library() -> Any:
    try:
        from cuda import pathfinder  # comes with CuPy, and finds the libraries in the CUDA wheels

        return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublas").abs_path)
    except Exception as first:  # pathfinder raises errors of many classes
        windows = sys.platform == "win32"
        names = [f"cublas64_{v}.dll" if windows else f"libcublas.so.{v}" for v in (13, 12)]
        for name in names:
            try:
                return ctypes.CDLL(name)
            except OSError:
                continue
        raise RuntimeError(
            f"CuPy is here, but cuBLAS is not ({first}; also looked for {', '.join(names)}). CuPy's extra [ctk] brings "
            "it:  pip install 'scratchae[cuda13]'  (or [cuda12], for a driver of CUDA 12)"
        ) from None


_handles: dict[tuple[int, int], Handle] = {}


def _handle(cupy: ModuleType, device: int) -> Handle:
    stream = cupy.cuda.get_current_stream().ptr
    if (device, stream) not in _handles:
        _handles[device, stream] = Handle(cupy, stream)
    return _handles[device, stream]


class _Operand(NamedTuple):
    """A stack of matrices in the form that BLAS takes."""

    array: Any  # a reference, so that a copy stays alive
    transposed: bool
    leading: int  # elements from one row to the next; if transposed, from one column to the next
    apart: int  # elements from one matrix to the next


def _operand(cupy: ModuleType, x: Any, stack: tuple[int, ...]) -> _Operand:
    if len(stack) != 1 or x.ndim > 3 or (x.ndim == 3 and x.shape[0] not in (1, *stack)):
        x = cupy.broadcast_to(x, (*stack, *x.shape[-2:])).reshape(-1, *x.shape[-2:])
    rows, columns = x.shape[-2:]
    down, along = (stride // x.itemsize for stride in x.strides[-2:])
    transposed = False
    if (along == 1 or columns == 1) and (down >= columns or rows == 1):
        leading = down if rows > 1 else columns
    elif (down == 1 or rows == 1) and (along >= rows or columns == 1):
        leading, transposed = (along if columns > 1 else rows), True
    else:
        x, leading = cupy.ascontiguousarray(x), columns
    apart = x.strides[0] // x.itemsize if x.ndim == 3 and x.shape[0] > 1 else 0
    return _Operand(x, transposed, max(1, leading), apart)


def linear(formula: Callable) -> Callable:
    """x weight^T + bias."""

    def by_cublas(x: Any, weight: Any, bias: Any = None) -> Any:
        if isinstance(x, np.ndarray):
            return formula(x, weight, bias)
        xp_of(x, weight, bias)  # refuses two devices
        out = gemm(_rows(x), weight.T)
        if bias is not None:
            out += bias
        return out if x.ndim == 2 else out.reshape(*x.shape[:-1], len(weight))

    return by_cublas


def linear_weight_grad(formula: Callable) -> Callable:
    """g^T x."""

    def by_cublas(g: Any, x: Any, memory: Any = None) -> Any:
        on_cpu = isinstance(g, np.ndarray)
        return formula(g, x, memory) if on_cpu else gemm(_rows(g).T, _rows(x), memory)

    return by_cublas


def product(formula: Callable) -> Callable:
    """Stacks of matrices."""

    def by_cublas(x: Any, y: Any) -> Any:
        return formula(x, y) if isinstance(x, np.ndarray) else gemm(x, y)

    return by_cublas


def _rows(x: Any) -> Any:
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def gemm(x: Any, y: Any, out: Any = None) -> Any:
    """`x @ y` for arrays on one GPU, with NumPy's rules. `out`, if given, is a C-contiguous array for the result."""
    cupy = xp_of(x, y)  # refuses two devices
    fits = x.ndim > 0 and y.ndim > 0 and x.shape[-1] == y.shape[-min(2, y.ndim)]
    if not fits or x.dtype != y.dtype or x.dtype.name not in GEMM:
        return cupy.matmul(x, y, out=out)  # CuPy raises the error, or multiplies other dtypes
    a, b = x[None] if x.ndim == 1 else x, y[:, None] if y.ndim == 1 else y
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    (m, k), n, count = a.shape[-2:], b.shape[-1], int(np.prod(stack, dtype=int))
    shape = (*stack, *([m] if x.ndim > 1 else []), *([n] if y.ndim > 1 else []))
    out = cupy.empty(shape, x.dtype) if out is None else out
    if out.size == 0 or k == 0:
        out.fill(0)
        return out
    a, b = _operand(cupy, a, stack or (1,)), _operand(cupy, b, stack or (1,))
    letter, number = GEMM[x.dtype.name]
    handle = _handle(cupy, x.device.id)
    mode = TF32_MATH if _tf32 and letter == "S" else DEFAULT_MATH
    if handle.math != mode:
        handle.call("cublasSetMathMode", mode)
        handle.math = mode
    # BLAS reads memory by columns and NumPy by rows, so BLAS sees transposed matrices: b^T a^T = (a b)^T.
    sizes = (int(b.transposed), int(a.transposed), n, m, k)
    one, zero = ctypes.byref(number(1)), ctypes.byref(number(0))
    first, second, result = (ctypes.c_void_p(array.data.ptr) for array in (b.array, a.array, out))
    if count == 1:
        handle.call(f"cublas{letter}gemm_v2", *sizes, one, first, b.leading, second, a.leading, zero, result, n)
    else:
        apart = [ctypes.c_longlong(elements) for elements in (b.apart, a.apart, m * n)]
        handle.call(
            f"cublas{letter}gemmStridedBatched", *sizes, one, first, b.leading, apart[0],
            second, a.leading, apart[1], zero, result, n, apart[2], count,
        )  # fmt: skip
    return out
