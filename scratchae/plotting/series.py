"""Series, such as heartbeats or sensor readings: lines in small panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from scratchae.checks import check_count
from scratchae.files.storage import FilePath
from scratchae.plotting.style import GRID, INK, PALETTE, SPINE, Axes, as_array, finish, legend, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def looks_like_series(shape: Sequence[int]) -> bool:
    """Whether an array of this shape holds series, and no images.

    (N, length) holds series if `length` is no square number. (N, 1, length) and (N, C, 1, length) always do.
    """
    if len(shape) == 2:
        return round(shape[1] ** 0.5) ** 2 != shape[1]
    return len(shape) in (3, 4) and shape[-2] == 1 < shape[-1]


def overlaid_series(originals: ArrayLike, reconstructed: ArrayLike, path: FilePath | None, n: int) -> Figure:
    """Each of the first `n` series in a panel: the original grey and broad, the reconstruction thin and coloured."""
    rows = _rows({"original": originals, "reconstruction": reconstructed}, n)
    before, after = rows.values()
    columns = min(len(before), 5)
    fig, panels = _panels(-(-len(before) // columns), columns, len(before), list(rows.values()))
    for ax, one, other in zip(panels, before, after, strict=True):
        for channel, (wide, thin) in enumerate(zip(one, other, strict=True)):
            ax.plot(wide, color=SPINE, lw=2.4, label="original" if channel == 0 else None)
            label = "reconstruction" if len(one) == 1 else f"reconstruction, channel {channel + 1}"
            ax.plot(thin, color=PALETTE[(channel + 1) % len(PALETTE)], lw=1.2, label=label)
    handles, labels = panels[0].get_legend_handles_labels()
    legend(fig, handles=handles, labels=labels)
    return finish(fig, path)


def series_rows(rows: Mapping[str, ArrayLike], path: FilePath | None = None, n: int = 10) -> Figure:
    """The first ``n`` series of each named row, the rows one above the other: ``{"noisy": x, "denoised": y}``.

    Each row is (N, length), (N, C, length) or (N, C, 1, length). The panels share their axes. From the second row on,
    the series of the first row stands behind in grey. Channels have colours.
    """
    found = _rows(rows, n)
    names, first = list(found), next(iter(found.values()))
    fig, panels = _panels(len(found), len(first), len(found) * len(first), list(found.values()))
    for i, (name, series) in enumerate(found.items()):
        for j, (one, behind) in enumerate(zip(series, first, strict=True)):
            ax = panels[i * len(first) + j]
            for channel, line in enumerate(one):
                if name != names[0]:
                    ax.plot(behind[channel], color=SPINE, lw=1.0)
                ax.plot(line, color=PALETTE[channel % len(PALETTE)], lw=1.2)
        panels[i * len(first)].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11, color=INK)
    return finish(fig, path)


def _rows(rows: Mapping[str, ArrayLike], n: int) -> dict[str, np.ndarray]:
    """The first `n` series of each row, as (n, C, length)."""
    n = check_count("n", n)
    if not rows:
        raise ValueError("rows is empty: expected named series; pass e.g. {'original': x, 'reconstruction': y}")
    found = {}
    for name, values in rows.items():
        array = as_array(values)
        if array.ndim == 4 and array.shape[2] == 1:
            array = array[:, :, 0]
        array = array[:, None] if array.ndim == 2 else array
        if array.ndim != 3 or not array.size or array.dtype.kind not in "biuf":
            wanted = "numbers (N, length), (N, C, length) or (N, C, 1, length)"
            raise ValueError(f"{name!r}: got shape {np.shape(values)} of {array.dtype}; expected series, {wanted}")
        found[name] = array[:n].astype(float)
    if len(set(shapes := [array.shape for array in found.values()])) > 1:
        raise ValueError(f"expected {n} series of one length in each row, or fewer in all rows, got {shapes}")
    return found


def _panels(rows: int, columns: int, count: int, series: list[np.ndarray]) -> tuple[Any, list[Axes]]:
    """A figure with `count` small axes, row by row, with the same limits for all series."""
    values = np.concatenate([array.ravel() for array in series])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.5
    width = min(2.2, max(0.9, 10 / columns))
    fig = new_figure(width * columns, min(1.3, width) * rows)
    panels = []
    for i in range(count):
        ax = fig.add_subplot(rows, columns, i + 1)
        ax.set(xlim=(0, max(1, series[0].shape[-1] - 1)), ylim=(low - margin, high + margin))
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(SPINE)
        ax.grid(color=GRID, linewidth=0.6)
        ax.locator_params(nbins=3)
        ax.tick_params(labelsize=8, labelcolor=INK, color=SPINE)
        ax.tick_params(labelleft=i % columns == 0, labelbottom=i + columns >= count)
        panels.append(ax)
    return fig, panels
