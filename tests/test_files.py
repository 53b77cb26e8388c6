"""Folders of images, .npy and .npz files, and training sets that stay on disk."""

from __future__ import annotations

import itertools
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from platforms import needs_resident_size

from scratchae import data
from scratchae.data import DataError, DataLoader, files


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


EIGHT_BITS = {  # mode: a pixel, and its RGB with Pillow's rounding
    "1": (1, (255, 255, 255)),
    "L": (51, (51, 51, 51)),
    "LA": ((51, 255), (51, 51, 51)),
    "La": ((51, 255), (51, 51, 51)),
    "RGB": ((10, 20, 30), (10, 20, 30)),
    "RGBX": ((10, 20, 30, 0), (10, 20, 30)),
    "RGBA": ((10, 20, 30, 255), (10, 20, 30)),
    "RGBa": ((10, 20, 30, 255), (10, 20, 30)),
    "CMYK": ((255, 0, 0, 0), (0, 255, 255)),
    "YCbCr": ((76, 85, 255), (254, 0, 0)),
    "HSV": ((85, 255, 255), (0, 255, 0)),
    "LAB": ((255, 128, 128), (255, 255, 255)),
}


def read(folder: Path, image: Image.Image, channels: int = 3, name: str = "a.png", **options: Any) -> np.ndarray:
    """What `image_folder` makes of an image, as (height, width, channels) of bytes' size."""
    image.save(folder / name, **options)
    found = data.image_folder(folder, (image.height, image.width), channels)
    (folder / name).unlink()
    return found[0].transpose(1, 2, 0) * 255


@pytest.mark.parametrize("mode", EIGHT_BITS)
def test_every_mode_of_eight_bits_becomes_colours_or_grey(tmp_path: Path, mode: str) -> None:
    pixel, wanted = EIGHT_BITS[mode]
    image = Image.new(mode, (3, 2), pixel)
    assert np.abs(np.asarray(files._opaque(image), float) - wanted).max() <= 1
    grey = np.dot(wanted, (0.299, 0.587, 0.114))
    for suffix in ("png", "tif", "bmp"):
        try:
            image.save(tmp_path / f"probe.{suffix}")
            with Image.open(tmp_path / f"probe.{suffix}") as probe:
                probe.load()
        except OSError:  # a format that has no such mode, or that older Pillow writes and cannot read
            continue
        finally:
            (tmp_path / f"probe.{suffix}").unlink(missing_ok=True)
        assert np.abs(read(tmp_path, image, 3, f"a.{suffix}") - wanted).max() <= 1
        assert np.abs(read(tmp_path, image, 1, f"a.{suffix}") - grey).max() <= 1


def test_palettes_are_looked_up_for_grey_too(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    for mode, suffix in (("P", "png"), ("P", "gif"), ("PA", "tif")):
        np.testing.assert_array_equal(read(tmp_path, image.convert(mode), 3, f"a.{suffix}")[0],
            [(255, 0, 0), (0, 0, 255)])  # fmt: skip
        np.testing.assert_allclose(read(tmp_path, image.convert(mode), 1, f"a.{suffix}")[0], [[76], [29]], atol=0.01)


def test_transparent_pixels_are_put_on_white(tmp_path: Path) -> None:
    def row(mode: str, *pixels: Any) -> Image.Image:
        image = Image.new(mode, (len(pixels), 1))
        image.putdata(pixels)
        return image

    colours = row("RGBA", (9, 0, 0, 0), (0, 0, 0, 51), (255, 0, 0, 204), (1, 2, 3, 255))
    wanted = [(255, 255, 255), (204, 204, 204), (255, 51, 51), (1, 2, 3)]
    for name in ("a.png", "a.tif"):
        np.testing.assert_allclose(read(tmp_path, colours, name=name)[0], wanted, atol=1.01)
    greys = row("LA", (0, 0), (0, 51), (100, 255))
    for channels in (1, 3):
        np.testing.assert_allclose(read(tmp_path, greys, channels)[0], np.repeat([[255], [204], [100]], channels, 1),
            atol=1.01)  # fmt: skip
    for alpha in ("La", "RGBa"):  # no format has them
        given = (greys if alpha == "La" else colours).convert(alpha)
        assert files._opaque(given).getpixel((0, 0)) == (255, 255, 255)
        assert np.abs(np.array(files._opaque(given).getpixel((1, 0))) - 204).max() <= 1
    # One colour that is transparent, as PNG and GIF have it.
    assert read(tmp_path, row("L", 0, 7), 1, transparency=7)[0].ravel().tolist() == [0, 255]
    two = read(tmp_path, row("RGB", (1, 2, 3), (4, 5, 6)), transparency=(1, 2, 3))
    assert two[0].tolist() == [[255, 255, 255], [4, 5, 6]]
    palette = row("P", 0, 1, 2)
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 0])
    assert read(tmp_path, palette, transparency=1)[0].tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 0]]
    assert read(tmp_path, palette, name="a.gif", transparency=1)[0].tolist() == [[255, 0, 0], [255] * 3, [0] * 3]
    some = read(tmp_path, palette, transparency=bytes([0, 255, 51]))[0]
    np.testing.assert_allclose(some, [(255, 255, 255), (0, 255, 0), (204, 204, 204)], atol=1.01)
    palette.putpalette([255, 0, 0, 0, 0, 255, 0, 51, 0, 0, 255, 255], "RGBA")
    assert files._opaque(palette).getpixel((0, 0)) == (255, 255, 255)
    deep = Image.fromarray(np.array([[0, 300, 65535]], np.uint16))
    np.testing.assert_allclose(read(tmp_path, deep, 1, transparency=0)[0].ravel(), [255, 300 / 257, 255], rtol=1e-6)


def test_sixteen_bits_keep_their_scale_and_precision(tmp_path: Path) -> None:
    values = np.array([[0, 1, 255, 256], [32896, 40000, 65534, 65535]], np.uint16)
    for dtype, suffix in itertools.product(("<u2", ">u2"), ("png", "tif")):
        for channels in (1, 3):
            found = read(tmp_path, Image.fromarray(values.astype(dtype)), channels, f"a.{suffix}")
            np.testing.assert_allclose(found, np.repeat(values[..., None] / 257, channels, 2), rtol=1e-6)
    steep = np.repeat(np.array([[0, 65535]], np.uint16), 8, 1)  # scaling by cubic curves overshoots
    Image.fromarray(steep.repeat(16, 0)).save(tmp_path / "steep.png")
    found = data.image_folder(tmp_path, 47)
    assert found.min() == 0 and found.max() == 1 and 0.3 < found.mean() < 0.7
    # TIFF says more: white is 0 here.
    found = read(tmp_path, Image.fromarray(values), 1, "a.tif", tiffinfo={262: 0})
    np.testing.assert_allclose(found[..., 0], 255 - values / 257, atol=1e-4)


def tiff(bits: int, sample_format: int, strip: bytes, width: int) -> bytes:
    """A grey TIFF of one row, little-endian."""
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1),
            (279, len(strip)), (339, sample_format)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    strip += bytes(len(strip) % 2)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_twelve_bits_are_scaled_by_what_twelve_bits_hold(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(12, 1, bytes([0xFF, 0xF8, 0x00]), 2))  # 4095, 2048
    np.testing.assert_allclose(data.image_folder(tmp_path, (1, 2))[0, 0, 0], [1, 2048 / 4095], rtol=1e-6)


UNKNOWN = {
    "floating point": Image.new("F", (2, 2), 0.5),
    "32 bits": Image.new("I", (2, 2), 70000),
    "signed 8 bits": tiff(8, 2, b"\xff\x01", 2),
    "signed 16 bits": tiff(16, 2, b"\xff\xff\x01\x00", 2),
    "unsigned 32 bits": tiff(32, 1, bytes(8), 2),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_pixels_of_unknown_range_are_refused_with_advice(tmp_path: Path, kind: str) -> None:
    given = UNKNOWN[kind]
    if isinstance(given, bytes):
        (tmp_path / "map.tif").write_bytes(given)
    else:
        given.save(tmp_path / "map.tif")
    with pytest.raises(DataError, match=r"map\.tif has .*pixels, whose range is not known; scale them to \[0, 1\]"):
        data.image_folder(tmp_path, 2)


def test_the_first_frame_or_page_is_read_and_rotations_are_done(tmp_path: Path) -> None:
    first, second = Image.new("L", (2, 2), 20), Image.new("L", (2, 2), 200)
    for name in ("a.gif", "a.tif", "a.webp"):
        options = {"lossless": True} if name == "a.webp" else {}
        assert (read(tmp_path, first, 1, name, save_all=True, append_images=[second], **options) == 20).all()
    side = Image.fromarray(np.array([[0, 50], [100, 200]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: a quarter clockwise puts it right
    deep = Image.fromarray(np.asarray(side, np.uint16) * 257)
    for name, image in (("a.png", side), ("a.tif", side), ("b.png", deep)):
        np.testing.assert_array_equal(read(tmp_path, image, 1, name, exif=exif)[..., 0], [[100, 0], [200, 50]])


def test_one_pixel_fills_the_image(tmp_path: Path) -> None:
    Image.new("L", (1, 1), 51).save(tmp_path / "a.png")
    np.testing.assert_allclose(data.image_folder(tmp_path, (3, 5)), np.full((1, 1, 3, 5), 0.2), rtol=1e-6)


def test_folders_without_images_and_broken_ones_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"no images in .*looked for \.bmp"):
        data.image_folder(tmp_path, 8)
    with pytest.raises(DataError, match="nowhere is no folder"):
        data.image_folder(tmp_path / "nowhere", 8)
    (tmp_path / "broken.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"broken\.png cannot be read as an image"):
        data.image_folder(tmp_path, 8)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(tmp_path / "broken.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "broken.png").read_bytes()[:1000])
    with pytest.raises(DataError, match=r"broken\.png cannot be read as an image .*truncated"):
        data.image_folder(tmp_path, 8)
    Image.new("L", (9, 9)).save(tmp_path / "broken.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(DataError, match=r"broken\.png cannot be read as an image .*exceeds limit"):
        data.image_folder(tmp_path, 8)


NO_COUNTS = [0, -1, True, np.nan, np.inf, 2.5, "8", None, np.array([8, 8]), 10**400]


@pytest.mark.parametrize("size", [*NO_COUNTS, (), (8,), (8, 8, 3), (8, 0), (True, 8), [8, np.nan]], ids=repr)
def test_what_is_no_size_is_refused(tmp_path: Path, size: Any) -> None:
    with pytest.raises(ValueError, match="size="):
        data.image_folder(tmp_path, size)


@pytest.mark.parametrize("channels", [*NO_COUNTS, 2, 4, 1.0, (1, 3)], ids=repr)
def test_other_numbers_of_channels_are_refused(tmp_path: Path, channels: Any) -> None:
    with pytest.raises(ValueError, match="channels="):
        data.image_folder(tmp_path, 8, channels)


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


@needs_resident_size
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


@pytest.mark.parametrize(("name", "content", "message"), [
    ("t.csv", b"a,b\n1,2\n", "t.csv is no .npy or .npz file: by its name it is a table; read it with data.load_table"),
    ("x.PNG", b"\x89PNG\r\n\x1a\n", "by its name it is a picture; put it in a folder, and read the folder"),
    ("a.npy", b"1 2 3\n4", "it begins with b'1 2 3.n'; expected an array that np.save or np.savez has written"),
    ("a.npy", b"", "it begins with b''; expected an array"),
])  # fmt: skip
def test_a_file_of_another_kind_is_told(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        data.load_array(tmp_path / name)
    assert "pickle" not in str(caught.value)
