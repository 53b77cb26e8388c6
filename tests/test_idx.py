"""IDX files, good and bad: a broken one is told, never believed."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchae.data import DataError, read_idx, write_idx

VALID = struct.pack(">HBB2I", 0, 8, 2, 3, 4) + bytes(range(12))
ZIPPED = gzip.compress(VALID, mtime=0)


def files_below(folder):
    return sorted(path.name for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["a.gz", "a"])
@pytest.mark.parametrize("shape", [(5,), (2, 3), (3, 28, 28), (0,), (2, 0, 3), (1,) * 64])
def test_idx_round_trip(tmp_path, name, shape):
    array = np.arange(np.prod(shape), dtype=np.int64).astype(np.uint8).reshape(shape)
    write_idx(tmp_path / name, array)
    back = read_idx(str(tmp_path / name), shape=(None, *shape[1:]))
    assert back.dtype == np.uint8 and back.shape == shape and np.array_equal(back, array)
    assert back.flags.writeable


def test_idx_bytes_follow_the_format_and_repeat(tmp_path):
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    write_idx(tmp_path / "plain", array)
    assert (tmp_path / "plain").read_bytes() == VALID
    write_idx(tmp_path / "a.gz", array)
    write_idx(tmp_path / "b.gz", np.asfortranarray(array))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert (tmp_path / "a.gz").read_bytes()[4:8] == bytes(4), "gzip time stamp"


def test_write_idx_refuses_what_it_cannot_store(tmp_path):
    with pytest.raises(TypeError, match=r"float64 values; expected uint8.*astype"):
        write_idx(tmp_path / "a", np.zeros(3))
    with pytest.raises(ValueError, match="0-dimensional"):
        write_idx(tmp_path / "a", np.uint8(3) * np.ones((), np.uint8))
    assert files_below(tmp_path) == []


def flipped(content, position):
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


BROKEN = {
    "empty": (b"", "it begins with b'', cut off there; expected an IDX file of unsigned bytes"),
    "half a magic": (VALID[:3], r"it begins with b'\\x00\\x00\\x08', cut off there; expected an IDX file"),
    "half a header": (VALID[:9], "inside the header, after 9 bytes; expected a header of 12"),
    "truncated": (VALID[:-1], r"cut off after 11 values; expected 12 for the header's shape \(3, 4\)"),
    "truncated, zipped": (gzip.compress(VALID[:-1]), "cut off after 11 values; expected 12"),
    "trailing": (VALID + b"x" * 20, "more bytes after the last of 12 values"),
    "trailing, zipped": (gzip.compress(VALID + b"x"), "more bytes after the last of 12 values"),
    "garbage after gzip": (ZIPPED + b"garbage", "damaged or cut off gzip data"),
    "half a gzip": (ZIPPED[:-12], "damaged or cut off gzip data"),
    "garbled gzip": (flipped(ZIPPED, 10), "damaged or cut off gzip data.*expected a whole gzip file"),
    "wrong gzip sum": (flipped(ZIPPED, len(ZIPPED) - 6), "CRC check failed"),
    "html": (b"<!DOCTYPE html><p>404</p>", r"begins with b'<!DO' \(a web page\?\)"),
    "floats": (b"\0\0\x0d\2" + VALID[4:], r"begins with b'\\x00\\x00\\r\\x02'; .* unsigned bytes: b'\\x00\\x00\\x08'"),
    "no dimensions": (b"\0\0\x08\0", r"begins with b'\\x00\\x00\\x08\\x00'; expected .* number of dimensions, 1 to 64"),
    "65 dimensions": (b"\0\0\x08\x41" + struct.pack(">65I", *[1] * 65) + b"x", "x08A'; expected .*, 1 to 64"),
    "a huge promise": (b"\0\0\x08\x03" + b"\xff" * 12, "in it: too many, or cut off; expected at most 16 bytes"),
    "a huge empty promise": (b"\0\0\x08\x03" + bytes(4) + b"\xff" * 8, "cannot be in it"),
    "a promise beyond the file": (struct.pack(">HBBI", 0, 8, 1, 1 << 29) + bytes(9), "536870912 values"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_idx_file(tmp_path, case):
    content, message = BROKEN[case]
    (tmp_path / "some.gz").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(tmp_path / "some.gz")
    for part in (str(tmp_path / "some.gz"), "expected", "get a fresh copy"):
        assert part in str(caught.value)


def test_a_promise_the_file_cannot_hold_takes_no_memory(tmp_path, monkeypatch):
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(struct.pack(">HBBI", 0, 8, 1, 1 << 30)))
    monkeypatch.setattr(np, "empty", lambda *_: pytest.fail("allocated before the check"))
    with pytest.raises(DataError, match="which cannot be in it"):
        read_idx(tmp_path / "bomb.gz")


def test_read_idx_checks_the_expected_shape_and_a_limit_for_what_unpacks_to_more(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(VALID)
    with pytest.raises(DataError, match=r"shape \(3, 4\); expected shape \(any, 28, 28\)"):
        read_idx(tmp_path / "a", shape=(None, 28, 28))
    (tmp_path / "a.gz").write_bytes(ZIPPED)
    monkeypatch.setattr("scratchae.data.idx._LARGEST_UNPACKED", 11)
    with pytest.raises(DataError, match="12 values .*at most 11 bytes"):
        read_idx(tmp_path / "a.gz")
    assert read_idx(tmp_path / "a").shape == (3, 4), "what takes its place on the disk may be as large as it is"
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_idx(tmp_path / "nowhere")


@st.composite
def damaged(draw):
    content = bytearray(draw(st.sampled_from([VALID, ZIPPED])))
    for _ in range(draw(st.integers(0, 3))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    content = bytes(content[: draw(st.integers(0, len(content)))]) + draw(st.binary(max_size=4))
    return gzip.compress(content) if draw(st.booleans()) else content


@settings(max_examples=400, deadline=None, database=None)
@given(content=st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(gzip.compress), damaged()))
def test_any_bytes_give_an_array_or_a_data_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(content)
    try:
        array = read_idx(path)
    except (DataError, OSError) as error:
        assert "fuzzed" in str(error)
    else:
        assert array.dtype == np.uint8 and array.nbytes < 2000
