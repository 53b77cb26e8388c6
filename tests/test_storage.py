"""Array files: what goes in comes out bit by bit, what is damaged is refused, what fails leaves the old file."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from platforms import WINDOWS, needs_file_limit

import scratchae as sa
from scratchae import nn, optim
from scratchae.files import storage
from scratchae.files.storage import FileError, check_place, read_arrays, write_arrays, write_whole

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda a: a,
    "transposed": lambda a: a.T,
    "strided": lambda a: a[::2, :, 1::2],
    "reversed": lambda a: a[::-1, :, ::-1],
    "Fortran": np.asfortranarray,
    "broadcast": lambda a: np.broadcast_to(a[:, :1], a.shape),
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "big-endian and transposed": lambda a: a.astype(a.dtype.newbyteorder(">")).T,
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype),
    "0-d": lambda a: a[1, 1, 1],
    "0-d array": lambda a: np.asarray(a[1, 1, 1]),
    "empty": lambda a: a[:, :0],
    "all empty": lambda a: a[:0, :0, :0],
}


def header_file(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file with this header, whether it makes sense or not."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def small_checkpoint(path: Path) -> bytes:
    model = nn.Linear(2, 1)
    sa.save_checkpoint(path, model, optim.SGD(model.parameters(), momentum=0.9), epoch=3)
    return path.read_bytes()


# --- round trips ----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_layout_comes_back(tmp_path: Path, rng: np.random.Generator, dtype: str, layout: str) -> None:
    array = LAYOUTS[layout](np.frombuffer(rng.bytes(8 * 60), dtype)[:60].reshape(3, 4, 5) if dtype != "?"
                            else rng.random((3, 4, 5)) < 0.5)  # fmt: skip
    before = array.copy()
    write_arrays(tmp_path / "a", {"x": np.asarray(array), "y": np.arange(3)})
    found, strings = read_arrays(tmp_path / "a")
    assert strings == {} and set(found) == {"x", "y"}
    back = found["x"]
    assert back.dtype == np.dtype(dtype) and back.dtype.isnative and back.shape == array.shape
    assert back.tobytes() == array.astype(dtype).tobytes() and array.tobytes() == before.tobytes()
    with safetensors.safe_open(tmp_path / "a", framework="np") as file:  # somebody else's reader
        assert file.get_tensor("x").tobytes() == back.tobytes() and file.get_tensor("x").shape == back.shape


def test_names_and_strings_of_every_kind_come_back(tmp_path: Path) -> None:
    names = ["a.b.0", "", " ", "ü 漢 🙂", 'quote" \\ \n', "sha256", f'"sha256":"{"0" * 64}"']
    strings = {name: name * 2 for name in names if name != "sha256"}
    write_arrays(tmp_path / "a", {name: np.full(2, i) for i, name in enumerate(names)}, strings)
    arrays, back = read_arrays(tmp_path / "a", checked=True)
    assert back == strings and {n: a[0] for n, a in arrays.items()} == {n: i for i, n in enumerate(names)}


def test_nothing_at_all_is_a_file_too(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a", {})
    assert read_arrays(tmp_path / "a", checked=True) == ({}, {})


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_arrays(tmp_path / name, {str(i): np.full(i, i, dtype) for i, dtype in enumerate(DTYPES)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_files_of_others_are_read_without_a_checksum_unless_one_is_asked_for(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"x": np.arange(3)}, tmp_path / "a", {"who": "other"})
    arrays, strings = read_arrays(tmp_path / "a")
    assert strings == {"who": "other"} and arrays["x"].tolist() == [0, 1, 2]
    with pytest.raises(FileError, match="no checksum"):
        read_arrays(tmp_path / "a", checked=True)


def test_the_checksum_is_found_whatever_the_white_space_of_the_header(tmp_path: Path) -> None:
    """As a later release of safetensors may write it."""
    write_arrays(tmp_path / "a", {"x": np.arange(3)}, {"who": "we"})
    data = (tmp_path / "a").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"]["sha256"] = "0" * 64
    spaced = bytearray(header_file(header, data[8 + length :]))  # json.dumps puts spaces after colons
    place = spaced.index(b'"sha256": "000') + len('"sha256": "')
    spaced[place : place + 64] = hashlib.sha256(spaced).hexdigest().encode()
    (tmp_path / "a").write_bytes(spaced)
    assert read_arrays(tmp_path / "a", checked=True)[0]["x"].tolist() == [0, 1, 2]
    spaced[-1] ^= 1
    (tmp_path / "a").write_bytes(spaced)
    with pytest.raises(FileError, match="checksum"):
        read_arrays(tmp_path / "a")


def test_saving_works_with_such_a_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = safetensors.numpy.save

    def spaced(arrays: Any, strings: dict[str, str]) -> bytes:
        data = save(arrays, strings)
        length = int.from_bytes(data[:8], "little")
        return header_file(json.loads(data[8 : 8 + length]), data[8 + length :])

    monkeypatch.setattr(safetensors.numpy, "save", spaced)
    write_arrays(tmp_path / "a", {"x": np.arange(3)})
    assert read_arrays(tmp_path / "a", checked=True)[0]["x"].tolist() == [0, 1, 2]


def test_a_type_that_numpy_has_not_is_named(tmp_path: Path) -> None:
    header = {"x": {"dtype": "F8_E5M2", "shape": [4], "data_offsets": [0, 4]}}
    (tmp_path / "a").write_bytes(header_file(header, bytes(4)))
    with pytest.raises(FileError, match="a holds numbers of type 'F8_E5M2', which NumPy has not; convert them first"):
        read_arrays(tmp_path / "a")


def test_a_relative_path_and_a_string_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_arrays("a", {"x": np.arange(3)})
    assert read_arrays("a")[0]["x"].tolist() == [0, 1, 2] and os.listdir(tmp_path) == ["a"]


# --- writing that fails ---------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("where", ["replace", "fsync"])
@pytest.mark.parametrize("old", [b"the old file", None])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException, old: bytes | None
) -> None:
    def fail(*args: Any) -> None:
        raise error

    if old:
        (tmp_path / "a").write_bytes(old)
    monkeypatch.setattr(os, where, fail)
    with pytest.raises(type(error)) as caught:
        write_arrays(tmp_path / "a", {"x": np.arange(3)})
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([old] if old else [])
    if isinstance(error, OSError):
        assert str(tmp_path / "a") in str(caught.value) and caught.value.errno == 28
        assert "No space left" in str(caught.value) and ("is as it was" if old else "nothing was") in str(caught.value)


IMPOSSIBLE = {
    "a folder's own name": ("folder", IsADirectoryError),
    "below a file": ("file/a", NotADirectoryError),
    "a folder below a file": ("file/folder/a", NotADirectoryError),
    "a name too long below new folders": ("x/y/" + "a" * 300, OSError),
    "a name too long": ("a" * 300, OSError),
    # nothing is read-only to root, and no folder is on Windows
    **({"a read-only folder": ("locked/x/a", PermissionError)} if getattr(os, "geteuid", int)() else {}),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, case: str) -> None:
    name, kind = IMPOSSIBLE[case]
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "locked").mkdir(mode=0o555)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(kind) as caught:
        write_arrays(tmp_path / name, {"x": np.arange(3)})
    assert str(tmp_path / name) in str(caught.value) and sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize("case", [case for case in IMPOSSIBLE if "too long" not in case])
def test_a_place_that_cannot_be_written_is_found_out_before_the_work(tmp_path: Path, case: str) -> None:
    name, kind = IMPOSSIBLE[case]
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(kind) as caught:
        check_place(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_header_that_could_not_be_read_back_is_told_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names, metadata, long lists: 100,000,000 bytes in all. Older safetensors write more than they read."""
    write_arrays(tmp_path / "a", {"x": np.arange(3)})
    before = (tmp_path / "a").read_bytes()
    message = "a: names, metadata and all that is no array need more than the .* bytes .* Nothing was written"
    with pytest.raises(ValueError, match=message):
        sa.save_checkpoint(tmp_path / "a", nn.Linear(2, 1), text="x" * 100_000_000)
    monkeypatch.setattr(storage, "_LARGEST_HEADER", 200)
    for name in "ab":
        with pytest.raises(ValueError, match=message.replace("a:", f"{name}:")):
            write_arrays(tmp_path / name, {"x" * 100: np.arange(3)})
    assert (tmp_path / "a").read_bytes() == before and os.listdir(tmp_path) == ["a"]


def test_a_name_that_safetensors_does_not_take_is_refused(tmp_path: Path) -> None:
    for arrays, strings in (({"\udc80": np.arange(3)}, {}), ({}, {"\udc80": ""}), ({}, {"x": "\udc80"})):
        with pytest.raises(ValueError, match="cannot save .*a: .*surrogates not allowed"):
            write_arrays(tmp_path / "a", arrays, strings)
    assert os.listdir(tmp_path) == []


def test_folders_are_made_for_a_file_and_removed_if_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "folder" / "a"
    check_place(path)
    assert os.listdir(tmp_path) == []
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(os, "replace", Mock(side_effect=OSError(28, "No space left on device")))
        write_whole(path, b"1")
    assert os.listdir(tmp_path) == []
    nn.Linear(2, 1).save_weights(path)
    assert os.listdir(path.parent) == ["a"]


@needs_file_limit
def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    script = """if True:
        import resource, sys
        import numpy as np
        from scratchae.files.storage import write_arrays
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        write_arrays(sys.argv[1], {"x": np.arange(10)})
        try:
            write_arrays(sys.argv[1], {"x": np.arange(100_000)})
        except OSError as error:
            print(error)
    """
    run = python("-c", script, str(tmp_path / "a"))
    assert "File too large" in run.stdout and f"is as it was: '{tmp_path / 'a'}'" in run.stdout, run.stderr
    assert read_arrays(tmp_path / "a", checked=True)[0]["x"].tolist() == list(range(10))
    assert os.listdir(tmp_path) == ["a"]


def python(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(Path(sa.__file__).parents[1])}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)


# --- reading what is damaged, or something else ---------------------------------------------------


# The loops change a file in place: ext4 would write one that was emptied and filled anew to the disk each time.


def put(file: Any, position: int, content: bytes) -> None:
    file.seek(position)
    file.write(content)


def test_every_corruption_of_one_byte_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "a"
    good = small_checkpoint(path)
    with open(path, "r+b", buffering=0) as file:
        for position, change in enumerate(rng.integers(1, 256, len(good))):
            put(file, position, bytes([good[position] ^ change]))
            with pytest.raises(FileError, match=re.escape(str(path))):
                read_arrays(path, checked=True)
            put(file, position, good[position : position + 1])
    assert read_arrays(path, checked=True)[1]["metadata"] == '{"epoch": 3}'


def test_every_truncation_and_every_surplus_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "a"
    good = small_checkpoint(path)
    for tail in (b"\0", b" ", b"\n", rng.bytes(100), good):
        path.write_bytes(good + tail)
        with pytest.raises(FileError, match=re.escape(str(path))):
            read_arrays(path, checked=True)
    for length in reversed(range(len(good))):
        os.truncate(path, length)
        with pytest.raises(FileError, match=re.escape(str(path))):
            read_arrays(path, checked=True)


def test_a_corrupted_weights_file_is_refused_or_still_holds_the_same(tmp_path: Path, rng: np.random.Generator) -> None:
    """Without its checksum it looks like somebody else's file; one byte cannot take that away and change an array."""
    path, array = tmp_path / "a", np.arange(5.0)
    write_arrays(path, {"x": array})
    good, refused = path.read_bytes(), 0
    with open(path, "r+b", buffering=0) as file:
        for position, change in enumerate(rng.integers(1, 256, len(good))):
            put(file, position, bytes([good[position] ^ change]))
            try:
                found, _ = read_arrays(path)
            except FileError:
                refused += 1
            else:
                assert list(found) == ["x"] and found["x"].tobytes() == array.tobytes(), position
            put(file, position, good[position : position + 1])
    assert refused >= len(good) - len("sha256")


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


OTHERS: dict[str, Callable[[Path], bytes]] = {
    "a pickle": lambda path: pickle.dumps(Trap(path / "trap")),
    "an old pickle": lambda path: pickle.dumps(Trap(path / "trap"), 0),
    "an npz": lambda path: np.savez(path / "other.npz", x=np.arange(3)) or (path / "other.npz").read_bytes(),
    "an npy": lambda path: np.save(path / "other.npy", np.arange(3)) or (path / "other.npy").read_bytes(),
    "a web page": lambda path: b"<!DOCTYPE html><html><body>404</body></html>",
    "nothing": lambda path: b"",
    "eight zeros": lambda path: bytes(8),
    "a huge header": lambda path: b"\xff" * 8 + b"{}",
    "no JSON": lambda path: struct.pack("<Q", 4) + b"{{{{",
    "deep JSON": lambda path: struct.pack("<Q", 200_000) + b"[" * 200_000,
    "a list for a header": lambda path: header_file([1, 2]),
    "strings that are null": lambda path: header_file({"__metadata__": None}) + b"x",
    "a promise too large": lambda path: header_file({"x": {"dtype": "F8", "shape": [1 << 60], "data_offsets": [0, 8]}}),
    "overlapping arrays": lambda path: header_file(
        {name: {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]} for name in "xy"}, b"ab"
    ),
    "numbers for strings": lambda path: header_file({"__metadata__": {"sha256": 3}}),
    "a checksum of another length": lambda path: header_file({"__metadata__": {"sha256": "é\\"}}),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_files_are_refused_by_name(tmp_path: Path, case: str) -> None:
    path, model = tmp_path / "other", nn.Linear(2, 1)
    path.write_bytes(OTHERS[case](tmp_path))
    before = model.weight.numpy().copy()
    for read in (read_arrays, lambda path: read_arrays(path, checked=True)):
        with pytest.raises(FileError, match=re.escape(str(path))):
            read(path)
    for load in (model.load_weights, lambda path: sa.load_checkpoint(path, model)):
        with pytest.raises(ValueError, match=re.escape(str(path))):
            load(path)
    assert model.weight.numpy().tobytes() == before.tobytes() and not (tmp_path / "trap").exists()


def test_a_file_that_does_not_fit_into_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", Mock(side_effect=MemoryError))
    with pytest.raises(FileError, match="a has more bytes than there is memory for"):
        read_arrays(tmp_path / "a")


def test_null_in_the_place_of_strings_is_refused_or_read_as_none(tmp_path: Path) -> None:
    """A header that safetensors itself accepts."""
    (tmp_path / "a").write_bytes(header_file({"__metadata__": None}))
    assert read_arrays(tmp_path / "a") == ({}, {})
    with pytest.raises(FileError, match="no checksum"):
        read_arrays(tmp_path / "a", checked=True)


def test_a_folder_and_a_missing_file_are_operating_system_errors(tmp_path: Path) -> None:
    of_a_folder = PermissionError if WINDOWS else IsADirectoryError
    for path, kind in ((tmp_path, of_a_folder), (tmp_path / "none", FileNotFoundError)):
        for load in (read_arrays, nn.Linear(2, 1).load_weights, lambda path: sa.load_checkpoint(path, nn.Linear(2, 1))):
            with pytest.raises(kind, match=re.escape(str(path))):
                load(path)
