"""A run's history in files."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scratchae.callbacks import Callback
from scratchae.files.disk import check_place
from scratchae.files.storage import FilePath, write_whole
from scratchae.history import History


def to_csv(self: History, path: FilePath) -> None:
    """One line per epoch, with a header; folders are created."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["epoch", *self])
    writer.writerows([epoch, *row] for epoch, row in enumerate(zip(*self.values(), strict=True), 1))
    write_whole(path, text.getvalue().encode())


def to_json(self: History, path: FilePath) -> None:
    """An object with a list per name; folders are created."""
    write_whole(path, json.dumps(self, indent=1).encode())


class SaveHistory(Callback):
    """Writes the history after every epoch, as CSV or JSON by the suffix of `path`."""

    only_writes = True

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        if self.path.suffix not in (".csv", ".json"):
            raise ValueError(f"SaveHistory({str(path)!r}): expected a name that ends in .csv or .json")

    def on_fit_begin(self, trainer: Any) -> None:
        check_place(self.path)

    def on_epoch_end(self, trainer: Any, row: Mapping[str, float]) -> None:
        write = trainer.history.to_csv if self.path.suffix == ".csv" else trainer.history.to_json
        write(self.path)
