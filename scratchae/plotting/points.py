"""Points: codes in two dimensions, and sets of points in three."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from scratchae.plotting.style import INK, PALETTE, FilePath, finish, legend_beside, new_axes, new_figure, tidy_bar

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def latent_scatter(
    codes: ArrayLike,
    labels: ArrayLike | None = None,
    path: FilePath = None,
    title: str | None = None,
    label_name: str | None = None,
) -> Figure:
    """Codes (N, 2) as points on equal axes, coloured by ``labels`` (N,).

    Integers, booleans and strings are classes (at most ten) with a legend; floats get a colour bar.
    ``label_name`` says what the labels are, e.g. "digit".
    """
    codes = np.asarray(codes)
    if codes.ndim != 2 or codes.shape[1] != 2 or not len(codes):
        raise ValueError(f"codes: expected shape (N, 2), got {codes.shape}; project wider codes to 2-D first, e.g. PCA")
    fig = new_figure(6.4, 5.6)
    ax = new_axes(fig, "latent dimension 1", "latent dimension 2", title)
    # All classes go in one scatter, in the order given, so that no class is painted over all the others.
    colour, classes = _colours(labels, len(codes))
    size = float(np.clip(60 / np.sqrt(len(codes) / 100), 6, 30))
    points = ax.scatter(*codes.T, s=size, alpha=0.6, linewidths=0, rasterized=True, **colour)
    ax.set_aspect("equal", adjustable="datalim")
    _key(fig, points, labels, classes, label_name)
    return finish(fig, path)


def points_3d(
    sets: Mapping[str, ArrayLike],
    colour: ArrayLike | None = None,
    path: FilePath = None,
    colour_name: str | None = None,
) -> Figure:
    """Each named set of points (N, 3) in a panel of its own, side by side with the same limits and view.

    ``colour`` (N,) colours point i of every set alike, as ``labels`` do in ``latent_scatter``.
    """
    arrays = {name: np.asarray(points) for name, points in sets.items()}
    for name, points in arrays.items():
        if points.ndim != 2 or points.shape[1] != 3 or not len(points):
            raise ValueError(f"{name!r}: expected points of shape (N, 3), got {points.shape}; pass three coordinates")
    if not arrays:
        raise ValueError("sets is empty: expected at least one, e.g. {'original': points}")
    joined = np.concatenate(list(arrays.values()))
    low, high = np.nanmin(joined, axis=0), np.nanmax(joined, axis=0)
    high = np.where(high > low, high, low + 1)

    from matplotlib.ticker import MaxNLocator

    fig = new_figure(4.2 * len(arrays), 4.2)
    for i, (name, points) in enumerate(arrays.items()):
        paint, classes = _colours(colour, len(points), name)
        ax = fig.add_subplot(1, len(arrays), i + 1, projection="3d")
        drawn = ax.scatter(*points.T, s=8, alpha=0.8, linewidths=0, rasterized=True, **paint)
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
        ax.set_box_aspect(high - low, zoom=0.9)
        ax.set_title(name, fontsize=12, color=INK)
        for axis, label in zip((ax.xaxis, ax.yaxis, ax.zaxis), "xyz", strict=True):
            axis.set_label_text(label, fontsize=11, color=INK)
            axis.set_major_locator(MaxNLocator(4))
            axis.set_pane_color((1, 1, 1, 0))
            axis.set_tick_params(labelsize=9, labelcolor=INK)
    _key(fig, drawn, colour, classes, colour_name)
    return finish(fig, path)


def _colours(labels: ArrayLike | None, count: int, name: str = "codes") -> tuple[dict[str, Any], np.ndarray | None]:
    """Colour arguments for a scatter of ``count`` points, and the classes where the labels are discrete."""
    if labels is None:
        return {"color": PALETTE[0]}, None
    labels = np.asarray(labels)
    if labels.shape != (count,):
        raise ValueError(f"{name!r}: expected one label a point, shape ({count},), got labels of shape {labels.shape}")
    if labels.dtype.kind == "f":
        return {"c": labels, "cmap": "viridis"}, None
    classes, index = np.unique(labels, return_inverse=True)
    if len(classes) > len(PALETTE):
        raise ValueError(f"{len(classes)} classes, at most {len(PALETTE)} can be told apart; pass floats or fewer")
    return {"c": np.array(PALETTE)[index]}, classes


def _key(fig: Any, points: Any, labels: ArrayLike | None, classes: np.ndarray | None, name: str | None) -> None:
    """A legend of the classes, or a colour bar of the values, to the right of the panels."""
    if classes is not None:
        from matplotlib.lines import Line2D

        dots = [Line2D([], [], ls="", marker="o", ms=7, mew=0, color=colour) for colour in PALETTE[: len(classes)]]
        legend_beside(fig, dots, classes, name, handletextpad=0.2)
    elif labels is not None:
        from matplotlib.cm import ScalarMappable

        # A bar of its own mappable is opaque: the points are not.
        tidy_bar(fig.colorbar(ScalarMappable(points.norm, points.cmap), ax=fig.axes, aspect=30, shrink=0.8), name)
