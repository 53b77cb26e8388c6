"""Inputs of commands: pictures, arrays and tables, as the arrays that a model sees."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scratchae import data
from scratchae.data import tables
from scratchae.data.columns import Columns
from scratchae.data.files import SUFFIXES, image_files, read_images

SETS: dict[str, Any] = {"sample": data.mnist_sample, "mnist": data.mnist, "fashion": data.fashion_mnist}


class Inputs(NamedTuple):
    """The items of one source.

    Attributes:
        values: what the model sees, float32 (n, ...).
        item: what an item is called in messages.
        files: the names of pictures in a folder.
        table, columns: of a table.
    """

    values: Any
    item: str = "image"
    files: Sequence[str] = ()
    table: tables.Table | None = None
    columns: Columns | None = None

    def check_finite(self, source: str) -> None:
        check_finite(source, self.values, self.item)

    def notes(self) -> list[str]:
        """What a reader should know of a table."""
        return [] if self.columns is None else [printable(note) for note in self.columns.notes(self.table)]


def read_for(model: Any, source: str, shape: Sequence[int]) -> Inputs:
    """The items of a source, for a model that takes items of `shape`."""
    if model.columns is not None:
        if not is_table(source):
            listed = tables.in_short(model.columns.names)
            raise ValueError(f"{source} is no table, but the model takes one; expected a .csv file with {listed}")
        table = model.columns.load(source)
        return Inputs(model.columns.encode(table), "row", table=table, columns=model.columns)
    if is_table(source):
        found = f"{source} is a table, but the model takes items of shape {tuple(shape)}, and knows no columns"
        raise ValueError(f"{found}; train a model on a table with --data {source}")
    if is_pictures(source) and len(shape) != 3:
        raise ValueError(f"{source} holds pictures; the model takes items of shape {tuple(shape)}")
    inputs = read_pictures(source, shape[1:], shape[0]) if is_pictures(source) else read_array(source)
    if list(inputs.values.shape[1:]) != list(shape):
        raise ValueError(f"{source} holds items of shape {inputs.values.shape[1:]}; the model takes {tuple(shape)}")
    return inputs


def is_table(source: str) -> bool:
    return source not in SETS and Path(source).suffix.lower() in tables.SUFFIXES and not os.path.isdir(source)


def is_pictures(source: str) -> bool:
    """Whether a source is a folder of pictures, or one picture."""
    return source not in SETS and (os.path.isdir(source) or Path(source).suffix.lower() in SUFFIXES)


def read_pictures(source: str, sides: Sequence[int], channels: int) -> Inputs:
    """A folder of pictures, or one picture, as float32 (n, channels, height, width) in [0, 1]."""
    files = image_files(source) if os.path.isdir(source) else [Path(source)]
    height, width = sides
    names = [os.path.relpath(file, source) if os.path.isdir(source) else source for file in files]
    return Inputs(read_images(files, (height, width), channels), files=names)


def read_array(source: str, split: str = "train") -> Inputs:
    """The images of a known set, or the items in a file. Bytes become numbers in [0, 1]."""
    values = SETS[source](split)[0] if source in SETS else data.load_array(source)
    if values.ndim < 2 or not values.size:
        raise ValueError(f"{source} holds an array of shape {values.shape}; expected images (n, ...), one or more")
    is_bytes = values.dtype == np.uint8
    with np.errstate(over="ignore"):  # of float64; infinities raise an error later, or are anomalies
        values = values.astype(np.float32) / 255 if is_bytes else values.astype(np.float32, copy=False)
    return Inputs(values)


def read_labels(items: str | None, file: str | None, n: int, split: str = "train") -> np.ndarray | None:
    """The labels (n,) of `items` from their set or from a file; None if there are none.

    Raises ValueError for anything but `n` whole numbers.
    """
    if file is None:
        return SETS[items](split)[1] if items in SETS else None
    labels = data.load_array(file)
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        found = f"{file} holds {labels.dtype} of shape {labels.shape}"
        raise ValueError(f"{found}; expected labels of shape ({n},), whole numbers from 0, one for each item")
    return np.array(labels)


def read_table(source: str, categories: Sequence[str], without: Sequence[str]) -> Inputs:
    """A training table, and its columns with their scaling."""
    table = data.load_table(source, categories, without)
    try:
        columns = Columns.of(table)
    except data.DataError as error:
        raise data.DataError(f"{source}: {error}") from None
    return Inputs(columns.encode(table), "row", table=table, columns=columns)


def check_finite(source: str, values: np.ndarray, item: str) -> None:
    flat = values.reshape(len(values), -1)
    finite = np.isfinite(flat.min(axis=1)) & np.isfinite(flat.max(axis=1))
    if (odd := np.flatnonzero(~finite)).size:
        raise ValueError(f"{source}: {item} number {odd[0]} is not finite, one of {odd.size}; remove these")


def printable(text: str) -> str:
    """Names in files may come from other people: no control character may reach the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
