"""Points: codes in two dimensions, and sets of points in three."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from scratchae.files.storage import FilePath
from scratchae.plotting.style import INK, PALETTE, as_array, finish, legend, new_axes, new_figure, tidy_bar

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def latent_scatter(
    codes: ArrayLike,
    labels: ArrayLike | None = None,
    path: FilePath | None = None,
    title: str | None = None,
    label_name: str | None = None,
) -> Figure:
    """Codes (N, 2) as points on equal axes, coloured by ``labels`` (N,).

    Integers, booleans and strings are classes (at most ten) with a legend; floats get a colour bar.
    ``label_name`` names the labels, e.g. "digit".
    """
    codes = _points("codes", codes, 2)
    fig, ax = new_axes(6.4, 5.6, "latent dimension 1", "latent dimension 2", title)
    size = float(np.clip(60 / np.sqrt(len(codes) / 100), 6, 30))
    paint = _paint(fig, {"codes": codes}, labels, label_name)
    # All classes go in one scatter, in the order given, so that no class is painted over all the others.
    ax.scatter(*codes.T, s=size, alpha=0.6, linewidths=0, rasterized=True, **paint)
    ax.set_aspect("equal", adjustable="datalim")
    return finish(fig, path)


def points_3d(
    sets: Mapping[str, ArrayLike],
    colour: ArrayLike | None = None,
    path: FilePath | None = None,
    colour_name: str | None = None,
) -> Figure:
    """Each named set of points (N, 3) in a panel of its own, side by side with the same limits and view.

    ``colour`` (N,) colours point i of every set alike, as ``labels`` do in ``latent_scatter``.
    """
    arrays = {name: _points(name, points, 3) for name, points in sets.items()}
    if not arrays:
        raise ValueError("sets is empty: expected at least one, e.g. {'original': points}")
    joined = np.concatenate(list(arrays.values()))
    low, high = np.nanmin(joined, axis=0), np.nanmax(joined, axis=0)
    high = np.where(high > low, high, low + 1)

    fig = new_figure(4.2 * len(arrays), 4.2)
    for i, name in enumerate(arrays):
        ax = fig.add_subplot(1, len(arrays), i + 1, projection="3d")
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
        ax.set_box_aspect(high - low, zoom=0.9)
        ax.set_title(name, fontsize=12, color=INK)
        for axis, label in zip((ax.xaxis, ax.yaxis, ax.zaxis), "xyz", strict=True):
            axis.set_label_text(label, fontsize=11, color=INK)
            axis.set_pane_color((1, 1, 1, 0))
        ax.locator_params(nbins=4)
        ax.tick_params(labelsize=9, labelcolor=INK)
    paint = _paint(fig, arrays, colour, colour_name)
    for ax, points in zip(fig.axes, arrays.values(), strict=False):  # the last axes may be a colour bar's
        ax.scatter(*points.T, s=8, alpha=0.8, linewidths=0, rasterized=True, **paint)
    return finish(fig, path)


def _points(name: str, points: ArrayLike, width: int) -> np.ndarray:
    points = as_array(points)
    if points.ndim != 2 or points.shape[1] != width or not len(points):
        raise ValueError(f"{name!r}: got shape {points.shape}, expected (N, {width}); project wider ones, e.g. by PCA")
    return points


def _paint(fig: Any, sets: Mapping[str, np.ndarray], labels: ArrayLike | None, name: str | None) -> dict[str, Any]:
    """The options of `scatter` that colour each set. Draws the legend or colour bar to the right of all axes."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.lines import Line2D

    if labels is None:
        return {"color": PALETTE[0]}
    labels = as_array(labels)
    for one, points in sets.items():
        if labels.shape != (len(points),):
            raise ValueError(f"{one!r}: got labels of shape {labels.shape}, expected ({len(points)},): one a point")
    if labels.dtype.kind == "f":
        values = ScalarMappable(cmap="viridis")  # for the bar alone, which is opaque, unlike the points
        values.set_array(labels)
        tidy_bar(fig.colorbar(values, ax=fig.axes, aspect=30, shrink=0.8), name)
        return {"c": labels, "norm": values.norm, "cmap": values.cmap}
    classes, index = np.unique(labels, return_inverse=True)
    if len(classes) > len(PALETTE):
        raise ValueError(f"{len(classes)} classes, at most {len(PALETTE)} can be told apart; pass floats or fewer")
    dots = [Line2D([], [], ls="", marker="o", ms=7, mew=0, color=colour) for colour in PALETTE[: len(classes)]]
    legend(fig, handles=dots, labels=classes.tolist(), title=name, handletextpad=0.2)
    return {"c": np.array(PALETTE)[index]}
