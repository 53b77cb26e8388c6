"""Columns of tables as features of a model, and back.

    numbers       one feature: (x - mean) / scale
    categories    one feature per category: 1 for the category of the row, and 0 for the others
    a gap         the median of the column, or its most frequent category; it adds nothing to the error of a row
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scratchae.checks import check_number, shown
from scratchae.data.idx import DataError
from scratchae.data.tables import Table, as_numbers, in_short, read_texts
from scratchae.files.storage import FilePath

MOST_CATEGORIES = 100


@dataclass(frozen=True)
class Numbers:
    """A column of numbers: its mean, its standard deviation, and the value for gaps."""

    name: str
    mean: float
    scale: float
    gap: float
    width = 1

    @classmethod
    def of(cls, name: str, values: np.ndarray) -> Numbers:
        if (odd := np.flatnonzero(np.isinf(values))).size:
            raise DataError(f"the column {name!r} holds {values[odd[0]]} in row {odd[0]}; expected finite numbers")
        known = values[~np.isnan(values)]
        with np.errstate(over="ignore", invalid="ignore"):
            mean, scale, largest = float(known.mean()), float(known.std()), float(abs(known).max())
        if not np.isfinite(scale):
            raise DataError(f"the column {name!r} holds numbers as large as {largest:g}; divide it by a constant")
        constant = scale <= 1e-12 * largest
        return cls(name, mean, 1.0 if constant else scale, float(np.median(known)))

    @staticmethod
    def read(values: Any) -> np.ndarray:
        return np.asarray(values, np.float64)

    @staticmethod
    def known(values: np.ndarray) -> np.ndarray:
        return ~np.isnan(values)

    def encode(self, values: np.ndarray) -> np.ndarray:
        return ((np.where(self.known(values), values, self.gap) - self.mean) / self.scale)[:, None]

    def decode(self, features: np.ndarray) -> np.ndarray:
        return features[:, 0] * self.scale + self.mean

    def check(self) -> None:
        check_number("mean", self.mean, "(-inf, inf)")
        check_number("gap", self.gap, "(-inf, inf)")
        check_number("scale", self.scale, "(0, inf)")


@dataclass(frozen=True)
class Categories:
    """A column of categories: their names in order, and the category for gaps."""

    name: str
    categories: list[str]
    gap: str

    @property
    def width(self) -> int:
        return len(self.categories)

    @classmethod
    def of(cls, name: str, values: np.ndarray) -> Categories:
        found, counts = np.unique(values[values != ""], return_counts=True)
        if len(found) > MOST_CATEGORIES:
            raise DataError(
                f"the column {name!r} holds {len(found)} different texts, such as {shown(found[0])}; expected at most "
                f"{MOST_CATEGORIES} categories: leave it out by without={name!r}, or make numbers of it"
            )
        return cls(name, found.tolist(), found[counts.argmax()])

    @staticmethod
    def read(values: Any) -> np.ndarray:
        texts = ["" if x is None or x != x else str(x) for x in np.asarray(values).tolist()]
        return np.array(texts, object)

    @staticmethod
    def known(values: np.ndarray) -> np.ndarray:
        return values != ""

    def encode(self, values: np.ndarray) -> np.ndarray:
        places = {text: i for i, text in enumerate(self.categories)}
        found = np.array([places.get(text or self.gap, -1) for text in values])
        return (found[:, None] == np.arange(self.width)).astype(np.float64)

    def decode(self, features: np.ndarray) -> np.ndarray:
        return np.array(self.categories, object)[features.argmax(axis=1)]

    def check(self) -> None:
        texts = self.categories
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in (*texts, self.gap)):
            raise TypeError(f"categories={shown(texts)}, gap={shown(self.gap)}; expected texts")


class Columns:
    """How the columns of a table become the features of a model, and back: `Columns.of(table)` measures them.

    `scratchae train` keeps the columns in the model's file, and `sa.load_model` gives them as `model.columns`. A table
    is a dict of arrays (n,), see `load_table`, or a DataFrame of pandas. Columns that the model does not take are
    ignored.

    Attributes: `names` of the columns, and `width`, the number of features.
    """

    def __init__(self, columns: Iterable[Any]):
        self._columns = list(columns)
        self.names = [column.name for column in self._columns]
        self._widths = np.array([column.width for column in self._columns])
        self.width = int(self._widths.sum())

    @classmethod
    def of(cls, table: Any) -> Columns:
        """The columns of a training table: means and standard deviations, or categories.

        Raises DataError (a ValueError) for a column without values, with numbers that are not finite, or with more
        than 100 categories.
        """
        columns = []
        for name in table:
            if not isinstance(name, str):
                raise DataError(f"a column is called {shown(name)}; expected a text")
            kind: Any = Numbers if np.asarray(table[name]).dtype.kind in "fiub" else Categories
            values = kind.read(table[name])
            if values.ndim != 1 or not kind.known(values).any():
                raise DataError(f"the column {name!r} of shape {values.shape} holds no values; leave it out")
            columns.append(kind.of(name, values))
        return cls(columns)

    def load(self, path: FilePath) -> Table:
        """These columns of a file. Raises DataError for a missing column, and for a text in a column of numbers."""
        texts, lines, parse = read_texts(path)
        self._check_names(texts, f"{path} has")
        table = {}
        for column in self._columns:
            given = texts[column.name]
            if isinstance(column, Numbers):
                numbers = [parse(text) for text in given]
                odd = [i for i, (text, x) in enumerate(zip(given, numbers, strict=True)) if text and x is None]
                if odd:
                    found = f"{path}, line {lines[odd[0]]}: {shown(given[odd[0]])} in the column {column.name!r}"
                    raise DataError(f"{found} is no number, one of {len(odd)}; mend the file")
                table[column.name] = as_numbers(numbers)
            else:
                table[column.name] = np.array(given, object)
        return table

    def encode(self, table: Any) -> np.ndarray:
        """The features of a table, float32 (n, width). All features of a category unknown to the model are 0."""
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are told where they matter
            parts = [column.encode(values) for column, values in self._values(table)]
            return np.concatenate(parts, axis=1).astype(np.float32)

    def decode(self, features: Any) -> Table:
        """The table of features (n, width). The category is the one of the largest feature."""
        features = np.asarray(features, np.float64)
        if features.ndim != 2 or features.shape[1] != self.width:
            raise ValueError(f"decode got shape {features.shape}; expected (n, {self.width}), features of the columns")
        parts = np.split(features, np.cumsum(self._widths)[:-1], axis=1)
        return {column.name: column.decode(part) for column, part in zip(self._columns, parts, strict=True)}

    def errors(self, table: Any, reconstruct: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """What each column adds to the error of each row, (n, columns). The sum over the columns is the row's error.

        This error is the mean squared error of `reconstruct(features)` over the known features. A gap adds 0.
        """
        features = self.encode(table)
        known = np.stack([column.known(values) for column, values in self._values(table)], axis=1)
        with np.errstate(all="ignore"):  # an overflow is an error of infinity, and needs no warning
            squares = (np.asarray(reconstruct(features), np.float64) - features) ** 2
            sums = np.add.reduceat(squares, np.cumsum(self._widths) - self._widths, axis=1)
            return np.where(known, sums, 0) / (known @ self._widths)[:, None]

    def notes(self, table: Any) -> list[str]:
        """A line for each column with gaps, and for each category that is unknown to the model."""
        told = []
        for column, values in self._values(table):
            known = column.known(values)
            if not known.all():
                told.append(f"{column.name}: {(~known).sum()} of {len(values)} values are gaps")
            if isinstance(column, Categories):
                for text in sorted({*values[known]} - {*column.categories}):
                    rows = int((values == text).sum())
                    told.append(f"{column.name}: {shown(text)} is unknown to the model, in {rows} rows")
        return told

    def describe(self) -> list[dict[str, Any]]:
        """The columns as JSON values, for `from_description`."""
        return [asdict(column) for column in self._columns]

    @classmethod
    def from_description(cls, given: Any) -> Columns:
        """Columns from JSON values, which may come from another person. Raises ValueError or TypeError."""
        if not isinstance(given, list) or not given or not all(isinstance(entry, dict) for entry in given):
            raise TypeError(f"columns={shown(given)}; expected a list of dicts")
        columns = [(Numbers if "mean" in entry else Categories)(**entry) for entry in given]
        for column in columns:
            if not isinstance(column.name, str):
                raise TypeError(f"a column is called {shown(column.name)}; expected a text")
            column.check()
        return cls(columns)

    def _values(self, table: Any) -> list[tuple[Any, np.ndarray]]:
        """Each column with its values. Raises ValueError for a missing column, and for columns of unequal lengths."""
        self._check_names(table, "the table has")
        found = [(column, column.read(table[column.name])) for column in self._columns]
        if len({values.shape for _, values in found}) > 1:
            shapes = {column.name: values.shape for column, values in found}
            raise ValueError(f"the columns have shapes {shown(shapes)}; expected (n,) for each")
        return found

    def _check_names(self, table: Any, has: str) -> None:
        if missing := [name for name in self.names if name not in table]:
            listed = f"missing are {in_short(missing)}; the columns are {in_short(map(str, table))}"
            raise DataError(f"{has} not all columns that the model takes: {listed}")
