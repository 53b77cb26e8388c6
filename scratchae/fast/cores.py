"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

# How many processes a launcher started on this machine: Open MPI, MPICH and Slurm's srun.
_LOCAL = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE", "SLURM_STEP_TASKS_PER_NODE")


def cores() -> int:
    """The cores that the affinity and a container's quota leave to this process, shared with its launcher's others."""
    own = _affinity(0)
    n = min([float(own), *_quotas()])
    if own == _affinity(os.getppid()):  # otherwise the launcher has given each process cores of its own
        n /= _processes()
    return max(1, int(n))


def _affinity(process: int) -> int:
    try:
        return len(os.sched_getaffinity(process))
    except (AttributeError, OSError):  # not Linux, or that process has ended
        return os.cpu_count() or 1


def _processes() -> int:
    texts = (os.environ.get(name, "").split("(")[0] for name in _LOCAL)  # Slurm writes "4(x2)" for two machines
    return next((int(text) for text in texts if text.isdecimal() and int(text)), 1)


def _quotas(root: str = "/sys/fs/cgroup", listed: str = "/proc/self/cgroup") -> Iterator[float]:
    """The numbers of cores that the process's control groups allow, of version 1 and 2."""
    try:
        lines = Path(listed).read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = Path(root, controllers)
        group = top / path.lstrip("/")
        for folder in {top, group, *(p for p in group.parents if p.is_relative_to(top))}:
            quota = _quota(folder)
            if 0 < quota < math.inf:
                yield quota


def _quota(folder: Path) -> float:
    """Microseconds of computing per microsecond of time that a control group allows."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{what}_us").read_text() for what in ("quota", "period"))
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
