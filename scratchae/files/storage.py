"""Arrays in files: the safetensors format, with a checksum, written whole (disk.py).

A file is a header in JSON (names, dtypes, shapes, and a few strings of scratchae), and then the arrays' bytes. Unlike a
pickle, a file runs no code when read. One of the strings is the SHA-256 sum of the whole file. The sum is computed with
zeros in place of its own 64 digits.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scratchae.backend import Array, to_device
from scratchae.files.disk import FileInUse, FilePath, check_apart, check_place, locked, write_whole

__all__ = ["FORMAT", "FileError", "FileInUse", "FilePath", "check_apart", "check_place", "locked", "read_arrays",
           "write_arrays", "write_whole"]  # fmt: skip

FORMAT = "scratchae checkpoint 1"  # the string "format" of a file that is more than weights (checkpoint.py)
_LARGEST_HEADER = 100_000_000  # bytes that safetensors reads
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8",
           "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?", "C64": "<c8"}  # fmt: skip
_NO_SUM = b"0" * 64
_SUM = re.compile(rb'"sha256"\s*:\s*"([0-9a-f]{64})"')  # found once, since quotes inside strings are escaped


class FileError(ValueError):
    """A file is damaged or of another kind. The message names the file, and no value of the file was used."""


def write_arrays(path: FilePath, arrays: Mapping[str, Array], strings: Mapping[str, str] | None = None) -> None:
    """Save arrays of any layout and device by name, and strings beside the arrays.

    Raises ValueError, before writing, for values that could not be read back. Raises OSError where the file cannot be
    written. The old file then stays.
    """
    check_place(path)  # before the work
    # safetensors would scramble arrays that are not contiguous or not in native byte order. `asarray` keeps 0-d arrays.
    on_cpu = {name: to_device(a, "cpu") for name, a in arrays.items()}
    packed = {name: np.asarray(a, a.dtype.newbyteorder("="), order="C") for name, a in on_cpu.items()}
    for name, a in packed.items():
        if a.dtype.kind not in "fiub" or a.dtype.itemsize > 8 or name == "__metadata__":
            raise ValueError(f"cannot save {name!r}, {a.dtype}: expected numbers of at most 64 bits, or another name")
    write_whole(path, _signed(_packed(path, packed, {**(strings or {}), "sha256": _NO_SUM.decode()})))


def _packed(path: FilePath, arrays: dict[str, np.ndarray], strings: dict[str, str]) -> bytes:
    """The bytes of a safetensors file. ValueError for a file that safetensors cannot write, or could not read."""
    from safetensors.numpy import save

    length = 0
    try:
        data = save(arrays, strings)
        length = int.from_bytes(data[:8], "little")
        problem = "header too large" if length > _LARGEST_HEADER else ""
    except Exception as error:  # the base class of safetensors' own error
        problem = str(error)
    if "header too large" in problem:
        problem = (
            f"names, metadata and all that is no array need more than the {_LARGEST_HEADER:,} bytes that a safetensors "
            "header may have; save long lists as arrays"
        )
    if problem:
        raise ValueError(f"cannot save {path}: {problem}. Nothing was written")
    return data


def read_arrays(path: FilePath, checked: bool = False) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and strings of a safetensors file of any program. BF16 numbers come as float32, which holds them exactly.

    A checksum, if present, is verified. With `checked`, a file without a checksum is refused. Raises FileError for a
    file that is damaged or of another kind, OSError for a file that cannot be read.
    """
    from safetensors import deserialize

    try:
        data = Path(path).read_bytes()
    except MemoryError:
        raise FileError(f"{path} has more bytes than there is memory for") from None
    try:
        length = int.from_bytes(data[:8], "little")
        strings = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
        arrays = {name: _array(tensor) for name, tensor in deserialize(data)}
    except KeyError as dtype:  # an 8-bit float, say
        raise FileError(f"{path} holds numbers of type {dtype}, which NumPy has not; convert them first") from None
    except Exception as error:  # the base class of safetensors' own error
        raise FileError(f"{path} is not a safetensors file, or is damaged ({type(error).__name__}: {error})") from None
    wanted = strings.pop("sha256", None)
    if wanted is None and checked:
        raise FileError(f"{path} has no checksum, so it is no checkpoint of ours, or is damaged")
    if wanted is not None and data != _signed(data):
        raise FileError(f"{path} is damaged: its bytes do not give the checksum that it carries. Nothing was loaded")
    return arrays, strings


def _array(tensor: Mapping[str, Any]) -> np.ndarray:
    """An array of a file. KeyError for a dtype that NumPy has not."""
    if tensor["dtype"] == "BF16":  # the upper half of a float32
        numbers = (np.frombuffer(tensor["data"], "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        dtype = np.dtype(_DTYPES[tensor["dtype"]])
        numbers = np.frombuffer(tensor["data"], dtype).astype(dtype.newbyteorder("="), copy=False)
    return numbers.reshape(tensor["shape"])


def _signed(data: bytes) -> bytes:
    """The file with the right digits of its checksum. Empty bytes for a file without a place for the digits."""
    found = _SUM.search(data, 8, 8 + int.from_bytes(data[:8], "little"))
    if found is None:
        return b""
    before, after = data[: found.start(1)], memoryview(data)[found.end(1) :]
    digest = hashlib.sha256(before + _NO_SUM)
    digest.update(after)
    return b"".join((before, digest.hexdigest().encode(), after))
