"""The IDX file format of MNIST: a short header, then the values, often gzipped.

    byte 0-1  zero
    byte 2    type of the values; images and labels have 0x08, unsigned byte
    byte 3    number of dimensions d
    then      d sizes, 4 bytes each, most significant byte first
    then      the values, last dimension fastest

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", file formats.
"""

from __future__ import annotations

import math
import os
import struct
import sys
from io import BufferedIOBase

import numpy as np

from scratchae.files.storage import FilePath, write_whole

_HEADER = bytes((0, 0, 8))  # two zeros, and the type of unsigned bytes; the number of dimensions follows
_MAX_DIMENSIONS = 64  # NumPy's own limit
_DEFLATE_RATIO = 1032  # the largest ratio that deflate can reach; zlib's technical notes
_LARGEST_UNPACKED = 1 << 30  # bytes; a gzip file whose header promises more is refused


class DataError(ValueError):
    """A data file is broken. The message names the file, the finding, the expectation and the remedy."""


def _broken(path: FilePath, found: str, expected: str) -> DataError:
    return DataError(f"{path}: {found}; expected {expected}. Delete this file and get a fresh copy of it")


def read_idx(path: FilePath, shape: tuple[int | None, ...] | None = None) -> np.ndarray:
    """The uint8 array in an IDX file. The file's content, not its name, decides whether the file is gzipped.

    `shape` is the shape that the file must have, with None for a free size. Without `shape`, any shape is allowed. The
    header is checked before the values take memory. At most one byte more than the header promises is unpacked, to
    find a surplus.

    Raises DataError for a file that is cut off, damaged, too long, of another type or shape, or no IDX file. Raises
    DataError also for a gzipped file that is larger than 1 GiB unpacked. Raises OSError for a file that cannot be read.
    """
    import gzip
    import zlib

    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        room = os.fstat(file.fileno()).st_size
        try:
            if zipped:
                room = min(room * _DEFLATE_RATIO, _LARGEST_UNPACKED)
            return _read(gzip.GzipFile(fileobj=file) if zipped else file, room, shape, path)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise _broken(path, f"damaged or cut off gzip data ({error})", "a whole gzip file") from error


def _read(stream: BufferedIOBase, room: int, shape: tuple[int | None, ...] | None, path: FilePath) -> np.ndarray:
    """The array in an IDX stream of `room` bytes at most."""
    magic = stream.read(4)
    dimensions = magic[3] if len(magic) == 4 else 0
    if magic[:3] != _HEADER or not 1 <= dimensions <= _MAX_DIMENSIONS:
        hint = " (a web page?)" if magic.lstrip().startswith(b"<") else ", cut off there" if len(magic) < 4 else ""
        raise _broken(path, f"it begins with {magic!r}{hint}",
                      f"an IDX file of unsigned bytes: {_HEADER!r} and the number of dimensions, 1 to 64")
    packed = stream.read(4 * dimensions)
    if len(packed) < 4 * dimensions:
        raise _broken(path, f"cut off inside the header, after {4 + len(packed)} bytes",
                      f"a header of {4 + 4 * dimensions} bytes for {dimensions} dimensions")
    sizes = struct.unpack(f">{dimensions}I", packed)
    if shape is not None:
        pairs = zip(sizes, shape, strict=False)  # the lengths are compared first
        if len(sizes) != len(shape) or any(want not in (None, size) for size, want in pairs):
            wanted = ", ".join("any" if want is None else str(want) for want in shape)
            raise _broken(path, f"an array of shape {sizes}", f"shape ({wanted})")
    n = math.prod(sizes)  # bytes, and values
    # A size of zero must not hide the others, since NumPy cannot make (0, 2**32 - 1, 2**32 - 1) either.
    if n > room or math.prod(filter(None, sizes)) > sys.maxsize:
        promise = f"the header promises {n} values of shape {sizes}, which cannot be in it"
        raise _broken(path, f"{promise}: too many, or cut off", f"at most {room} bytes")
    values = np.empty(n + 1, np.uint8)
    found = stream.readinto(values.data)  # at the end of a gzip file this also checks its sum
    if found < n:
        raise _broken(path, f"cut off after {found} values", f"{n} for the header's shape {sizes}")
    if found > n:
        raise _broken(path, f"more bytes after the last of {n} values", "the file to end there")
    return values[:n].reshape(sizes)


def write_idx(path: FilePath, array: np.ndarray) -> None:
    """Write a uint8 array as an IDX file, gzipped if the name ends in `.gz`. Equal arrays give equal bytes.

    Raises TypeError for another dtype, ValueError for 0 dimensions.
    """
    import gzip

    if array.dtype != np.uint8:
        raise TypeError(f"write_idx got {array.dtype} values; expected uint8: convert with .astype(np.uint8)")
    if array.ndim == 0:
        raise ValueError("write_idx got a 0-dimensional array; expected 1 dimension or more: use .reshape(1)")
    content = _HEADER + struct.pack(f">B{array.ndim}I", array.ndim, *array.shape) + array.tobytes()
    write_whole(path, gzip.compress(content, mtime=0) if str(path).endswith(".gz") else content)
