"""Pictures of many images: named rows, a grid, and the filters of a layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from scratchae.checks import check_bool, check_count
from scratchae.files.storage import FilePath
from scratchae.plotting.series import looks_like_series, overlaid_series
from scratchae.plotting.style import INK, SAVED_DPI, Axes, as_array, finish, new_figure, tidy_bar

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def reconstructions(
    originals: ArrayLike,
    reconstructed: ArrayLike,
    path: FilePath | None = None,
    n: int = 10,
    series: bool | None = None,
) -> Figure:
    """The first ``n`` originals above their reconstructions; see ``image_rows`` for the shapes.

    A series (N, length) or (N, 1, length) is drawn as a line, with its reconstruction over it. With ``series=None``,
    (N, length) counts as images if the length is a square number. ``series=True`` or ``False`` decides otherwise, and
    is needed for series of several channels, (N, C, length).
    """
    shape, other = (np.shape(as_array(a)) for a in (originals, reconstructed))
    if shape[:1] != other[:1]:
        found = f"got shapes {shape} and {other}"
        raise ValueError(f"expected a reconstruction of each original, {found}; pass matching batches")
    if looks_like_series(shape) if series is None else check_bool("series", series):
        return overlaid_series(originals, reconstructed, path, n)
    return image_rows({"original": originals, "reconstruction": reconstructed}, path, n)


def image_rows(rows: Mapping[str, ArrayLike], path: FilePath | None = None, n: int = 10) -> Figure:
    """The first ``n`` images of each named row, the rows one above the other: ``{"noisy": x, "denoised": y}``.

    Each row is (N, 1, H, W), (N, 3, H, W), (N, H, W) or, for square grey images, (N, H * W). Values are shown on
    the fixed range [0, 1], so that brightness can be compared between images.
    """
    if not rows:
        raise ValueError("rows is empty: expected named images; pass e.g. {'original': x, 'reconstruction': y}")
    images = {name: _pixels(row, name, n) for name, row in rows.items()}
    shapes = {name: row.shape[:3] for name, row in images.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"expected {n} images of one size in each row, or fewer in all rows, got {shapes}")
    channels = max(row.shape[-1] for row in images.values())  # in a picture with colour, grey is repeated
    tiles = np.concatenate([row.repeat(channels // row.shape[-1], axis=-1) for row in images.values()])

    fig, ax = _mosaic(tiles, len(tiles) // len(rows))
    ax.set_yticks(np.arange(len(rows)) + 0.5, list(rows))
    ax.tick_params(length=0, pad=6, labelsize=11, labelcolor=INK)
    return _fitted(fig, ax, path)


def image_grid(
    images: ArrayLike, path: FilePath | None = None, columns: int | None = None, title: str | None = None
) -> Figure:
    """All the images row by row on the fixed range [0, 1], by default in a square; shapes as in ``image_rows``."""
    tiles = _pixels(images, "images", max(1, len(np.atleast_1d(as_array(images)))))
    columns = math.ceil(len(tiles) ** 0.5) if columns is None else check_count("columns", columns)

    fig, ax = _mosaic(tiles, min(columns, len(tiles)))
    ax.set_title(title or "", fontsize=12, color=INK, loc="left")
    return _fitted(fig, ax, path)


def filters(
    weights: ArrayLike, path: FilePath | None = None, n: int = 64, shape: tuple[int, int] | None = None
) -> Figure:
    """The first ``n`` weight vectors as images in a square grid, each divided by its largest absolute value.

    ``weights`` holds one filter per row: (N, H * W), (N, H, W) or (N, 1, H, W). For (N, H * W), ``shape=(H, W)`` is
    needed unless the filters are square.
    """
    images = _images(weights, "weights", n, shape)
    if images.shape[-1] != 1:
        raise ValueError(f"weights: expected one channel, got shape {np.shape(weights)}; pass one channel at a time")
    limits = np.abs(images).max(axis=(1, 2, 3), keepdims=True)
    scaled = images / np.where(limits > 0, limits, 1)

    fig, ax = _mosaic(scaled, math.ceil(len(images) ** 0.5), 1 / 10, np.nan, "RdBu_r", -1)
    width = fig.get_figwidth()
    bar = fig.colorbar(ax.images[0], cax=ax.inset_axes((1 + 0.12 / width, 0, 0.14 / width, 1)), ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["−max", "0", "+max"])
    tidy_bar(bar, "weight")
    return _fitted(fig, ax, path)


def _mosaic(
    tiles: np.ndarray, columns: int, apart: float = 1 / 28, fill: float = 1.0, cmap: str = "gray", low: float = 0.0
) -> tuple[Any, Axes]:
    """A figure filled by axes that show all tiles, (N, H, W, 1 or 3), row by row with gaps of ``fill``.

    All tiles are one picture in one axes, so hundreds of tiles are drawn as fast as ten. In axes units, a tile with its
    gap is 1 by 1. The gap is about ``apart`` of a tile. Grey tiles are mapped from [``low``, 1].
    """
    # Gaps are thin, yet whole pixels. So each pixel of a small tile is repeated.
    repeats = max(1, 28 // max(tiles.shape[1:3]))
    tiles = tiles.repeat(repeats, axis=1).repeat(repeats, axis=2)
    count, height, width, channels = tiles.shape
    rows, gap = -(-count // columns), max(1, round(max(height, width) * apart))
    margins = ((0, rows * columns - count), (0, gap), (0, gap), (0, 0))
    canvas = np.pad(tiles, margins, constant_values=fill)
    canvas = canvas.reshape(rows, columns, *canvas.shape[1:]).swapaxes(1, 2)
    canvas = canvas.reshape(rows * (height + gap), columns * (width + gap), channels)[:-gap, :-gap]

    inches = min(0.75, max(0.25, min(7.5 / columns, 10 / rows)))  # of a tile: all fit a page, but names fit a tile
    zoom = inches * SAVED_DPI / max(height, width)
    # Whole dots per pixel, since otherwise some pixels and gaps would be wider than others.
    zoom, smoothing = (max(1, round(zoom)), "nearest") if zoom > 0.75 else (zoom, "antialiased")
    fig = new_figure(canvas.shape[1] * zoom / SAVED_DPI, canvas.shape[0] * zoom / SAVED_DPI, None, SAVED_DPI)
    ax = fig.add_axes((0, 0, 1, 1))
    shown = canvas if channels == 3 else canvas[..., 0]
    ax.imshow(shown, cmap, aspect="auto", interpolation=smoothing, vmin=low, vmax=1, extent=(0, columns, rows, 0))
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return fig, ax


def _fitted(fig: Any, ax: Axes, path: FilePath | None) -> Figure:
    """The figure, enlarged for the labels around its axes, and saved if there is a path."""
    width, height = fig.get_size_inches()
    box = fig.get_tightbbox()
    fig.set_size_inches(box.width, box.height)
    ax.set_position((-box.x0 / box.width, -box.y0 / box.height, width / box.width, height / box.height))
    return finish(fig, path)


def _pixels(array: ArrayLike, name: str, n: int) -> np.ndarray:
    """The first ``n`` images, on [0, 1]. Bytes above 1 are divided by 255."""
    images = _images(array, name, n)
    if images.dtype == np.uint8 and images.max() > 1:
        images = images / 255
    if images.dtype.kind in "iu" and images.max() > 1:
        raise ValueError(f"{name!r} holds {images.dtype} values up to {images.max()}, expected [0, 1]; divide by 255")
    return images.astype(float).clip(0, 1)


def _images(array: ArrayLike, name: str, n: int, shape: tuple[int, int] | None = None) -> np.ndarray:
    """The first ``n`` images as (n, H, W, 1) or (n, H, W, 3), from any of the accepted shapes."""
    images = as_array(array)
    given = images.shape
    if not images.size or images.dtype.kind not in "biuf" or n < 1:
        found = f"shape {given}, dtype {images.dtype} and n={n}"
        raise ValueError(f"{name!r}: got {found}; expected numbers and n >= 1; pass at least one image")
    images = images[:n]
    if images.ndim == 2:
        height, width = shape or (math.isqrt(given[1]),) * 2
        if height * width != given[1]:
            wanted = f"{height} * {width}" if shape else "a square number"
            raise ValueError(f"{name!r}: {given[1]} values an image, expected {wanted}; reshape to (N, 1, H, W)")
        images = images.reshape(-1, height, width)
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        accepted = "(N, 1, H, W), (N, 3, H, W), (N, H, W) or (N, H * W); put channels before height and width"
        raise ValueError(f"{name!r}: got shape {given}, expected {accepted}")
    return images.transpose(0, 2, 3, 1)
