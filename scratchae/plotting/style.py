"""The common parts of all pictures: colours, an empty figure, tidy axes, a legend, and saving."""

from __future__ import annotations

import functools
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scratchae.files.storage import FilePath, write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Axes = Any  # matplotlib's stubs lack the projections and the layout engines used here

# Paul Tol's "muted" scheme, distinct under the common colour-vision deficiencies, with black as the tenth.
PALETTE = ("#332288", "#CC6677", "#44AA99", "#DDCC77", "#882255", "#88CCEE", "#117733", "#AA4499", "#999933", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "<", ">", "p", "P", "*")
INK, SPINE, GRID = "#333333", "#999999", "#E4E4E4"
SAVED_DPI = 150
TIGHT: Any = {"bbox_inches": "tight", "pad_inches": 0.08}


def as_array(values: Any) -> np.ndarray:
    """The values as a NumPy array, also the values of a Tensor on any device."""
    return values.numpy() if hasattr(values, "numpy") else np.asarray(values)


def new_figure(width: float, height: float, layout: Any = "constrained", dpi: int = 120) -> Any:
    from matplotlib.figure import Figure

    fig: Any = Figure(figsize=(width, height), dpi=dpi, layout=layout, facecolor="white")
    # Notebooks show figures only after an import of pyplot, unless the figure has its own method.
    fig._repr_png_ = functools.partial(png, fig)
    return fig


def new_axes(width: float, height: float, xlabel: str, ylabel: str, title: str | None) -> tuple[Any, Axes]:
    """A figure and its axes; see `add_axes`."""
    fig = new_figure(width, height)
    return fig, add_axes(fig, (1, 1, 1), xlabel, ylabel, title)


def add_axes(fig: Any, place: tuple[int, int, int], xlabel: str, ylabel: str, title: str | None) -> Axes:
    """Axes at (rows, columns, number from 1) of a figure.

    Lines differ by colour and marker; after all colours, lines also differ by dashes.
    """
    from matplotlib.rcsetup import cycler

    ax = fig.add_subplot(*place)
    ax.set_prop_cycle(cycler(ls=["-", "--", "-."]) * cycler(color=PALETTE, marker=MARKERS))
    ax.set_xlabel(xlabel, fontsize=11, color=INK)
    ax.set_ylabel(ylabel, fontsize=11, color=INK)
    ax.set_title(title or "", fontsize=12, color=INK, loc="left")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(SPINE)
    ax.grid(color=GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(which="both", labelsize=10, labelcolor=INK, color=SPINE)
    return ax


def legend(owner: Any, loc: str = "outside right center", **options: Any) -> None:
    """A legend within axes, or of a figure. The default place, to the right of all axes, hides nothing."""
    owner.legend(loc=loc, facecolor="white", edgecolor="none", framealpha=0.8, fontsize=10, labelcolor=INK, **options)


def tidy_bar(bar: Any, label: str | None) -> None:
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=10, labelcolor=INK, length=0)
    bar.set_label(label or "", fontsize=10, color=INK)


def png(fig: Figure, **options: Any) -> bytes:
    """The picture as a PNG file's bytes; `options` go to matplotlib's `savefig`."""
    buffer = io.BytesIO()
    fig.savefig(buffer, **{"format": "png", **TIGHT, **options})
    return buffer.getvalue()


def finish(fig: Figure, path: FilePath | None) -> Figure:
    """The figure, saved if there is a path. The file is written as a whole, or not at all."""
    if path is not None:
        path = Path(path) if Path(path).suffix else Path(f"{os.fspath(path)}.png")  # as matplotlib does
        write_whole(path, png(fig, format=path.suffix[1:], dpi=SAVED_DPI))
    return fig
