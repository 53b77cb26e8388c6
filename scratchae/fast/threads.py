"""A pool of threads that share the work inside one operation, and sleep when no work comes.

    run(lambda piece: np.exp(x[piece], out=y[piece]), cut(len(x), 1 << 15))

The thread that calls `run` computes too. A thread that has finished a piece takes the next one. A thread that waits
for a core takes no piece, and the other threads go on. The pieces do not depend on the number of threads. Hence the
results have the same bits for any number.

The pool works on one `run` at a time. A `run` inside another one, or beside one of another thread, computes alone.

To wake a thread that sleeps takes some 50 microseconds. With numba, a thread therefore watches for new work before it
sleeps, for half a millisecond, and lets other programs have its core meanwhile: see gemm.py.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from scratchae.checks import check_count
from scratchae.fast.blas import one_thread_in_this_thread
from scratchae.fast.cores import cores
from scratchae.fast.numba import gemm

Piece = Any
_LOST = 1e-3  # seconds that an operation may lose to other programs
_ALONE = 0.1  # seconds without help after an operation that lost more
_MOST = 8  # pieces of one operation: each costs some microseconds, and several threads want more than one


def cut(n: int, least: float, most: int = _MOST) -> list[slice]:
    """range(n) in `most` slices or fewer, of one length, which is `least` or more; the last one has what is left."""
    step = -(-n // max(1, min(most, int(n / max(1, least)))))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)] if n else [slice(0, 0)]


def run(function: Callable[[Piece], Any], pieces: Sequence[Piece]) -> None:
    """Call `function` with every piece, in several threads. The order is open, and results are dropped.

    An exception of `function` is raised here, after the pieces that other threads have begun. The later pieces are
    left out. Threads compute under the `np.errstate` and the other context variables of the caller.
    """
    if len(pieces) == 1:  # nearly always: nothing to share
        function(pieces[0])
        return
    loan = _Loan(_pool)
    try:
        if loan.granted():
            loan.pool.share(_Job(function, pieces))
        else:
            for piece in pieces:
                function(piece)
    finally:
        loan.end()


def run_product(plan: Any, a: Any, b: Any, c: Any) -> None:
    """Call `gemm.multiply` with the pool's threads, or alone where the pool is busy."""
    loan, board = _Loan(_pool), None
    try:
        if loan.granted():
            board = loan.pool.board
            loan.pool.wake(loan.pool.size - 1)
        gemm().multiply(new_board() if board is None else board, plan, a, b, c)
    finally:
        loan.end()


def new_board() -> Any:
    """An empty notice board for the threads of a pool: the numbers that gemm.py names."""
    return np.zeros(24, np.int64)


def several_threads() -> bool:
    """Whether there is more than one thread to compute with."""
    return _pool.size > 1


class _Job:
    """One call of `run`: the pieces that no thread has taken yet, and how many are unfinished."""

    def __init__(self, function: Callable[[Piece], Any], pieces: Iterable[Piece]):
        self.function, self.pieces = function, deque(pieces)
        self.unfinished = len(self.pieces)
        self.error: BaseException | None = None
        self.finished = np.zeros(1, np.int64)  # for `gemm.changes`
        self.counting, self.done = threading.Lock(), threading.Lock()
        self.done.acquire()
        self.context = contextvars.copy_context()

    def work(self, from_the_end: bool = False) -> None:
        """Take pieces until none is left. The thread that finishes the last piece releases `done`.

        The calling thread takes the first pieces, and the other threads take the last pieces. In a chain of
        operations, a piece of an array then mostly stays in the cache of one core.
        """
        while self.pieces:
            try:
                piece = self.pieces.pop() if from_the_end else self.pieces.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                if self.error is None:
                    self.function(piece)
            except BaseException as error:
                self.error = error
            with self.counting:
                self.unfinished -= 1
                if not self.unfinished:
                    self.done.release()
                    self.finished[0] = 1


class _Worker:
    """A thread that sleeps until it is woken, and then works on the pool's job."""

    def __init__(self, pool: _Pool):
        self.pool, self.asleep = pool, threading.Lock()
        self.asleep.acquire()
        self.thread = threading.Thread(target=self.live, name="scratchae", daemon=True)
        self.thread.start()

    def wake(self) -> None:
        """Only the thread that holds `pool.busy` calls this. A worker that is still waking is left alone."""
        if self.asleep.locked():
            self.asleep.release()

    def live(self) -> None:
        one_thread_in_this_thread()
        compiled, seen = gemm(), 0
        while not self.pool.closed:
            told = compiled.watch(self.pool.board, seen) if compiled else 0
            if not told:
                self.asleep.acquire()
            seen = told or seen  # a thread that was asleep looks at the board again
            if (job := self.pool.job) is not None:
                job.context.copy().run(job.work, from_the_end=True)
                del job  # and the arrays that its function holds


class _Loan:
    """The pool for one operation. `end` in a `finally` frees the pool, also after an interrupt in between."""

    def __init__(self, pool: _Pool):
        self.pool, self.inside = pool, pool.busy._is_owned()  # type: ignore[attr-defined]

    def granted(self) -> bool:
        """Whether the pool's threads help. Inside another operation, and while the pool is busy, they do not."""
        pool = self.pool
        if self.inside or pool.size == 1 or time.perf_counter() < pool.alone_until:
            return False
        self.start, self.computed = time.perf_counter(), time.thread_time()
        return pool.busy.acquire(blocking=False)

    def end(self) -> None:
        if not self.inside and self.pool.busy._is_owned():  # type: ignore[attr-defined]
            self.pool.judge(self.start, self.computed)
            self.pool.busy.release()


class _Pool:
    """`size` threads with the one that calls. The others start with the first job, or when one more is wanted."""

    def __init__(self, size: int):
        self.size, self.busy, self.closed = size, threading.RLock(), False
        self.job: _Job | None = None
        self.board = new_board()
        self.alone_until = 0.0
        self.workers: list[_Worker] = []

    def judge(self, start: float, computed: float) -> None:
        """After a shared operation: if other programs took the core for long, the next ones are computed alone.

        `start` and `computed` are the clock's and the thread's own time before. A thread that other programs hold up
        holds up the whole operation. The thread that calls waits in a loop, so lost time is time of other programs.
        """
        end = time.perf_counter()
        if end - start - (time.thread_time() - computed) > _LOST and gemm() is not None:
            self.alone_until = end + _ALONE

    def share(self, job: _Job) -> None:
        self.job, compiled = job, gemm()
        self.tell()
        self.wake(min(self.size, job.unfinished) - 1)
        try:
            job.work()
            while compiled and not job.finished[0]:
                compiled.changes(job.finished, 0)
            job.done.acquire()  # the last pieces of the others
        finally:
            self.job = None
        error, job.error = job.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error, job  # the traceback leads to this frame

    def tell(self) -> None:
        """Put up on the board that there is a job, which is no product."""
        self.board[1] = 0
        self.board[0] += 1

    def wake(self, helpers: int) -> None:
        """Wake so many workers; new ones are started first."""
        if len(self.workers) < helpers:
            with contextlib.suppress(RuntimeError):  # no more threads, as at the interpreter's end: fewer compute
                while len(self.workers) < helpers:
                    self.workers.append(_Worker(self))
        for worker in self.workers[:helpers]:
            worker.wake()

    def close(self) -> None:
        """End all threads, unless the pool stays busy: a signal's handler may call this in the middle of a job."""
        if not self.busy.acquire(timeout=1.0):
            return
        try:
            self.closed = True
            self.tell()
            for worker in self.workers:
                worker.wake()
            for worker in self.workers:
                worker.thread.join()
        finally:
            self.workers, self.closed = [], False
            self.busy.release()


# --- how many ------------------------------------------------------------------------------------

when_first_set: list[Callable[[], None]] = []
"""Functions that attach the ways of several threads. Until they are called, BLAS alone has several threads."""


def set_num_threads(n: int | None = None) -> None:
    """Share large operations out among `n` threads from here on, in all threads of the script.

    The threads sleep when no work comes. A training step beside busy programs then takes little longer. Our products no
    longer use the threads of BLAS, which wait in a loop. Results have the same bits for every `n`. Without `n`, the
    number is the number of cores that this process may use. With 1, no thread is started.

    Raises ValueError for anything but a number from 1.
    """
    global _pool
    n = cores() if n is None else check_count("set_num_threads: n", n, 1)
    while when_first_set:
        when_first_set.pop()()
    before, _pool = _pool, _Pool(n)
    before.close()


def get_num_threads() -> int:
    """Among how many threads large operations are shared.

    Before `set_num_threads`, the number is 1, and BLAS alone has several threads. With the extra [fast] on Linux, the
    number is that of the cores from the start.
    """
    return _pool.size


def asked() -> int | None:
    """The number in the environment variable `SCRATCHAE_THREADS`, if it is set. Raises ValueError for another text."""
    text = os.environ.get("SCRATCHAE_THREADS", "")
    if text and not (text.isdecimal() and int(text)):
        raise ValueError(f"SCRATCHAE_THREADS is {text!r}; expected the number of threads, 1 or more")
    return int(text) if text else None


def _start_anew() -> None:
    """In a forked child: threads do not live on there, and another thread may have held the pool's locks."""
    global _pool
    _pool = _Pool(_pool.size)


_pool = _Pool(1)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=lambda: _pool.close(), after_in_child=_start_anew)
