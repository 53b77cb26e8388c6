"""What all pictures share: colours, an empty figure, tidy axes, a legend, and saving."""

from __future__ import annotations

import functools
import io
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Axes = Any  # matplotlib's stubs know neither the projections nor the layout engines used here

# Paul Tol's "muted" scheme, distinct under the common colour-vision deficiencies, with black as the tenth.
PALETTE = ("#332288", "#CC6677", "#44AA99", "#DDCC77", "#882255", "#88CCEE", "#117733", "#AA4499", "#999933", "#000000")
INK, SPINE, GRID = "#333333", "#999999", "#E4E4E4"
SAVED_DPI = 150

FilePath = str | PathLike[str] | None


def new_figure(width: float, height: float, layout: Any = "constrained", dpi: int = 120) -> Any:
    from matplotlib.figure import Figure

    fig: Any = Figure(figsize=(width, height), dpi=dpi, layout=layout, facecolor="white")
    # Notebooks learn to show figures only once pyplot is imported; this one brings its own way.
    fig._repr_png_ = functools.partial(png, fig)
    return fig


def png(fig: Figure) -> bytes:
    """The picture as a PNG file's bytes."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.08)
    return buffer.getvalue()


def finish(fig: Figure, path: FilePath) -> Figure:
    """The figure, saved if there is a path."""
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(path, dpi=SAVED_DPI, bbox_inches="tight", pad_inches=0.08)
    return fig


def new_axes(fig: Any, xlabel: str, ylabel: str, title: str | None) -> Axes:
    ax = fig.add_subplot()
    ax.set_xlabel(xlabel, fontsize=11, color=INK)
    ax.set_ylabel(ylabel, fontsize=11, color=INK)
    if title:
        ax.set_title(title, fontsize=12, color=INK, loc="left")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(SPINE)
    ax.grid(color=GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(which="both", labelsize=10, labelcolor=INK, color=SPINE)
    return ax


def legend_beside(fig: Any, handles: Any, names: Any, title: str | None = None, **options: Any) -> None:
    """A legend to the right of everything, where it hides nothing."""
    style = {"loc": "outside right center", "frameon": False, "fontsize": 10, "labelcolor": INK}
    fig.legend(handles, [str(name) for name in names], title=title, **style, **options)


def tidy_bar(bar: Any, label: str | None) -> None:
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=10, labelcolor=INK, length=0)
    if label:
        bar.set_label(label, fontsize=10, color=INK)
