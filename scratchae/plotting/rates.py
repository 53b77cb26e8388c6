"""The losses of a search for a learning rate."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchae.files.storage import FilePath
from scratchae.more.find_lr import LearningRates
from scratchae.plotting.curves import logarithmic, short_legend
from scratchae.plotting.style import PALETTE, SPINE, finish, new_axes


def plot(self: LearningRates, path: FilePath | None = None, title: str | None = None) -> Any:
    """The loss of each step over its rate, the smoothed loss, and the suggested rate, as a matplotlib Figure.

    The figure is saved to `path` if that is given.
    """
    fig, ax = new_axes(6.4, 4.0, "learning rate", "loss", title)
    ax.plot(self.rates, self.losses, color=SPINE, lw=1.0, marker="None", label="loss of a step")
    ax.plot(self.rates, self.smoothed, color=PALETTE[0], lw=1.8, ls="-", marker="None", label="smoothed")
    ax.axvline(self.suggestion, color=PALETTE[1], ls=":", lw=1.6, label=f"suggestion {self.suggestion:.2g}")
    low, high = min(self.losses), max(self.smoothed)  # one wild step may leave the frame
    margin = 0.05 * (high - low) or 0.05
    ax.set_ylim(low - margin, high + margin)
    logarithmic(ax, "x", np.array([*self.rates, self.suggestion]))
    short_legend(fig, ax)
    return finish(fig, path)
