"""The data of a page: which items are shown, their small pictures, their labels, and what their codes look like."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from scratchae import functional as F
from scratchae.autoencoders import Autoencoder, VariationalAutoencoder
from scratchae.autoencoders.base import check_samples
from scratchae.backend import device_of, to_device
from scratchae.checks import shown
from scratchae.plotting.style import as_array

MOST_ITEMS = 2000
MOST_CLASSES = 40  # ten colours in four shapes
MOST_AXES = 8
PAGE_BYTES = 1_500_000  # of all codes as float16, and of all items that are no pictures
MEMORY = 1 << 28  # bytes of all items, while the page is written
THUMBNAIL = 32  # pixels of the longer side


class Given(NamedTuple):
    """The items of a page."""

    items: np.ndarray  # (n, ...)
    numbers: np.ndarray  # (n,), their places among all items that were given
    of: int  # how many were given
    labels: np.ndarray | None  # (n,)


def chosen(model: Autoencoder, images: Any, labels: Any, told: bool = False) -> Given:
    """All of `images` with their labels, or a random sample of fixed seed.

    Raises ValueError for items that are not finite, and for labels of another number.
    """
    images = check_samples(model, images)
    if labels is not None and (labels := as_array(labels)).shape != (len(images),):
        raise ValueError(f"explore: labels have shape {labels.shape}; expected ({len(images)},), one for each image")
    size, code_size = images[:1].size, model.transform(images[:1]).size
    is_picture = picture_shape(images.shape[1:] if told else as_picture(images.shape[1:]))
    page_numbers = code_size if is_picture else max(code_size, size)
    n = min(len(images), MOST_ITEMS, PAGE_BYTES // (2 * page_numbers), MEMORY // (images.dtype.itemsize * size))
    where = np.sort(np.random.default_rng(0).choice(len(images), max(1, n), replace=False))
    items = to_device(images[to_device(where, device_of(images))], "cpu")
    finite = np.isfinite(items.reshape(len(items), -1)).all(axis=1)
    if not finite.all():
        first, odd = where[finite.argmin()], np.count_nonzero(~finite)
        raise ValueError(f"explore: image number {first} is not finite, one of {odd} among {len(items)}; remove these")
    return Given(items, where, len(images), None if labels is None else labels[where])


def described_labels(labels: np.ndarray) -> dict[str, Any]:
    """Floating point labels are a scale, and all others are classes."""
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise ValueError("explore: labels hold NaN or infinity; leave out these images, or pass classes")
        return {"values": labels.astype(np.float32)}
    classes, index = np.unique(labels.astype(str) if labels.dtype == object else labels, return_inverse=True)
    if len(classes) > MOST_CLASSES:
        advice = "pass fewer classes, or floats for a scale"
        raise ValueError(f"explore: {len(classes)} classes of labels; the page tells {MOST_CLASSES} apart; {advice}")
    return {"classes": [str(c) for c in classes.tolist()], "index": index.astype(np.uint8)}


def ranges(codes: np.ndarray) -> dict[str, np.ndarray]:
    """For each column of `codes` (n, units): the range of a slider, the range of nine items in ten, and the mean."""
    low, first, last, high = np.quantile(codes, [0, 0.05, 0.95, 1], axis=0)
    margin = np.where(high > low, 0.1 * (high - low), 1)
    return {"low": low - margin, "high": high + margin, "from": first, "to": last, "centre": codes.mean(axis=0)}


def unit_scores(model: Autoencoder, items: np.ndarray, codes: np.ndarray) -> dict[str, Any]:
    """How much each code unit tells: the mean KL in nats of a variational autoencoder, the variance of the others."""
    if isinstance(model, VariationalAutoencoder):
        kl = model.in_batches(lambda x: F.gaussian_kl(*model.posterior(x), reduction="none"), items)
        return {"scores": kl.mean(axis=0), "measure": "nats"}
    return {"scores": codes.var(axis=0), "measure": "variance"}


def principal_axes(codes: np.ndarray) -> dict[str, Any] | None:
    """The directions of largest variance of `codes` (n, units), as unit vectors (axes, units).

    None for codes of two units, which are a plane, and for codes on a line.
    """
    centre = codes.mean(axis=0)
    _, lengths, directions = np.linalg.svd(codes - centre, full_matrices=False)
    n = min(MOST_AXES, int(np.count_nonzero(lengths > 1e-6 * lengths[0])))
    if codes.shape[1] < 3 or n < 2:
        return None
    directions = directions[:n]
    largest = np.take_along_axis(directions, abs(directions).argmax(axis=1)[:, None], axis=1)
    directions = directions * np.sign(largest)  # the sign of a direction is free
    share = lengths[:n] ** 2 / (lengths**2).sum()
    return {"vectors": directions, "share": share, **ranges((codes - centre) @ directions.T)}


def check_features(features: Any, shape: Sequence[int]) -> list[str]:
    """The names of an item's numbers as strings. Raises ValueError for pictures, and for another number of names."""
    names = [str(name) for name in features]
    if len(shape) > 1:
        raise ValueError(f"explore: features beside items of shape {tuple(shape)}; expected items of one dimension")
    if len(names) != shape[0]:
        raise ValueError(f"explore: features={shown(names)}; expected {shape[0]} names, one for each number of an item")
    return names


# --- pictures -------------------------------------------------------------------------------------


def picture_shape(shape: Sequence[int]) -> tuple[int, int, int] | None:
    """(channels, height, width) for the shape of one grey or RGB picture. None for other data."""
    full = (1, *shape) if len(shape) == 2 else tuple(shape)
    return full if len(full) == 3 and full[0] in (1, 3) and min(full[1:]) > 1 else None


def as_picture(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a square grey picture for flat items of so many values, from 8 x 8 on. Other shapes stay."""
    side = math.isqrt(math.prod(shape))
    return (1, side, side) if len(shape) == 1 and side >= 8 and side**2 == shape[0] else shape


def sprite(images: np.ndarray, low: float, high: float) -> tuple[bytes, tuple[int, int]]:
    """All images (n, C, H, W) in one PNG file, made smaller and row by row; and (height, width) of one of them."""
    small = np.concatenate([_shrunk(images[i : i + 100].astype(np.float32)) for i in range(0, len(images), 100)])
    pixels = ((small - low) * (255 / (high - low))).round().clip(0, 255).astype(np.uint8)
    n, channels, height, width = pixels.shape
    columns = math.ceil(math.sqrt(n))
    rows = -(-n // columns)
    pixels = np.concatenate([pixels, np.zeros((rows * columns - n, *pixels.shape[1:]), np.uint8)])
    grid = pixels.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    return png(grid.reshape(rows * height, columns * width, channels)), (height, width)


def _shrunk(images: np.ndarray) -> np.ndarray:
    """Images whose longer side has at most THUMBNAIL pixels. Each pixel is the mean of the pixels below."""
    longest = max(images.shape[2:])
    for axis in (2, 3):
        size = images.shape[axis]
        edges = np.linspace(0, size, max(1, min(size, round(size * THUMBNAIL / longest))) + 1).astype(int)
        counts = np.diff(edges).reshape(-1, *[1] * (3 - axis))
        images = np.add.reduceat(images, edges[:-1], axis) / counts
    return images


def png(pixels: np.ndarray) -> bytes:
    """Bytes (height, width, 1 or 3) as a PNG file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = pixels.shape
    header = struct.pack(">2I5B", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)  # 0: no filter
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
