"""Numbers: losses per epoch, one quantity against another, bars, and ROC curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from scratchae.plotting.style import INK, PALETTE, SPINE, Axes, FilePath, finish, legend_beside, new_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


NOT_LOSSES = {"seconds", "images_per_second", "lr"}
MARKERS = "os^Dv<>pP*"
LINE_STYLES = ("-", "--", "-.")  # one for each time that the palette runs out


def loss_curves(history: Mapping[str, Sequence[float]], path: FilePath = None, title: str | None = None) -> Figure:
    """The loss and its terms per epoch: training solid, validation (``val_`` names) dashed in the same colour.

    ``history`` maps each name to one number per epoch; None or NaN marks an epoch without that number.
    The loss axis is logarithmic where all values are positive and span more than a factor of 10.
    """
    losses = {name: np.asarray(v, float) for name, v in history.items() if name not in NOT_LOSSES and len(v)}
    if not any(np.isfinite(values).any() for values in losses.values()):
        raise ValueError(f"history has no losses to plot: got {list(history)}; expected e.g. {{'loss': [0.2, 0.1]}}")
    shapes = {name: values.shape for name, values in losses.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"expected one number per epoch for every name, got shapes {shapes}; fill gaps with None")
    terms = list(dict.fromkeys(name.removeprefix("val_") for name in losses))
    if len(terms) == 2 and "loss" in terms:  # a lone term that is the whole loss would only hide it
        pairs = [[losses.get(prefix + term, np.empty(0)) for term in terms] for prefix in ("", "val_")]
        terms = ["loss"] if all(np.array_equal(a, b, equal_nan=True) for a, b in pairs) else terms

    from matplotlib.ticker import MaxNLocator

    fig = new_figure(6.4, 4.0)
    ax = new_axes(fig, "epoch", "loss", title)
    drawn = []
    for i, term in enumerate(terms):
        for name, label, style in ((term, term, "-"), ("val_" + term, "validation " + term, "--")):
            if name in losses:
                epochs = np.flatnonzero(np.isfinite(losses[name]))
                drawn.append(losses[name][epochs])
                marker = "o" if len(epochs) <= 15 else None
                colour = PALETTE[i % len(PALETTE)]
                ax.plot(epochs + 1, drawn[-1], style, label=label, color=colour, lw=1.8, marker=marker, ms=4)

    last = len(next(iter(losses.values())))
    pad = min(max(0.02 * last, 0.1), 0.9)  # below 1: there is no epoch 0
    ax.set_xlim(1 - pad, last + pad)
    ax.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    values = np.concatenate(drawn)
    if values.min() > 0 and values.max() > 10 * values.min():
        _logarithmic(ax, "y", values)
    if len(drawn) > 1:
        ax.legend(frameon=False, fontsize=10, labelcolor=INK, handlelength=2.6)
    return finish(fig, path)


def curves(
    lines: Mapping[str, tuple[ArrayLike, ArrayLike]],
    path: FilePath = None,
    xlabel: str = "",
    ylabel: str = "",
    title: str | None = None,
    xlog: bool = False,
    ylog: bool = False,
    markers: bool = True,
    references: Mapping[str, float] | None = None,
) -> Figure:
    """One quantity against another: each name's (xs, ys) as a line, each of ``references`` as a dotted level.

    Points that are None or NaN are left out and bridged.
    """
    points = {name: _pair(pair, name, "x", "y") for name, pair in lines.items()}
    if not any(xs.size for xs, _ in points.values()):
        raise ValueError(f"lines has no points to plot: got {list(lines)}; expected e.g. {{'MSE': ([1, 2], [4, 3])}}")
    levels = {name: float(level) for name, level in (references or {}).items()}
    if not np.isfinite([*levels.values()]).all():
        raise ValueError(f"references: got {levels}, expected finite numbers; leave out what is missing")
    if xlog:
        _check_positive({name: xs for name, (xs, _) in points.items()}, "xlog")
    if ylog:
        _check_positive({name: ys for name, (_, ys) in points.items()} | levels, "ylog")

    from matplotlib.ticker import NullLocator

    fig = new_figure(6.4, 4.0)
    ax = new_axes(fig, xlabel, ylabel, title)
    for i, (name, (xs, ys)) in enumerate(points.items()):
        ax.plot(xs, ys, label=name, marker=MARKERS[i % len(MARKERS)] if markers else None, ms=5, **_style(i))
    for i, (name, level) in enumerate(levels.items()):
        # From the far end of the palette, black first, so that lines keep their colours to themselves.
        ax.axhline(level, ls=":", lw=1.6, color=PALETTE[-1 - i % len(PALETTE)], label=name)
    if xlog:
        places = np.unique(np.concatenate([xs for xs, _ in points.values()]))
        _logarithmic(ax, "x", places)
        steps = np.diff(np.log(places))
        if 1 < len(places) <= 10 and steps.min() > 0.05 * steps.sum():  # powers of two, say: name what was measured
            ax.set_xticks(places)
            ax.xaxis.set_minor_locator(NullLocator())
    if ylog:
        _logarithmic(ax, "y", np.concatenate([*(ys for _, ys in points.values()), [*levels.values()]]))
    _legend(fig, ax, "best", beside=bool(levels))
    return finish(fig, path)


def bars(
    values: Mapping[str, float] | Mapping[str, Mapping[str, float]],
    path: FilePath = None,
    ylabel: str = "",
    title: str | None = None,
) -> Figure:
    """Each named value as a bar with its number: ``{"PCA": 0.01}``, or ``{"mnist": {"PCA": 0.01}}`` in groups.

    Bars lie, so that long names and numbers have room; ``ylabel`` says what the values are.
    """
    nested = {isinstance(value, Mapping) for value in values.values()}
    if len(nested) > 1:
        raise ValueError(f"values mixes numbers and groups of numbers: got {dict(values)}; pass one kind")
    groups: dict[str, Any] = dict(values) if any(nested) else {name: {"": value} for name, value in values.items()}
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    if not names:
        raise ValueError(f"values has nothing to plot: got {dict(values)}; expected e.g. {{'PCA': 0.01}}")
    if len(names) > len(PALETTE):
        raise ValueError(f"{len(names)} names, at most {len(PALETTE)} can be told apart; pass fewer, or swap levels")
    for name, group in groups.items():
        if not np.isfinite(np.asarray([*group.values()], float)).all():
            raise ValueError(f"{name!r} holds {list(group.values())}, expected finite numbers; leave out what is not")

    tops = np.cumsum([0] + [len(group) + 0.5 for group in groups.values()])  # a bar is 1 high, half as much between
    fig = new_figure(6.4, 0.8 + 0.3 * tops[-1])
    ax = new_axes(fig, ylabel, "", title)
    places: dict[str, list[float]] = {name: [] for name in names}
    for top, group in zip(tops[:-1], groups.values(), strict=True):
        for i, name in enumerate(sorted(group, key=names.index)):
            places[name].append(top + i)
    for name, colour in zip(names, PALETTE, strict=False):
        drawn = [float(group[name]) for group in groups.values() if name in group]
        bar = ax.barh(places[name], drawn, 0.9, color=colour, label=name)
        ax.bar_label(bar, [_number(value) for value in drawn], padding=4, fontsize=10, color=INK)
    ax.set_yticks((tops[:-1] + tops[1:] - 1.5) / 2, list(groups))
    ax.set_ylim(tops[-1] - 0.75, -0.75)
    ax.margins(x=0.12)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.axvline(0, color=SPINE, lw=0.8)
    ax.spines["left"].set_visible(False)
    if any(nested):
        legend_beside(fig, *ax.get_legend_handles_labels())
    return finish(fig, path)


def roc_curves(
    rates: Mapping[str, tuple[ArrayLike, ArrayLike]], path: FilePath = None, title: str | None = None
) -> Figure:
    """Each name's (false positive rates, true positive rates) as a line, over the diagonal of a blind guess."""
    points = {name: _pair(pair, name, "false positive rate", "true positive rate") for name, pair in rates.items()}
    if not any(xs.size for xs, _ in points.values()):
        raise ValueError(f"rates has no points to plot: got {list(rates)}; expected e.g. {{'VAE': ([0, 1], [0, 1])}}")
    for name, pair in points.items():
        if np.any((pair < 0) | (pair > 1)):
            raise ValueError(f"{name!r}: rates from {pair.min():g} to {pair.max():g}, expected [0, 1]; pass fractions")

    fig = new_figure(5.0, 5.0)
    ax = new_axes(fig, "false positive rate", "true positive rate", title)
    ax.plot([0, 1], [0, 1], ":", color=SPINE, lw=1.4)
    for i, (name, (xs, ys)) in enumerate(points.items()):
        # Good curves run along the frame: unclipped, they keep their width there.
        ax.plot(xs, ys, label=name, clip_on=False, **_style(i))
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    _legend(fig, ax, "lower right")
    return finish(fig, path)


def _pair(pair: tuple[ArrayLike, ArrayLike], name: str, x: str, y: str) -> np.ndarray:
    """The finite points of a named line as an array (2, N)."""
    if not hasattr(pair, "__len__") or len(pair) != 2:
        raise ValueError(f"{name!r}: got {pair!r:.80}, expected two sequences; pass ({x} values, {y} values)")
    xs, ys = (np.asarray(values, float) for values in pair)
    if xs.ndim != 1 or xs.shape != ys.shape:
        shapes = f"shapes {xs.shape} and {ys.shape}"
        raise ValueError(f"{name!r}: got {shapes}, expected one {y} for each {x}; pass two sequences of one length")
    points = np.stack([xs, ys])
    return points[:, np.isfinite(points).all(axis=0)]


def _check_positive(values: Mapping[str, Any], option: str) -> None:
    for name, numbers in values.items():
        if np.min(numbers, initial=1) <= 0:
            raise ValueError(f"{name!r}: got {np.min(numbers):g}, expected values above 0 on this axis; drop {option}")


def _logarithmic(ax: Axes, which: str, values: np.ndarray) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    ax.set(**{f"{which}scale": "log"})
    axis = getattr(ax, f"{which}axis")
    ratio = values.max() / values.min()
    # Over less than a decade there may be no 1, 2 or 5 at all.
    axis.set_major_locator(MaxNLocator(5) if ratio < 5 else LogLocator(subs=(1, 2, 5) if ratio < 1000 else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _style(i: int) -> dict[str, Any]:
    return {"color": PALETTE[i % len(PALETTE)], "ls": LINE_STYLES[i // len(PALETTE) % len(LINE_STYLES)], "lw": 1.8}


def _legend(fig: Any, ax: Axes, loc: str, beside: bool = False) -> None:
    """Within the axes while it is short, else beside them."""
    handles, names = ax.get_legend_handles_labels()
    if beside or len(names) > 5:
        fig.set_figwidth(fig.get_figwidth() + 1.8)
        legend_beside(fig, handles, names, handlelength=2.6)
    elif names:
        style = {"facecolor": "white", "edgecolor": "none", "framealpha": 0.8, "fontsize": 10, "labelcolor": INK}
        ax.legend(handles, names, loc=loc, handlelength=2.6, **style)


def _number(value: float) -> str:
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}").replace("-", "−")
