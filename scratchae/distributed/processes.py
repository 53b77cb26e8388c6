"""Several processes that train one model: each takes its part of every batch, and their gradients are added up.

    mpirun -n 4 python script.py          (pip install 'scratchae[mpi]')

The same script runs alone, as a world of one process in which everything here does nothing. What travels is MPI's
business (mpi4py), and NCCL's between GPUs (through CuPy).
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

# What the launchers tell their processes: MPICH and Slurm's PMI-2, Open MPI, PMIx, which tells no size.
_RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK")
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")

# The places at which processes tell each other where they are.
_PLACES = ("share()", "gather()", "agree()", "local_rank()", "together()", "an exception", "the end of its script")
_FAILED, _ENDED = _PLACES[-2:]
_PATIENCE = 5.0  # seconds; exceptions that all processes raise in one step or callback come closer to each other


class World:
    """The processes that work together; `rank` is this one's number, from 0, and `size` how many there are.

    Every method is for all processes to call, in the same order. RuntimeError, in all processes, tells where one has
    called another method or has ended; only `sum` and `start_sum`, which must be fast, wait for it then.
    """

    def __init__(self, comm: Any = None, calls: Any = None):
        self.rank: int = 0 if comm is None else comm.rank
        self.size: int = 1 if comm is None else comm.size
        self._comm = comm
        self._calls = calls  # a communicator of its own for `_call`, so that nothing else gets mixed up with it
        self._parted: list[str] | None = None  # where they were when they had come to different places
        self._lent: dict[int, Any] = {}  # arrays that MPI still writes into, also after an exception has dropped them
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
        """Begin to add up `array` in place, for which nobody waits before the function that this gives is called."""
        if self.size == 1:
            return lambda: array
        request = self._comm.Iallreduce(sys.modules["mpi4py.MPI"].IN_PLACE, array)
        self._lent[id(array)] = array

        def finish() -> np.ndarray:
            request.Wait()
            return self._lent.pop(id(array))

        return finish

    def share(self, value: Any) -> Any:
        """What process 0 gives, in all of them."""
        self._meet("share()")
        return value if self.size == 1 else self._comm.bcast(value)

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in the order of their ranks."""
        self._meet("gather()")
        return [value] if self.size == 1 else self._comm.allgather(value)

    def agree(self, what: Mapping[str, Any]) -> None:
        """ValueError, in all processes, where one has something else than process 0, with its number and what."""
        self._meet("agree()")
        first, *others = self.gather(dict(what))
        for rank, theirs in enumerate(others, 1):
            if names := [name for name in {**first, **theirs} if first.get(name) != theirs.get(name)]:
                listed = "; ".join(f"{n}: {theirs.get(n)!r}, not {first.get(n)!r}" for n in names[:3])
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                raise ValueError(f"process {rank} of {self.size} differs from process 0 in {listed}{more}")

    def local_rank(self) -> int:
        """This process's number among those on the same machine: the number of the GPU to take."""
        if self._local_rank is None:
            self._meet("local_rank()")
            self._local_rank = self._comm.Split_type(sys.modules["mpi4py.MPI"].COMM_TYPE_SHARED).rank
        return self._local_rank

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """A part of the program in which processes wait for each other: all must enter it, and leave it alike.

        An exception (SystemExit too) that leaves it in one process ends all of them, after its traceback. One that
        leaves it in every process goes on its way: the script may catch it, and train again.
        """
        self._meet("together()")
        try:
            yield
        except BaseException as error:
            if self._calls is not None and "_in_all_processes" not in vars(error):  # set where it left an inner part
                if self._call(_FAILED, _PATIENCE) != [_FAILED] * self.size:
                    _end_all(type(error), error, error.__traceback__)
                vars(error)["_in_all_processes"] = True
                self._comm = self._calls.Dup()  # messages that were on their way stay on the old one
            raise

    def _meet(self, place: str) -> None:
        """Go on when all processes have come to `place`; RuntimeError, in all of them, if one is somewhere else."""
        if self._calls is None:
            return
        found = self._call(place)
        if found is None or found == [place] * self.size:
            return
        if _FAILED in found:
            time.sleep(_PATIENCE)  # that process tells what has happened, and ends this one
        where = ", ".join(f"process {rank} to {there}" for rank, there in enumerate(found))
        raise RuntimeError(f"all processes must come to the same place, but they came to different ones: {where}")

    def _call(self, place: str, patience: float = math.inf) -> list[str] | None:
        """Tell the others where this process is; where they all are, or None if one does not tell for so long."""
        if self._parted is not None:
            return self._parted
        told, found = np.array([_PLACES.index(place)], np.uint8), np.empty(self.size, np.uint8)
        self._lent[id(found)] = told, found
        request, start = self._calls.Iallgather(told, found), time.monotonic()
        while not request.Test():
            if (waited := time.monotonic() - start) > patience:
                return None
            time.sleep(0.0 if waited < 0.01 else 0.01)  # mostly the others come at once
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
    """The processes that `init` found; this one alone before."""
    return _world


def init() -> World:
    """Join the processes that `mpirun` (or `mpiexec`, `srun`) started; without a launcher, a world of one.

    Call it at the top of a script: from here on an exception that nobody catches ends all processes, after its
    traceback, and a process that comes to its end early is noticed. Otherwise the others would wait for ever.

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
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py is there, but no MPI library
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
        os.register_at_fork(after_in_child=lambda: vars(_world).update(vars(World())))  # MPI does not know the child
    return _world


def _wait_at_the_end() -> None:
    """Tell the others that this process has ended, and wait until they have; MPI would wait without telling them."""
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
        print(f"{who}\n{told}", end="", file=sys.stderr, flush=True)  # in one piece: others may be writing too
        time.sleep(0.5)  # a busy launcher that is told to end drops what it has not passed on yet
    finally:
        sys.modules["mpi4py.MPI"].COMM_WORLD.Abort(status % 256 or 1)


def _flush() -> None:
    with contextlib.suppress(AttributeError, OSError, ValueError):  # no stdout, a full one, one that is closed
        sys.stdout.flush()
