"""The modules of compiled code, imported at their first use. numba comes with the extra [fast]."""

from __future__ import annotations

import functools
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

INSTALLED = find_spec("numba") is not None and os.environ.get("SCRATCHAE_COMPILED", "1") != "0"
"""Whether there is numba. `SCRATCHAE_COMPILED=0` in the environment leaves numba out."""

_PATIENCE = 1.0  # seconds of compiling, after which a line tells what takes so long


@functools.cache
def loops() -> Any:
    """Loops over elements. The first of these modules imports numba, which takes some 0.3 s."""
    return _imported("loops")


@functools.cache
def image_loops() -> Any:
    """Loops over images."""
    return _imported("image_loops")


@functools.cache
def gemm() -> Any:
    """Products that threads share without waiting for Python, or None where NumPy's BLAS or the system lacks a part."""
    found = INSTALLED and hasattr(os, "sched_yield") and _imported("gemm")
    return found if found and found.find_blas() else None


def _imported(name: str) -> Any:
    _tell_when_slow()
    return import_module(f"scratchae.fast.{name}")


@functools.cache
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
