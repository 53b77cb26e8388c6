"""Folders of images, .npy and .npz files, and training sets that stay on disk."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scratchae import data
from scratchae.data import DataError, DataLoader


def gradient(height: int, width: int) -> np.ndarray:
    return np.linspace(0, 255, height * width).reshape(height, width).astype(np.uint8)


def test_images_are_read_in_the_order_of_their_names_below_the_folder_too(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    Image.fromarray(np.full((6, 6), 255, np.uint8)).save(tmp_path / "b" / "white.png")
    Image.fromarray(gradient(6, 6)).save(tmp_path / "a.PNG")
    (tmp_path / "notes.txt").write_text("not an image")
    images = data.image_folder(tmp_path, 6)
    assert images.shape == (2, 1, 6, 6) and images.dtype == np.float32
    np.testing.assert_array_equal(images[0, 0], gradient(6, 6).astype(np.float32) / 255)
    assert (images[1] == 1).all()


def test_images_are_cut_around_the_centre_scaled_and_given_channels(tmp_path: Path) -> None:
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = (255, 0, 51)  # the square in the middle
    Image.fromarray(wide).save(tmp_path / "wide.png")
    images = data.image_folder(tmp_path, 4, channels=3)
    assert images.shape == (1, 3, 4, 4)
    np.testing.assert_allclose(images, np.broadcast_to(np.array([1, 0, 0.2])[:, None, None], (1, 3, 4, 4)), atol=1e-6)
    np.testing.assert_allclose(data.image_folder(tmp_path, 2, channels=3)[0, 1], 0, atol=1e-6)
    assert data.image_folder(tmp_path, (4, 12)).shape == (1, 1, 4, 12)


def test_sixteen_bits_keep_their_scale(tmp_path: Path) -> None:
    Image.fromarray(np.full((3, 3), 32896, np.uint16)).save(tmp_path / "deep.png")  # 128 * 257
    np.testing.assert_allclose(data.image_folder(tmp_path, 3), 128 / 255, atol=1e-6)


def test_folders_without_images_and_broken_ones_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no images in .*looked for \.bmp"):
        data.image_folder(tmp_path, 8)
    with pytest.raises(DataError, match="nowhere is no folder"):
        data.image_folder(tmp_path / "nowhere", 8)
    (tmp_path / "broken.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"broken\.png cannot be read as an image"):
        data.image_folder(tmp_path, 8)
    with pytest.raises(ValueError, match="channels=2"):
        data.image_folder(tmp_path, 8, channels=2)
    with pytest.raises(ValueError, match="size=0"):
        data.image_folder(tmp_path, 0)


def test_npy_is_mapped_and_npz_is_read_by_name(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.save(tmp_path / "x.npy", x)
    mapped = data.load_array(tmp_path / "x.npy")
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, x)
    np.savez(tmp_path / "one.npz", x=x)
    np.testing.assert_array_equal(data.load_array(tmp_path / "one.npz"), x)
    np.savez(tmp_path / "two.npz", x=x, y=x + 1)
    np.testing.assert_array_equal(data.load_array(tmp_path / "two.npz", "y"), x + 1)
    with pytest.raises(DataError, match="holds x, y; pass one of these as name"):
        data.load_array(tmp_path / "two.npz")
    with pytest.raises(DataError, match="leave out name='x'"):
        data.load_array(tmp_path / "x.npy", "x")


class Boom:
    def __reduce__(self) -> tuple:
        return exec, ("raise SystemExit('a pickle was run')",)


def test_pickles_text_and_damage_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(pickle.dumps(Boom()))
    np.save(tmp_path / "b.npy", np.array([Boom()], object), allow_pickle=True)
    np.save(tmp_path / "c.npy", np.array(["text"]))
    np.savez(tmp_path / "d.npz", x=np.arange(1000.0))
    content = bytearray((tmp_path / "d.npz").read_bytes())
    content[300] ^= 255
    (tmp_path / "d.npz").write_bytes(content)
    np.save(tmp_path / "e.npy", np.arange(1000.0))
    (tmp_path / "e.npy").write_bytes((tmp_path / "e.npy").read_bytes()[:-1])
    for file in sorted(tmp_path.iterdir()):
        with pytest.raises(DataError, match=file.name):
            data.load_array(file)
    with pytest.raises(FileNotFoundError):
        data.load_array(tmp_path / "nothing.npy")


def test_a_loader_reads_a_map_without_keeping_it_in_memory(tmp_path: Path) -> None:
    """In a process of its own: 400 MB on disk, of which a small part may ever be resident."""
    script = """
import resource, sys, numpy as np
from scratchae.data import DataLoader, load_array
x = load_array(sys.argv[1])
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
total = sum(float(batch.sum()) for batch in DataLoader(x, 100, shuffle=True, seed=0))
assert total == 100_000, total
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) / 1024)
"""
    path = tmp_path / "big.npy"
    big = np.lib.format.open_memmap(path, "w+", np.float32, (100_000, 1024))
    big[:, 0] = 1
    big.flush()
    del big
    run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 150, f"{run.stdout} MiB of 390"


def test_pages_of_a_private_map_are_kept(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((500, 1), np.float32))
    private = np.load(tmp_path / "x.npy", mmap_mode="c")
    private[:] = 1
    assert sum(float(batch.sum()) for batch in DataLoader(private, 1)) == 500
    assert (private == 1).all()
