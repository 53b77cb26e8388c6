"""Arrays in files: the safetensors format, written so that a crash at any instant leaves the old file or the new one.

A file is a header in JSON (names, dtypes, shapes, and a few strings of our own) and the arrays' bytes behind it; no
code is ever run from it, unlike a pickle. One of the strings is the SHA-256 sum of the whole file, computed with its
own 64 digits as zeros.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scratchae.backend import Array, to_device

FilePath = str | os.PathLike[str]
_NO_SUM = "0" * 64


class FileError(ValueError):
    """A file is not what it should be; the message names it, and nothing was taken from it."""


def write_arrays(path: FilePath, arrays: Mapping[str, Array], strings: Mapping[str, str] | None = None) -> None:
    """Save arrays of any layout and device by name, and strings beside them. Raises OSError; the old file stays."""
    from safetensors.numpy import save

    # In one piece and in native byte order: anything else would be written scrambled. `asarray` keeps 0-d arrays 0-d.
    on_cpu = {name: to_device(a, "cpu") for name, a in arrays.items()}
    packed = {name: np.asarray(a, a.dtype.newbyteorder("="), order="C") for name, a in on_cpu.items()}
    for name, a in packed.items():
        if a.dtype.kind not in "fiub" or a.dtype.itemsize > 8 or name == "__metadata__":
            raise ValueError(f"cannot save {name!r}, {a.dtype}: expected numbers of at most 64 bits, or another name")
    data = bytearray(save(packed, {**(strings or {}), "sha256": _NO_SUM}))
    start = _place_of_sum(data, _NO_SUM)
    data[start : start + 64] = hashlib.sha256(data).hexdigest().encode()
    write_whole(path, data)


def read_arrays(path: FilePath, checked: bool = False) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and strings of a safetensors file, whoever wrote it.

    A checksum is verified where there is one; `checked` refuses a file without. Raises FileError for a file that
    is damaged or something else, OSError where it cannot be read.
    """
    from safetensors.numpy import load

    data = Path(path).read_bytes()
    try:
        length = int.from_bytes(data[:8], "little")
        strings = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
        arrays = load(data)
    except Exception as error:  # safetensors' own error class derives from nothing narrower
        raise FileError(f"{path} is not a safetensors file, or is damaged ({type(error).__name__}: {error})") from None
    wanted = strings.pop("sha256", None)
    if wanted is None and checked:
        raise FileError(f"{path} has no checksum, so it is no checkpoint of ours, or is damaged")
    if wanted is not None and wanted != _sum_of(data, wanted):
        raise FileError(f"{path} is damaged: its bytes do not give the checksum that it carries. Nothing was loaded")
    return arrays, strings


def write_whole(path: FilePath, data: bytes | bytearray) -> None:
    """Give `path` the content `data`, all of it or none, and durably: it survives a power cut from here on."""
    path = Path(os.path.realpath(path))  # through a link, the file behind it is meant
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            old = "the file there is as it was" if path.exists() else "nothing was written"
            raise type(error)(error.errno, f"could not save {len(data):,} bytes ({error.strerror}); {old}", str(path)) \
                from error  # fmt: skip
        raise
    if os.name == "posix":  # the new name itself is on disk only after this
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _place_of_sum(data: bytes | bytearray, digits: str) -> int:
    """Where the digits of the checksum stand. Quotes inside names and strings are escaped: it is found once."""
    end = 8 + int.from_bytes(data[:8], "little")
    return data.index(f'"sha256":"{digits}"'.encode(), 8, end) + len('"sha256":"')


def _sum_of(data: bytes, digits: Any) -> str | None:
    try:
        start = _place_of_sum(data, digits)
    except ValueError:
        return None
    digest = hashlib.sha256(data[:start])
    digest.update(_NO_SUM.encode())
    digest.update(data[start + len(digits) :])
    return digest.hexdigest()
