"""Anomaly scores: their histogram, and ROC curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from scratchae.checks import check_count, check_number
from scratchae.files.storage import FilePath
from scratchae.plotting.curves import check_values, logarithmic, points_of, short_legend
from scratchae.plotting.style import INK, PALETTE, SPINE, as_array, finish, new_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def roc_curves(
    rates: Mapping[str, tuple[ArrayLike, ArrayLike]], path: FilePath | None = None, title: str | None = None
) -> Figure:
    """Each name's (false positive rates, true positive rates) as a line, over the diagonal of a blind guess.

    The legend has the area under each line (AUROC), by the trapezoidal rule from (0, 0) to (1, 1).
    """
    points = points_of(rates, rates, "false positive rate", "true positive rate")
    check_values(points, lambda pair: (pair >= 0) & (pair <= 1), "rates in [0, 1]; pass fractions")

    fig, ax = new_axes(5.0, 5.0, "false positive rate", "true positive rate", title)
    ax.axline((0, 0), (1, 1), ls=":", color=SPINE, lw=1.4)
    for name, pair in points.items():
        # Good curves run along the frame, and would lose half of their width by clipping.
        ax.plot(*pair, label=f"{name} (AUROC {_area(*pair):.3f})", lw=1.8, marker="None", clip_on=False)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    short_legend(fig, ax, "lower right")
    return finish(fig, path)


def _area(xs: np.ndarray, ys: np.ndarray) -> float:
    """The area under the points, in the order of the rates, and the corners (0, 0) and (1, 1)."""
    order = np.lexsort((ys, xs))
    return float(np.trapezoid(np.r_[0, ys[order], 1], np.r_[0, xs[order], 1]))


def score_histogram(
    scores: Mapping[str, ArrayLike],
    threshold: float | None = None,
    path: FilePath | None = None,
    title: str | None = None,
    bins: int = 50,
    xlog: bool = False,
) -> Figure:
    """How often each anomaly score occurs, for each named set of scores: ``{"normal": a, "anomalies": b}``.

    The bars of a set are shares of this set, so sets of unequal sizes compare. With ``threshold``, a dotted line marks
    the threshold, and the legend has the share of each set above the threshold. ``xlog`` makes the score axis
    logarithmic.
    """
    found = {name: as_array(values).astype(float).ravel() for name, values in scores.items()}
    if not found or not all(values.size for values in found.values()):
        sizes = {name: values.size for name, values in found.items()}
        raise ValueError(f"nothing to plot: got sets of sizes {sizes}; expected scores by name, {{'normal': errors}}")
    if len(found) > len(PALETTE):
        raise ValueError(f"{len(found)} sets, at most {len(PALETTE)} can be told apart; pass fewer")
    bins = check_count("bins", bins)
    levels = {} if threshold is None else {"threshold": np.array([check_number("threshold", threshold, "(-inf, inf)")])}
    check_values(found, np.isfinite, "finite scores; leave out what is not")
    if xlog:
        check_values({**found, **levels}, lambda n: n > 0, "values above 0 on this axis; drop xlog")
    everything = np.concatenate([*found.values(), *levels.values()])
    edges = _edges(everything.min(), everything.max(), bins, xlog)

    fig, ax = new_axes(6.4, 4.0, "anomaly score", "share of the samples", title)
    for (name, values), colour in zip(found.items(), PALETTE, strict=False):
        label = name if threshold is None else f"{name}, {np.mean(values > threshold):.1%} above"
        shares = np.full(values.size, 1 / values.size)
        ax.hist(values, edges, weights=shares, color=colour, alpha=0.55, label=label)
    if threshold is not None:
        ax.axvline(threshold, color=INK, ls=":", lw=1.6, label=f"threshold {threshold:.3g}")
    if xlog:
        logarithmic(ax, "x", edges)
    short_legend(fig, ax)
    return finish(fig, path)


def _edges(low: float, high: float, bins: int, xlog: bool) -> np.ndarray:
    """The limits of the bins, of equal width on their axis. Scores that are all equal have a bin around them."""
    if low == high:
        low, high = (low / 2, high * 2) if xlog else (low - 0.5, high + 0.5)
    return np.geomspace(low, high, bins + 1) if xlog else np.linspace(low, high, bins + 1)
