"""Matrix products in several threads that wait without Python: compiled by numba, computed by the BLAS of NumPy.

A thread of Python needs the interpreter before each piece of work, and to wait for the interpreter is to sleep: waking
takes some 50 microseconds. A small product takes less. So the pieces of a product are told to the threads through an
array of integers, `job`, which they watch in compiled code.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from llvmlite import binding
from numba import types
from numba.extending import intrinsic

from scratchae.fast.loops import inlined, loop

# The places in `job`.
CALLS, PRODUCT, NEXT, DONE, A, B, C = range(7)
COUNT, AXIS, STEP, LAST, M, N, K, DOUBLE, BETA, TRANS_A, TRANS_B, LDA, LDB, LDC, PER_A, PER_B, PER_C = range(7, 24)
TURNS = 1500  # in which another program may use the core: together some 0.5 ms, if none does

sched_yield = types.ExternalFunction("sched_yield", types.int32())


def _atomic(operation: str) -> Any:
    """Change `array[place]` by `amount`, in one step that no other thread can divide, and give the number before."""

    @intrinsic
    def change(typing: Any, array: Any, place: Any, amount: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array, place, amount = arguments
            data = context.make_array(signature.args[0])(context, builder, array).data
            return builder.atomic_rmw(operation, builder.gep(data, [place]), amount, "seq_cst")

        return types.int64(array, types.int64, types.int64), generate

    return change


add, exchange = _atomic("add"), _atomic("xchg")


def _gemm(name: str, real: Any) -> Any:
    """The CBLAS function: order, transposed or not (2), m, n, k, alpha, A, lda, B, ldb, beta, C, ldc."""
    flag, integer = types.int32, types.int64  # an address is an integer too
    arguments = [flag] * 3 + [integer] * 3 + [real] + [integer] * 4 + [real] + [integer] * 2
    return types.ExternalFunction(name, types.void(*arguments))


sgemm, dgemm = _gemm("scratchae_sgemm", types.float32), _gemm("scratchae_dgemm", types.float64)


def find_blas() -> bool:
    """Give the names of `sgemm` and `dgemm` a meaning: the functions of NumPy's OpenBLAS with 64-bit integers."""
    from threadpoolctl import ThreadpoolController

    for library in ThreadpoolController().lib_controllers:
        for name in ("scipy_cblas_{}gemm64_", "cblas_{}gemm64_"):
            found: list[Any] = [getattr(library.dynlib, name.format(letter), None) for letter in "sd"]
            if library.user_api == "blas" and all(found):
                for letter, function in zip("sd", found, strict=True):
                    binding.add_symbol(f"scratchae_{letter}gemm", ctypes.cast(function, ctypes.c_void_p).value)
                return True
    return False


@loop
def compute_pieces(job):
    """Take pieces of the product in `job` until none is left.

    `job[NEXT]` holds the number of the next piece and, above 16 bits, how many pieces there are. One step reads both,
    so a thread that comes late never takes a piece of another product by mistake. A product does not end, and its
    operands stay, before all pieces that were taken are done.
    """
    while True:
        word = add(job, NEXT, 1)
        i, count = word & 0xFFFF, word >> 16
        if i >= count:
            return
        m, n, k = job[M], job[N], job[K]
        size = job[STEP] if i + 1 < count else job[LAST]
        m, n, k = size if job[AXIS] == 0 else m, size if job[AXIS] == 1 else n, size if job[AXIS] == 2 else k
        a, b, c = job[A] + i * job[PER_A], job[B] + i * job[PER_B], job[C] + i * job[PER_C]
        ta, tb, lda, ldb, ldc = job[TRANS_A], job[TRANS_B], job[LDA], job[LDB], job[LDC]
        if job[DOUBLE]:
            dgemm(101, ta, tb, m, n, k, 1.0, a, lda, b, ldb, float(job[BETA]), c, ldc)
        else:
            sgemm(101, ta, tb, m, n, k, np.float32(1), a, lda, b, ldb, np.float32(job[BETA]), c, ldc)
        add(job, DONE, 1)


@loop
def multiply(job, plan, a, b, c):
    """Tell the threads that watch `job` of a product, compute too, and wait for the last piece."""
    exchange(job, NEXT, 0)  # no pieces, while the product is written
    for i in range(len(plan)):
        job[COUNT + i] = plan[i]
    job[A], job[B], job[C] = a.ctypes.data, b.ctypes.data, c.ctypes.data
    job[PRODUCT] = 1
    exchange(job, DONE, 0)
    exchange(job, NEXT, job[COUNT] << 16)
    add(job, CALLS, 1)
    compute_pieces(job)
    while add(job, DONE, 0) < job[COUNT]:
        sched_yield()


@loop
def watch(job, seen):
    """Compute products until other work is told, and return the number of calls. 0 when nothing is told for a while."""
    turn = 0
    while turn < TURNS:
        if job[CALLS] != seen:
            seen, turn = job[CALLS], 0
            if not job[PRODUCT]:
                let_go(25)
                return seen
            compute_pieces(job)
        sched_yield()
        turn += 1
    return 0


@loop
def changes(counter, seen):
    """Wait until `counter[0]` differs from `seen`, but only for a while."""
    for _ in range(TURNS):
        if counter[0] != seen:
            let_go(8)
            return
        sched_yield()


@inlined
def let_go(turns):
    """Wait some microseconds, until the thread that told the news has let go of Python's interpreter.

    A thread that asks for the interpreter too early falls asleep.
    """
    for _ in range(turns):
        sched_yield()
