"""Data of one's own: folders of images, and arrays in .npy and .npz files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scratchae.data.idx import DataError
from scratchae.storage import FilePath

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


def image_folder(path: FilePath, size: int | tuple[int, int], channels: int = 1) -> np.ndarray:
    """All images in a folder and below, in the order of their names: float32 (n, channels, height, width) in [0, 1].

    Args:
        path: the folder.
        size: side of the square, or (height, width), that each image is cut to around its centre and scaled to.
        channels: 1 for grey, 3 for colour.

    Raises DataError (a ValueError) for a folder without images and a file that is none, naming it, and
    ModuleNotFoundError without Pillow.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels={channels!r}; expected 1 (grey) or 3 (colour)")
    height, width = size if isinstance(size, tuple) else (size, size)
    if min(height, width) < 1:
        raise ValueError(f"size={size!r}; expected a side, or (height, width), of at least 1")
    if not Path(path).is_dir():
        raise DataError(f"{path} is no folder; expected one with images ({', '.join(sorted(SUFFIXES))})")
    files = sorted(f for f in Path(path).rglob("[!.]*") if f.suffix.lower() in SUFFIXES and f.is_file())
    if not files:
        raise DataError(f"no images in {path}; looked for {', '.join(sorted(SUFFIXES))}, below it too")
    images = np.empty((len(files), channels, height, width), np.float32)
    for file, place in zip(files, images, strict=True):
        place[...] = _read_image(file, height, width, channels)
    return images


def _read_image(file: Path, height: int, width: int, channels: int) -> np.ndarray:
    try:
        from PIL import Image, ImageOps
    except ImportError:
        message = "image files are read by Pillow; install it with:  pip install 'scratchae[images]'"
        raise ModuleNotFoundError(message) from None
    try:
        with Image.open(file) as opened:
            image: Any = ImageOps.exif_transpose(opened)
            if image.mode == "F":
                raise ValueError("floating point pixels have no fixed range: save them as .npy")
            if image.mode.startswith("I"):  # 16 bits, which convert() would cut off at 255
                image = Image.fromarray((np.asarray(image, np.float64) / 257).clip(0, 255).astype(np.uint8))
            image = ImageOps.fit(image.convert("L" if channels == 1 else "RGB"), (width, height))
    except Exception as error:  # Pillow's decoders raise nearly everything
        raise DataError(f"{file} cannot be read as an image ({type(error).__name__}: {error}); remove it") from error
    return np.asarray(image, np.float32).reshape(height, width, channels).transpose(2, 0, 1) / 255


def load_array(path: FilePath, name: str | None = None) -> np.ndarray:
    """The array in a .npy file, as a read-only memory map, which need not fit into memory; or that called `name` in
    a .npz file.

    Pickled objects are refused. Raises DataError (a ValueError) for a file that is damaged, holds anything but
    numbers, or has no such array; OSError where there is none.
    """
    with open(path, "rb"):  # so that a missing file is an OSError of its own
        pass
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
