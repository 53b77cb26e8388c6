"""Arrays in files: the safetensors format, written so that a crash at any instant leaves the old file or the new one.

A file is a header in JSON (names, dtypes, shapes, and a few strings of our own) and the arrays' bytes behind it; no
code is ever run from it, unlike a pickle. One of the strings is the SHA-256 sum of the whole file, computed with its
own 64 digits as zeros.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from scratchae.backend import Array, to_device

FilePath = str | os.PathLike[str]
FORMAT = "scratchae checkpoint 1"  # the string "format" of a file that is more than weights (checkpoint.py)
_NO_SUM = b"0" * 64
_SUM = re.compile(rb'"sha256"\s*:\s*"([0-9a-f]{64})"')  # quotes inside names and strings are escaped: it is found once


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
    write_whole(path, _signed(save(packed, {**(strings or {}), "sha256": _NO_SUM.decode()})))


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
    except KeyError as dtype:  # BF16, say
        raise FileError(f"{path} holds numbers of type {dtype}, which NumPy has not; convert them first") from None
    except Exception as error:  # safetensors' own error class derives from nothing narrower
        raise FileError(f"{path} is not a safetensors file, or is damaged ({type(error).__name__}: {error})") from None
    wanted = strings.pop("sha256", None)
    if wanted is None and checked:
        raise FileError(f"{path} has no checksum, so it is no checkpoint of ours, or is damaged")
    if wanted is not None and data != _signed(data):
        raise FileError(f"{path} is damaged: its bytes do not give the checksum that it carries. Nothing was loaded")
    return arrays, strings


def write_whole(path: FilePath, data: bytes, suffix: str = ".tmp") -> None:
    """Give `path` the content `data`, all of it or none, and durably: it survives a power cut from here on.

    Folders are made, and removed again if it fails. The temporary file is called the same each time, so that a crash
    leaves one at most; those who write to a path at the same time need a `suffix` each.
    """
    path = Path(os.path.realpath(path))  # through a link, the file behind it is meant
    temporary = path.with_name(f".{path.name}{suffix}")
    made = [folder for folder in path.parents if not os.path.exists(folder)]  # innermost first
    try:
        for folder in reversed(made):
            folder.mkdir(exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        for remove in (temporary.unlink, *(folder.rmdir for folder in made)):
            with contextlib.suppress(OSError):
                remove()
        if isinstance(error, OSError):
            old = "the file there is as it was" if path.exists() else "nothing was written"
            raise type(error)(error.errno, f"could not save {len(data):,} bytes ({error.strerror}); {old}", str(path)) \
                from error  # fmt: skip
        raise
    for folder in (path.parent, *(folder.parent for folder in made)) if os.name == "posix" else ():
        names = os.open(folder, os.O_RDONLY)  # a new name itself is on disk only after this
        try:
            os.fsync(names)
        finally:
            os.close(names)


def check_place(path: FilePath) -> None:
    """Raise the OSError that `write_whole` would raise, before the work and not after it; nothing is made."""
    path = Path(os.path.realpath(path))
    folder = next(folder for folder in path.parents if os.path.exists(folder))
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "this is a folder; expected the name of a file", str(path))
    if not os.path.isdir(folder):
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is no folder; expected one, to write into", str(path))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"no permission to write into {folder}; choose another place", str(path))


def _signed(data: bytes) -> bytes:
    """The file with the digits that its checksum should have; nothing where it has no place for them."""
    found = _SUM.search(data, 8, 8 + int.from_bytes(data[:8], "little"))
    if found is None:
        return b""
    before, after = data[: found.start(1)], memoryview(data)[found.end(1) :]
    digest = hashlib.sha256(before + _NO_SUM)
    digest.update(after)
    return b"".join((before, digest.hexdigest().encode(), after))
