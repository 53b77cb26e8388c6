"""Pictures of training and of what an autoencoder has learned.

Every function takes arrays and names, returns a ``matplotlib.figure.Figure``, and saves it too when ``path`` is
given: PNG, SVG or PDF by its suffix, creating the folders it needs. A notebook shows the returned figure.

matplotlib is imported only when something is drawn, and never pyplot: figures need no display, may be drawn in
threads, and are freed with their last reference.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Axes = Any  # matplotlib's stubs know neither the projections nor the layout engines used here

# Paul Tol's "muted" scheme, distinct under the common colour-vision deficiencies, with black as the tenth.
PALETTE = ("#332288", "#CC6677", "#44AA99", "#DDCC77", "#882255", "#88CCEE", "#117733", "#AA4499", "#999933", "#000000")
INK, GRID = "#333333", "#E4E4E4"
NOT_LOSSES = {"seconds", "images_per_second", "lr"}

FilePath = str | PathLike[str] | None


def loss_curves(history: Mapping[str, Sequence[float]], path: FilePath = None, title: str | None = None) -> Figure:
    """The loss and its terms per epoch: training solid, validation (``val_`` names) dashed in the same colour.

    ``history`` maps each name to one number per epoch; None or NaN marks an epoch without that number.
    The loss axis is logarithmic where all values are positive and span more than a factor of 10.
    """
    curves = {name: np.asarray(v, float) for name, v in history.items() if name not in NOT_LOSSES and len(v)}
    if not any(np.isfinite(values).any() for values in curves.values()):
        raise ValueError(f"history has no losses to plot: got {list(history)}; expected e.g. {{'loss': [0.2, 0.1]}}")
    shapes = {name: values.shape for name, values in curves.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"expected one number per epoch for every name, got shapes {shapes}; fill gaps with None")
    terms = list(dict.fromkeys(name.removeprefix("val_") for name in curves))
    if len(terms) == 2 and "loss" in terms:  # a lone term that is the whole loss would only hide it
        pairs = [[curves.get(prefix + term, np.empty(0)) for term in terms] for prefix in ("", "val_")]
        terms = ["loss"] if all(np.array_equal(a, b, equal_nan=True) for a, b in pairs) else terms

    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    fig = _figure(6.4, 4.0)
    ax = _axes(fig, "epoch", "loss", title)
    drawn = []
    for i, term in enumerate(terms):
        for name, label, style in ((term, term, "-"), ("val_" + term, "validation " + term, "--")):
            if name in curves:
                epochs = np.flatnonzero(np.isfinite(curves[name]))
                drawn.append(curves[name][epochs])
                marker = "o" if len(epochs) <= 15 else None
                colour = PALETTE[i % len(PALETTE)]
                ax.plot(epochs + 1, drawn[-1], style, label=label, color=colour, lw=1.8, marker=marker, ms=4)

    last = len(next(iter(curves.values())))
    pad = min(max(0.02 * last, 0.1), 0.9)  # below 1: there is no epoch 0
    ax.set_xlim(1 - pad, last + pad)
    ax.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    values = np.concatenate(drawn)
    if values.min() > 0 and values.max() > 10 * values.min():
        ax.set_yscale("log")
        few_decades = values.max() < 1000 * values.min()
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few_decades else (1,)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
    if len(drawn) > 1:
        ax.legend(frameon=False, fontsize=10, labelcolor=INK, handlelength=2.6)
    return _finish(fig, path)


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
        if row.dtype.kind in "iu" and row.max() > 1:
            raise ValueError(f"{name!r} holds {row.dtype} values up to {row.max()}, expected [0, 1]; divide by 255")
    n, height, width = next(iter(images.values())).shape[:3]

    fig = _figure(1.2 + 0.75 * n, 0.75 * len(rows) * height / width, "compressed")
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    axes = fig.subplots(len(rows), n, squeeze=False)
    for row_axes, (name, row) in zip(axes, images.items(), strict=True):
        for ax, image in zip(row_axes, row, strict=True):
            _show(ax, np.clip(image, 0, 1) if image.ndim == 3 else image, cmap="gray", vmin=0, vmax=1)
        row_axes[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11, color=INK, labelpad=6)
    return _finish(fig, path)


def filters(weights: ArrayLike, path: FilePath = None, n: int = 64, shape: tuple[int, int] | None = None) -> Figure:
    """The first ``n`` weight vectors as images in a square grid, each scaled symmetrically about 0 to its own largest.

    ``weights`` holds one filter per row: (N, H * W), with ``shape=(H, W)`` unless square, or (N, H, W) or
    (N, 1, H, W).
    """
    images = _images(weights, "weights", n, shape)
    if images.ndim != 3:
        raise ValueError(f"weights: expected one channel, got shape {np.shape(weights)}; pass one channel at a time")
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    side = int(np.ceil(np.sqrt(len(images))))
    rows = -(-len(images) // side)

    cell = float(np.clip(6 / side, 0.6, 1.2))
    fig = _figure(cell * side + 0.8, cell * rows * images.shape[1] / images.shape[2], "compressed")
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.03, hspace=0.03)
    axes = [fig.add_subplot(rows, side, i + 1) for i in range(len(images))]
    for ax, image in zip(axes, images, strict=True):
        limit = np.abs(image).max() or 1.0
        _show(ax, image, cmap="RdBu_r", vmin=-limit, vmax=limit)

    bar = fig.colorbar(ScalarMappable(Normalize(-1, 1), "RdBu_r"), ax=axes, ticks=[-1, 0, 1], aspect=30, pad=0.02)
    bar.ax.set_yticklabels(["−max", "0", "+max"])
    _tidy_bar(bar, "weight")
    return _finish(fig, path)


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
    fig = _figure(6.4, 5.6)
    ax = _axes(fig, "latent dimension 1", "latent dimension 2", title)
    # All classes go in one scatter, in the order given, so that no class is painted over all the others.
    colour, classes = _colours(labels, len(codes))
    size = float(np.clip(60 / np.sqrt(len(codes) / 100), 6, 30))
    points = ax.scatter(*codes.T, s=size, alpha=0.6, linewidths=0, rasterized=True, **colour)
    ax.set_aspect("equal", adjustable="datalim")
    _key(fig, points, labels, classes, label_name)
    return _finish(fig, path)


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

    fig = _figure(4.2 * len(arrays), 4.2)
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
    return _finish(fig, path)


def _figure(width: float, height: float, layout: Any = "constrained") -> Any:
    from matplotlib.figure import Figure

    fig: Any = Figure(figsize=(width, height), dpi=120, layout=layout, facecolor="white")
    # Notebooks learn to show figures only once pyplot is imported; this one brings its own way.
    fig._repr_png_ = functools.partial(_png, fig)
    return fig


def _png(fig: Figure) -> bytes:
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.08)
    return buffer.getvalue()


def _finish(fig: Figure, path: FilePath) -> Figure:
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(path, dpi=150, bbox_inches="tight", pad_inches=0.08)
    return fig


def _axes(fig: Any, xlabel: str, ylabel: str, title: str | None) -> Axes:
    ax = fig.add_subplot()
    ax.set_xlabel(xlabel, fontsize=11, color=INK)
    ax.set_ylabel(ylabel, fontsize=11, color=INK)
    if title:
        ax.set_title(title, fontsize=12, color=INK, loc="left")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#999999")
    ax.grid(color=GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(which="both", labelsize=10, labelcolor=INK, color="#999999")
    return ax


def _show(ax: Axes, image: np.ndarray, **scale: Any) -> None:
    ax.imshow(image, interpolation="nearest", **scale)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


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
        style = {"loc": "outside right center", "frameon": False, "fontsize": 10, "labelcolor": INK}
        fig.legend(dots, [str(c) for c in classes], title=name, handletextpad=0.2, **style)
    elif labels is not None:
        from matplotlib.cm import ScalarMappable

        # A bar of its own mappable is opaque: the points are not.
        _tidy_bar(fig.colorbar(ScalarMappable(points.norm, points.cmap), ax=fig.axes, aspect=30, shrink=0.8), name)


def _tidy_bar(bar: Any, label: str | None) -> None:
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=10, labelcolor=INK, length=0)
    if label:
        bar.set_label(label, fontsize=10, color=INK)
