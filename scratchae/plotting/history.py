"""A run's history as a picture, and its display in a notebook."""

from __future__ import annotations

import base64
import html
from typing import Any

from scratchae.files.storage import FilePath
from scratchae.history import History
from scratchae.plotting.curves import loss_curves
from scratchae.plotting.style import png


def plot(self: History, path: FilePath | None = None) -> Any:
    """The loss curves as a matplotlib Figure, saved to `path` if that is given."""
    return loss_curves(self, path)


def html_of(self: History) -> str:
    """A notebook's display of a history: the curves, and the first and last epoch's numbers."""
    epochs = max(map(len, self.values()), default=0)
    if not epochs:
        return "<i>no epochs yet</i>"
    shown = sorted({0, epochs - 1})
    head = "".join(f"<th>epoch {i + 1}</th>" for i in shown)
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td>{''.join(f'<td>{values[i]:.5g}</td>' for i in shown)}</tr>"
        for name, values in self.items()
    )
    curves = base64.b64encode(png(plot(self))).decode()
    picture = f"<img alt='loss curves' width='500' src='data:image/png;base64,{curves}'/>"
    return f"{picture}<table><tr><th></th>{head}</tr>{rows}</table>"
