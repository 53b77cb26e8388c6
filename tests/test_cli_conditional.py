"""The command line with conditional models: labels from a set, from a file, or one label for all items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_cli import PLAIN, refused, run

import scratchae as sa
from scratchae import save_checkpoint
from scratchae.__main__ import main
from scratchae.autoencoders.conditional import ConditionalAutoencoder, ConditionalVariationalAutoencoder


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures of which the label tells the brightness of the upper half."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    pictures = rng.uniform(0, 0.1, (300, 1, 4, 4)).astype(np.float32)
    pictures[:, :, :2] += (labels / 2.5).astype(np.float32)[:, None, None, None]
    np.save("pictures.npy", pictures)
    np.save("labels.npy", labels)
    np.save("few.npy", labels[:7])
    np.save("floats.npy", labels.astype(np.float32))
    np.save("negative.npy", labels - 1)
    return tmp_path


def trained(*arguments: str, kind: str = "conditional-variational") -> None:
    given = "--data", "pictures.npy", "--labels", "labels.npy", "--kind", kind, "--sizes", "16,12,2"
    run("train", *given, "--lr", "0.02", "--epochs", "3", "--out", "m", *arguments)


def upper(name: str) -> np.ndarray:
    return np.load(name)[:, :, :2].mean(axis=(1, 2, 3))


def test_a_model_draws_the_label_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    trained("--epochs", "30", "--beta", "0.5")
    for label in range(3):
        run("sample", "m", "20", f"{label}.npy", "--label", str(label))
    means = [upper(f"{label}.npy").mean() for label in range(3)]
    assert means[0] < means[1] - 0.15 and means[1] < means[2] - 0.15
    run("sample", "m", "5", "again.npy", "--label", "2")
    np.testing.assert_allclose(np.load("again.npy"), np.load("2.npy")[:5], rtol=1e-5, atol=1e-6)  # rounded by the batch
    given = "--data", "pictures.npy", "--labels", "labels.npy", "--sampler", "normal"
    run("sample", "m", "20", "fitted.npy", "--label", "2", *given)
    assert abs(upper("fitted.npy").mean() - 0.85) < 0.15
    model = sa.load_model("m")
    assert isinstance(model, ConditionalVariationalAutoencoder) and model.classes == 3 and model.beta == 0.5
    run("info", "m")
    assert "conditional-variational, for inputs of shape (1, 4, 4)" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["conditional", "conditional-variational"])
def test_every_verb_takes_labels(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    trained(kind=kind)
    model, pictures, labels = sa.load_model("m"), np.load("pictures.npy"), np.load("labels.npy")
    given = "--labels", "labels.npy"
    run("encode", "m", "pictures.npy", "codes.npy", *given)
    np.testing.assert_allclose(np.load("codes.npy"), model.transform(pictures, labels), atol=1e-6)
    run("decode", "m", "codes.npy", "back.npy", *given)
    run("reconstruct", "m", "pictures.npy", "same.npy", *given)
    np.testing.assert_allclose(np.load("back.npy"), np.load("same.npy"), atol=1e-6)
    run("decode", "m", "codes.npy", "ones.npy", "--label", "1")
    np.testing.assert_allclose(np.load("ones.npy").reshape(300, -1), model.inverse_transform(np.load("codes.npy"), 1))
    run("reconstruct", "m", "pictures.npy", "rows.png", "--label", "0")
    capsys.readouterr()
    run("anomaly", "m", "pictures.npy", "pictures.npy", "--label", "1")
    errors = [float(line.split(",")[1]) for line in capsys.readouterr().out.splitlines()[2:]]
    np.testing.assert_allclose(errors, model.reconstruction_error(pictures, 1), rtol=1e-5)
    run("explore", "m", "page.html", "--data", "pictures.npy", *given)
    text = Path("page.html").read_text()
    assert '"classes": 3' in text and '"classes": ["0", "1", "2"]' in text
    run("explore", "m", "alone.html")


def test_known_sets_have_labels() -> None:
    run("train", "--kind", "conditional", "--sizes", "784,8,2", "--epochs", "1", "--batch-size", "512", "--out", "m")
    images, digits = sa.data.mnist_sample("train")
    run("encode", "m", "sample", "codes.npy")
    np.testing.assert_allclose(np.load("codes.npy"), sa.load_model("m").transform(images, digits), atol=1e-5)
    run("explore", "m", "page.html", "--data", "sample")
    assert '"classes": 10' in Path("page.html").read_text()


def test_tables_take_labels() -> None:
    rows = "".join(f"{i % 7},{i},{'xy'[i % 2]}\n" for i in range(30))
    Path("table.csv").write_text("a,b,c\n" + rows)
    np.save("halves.npy", np.arange(30) // 15)
    given = "--data", "table.csv", "--labels", "halves.npy"
    run("train", *given, "--kind", "conditional-variational", "--epochs", "1", "--out", "m")
    run("sample", "m", "4", "drawn.csv", "--label", "1")
    run("reconstruct", "m", "table.csv", "back.csv", "--labels", "halves.npy")
    assert len(Path("drawn.csv").read_text().splitlines()) == 5


TRAIN = "train", "--data", "pictures.npy", "--sizes", "16,12,2", "--out", "n", "--kind"
MISTAKES = {
    "no labels": ((*TRAIN, "conditional"), "--kind conditional needs labels, and --data pictures.npy has none; name a"),
    "labels of another kind": ((*TRAIN, "sparse", "--labels", "labels.npy"),
        "--labels is for conditional kinds, and --kind sparse is none; leave it out"),
    "few labels": ((*TRAIN, "conditional", "--labels", "few.npy"),
        "few.npy holds int64 of shape (7,); expected labels of shape (300,), whole numbers from 0, one for each item"),
    "labels that are no whole numbers": ((*TRAIN, "conditional", "--labels", "floats.npy"),
        "floats.npy holds float32 of shape (300,); expected labels"),
    "negative labels": ((*TRAIN, "conditional", "--labels", "negative.npy"), "negative.npy holds the label -1"),
    "an option of another kind": ((*TRAIN, "conditional", "--labels", "labels.npy", "--beta", "2"),
        "--beta is no option of --kind conditional"),
    "the labels as the output": ((*TRAIN, "conditional", "--labels", "labels.npy", "--out", "labels.npy"),
        "--out and the input are one file, labels.npy"),
    "no label to draw": (("sample", "m", "3", "x.npy"),
        "m is a conditional model, of labels from 0 to 2; choose one with --label"),
    "a label out of range": (("sample", "m", "3", "x.npy", "--label", "7"), "labels from 7 to 7; expected 0 to 2"),
    "a label below 0": (("sample", "m", "3", "x.npy", "--label", "-1"), "labels from -1 to -1; expected 0 to 2"),
    "a label for a plain model": (("encode", "plain", "pictures.npy", "x.npy", "--label", "1"),
        "--label is for conditional models, and plain is none; leave it out"),
    "labels for a plain model": (("encode", "plain", "pictures.npy", "x.npy", "--labels", "labels.npy"),
        "--labels is for conditional models, and plain is none; leave it out"),
    "no labels to encode": (("encode", "m", "pictures.npy", "x.npy"),
        "of labels from 0 to 2; choose one with --label, or a file of labels with --labels"),
    "no label for anomalies": (("anomaly", "m", "pictures.npy", "pictures.npy"), "choose one with --label"),
    "few labels to decode": (("decode", "m", "codes.npy", "x.npy", "--labels", "few.npy"), "few.npy holds int64"),
    "the labels as the result": (("encode", "m", "pictures.npy", "labels.npy", "--labels", "labels.npy"),
        "OUT and the input are one file"),
    "no labels on the page": (("explore", "m", "page.html", "--data", "pictures.npy"),
        "of labels from 0 to 2; name a file of the labels of pictures.npy with --labels"),
    "no labels of the items of a sampler": (("sample", "m", "3", "x.npy", "--label", "1", "--data", "pictures.npy"),
        "name a file of the labels of pictures.npy with --labels"),
    "no item with the label": (("sample", "m", "3", "x.npy", "--label", "1", "--data", "pictures.npy", "--labels",
        "zeros.npy"), "no item of pictures.npy has the label 1; there are [0]"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named_before_a_file_is_written(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    trained()
    run("train", "--data", "pictures.npy", "--sizes", "16,2", "--epochs", "1", "--out", "plain")
    np.save("codes.npy", np.zeros((9, 2), np.float32))
    np.save("zeros.npy", np.zeros(300, int))
    arguments, message = MISTAKES[case]
    refused(capsys, message, *arguments)


def test_one_label_and_many_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["encode", "m", "pictures.npy", "x.npy", "--label", "1", "--labels", "labels.npy"])
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize("classes", [None, 0, 1, "3", 2.5, [3], 10**9, 10**30])
def test_a_crafted_number_of_classes_is_refused(classes: object, capsys: pytest.CaptureFixture[str]) -> None:
    built = {**PLAIN, "kind": "conditional", "sizes": [16, 4, 2], "classes": 3}
    model = ConditionalAutoencoder.dense((16, 4, 2), classes=3)
    save_checkpoint("m", model, build=built)
    assert main(("info", "m")) == 0
    save_checkpoint("m", model, build={**built, "classes": classes})
    refused(capsys, "scratchae: m", "info", "m")
    save_checkpoint("m", sa.Autoencoder.dense((16, 2)), build={**PLAIN, "classes": 3})
    refused(capsys, "scratchae: m", "info", "m")
