"""Longer texts for errors: what an object is, and the way out."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae.backend import is_array, plain_array, xp_of


def not_numbers(short: Callable[..., TypeError]) -> Callable[..., TypeError]:
    """For `backend.not_numbers`."""

    def long(x: Any, what: str) -> TypeError:
        return TypeError(f"{what} is {_kind(x)}; expected real numbers or an array of them{_way_out(x)}")

    return long


def check_items(formula: Callable) -> Callable[[Any, str], None]:
    """For `backend.check_items`: NumPy would take an item apart, and its mask, index or graph would be lost."""

    def check(listed: Any, what: str) -> None:
        for item in listed:
            if isinstance(item, (list, tuple)):
                check(item, what)
            elif type(item) not in (float, int, bool) and not isinstance(item, (range, np.generic)):
                if not hasattr(item, "requires_grad") or type(item).__module__.partition(".")[0] != "scratchae":
                    plain_array(item, f"{what}: an item")

    return check


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


def no_gpu(short: Callable[..., str]) -> Callable[..., str]:
    """For `backend.no_gpu`: the driver of this machine, and the command that installs CuPy for this driver."""

    def long(error: Exception) -> str:
        version = _cuda_driver_version()
        if isinstance(error, ImportError):
            needs, way = f"CuPy ({error})", "install CuPy with"
        else:
            needs = f"a GPU that CUDA finds ({error})"
            way = "look whether nvidia-smi lists a GPU, and whether CuPy is the one of"
        if version is None:
            return (
                f"device 'gpu' needs {needs} and an NVIDIA driver; looked for libcuda.so.1 and nvcuda.dll "
                "and found neither. Stay on 'cpu', or install the driver first"
            )
        extra = "cuda13" if version >= 13 else "cuda12"
        return (
            f"device 'gpu' needs {needs}. The driver here speaks CUDA {version}; {way}:  "
            f"pip install 'scratchae[{extra}]'"
        )

    return long


def _cuda_driver_version() -> int | None:
    """CUDA's major version as the driver tells it, None where no driver is found."""
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver, version = ctypes.CDLL(name), ctypes.c_int()
        except OSError:
            continue
        if driver.cuDriverGetVersion(ctypes.byref(version)) == 0:
            return version.value // 1000
    return None


def explain(short: Callable[..., None]) -> Callable[..., None]:
    """For `engine.explain`: which argument of an operation cannot be computed with."""

    def long(op: Any, values: list, parents: list, error: Exception) -> None:
        xp_of(*values)  # where CPU and GPU arrays met, this says so by name
        if isinstance(error, OverflowError):
            large = [name for name, a in zip(op.arguments, values, strict=True) if _is_large(a)]
            raise ValueError(f"{op.name}: the integer {' or '.join(large)} is too large for an array") from error
        for i in op.operands:
            name, a = op.arguments[i], values[i]
            if type(parents[i]) is list:
                message = f"{op.name} takes no list of Tensors as {name}; put them together with F.stack"
                raise TypeError(message) from error
            if not isinstance(a, (int, float)) and not (a is None and op.signature.parameters[name].default is None):
                plain_array(a, f"{op.name}: {name}")

    return long


def _is_large(a: Any) -> bool:
    return any(type(n) is int and not -(2**31) <= n < 2**31 for n in (a if isinstance(a, (tuple, list)) else [a]))
