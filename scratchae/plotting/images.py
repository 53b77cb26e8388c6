"""Pictures of many images: rows of them, a grid, and the filters of a layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from scratchae.plotting.style import INK, SAVED_DPI, Axes, FilePath, finish, new_figure, tidy_bar

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def reconstructions(originals: ArrayLike, reconstructed: ArrayLike, path: FilePath = None, n: int = 10) -> Figure:
    """The first ``n`` originals above their reconstructions; see ``image_rows`` for the shapes."""
    return image_rows({"original": originals, "reconstruction": reconstructed}, path, n)


def image_rows(rows: Mapping[str, ArrayLike], path: FilePath = None, n: int = 10) -> Figure:
    """The first ``n`` images of each named row, the rows one above the other: ``{"noisy": x, "denoised": y}``.

    Each row is (N, 1, H, W), (N, 3, H, W), (N, H, W) or, for square grey images, (N, H * W). Values are shown on
    the fixed range [0, 1], so that brightness can be compared between images.
    """
    if not rows:
        raise ValueError("rows is empty: expected named images; pass e.g. {'original': x, 'reconstruction': y}")
    images = {name: _images(row, name, n) for name, row in rows.items()}
    shapes = {name: np.shape(row)[:1] + images[name].shape[1:3] for name, row in rows.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"expected as many images of one size in each row, got {shapes}; pass matching batches")
    for name, row in images.items():
        _check_scale(row, name)
    if len({row.ndim for row in images.values()}) > 1:  # grey beside colour
        images = {name: row if row.ndim == 4 else np.stack([row] * 3, axis=-1) for name, row in images.items()}
    tiles = np.clip(np.concatenate(list(images.values())), 0, 1)

    fig, ax = _mosaic(tiles, len(tiles) // len(rows), cmap="gray", vmin=0, vmax=1)
    ax.set_yticks(np.arange(len(rows)) + 0.5, list(rows))
    ax.tick_params(length=0, pad=6, labelsize=11, labelcolor=INK)
    return finish(_fitted(fig, ax), path)


def image_grid(
    images: ArrayLike, path: FilePath = None, columns: int | None = None, title: str | None = None
) -> Figure:
    """All the images row by row on the fixed range [0, 1], by default in a square; shapes as in ``image_rows``."""
    tiles = _images(images, "images", max(1, len(np.atleast_1d(images))))
    _check_scale(tiles, "images")
    columns = _side(len(tiles)) if columns is None else columns
    if columns < 1:
        raise ValueError(f"columns={columns}; expected at least 1, or None for a square")

    fig, ax = _mosaic(np.clip(tiles, 0, 1), min(columns, len(tiles)), cmap="gray", vmin=0, vmax=1)
    if title:
        ax.set_title(title, fontsize=12, color=INK, loc="left")
    return finish(_fitted(fig, ax), path)


def filters(weights: ArrayLike, path: FilePath = None, n: int = 64, shape: tuple[int, int] | None = None) -> Figure:
    """The first ``n`` weight vectors as images in a square grid, each scaled symmetrically about 0 to its own largest.

    ``weights`` holds one filter per row: (N, H * W), with ``shape=(H, W)`` unless square, or (N, H, W) or
    (N, 1, H, W).
    """
    images = _images(weights, "weights", n, shape)
    if images.ndim != 3:
        raise ValueError(f"weights: expected one channel, got shape {np.shape(weights)}; pass one channel at a time")
    limits = np.abs(images).max(axis=(1, 2), keepdims=True)
    scaled = images / np.where(limits > 0, limits, 1)

    fig, ax = _mosaic(scaled, _side(len(images)), 1 / 10, np.nan, cmap="RdBu_r", vmin=-1, vmax=1)
    width = fig.get_figwidth()
    bar = fig.colorbar(ax.images[0], cax=ax.inset_axes((1 + 0.12 / width, 0, 0.14 / width, 1)), ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["−max", "0", "+max"])
    tidy_bar(bar, "weight")
    return finish(_fitted(fig, ax), path)


def _side(count: int) -> int:
    return math.ceil(count**0.5)


def _mosaic(
    tiles: np.ndarray, columns: int, apart: float = 1 / 28, fill: float = 1.0, **scale: Any
) -> tuple[Any, Axes]:
    """A figure filled by axes that show all tiles, (N, H, W) or (N, H, W, 3), row by row with gaps of ``fill``.

    They are one picture, not axes each: hundreds of tiles are drawn as fast as ten. On the axes a tile is 1 by 1, the
    gaps, about ``apart`` of it, included.
    """
    # Gaps are thin, yet whole pixels: tiles of few pixels get several for each.
    repeats = max(1, 28 // max(tiles.shape[1:3]))
    tiles = tiles.repeat(repeats, axis=1).repeat(repeats, axis=2)
    (count, height, width), colours, rows = tiles.shape[:3], tiles.shape[3:], -(-len(tiles) // columns)
    gap = max(1, round(max(height, width) * apart))
    canvas = np.full((rows * columns, height + gap, width + gap, *colours), fill)
    canvas[:count, :height, :width] = tiles
    canvas = canvas.reshape(rows, columns, *canvas.shape[1:]).swapaxes(1, 2)
    canvas = canvas.reshape(rows * (height + gap), columns * (width + gap), *colours)[:-gap, :-gap]

    inches = min(0.75, max(0.25, min(7.5 / columns, 10 / rows)))  # a tile's: all on a page, but large enough to name
    zoom = inches * SAVED_DPI / max(height, width)
    # Whole dots per pixel, or else some pixels and gaps come out wider than others.
    zoom, smoothing = (max(1, round(zoom)), "nearest") if zoom > 0.75 else (zoom, "antialiased")
    fig = new_figure(canvas.shape[1] * zoom / SAVED_DPI, canvas.shape[0] * zoom / SAVED_DPI, None, SAVED_DPI)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.imshow(canvas, extent=(0, columns, rows, 0), aspect="auto", interpolation=smoothing, **scale)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return fig, ax


def _fitted(fig: Any, ax: Axes) -> Any:
    """The figure, enlarged for what stands around the axes that filled it."""
    width, height = fig.get_size_inches()
    box = fig.get_tightbbox()
    fig.set_size_inches(box.width, box.height)
    ax.set_position((-box.x0 / box.width, -box.y0 / box.height, width / box.width, height / box.height))
    return fig


def _check_scale(images: np.ndarray, name: str) -> None:
    if images.dtype.kind in "iu" and images.max() > 1:
        raise ValueError(f"{name!r} holds {images.dtype} values up to {images.max()}, expected [0, 1]; divide by 255")


def _images(array: ArrayLike, name: str, n: int, shape: tuple[int, int] | None = None) -> np.ndarray:
    """The first ``n`` as grey (n, H, W) or colour (n, H, W, 3) images, from any of the accepted shapes."""
    images = np.asarray(array)
    if not images.size or images.dtype.kind not in "biuf" or n < 1:
        given = f"shape {images.shape}, dtype {images.dtype} and n={n}"
        raise ValueError(f"{name!r}: got {given}; expected numbers and n >= 1; pass at least one image")
    shape_given, images = images.shape, images[:n]
    if images.ndim == 2:
        height, width = shape or (round(shape_given[1] ** 0.5),) * 2
        if height * width != shape_given[1]:
            wanted = f"{height} * {width}" if shape else "a square number"
            raise ValueError(f"{name!r}: {shape_given[1]} values an image, expected {wanted}; reshape to (N, 1, H, W)")
        return images.reshape(-1, height, width)
    if images.ndim == 3:
        return images
    if images.ndim == 4 and shape_given[1] in (1, 3):
        return images[:, 0] if shape_given[1] == 1 else images.transpose(0, 2, 3, 1)
    accepted = "(N, 1, H, W), (N, 3, H, W), (N, H, W) or (N, H * W); put channels before height and width"
    raise ValueError(f"{name!r}: got shape {shape_given}, expected {accepted}")
