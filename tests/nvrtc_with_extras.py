"""CUDA's own compiler must take the kernels, which needs no GPU. Needs `pip install nvidia-cuda-nvrtc`; run by name:

python -m pytest tests/nvrtc_with_extras.py
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import re
from pathlib import Path
from typing import Any

import pytest
from strict_kernels import KERNEL

import scratchae
from scratchae.gpu.kernels import TYPES, source

FILES = sorted((Path(scratchae.__file__).parent / "gpu").glob("*.cu"))


@pytest.fixture(scope="module")
def nvrtc() -> Any:
    """The compiler's library, which CuPy's RawModule calls too."""
    files = importlib.metadata.files("nvidia-cuda-nvrtc") or []
    (library,) = (f.locate() for f in files if re.match(r"(lib)?nvrtc(\.so\.\d+|64_\d+_0\.dll)$", f.name))
    return ctypes.CDLL(str(library))


def text_from(nvrtc: Any, program: ctypes.c_void_p, what: str) -> str:
    size = ctypes.c_size_t()
    assert getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)) == 0
    text = ctypes.create_string_buffer(size.value)
    assert getattr(nvrtc, f"nvrtcGet{what}")(program, text) == 0
    return text.value.decode()


@pytest.mark.parametrize("architecture", ["compute_75", "compute_90"])  # the oldest that CUDA 13 knows; Hopper
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_cuda_compiles_every_kernel_without_a_warning(nvrtc: Any, file: Path, dtype: str, architecture: str) -> None:
    code, program = source(file.name, dtype), ctypes.c_void_p()
    given = (code.encode(), file.name.encode(), 0, None, None)
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), *given) == 0
    options = [f"--gpu-architecture={architecture}", "--std=c++17", "-ftz=true"]  # the last one as CuPy gives it
    as_c = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = nvrtc.nvrtcCompileProgram(program, len(options), as_c)
    log = text_from(nvrtc, program, "ProgramLog")
    assert not failed and not log, log
    entries = re.findall(r"\.entry\s+(\w+)", text_from(nvrtc, program, "PTX"))
    assert sorted(entries) == sorted(KERNEL.findall(code)) and entries
    assert nvrtc.nvrtcDestroyProgram(ctypes.byref(program)) == 0
