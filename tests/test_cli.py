"""The command line, driven from an empty folder as a person would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from scratchae.__main__ import main


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


MISTAKES = {
    "sizes": (("train", "--sizes", "4,a"), "--sizes '4,a': expected whole numbers"),
    "other sizes": (("train", "--data", "faces.npy", "--sizes", "9,2"), "have 16 numbers; the first size must be that"),
    "an option of another kind": (("train", "--beta", "2"), "--beta is no option of --kind plain"),
    "no channels": (("train", "--kind", "conv", "--sizes", "3,4"), "--sizes [3, 4]: the first is the images' channels"),
    "a flat code of oblong images": (("train", "--data", "wide.npy", "--kind", "conv", "--sizes", "1,2", "--code-size",
                                      "3"), "--code-size: expected square images; these have shape (1, 4, 8)"),
    "an activation": (("train", "--activation", "sine"), "activation='sine'; expected None or one of"),
    "a device": (("info", "model.safetensors", "--device", "tpu"), "to('tpu')"),
    "no file": (("train", "--data", "nowhere.npy"), "nowhere.npy"),
    "no model": (("info", "nothing.safetensors"), "nothing.safetensors"),
    "no vae": (("sample", "model.safetensors", "3", "x.npy"), "kind 'plain'; only a variational"),
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
