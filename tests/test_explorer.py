"""The page of a model: what is in the file, what is refused, and that JavaScript computes what the package computes."""

from __future__ import annotations

import base64
import functools
import html
import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import scratchae as sa
from scratchae import functional as F
from scratchae import nn
from scratchae.autoencoders import (
    ConditionalAutoencoder,
    ConditionalVariationalAutoencoder,
    LabelBias,
    conv_decoder,
    conv_encoder,
)
from scratchae.autoencoders.labels import LABELS
from scratchae.explorer import items, network, page
from scratchae.interop.common import options_of
from scratchae.nn.layer import Layer
from scratchae.nn.linear import Function

FOLDER = Path(page.__file__).parent
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="the layers in JavaScript run in Node.js, which is not installed")

rng = np.random.default_rng(0)
IMAGES = rng.random((30, 1, 8, 8), dtype=np.float32)
TABLE = rng.normal(size=(50, 6)).astype(np.float32)


def dense(kind: type = sa.Autoencoder, sizes: tuple[int, ...] = (64, 12, 3), **options: Any) -> Any:
    return kind.dense(sizes, **options)


def read(path: Path) -> tuple[dict[str, Any], bytes, str]:
    """A page's description, its numbers and its whole text."""
    text = path.read_text()
    described = re.search(r'<script type="application/json" id="model">(.*?)</script>', text, re.S)
    numbers = re.search(r'<script type="text/plain" id="numbers">(.*?)</script>', text, re.S)
    assert described is not None and numbers is not None
    return json.loads(described[1]), base64.b64decode(numbers[1]), text


def array(place: dict[str, Any], numbers: bytes) -> np.ndarray:
    return np.frombuffer(numbers, place["type"], place["size"], place["at"])


def explored(folder: Path, model: Any, *given: Any, **options: Any) -> dict[str, Any]:
    sa.explore(model, folder / "page.html", *given, **options)
    described, numbers, text = read(folder / "page.html")
    return {**described, "numbers": numbers, "text": text}


# --- what JavaScript computes ---------------------------------------------------------------------

RUN = """
const fs = require("fs");
const parts = ["layers", "numbers"].map((name) => fs.readFileSync(`${process.argv[1]}/${name}.js`, "utf8"));
const { run, unpacked, known } = new Function(`${parts.join("\\n")}\\nreturn { run, unpacked, known: LAYERS };`)();
const { text, numbers, inputs, half, shape, label } = JSON.parse(fs.readFileSync(0, "utf8"));
const layers = unpacked(JSON.parse(text), numbers)[half];
const outputs = inputs.map((x) => Array.from(run(layers, Float32Array.from(x), shape, label)));
console.log(JSON.stringify({ outputs, known: Object.keys(known) }));
"""


def in_node(text: str, numbers: bytes, half: str, inputs: np.ndarray, label: int = 0) -> tuple[np.ndarray, list[str]]:
    """Outputs of the layers `half` for each input, computed by the page's JavaScript; and the names of its layers."""
    assert NODE is not None
    given = {"text": text, "numbers": base64.encodebytes(numbers).decode(), "half": half,
             "inputs": inputs.reshape(len(inputs), -1).tolist(), "shape": inputs.shape[1:], "label": label}  # fmt: skip
    ran = subprocess.run([NODE, "-e", RUN, str(FOLDER)], input=json.dumps(given), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    return np.array(found["outputs"], np.float32), found["known"]


def moved(norm: Any) -> Any:
    """A normalising layer with numbers of its own."""
    for parameter in norm.parameters():
        parameter.data = rng.uniform(0.5, 2, parameter.shape).astype(np.float32)
    if hasattr(norm, "running_mean"):
        norm.running_mean[...] = rng.normal(size=norm.running_mean.shape)
        norm.running_var[...] = rng.uniform(0.5, 2, norm.running_var.shape)
    return norm


def biased(layer: LabelBias) -> LabelBias:
    layer.weight.data = rng.normal(size=layer.weight.shape).astype(np.float32)
    return layer


@contextmanager
def the_label(label: int) -> Iterator[None]:
    before = LABELS.set(np.array(label))
    yield
    LABELS.reset(before)


CASES: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "Linear": (nn.Linear(5, 3), (5,)),
    "Linear without a bias, on rows": (nn.Linear(5, 3, bias=False), (4, 5)),
    "Conv2d": (nn.Conv2d(2, 3, 3, padding=1), (2, 6, 5)),
    "Conv2d with odd options": (nn.Conv2d(4, 6, (3, 2), (2, 3), (1, 2), (2, 1), groups=2, bias=False), (4, 9, 8)),
    "Conv2d, same": (nn.Conv2d(1, 2, (4, 2), padding="same"), (1, 5, 6)),
    "ConvTranspose2d": (nn.ConvTranspose2d(3, 2, 3, 2, 1, 1), (3, 4, 5)),
    "ConvTranspose2d with odd options": (
        nn.ConvTranspose2d(4, 6, (2, 3), (3, 2), (1, 0), (2, 1), 2, False, (1, 2)), (4, 3, 4),
    ),
    "MaxPool2d": (nn.MaxPool2d(2), (2, 5, 6)),
    "MaxPool2d with odd options": (nn.MaxPool2d((3, 2), (2, 1), (1, 1)), (2, 7, 6)),
    "AvgPool2d": (nn.AvgPool2d(3, 2, 1), (2, 7, 6)),
    "Conv1d": (nn.Conv1d(2, 3, 3, padding=1), (2, 9)),
    "Conv1d with odd options": (nn.Conv1d(4, 6, 3, 2, (2,), 2, groups=2, bias=False), (4, 11)),
    "Conv1d, same": (nn.Conv1d(1, 2, 4, padding="same"), (1, 7)),
    "ConvTranspose1d": (nn.ConvTranspose1d(3, 2, 3, 2, 1, 1), (3, 5)),
    "ConvTranspose1d with odd options": (nn.ConvTranspose1d(4, 6, 3, (3,), 2, 1, 2, False, 2), (4, 5)),
    "MaxPool1d": (nn.MaxPool1d(2), (2, 7)),
    "MaxPool1d with odd options": (nn.MaxPool1d((3,), 1, 1), (2, 7)),
    "AvgPool1d": (nn.AvgPool1d(3, 2, 1), (2, 8)),
    "Upsample": (nn.Upsample((2, 3)), (2, 3, 4)),
    "Upsample, bilinear": (nn.Upsample((3, 2), "bilinear"), (2, 3, 4)),
    "PixelShuffle": (nn.PixelShuffle(2), (8, 3, 2)),
    "PixelUnshuffle": (nn.PixelUnshuffle(2), (2, 6, 4)),
    "Flatten": (nn.Flatten(), (2, 3, 4)),
    "Unflatten": (nn.Unflatten(1, (2, 3)), (6,)),
    "Identity": (nn.Identity(), (6,)),
    "Dropout": (nn.Dropout(), (6,)),
    "Dropout2d": (nn.Dropout2d(), (2, 3, 3)),
    "GaussianNoise": (nn.GaussianNoise(), (6,)),
    "ReLU": (nn.ReLU(), (40,)),
    "LeakyReLU": (nn.LeakyReLU(0.2), (40,)),
    "ELU": (nn.ELU(0.7), (40,)),
    "GELU": (nn.GELU(), (40,)),
    "SiLU": (nn.SiLU(), (40,)),
    "Hardtanh": (nn.Hardtanh(-0.5, 2), (40,)),
    "Sigmoid": (nn.Sigmoid(), (40,)),
    "the means of densities": (network.ContinuousBernoulliMean(), (40,)),
    "Tanh": (nn.Tanh(), (40,)),
    "Softplus": (nn.Softplus(), (40,)),
    "Softmax": (nn.Softmax(), (5, 4)),
    "Softmax along channels": (nn.Softmax(1), (5, 2, 3)),
    "LayerNorm": (moved(nn.LayerNorm((3, 4))), (2, 3, 4)),
    "BatchNorm1d": (moved(nn.BatchNorm1d(4)), (4,)),
    "BatchNorm1d on curves": (moved(nn.BatchNorm1d(4)), (4, 5)),
    "BatchNorm2d": (moved(nn.BatchNorm2d(3)), (3, 4, 5)),
    "GroupNorm": (moved(nn.GroupNorm(2, 6, 0.1)), (6, 3, 4)),
    "GroupNorm of features, not affine": (nn.GroupNorm(2, 6, affine=False), (6,)),
    "InstanceNorm2d": (nn.InstanceNorm2d(3), (3, 4, 5)),
    "InstanceNorm2d, affine": (moved(nn.InstanceNorm2d(3, 0.1, affine=True)), (3, 4, 5)),
    "Residual": (nn.Residual(nn.Linear(5, 5)), (5,)),
    "Residual of itself": (nn.Residual(nn.Dropout()), (5,)),
    "Residual of a chain": (
        nn.Residual(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Residual(nn.Tanh()), nn.Conv2d(3, 2, 1))),
        (2, 4, 5),
    ),
    "LabelBias": (biased(LabelBias(3, 5)), (5,)),
    "LabelBias of channels, in a Residual": (nn.Residual(biased(LabelBias(3, 4))), (4, 2, 3)),
    "a function": (nn.Sequential(F.relu)[0], (40,)),
    "a function with an option": (nn.Sequential(functools.partial(F.leaky_relu, slope=0.3))[0], (40,)),
}  # fmt: skip


@needs_node
@pytest.mark.parametrize("case", CASES)
def test_a_layer_in_javascript_gives_the_outputs_of_the_package(case: str) -> None:
    layer, shape = CASES[case]
    x = rng.normal(size=(3, *shape)).astype(np.float32) * 3
    layer.eval()
    with the_label(2):  # for a LabelBias
        layers, _ = network.described({"layer": nn.Sequential(layer)}, x[:1])
        expected = layer(sa.tensor(x)).numpy().reshape(3, -1)
    layer.train()
    found, known = in_node(*page.packed({"decoder": layers}, half=False), "decoder", x, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
    assert {one["layer"] for one in layers} <= set(known)


def test_every_layer_of_the_table_has_a_case() -> None:
    assert {type(layer) for layer, _ in CASES.values()} == {*network.LAYERS, nn.Residual, Function}


def test_no_option_of_a_layer_is_left_out() -> None:
    """A new option would change the outputs of the package, and not those of the page."""
    told = {
        "Linear": "in_features out_features bias",
        "Conv2d": "in_channels out_channels kernel_size stride padding dilation groups bias padding_mode",
        "ConvTranspose2d": "in_channels out_channels kernel_size stride padding output_padding groups bias dilation",
        "MaxPool2d": "kernel_size stride padding", "AvgPool2d": "kernel_size stride padding",
        "Conv1d": "in_channels out_channels kernel_size stride padding dilation groups bias padding_mode",
        "ConvTranspose1d": "in_channels out_channels kernel_size stride padding output_padding groups bias dilation",
        "MaxPool1d": "kernel_size stride padding", "AvgPool1d": "kernel_size stride padding",
        "Upsample": "scale_factor mode", "PixelShuffle": "upscale_factor", "PixelUnshuffle": "downscale_factor",
        "Flatten": "start_dim", "Unflatten": "dim shape", "Identity": "", "Dropout": "p", "Dropout2d": "p",
        "GaussianNoise": "std", "ReLU": "", "LeakyReLU": "negative_slope", "ELU": "alpha", "GELU": "", "Sigmoid": "",
        "SiLU": "", "Hardtanh": "min_val max_val", "ContinuousBernoulliMean": "", "Tanh": "",
        "Softplus": "", "Softmax": "dim",
        "LayerNorm": "normalized_shape eps",
        "BatchNorm1d": "num_features eps momentum", "BatchNorm2d": "num_features eps momentum",
        "GroupNorm": "num_groups num_channels eps affine", "InstanceNorm2d": "num_features eps affine",
        "LabelBias": "classes features", "Residual": "net", "Function": "function",
    }  # fmt: skip
    kinds = [*network.LAYERS, nn.Residual, Function]
    own = {cls.__name__: " ".join(options_of(cls)) for cls in kinds}
    assert own == told


def residual() -> sa.Autoencoder:
    """An autoencoder of series (2, 8) from layers that older models do not have."""
    block = nn.Sequential(nn.GroupNorm(2, 4), F.silu, nn.Conv1d(4, 4, 3, padding=1))
    encoder = nn.Sequential(nn.Conv1d(2, 4, 3, 2, 1), nn.Residual(block), nn.Flatten(), nn.Linear(16, 3), F.tanh)
    decoder = nn.Sequential(nn.Linear(3, 16), nn.Unflatten(1, (4, 4)), nn.ConvTranspose1d(4, 2, 4, 2, 1), nn.Hardtanh())
    return sa.Autoencoder(encoder, decoder)


def models() -> dict[str, tuple[Any, tuple[int, ...]]]:
    features = nn.Sequential(conv_encoder((1, 3)), nn.Flatten())
    return {
        "dense": (dense(loss="bce_logits"), (1, 8, 8)),
        "variational": (dense(sa.VariationalAutoencoder, activation="gelu"), (1, 8, 8)),
        "density": (dense(sa.VariationalAutoencoder, loss="cb"), (1, 8, 8)),
        "convolutional": (sa.ConvAutoencoder((3, 4, 6)), (3, 8, 8)),
        "strided, with a flat code": (sa.ConvAutoencoder((1, 4, 6), "stride", size=8, code_size=5), (1, 8, 8)),
        "variational of convolutions": (
            sa.VariationalAutoencoder(features, nn.Sequential(nn.Linear(2, 48), nn.Unflatten(1, (3, 4, 4)),
                                      conv_decoder((1, 3))), code_size=2, feature_size=48), (1, 8, 8),
        ),
        "residual": (residual(), (2, 8)),
        "sparse table": (dense(sa.SparseAutoencoder, (6, 4, 2), output=None, loss="mse"), (6,)),
        "one unit": (dense(sizes=(6, 4, 1), output=None, loss="mse"), (6,)),
    }  # fmt: skip


@needs_node
@pytest.mark.parametrize("name", models())
def test_a_page_encodes_and_decodes_as_the_model(name: str, tmp_path: Path) -> None:
    model, shape = models()[name]
    x = rng.random((40, *shape), dtype=np.float32)
    made = explored(tmp_path, model, x)
    text, numbers, _ = read(tmp_path / "page.html")
    codes = model.transform(x)
    found, _ = in_node(json.dumps(text), numbers, "decoder", codes)
    assert np.abs(found - model.inverse_transform(codes).reshape(40, -1)).max() < 1 / 255
    found, _ = in_node(json.dumps(text), numbers, "encoder", x)
    back = model.inverse_transform(found.reshape(codes.shape)).reshape(x.shape)
    assert np.abs(back - model.reconstruct(x)).max() < 1 / 255
    assert made["code"]["shape"] == list(codes.shape[1:])


@needs_node
def test_a_float64_model_is_computed_in_float32(tmp_path: Path) -> None:
    model = dense().to(np.float64)
    explored(tmp_path, model, IMAGES.astype(float))
    text, numbers, _ = read(tmp_path / "page.html")
    codes = model.transform(IMAGES.astype(float))
    found, _ = in_node(json.dumps(text), numbers, "decoder", codes)
    assert np.abs(found - model.inverse_transform(codes)).max() < 1 / 255


# --- conditional models ---------------------------------------------------------------------------


def conditional(kind: str = "variational") -> Any:
    if kind == "convolutional":
        model: Any = ConditionalAutoencoder(conv_encoder((1, 3)), conv_decoder((1, 3)), classes=3)
    elif kind == "variational":
        model = dense(ConditionalVariationalAutoencoder, loss="bce_logits", classes=3)
    else:
        model = dense(ConditionalAutoencoder, (64, 3), classes=3)
    for layer in model.modules():
        if isinstance(layer, LabelBias):
            biased(layer)
    return model


@needs_node
@pytest.mark.parametrize("kind", ["variational", "one layer", "convolutional"])
def test_a_page_encodes_and_decodes_under_each_label(kind: str, tmp_path: Path) -> None:
    model, labels = conditional(kind), np.arange(30) % 3
    made = explored(tmp_path, model, IMAGES, labels)
    codes = model.transform(IMAGES, labels)
    held = array(made["items"]["codes"], made["numbers"]).reshape(codes.shape)
    np.testing.assert_allclose(held, codes, atol=2e-3 * np.abs(codes).max())  # each item under its own label
    errors = array(made["items"]["errors"], made["numbers"])
    np.testing.assert_allclose(errors, model.reconstruction_error(IMAGES, labels), rtol=1e-6)
    assert made["classes"] == 3 and np.ptp([model.reconstruction_error(IMAGES, k).mean() for k in range(3)]) > 1e-3
    text, numbers, _ = read(tmp_path / "page.html")
    for label in range(3):
        found, _ = in_node(json.dumps(text), numbers, "decoder", codes, label)
        assert np.abs(found - model.inverse_transform(codes, label).reshape(30, -1)).max() < 1 / 255
        found, _ = in_node(json.dumps(text), numbers, "encoder", IMAGES, label)
        back = model.inverse_transform(found.reshape(codes.shape), label).reshape(IMAGES.shape)
        assert np.abs(back - model.reconstruct(IMAGES, label)).max() < 1 / 255


def test_units_of_a_conditional_model_are_told_under_the_items_labels(tmp_path: Path) -> None:
    model, labels = conditional(), np.arange(30) % 3
    made = explored(tmp_path, model, IMAGES, labels)
    with model.given(labels):
        mu, logvar = (t.numpy() for t in model.posterior(sa.tensor(IMAGES)))
    kl = 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar).mean(axis=0)
    np.testing.assert_allclose(array(made["units"]["scores"], made["numbers"]), kl, rtol=1e-4)


def test_a_conditional_model_alone_has_its_labels(tmp_path: Path) -> None:
    made = explored(tmp_path, conditional())
    assert made["classes"] == 3 and made["items"] is None
    assert explored(tmp_path, dense())["classes"] is None


@pytest.mark.parametrize(("labels", "error", "message"), [
    (None, ValueError, "ConditionalVariationalAutoencoder with images and without labels; expected labels from 0 to 2"),
    (np.arange(30) % 4, ValueError, "labels from 0 to 3; expected 0 to 2, as classes says"),
    (np.linspace(0, 2, 30), TypeError, r"labels of float64 and shape \(30,\); expected whole numbers"),
    (np.array(["a", "b", "c"] * 10), TypeError, "the labels is of dtype <U1"),
    (np.arange(29) % 3, ValueError, r"labels have shape \(29,\); expected \(30,\)"),
])  # fmt: skip
def test_labels_that_a_conditional_model_cannot_take_are_refused(
    tmp_path: Path, labels: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sa.explore(conditional(), tmp_path / "page.html", IMAGES, labels)
    many = dense(ConditionalAutoencoder, classes=41)
    with pytest.raises(ValueError, match="the model has 41 labels; the page has buttons for 40"):
        sa.explore(many, tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


# --- weights --------------------------------------------------------------------------------------


def test_weights_are_float16_where_no_output_notices(tmp_path: Path) -> None:
    model = dense()
    assert explored(tmp_path, model, IMAGES)["half"] is True
    first = model.decoder[0].weight
    first.data = first.data * np.float32(1e6)  # float16 ends at 65,504
    made = explored(tmp_path, model, IMAGES)
    assert made["half"] is False
    np.testing.assert_array_equal(array(made["decoder"][0]["weight"], made["numbers"]), first.numpy().ravel())


def test_the_model_of_tutorial_09_with_its_data_takes_less_than_5_mb(tmp_path: Path) -> None:
    model = sa.VariationalAutoencoder.dense((784, 400, 20))
    images, digits = sa.data.mnist_sample()
    made = explored(tmp_path, model, images, digits)
    assert made["half"] and (tmp_path / "page.html").stat().st_size < 5e6
    assert made["items"]["given"] == 5000 and made["items"]["codes"]["size"] == 2000 * 20


# --- what is in the page --------------------------------------------------------------------------


def test_codes_labels_errors_and_pictures_belong_together(tmp_path: Path) -> None:
    model, labels = dense(), np.arange(30) % 3 + 5
    made = explored(tmp_path, model, IMAGES, labels)
    held, numbers = made["items"], made["numbers"]
    codes = array(held["codes"], numbers).reshape(30, 3)
    np.testing.assert_allclose(codes, model.transform(IMAGES), atol=2e-3)
    np.testing.assert_allclose(array(held["errors"], numbers), model.reconstruction_error(IMAGES), rtol=1e-6)
    assert held["labels"]["classes"] == ["5", "6", "7"]
    np.testing.assert_array_equal(array(held["labels"]["index"], numbers), labels - 5)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(held["sprite"].partition(",")[2]))))
    assert held["thumbnail"] == [8, 8] and picture.shape == (5 * 8, 6 * 8)  # 30 pictures in rows of 6
    np.testing.assert_array_equal(picture[8:16, 16:24], (IMAGES[8, 0] * 255).round())


def test_a_large_picture_becomes_a_small_one_of_means() -> None:
    images = rng.random((3, 3, 40, 80), dtype=np.float32)
    file, size = items.sprite(images, 0, 1)
    picture = np.asarray(Image.open(io.BytesIO(file)))
    assert size == (16, 32) and picture.shape == (32, 64, 3)
    mean = images[1, :, 35:37, 2:5].mean(axis=(1, 2)) * 255  # row 14 of 16: rows 35 and 36; column 1 of 32: 2 to 4
    np.testing.assert_allclose(picture[14, 32 + 1], mean, atol=0.51)


def test_units_are_told_by_their_kl_or_their_variance(tmp_path: Path) -> None:
    plain = explored(tmp_path, model := dense(), IMAGES)
    codes = model.transform(IMAGES)
    assert plain["units"]["measure"] == "variance" and not plain["code"]["prior"]
    np.testing.assert_allclose(array(plain["units"]["scores"], plain["numbers"]), codes.var(axis=0), rtol=1e-4)
    low, high = (array(plain["units"][name], plain["numbers"]) for name in ("low", "high"))
    assert (low < codes.min(axis=0)).all() and (high > codes.max(axis=0)).all()
    vae = dense(sa.VariationalAutoencoder)
    made = explored(tmp_path, vae, IMAGES)
    mu, logvar = (t.numpy() for t in vae.posterior(sa.tensor(IMAGES)))
    kl = 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar).mean(axis=0)
    assert made["units"]["measure"] == "nats" and made["code"]["prior"]
    np.testing.assert_allclose(array(made["units"]["scores"], made["numbers"]), kl, rtol=1e-4)


def test_principal_axes_are_those_of_the_covariance() -> None:
    codes = rng.normal(size=(200, 5)) * [3, 1, 0.5, 2, 0]
    axes = items.principal_axes(codes)
    values, vectors = np.linalg.eigh(np.cov(codes.T))
    np.testing.assert_allclose(axes["share"], values[:0:-1] / values.sum(), rtol=1e-6)
    np.testing.assert_allclose(abs(np.sum(axes["vectors"] * vectors.T[:0:-1], axis=1)), 1, rtol=1e-6)
    assert (np.take_along_axis(axes["vectors"], abs(axes["vectors"]).argmax(axis=1)[:, None], 1) > 0).all()


def test_a_plane_or_a_line_of_codes_has_no_principal_axes(tmp_path: Path) -> None:
    assert explored(tmp_path, dense(sizes=(64, 2)), IMAGES)["axes"] is None
    assert explored(tmp_path, dense(), IMAGES[:2])["axes"] is None
    assert explored(tmp_path, dense(), IMAGES[:1])["axes"] is None


def test_a_title_stays_text(tmp_path: Path) -> None:
    title = "</title><script>alert('{{style}}')</script>"
    text = explored(tmp_path, dense(), IMAGES, [title] * 30, title)["text"]
    assert title not in text and text.count(html.escape(title)) == 2
    assert text.count("<script>") == 1 and explored(tmp_path, dense())["title"] == "Autoencoder"


def test_the_page_names_no_other_place(tmp_path: Path) -> None:
    text = explored(tmp_path, dense(), IMAGES)["text"]
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttp|import\(", text.partition('id="model"')[0])
    assert "default-src 'none'" in text and "{{" not in text


def test_of_many_items_a_random_sample_is_shown(tmp_path: Path) -> None:
    many = np.broadcast_to(np.linspace(0, 1, 10_000_000, dtype=np.float32)[:, None], (10_000_000, 6))
    model = dense(sizes=(6, 2), output=None, loss="mse")
    made = explored(tmp_path, model, many, np.arange(10_000_000) // 5_000_000)
    held = made["items"]
    numbers = array(held["numbers"], made["numbers"])
    assert held["given"] == 10_000_000 and len(numbers) == 2000 and (np.diff(numbers) > 0).all()
    np.testing.assert_array_equal(array(held["labels"]["index"], made["numbers"]), numbers // 5_000_000)
    rows = array(held["rows"], made["numbers"]).reshape(2000, 6)
    np.testing.assert_allclose(rows, many[numbers], atol=1e-3)


def test_large_codes_leave_room_for_fewer_items(tmp_path: Path) -> None:
    model = sa.ConvAutoencoder((1, 64))
    made = explored(tmp_path, model, np.zeros((3000, 1, 8, 8), np.float32))
    assert made["items"]["errors"]["size"] == 1_500_000 // (2 * 64 * 16)


@pytest.mark.parametrize(("shape", "picture"), [
    ((1, 4, 6), [1, 4, 6]), ((3, 4, 6), [3, 4, 6]), ((4, 6), [1, 4, 6]), ((24,), None), ((2, 3, 4), None),
])  # fmt: skip
def test_pictures_are_grey_or_rgb(tmp_path: Path, shape: tuple[int, ...], picture: Any) -> None:
    model = dense(sizes=(int(np.prod(shape)), 4))
    made = explored(tmp_path, model, rng.random((20, *shape), dtype=np.float32))
    assert made["picture"] == picture and made["shape"] == list(shape)
    assert ("sprite" in made["items"], "rows" in made["items"]) == (picture is not None, picture is None)


def test_the_range_is_that_of_pictures_or_of_the_data(tmp_path: Path) -> None:
    assert explored(tmp_path, dense(), IMAGES / 3)["range"] == [0, 1]
    one_colour = np.full((4, 1, 8, 8), 5, np.float32)
    assert explored(tmp_path, dense(), one_colour)["range"] == [4, 6]
    standard = IMAGES * 4 - 2
    assert explored(tmp_path, dense(output=None, loss="mse"), standard)["range"] == [standard.min(), standard.max()]
    model = dense(sizes=(6, 2), output=None, loss="mse")
    low, high = explored(tmp_path, model, TABLE)["range"]
    assert low <= TABLE.min() and high >= TABLE.max()


def test_features_have_names(tmp_path: Path) -> None:
    model = dense(sizes=(6, 2), output=None, loss="mse")
    assert explored(tmp_path, model, TABLE, features="abcdef")["features"] == list("abcdef")


def test_labels_may_be_a_scale(tmp_path: Path) -> None:
    made = explored(tmp_path, dense(), IMAGES, np.linspace(0, 2, 30))
    np.testing.assert_allclose(array(made["items"]["labels"]["values"], made["numbers"]), np.linspace(0, 2, 30))


def test_a_denoising_model_tells_its_noise(tmp_path: Path) -> None:
    model = dense(sa.DenoisingAutoencoder, corruption="masking", amount=0.25)
    assert explored(tmp_path, model, IMAGES)["noise"] == {"kind": "masking", "amount": 0.25, "clip": True}
    own = dense(sa.DenoisingAutoencoder, corruption=lambda x: x)
    assert explored(tmp_path, own, IMAGES)["noise"]["kind"] == "gaussian"
    assert explored(tmp_path, dense(), IMAGES)["noise"] is None


def test_without_drawing_the_encoder_is_left_out(tmp_path: Path) -> None:
    class Odd(Layer):
        def forward(self, x: Any) -> Any:
            return x

    model = sa.Autoencoder(nn.Sequential(nn.Flatten(), Odd(), nn.Linear(64, 2)), nn.Linear(2, 64))
    with pytest.raises(TypeError, match=r"layer encoder\.1 is a Odd.*draw=False"):
        sa.explore(model, tmp_path / "page.html", IMAGES)
    assert explored(tmp_path, model, IMAGES, draw=False)["encoder"] is None


# --- models without data --------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "shape", "low", "high"), [
    (lambda: dense(sa.VariationalAutoencoder), [1, 8, 8], -3, 3),
    (lambda: dense(activation="tanh"), [1, 8, 8], -1, 1),
    (lambda: dense(sa.SparseAutoencoder), [1, 8, 8], 0, 1),
    (lambda: dense(sizes=(60, 4)), [60], -3, 3),
    (lambda: sa.ConvAutoencoder((3, 4), size=8, code_size=5), [3, 8, 8], -3, 3),
    (lambda: residual(), [2, 8], -1, 1),
    (lambda: sa.Autoencoder(nn.Sequential(nn.Linear(6, 3), nn.Hardtanh(-2, 5)), nn.Linear(3, 6)), [6], -2, 5),
    (lambda: sa.Autoencoder(nn.Sequential(nn.Linear(6, 3), nn.Residual(nn.Tanh())), nn.Linear(3, 6)), [6], -3, 3),
])  # fmt: skip
def test_the_model_alone_is_enough(tmp_path: Path, model: Any, shape: list[int], low: float, high: float) -> None:
    made = explored(tmp_path, model())
    assert made["items"] is None and made["axes"] is None and made["shape"] == shape
    assert {*array(made["units"]["low"], made["numbers"])} == {low}
    assert {*array(made["units"]["high"], made["numbers"])} == {high}


def test_the_shape_of_an_item_may_be_told(tmp_path: Path) -> None:
    assert explored(tmp_path, dense(), shape=(1, 4, 16))["picture"] == [1, 4, 16]
    assert explored(tmp_path, dense(), shape=(64,))["picture"] is None


def test_padding_that_continues_the_picture_is_refused(tmp_path: Path) -> None:
    for conv, shape in ((nn.Conv2d, (1, 4, 4)), (nn.Conv1d, (1, 16))):
        encoder = nn.Sequential(conv(1, 2, 3, padding=1, padding_mode="reflect"), nn.Flatten(), nn.Linear(32, 2))
        model = sa.Autoencoder(encoder, nn.Linear(2, 16))
        with pytest.raises(ValueError, match="padding_mode='reflect'; the page pads with zeros only"):
            sa.explore(model, tmp_path / "page.html", np.zeros((3, *shape), np.float32))
    assert not list(tmp_path.iterdir())


def test_flat_items_of_a_square_number_are_pictures_unless_told_otherwise(tmp_path: Path) -> None:
    model, flat = sa.Autoencoder.dense((64, 2)), np.random.default_rng(0).random((20, 64), dtype=np.float32)
    found = [page._described(model, flat, None, None, shape, True) for shape in (None, (64,), (4, 16))]
    assert [d["picture"] for d in found] == [(1, 8, 8), None, (1, 4, 16)]
    assert all(d["shape"] == [64] for d in found)  # as the model takes items


def test_a_code_of_unknown_shape_needs_images(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"begins with Function\(upsample\), which does not tell"):
        sa.explore(sa.Autoencoder(nn.Identity(), nn.Sequential(F.upsample, nn.Linear(4, 4))), tmp_path / "page.html")
    with pytest.raises(ValueError, match="begins with Conv2d.*does not tell the shape of a code; pass some images"):
        sa.explore(sa.ConvAutoencoder((1, 4)), tmp_path / "page.html")


# --- what is refused ------------------------------------------------------------------------------


class OwnDecode(sa.Autoencoder):
    def decode(self, z: Any) -> Any:
        return self.decoder(z * 2)


class OwnLayer(nn.ReLU):
    def forward(self, x: Any) -> Any:
        return x + 1


def with_nan() -> np.ndarray:
    images = IMAGES.copy()
    images[7, 0, 2, 2] = np.nan
    return images


def bad_weights(half: str) -> Any:
    model = dense()
    getattr(model, half)[-1 if half == "encoder" else 0].weight.data[...] = np.nan
    return model


@pytest.mark.parametrize(("given", "error", "message"), [
    (lambda: (nn.Linear(2, 2),), TypeError, "Linear, without encoder and decoder"),
    (lambda: (OwnDecode(nn.Flatten(), nn.Identity()), IMAGES), TypeError, "OwnDecode encodes or decodes"),
    (lambda: (sa.Autoencoder(nn.Flatten(), OwnLayer()), IMAGES), TypeError, "layer decoder is a OwnLayer"),
    (lambda: (sa.Autoencoder(nn.Flatten(), nn.Sequential(nn.ReLU(), nn.Sequential(OwnLayer()))), IMAGES),
     TypeError, r"layer decoder\.1\.0 is a OwnLayer; expected layers of scratchae.nn"),
    (lambda: (sa.Autoencoder(nn.Flatten(), nn.Sequential(nn.Residual(nn.Sequential(OwnLayer())))), IMAGES),
     TypeError, r"layer decoder\.0\.net\.0 is a OwnLayer; expected layers of scratchae.nn"),
    (lambda: (sa.Autoencoder(nn.Flatten(), nn.Sequential(F.exp)), IMAGES),
     TypeError, r"layer decoder\.0 is a Function\(exp\); expected layers of scratchae.nn"),
    (lambda: (sa.Autoencoder(nn.Flatten(), nn.Softmax(0)), IMAGES), ValueError, "runs along the batch"),
    (lambda: (dense(), IMAGES, np.arange(29)), ValueError, r"labels have shape \(29,\); expected \(30,\)"),
    (lambda: (dense(), IMAGES, np.arange(30) + 0.0 * np.log(0)), ValueError, "labels hold NaN"),
    (lambda: (dense(), IMAGES.repeat(2, 0), np.arange(60)), ValueError, "60 classes of labels; the page tells 40"),
    (lambda: (dense(), None, np.arange(30)), ValueError, "labels without images"),
    (lambda: (dense(), with_nan()), ValueError, "image number 7 is not finite, one of 1"),
    (lambda: (dense(), IMAGES[:0]), ValueError, "empty array"),
    (lambda: (dense(), IMAGES.astype(float)), TypeError, "astype"),
    (lambda: (bad_weights("encoder"), IMAGES), ValueError, "codes are not finite"),
    (lambda: (bad_weights("decoder"), IMAGES), ValueError, "decoder makes numbers that are not finite"),
    (lambda: (sa.Autoencoder(nn.Flatten(), nn.Linear(64, 10)), IMAGES), ValueError, r"shape \(10,\); expected 64"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*invalid value|.*divide by zero:RuntimeWarning")
def test_what_no_page_can_show_is_refused_before_writing(
    tmp_path: Path, given: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        model, *rest = given()
        sa.explore(model, tmp_path / "page.html", *rest)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("options", "message"), [
    ({"features": "abc"}, "features beside items of shape"),
    ({"shape": (7, 7)}, "expected 49 numbers, for items of shape"),
    ({"draw": 1}, "draw=1; expected True or False"),
])  # fmt: skip
def test_odd_options_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sa.explore(dense(), tmp_path / "page.html", IMAGES, **options)
    with pytest.raises(ValueError, match="expected 6 names"):
        sa.explore(dense(sizes=(6, 2)), tmp_path / "page.html", abs(TABLE) % 1, features="abc")
    with pytest.raises(ValueError, match="ends in .html"):
        sa.explore(dense(), tmp_path / "page.png", IMAGES)
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(OSError, match="folder.html"):
        sa.explore(dense(), tmp_path / "folder.html", IMAGES)


def test_the_model_stays_as_it_was(tmp_path: Path) -> None:
    model = dense()
    model.train()
    before = {name: a.copy() for name, a in model.state_dict().items()}
    state = sa.random.random_state()
    sa.explore(model, tmp_path / "page.html", IMAGES)
    assert model.training and sa.random.random_state() == state
    for name, a in model.state_dict().items():
        np.testing.assert_array_equal(a, before[name])


def test_a_model_on_any_device(tmp_path: Path, device: str) -> None:
    model = dense(sa.VariationalAutoencoder).to(device)
    made = explored(tmp_path, model, sa.tensor(IMAGES, device=device).data, np.arange(30) % 2)
    np.testing.assert_allclose(
        array(made["items"]["errors"], made["numbers"]), model.reconstruction_error(IMAGES), rtol=1e-5
    )


# --- colours --------------------------------------------------------------------------------------

# How protanopia, deuteranopia and tritanopia change linear RGB: G. Machado, M. Oliveira, L. Fernandes, "A
# physiologically-based model for simulation of color vision deficiency", 2009, severity 1.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def oklab(linear: np.ndarray) -> np.ndarray:
    """B. Ottosson, "A perceptual color space for image processing", 2020."""
    cones = linear.clip(0, 1) @ np.transpose(
        [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
         [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
    return np.cbrt(cones) @ np.transpose(
        [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099],
         [0.0259040371, 0.7827717662, -0.808675766]])  # fmt: skip


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_ten_colours_can_be_told_apart(theme: str, sight: str) -> None:
    listed = re.search(rf"{theme}: \[(.*?)\]", (FOLDER / "paint.js").read_text())
    assert listed is not None
    colours = re.findall(r"#(\w{6})", listed[1])
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (0, 2, 4)] for c in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = oklab(linear @ np.transpose(SIGHT[sight]))
    apart = np.linalg.norm(seen[:, None] - seen, axis=-1)
    assert len(colours) == 10 and apart[~np.eye(10, dtype=bool)].min() >= 0.095
