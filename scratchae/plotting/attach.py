"""Pictures: the list of functions that this folder attaches to the core."""

from __future__ import annotations

from scratchae.history import History
from scratchae.plotting import history

History.plot = history.plot
History._repr_html_ = history.html_of  # type: ignore[attr-defined]
