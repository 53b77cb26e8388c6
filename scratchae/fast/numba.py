"""The modules of compiled code, imported at their first use. numba comes with the extra [fast]."""

from __future__ import annotations

import functools
import os
import sys
import threading
import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import Any

INSTALLED = find_spec("numba") is not None and os.environ.get("SCRATCHAE_COMPILED", "1") != "0"
"""Whether there is numba. `SCRATCHAE_COMPILED=0` in the environment leaves numba out."""

WATCHING = INSTALLED and sys.platform == "linux"
"""Whether threads can watch for work. On other systems, NumPy's BLAS is often another one than OpenBLAS."""

_OLDEST = 0, 60  # the first numba for NumPy 2
_PATIENCE = 1.0  # seconds of compiling, after which a line tells what takes so long


@functools.cache
def loops() -> Any:
    """Loops over elements, or None. The first of these modules imports numba, which takes some 0.3 s."""
    return import_module("scratchae.fast.loops") if _works() else None


@functools.cache
def image_loops() -> Any:
    """Loops over images, or None."""
    return import_module("scratchae.fast.image_loops") if _works() else None


@functools.cache
def norm_loops() -> Any:
    """Loops that normalise channels, or None."""
    return import_module("scratchae.fast.norm_loops") if _works() else None


@functools.cache
def gemm() -> Any:
    """Products that threads share without waiting for Python, or None without numba, Linux or OpenBLAS."""
    found = import_module("scratchae.fast.gemm") if WATCHING and _works() else None
    return found if found and found.find_blas() else None


_looking = threading.Lock()
_found: list[bool] = []


def _works() -> bool:
    """Whether numba can be used. A version that does not fit NumPy cannot be imported."""
    with _looking:
        if not _found:
            try:
                numba = import_module("numba")
                if tuple(map(int, numba.__version__.split(".")[:2])) < _OLDEST or numba.config.DISABLE_JIT:
                    raise ImportError(f"version {numba.__version__}, DISABLE_JIT={numba.config.DISABLE_JIT}")
                _tell_when_slow()
                _found.append(True)
            except ImportError as error:
                text = f"numba is installed and cannot be used ({error}); scratchae goes on without compiled loops"
                warnings.warn(f"{text}. SCRATCHAE_COMPILED=0 leaves numba out", RuntimeWarning, stacklevel=2)
                _found.append(False)
        return _found[0]


def _tell_when_slow() -> None:
    """Print one line if this process compiles our loops for over a second. Loops from the disk are not compiled."""
    from numba.core import event

    class Compiling(event.Listener):
        seconds, depth, told = 0.0, 0, False

        def on_start(self, started: Any) -> None:
            self.depth += 1
            if self.depth == 1:
                self.timer = event.TimingListener()
                self.timer.on_start(started)

        def on_end(self, ended: Any) -> None:
            self.depth -= 1
            if self.depth == 0 and str(ended.data["dispatcher"].py_func.__module__).startswith("scratchae."):
                self.timer.on_end(ended)
                self.seconds += self.timer.duration
                if self.seconds > _PATIENCE and not self.told:
                    self.told = True
                    print("scratchae: compiling loops for this processor, at their first use only", file=sys.stderr)

    event.register("numba:compile", Compiling())
