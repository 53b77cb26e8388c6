"""CUDA kernels on a machine without a GPU: the same text, compiled by the C++ compiler, one thread after the other.

What `cupy.RawModule` takes from scratchae is plain C++ but for a few words, which PRELUDE explains to the compiler: a
kernel becomes a function, and a launch a loop over all threads of all blocks. This says what a kernel computes, given
that no thread waits for another or shares memory with it; whether CUDA's compiler takes the text is another question
(`nvrtc_with_extras.py`). A real launch copies bytes and believes them. This one looks: the number of arguments, their
dtypes against the parameters, arrays in one piece, the limits of grids and blocks.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(\w+)\s*\(')
OPTIONS = ["-std=c++17", "-O1", "-shared", "-fPIC", "-ffp-contract=off"]
if sys.platform == "linux":
    OPTIONS += ["-Wl,-Bsymbolic"]  # a kernel by the name of a function of the C library is still the kernel
LARGEST_GRID, LARGEST_BLOCK, THREADS_OF_A_BLOCK = (2**31 - 1, 65535, 65535), (1024, 1024, 64), 1024

PRELUDE = """
#include <math.h>
#include <type_traits>
#include <utility>
#define __global__
#define __device__
#define __forceinline__ inline
struct dim3 { unsigned x, y, z; };
static thread_local dim3 gridDim, blockDim, blockIdx, threadIdx;
template <class T> T min(T a, T b) { return b < a ? b : a; }  // T, as in CUDA's headers: nobody may define a macro T
template <class T> T max(T a, T b) { return a < b ? b : a; }

// A parameter is described by three letters: pointer or value, the kind of number as NumPy writes it, its bytes.
// Arguments come as CUDA's driver takes them, as an array of pointers to their values.
namespace stand_in {
template <class P> struct Described {
    using A = std::remove_pointer_t<P>;
    static constexpr char place = std::is_pointer_v<P> ? '*' : ' ', bytes = '0' + sizeof(A),
        kind = std::is_same_v<std::remove_cv_t<A>, bool> ? 'b' : std::is_floating_point_v<A> ? 'f'
               : std::is_unsigned_v<A> ? 'u' : 'i';
};
template <class... P> const char* described(void (*)(P...)) {
    static const char letters[] = {Described<P>::place..., Described<P>::kind..., Described<P>::bytes..., 0};
    return letters;
}
template <class... P, size_t... I>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, void** given, std::index_sequence<I...>) {
    gridDim = grid; blockDim = block;
    for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
    for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x)
    for (threadIdx.z = 0; threadIdx.z < block.z; ++threadIdx.z)
    for (threadIdx.y = 0; threadIdx.y < block.y; ++threadIdx.y)
    for (threadIdx.x = 0; threadIdx.x < block.x; ++threadIdx.x) kernel(*(P*)given[I]...);
}
template <class... P> void launch(void (*kernel)(P...), const unsigned* size, void** given) {
    launch(kernel, {size[0], size[1], size[2]}, {size[3], size[4], size[5]}, given, std::index_sequence_for<P...>());
}
}
"""

WAYS_IN = """
extern "C" const char* described_{0}() {{ return stand_in::described({0}); }}
extern "C" void launch_{0}(const unsigned* size, void** given) {{ stand_in::launch({0}, size, given); }}
"""


class RawModule:
    """cupy.RawModule, of CUDA text whose kernels are `extern "C" __global__ void name(...)`."""

    def __init__(self, *, code: str, options: tuple[str, ...] = ()):
        self._names = KERNEL.findall(code)
        self._library = ctypes.CDLL(str(_compiled(code, self._names, options)))

    def get_function(self, name: str) -> RawKernel:
        if name not in self._names:
            raise RuntimeError("CUDA_ERROR_NOT_FOUND: named symbol not found")
        return RawKernel(self._library, name)


class RawKernel:
    """cupy.RawKernel: what `get_function` gives."""

    def __init__(self, library: ctypes.CDLL, name: str):
        self.name, self._launch, describe = name, library[f"launch_{name}"], library[f"described_{name}"]
        describe.restype = ctypes.c_char_p
        letters = describe().decode()
        n = len(letters) // 3
        self._parameters = [(letters[i] == "*", np.dtype(letters[n + i] + letters[2 * n + i])) for i in range(n)]

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple) -> None:
        import strict_cupy  # which itself imports this module

        if len(args) != len(self._parameters):
            raise TypeError(f"{self.name} has {len(self._parameters)} parameters, got {len(args)} arguments")
        hosts = [self._host(i, a, strict_cupy.ndarray) for i, a in enumerate(args)]
        size = (ctypes.c_uint * 6)(*_dimensions(grid, LARGEST_GRID), *_dimensions(block, LARGEST_BLOCK))
        if math.prod(block) > THREADS_OF_A_BLOCK:
            raise RuntimeError(f"CUDA_ERROR_INVALID_VALUE: a block of {block}, more than {THREADS_OF_A_BLOCK} threads")
        addresses = [ctypes.c_void_p(a.ctypes.data) for a in hosts]
        places = [
            ctypes.addressof(address) if is_pointer else address.value
            for (is_pointer, _), address in zip(self._parameters, addresses, strict=True)
        ]
        array = (ctypes.c_void_p * len(places))(*places)
        written = [a for a, (is_pointer, _) in zip(hosts, self._parameters, strict=True) if is_pointer]

        def run(keep: Any = (hosts, addresses)) -> None:  # as long as it may be launched, from a graph say
            self._launch(size, array)

        strict_cupy.perform(run, *written)

    def _host(self, position: int, argument: Any, ndarray: type) -> np.ndarray:
        """The argument where the CPU finds it: an array's own memory, a number as an array of no dimension."""
        is_pointer, dtype = self._parameters[position]
        where = f"{self.name}, argument {position}"
        if not isinstance(argument, ndarray if is_pointer else np.generic):
            wanted = f"an array of {dtype}" if is_pointer else f"NumPy's {dtype}"
            raise TypeError(f"{where}: the kernel takes {wanted}, got {type(argument)}")
        host = argument._host if is_pointer else np.asarray(argument)
        if host.dtype != dtype:
            raise TypeError(f"{where}: the kernel takes {dtype}, got {host.dtype}")
        if not _in_one_piece(host):
            raise ValueError(f"{where}: shape {host.shape} with strides {host.strides} has gaps or shares elements")
        return host


def _dimensions(given: tuple[int, ...], largest: tuple[int, int, int]) -> tuple[int, ...]:
    if not isinstance(given, tuple) or not 1 <= len(given) <= 3:
        raise TypeError(f"a grid or block is a tuple of 1 to 3 integers, got {given!r}")
    full = (*given, 1, 1)[:3]
    if not all(1 <= n <= limit for n, limit in zip(full, largest, strict=True)):
        raise RuntimeError(f"CUDA_ERROR_INVALID_VALUE: {given}, where the limits are 1 to {largest}")
    return full


def _in_one_piece(a: np.ndarray) -> bool:
    """Whether the elements fill a stretch of memory, in whatever order of axes."""
    step = a.itemsize
    for stride, n in sorted((s, n) for s, n in zip(a.strides, a.shape, strict=True) if n > 1):
        if stride != step and a.size:
            return False
        step *= n
    return True


@functools.cache
def _compiler() -> tuple[str, str]:
    """The C++ compiler, and its version."""
    if sys.platform == "win32":
        pytest.skip("kernels for GPUs are tested with a C++ compiler on Linux and macOS")
    path = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if path is None:
        pytest.skip("kernels for GPUs are tested with a C++ compiler, and there is none here")
    return path, subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout


def _compiled(code: str, names: list[str], options: tuple[str, ...]) -> Path:
    """The library made of the text, kept between runs under a name that says all that it depends on."""
    compiler, version = _compiler()
    text = PRELUDE + '#line 1 "kernels"\n' + code + "".join(map(WAYS_IN.format, names))
    arguments = (*OPTIONS, *options)
    name = hashlib.sha256("\0".join((text, *arguments, compiler, version)).encode()).hexdigest()[:32]
    folder = Path(tempfile.gettempdir()) / f"scratchae-kernels-{getattr(os, 'getuid', int)()}"
    if (path := folder / f"{name}.so").exists():
        return path
    folder.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:  # renamed when whole: other processes compile it too
        (source := Path(work, "kernels.cpp")).write_text(text)
        command = [compiler, *arguments, str(source), "-o", str(Path(work, "kernels.so"))]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the kernels do not compile with {' '.join(arguments)}:\n{done.stderr}")
        os.replace(Path(work, "kernels.so"), path)
    return path
