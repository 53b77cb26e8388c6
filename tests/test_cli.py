"""The command line, driven from an empty folder as a person would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image
from platforms import needs_broken_pipes, needs_full_device, needs_links

from scratchae import Autoencoder, save_checkpoint
from scratchae.__main__ import main
from scratchae.files.storage import FORMAT, write_arrays


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.save("faces.npy", rng.random((40, 1, 4, 4), dtype=np.float32))
    np.save("bytes.npy", rng.integers(0, 256, (10, 1, 4, 4), dtype=np.uint8))
    np.save("dark.npy", np.zeros((5, 1, 4, 4), np.float32))
    return tmp_path


def run(*arguments: str) -> None:
    assert main(arguments) == 0


def trained(*arguments: str) -> None:
    run("train", "--data", "faces.npy", "--epochs", "2", *arguments)


def test_train_encode_decode_reconstruct(capsys: pytest.CaptureFixture[str]) -> None:
    trained("--sizes", "16,8,3")
    assert Path("model.safetensors").exists() and Path("model.png").exists()
    run("encode", "model.safetensors", "bytes.npy", "codes.npy")
    run("decode", "model.safetensors", "codes.npy", "back.npy")
    run("reconstruct", "model.safetensors", "bytes.npy", "same.npy")
    assert np.load("codes.npy").shape == (10, 3)
    np.testing.assert_allclose(np.load("back.npy"), np.load("same.npy"), atol=1e-6)
    run("reconstruct", "model.safetensors", "bytes.npy", "rows.png")
    assert Path("rows.png").read_bytes().startswith(b"\x89PNG")
    run("info", "model.safetensors")
    assert "plain, for inputs of shape (1, 4, 4)" in capsys.readouterr().out


@pytest.mark.parametrize("options", [
    ("--kind", "denoising", "--sizes", "16,4", "--corruption", "masking", "--amount", "0.5"),
    ("--kind", "sparse", "--sizes", "16,4", "--penalty", "l1"),
    ("--kind", "contractive", "--sizes", "16,4", "--weight", "0.1"),
    ("--kind", "variational", "--sizes", "16,8,2", "--beta", "2", "--loss", "mse"),
    ("--kind", "conv", "--sizes", "1,3", "--down", "stride", "--code-size", "2"),
    ("--kind", "plain", "--sizes", "16,8,4", "--activation", "none", "--output", "none", "--loss", "mse"),
    ("--kind", "conv", "--sizes", "1,3", "--activation", "tanh", "--output", "none", "--loss", "mae"),
])  # fmt: skip
def test_every_kind_is_rebuilt_from_its_file(options: tuple[str, ...]) -> None:
    trained(*options, "--out", "m.safetensors")
    run("reconstruct", "m.safetensors", "faces.npy", "a.npy")
    assert np.load("a.npy").shape == (40, 1, 4, 4)


def test_samples_follow_the_seed() -> None:
    trained("--kind", "variational", "--sizes", "16,8,2")
    for seed, name in (("0", "a.npy"), ("0", "b.npy"), ("1", "c.npy")):
        run("sample", "model.safetensors", "6", name, "--seed", seed)
    a, b, c = (np.load(f"{name}.npy") for name in "abc")
    assert a.shape == (6, 1, 4, 4) and (a == b).all() and (a != c).any()


def test_anomalies_are_those_above_the_quantile(capsys: pytest.CaptureFixture[str]) -> None:
    trained("--sizes", "16,2")
    capsys.readouterr()
    run("anomaly", "model.safetensors", "faces.npy", "faces.npy", "--quantile", "0.9")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "number,error,anomalous" and len(lines) == 42
    assert sum(line.endswith(",1") for line in lines[2:]) == 4


def test_activations_are_those_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    trained("--sizes", "16,8,4", "--activation", "gelu", "--output", "none", "--loss", "mse")
    assert (printed := capsys.readouterr().out).count("GELU") == 2 and "Sigmoid" not in printed
    trained("--sizes", "16,8,4", "--activation", "none")
    assert "ReLU" not in (printed := capsys.readouterr().out) and printed.count("Sigmoid") == 1


def test_everything_works_on_a_gpu(stand_in: ModuleType) -> None:
    trained("--kind", "variational", "--sizes", "16,8,2", "--device", "gpu")
    run("encode", "model.safetensors", "faces.npy", "codes.npy", "--device", "gpu:0")
    run("sample", "model.safetensors", "3", "new.npy", "--device", "gpu")
    run("encode", "model.safetensors", "faces.npy", "same.npy")
    np.testing.assert_allclose(np.load("codes.npy"), np.load("same.npy"), atol=1e-5)


def test_folders_are_made() -> None:
    trained("--sizes", "16,2", "--out", "new/folder/m.safetensors")
    run("encode", "new/folder/m.safetensors", "faces.npy", "other/codes.npy")
    assert Path("new/folder/m.png").exists() and Path("other/codes.npy").exists()


def test_a_place_that_cannot_be_written_is_told_before_the_training(capsys: pytest.CaptureFixture[str]) -> None:
    for place, found in (("faces.npy/m.safetensors", "faces.npy is no folder"), (".", "this is a folder")):
        assert main(("train", "--data", "faces.npy", "--sizes", "16,2", "--out", place)) == 1
        printed = capsys.readouterr()
        assert found in printed.err and printed.out == ""


def test_a_run_is_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    trained("--sizes", "16,2", "--checkpoint", "run.safetensors")
    capsys.readouterr()
    trained("--sizes", "16,2", "--checkpoint", "run.safetensors", "--resume")
    assert "epoch" not in capsys.readouterr().out


# --- what is not finite ---------------------------------------------------------------------------


def test_images_that_are_not_finite_are_anomalies(capsys: pytest.CaptureFixture[str]) -> None:
    trained("--sizes", "16,2")
    suspects = np.load("faces.npy").astype(np.float64)[:6]
    for i, value in enumerate((np.nan, np.inf, -np.inf, 1e30, 1e300)):
        suspects[i, 0, i % 4, 1] = value
    np.save("suspects.npy", suspects)
    capsys.readouterr()
    run("anomaly", "model.safetensors", "faces.npy", "suspects.npy", "--quantile", "0.999999")
    printed = capsys.readouterr()
    assert [line[-1] for line in printed.out.splitlines()[2:]] == ["1"] * 5 + ["0"] and "Warning" not in printed.err


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_a_normal_image_without_a_finite_error_is_named(capsys: pytest.CaptureFixture[str], value: float) -> None:
    trained("--sizes", "16,2")
    normal = np.load("faces.npy")
    normal[3, 0, 1, 1] = normal[8, 0, 0, 0] = value
    np.save("normal.npy", normal)
    assert main(("anomaly", "model.safetensors", "normal.npy", "faces.npy")) == 1
    assert "normal.npy: image number 3 has the error" in (found := capsys.readouterr()).err
    assert "one of 2 that are not finite" in found.err and "threshold" not in found.out


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_training_images_that_are_not_finite_are_named(capsys: pytest.CaptureFixture[str], value: float) -> None:
    images = np.load("faces.npy").astype(np.float64)
    images[5, 0, 2, 2] = value
    np.save("odd.npy", images)
    assert main(("train", "--data", "odd.npy", "--sizes", "16,2")) == 1
    assert "odd.npy: image number 5 is not finite, one of 1; remove these" in capsys.readouterr().err
    assert not Path("model.safetensors").exists()


# --- what would be overwritten --------------------------------------------------------------------


def contents() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}


def refused(capsys: pytest.CaptureFixture[str], message: str, *arguments: str) -> None:
    """The command ends with status 1 and all that the message says, before the work, and no file changes."""
    before = contents()
    capsys.readouterr()
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert message in printed.err and printed.out == "" and contents() == before


@pytest.fixture
def photos() -> None:
    Path("photos/below").mkdir(parents=True)
    for name in ("a.png", "below/b.jpg"):
        Image.fromarray(np.full((4, 4), 99, np.uint8)).save(Path("photos") / name)
    Path("link").symlink_to("photos")
    Path("same.npy").symlink_to("faces.npy")
    os.link("faces.npy", "hard.npy")


TRAINING = {
    "a picture": (("--out", "x.png"), "x.png is the name of a picture; expected one for a model"),
    "a photograph": (("--out", "photos/below/x.JPG"), "is the name of a picture"),
    "a checkpoint that is a picture": (("--checkpoint", "x.gif"), "x.gif is the name of a picture"),
    "the run's state": (("--out", "c", "--checkpoint", "c"), "--checkpoint and --out are one file, c; choose"),
    "the run's state by another path": (("--out", "c", "--checkpoint", "./new/../c"), "--checkpoint and --out are one"),
    "the images": (("--out", "faces.npy"), "--out and the input are one file, faces.npy"),
    "the images through a link": (("--out", "same.npy"), "--out and the input are one file"),
    "the images through a hard link": (("--checkpoint", "hard.npy"), "--checkpoint and the input are one file"),
    "a curve among the images": (("--data", "photos", "--out", "photos/m"), "the loss curve photos/m.png would be one"),
    "below them": (("--data", "link", "--out", "photos/below/m.safetensors"), "one of the images of link the next"),
    "a folder": (("--out", "photos"), "this is a folder"),
    "a device": (("--out", "/dev/null"), "this is a pipe, a device or a socket"),
    "a checkpoint in a folder that is a file": (("--checkpoint", "faces.npy/c"), "faces.npy is no folder"),
    "a name too long": (("--out", "x" * 300), "too long for the file system"),
    "a curve's name too long": (("--out", "x" * 255), "too long for the file system"),
}


@needs_links
@pytest.mark.parametrize("case", TRAINING)
def test_training_overwrites_nothing_of_value(photos: None, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, message = TRAINING[case]
    refused(capsys, message, "train", "--data", "faces.npy", "--sizes", "16,2", *arguments)


def test_the_loss_curve_replaces_curves_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Path("keep.png").write_bytes(b"a picture of mine")
    for _ in range(2):
        capsys.readouterr()
        trained("--sizes", "16,2", "--out", "keep.safetensors")
        assert Path("keep.png").read_bytes() == b"a picture of mine"
        assert capsys.readouterr().out.endswith("loss curve: keep-loss.png\n")
        assert Path("keep-loss.png").read_bytes().startswith(b"\x89PNG")
    run("info", "keep.safetensors")
    Path("keep-loss.png").write_bytes(b"another one")
    refused(capsys, "keep-loss.png is there and no loss curve; rename it, or choose another --out",
            "train", "--data", "faces.npy", "--sizes", "16,2", "--out", "keep.safetensors")  # fmt: skip
    trained("--sizes", "16,2", "--out", "v1.2")  # no ending: all of the name is kept
    first = Path("v1.2.png").read_bytes()
    trained("--sizes", "16,2", "--out", "v1.2", "--lr", "0.01")
    assert Path("v1.2.png").read_bytes() != first and not Path("v1.2-loss.png").exists()
    run("reconstruct", "v1.2", "faces.npy", "new.png")
    picture = Path("new.png").read_bytes()
    trained("--sizes", "16,2", "--out", "new.safetensors")
    assert Path("new.png").read_bytes() == picture and Path("new-loss.png").exists()


OUTPUTS = {
    "encode": ("encode", "m", "faces.npy", "faces.npy"),
    "encode through a link": ("encode", "m", "same.npy", "faces.npy"),
    "reconstruct through a hard link": ("reconstruct", "m", "hard.npy", "faces.npy"),
    "decode": ("decode", "m", "codes.npy", "codes.npy"),
    "the model": ("encode", "m.npy", "faces.npy", "m.npy"),
    "the model, sampled": ("sample", "m.npy", "3", "m.npy"),
}


@needs_links
@pytest.mark.parametrize("case", OUTPUTS)
def test_no_output_is_an_input(photos: None, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("m", "m.npy"):
        trained("--kind", "variational", "--sizes", "16,2", "--out", name)
    np.save("codes.npy", np.zeros((3, 2)))
    refused(capsys, "OUT and the input are one file", *OUTPUTS[case])


@needs_links
def test_outputs_that_cannot_be_written_are_told_before_anything_is_read(
    photos: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, message in (
        ("faces.npy/x.npy", "faces.npy is no folder"),
        ("x" * 300 + ".npy", "too long for the file system"),
        ("x.txt", "x.txt: expected a name that ends in .npy"),
        ("link/below/x.png", "OUT link/below/x.png would be one of the images of photos the next time"),
    ):
        refused(capsys, message, "reconstruct", "no model", "photos", place)


def test_an_array_is_written_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained("--sizes", "16,2", "--out", "m")
    run("encode", "m", "faces.npy", "codes.npy")
    monkeypatch.setattr(os, "replace", Mock(side_effect=OSError(28, "No space left on device")))
    for name in ("codes.npy", "rows.npy", "rows.png"):
        refused(capsys, "No space left on device", "reconstruct", "m", "faces.npy", name)


# --- crafted files --------------------------------------------------------------------------------

PLAIN = {"kind": "plain", "sizes": [16, 2], "shape": [1, 4, 4]}
DESCRIPTIONS: dict[str, Any] = {
    "a number": 5,
    "a list": [PLAIN],
    "nothing": {},
    "no kind": {**PLAIN, "kind": None},
    "another kind": {**PLAIN, "kind": "__class__"},
    "a list for a kind": {**PLAIN, "kind": ["plain"]},
    "no sizes": {**PLAIN, "sizes": []},
    "one size": {**PLAIN, "sizes": [16]},
    "a size that is text": {**PLAIN, "sizes": ["16", "2"]},
    "a size that is a list": {**PLAIN, "sizes": [[16], 2]},
    "a size that is true": {**PLAIN, "sizes": [16, True]},
    "a broken size": {**PLAIN, "sizes": [16, 2.5]},
    "a size of nothing": {**PLAIN, "sizes": [16, 0]},
    "a negative size": {**PLAIN, "sizes": [16, -2]},
    "sizes that are text": {**PLAIN, "sizes": "16,2"},
    "a code of 10**9": {**PLAIN, "sizes": [16, 10**9]},
    "all of 10**9": {**PLAIN, "sizes": [10**9, 10**9], "shape": [10**9]},
    "a size of 10**30": {**PLAIN, "sizes": [16, 10**30]},
    "a hidden layer of 10**12": {**PLAIN, "sizes": [16, 10**12, 2]},
    "a million layers": {**PLAIN, "sizes": [16] + [1] * 10**6},
    "other sizes": {**PLAIN, "sizes": [16, 3]},
    "no shape": {**PLAIN, "shape": None},
    "an empty shape": {**PLAIN, "shape": []},
    "a shape that is text": {**PLAIN, "shape": ["4" * 100, 10**9]},
    "a large shape": {**PLAIN, "shape": [10**6, 10**6, 10**6]},
    "another shape": {**PLAIN, "shape": [1, 4, 5]},
    "an option of Python's": {**PLAIN, "__class__": "x"},
    "an option of another kind": {**PLAIN, "beta": 2.0},
    "an option that train has not": {**PLAIN, "code_activation": "relu"},
    "an activation": {**PLAIN, "activation": "eval"},
    "an activation that is a list": {**PLAIN, "activation": ["relu"]},
    "a loss that is a dict": {**PLAIN, "loss": {}},
    "a loss": {**PLAIN, "loss": "exec"},
    "an amount": {**PLAIN, "kind": "denoising", "amount": "much"},
    "a conv without images": {**PLAIN, "kind": "conv"},
    "a conv of 10**9 channels": {"kind": "conv", "sizes": [1, 10**9], "shape": [1, 4, 4]},
    "a conv with a code of 10**12": {"kind": "conv", "sizes": [1, 1], "shape": [1, 4, 4], "code_size": 10**12},
    "a conv of images of 10**6 x 10**6": {"kind": "conv", "sizes": [1, 1], "shape": [1, 10**6, 10**6]},
    "a conv with a broken code": {"kind": "conv", "sizes": [1, 1], "shape": [1, 4, 4], "code_size": 2.5},
}


@pytest.mark.parametrize("verb", ["info", "encode"])
@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_a_crafted_description_is_refused_before_memory_is_taken(
    case: str, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint("m", Autoencoder.dense((16, 2)), build=PLAIN)
    assert main(("info", "m")) == 0
    save_checkpoint("m", Autoencoder.dense((16, 2)), build=DESCRIPTIONS[case])
    tracemalloc.start()
    refused(capsys, "scratchae: m", verb, "m", *(("faces.npy", "x.npy") if verb == "encode" else ()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500 * 2**20 if case == "a million layers" else peak < 50 * 2**20


def test_every_kind_of_file_but_ours_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    model = Autoencoder.dense((16, 2))
    deep = '{"model":' + "[" * 10**5 + "]" * 10**5 + ',"optimizer":null}'
    for state in (deep, "1", "[", '{"model": {"\\u001b[31m": 1}, "optimizer": null}'):
        write_arrays("m", {}, {"format": FORMAT, "state": state, "metadata": json.dumps({"build": PLAIN})})
        refused(capsys, "scratchae: m", "info", "m")
        main(("info", "m"))
        assert "\x1b" not in capsys.readouterr().err, "no text of a file steers the terminal"
    model.save_weights("m")
    refused(capsys, "m is no checkpoint", "info", "m")
    save_checkpoint("m", model)
    refused(capsys, "m does not say how its model was built", "info", "m")


def test_an_empty_array_of_a_promised_size_is_no_weight(capsys: pytest.CaptureFixture[str]) -> None:
    state = {"model": {f"{i}": {"@": "empty"} for i in range(10)}, "optimizer": None}
    metadata = {"build": {**PLAIN, "sizes": [16, 10**9]}}
    strings = {"format": FORMAT, "state": json.dumps(state), "metadata": json.dumps(metadata)}
    write_arrays("m", {"empty": np.empty((16, 0, 10**9), np.int8)}, strings)
    refused(capsys, "need at least 32,000,000,000 weights; the file holds 0 numbers", "info", "m")


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("deep"), OverflowError("large"), KeyError("x")])
def test_errors_that_are_no_bugs_end_with_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    monkeypatch.setattr("scratchae.commands.verbs.load_built", Mock(side_effect=error))
    if isinstance(error, KeyError):
        with pytest.raises(KeyError):  # a bug: its traceback is wanted
            main(("info", "m"))
    else:
        refused(capsys, f"scratchae: {error or type(error).__name__}", "info", "m")


INFO = [sys.executable, "-m", "scratchae", "info", "m"]


@needs_full_device
def test_output_that_has_no_room() -> None:
    trained("--sizes", "16,2", "--out", "m")
    with open("/dev/full", "w") as full:
        done = subprocess.run(INFO, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "scratchae: [Errno 28]" in done.stderr and "Traceback" not in done.stderr


@needs_broken_pipes
def test_output_that_nobody_reads() -> None:
    trained("--sizes", "16,2", "--out", "m")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(INFO, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode == 0 and done.stderr == ""


MISTAKES = {
    "sizes": (("train", "--sizes", "4,a"), "--sizes '4,a': expected whole numbers"),
    "other sizes": (("train", "--data", "faces.npy", "--sizes", "9,2"), "have 16 numbers; the first size must be that"),
    "an option of another kind": (("train", "--beta", "2"), "--beta is no option of --kind plain"),
    "no channels": (("train", "--kind", "conv", "--sizes", "3,4"), "--sizes [3, 4]: the first is the images' channels"),
    "a flat code of images that cannot be halved": (("train", "--data", "wide.npy", "--kind", "conv", "--sizes",
        "1,2,2,2", "--code-size", "3"), "size=(4, 8) cannot be halved 3 times; expected a multiple of 8"),
    "an activation": (("train", "--activation", "sine"), "activation='sine'; expected None or one of"),
    "a device": (("info", "model.safetensors", "--device", "tpu"), "to('tpu')"),
    "no file": (("train", "--data", "nowhere.npy"), "nowhere.npy"),
    "no model": (("info", "nothing.safetensors"), "nothing.safetensors"),
    "no vae": (("sample", "model.safetensors", "3", "x.npy"), "kind 'plain', whose codes have no known distribution"),
    "other images": (("encode", "model.safetensors", "big.npy", "x.npy"), "(1, 5, 5); the model takes (1, 4, 4)"),
    "an ending": (("encode", "model.safetensors", "faces.npy", "x.txt"), "x.txt: expected a name that ends in .npy"),
    "a corrupt image": (("encode", "model.safetensors", "photos", "x.npy"), "bad.png cannot be read as an image"),
    "a quantile": (("anomaly", "model.safetensors", "faces.npy", "faces.npy", "--quantile", "2"), "--quantile 2.0"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named_and_end_with_status_1(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    trained("--sizes", "16,2")
    np.save("big.npy", np.zeros((3, 1, 5, 5), np.float32))
    np.save("wide.npy", np.zeros((3, 1, 4, 8), np.float32))
    Path("photos").mkdir()
    Path("photos/bad.png").write_bytes(b"no picture")
    arguments, message = MISTAKES[case]
    capsys.readouterr()
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


def test_it_is_a_module_with_help_and_status_2() -> None:
    done = subprocess.run([sys.executable, "-m", "scratchae", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "scratchae anomaly model.safetensors" in done.stdout
    done = subprocess.run([sys.executable, "-m", "scratchae", "dance"], capture_output=True, text=True)
    assert done.returncode == 2 and "invalid choice: 'dance'" in done.stderr


@pytest.mark.parametrize("option", ["--out", "--checkpoint"])
def test_a_file_of_another_kind_is_not_written_over(tmp_path, capsys, option):
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    out = tmp_path / "model.safetensors"
    arguments = ["train", "--sizes", "784,4", "--epochs", "1", "--out", str(out), option, str(notes)]
    assert main(arguments) == 1
    assert "is there and is not a" in capsys.readouterr().err and notes.read_text() == "mine" and not out.exists()


def test_a_model_is_no_checkpoint_to_write_over_and_the_other_way_round(tmp_path, capsys):
    out, run = str(tmp_path / "model.safetensors"), str(tmp_path / "run.safetensors")
    arguments = ["train", "--sizes", "784,4", "--epochs", "1"]
    assert main([*arguments, "--out", out, "--checkpoint", run]) == 0
    assert main([*arguments, "--out", out, "--checkpoint", run]) == 0  # each its own kind
    assert main([*arguments, "--out", run]) == 1 and main([*arguments, "--out", out + "2", "--checkpoint", out]) == 1
    assert capsys.readouterr().err.count("is there and is not a") == 2


@pytest.mark.parametrize(("out", "checkpoint"), [("d", "d/run"), ("d/model", "d")])
def test_one_output_inside_another_is_refused_before_training(tmp_path, capsys, out, checkpoint):
    paths = [str(tmp_path / out), "--checkpoint", str(tmp_path / checkpoint)]
    assert main(["train", "--sizes", "784,4", "--epochs", "1", "--out", *paths]) == 1
    assert "cannot both be files" in capsys.readouterr().err and not (tmp_path / "d").exists()


def test_training_does_not_end_with_whoever_reads_its_output(tmp_path, monkeypatch):
    class Closed:
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

        def flush(self):
            pass

    out = tmp_path / "model.safetensors"
    monkeypatch.setattr("sys.stdout", Closed())
    main(["train", "--sizes", "784,4", "--epochs", "1", "--out", str(out)])
    monkeypatch.undo()
    assert out.exists()


@pytest.mark.parametrize("verb", ["encode", "reconstruct", "decode"])
def test_what_is_not_finite_is_not_written_down_as_a_result(tmp_path, capsys, verb):
    out, odd = str(tmp_path / "model.safetensors"), np.full((3, 4 if verb == "decode" else 784), 0.5, np.float32)
    assert main(["train", "--sizes", "784,4", "--epochs", "1", "--out", out]) == 0
    odd[1, 0] = np.nan
    np.save(tmp_path / "odd.npy", odd if verb == "decode" else odd.reshape(3, 1, 28, 28))
    assert main([verb, out, str(tmp_path / "odd.npy"), str(tmp_path / "result.npy")]) == 1
    assert "number 1 is not finite" in capsys.readouterr().err and not (tmp_path / "result.npy").exists()


# --- explore --------------------------------------------------------------------------------------


def test_explore_writes_a_page_with_or_without_data(capsys: pytest.CaptureFixture[str]) -> None:
    trained("--sizes", "16,8,3")
    run("explore", "model.safetensors", "page.html")
    assert '"picture": [1, 4, 4]' in Path("page.html").read_text()  # the shape comes from the model's file
    np.save("labels.npy", np.arange(10) % 2)
    given = "--data", "bytes.npy", "--labels", "labels.npy", "--title", "Faces"
    run("explore", "model.safetensors", "page.html", *given)
    text = Path("page.html").read_text()
    assert "<title>Faces</title>" in text and '"classes": ["0", "1"]' in text and '"given": 10' in text
    assert "page: page.html" in capsys.readouterr().out


def test_explore_takes_the_labels_of_known_data_and_names_of_features() -> None:
    run("train", "--data", "sample", "--sizes", "784,2", "--epochs", "1", "--batch-size", "512")
    run("explore", "model.safetensors", "page.html", "--data", "sample")
    assert '"classes": ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]' in Path("page.html").read_text()
    np.save("table.npy", np.random.default_rng(0).random((20, 3), dtype=np.float32))
    run("train", "--data", "table.npy", "--sizes", "3,2", "--epochs", "1")
    run("explore", "model.safetensors", "page.html", "--data", "table.npy", "--features", "wind,rain,<sun>")
    assert '"features": ["wind", "rain", "\\u003csun>"]' in Path("page.html").read_text()


def test_explore_spoils_no_input(capsys: pytest.CaptureFixture[str]) -> None:
    trained("--sizes", "16,3")
    before = Path("model.safetensors").read_bytes()
    assert main(["explore", "model.safetensors", "model.safetensors"]) == 1
    assert main(["explore", "model.safetensors", "page.png"]) == 1
    assert "ends in .html" in capsys.readouterr().err
    assert main(["explore", "model.safetensors", "page.html", "--labels", "bytes.npy"]) == 1
    assert Path("model.safetensors").read_bytes() == before and not Path("page.html").exists()
