"""The numbers of a training run."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import math
from collections.abc import Mapping
from typing import Any

from scratchae import plotting
from scratchae.files.storage import FilePath, write_whole


class History(dict[str, list[float]]):
    """Numbers per epoch by name: "loss" and every term, "val_..." of each, "seconds", "images_per_second"."""

    def append(self, row: Mapping[str, float]) -> None:
        epochs = max(map(len, self.values()), default=0)
        for name in {**self, **row}:  # a term that comes later, or goes, leaves NaN in the other epochs
            self.setdefault(name, [math.nan] * epochs).append(row.get(name, math.nan))

    def plot(self, path: FilePath | None = None) -> Any:
        """The loss curves as a matplotlib Figure, saved to `path` if that is given."""
        return plotting.loss_curves(self, path)

    def _repr_html_(self) -> str:
        """How a notebook shows it: the curves, and the first and last epoch's numbers."""
        epochs = max(map(len, self.values()), default=0)
        if not epochs:
            return "<i>no epochs yet</i>"
        shown = sorted({0, epochs - 1})
        head = "".join(f"<th>epoch {i + 1}</th>" for i in shown)
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td>{''.join(f'<td>{values[i]:.5g}</td>' for i in shown)}</tr>"
            for name, values in self.items()
        )
        curves = base64.b64encode(plotting.png(self.plot())).decode()
        picture = f"<img alt='loss curves' width='500' src='data:image/png;base64,{curves}'/>"
        return f"{picture}<table><tr><th></th>{head}</tr>{rows}</table>"

    def to_csv(self, path: FilePath) -> None:
        """One line per epoch, with a header; folders are created."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["epoch", *self])
        writer.writerows([epoch, *row] for epoch, row in enumerate(zip(*self.values(), strict=True), 1))
        write_whole(path, text.getvalue().encode())

    def to_json(self, path: FilePath) -> None:
        """An object with a list per name; folders are created."""
        write_whole(path, json.dumps(self, indent=1).encode())


class Means:
    """Running means of loss terms, weighted by the number of samples in each batch."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.samples = 0

    def add(self, terms: Mapping[str, float], n: int) -> None:
        self.samples += n
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * n

    def join(self, other: Means) -> None:
        """Add what another process has counted."""
        self.samples += other.samples
        for name, total in other.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + total

    def means(self) -> dict[str, float]:
        means = {name: total / self.samples for name, total in self.sums.items()}
        return means if "loss" in means else {"loss": sum(means.values()), **means}
