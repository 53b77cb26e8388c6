"""The few functions of cuBLAS that scratchae calls, computed by NumPy on the memory behind the pointers.

As strict as the library: leading dimensions that do not fit are refused, and so is a handle that was not made.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

INVALID_VALUE = 7
calls: list[str] = []  # the products made, by name


def _matrices(pointer: Any, rows: int, columns: int, leading: int, apart: int, count: int, dtype: Any) -> np.ndarray:
    """`count` matrices stored column by column, `apart` elements from each other."""
    item = np.dtype(dtype).itemsize
    size = (count - 1) * apart + (columns - 1) * leading + rows
    memory = (ctypes.c_char * (size * item)).from_address(pointer.value)
    flat = np.frombuffer(memory, dtype)
    return np.lib.stride_tricks.as_strided(flat, (count, rows, columns), (apart * item, item, leading * item))


class Library:
    """What `ctypes.CDLL` gives for cuBLAS."""

    def __init__(self, perform: Any):
        self._perform = perform  # of the stand-in: now, or into the recording
        self._handles: set[int] = set()

    def cublasCreate_v2(self, place: Any) -> int:
        place._obj.value = 1000 + len(self._handles)
        self._handles.add(place._obj.value)
        return 0

    def cublasSetStream_v2(self, handle: Any, stream: ctypes.c_void_p) -> int:
        return 0 if handle.value in self._handles else INVALID_VALUE

    def cublasSetWorkspace_v2(self, handle: Any, memory: ctypes.c_void_p, size: ctypes.c_size_t) -> int:
        return 0 if handle.value in self._handles and memory.value and size.value else INVALID_VALUE

    def cublasSetMathMode(self, handle: Any, mode: int) -> int:
        calls.append(f"math mode {mode}")
        return 0 if handle.value in self._handles else INVALID_VALUE

    def cublasSgemm_v2(self, *arguments: Any) -> int:
        return self._single(np.float32, *arguments)

    def cublasDgemm_v2(self, *arguments: Any) -> int:
        return self._single(np.float64, *arguments)

    def cublasSgemmStridedBatched(self, *arguments: Any) -> int:
        return self._gemm(np.float32, *arguments)

    def cublasDgemmStridedBatched(self, *arguments: Any) -> int:
        return self._gemm(np.float64, *arguments)

    def _single(self, dtype: Any, *arguments: Any) -> int:
        *before, alpha, a, lda, b, ldb, beta, c, ldc = arguments
        none = ctypes.c_longlong(0)
        return self._gemm(dtype, *before, alpha, a, lda, none, b, ldb, none, beta, c, ldc, none, 1)

    def _gemm(
        self, dtype: Any, handle: Any, turn_a: int, turn_b: int, m: int, n: int, k: int, alpha: Any, a: Any, lda: int,
        apart_a: Any, b: Any, ldb: int, apart_b: Any, beta: Any, c: Any, ldc: int, apart_c: Any, count: int,
    ) -> int:  # fmt: skip
        shape_a, shape_b = (k, m) if turn_a else (m, k), (n, k) if turn_b else (k, n)
        if handle.value not in self._handles or min(m, n, k, count) < 1 or not beta._obj.value == 0:
            return INVALID_VALUE
        if lda < shape_a[0] or ldb < shape_b[0] or ldc < m:
            return INVALID_VALUE
        A = _matrices(a, *shape_a, lda, apart_a.value, count, dtype)
        B = _matrices(b, *shape_b, ldb, apart_b.value, count, dtype)
        C = _matrices(c, m, n, ldc, apart_c.value, count, dtype)
        factor = dtype(alpha._obj.value)

        def product() -> None:
            left = A.transpose(0, 2, 1) if turn_a else A
            right = B.transpose(0, 2, 1) if turn_b else B
            C[...] = factor * np.matmul(left, right)

        calls.append(f"{np.dtype(dtype).name} {count} x ({n}, {k}) ({k}, {m})")
        self._perform(product, C)
        return 0
