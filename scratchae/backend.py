"""Arrays and devices: NumPy on the CPU, CuPy on a GPU.

`xp_of(x)` gives the module that owns the array `x`, and the operators call that module. The first use of a GPU imports
CuPy.
"""

import importlib
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

import numpy as np

from scratchae.attach import replaceable

Array = Any  # numpy.ndarray or cupy.ndarray: CuPy has no types of its own to name here


# --- which library owns this array ---------------------------------------------------------------


def is_array(x: object) -> bool:
    """Whether `x` is an array of a library that scratchae computes with."""
    if isinstance(x, np.ndarray):
        return True
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(x, cupy.ndarray)


def plain_array(x: Any, what: str) -> Array:
    """`x` if it is an array of real numbers, in this machine's byte order. Raises TypeError if not.

    All operations refuse values of other libraries here. A MaskedArray would lose its mask, and a pandas Series its
    index. Complex numbers would lose the imaginary part, and a Tensor of another library its graph.
    """
    if is_array(x) and x.dtype.kind in "biuf" and (type(x) in (np.ndarray, np.memmap) or not isinstance(x, np.ndarray)):
        native = x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))
        return native.view(np.ndarray) if type(native) is np.memmap else native
    raise not_numbers(x, what)


def numbers(x: Any, what: str) -> Array:
    """`x` as a plain array, where it may also be a number, or numbers in nested lists."""
    if not isinstance(x, (list, tuple, range, int, float, np.generic)):
        return plain_array(x, what)
    if isinstance(x, (list, tuple)):
        check_items(x, what)
    try:
        array = np.asarray(x)
    except ValueError:
        raise ValueError(f"{what} holds lists of unequal lengths; expected as many numbers in each") from None
    if array.dtype.kind == "O":
        raise ValueError(f"{what} holds an integer that is too large for an array")
    return plain_array(array, what)


@replaceable
def check_items(listed: Any, what: str) -> None:
    """Refuse a list with an item that NumPy would take apart; see debug/advice.py."""


@replaceable
def not_numbers(x: Any, what: str) -> TypeError:
    """The error for an object that is no array of real numbers. debug/advice.py adds the way out."""
    return TypeError(f"{what} is a {type(x).__name__}; expected real numbers or an array of them")


def xp_of(*arrays: object) -> ModuleType:
    """The module (numpy or cupy) that owns `arrays`. Numbers and None belong to either.

    Raises ValueError where the arrays live on different devices. No array is copied between devices without your word.
    """
    if "cupy" not in sys.modules:
        return np
    owners = {device_of(a) for a in arrays if is_array(a)}
    if len(owners) > 1:
        where = ", ".join(f"operand {i} is on {device_of(a)}" for i, a in enumerate(arrays) if is_array(a))
        raise ValueError(f"operands of one operation on different devices: {where}; move one with .to(...)")
    if owners <= {"cpu"}:
        return np
    return sys.modules["cupy"] if not rooms else load_cupy()


# --- devices --------------------------------------------------------------------------------------

_entering = threading.RLock()  # a second thread waits until the rooms are attached
rooms: list[str] = []
"""Modules that attach functions for a GPU. The first use of a GPU imports these modules and empties the list."""


def device_of(x: Array) -> str:
    """The device's name: 'cpu', 'gpu:0', 'gpu:1', ..."""
    return "cpu" if isinstance(x, np.ndarray) else f"gpu:{x.device.id}"


def to_device(x: Array, device: str) -> Array:
    """`x` on `device` ('cpu', 'gpu', 'gpu:1'); `x` itself if the array is there already.

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


def current(device: str) -> AbstractContextManager[Any]:
    """Inside, a GPU is the device on which CuPy makes new arrays."""
    return nullcontext() if device == "cpu" else load_cupy().cuda.Device(int(device.partition(":")[2] or 0))


@replaceable
def told_when_full(what: str) -> AbstractContextManager[Any]:
    """Inside, a MemoryError of a GPU says that the memory was too small for `what`; see gpu/devices.py."""
    return nullcontext()


def gpu_available() -> bool:
    """Whether CuPy can be imported and sees at least one GPU."""
    try:
        load_cupy()
    except RuntimeError:
        return False
    return True


def load_cupy() -> ModuleType:
    """Import CuPy and the `rooms`. Raises RuntimeError without CuPy, or without a GPU."""
    try:
        import cupy

        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # an ImportError, or CUDA's own error class, which cannot be named without CuPy
        raise RuntimeError(no_gpu(error)) from error
    if count == 0:
        raise RuntimeError("device 'gpu' asked for, but CUDA reports no device; stay on 'cpu'")
    with _entering:
        while rooms:
            importlib.import_module(rooms[-1])
            rooms.pop()
    return cupy


@replaceable
def no_gpu(error: Exception) -> str:
    """Why CuPy found no GPU; debug/advice.py adds the way out."""
    return f"device 'gpu' needs CuPy and a GPU: {error}"


@replaceable
def seen(flag: Any) -> bool:
    """Whether a number on any device is true; `flag` may also be a function that gives the number.

    To read a number on a GPU, Python must wait for the GPU. A step that is recorded must not wait, and goes on with
    False (gpu/replay.py). The recording notes the number. If the number is later true, the step counts as not finite.
    A recorded step does not call a function. Pass a function where the loss itself becomes NaN.
    """
    return bool(flag() if callable(flag) else flag)
