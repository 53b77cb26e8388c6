"""What version 0.1 left: names in their old places, and files that its code wrote, in the folder version_0_1."""

from __future__ import annotations

import importlib
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim
from scratchae.files import disk, storage
from scratchae.images import conv, window
from scratchae.interop.version_0_1 import MOVED

FILES = Path(__file__).parent / "version_0_1"
NAMES = {
    "autograd": {"detect_anomaly": sa.detect_anomaly, "gradcheck": sa.gradcheck, "gradgradcheck": sa.gradgradcheck},
    "autograd.conv": {"conv": conv.conv, "output_size": window.output_size},
    "autograd.gradcheck": {"gradcheck": sa.gradcheck},
    "autograd.images": {"conv2d": F.conv2d, "pixel_shuffle": F.pixel_shuffle},
    "callbacks": {"LivePlot": sa.LivePlot, "SaveHistory": sa.SaveHistory, "Snapshots": sa.Snapshots},
    "checkpoint": {"load_checkpoint": sa.load_checkpoint, "save_checkpoint": sa.save_checkpoint},
    "nn.activations": {"ReLU": nn.ReLU, "Softmax": nn.Softmax},
    "nn.containers": {"Sequential": nn.Sequential},
    "nn.images": {"Conv2d": nn.Conv2d, "PixelShuffle": nn.PixelShuffle},
    "nn.losses": {"CrossEntropyLoss": nn.CrossEntropyLoss},
    "nn.regularisation": {"Dropout": nn.Dropout, "GaussianNoise": nn.GaussianNoise},
    "plotting.curves": {"roc_curves": sa.plotting.roc_curves},
    "storage": {"FileInUse": disk.FileInUse, "locked": disk.locked, "read_arrays": storage.read_arrays},
}


@pytest.mark.parametrize("place", NAMES)
def test_a_name_is_found_in_its_old_place_with_a_warning(place: str) -> None:
    for name, wanted in NAMES[place].items():
        with pytest.warns(DeprecationWarning, match=rf"scratchae\.{place}\.{name} of version 0\.1 is now scratchae\."):
            assert getattr(importlib.import_module(f"scratchae.{place}"), name) is wanted


def test_the_warning_names_the_shortest_place_and_the_line_of_the_user() -> None:
    with pytest.warns(DeprecationWarning, match=r"is now scratchae\.gradcheck$") as told:
        from scratchae.autograd import gradcheck  # type: ignore[attr-defined]
    assert gradcheck is sa.gradcheck and {warning.filename for warning in told} == {__file__}
    with pytest.warns(DeprecationWarning, match=r"is now scratchae\.nn\.ReLU$"):
        sa.nn.activations.ReLU  # noqa: B018
    with pytest.warns(DeprecationWarning, match=r"is now scratchae\.functional\.conv2d$"):
        sa.autograd.images.conv2d  # noqa: B018
    with pytest.warns(DeprecationWarning, match=r"is now scratchae\.files\.storage\.read_arrays$"):
        sa.storage.read_arrays  # noqa: B018


@pytest.mark.parametrize("place", ["", "nn", *MOVED])
def test_a_name_that_never_was_is_no_attribute(place: str) -> None:
    path = f"scratchae.{place}".rstrip(".")
    with pytest.raises(AttributeError, match=f"module '{path}' has no attribute 'nothing'"):
        importlib.import_module(path).nothing  # noqa: B018


def test_a_pickled_module_computes_the_same() -> None:
    with pytest.warns(DeprecationWarning, match="version 0.1"):
        model = pickle.loads((FILES / "model.pkl").read_bytes())
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.GELU, nn.MaxPool2d, nn.Flatten, nn.Linear, nn.LayerNorm, nn.ELU, nn.Dropout,
             nn.Softmax]  # fmt: skip
    assert [type(layer) for layer in model] == kinds and not model.training
    images = np.random.default_rng(1).random((4, 1, 4, 4), np.float32)
    np.testing.assert_allclose(model(sa.tensor(images)).numpy(), np.load(FILES / "output.npy"), rtol=1e-5)


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """The first three epochs are those of version 0.1, and so are the losses of all six."""
    path, x = tmp_path / "run.safetensors", np.random.default_rng(0).random((40, 6), np.float32)
    shutil.copy(FILES / "run.safetensors", path)
    model = sa.Autoencoder.dense((6, 4, 2))
    optimizer = optim.AdamW(model.parameters(), lr=0.01, amsgrad=True)
    callbacks = [sa.Schedule(optim.StepLR(optimizer, 2)), sa.EarlyStopping(patience=5)]
    options = {"validation": x[:8], "epochs": 6, "batch_size": 8, "seed": 3, "checkpoint": path, "progress": False}
    history = sa.Trainer(model, optimizer, callbacks).fit(x, resume=True, **options)
    wanted = [0.70011523, 0.69458153, 0.69126090, 0.69079866, 0.69046433, 0.69040913]
    np.testing.assert_allclose(history["loss"], wanted, rtol=1e-5)
