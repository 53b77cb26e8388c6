"""BLAS at one thread for each call, while the pool's threads share out the calls.

The threads of OpenBLAS wait for work in a loop. Where other programs want the cores, a product then takes up to a
hundred times as long.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any


class OneThread:
    """A context in which BLAS uses one thread. After the context, BLAS uses as many threads as before.

    The number holds for the whole process. Contexts of several threads may overlap. The end of the last one restores
    the number.
    """

    def __init__(self) -> None:
        self.start()
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=self.restart)

    def start(self) -> None:
        self.lock, self.inside = threading.RLock(), 0  # a signal's handler may multiply matrices too
        self.libraries: list[_Library] | None = None

    def restart(self) -> None:
        """In a forked child: other threads do not leave their contexts there."""
        if self.inside:
            self.put_back()
        self.start()

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                if self.libraries is None:
                    self.libraries = libraries()
                for library in self.libraries:
                    library.before = library.get()
                    if library.before > 1:
                        library.set(1)

    def __exit__(self, *error: object) -> None:
        with self.lock:
            if self.inside == 1:
                self.put_back()
            self.inside = max(0, self.inside - 1)  # 0 already in a child that was forked in here

    def put_back(self) -> None:
        for library in self.libraries or ():
            if library.before > 1:
                library.set(library.before)


class _Library:
    """A BLAS in this process: how to get and set its number of threads."""

    def __init__(self, controller: Any):
        self.before = 1
        self.get, self.set = controller.get_num_threads, controller.set_num_threads
        if controller.internal_api == "openblas":
            self.get, self.set = _functions(controller) or (self.get, self.set)
        self.by_thread = getattr(controller, "threading_layer", "") == "openmp"  # each thread has a number of its own


def _functions(controller: Any) -> tuple[Callable[[], int], Callable[[int], Any]] | None:
    """OpenBLAS's own functions. They take a fifth of the time, and threadpoolctl lets one thread alone set a number."""
    if getattr(controller, "threading_layer", "") == "openmp":
        return None
    for name in ("{}", "scipy_{}", "{}64_", "scipy_{}64_", "{}_64", "scipy_{}_64"):
        names = (name.format(f"openblas_{verb}_num_threads") for verb in ("get", "set"))
        get, put = (getattr(controller.dynlib, n, None) for n in names)
        if get and put:
            return get, put
    return None


def libraries() -> list[_Library]:
    """Every BLAS that this process has loaded."""
    from threadpoolctl import ThreadpoolController

    return [_Library(c) for c in ThreadpoolController().lib_controllers if c.user_api == "blas"]


one_thread = OneThread()


def one_thread_in_this_thread() -> None:
    """For threads of the pool, where each thread has a number of BLAS threads of its own."""
    if one_thread.libraries is None:
        one_thread.libraries = libraries()
    for library in one_thread.libraries:
        if library.by_thread:
            library.set(1)
