"""Numbers: losses per epoch, one quantity against another, and bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from scratchae.files.storage import FilePath
from scratchae.plotting.style import INK, PALETTE, SPINE, Axes, add_axes, finish, legend, new_axes, new_figure
from scratchae.progress import losses

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def loss_curves(
    history: Mapping[str, Sequence[float]], path: FilePath | None = None, title: str | None = None
) -> Figure:
    """The loss and its terms per epoch: training solid, validation (``val_`` names) dashed in the same colour.

    ``history`` maps each name to one number per epoch; None or NaN marks an epoch without that number.
    The loss axis is logarithmic where all values are positive and span more than a factor of 10. Each metric of a
    ``History`` has axes of its own, to the right.
    """
    metrics = set(getattr(history, "metrics", ()))
    found = losses({name: values for name, values in history.items() if np.size(values)}, metrics)
    if len(set((shapes := {name: values.shape for name, values in found.items()}).values())) > 1:
        raise ValueError(f"got shapes {shapes}, expected one number per epoch for every name; fill gaps with None")
    last = max((values.size for values in found.values()), default=0)
    epochs = np.arange(last) + 1
    points = points_of({name: (epochs, values) for name, values in found.items()}, history, "epoch", "loss")

    panels: dict[str, dict[str, np.ndarray]] = {}
    for name, pair in points.items():
        term = name.removeprefix("val_")
        panels.setdefault(term if term in metrics else "loss", {})[name] = pair
    fig = new_figure(6.4 if len(panels) == 1 else 4.8 * len(panels), 4.0)
    for i, (ylabel, lines) in enumerate(panels.items()):
        ax = add_axes(fig, (1, len(panels), i + 1), "epoch", ylabel, None if i else title)
        _draw_epochs(ax, lines, last)
        values = np.concatenate([ys for _, ys in lines.values()])
        if ylabel == "loss" and values.size and 0 < 10 * values.min() < values.max():
            logarithmic(ax, "y", values)
    for ax, lines in zip(fig.axes, panels.values(), strict=True):
        if len(lines) > 1:
            short_legend(fig, ax)
    return finish(fig, path)


def _draw_epochs(ax: Axes, lines: Mapping[str, np.ndarray], last: int) -> None:
    """Lines over the epochs from 1 to `last`."""
    for i, term in enumerate(dict.fromkeys(name.removeprefix("val_") for name in lines)):
        for name, label, style in ((term, term, "-"), ("val_" + term, "validation " + term, "--")):
            if name in lines:
                marker = "o" if lines[name].shape[1] <= 15 else "None"
                colour = PALETTE[i % len(PALETTE)]
                ax.plot(*lines[name], ls=style, label=label, color=colour, lw=1.8, marker=marker, ms=4)
    pad = min(max(0.02 * last, 0.1), 0.9)  # below 1: there is no epoch 0
    ax.set_xlim(1 - pad, last + pad)
    ax.locator_params("x", nbins=10, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)


def curves(
    lines: Mapping[str, tuple[ArrayLike, ArrayLike]],
    path: FilePath | None = None,
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
    points = points_of(lines, lines, "x", "y")
    levels = {name: np.array([level], float) for name, level in (references or {}).items()}
    check_values(levels, np.isfinite, "a finite number; leave out what is missing")

    fig, ax = new_axes(6.4, 4.0, xlabel, ylabel, title)
    for name, pair in points.items():
        ax.plot(*pair, label=name, lw=1.8, ms=5, **({} if markers else {"marker": "None"}))
    for i, (name, level) in enumerate(levels.items()):
        # From the end of the palette, black first, so that lines and levels have different colours.
        ax.axhline(level[0], ls=":", lw=1.6, color=PALETTE[-1 - i % len(PALETTE)], label=name)
    xs, ys = ({name: pair[k] for name, pair in points.items()} for k in (0, 1))
    for axis, log, *numbers in (("x", xlog, xs), ("y", ylog, ys, levels)):
        if log:
            for named in numbers:
                check_values(named, lambda n: n > 0, f"values above 0 on this axis; drop {axis}log")
            logarithmic(ax, axis, np.concatenate([values for named in numbers for values in named.values()]))
    short_legend(fig, ax, beside=bool(levels))
    return finish(fig, path)


def bars(
    values: Mapping[str, float] | Mapping[str, Mapping[str, float]],
    path: FilePath | None = None,
    ylabel: str = "",
    title: str | None = None,
) -> Figure:
    """Each named value as a bar with its number: ``{"PCA": 0.01}``, or ``{"mnist": {"PCA": 0.01}}`` in groups.

    Bars are horizontal, so that long names and numbers have room. ``ylabel`` names the values.
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
    numbers = {name: np.array([*group.values()], float) for name, group in groups.items()}
    check_values(numbers, np.isfinite, "finite numbers; leave out what is missing")

    fig, ax = new_axes(6.4, 1.0, ylabel, "", title)
    drawn: dict[str, Any] = dict.fromkeys(names)
    middles, top = [], 0.0
    for group in groups.values():
        middles.append(top + (len(group) - 1) / 2)
        for name in sorted(group, key=names.index):
            drawn[name] = ax.barh(top, float(group[name]), 0.9, color=PALETTE[names.index(name)])
            ax.bar_label(drawn[name], fmt=_number, padding=4, fontsize=10, color=INK)
            top += 1
        top += 0.5
    fig.set_figheight(0.8 + 0.3 * top)
    ax.set_yticks(middles, list(groups))
    ax.set_ylim(top - 0.75, -0.75)
    ax.margins(x=0.12)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.axvline(0, color=SPINE, lw=0.8)
    ax.spines["left"].set_visible(False)
    if any(nested):
        legend(fig, handles=list(drawn.values()), labels=names)
    return finish(fig, path)


def points_of(lines: Mapping[str, Any], given: Mapping[str, Any], x: str, y: str) -> dict[str, np.ndarray]:
    """The finite points of each named line as an array (2, N)."""
    points = {}
    for name, pair in lines.items():
        shapes = [np.shape(values) for values in pair] if hasattr(pair, "__len__") else []
        if len(shapes) != 2 or shapes[0] != shapes[1] or len(shapes[0]) != 1:
            wanted = f"two sequences of one length, one {y} for each {x}"
            raise ValueError(f"{name!r}: got {pair!r:.80}, shapes {shapes}, expected {wanted}; fill gaps with None")
        both = np.array(pair, float)
        points[name] = both[:, np.isfinite(both).all(axis=0)]
    if not any(pair.size for pair in points.values()):
        raise ValueError(f"nothing to plot: got {list(given)}, expected a {y} for at least one {x}; pass numbers")
    return points


def check_values(numbers: Mapping[str, np.ndarray], good: Callable[[np.ndarray], Any], wanted: str) -> None:
    """ValueError for the first value that is not good."""
    for name, values in numbers.items():
        if (bad := values[~good(values)]).size:
            raise ValueError(f"{name!r}: got {bad[0]:g}, expected {wanted}")


def logarithmic(ax: Axes, which: str, values: np.ndarray) -> None:
    """Make the axis `which`, "x" or "y", logarithmic, with ticks that suit the values."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    ax.set(**{f"{which}scale": "log"})
    axis = getattr(ax, f"{which}axis")
    places = np.unique(values)
    steps = np.diff(np.log(places))
    ratio = places[-1] / places[0]
    if which == "x" and 1 < len(places) <= 10 and steps.min() > 0.05 * steps.sum():
        axis.set_ticks(places)  # for example powers of two: label the measured points
        axis.set_ticks([], minor=True)
    elif ratio < 5:  # the range may hold no 1, 2 or 5
        axis.set_major_locator(MaxNLocator(5))
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if ratio < 1000 else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def short_legend(fig: Any, ax: Axes, loc: str = "best", beside: bool = False) -> None:
    """A short legend within the axes; a long legend beside the axes."""
    names = ax.get_legend_handles_labels()[1]
    if beside or len(names) > 5:
        fig.set_figwidth(fig.get_figwidth() + 1.8)
        legend(fig, handlelength=2.6)
    elif names:
        legend(ax, loc, handlelength=2.6)


def _number(value: float) -> str:
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}").replace("-", "−")
