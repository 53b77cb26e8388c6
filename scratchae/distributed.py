"""Several processes that train one model: each takes its part of every batch, and their gradients are added up.

    mpirun -n 4 python script.py          (pip install 'scratchae[mpi]')

The same script runs alone, as a world of one process in which everything here does nothing. What travels is MPI's
business (mpi4py), and NCCL's between GPUs (through CuPy).
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from scratchae.backend import Array, xp_of

# What the launchers tell their processes: MPICH and Slurm's PMI-2, Open MPI, PMIx, which tells no size.
_RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK")
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


class World:
    """The processes that work together; `rank` is this one's number, from 0, and `size` how many there are.

    Every method is for all processes to call, in the same order.
    """

    def __init__(self, comm: Any = None):
        self.rank: int = 0 if comm is None else comm.rank
        self.size: int = 1 if comm is None else comm.size
        self._comm = comm
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

        def finish() -> np.ndarray:
            request.Wait()
            return array

        return finish

    def share(self, value: Any) -> Any:
        """What process 0 gives, in all of them."""
        return value if self.size == 1 else self._comm.bcast(value)

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in the order of their ranks."""
        return [value] if self.size == 1 else self._comm.allgather(value)

    def agree(self, what: Mapping[str, Any]) -> None:
        """ValueError, in all processes, where one has something else than process 0, with its number and what."""
        first, *others = self.gather(dict(what))
        for rank, theirs in enumerate(others, 1):
            if names := [name for name in {**first, **theirs} if first.get(name) != theirs.get(name)]:
                listed = "; ".join(f"{n}: {theirs.get(n)!r}, not {first.get(n)!r}" for n in names[:3])
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                raise ValueError(f"process {rank} of {self.size} differs from process 0 in {listed}{more}")

    def local_rank(self) -> int:
        """This process's number among those on the same machine: the number of the GPU to take."""
        if self._local_rank is None:
            self._local_rank = self._comm.Split_type(sys.modules["mpi4py.MPI"].COMM_TYPE_SHARED).rank
        return self._local_rank

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

    From here on an exception that nobody catches ends all processes, after its traceback, where otherwise the others
    would wait for ever.

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
    _world = World(MPI.COMM_WORLD)
    sys.excepthook = _end_all
    return _world


def _end_all(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    told = "".join(traceback.format_exception(kind, error, trace))
    sys.stdout.flush()
    who = f"process {_world.rank} of {_world.size} failed and ends the others:"
    print(f"{who}\n{told}", end="", file=sys.stderr, flush=True)  # in one piece: others may be writing too
    time.sleep(0.5)  # a busy launcher that is told to end drops what it has not passed on yet
    _world._comm.Abort(1)
