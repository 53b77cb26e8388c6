"""Tables in files, and their columns as features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchae import data
from scratchae.data import Columns, DataError

TEXT = """\
age, income,region,plan
41,3000.5,north,1
?,NA,south,2
"18",-1e3,north,1
60,,,3
"""


def written(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_columns_are_numbers_or_texts_with_gaps(tmp_path: Path) -> None:
    table = data.load_table(written(tmp_path, TEXT), categories=["plan"])
    assert list(table) == ["age", "income", "region", "plan"]
    np.testing.assert_array_equal(table["age"], [41, np.nan, 18, 60])
    np.testing.assert_array_equal(table["income"], [3000.5, np.nan, -1000, np.nan])
    assert table["region"].tolist() == ["north", "south", "north", ""]
    assert table["plan"].tolist() == ["1", "2", "1", "3"]
    assert list(data.load_table(written(tmp_path, TEXT), without=("age", "plan"))) == ["income", "region"]
    assert list(data.load_table(written(tmp_path, TEXT), without="age")) == ["income", "region", "plan"]


@pytest.mark.parametrize(("text", "values"), [
    ("a,b\n1.5,2\n", [1.5, 2]),
    ("a;b\n1,5;2\n", [1.5, 2]),
    ("a;b\n1.5;2\n", [1.5, 2]),
    ("a\tb\n1.5\t2\n", [1.5, 2]),
    ("\ufeffa,b\r\n1.5,2\r\n\r\n", [1.5, 2]),
    ("\n\na,b\n\n1.5,2\n", [1.5, 2]),
])  # fmt: skip
def test_separators_decimal_commas_marks_and_blank_lines(tmp_path: Path, text: str, values: list) -> None:
    table = data.load_table(written(tmp_path, text))
    assert list(table) == ["a", "b"] and [column.tolist() for column in table.values()] == [[v] for v in values]


def test_a_first_line_of_numbers_is_a_row(tmp_path: Path) -> None:
    table = data.load_table(written(tmp_path, "1,2.5\n3,4\n"))
    assert {name: column.tolist() for name, column in table.items()} == {"1": [1, 3], "2": [2.5, 4]}


def test_names_and_texts_may_have_separators_and_lines_in_them(tmp_path: Path) -> None:
    table = data.load_table(written(tmp_path, '"a, b",c\n"x\ny",1\nz,2\n'))
    assert table["a, b"].tolist() == ["x\ny", "z"] and table["c"].tolist() == [1, 2]


MISTAKES: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "is empty; expected a line of names"),
    "names alone": ("a,b\n", "has names, but no rows"),
    "a short line": ('a,b\n1,2\n"x\ny"\n', "line 4 has 1 fields; expected 2, as in the first line"),
    "a line of gaps": ("a,b\n1,2\n,NA\n", "line 3 holds no value; remove it"),
    "one name twice": ("a,a\n1,2\n", "two columns are called 'a'"),
    "an index of pandas": (",a\n0,1\n1,2\n", "column 1 has no name, as where pandas writes its index"),
    "a column of gaps": ("a,b\n1,\n2,?\n", "the column 'b' holds no values; leave it out by without='b'"),
    "a word among numbers": ("a\n1\n2\n3\n1_000\nten\n", "line 5: '1_000' in the column 'a' is no number, one of 2"),
    "bytes": (b"\xff\xfe\x00\x01", "is no table in UTF-8 text"),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00", "is no table in UTF-8 text"),
    "a quotation mark": ('a,b\n"x,1\n', "is no table in UTF-8 text: unexpected end of data"),
    "a huge field": ("a\n" + "x" * 200_000, "field larger than field limit"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_what_is_no_table_is_refused_with_its_line(tmp_path: Path, case: str) -> None:
    text, message = MISTAKES[case]
    with pytest.raises(DataError, match="t.csv.*" + message.replace("?", r"\?")):
        data.load_table(written(tmp_path, text))


def test_names_that_are_not_there_are_told(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT)
    for option in ("categories", "without"):
        with pytest.raises(DataError, match="no column 'agee'; its columns are 'age', 'income', 'region', 'plan'"):
            data.load_table(path, **{option: ["agee"]})
    with pytest.raises(TypeError, match=r"without=\[3\]: 3 is no column's name"):
        data.load_table(path, without=[3])  # type: ignore[list-item]
    with pytest.raises(DataError, match="no column is left"):
        data.load_table(path, without=["age", "income", "region", "plan"])
    with pytest.raises(FileNotFoundError):
        data.load_table(tmp_path / "nowhere.csv")


def test_a_table_is_written_and_read_back(tmp_path: Path) -> None:
    table = {"a, b": np.array([1.5, np.nan, -1e-9]), "Na": np.array(["x", 'y"\n;', ""], object), "n": [1, 2, 3]}
    data.write_table(tmp_path / "t.csv", table)
    back = data.load_table(tmp_path / "t.csv")
    assert list(back) == ["a, b", "Na", "n"]  # Na is a gap among values, and sodium among names
    np.testing.assert_array_equal(back["a, b"], table["a, b"])
    assert back["Na"].tolist() == ["x", 'y"\n;', ""] and back["n"].tolist() == [1, 2, 3]


# --- features -------------------------------------------------------------------------------------


def table(**more: Any) -> dict[str, Any]:
    return {
        "age": np.array([20.0, 40, np.nan, 60]), "region": np.array(["north", "south", "", "north"], object), **more
    }  # fmt: skip


def test_numbers_are_scaled_and_categories_become_zeros_and_ones() -> None:
    columns = Columns.of(table())
    features = columns.encode(table())
    scale = np.std([20, 40, 60])
    assert columns.names == ["age", "region"] and columns.width == 3 and features.dtype == np.float32
    np.testing.assert_allclose(features[:, 0], np.array([-20, 0, 0, 20]) / scale, rtol=1e-6)  # a gap: the median
    assert features[:, 1:].tolist() == [[1, 0], [0, 1], [1, 0], [1, 0]]  # a gap: the most frequent
    back = columns.decode(features)
    np.testing.assert_allclose(back["age"], [20, 40, 40, 60], rtol=1e-6)
    assert back["region"].tolist() == ["north", "south", "north", "north"]


def test_errors_are_added_by_column_over_what_is_known() -> None:
    columns = Columns.of(table())
    odd = table()
    odd["region"] = np.array(["north", "east", "", ""], object)
    features = columns.encode(odd)
    assert features[1, 1:].tolist() == [0, 0]  # an unknown category
    found = columns.errors(odd, lambda x: np.zeros_like(x) + [0, 1, 0])
    a = features[:, 0].astype(float) ** 2
    np.testing.assert_allclose(found, [[a[0] / 3, 0], [0, 1 / 3], [np.nan, np.nan], [a[3], 0]], rtol=1e-6)
    assert columns.notes(odd) == [
        "age: 1 of 4 values are gaps", "region: 2 of 4 values are gaps",
        "region: 'east' is unknown to the model, in 1 rows",
    ]  # fmt: skip


def test_a_constant_column_keeps_its_unit() -> None:
    columns = Columns.of({"a": np.full(5, 0.1), "b": np.arange(5)})
    np.testing.assert_allclose(columns.encode({"a": [0.1, 2.1], "b": [2, 2]}), [[0, 0], [2, 0]], atol=1e-6)


def test_data_frames_are_tables_too() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"age": [20.0, 40, None, 60], "region": ["north", "south", None, "north"]})
    np.testing.assert_array_equal(Columns.of(frame).encode(frame), Columns.of(table()).encode(table()))


def test_columns_are_found_by_name_in_a_file(tmp_path: Path) -> None:
    columns = Columns.of(table(plan=np.array(["1", "2", "1", "2"], object)))
    found = columns.load(written(tmp_path, "id,plan,region,age\nx7,1,north,?\nx8,3,,22\n"))
    np.testing.assert_array_equal(found["age"], [np.nan, 22])
    assert found["plan"].tolist() == ["1", "3"] and list(found) == columns.names
    with pytest.raises(DataError, match="t.csv has not all columns.*: missing are 'age', 'plan'; the columns are 'reg"):
        columns.load(written(tmp_path, "region,x\nnorth,1\n"))
    with pytest.raises(DataError, match="t.csv, line 3: 'old' in the column 'age' is no number, one of 1"):
        columns.load(written(tmp_path, "plan,region,age\n1,north,20\n1,north,old\n"))


def test_a_description_goes_through_json_and_back() -> None:
    columns = Columns.of(table())
    described = json.loads(json.dumps(columns.describe()))
    again = Columns.from_description(described)
    assert again.describe() == described
    np.testing.assert_array_equal(again.encode(table()), columns.encode(table()))


AGE = {"name": "age", "mean": 0.0, "scale": 1.0, "gap": 0.0}
REGION = {"name": "region", "categories": ["a", "b"], "gap": "a"}
CRAFTED: dict[str, Any] = {
    "a number": 5, "nothing": [], "text": ["age"], "no name": [{**AGE, "name": 3}],
    "no scale": [{"name": "age", "mean": 0.0}], "a scale of 0": [{**AGE, "scale": 0}],
    "a scale of NaN": [{**AGE, "scale": float("nan")}], "an infinite mean": [{**AGE, "mean": float("inf")}],
    "a mean of text": [{**AGE, "mean": "x"}], "a gap that is a list": [{**AGE, "gap": []}],
    "another field": [{**AGE, "width": 10**9}], "no categories": [{**REGION, "categories": []}],
    "categories in a text": [{**REGION, "categories": "ab"}], "a number for a category": [{**REGION, "gap": 1}],
    "a list for a category": [{**REGION, "categories": [["a"]]}],
}  # fmt: skip


@pytest.mark.parametrize("case", CRAFTED)
def test_a_crafted_description_is_refused(case: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        Columns.from_description(CRAFTED[case])


UNFIT: dict[str, tuple[Any, str]] = {
    "an infinity": ({"a": [1.0, np.inf]}, "the column 'a' holds inf in row 1"),
    "large numbers": ({"a": [1e308, -1e308]}, "numbers as large as 1e.308; divide it by a constant"),
    "gaps alone": ({"a": [np.nan]}, "the column 'a' of shape .1,. holds no values"),
    "many texts": ({"a": [f"t{i}" for i in range(200)]}, "200 different texts, such as 't0'; expected at most 100"),
    "a name that is a number": ({3: [1.0]}, "a column is called 3; expected a text"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_columns_that_cannot_be_scaled_are_named(case: str) -> None:
    given, message = UNFIT[case]
    with pytest.raises(DataError, match=message):
        Columns.of(given)


def test_tables_that_do_not_fit_the_columns_are_refused() -> None:
    columns = Columns.of(table())
    with pytest.raises(ValueError, match="the table has not all columns.*: missing are 'region'"):
        columns.encode({"age": [1.0]})
    with pytest.raises(ValueError, match=r"the columns have shapes .*expected \(n,\) for each"):
        columns.encode({"age": [1.0], "region": ["north", "south"]})
    with pytest.raises(ValueError, match=r"decode got shape \(2, 2\); expected \(n, 3\)"):
        columns.decode(np.zeros((2, 2)))
