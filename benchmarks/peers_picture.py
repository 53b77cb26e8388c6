"""The picture of peers.py: a panel for each workload, a row for each library, the time over ours as a dot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paired import OURS, Result

KERNELS, NUMPY = "other libraries with kernels of their own", "other libraries on NumPy"
KINDS = OURS, KERNELS, NUMPY
ON_NUMPY = ("MyGrad", "autograd", "DeZero")
ACROSS = 3  # panels beside each other
FEWEST = 0.6  # the left end of the axis, where no library is faster


def draw(table: dict[str, Result], path: Path) -> None:
    """Save the picture of `table`, which has a row of numbers for each workload and library (see `peers.rows_of`)."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, NullFormatter

    labels = list(dict.fromkeys(label for found in table.values() for label in found))
    ratios = [row["ratio"] for found in table.values() for row in found.values()]
    across = min(ACROSS, len(table))
    down = -(-len(table) // across)
    figure = Figure(figsize=(1.7 + 3.1 * across, (0.23 * len(labels) + 0.8) * down + 1.1), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (name, found) in zip(panels, table.items(), strict=False):
        draw_panel(axes, name, found, labels)
    panels[0].set_xscale("log")
    panels[0].set_xlim(min(FEWEST, *(low / 1.3 for _, low, _ in ratios)), max(high for *_, high in ratios) * 5)
    panels[0].set_ylim(len(labels) - 0.4, -0.6)
    panels[0].set_yticks(range(len(labels)), labels)
    panels[0].xaxis.set_major_locator(LogLocator(base=10))
    panels[0].xaxis.set_major_formatter("{x:g}")
    panels[0].xaxis.set_minor_formatter(NullFormatter())
    for axes in panels:
        axes.xaxis.set_tick_params(labelbottom=True)
    for axes in panels[len(table) :]:
        axes.set_axis_off()
    entries = [Line2D([], [], marker="o", ls="", color=colour, label=kind) for kind, colour in colours().items()]
    entries.append(Line2D([], [], marker="o", color="#777777", label="median, smallest and largest round"))
    entries.append(Line2D([], [], color="black", linewidth=1, label="scratchae with the extra [fast] = 1"))
    if len(panels) > len(table):
        panels[-1].legend(handles=entries, loc="center left", frameon=False)
    else:
        figure.legend(handles=entries, loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle("Time of a training step, in multiples of scratchae's with the extra [fast] (right of 1: slower)")
    figure.savefig(path, dpi=110)
    print(f"written: {path}")


def draw_panel(axes: Any, name: str, found: Result, labels: list[str]) -> None:
    for label, row in found.items():
        median, low, high = row["ratio"]
        place, colour = labels.index(label), colours()[kind_of(label)]
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot(median, place, "o", color=colour, markersize=5)
        mode = f"  ({row['mode']})" if row["mode"] else ""
        axes.text(max(high, median * 1.05) * 1.15, place, f"{short(median)}{mode}", va="center", fontsize=8)
    for place, label in enumerate(labels):
        if label not in found:
            axes.text(1.15, place, "not measured", va="center", fontsize=8, color="#999999")
    ours = next(iter(found.values()))
    axes.set_title(f"{name}\nours: {ours['ms']:.2g} ms", fontsize=9, loc="left")
    axes.axvline(1, color="black", linewidth=1, zorder=0)
    axes.grid(axis="x", color="#E4E4E4")
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def kind_of(label: str) -> str:
    if label.startswith(OURS):
        return OURS
    return NUMPY if label in ON_NUMPY else KERNELS


def colours() -> dict[str, str]:
    from scratchae.plotting import PALETTE

    return dict(zip(KINDS, PALETTE, strict=False))


def short(ratio: float) -> str:
    """Two digits after the point below 10, and none above 100."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}" if ratio < 100 else f"{ratio:.0f}"
