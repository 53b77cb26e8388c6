"""The command line on tables, on single pictures, and with convolutional kinds; its models in Python."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from test_cli import PLAIN, refused, run

import scratchae as sa
from scratchae import autoencoders, data, save_checkpoint
from scratchae.__main__ import main

COLUMNS = [
    {"name": "a", "mean": 0.0, "scale": 1.0, "gap": 0.0}, {"name": "b", "categories": ["x", "y"], "gap": "x"},
]  # fmt: skip


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of a person: c is a + b but for row 7 of new.csv, and the kind follows from a."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    a, b = rng.normal(50, 10, 400), rng.normal(0, 0.01, 400)
    table = {"id": np.arange(400), "a": a, "b": b, "c, sum": a + 1000 * b, "kind": np.where(a > 50, "high", "low")}
    data.write_table("table.csv", table)
    new = {name: column[:20].copy() for name, column in table.items() if name != "id"}
    new["c, sum"][7] += 60
    new["b"][3] = np.nan
    new["kind"] = np.array([*new["kind"][:5], "odd", *new["kind"][6:]], object)
    data.write_table("new.csv", new)
    np.save("faces.npy", rng.random((40, 1, 4, 4), dtype=np.float32))
    np.save("rows.npy", rng.standard_normal((40, 5)))
    Path("photos/below").mkdir(parents=True)
    for name in ("b.png", "below/a, c.png"):
        Image.fromarray(rng.integers(0, 256, (6, 6), np.uint8)).save(Path("photos") / name)
    return tmp_path


def trained(*arguments: str) -> None:
    run("train", "--data", "table.csv", "--without", "id", "--out", "m", *arguments)


def listed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def test_a_table_is_trained_on_and_its_odd_row_and_column_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    trained("--epochs", "60", "--sizes", "16,3", "--lr", "0.01")
    assert "table.csv: 400 rows become 5 features each" in capsys.readouterr().out
    run("anomaly", "m", "table.csv", "new.csv", "--quantile", "0.999")
    printed = capsys.readouterr().out
    assert "# threshold" in printed and "of 400 normal rows" in printed
    assert "# b: 1 of 20 values are gaps\n# kind: 'odd' is unknown to the model, in 1 rows\n" in printed
    rows = listed(printed)
    places = [f"{name}_{i}" for i in (1, 2, 3) for name in ("column", "share")]
    assert list(rows[0]) == ["number", "error", "anomalous", *places]
    assert {"5", "7"} <= {row["number"] for row in rows if row["anomalous"] == "1"}
    assert sum(row["anomalous"] == "1" for row in rows) <= 4
    assert rows[5]["column_1"] == "kind" and rows[7]["column_1"] in ("c, sum", "a", "b")
    assert 0.5 < sum(float(rows[7][f"share_{i}"]) for i in (1, 2, 3)) <= 1.001
    assert "b" not in [rows[3][f"column_{i}"] for i in (1, 2, 3)], "a gap adds nothing"


def test_the_scaling_travels_to_python(capsys: pytest.CaptureFixture[str]) -> None:
    trained("--epochs", "2")
    capsys.readouterr()
    run("anomaly", "m", "table.csv", "new.csv")
    rows = listed(capsys.readouterr().out)
    model = sa.load_model("m")
    table = model.columns.load("new.csv")
    errors = model.columns.errors(table, model.reconstruct)
    np.testing.assert_allclose([float(row["error"]) for row in rows], errors.sum(axis=1), rtol=1e-5)
    run("encode", "m", "new.csv", "codes.npy")
    np.testing.assert_allclose(np.load("codes.npy"), model.transform(model.columns.encode(table)), rtol=1e-6)
    run("info", "m")
    printed = capsys.readouterr().out
    assert "plain, for inputs of shape (5,)" in printed and "kind: categories ['high', 'low'], a gap is" in printed
    run("train", "--data", "faces.npy", "--epochs", "1", "--out", "pictures")
    assert sa.load_model("pictures").columns is None


def test_tables_come_back_in_their_own_units() -> None:
    trained("--epochs", "100", "--sizes", "32,4", "--lr", "0.01")
    run("reconstruct", "m", "table.csv", "back.csv")
    back, table = data.load_table("back.csv"), data.load_table("table.csv", without="id")
    assert list(back) == list(table)
    assert np.abs(back["a"] - table["a"]).mean() < 2 and (back["kind"] == table["kind"]).mean() > 0.9
    run("encode", "m", "table.csv", "codes.npy")
    run("decode", "m", "codes.npy", "again.csv")
    np.testing.assert_allclose(data.load_table("again.csv")["a"], back["a"], rtol=1e-4)
    run("reconstruct", "m", "table.csv", "features.npy")
    assert np.load("features.npy").shape == (400, 5)
    trained("--kind", "variational", "--epochs", "2", "--beta", "0.1")
    run("sample", "m", "7", "new-rows.csv")
    assert {len(column) for column in data.load_table("new-rows.csv").values()} == {7}


def test_tables_on_a_gpu(stand_in: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    trained("--epochs", "1", "--device", "gpu")
    capsys.readouterr()
    for device in ("gpu", "cpu"):
        run("anomaly", "m", "table.csv", "new.csv", "--device", device)
    lines = capsys.readouterr().out.splitlines()
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]


@pytest.mark.parametrize("kind", autoencoders.KINDS)
def test_every_kind_takes_tables(kind: str) -> None:
    trained("--kind", kind, "--epochs", "1")
    run("anomaly", "m", "table.csv", "new.csv")
    run("encode", "m", "table.csv", "codes.npy")
    run("decode", "m", "codes.npy", "back.csv")
    run("sample", "m", "5", "drawn.csv", "--data", "table.csv", "--sampler", "normal")
    assert len(Path("drawn.csv").read_text().splitlines()) == 6


def test_codes_of_numbers_can_be_categories(capsys: pytest.CaptureFixture[str]) -> None:
    Path("codes.csv").write_text("zip code,x\n" + "".join(f"{i % 3},{i}\n" for i in range(30)))
    run("train", "--data", "codes.csv", "--categories", "zip code", "--epochs", "1", "--out", "m")
    assert sa.load_model("m").columns.width == 4
    run("train", "--data", "table.csv", "--without", 'id, "c, sum"', "--epochs", "1", "--out", "m")
    assert sa.load_model("m").columns.names == ["a", "b", "kind"]


def test_the_number_of_features_may_be_left_out_of_the_sizes() -> None:
    for sizes in ("16,2", "5,16,2"):
        trained("--sizes", sizes, "--epochs", "1")
        assert [p.shape for p in sa.load_model("m").encoder.parameters()] == [(16, 5), (16,), (2, 16), (2,)]


def test_infinite_numbers_are_anomalies_and_refused_among_normal_rows(capsys: pytest.CaptureFixture[str]) -> None:
    trained("--epochs", "1")
    Path("odd.csv").write_text('a,b,"c, sum",kind\ninf,0,50,low\n50,0,1e300,low\n')
    capsys.readouterr()
    run("anomaly", "m", "table.csv", "odd.csv")
    printed = capsys.readouterr()
    assert [row["anomalous"] for row in listed(printed.out)] == ["1", "1"] and printed.err == ""
    refused(capsys, "odd.csv: row number 0 has the error", "anomaly", "m", "odd.csv", "table.csv")
    refused(capsys, "odd.csv: row number 0 is not finite, one of 2; remove these", "encode", "m", "odd.csv", "x.npy")
    refused(capsys, "odd.csv: the column 'a' holds inf in row 0", "train", "--data", "odd.csv", "--out", "n")


def test_names_in_a_table_do_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Path("evil.csv").write_text("a\x1b[31m,b\n1,x\n2,y\x1b\n3,\n")
    run("train", "--data", "evil.csv", "--epochs", "1", "--out", "m")
    run("info", "m")
    run("anomaly", "m", "evil.csv", "evil.csv")
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err and "a?[31m" in printed.out


TRAIN = ("train", "--data")
MISTAKES = {
    "a picture's model": (("encode", "pictures", "table.csv", "x.npy"),
                          "table.csv is a table, but the model takes items of shape (1, 4, 4)"),
    "a table's model": (("encode", "m", "rows.npy", "x.npy"),
                        "rows.npy is no table, but the model takes one; expected a .csv file with 'a', 'b', 'c, sum'"),
    "a table's model, photos": (("encode", "m", "photos", "x.npy"), "photos is no table, but the model takes one"),
    "a vector's model": (("encode", "vectors", "photos/b.png", "x.npy"),
                         "photos/b.png holds pictures; the model takes items of shape (5,)"),
    "conv": ((*TRAIN, "table.csv", "--kind", "conv-denoising"),
             "--kind conv-denoising takes pictures, and table.csv is a table"),
    "a column": ((*TRAIN, "table.csv", "--without", "id,label"), "table.csv has no column 'label'; its columns are"),
    "without a table": ((*TRAIN, "faces.npy", "--without", "a"),
                        "--without is an option for a table, and --data faces.npy is none"),
    "a size": ((*TRAIN, "table.csv", "--size", "8"), "--size is an option for pictures, and --data table.csv is none"),
    "many categories": ((*TRAIN, "table.csv", "--categories", "a"), "table.csv: the column 'a' holds 4"),
    "negative numbers": ((*TRAIN, "rows.npy"),
                         "--loss bce takes values in [0, 1]; scale the values, or train with --loss mse --output none"),
    "negative numbers under cb": ((*TRAIN, "rows.npy", "--loss", "cb"), "--loss cb takes values in [0, 1]"),
    "a picture's ending": (("reconstruct", "m", "table.csv", "x.png"), "expected a name that ends in .npy or .csv"),
    "a table's ending": (("reconstruct", "pictures", "faces.npy", "x.csv"), "a name that ends in .npy or .png"),
    "codes in a table": (("encode", "m", "table.csv", "x.csv"), "x.csv: expected a name that ends in .npy"),
    "a missing column": (("anomaly", "m", "table.csv", "other.csv"), "other.csv has not all columns that the model"),
    "an option": ((*TRAIN, "faces.npy", "--beta", "1"),
                  "--beta is no option of --kind plain; expected --activation, --output, --loss"),
    "a flat code": ((*TRAIN, "faces.npy", "--kind", "variational", "--code-size", "2"),
                    "--code-size is no option of --kind variational"),
    "no code": ((*TRAIN, "faces.npy", "--kind", "conv-variational"), "needs --code-size, the length of the code"),
    "no epochs": ((*TRAIN, "faces.npy", "--epochs", "0"), "epochs=0"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    trained("--epochs", "1")
    run("train", "--data", "faces.npy", "--epochs", "1", "--out", "pictures")
    run("train", "--data", "rows.npy", "--epochs", "1", "--loss", "mse", "--output", "none", "--out", "vectors")
    Path("other.csv").write_text("a,b\n1,2\n")
    arguments, message = MISTAKES[case]
    capsys.readouterr()
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


CRAFTED = {
    "no list": {**PLAIN, "columns": 5},
    "another width": {**PLAIN, "columns": COLUMNS},
    "pictures": {**PLAIN, "shape": [1, 16], "columns": COLUMNS},
    "a scale of 0": {**PLAIN, "sizes": [3, 2], "shape": [3], "columns": [{**COLUMNS[0], "scale": 0}, COLUMNS[1]]},
}


@pytest.mark.parametrize("case", CRAFTED)
def test_crafted_columns_are_refused(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    good = {**PLAIN, "sizes": [3, 2], "shape": [3], "columns": COLUMNS}
    save_checkpoint("m", sa.Autoencoder.dense((3, 2)), build=good)
    run("info", "m")
    save_checkpoint("m", sa.Autoencoder.dense((CRAFTED[case]["sizes"][0], 2)), build=CRAFTED[case])
    refused(capsys, "m describes no model that can be built", "info", "m")
    with pytest.raises(ValueError, match="describes no model"):
        sa.load_model("m")


# --- pictures -------------------------------------------------------------------------------------


def test_one_picture_is_an_input(capsys: pytest.CaptureFixture[str]) -> None:
    run("train", "--data", "photos", "--size", "4", "--sizes", "16,2", "--epochs", "1", "--out", "m")
    run("encode", "m", "photos/b.png", "one.npy")
    run("encode", "m", "photos", "both.npy")
    np.testing.assert_allclose(np.load("one.npy")[0], np.load("both.npy")[0], rtol=1e-6)
    capsys.readouterr()
    run("anomaly", "m", "photos", "photos")
    rows = listed(capsys.readouterr().out)
    assert [row["file"] for row in rows] == ["b.png", os.path.join("below", "a, c.png")]


def test_standardised_arrays_are_trained_on_with_noise_outside_0_and_1() -> None:
    options = ("--loss", "mse", "--output", "none", "--sizes", "5,3", "--epochs", "1", "--out", "m")
    run("train", "--data", "rows.npy", "--kind", "denoising", *options)
    assert sa.load_model("m").clip is False
    run("train", "--data", "faces.npy", "--kind", "denoising", "--epochs", "1", "--out", "n")
    assert sa.load_model("n").clip is True


@pytest.mark.parametrize(("options", "kind"), [
    (("--kind", "conv"), sa.ConvAutoencoder),
    (("--kind", "conv-denoising", "--amount", "0.1", "--down", "stride"), sa.DenoisingAutoencoder),
    (("--kind", "conv-denoising", "--code-size", "3"), sa.DenoisingAutoencoder),
    (("--kind", "conv-variational", "--code-size", "3", "--beta", "0.5"), sa.VariationalAutoencoder),
    (("--kind", "conv-variational", "--code-size", "3", "--loss", "mse"), sa.VariationalAutoencoder),
])  # fmt: skip
def test_convolutions_combine_with_kinds(options: tuple, kind: type) -> None:
    run("train", "--data", "faces.npy", *options, "--sizes", "1,4,8", "--epochs", "1", "--out", "m")
    model = sa.load_model("m")
    assert type(model) is kind and isinstance(model.encoder[0], sa.nn.Conv2d)
    run("reconstruct", "m", "faces.npy", "back.npy")
    faces = np.load("faces.npy")
    np.testing.assert_allclose(np.load("back.npy"), model.reconstruct(faces), rtol=1e-5)
    if kind is sa.VariationalAutoencoder:
        assert model.transform(faces).shape == (40, 3)
        run("sample", "m", "4", "new.png")


@pytest.mark.parametrize("options", [
    ("--kind", "conv"), ("--kind", "conv", "--down", "stride"),
    ("--kind", "conv-denoising"), ("--kind", "conv-variational"),
])  # fmt: skip
def test_oblong_images_have_a_flat_code_too(options: tuple) -> None:
    wide = np.random.default_rng(0).random((20, 1, 4, 8), np.float32)
    np.save("wide.npy", wide)
    run("train", "--data", "wide.npy", *options, "--sizes", "1,4,8", "--code-size", "3", "--epochs", "1", "--out", "m")
    run("encode", "m", "wide.npy", "codes.npy")
    run("decode", "m", "codes.npy", "back.npy")
    assert np.load("codes.npy").shape == (20, 3) and np.load("back.npy").shape == wide.shape
    np.testing.assert_allclose(np.load("back.npy"), sa.load_model("m").reconstruct(wide), rtol=1e-5)


def test_a_file_with_fewer_weights_than_its_oblong_images_need_is_refused() -> None:
    described = {"kind": "conv", "sizes": [1, 1], "shape": [1, 10**6, 4], "code_size": 2}
    small = sa.ConvAutoencoder((1, 1), code_size=2, size=4)
    sa.save_checkpoint("m", small, build=described)
    with pytest.raises(ValueError, match="need at least 4,000,018 weights"):
        sa.load_model("m")
