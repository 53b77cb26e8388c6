"""Several processes that train one model. Each process takes its part of every batch, and the gradients are summed.

    mpirun -n 4 python script.py          (pip install 'scratchae[mpi]')

The same script also runs without a launcher, as a world of one process. The methods here then do nothing. Messages
travel by MPI (mpi4py), and between GPUs by NCCL (through CuPy).
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from scratchae.backend import Array, xp_of

# The variables that launchers set: MPICH and Slurm's PMI-2, Open MPI, and PMIx, which sets no size.
_RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK")
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")

# The places at which processes exchange their position in the script.
_PLACES = ("share()", "gather()", "agree()", "local_rank()", "together()", "an exception", "the end of its script")
_FAILED, _ENDED = _PLACES[-2:]
_PATIENCE = 5.0  # seconds; if all processes raise in one step or callback, the exceptions come in less time


class World:
    """The processes that work together; `rank` is this process's number, from 0, and `size` the number of processes.

    All processes must call every method, in the same order. Where a process has called another method or has ended,
    all processes raise RuntimeError. Only `sum` and `start_sum` do not check this, since they must be fast.
    """

    def __init__(self, comm: Any = None, calls: Any = None):
        self.rank: int = 0 if comm is None else comm.rank
        self.size: int = 1 if comm is None else comm.size
        self._comm = comm
        self._calls = calls  # a communicator for `_call` alone, so that its messages do not mix with others
        self._parted: list[str] | None = None  # the places of all processes, once they have come to different places
        self._lent: dict[int, Any] = {}  # arrays that MPI still writes into; an exception must not free them
        self._nccl: Any = None
        self._local_rank: int | None = 0 if comm is None else None

    def sum(self, array: Array) -> Array:
        """Replace `array` by the sum of all processes' arrays, in place; the same bits everywhere."""
        if self.size == 1:
            return array
        if xp_of(array) is not np:
            self._over_nccl().all_reduce(array, array)
        elif array.flags.c_contiguous:
            self._comm.Allreduce(sys.modules["mpi4py.MPI"].IN_PLACE, array)
        else:
            array[...] = self.sum(np.ascontiguousarray(array))
        return array

    def start_sum(self, array: np.ndarray) -> Callable[[], np.ndarray]:
        """Begin to add up `array` in place. The function that this returns waits for the end, and gives the sum."""
        if self.size == 1:
            return lambda: array
        request = self._comm.Iallreduce(sys.modules["mpi4py.MPI"].IN_PLACE, array)
        self._lent[id(array)] = array

        def finish() -> np.ndarray:
            request.Wait()
            return self._lent.pop(id(array))

        return finish

    def share(self, value: Any) -> Any:
        """The `value` of process 0, in all processes."""
        self._meet("share()")
        return value if self.size == 1 else self._comm.bcast(value)

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in the order of their ranks."""
        self._meet("gather()")
        return [value] if self.size == 1 else self._comm.allgather(value)

    def agree(self, what: Mapping[str, Any]) -> None:
        """Compare dicts. If a dict differs from the dict of process 0, all processes raise ValueError with the rank."""
        self._meet("agree()")
        first, *others = self.gather(dict(what))
        for rank, theirs in enumerate(others, 1):
            if names := [name for name in {**first, **theirs} if first.get(name) != theirs.get(name)]:
                listed = "; ".join(f"{n}: {theirs.get(n)!r}, not {first.get(n)!r}" for n in names[:3])
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                raise ValueError(f"process {rank} of {self.size} differs from process 0 in {listed}{more}")

    def local_rank(self) -> int:
        """This process's number among the processes on the same machine: the number of the GPU to take."""
        if self._local_rank is None:
            self._meet("local_rank()")
            self._local_rank = self._comm.Split_type(sys.modules["mpi4py.MPI"].COMM_TYPE_SHARED).rank
        return self._local_rank

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """A part of the program in which processes wait for each other. All processes must enter and leave alike.

        An exception (SystemExit too) that leaves the part in one process ends all processes, after its traceback.
        Where every process raises, the exceptions are raised as usual. The script may catch them, and train again.
        """
        self._meet("together()")
        try:
            yield
        except BaseException as error:
            if self._calls is not None and "_in_all_processes" not in vars(error):  # set by an inner part
                if self._call(_FAILED, _PATIENCE) != [_FAILED] * self.size:
                    _end_all(type(error), error, error.__traceback__)
                vars(error)["_in_all_processes"] = True
                self._comm = self._calls.Dup()  # unfinished messages stay on the old communicator
            raise

    def _meet(self, place: str) -> None:
        """Go on when all processes have come to `place`; all raise RuntimeError if a process is at another place."""
        if self._calls is None:
            return
        found = self._call(place)
        if found is None or found == [place] * self.size:
            return
        if _FAILED in found:
            time.sleep(_PATIENCE)  # the failed process prints its traceback meanwhile, and ends this process
        where = ", ".join(f"process {rank} to {there}" for rank, there in enumerate(found))
        raise RuntimeError(f"all processes must come to the same place, but they came to different ones: {where}")

    def _call(self, place: str, patience: float = math.inf) -> list[str] | None:
        """Send the place of this process to the other processes. Returns all places, or None after `patience` seconds.
        """
        if self._parted is not None:
            return self._parted
        told, found = np.array([_PLACES.index(place)], np.uint8), np.empty(self.size, np.uint8)
        self._lent[id(found)] = told, found
        request, start = self._calls.Iallgather(told, found), time.monotonic()
        while not request.Test():
            if (waited := time.monotonic() - start) > patience:
                return None
            time.sleep(0.0 if waited < 0.01 else 0.01)  # the other processes mostly come at once
        del self._lent[id(found)]
        places = [_PLACES[number] for number in found]
        if places != [place] * self.size:
            self._parted = places
        return places

    def _over_nccl(self) -> Any:
        if self._nccl is None:
            from cupyx.distributed import init_process_group

            self._nccl = init_process_group(self.size, self.rank, backend="nccl", use_mpi=True)
        return self._nccl


_world = World()


def world() -> World:
    """The processes that `init` found; before `init`, this process alone."""
    return _world


def init() -> World:
    """Join the processes that `mpirun` (or `mpiexec`, `srun`) started; without a launcher, a world of one.

    Call `init` at the top of a script. From there on, an uncaught exception ends all processes, after its traceback.
    A process that comes to its end early is noticed too. Without `init`, the other processes would wait endlessly.

    Raises RuntimeError where a launcher started several processes, but mpi4py is missing or belongs to another MPI.
    """
    global _world
    told = next((int(os.environ[name]) for name in _SIZES if name in os.environ), None)
    rank = next((int(os.environ[name]) for name in _RANKS if name in os.environ), None)
    if _world.size > 1 or told == 1 or rank is None:
        return _world
    started = f"{told or 'several'} processes were started"
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError means that mpi4py is there, but no MPI library
        raise RuntimeError(f"{started}, which needs mpi4py ({error}): pip install 'scratchae[mpi]'") from None
    if MPI.COMM_WORLD.size != (told or MPI.COMM_WORLD.size) or rank >= MPI.COMM_WORLD.size:
        library = MPI.Get_library_version().split(",")[0].strip()
        raise RuntimeError(
            f"{started}, but mpi4py sees {MPI.COMM_WORLD.size}: its MPI ({library}) is not the launcher's. Start them "
            "with that MPI's own mpiexec"
        )
    if MPI.COMM_WORLD.size == 1:
        return _world
    _world = World(MPI.COMM_WORLD, MPI.COMM_WORLD.Dup())
    sys.excepthook = _end_all
    atexit.register(_wait_at_the_end)
    if hasattr(os, "register_at_fork"):  # not on Windows, where no process is forked
        os.register_at_fork(after_in_child=lambda: vars(_world).update(vars(World())))  # MPI does not work in a child
    return _world


def _wait_at_the_end() -> None:
    """Report the end of this process, and wait for the other ends. MPI alone would wait without a message."""
    if _world.size > 1 and not sys.modules["mpi4py.MPI"].Is_finalized():
        _flush()
        _world._call(_ENDED)


def _end_all(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    if _world.size == 1:  # in a forked process
        return sys.__excepthook__(kind, error, trace)
    status = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
    try:
        _flush()
        told = "".join(traceback.format_exception(kind, error, trace))
        who = f"process {_world.rank} of {_world.size} failed and ends the others:"
        print(f"{who}\n{told}", end="", file=sys.stderr, flush=True)  # in one piece, since others may write too
        time.sleep(0.5)  # a busy launcher drops the text that it has not passed on before the end
    finally:
        sys.modules["mpi4py.MPI"].COMM_WORLD.Abort(status % 256 or 1)


def _flush() -> None:
    with contextlib.suppress(AttributeError, OSError, ValueError):  # stdout is missing, full or closed
        sys.stdout.flush()
