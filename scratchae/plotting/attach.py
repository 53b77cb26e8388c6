"""Pictures: the list of functions that this folder attaches to the core."""

from __future__ import annotations

from scratchae.history import History
from scratchae.more.find_lr import LearningRates
from scratchae.plotting import history, rates

History.plot = history.plot
History._repr_html_ = history.html_of  # type: ignore[attr-defined]
LearningRates.plot = rates.plot
