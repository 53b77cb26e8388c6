"""Where arrays live: NumPy on the CPU, CuPy on a GPU, and nothing else needs to know.

An array is dispatched on by what it is: `xp_of(x)` answers with the module that owns it, and the
operators call that module. CuPy is imported when somebody first asks for a GPU, never before.
The allocator setting lives here too, because it belongs to the machine and not to the mathematics.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType
from typing import Any

import numpy as np

from scratchae.attach import PLAIN, replaceable

Array = Any  # numpy.ndarray or cupy.ndarray: CuPy has no types of its own to name here


# --- which library owns this array ---------------------------------------------------------------


def is_array(x: object) -> bool:
    """Whether `x` is an array of a library that scratchae computes with."""
    if isinstance(x, np.ndarray):
        return True
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(x, cupy.ndarray)


def plain_array(x: Any, what: str) -> Array:
    """`x` if it is an array of real numbers, in this machine's byte order. Raises TypeError, with a way out, if not.

    This is the one place that says which values of other libraries are refused: a MaskedArray, a pandas Series or an
    array of complex numbers would lose its mask, its index or its imaginary part, or drop out of the graph.
    """
    if is_array(x) and x.dtype.kind in "biuf" and (type(x) in (np.ndarray, np.memmap) or not isinstance(x, np.ndarray)):
        native = x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))
        return native.view(np.ndarray) if type(native) is np.memmap else native
    raise TypeError(f"{what} is {_kind(x)}; expected real numbers or an array of them{_way_out(x)}")


def numbers(x: Any, what: str) -> Array:
    """`x` as a plain array, where it may also be a number, or numbers in nested lists."""
    if not isinstance(x, (list, tuple, range, int, float, np.generic)):
        return plain_array(x, what)
    if isinstance(x, (list, tuple)):
        _check_items(x, what)
    try:
        array = np.asarray(x)
    except ValueError:
        raise ValueError(f"{what} holds lists of unequal lengths; expected as many numbers in each") from None
    if array.dtype.kind == "O":
        raise ValueError(f"{what} holds an integer that is too large for an array")
    return plain_array(array, what)


def _check_items(listed: Any, what: str) -> None:
    """Refuse a list with something in it that NumPy would take apart, and so lose its mask, its index or its graph."""
    for item in listed:
        if isinstance(item, (list, tuple)):
            _check_items(item, what)
        elif type(item) not in (float, int, bool) and not isinstance(item, (range, np.generic)):
            if not hasattr(item, "requires_grad") or type(item).__module__.partition(".")[0] != "scratchae":
                plain_array(item, f"{what}: an item")


def _kind(x: Any) -> str:
    if type(x) is np.ndarray:
        return f"of dtype {x.dtype}"
    library = type(x).__module__.partition(".")[0]
    return f"a {type(x).__name__}" + ("" if library == "builtins" else f" of {library}")


def _way_out(x: Any) -> str:
    """How an object that is no plain array of real numbers becomes one."""
    kind, library = getattr(getattr(x, "dtype", None), "kind", None), type(x).__module__.partition(".")[0]
    if isinstance(x, np.ma.MaskedArray):
        return ": fill the masked places with .filled(0), say"
    if kind == "c" or isinstance(x, complex):
        return ": take .real and .imag, or numpy.abs"
    if library == "scratchae":
        return ": pass the .data of a Tensor"
    if library == "torch":
        return ": convert with .detach().cpu().numpy()"
    if library == "scipy" and hasattr(x, "toarray"):
        return ": convert with .toarray()"
    if hasattr(x, "to_numpy"):  # pandas, polars, xarray
        return ": convert with .to_numpy()"
    if kind in ("m", "M"):  # dates and times
        return ": convert with .astype('int64')"
    if is_array(x) and kind in ("O", "S", "U", "V"):
        return ": convert with .astype('float32')"
    return ": convert with np.asarray" if hasattr(x, "__array__") or type(x) in (int, float, list, tuple) else ""


def xp_of(*arrays: object) -> ModuleType:
    """The module (numpy or cupy) that owns `arrays`; scalars and None belong to either.

    Raises ValueError where the arrays live on different devices: nothing is ever copied between
    them behind the user's back.
    """
    if "cupy" not in sys.modules:
        return np
    owners = {device_of(a) for a in arrays if is_array(a)}
    if len(owners) > 1:
        where = ", ".join(f"operand {i} is on {device_of(a)}" for i, a in enumerate(arrays) if is_array(a))
        raise ValueError(f"operands of one operation on different devices: {where}; move one with .to(...)")
    return np if owners <= {"cpu"} else sys.modules["cupy"]


def matmul(x: Array, y: Array, out: Array | None = None) -> Array:
    """`x @ y`, by the BLAS of the arrays' device."""
    xp = xp_of(x, y)
    if xp is np or PLAIN:
        return xp.matmul(x, y, out=out)
    from scratchae.gpu import cublas

    return cublas.matmul(x, y, out)


def device_of(x: Array) -> str:
    """The device's name: 'cpu', 'gpu:0', 'gpu:1', ..."""
    return "cpu" if isinstance(x, np.ndarray) else f"gpu:{x.device.id}"


def to_device(x: Array, device: str) -> Array:
    """`x` on `device` ('cpu', 'gpu', 'gpu:1'); itself if it is there already.

    Raises ValueError for another name and RuntimeError without CuPy or without that GPU.
    """
    kind, colon, number = device.partition(":")
    if device == "cpu":
        return x if isinstance(x, np.ndarray) else x.get()
    if kind != "gpu" or (colon and not number.isdecimal()):
        raise ValueError(f"unknown device {device!r}; expected 'cpu', 'gpu' or 'gpu:<number>'")
    cupy = load_cupy()
    if int(number or 0) >= (count := cupy.cuda.runtime.getDeviceCount()):
        raise RuntimeError(f"device {device!r} asked for, but this machine has {count} GPU(s), counted from gpu:0")
    with current(device):
        return cupy.asarray(x)


def overflowed(given: Array, converted: Array) -> bool:
    """Whether a finite number of `given` became infinite when the array was converted to another dtype."""
    if given.dtype == converted.dtype or converted.dtype.kind != "f":
        return False
    infinite = abs(converted) == np.inf
    return bool(infinite.any() and (abs(to_device(given, device_of(converted)))[infinite] < np.inf).any())


def current(device: str) -> AbstractContextManager[Any]:
    """Inside, a GPU is the one that CuPy makes new arrays on."""
    if device == "cpu":
        return nullcontext()
    return load_cupy().cuda.Device(int(device.partition(":")[2] or 0))


def gpu_available() -> bool:
    """Whether CuPy can be imported and sees at least one GPU."""
    try:
        load_cupy()
    except RuntimeError:
        return False
    return True


def load_cupy() -> ModuleType:
    try:
        import cupy
    except ImportError as error:
        version = _cuda_driver_version()
        if version is None:
            raise RuntimeError(
                f"device 'gpu' needs CuPy ({error}) and an NVIDIA driver; looked for libcuda.so.1 and nvcuda.dll "
                "and found neither. Stay on 'cpu', or install the driver first"
            ) from None
        extra = "cuda13" if version >= 13 else "cuda12"
        raise RuntimeError(
            f"device 'gpu' needs CuPy ({error}). The driver here speaks CUDA {version}; install it with:  "
            f"pip install 'scratchae[{extra}]'"
        ) from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        # CUDA's own error class cannot be named without CuPy.
        raise RuntimeError(f"CuPy is installed, but asking CUDA for its devices failed: {error}") from error
    if count == 0:
        raise RuntimeError("CuPy is installed, but CUDA reports no device; stay on 'cpu'")
    return cupy


def _cuda_driver_version() -> int | None:
    """CUDA's major version as the driver tells it, None where no driver is found."""
    import ctypes

    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver, version = ctypes.CDLL(name), ctypes.c_int()
        except OSError:
            continue
        if driver.cuDriverGetVersion(ctypes.byref(version)) == 0:
            return version.value // 1000
    return None


@contextmanager
def told_when_full(what: str) -> Iterator[None]:
    """Inside, a GPU that runs out of memory gives a MemoryError that tells what was going on, with memory released."""
    try:
        yield
    except MemoryError as error:
        cupy = sys.modules.get("cupy")
        if cupy is None or not isinstance(error, cupy.cuda.memory.OutOfMemoryError):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold the arrays of what was going on
        cupy.get_default_memory_pool().free_all_blocks()
        free, total = (f"{n / 2**30:.2f}" for n in cupy.cuda.runtime.memGetInfo())
        reason = str(error).rstrip(".")
        raise MemoryError(
            f"the GPU's memory is too small for {what}: {reason}. What that took has been released, {free} of {total} "
            "GiB are free now; use a smaller batch_size"
        ) from None


@replaceable
def seen(flag: Any) -> bool:
    """Whether a number on any device is true.

    Python waits for a GPU to look at a number there. A step that is recorded must not wait: it puts the flag down and
    goes on with False, and counts as a step that is not finite where the flag turns out to be true (gpu/replay.py).
    """
    return bool(flag)


# --- steps that are recorded on a GPU --------------------------------------------------------------


class _Watching(threading.local):
    forbidden = False  # in this thread


_watching = _Watching()


@contextmanager
def not_watching() -> Iterator[None]:
    """Inside, nothing in this thread may wait for a GPU to look at a value: a step is being recorded."""
    before, _watching.forbidden = _watching.forbidden, True
    try:
        yield
    finally:
        _watching.forbidden = before


def unwatched() -> bool:
    """Whether values must not be looked at; see `not_watching`."""
    return _watching.forbidden


# --- memory ---------------------------------------------------------------------------------------


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed arrays for the next step instead of handing them back to the kernel.

    A training step frees and allocates the same sizes over and over; by default glibc returns every
    large block at once, and the kernel clears and maps it again page by page, which costs several
    times the arithmetic itself. The price is that the process keeps its peak memory until it ends.
    Returns whether the setting took effect; False where the C library is another one.
    `SCRATCHAE_KEEP_MEMORY=0` in the environment leaves the allocator alone.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of <malloc.h>
    # Older glibc refuses thresholds over 32 MiB; that much still covers most layers.
    took = mallopt(mmap_threshold, 1 << 30) or mallopt(mmap_threshold, 32 << 20)
    return bool(took and mallopt(trim_threshold, 2**31 - 1))


if os.environ.get("SCRATCHAE_KEEP_MEMORY", "1") != "0" and not PLAIN:
    keep_freed_memory()
