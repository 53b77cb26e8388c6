"""The IDX file format of MNIST: a short header, then the values, often gzipped.

    byte 0-1  zero
    byte 2    type of the values; 0x08, unsigned byte, is the one images and labels use
    byte 3    number of dimensions d
    then      d sizes, 4 bytes each, most significant byte first
    then      the values, last dimension fastest

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", file formats.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import IO

import numpy as np

_UBYTE = 0x08
_MAX_DIMENSIONS = 64  # NumPy's own limit
_DEFLATE_RATIO = 1032  # the most that deflate can shrink anything; zlib's technical notes
_CHUNK = 1 << 20


class DataError(ValueError):
    """A data file is not what it should be; the message names file, finding, expectation and remedy."""


def _broken(path: Path, found: str, expected: str) -> DataError:
    return DataError(f"{path}: {found}; expected {expected}. Delete this file and get a fresh copy of it")


def read_idx(
    path: str | os.PathLike[str], shape: tuple[int | None, ...] | None = None, max_bytes: int = 1 << 30
) -> np.ndarray:
    """The uint8 array in an IDX file, gzipped or plain (the content decides, not the name).

    `shape` is the shape the file must have, with None for a size that may be anything; without it
    every shape is taken. The header is judged before memory is taken for the values, and no more
    than the header promises (plus one byte, to notice a surplus) is ever unpacked.

    Raises DataError for a file that is cut off, damaged, too long, of another type or shape, no IDX
    file at all, or larger than `max_bytes` unpacked; OSError where it cannot be read.
    """
    import gzip
    import zlib

    path = Path(path)
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stored = os.fstat(file.fileno()).st_size
        stream: IO[bytes] = gzip.GzipFile(fileobj=file) if zipped else file  # type: ignore[assignment]
        try:
            sizes = _read_header(stream, path)
            _check_sizes(sizes, shape, path, max_bytes, stored * _DEFLATE_RATIO if zipped else stored)
            return _read_values(stream, sizes, path)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise _broken(path, f"damaged or cut off gzip data ({error})", "a whole gzip file") from error


def _read_header(stream: IO[bytes], path: Path) -> tuple[int, ...]:
    magic = stream.read(4)
    if len(magic) < 4:
        raise _broken(path, f"cut off after {len(magic)} bytes", "an IDX header of at least 8 bytes")
    zero, kind, dimensions = struct.unpack(">HBB", magic)
    if zero:
        hint = " (a web page?)" if magic.lstrip().startswith(b"<") else ""
        raise _broken(path, f"it begins with {magic!r}{hint}", "an IDX file, whose first two bytes are zero")
    if kind != _UBYTE:
        raise _broken(path, f"values of IDX type {kind:#04x}", f"unsigned bytes, type {_UBYTE:#04x}")
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise _broken(path, f"{dimensions} dimensions", f"1 to {_MAX_DIMENSIONS}")
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise _broken(path, f"cut off inside the header, after {4 + len(sizes)} bytes",
                      f"a header of {4 + 4 * dimensions} bytes for {dimensions} dimensions")
    return struct.unpack(f">{dimensions}I", sizes)


def _check_sizes(
    sizes: tuple[int, ...], shape: tuple[int | None, ...] | None, path: Path, max_bytes: int, available: int
) -> None:
    """Refuse a header that asks for another shape, for too much, or for more than the file can hold."""
    if shape is not None:
        pairs = zip(sizes, shape, strict=False)  # the lengths are compared first
        if len(sizes) != len(shape) or any(want not in (None, size) for size, want in pairs):
            wanted = ", ".join("any" if want is None else str(want) for want in shape)
            raise _broken(path, f"an array of shape {sizes}", f"shape ({wanted})")
    # A size of zero must not hide the others: NumPy cannot make (0, 2**32 - 1, 2**32 - 1) either.
    if math.prod(max(size, 1) for size in sizes) > max_bytes:
        raise _broken(path, f"a header that promises an array of shape {sizes}", f"at most {max_bytes} bytes")
    if math.prod(sizes) > available:
        raise _broken(path, f"cut off: the header promises {math.prod(sizes)} values, which cannot be in it",
                      f"a file that holds all values of shape {sizes}")


def _read_values(stream: IO[bytes], sizes: tuple[int, ...], path: Path) -> np.ndarray:
    values = np.empty(math.prod(sizes), np.uint8)
    done = 0
    while chunk := stream.read(min(_CHUNK, values.size - done)):
        values[done : done + len(chunk)] = np.frombuffer(chunk, np.uint8)
        done += len(chunk)
    if done < values.size:
        raise _broken(path, f"cut off after {done} values", f"{values.size} for the header's shape {sizes}")
    if stream.read(1):  # at the end of a gzip file this also checks its sum
        raise _broken(path, f"more bytes after the last of {values.size} values", "the file to end there")
    return values.reshape(sizes)


def write_idx(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write a uint8 array as an IDX file, gzipped where the name ends in `.gz`.

    The gzip header carries no time and no name, so equal arrays give equal bytes.
    Raises TypeError for another dtype, ValueError for 0 dimensions.
    """
    import gzip

    if array.dtype != np.uint8:
        raise TypeError(f"write_idx got {array.dtype} values; expected uint8: convert with .astype(np.uint8)")
    if array.ndim == 0:
        raise ValueError("write_idx got a 0-dimensional array; expected 1 dimension or more: use .reshape(1)")
    content = struct.pack(f">HBB{array.ndim}I", 0, _UBYTE, array.ndim, *array.shape) + array.tobytes()
    with open(path, "wb") as file:
        if str(path).endswith(".gz"):
            # gzip.compress is shorter, but its header differs between versions of Python.
            with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0) as zipped:
                zipped.write(content)
        else:
            file.write(content)
