"""Your own data: folders of images, and arrays in .npy and .npz files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scratchae.checks import check_count, shown
from scratchae.data import tables
from scratchae.data.idx import DataError
from scratchae.files.storage import FilePath

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


def image_folder(path: FilePath, size: int | tuple[int, int], channels: int = 1) -> np.ndarray:
    """All images in a folder and below, in the order of their names: float32 (n, channels, height, width) in [0, 1].

    Args:
        path: the folder.
        size: side of the square, or (height, width), that each image is cut to around its centre and scaled to.
        channels: 1 for grey, 3 for colour.

    Transparent pixels are put on white, so half transparent black becomes grey. Colours of palettes, CMYK, YCbCr and
    LAB become RGB. Grey images of 16 bits keep their precision, and 65535 becomes 1. Of colours with 16 bits, Pillow
    reads 8 bits. An image is rotated by the camera's EXIF tag. Of several frames or pages, the first is read.
    Signed pixels, integers of 32 bits and floating point numbers are refused, since no rule says which number is white.

    Raises DataError (a ValueError) for a folder without images. A DataError also names a file that is no image. Raises
    ValueError for another size or number of channels, OSError for a file that cannot be opened, and
    ModuleNotFoundError without Pillow.
    """
    sides = _sides(size, channels)
    return read_images(image_files(path), sides, channels)


def image_files(path: FilePath) -> list[Path]:
    """The files that `image_folder` reads, in order. Raises DataError for a folder without images."""
    if not Path(path).is_dir():
        raise DataError(f"{path} is no folder; expected one with images ({', '.join(sorted(SUFFIXES))})")
    files = sorted(f for f in Path(path).rglob("[!.]*") if f.suffix.lower() in SUFFIXES and f.is_file())
    if not files:
        raise DataError(f"no images in {path}; looked for {', '.join(sorted(SUFFIXES))}, below it too")
    return files


def read_images(files: Sequence[Path], size: int | tuple[int, int], channels: int = 1) -> np.ndarray:
    """Image files as one array, see `image_folder`."""
    height, width = _sides(size, channels)
    images = np.empty((len(files), channels, height, width), np.float32)
    for file, place in zip(files, images, strict=True):
        place[...] = _read_image(file, height, width, channels)
    return images


def _sides(size: int | tuple[int, int], channels: int) -> tuple[int, int]:
    """Height and width; ValueError for another size or number of channels."""
    if check_count("channels", channels) not in (1, 3):
        raise ValueError(f"channels={channels!r}; expected 1 (grey) or 3 (colour)")
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2:
        raise ValueError(f"size={shown(size)}; expected a side, or (height, width)")
    height, width = (check_count("size", side) for side in sides)
    return height, width


def _read_image(file: Path, height: int, width: int, channels: int) -> np.ndarray:
    """(channels or 1, height, width) in [0, 1]."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        message = "image files are read by Pillow; install it with:  pip install 'scratchae[images]'"
        raise ModuleNotFoundError(message) from None
    with open(file, "rb"):  # raises OSError for a file without permission to read
        pass
    try:
        with Image.open(file) as opened:
            image: Any = ImageOps.exif_transpose(opened)
            largest = _largest(opened)
            if largest > 255:
                image = Image.fromarray(_deep(image, opened, largest))
            else:
                image = _opaque(image).convert("L" if channels == 1 else "RGB")
            pixels = np.asarray(ImageOps.fit(image, (width, height)), np.float32)
    except _UnknownRange as error:
        advice = "scale them to [0, 1] and save them with np.save, for load_array"
        raise DataError(f"{file} has {error}; {advice}") from None
    except Exception as error:  # Pillow's decoders raise nearly everything
        raise DataError(f"{file} cannot be read as an image ({type(error).__name__}: {error}); remove it") from error
    if largest > 255:
        return pixels.clip(0, 1)[None]  # the scaling of an image overshoots at edges
    return pixels.reshape(height, width, channels).transpose(2, 0, 1) / 255


class _UnknownRange(Exception):
    pass


def _largest(opened: Any) -> int:
    """The largest value that a pixel of this file can have, which is white."""
    tags = getattr(opened, "tag_v2", {})  # of a TIFF file
    signed = 2 in np.ravel(tags.get(_SAMPLE_FORMAT, 1))
    if opened.mode.startswith("I;16"):
        return 2 ** int(np.max(tags.get(_BITS_PER_SAMPLE, 16))) - 1  # some have 12
    if opened.mode == "I" and opened.format == "PNG":  # Pillow 10 opens 16 bits in mode "I"
        return 65535
    if opened.mode in ("I", "F") or signed:
        kind = "floating point" if opened.mode == "F" else "signed or 32-bit"
        raise _UnknownRange(f"{kind} pixels, whose range is not known")
    return 255


_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF's numbers for these tags


def _deep(image: Any, opened: Any, largest: int) -> np.ndarray:
    """A grey image of more than 8 bits as float32 in [0, 1]."""
    values = np.asarray(image)
    grey = (values / largest).astype(np.float32)
    if getattr(opened, "tag_v2", {}).get(_PHOTOMETRIC) == 0:  # here 0 is white, and Pillow inverts 8 bits only
        grey = 1 - grey
    transparent = image.info.get("transparency")
    return grey if transparent is None else np.where(values == transparent, np.float32(1), grey)


def _opaque(image: Any) -> Any:
    """An image of 8 bits as RGB. Transparent pixels are put on white."""
    from PIL import Image

    if image.mode == "La":  # the only conversion of "La" in Pillow
        image = image.convert("LA")
    palette = getattr(image.palette, "mode", "")  # image.palette may be None
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or palette.endswith("A") or "transparency" in image.info:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
    return image.convert("RGB")


def load_array(path: FilePath, name: str | None = None) -> np.ndarray:
    """The array in a .npy file, or the array `name` in a .npz file.

    The array of a .npy file is a read-only memory map, and may be larger than the memory. Pickled objects are refused.
    Raises DataError (a ValueError) for a file that is damaged, holds values other than numbers, or has no such array.
    Raises OSError for a missing file.
    """
    with open(path, "rb") as file:  # raises OSError for a missing file
        begins = file.read(6)
    if not begins.startswith((b"\x93NUMPY", b"PK")):
        raise DataError(f"{path} is no .npy or .npz file: {_kind_of(path, begins)}")
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                names = loaded.files
                if name is None and len(names) != 1 or name is not None and name not in names:
                    raise DataError(f"{path} holds {', '.join(names) or 'nothing'}; pass one of these as name")
                loaded = loaded[names[0] if name is None else name]
        elif name is not None:
            raise DataError(f"{path} is one array without a name; leave out name={name!r}")
    except DataError:
        raise
    except Exception as error:  # zip, zlib and header parsing each have exceptions of their own
        raise DataError(f"{path} is no .npy or .npz file of plain numbers, or damaged: {error}") from error
    if loaded.dtype.kind not in "fiub":
        raise DataError(f"{path} holds {loaded.dtype}; expected numbers")
    return loaded


def _kind_of(path: FilePath, begins: bytes) -> str:
    """The kind of a file that holds no array, and the function that reads this kind."""
    suffix = Path(path).suffix.lower()
    if suffix in tables.SUFFIXES:
        return "by its name it is a table; read it with data.load_table"
    if suffix in SUFFIXES:
        return "by its name it is a picture; put it in a folder, and read the folder with data.image_folder"
    return f"it begins with {begins!r}; expected an array that np.save or np.savez has written"
