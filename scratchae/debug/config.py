"""`show_config`: what computes here. The first thing to ask for when a number or a speed is odd."""

from __future__ import annotations

import os
import platform
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from scratchae.attach import PLAIN
from scratchae.fast import numba, threads
from scratchae.fast.cores import cores

_PACKAGE = Path(__file__).parents[1]


def show_config() -> None:
    """Print versions, processor, threads, BLAS and its kernels, CuPy, compiled loops, and what is attached."""
    rows = {
        "scratchae": f"{sys.modules['scratchae'].__version__}, {_PACKAGE}",
        "Python": f"{platform.python_version()}, {platform.system()} {platform.machine()}, {cores()} cores",
        "NumPy": np.__version__,
        "BLAS": _blas(),
        "threads": _threads(),
        "compiled loops": _compiled(),
        "CuPy": _cupy(),
        "attached": _attached(),
        "environment": ", ".join(f"{k}={v}" for k, v in sorted(os.environ.items()) if _counts(k)) or "nothing set",
    }
    width = max(map(len, rows))
    print("\n".join(f"{name:{width}}  {text}" for name, text in rows.items()))


def _counts(variable: str) -> bool:
    endings = ("_NUM_THREADS", "_CORETYPE", "_L2_SIZE")
    return variable.startswith(("SCRATCHAE_", "NUMBA_", "CUPY_")) or variable.endswith(endings)


def _blas() -> str:
    from threadpoolctl import threadpool_info

    texts = []
    for library in threadpool_info():
        if library["user_api"] == "blas":
            kernel = f", kernel {library['architecture']}" if "architecture" in library else ""
            texts.append(f"{library['internal_api']} {library['version']}{kernel}, {library['num_threads']} threads")
    return "; ".join(texts) or "unknown to threadpoolctl"


def _threads() -> str:
    if PLAIN or threads.when_first_set:
        return "those of BLAS; sa.set_num_threads(n) shares large operations among n threads"
    return f"{threads.get_num_threads()}, which {'watch for work, then sleep' if numba.gemm() else 'sleep'}"


def _compiled() -> str:
    if PLAIN or not numba.INSTALLED:
        return "none: left out by the environment" if _version("numba") else "none: pip install 'scratchae[fast]'"
    if (loops := numba.loops()) is None:
        return f"none: numba {_version('numba')} cannot be imported"
    place = loops.relu.stats.cache_path
    return f"numba {_version('numba')}, {'kept in ' + place if place else 'compiled anew in each process'}"


def _version(package: str) -> str:
    from importlib import metadata  # takes a fifth of the time of `import scratchae`

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _cupy() -> str:
    from importlib import metadata

    names = [d.metadata["Name"] for d in metadata.distributions() if str(d.metadata["Name"]).startswith("cupy")]
    if not names:
        return "not installed"
    from scratchae.backend import load_cupy

    try:
        cupy = load_cupy()
    except RuntimeError as error:
        return f"{names[0]} {_version(names[0])}, no GPU: {error}"
    gpu = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
    return f"{names[0]} {_version(names[0])}, CUDA {cupy.cuda.runtime.runtimeGetVersion()}, {gpu}"


def _attached() -> str:
    """How many functions of the core have another way from each room."""
    functions: dict[int, Any] = {}
    for name, module in list(sys.modules.items()):
        if name.startswith("scratchae."):
            found = [value for value in vars(module).values() if hasattr(getattr(value, "op", None), "vjps")]
            functions |= {id(function.op): function for function in found}
    rooms: Counter[str] = Counter()
    for function in functions.values():
        home = [*function.__module__.split("."), ""][1]
        for way in (function.op.forward, *function.op.vjps.values()):
            if code := getattr(way, "__code__", None):
                path = Path(code.co_filename)
                if path.is_relative_to(_PACKAGE) and (room := path.relative_to(_PACKAGE).parts[0]) != home:
                    rooms[room] += 1
    return ", ".join(f"{rooms[room]} by {room}" for room in ("fast", "gpu", "distributed", "debug") if rooms[room])
