"""Tables in files of comma-separated values.

A table is a dict from the columns' names to arrays (n,): float64 with NaN for a gap, or texts with "" for a gap.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from scratchae.checks import shown
from scratchae.data.idx import DataError
from scratchae.files.storage import FilePath, write_whole

Table: TypeAlias = dict[str, np.ndarray]

SUFFIXES = {".csv", ".tsv"}
_GAPS = {"", "-", "?", "na", "n/a", "#n/a", "<na>", "nan", "null", "none"}


def load_table(path: FilePath, categories: Iterable[str] = (), without: Iterable[str] = ()) -> Table:
    """The columns of a file of comma-separated values by name, each an array (n,).

    A column whose values are all numbers is float64, with NaN for a gap. Other columns are text, with "" for a gap.
    A gap is an empty field, or one of -, ?, NA, N/A, NaN, null and None.

    The first line holds the names. A first line of numbers alone is a row, and the columns are called "1", "2", ... A
    line is separated by commas, semicolons or tabs, whichever the first line has most of. With semicolons, 1,5 is a
    number too.

    Args:
        path: the file, in UTF-8.
        categories: columns of numbers that are to be text, such as codes of regions.
        without: columns to leave out, such as row numbers and labels.

    Raises DataError (a ValueError) for a file that is no such table, and for a text in a column of numbers. The
    message names the line. Raises OSError for a file that cannot be read.
    """
    texts, lines, parse = read_texts(path)
    categories, without = _listed("categories", categories), _listed("without", without)
    if unknown := [name for name in (*categories, *without) if name not in texts]:
        raise DataError(f"{path} has no column {unknown[0]!r}; its columns are {in_short(texts)}")
    kept = {name: column for name, column in texts.items() if name not in without}
    if unnamed := [name for i, name in enumerate(texts, 1) if name == f"column {i}" and name in kept]:
        found = f"{path}: {unnamed[0]} has no name, as where pandas writes its index"
        raise DataError(f"{found}; give it a name in the file, or leave it out by without={unnamed[0]!r}")
    if not kept:
        raise DataError(f"{path}: no column is left of {in_short(texts)}; leave out fewer")
    table = {}
    for name, column in kept.items():
        numbers = [] if name in categories else [parse(text) for text in column]
        if all(text == "" for text in column):
            raise DataError(f"{path}: the column {name!r} holds no values; leave it out by without={name!r}")
        odd = [i for i, (text, x) in enumerate(zip(column, numbers, strict=False)) if text and x is None]
        if numbers and odd and 2 * len(odd) < sum(text != "" for text in column):
            found = f"{path}, line {lines[odd[0]]}: {shown(column[odd[0]])} in the column {name!r} is no number, one of"
            raise DataError(f"{found} {len(odd)}; mend the file, or name the column among the categories")
        is_text = name in categories or odd
        table[name] = np.array(column, object) if is_text else as_numbers(numbers)
    return table


def write_table(path: FilePath, table: Mapping[str, Any]) -> None:
    """Write a table as a file of comma-separated values, whole or not at all. A gap becomes an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*([_field(x) for x in column] for column in table.values()), strict=True))
    write_whole(path, text.getvalue().encode())


def _field(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return "" if value != value else f"{value:.7g}"
    return str(value)


def as_numbers(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if x is None else x for x in values], np.float64)


def read_texts(path: FilePath) -> tuple[dict[str, list[str]], list[int], Callable[[str], float | None]]:
    """The texts of each column, the rows' lines in the file, and the function that reads a number."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = next(filter(str.strip, file), "")
            separator = max(",;\t", key=first.count)
            file.seek(0)
            reader = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
            found = [(reader.line_num, [text.strip() for text in row]) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no table in UTF-8 text: {error}; expected comma-separated values") from None
    if not found:
        raise DataError(f"{path} is empty; expected a line of names, and a line for each row")
    parse = _decimal_comma if separator == ";" else _number
    names = found[0][1]
    if all(parse(name) is not None for name in names):
        names = [str(i) for i in range(1, len(names) + 1)]
    else:
        names = [name or f"column {i}" for i, name in enumerate(names, 1)]
        del found[0]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: two columns are called {twice!r}; give each a name of its own")
    if not found:
        raise DataError(f"{path} has names, but no rows; expected one or more")
    for line, row in found:
        if len(row) != len(names):
            raise DataError(f"{path}, line {line} has {len(row)} fields; expected {len(names)}, as in the first line")
        if all(text.lower() in _GAPS for text in row):
            raise DataError(f"{path}, line {line} holds no value; remove it")
    columns = zip(*(row for _, row in found), strict=True)
    texts = [["" if text.lower() in _GAPS else text for text in column] for column in columns]
    return dict(zip(names, texts, strict=True)), [line for line, _ in found], parse


def _number(text: str) -> float | None:
    try:
        return float(text) if text and "_" not in text else None  # Python reads 1_000
    except ValueError:
        return None


def _decimal_comma(text: str) -> float | None:
    return _number(text.replace(",", "."))


def _listed(option: str, names: Iterable[str]) -> list[str]:
    names = [names] if isinstance(names, str) else list(names)
    if odd := [name for name in names if not isinstance(name, str)]:
        raise TypeError(f"{option}={shown(names)}: {shown(odd[0])} is no column's name")
    return names


def in_short(names: Iterable[str]) -> str:
    names = [repr(name) for name in names]
    return ", ".join(names[:12]) + f", and {len(names) - 12} more" * (len(names) > 12)
