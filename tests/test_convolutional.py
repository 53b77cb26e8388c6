"""Convolutional halves: what is built, which sizes fit, and the gradients through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from family import assert_gradients_are_slopes, conv_kind, conv_vae, images

import scratchae as sa
from scratchae import nn
from scratchae.autoencoders import (
    Autoencoder,
    ConvAutoencoder,
    DenoisingAutoencoder,
    conv_decoder,
    conv_encoder,
    feature_size,
)

SHORT = {"Conv2d": "conv", "ConvTranspose2d": "transposed conv", "MaxPool2d": "max-pool", "ReLU": "ReLU",
         "Upsample": "upsample", "Sigmoid": "sigmoid", "Flatten": "flatten", "Unflatten": "unflatten"}  # fmt: skip


def named(half: Any) -> str:
    """The layers as the module's docstring names them."""
    words = []
    for layer in half:
        word = SHORT.get(type(layer).__name__, type(layer).__name__)
        if hasattr(layer, "in_channels"):
            word += f" {layer.in_channels}-{layer.out_channels}" + (" with stride 2" if layer.stride == 2 else "")
        if isinstance(layer, nn.Linear):
            word += f" {layer.in_features}-{layer.out_features}"
        words.append(word)
    return ", ".join(words)


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


# --- what is built --------------------------------------------------------------------------------


def test_the_layers_are_those_that_the_documentation_lists() -> None:
    pool, stride = ConvAutoencoder((1, 16, 32)), ConvAutoencoder((1, 16, 32), down="stride")
    assert named(pool.encoder) == "conv 1-16, ReLU, max-pool, conv 16-32, ReLU, max-pool"
    assert named(pool.decoder) == "conv 32-16, ReLU, upsample, conv 16-16, ReLU, upsample, conv 16-1, sigmoid"
    assert named(stride.encoder) == "conv 1-16 with stride 2, ReLU, conv 16-32 with stride 2, ReLU"
    assert named(stride.decoder) == (
        "transposed conv 32-16 with stride 2, ReLU, transposed conv 16-1 with stride 2, sigmoid"
    )


def test_parameters_counted_by_hand() -> None:
    def conv(c_in: int, c_out: int, kernel: int = 3) -> int:
        return c_in * c_out * kernel**2 + c_out

    assert ConvAutoencoder((1, 16, 32)).count_parameters() == (
        conv(1, 16) + conv(16, 32) + conv(32, 16) + conv(16, 16) + conv(16, 1)
    )
    assert ConvAutoencoder((1, 16, 32), "stride", 5).count_parameters() == (
        conv(1, 16, 5) + conv(16, 32, 5) + conv(32, 16, 5) + conv(16, 1, 5)
    )
    linear = 32 * 49 * 10 + 10 + 10 * 32 * 49 + 32 * 49
    flat = ConvAutoencoder((1, 16, 32), code_size=10)
    assert flat.count_parameters() == ConvAutoencoder((1, 16, 32)).count_parameters() + linear
    assert feature_size((1, 16, 32), 28) == 32 * 49 and feature_size((3, 4), 6) == 36


def test_a_code_size_makes_the_code_flat() -> None:
    model = ConvAutoencoder((1, 4, 8), code_size=5, size=12)
    assert named(model.encoder) == "conv 1-4, ReLU, max-pool, conv 4-8, ReLU, max-pool, flatten, Linear 72-5"
    assert named(model.decoder).startswith("Linear 5-72, unflatten, ReLU, conv 8-4, ReLU, upsample")
    x = random_images(6, 1, 12, 12)
    assert model.transform(x).shape == (6, 5) and model.reconstruct(x).shape == x.shape


@pytest.mark.parametrize("down", ["pool", "stride"])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("channels, shape", [((1, 4, 6), (28, 28)), ((3, 2), (6, 10)), ((2, 3, 4, 5), (8, 16))])
def test_shapes_go_down_by_halves_and_come_back(down: str, kernel_size: int, channels: Any, shape: Any) -> None:
    model, x = ConvAutoencoder(channels, down, kernel_size), random_images(2, channels[0], *shape)
    halvings = len(channels) - 1
    assert model.transform(x).shape == (2, channels[-1], *(n // 2**halvings for n in shape))
    assert model.reconstruct(x).shape == x.shape and model(sa.Tensor(x)).shape == x.shape
    assert model.inverse_transform(model.transform(x)).shape == x.shape and model.reconstruction_error(x).shape == (2,)
    assert model.loss(sa.Tensor(x)).item() == pytest.approx(np.log(2), abs=0.2)  # about a coin at the start


def test_channels_activations_and_outputs_are_as_asked() -> None:
    model = ConvAutoencoder(np.array([1, 2, 3]), activation="gelu", output=None, loss="mse")
    assert named(model.encoder).count("GELU") == 2 and named(model.decoder).endswith("upsample, conv 2-1")
    linear = ConvAutoencoder((1, 2, 3), "stride", activation=None, output="tanh")
    assert named(linear.decoder) == "transposed conv 3-2 with stride 2, transposed conv 2-1 with stride 2, Tanh"
    assert named(conv_decoder((1, 2), "stride", output="relu")) == "transposed conv 2-1 with stride 2, ReLU"


@pytest.mark.parametrize("down", ["pool", "stride"])
def test_a_model_on_logits_has_no_sigmoid_of_its_own(down: str) -> None:
    model, x = ConvAutoencoder((1, 2, 3), down, loss="bce_logits"), images()
    assert not any(isinstance(m, nn.Sigmoid) for m in model.modules())
    logits = model(sa.Tensor(x)).numpy()
    np.testing.assert_allclose(model.reconstruct(x), 1 / (1 + np.exp(-logits)), rtol=1e-6)
    twin = ConvAutoencoder((1, 2, 3), down)
    twin.load_state_dict(model.state_dict())
    np.testing.assert_allclose(twin.reconstruct(x), model.reconstruct(x), rtol=1e-6)
    assert twin.loss(sa.Tensor(x)).item() == pytest.approx(model.loss(sa.Tensor(x)).item(), rel=1e-6)


def test_the_halves_serve_any_kind() -> None:
    model = DenoisingAutoencoder(conv_encoder(), conv_decoder(), loss="bce", amount=0.1)
    x = random_images(2, 1, 28, 28)
    assert model.transform(x).shape == (2, 16, 7, 7) and model.reconstruct(x).shape == x.shape
    assert conv_vae().transform(images()).shape == (7, 2)
    assert isinstance(conv_kind(Autoencoder)(sa.Tensor(images())), sa.Tensor)


def test_the_code_keeps_its_place_in_the_image() -> None:
    model, x = ConvAutoencoder((1, 2, 3), "stride"), random_images(1, 1, 16, 16)
    moved = x.copy()
    moved[..., 0, 0] += 1
    changed = (model.transform(moved) != model.transform(x)).any(axis=(0, 1))
    assert changed.shape == (4, 4) and not changed[2:].any() and not changed[:, 2:].any()


@pytest.mark.parametrize("down", ["pool", "stride"])
def test_a_norm_stands_between_each_convolution_and_its_activation(down: str) -> None:
    model = ConvAutoencoder((1, 2, 3), down, norm="batch", code_size=4, size=8)
    for half, channels in ((model.encoder, [2, 3]), (model.decoder, [2, 2] if down == "pool" else [2])):
        layers = list(half)
        norms = [i for i, layer in enumerate(layers) if isinstance(layer, nn.BatchNorm2d)]
        assert [layers[i].num_features for i in norms] == channels
        for i in norms:
            assert isinstance(layers[i - 1], (nn.Conv2d, nn.ConvTranspose2d)) and isinstance(layers[i + 1], nn.ReLU)
    x = random_images(16, 1, 8, 8)
    model.loss(sa.Tensor(x))
    assert model.reconstruct(x).shape == x.shape and (model.encoder[1].running_mean != 0).all()


@pytest.mark.parametrize("down", ["pool", "stride"])
@pytest.mark.parametrize(
    "kernel_size, shape, code",
    [((1, 5), (1, 140), (1, 35)), ((1, 5), (6, 12), (6, 3)), ((5, 1), (12, 3), (3, 3)), ((3, 5), (8, 12), (2, 3)),
     ((1, 1), (8, 12), (2, 3))],
)  # fmt: skip
def test_a_kernel_of_one_row_halves_the_width_alone(down: str, kernel_size: Any, shape: Any, code: Any) -> None:
    model, x = ConvAutoencoder((2, 3, 4), down, kernel_size), random_images(2, 2, *shape)
    assert model.transform(x).shape == (2, 4, *code) and model.reconstruct(x).shape == x.shape
    flat = ConvAutoencoder((2, 3, 4), down, kernel_size, code_size=5, size=shape)
    assert flat.transform(x).shape == (2, 5) and flat.reconstruct(x).shape == x.shape
    assert feature_size((2, 3, 4), shape, kernel_size) == 4 * code[0] * code[1]


@pytest.mark.parametrize("down", ["pool", "stride"])
def test_a_series_computes_what_the_layers_for_series_compute(down: str) -> None:
    encoder, x = conv_encoder((2, 3, 4), down, (1, 5)), random_images(3, 2, 16)
    stride, pool = (1, [nn.MaxPool1d(2)]) if down == "pool" else (2, [])
    first, second = (nn.Conv1d(c_in, c_out, 5, stride, 2) for c_in, c_out in ((2, 3), (3, 4)))
    twin = nn.Sequential(first, nn.ReLU(), *pool, second, nn.ReLU(), *pool)
    twin.load_state_dict({name: a.squeeze(2) if a.ndim == 4 else a for name, a in encoder.state_dict().items()})
    np.testing.assert_array_equal(encoder(x[:, :, None])[:, :, 0], twin(x))


# --- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("down", ["pool", "stride"])
@pytest.mark.parametrize("loss", ["mse", "mae", "bce", "bce_logits", "cb"])
def test_gradients_of_all_parameters_are_the_slopes(down: str, loss: str) -> None:
    assert_gradients_are_slopes(ConvAutoencoder((1, 2), down, loss=loss), images(2, np.float64))


@pytest.mark.parametrize("down", ["pool", "stride"])
@pytest.mark.parametrize(
    "options",
    [{"code_size": 2, "size": 4}, {"kernel_size": 1}, {"kernel_size": 5}, {"kernel_size": (1, 3)}, {"norm": "batch"}],
    ids=str,
)  # fmt: skip
def test_gradients_of_other_layouts(down: str, options: dict[str, Any]) -> None:
    assert_gradients_are_slopes(ConvAutoencoder((1, 2), down, activation="tanh", **options), images(2, np.float64))


@pytest.mark.parametrize("down", ["pool", "stride"])
@pytest.mark.parametrize("activation", ["gelu", "softplus", None])
def test_gradients_of_two_halvings(down: str, activation: str | None) -> None:
    assert_gradients_are_slopes(ConvAutoencoder((1, 1, 2), down, activation=activation), images(2, np.float64))


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("down", ["pool", "stride"])
@pytest.mark.parametrize("shape", [(27, 28), (7, 7), (6, 8), (30, 30)])
def test_images_that_cannot_be_halved_twice_are_refused(down: str, shape: tuple[int, int]) -> None:
    model, x = ConvAutoencoder((1, 2, 3), down), random_images(2, 1, *shape)
    for call in (lambda: model(sa.Tensor(x)), lambda: model.loss(sa.Tensor(x)), lambda: model.reconstruct(x)):
        with pytest.raises(ValueError, match=rf"\(2, 1, {shape[0]}, {shape[1]}\).*need sides divisible by 2"):
            call()


MISTAKES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "one channel": (lambda: ConvAutoencoder((1,)), ValueError, "channels=1; expected the images' channels and"),
    "no channels": (lambda: conv_encoder(()), ValueError, r"channels=\(\)"),
    "channel 0": (lambda: conv_decoder((1, 0)), ValueError, r"channels=\(1, 0\)"),
    "half a channel": (lambda: ConvAutoencoder((1, 2.5)), ValueError, r"channels=\(1, 2.5\)"),
    "a number": (lambda: ConvAutoencoder(16), (TypeError, ValueError), "channels=16"),
    "halves of one's own": (lambda: ConvAutoencoder(nn.Flatten(), nn.Flatten()), TypeError, "use Autoencoder"),
    "dense": (lambda: ConvAutoencoder.dense((784, 64)), TypeError, "dense ones, use Autoencoder"),
    "down": (lambda: ConvAutoencoder(down="max"), ValueError, "down='max'; expected 'pool' or 'stride'"),
    "even kernel": (lambda: ConvAutoencoder(kernel_size=4), ValueError, "kernel_size=4; expected an odd number"),
    "kernel 0": (lambda: conv_encoder(kernel_size=0), ValueError, "kernel_size=0"),
    "kernel below 0": (lambda: conv_decoder(kernel_size=-3), ValueError, "kernel_size=-3"),
    "kernel in halves": (lambda: conv_encoder(kernel_size=3.0), ValueError, "kernel_size=3.0"),
    "even side of a kernel": (lambda: conv_encoder(kernel_size=(1, 4)), ValueError, r"kernel_size=\(1, 4\); exp"),
    "three sides of a kernel": (lambda: conv_encoder(kernel_size=(1, 3, 3)), ValueError, r"kernel_size=\(1, 3, 3\)"),
    "norm": (lambda: conv_decoder(norm="layer"), ValueError, "norm='layer'; expected None or one of 'batch'"),
    "size of a series": (
        lambda: ConvAutoencoder(code_size=4, size=(1, 140)), ValueError,
        r"size=\(1, 140\) cannot be halved 2 times.*for series take a kernel such as \(1, 5\)",
    ),
    "sides of a series": (
        lambda: conv_encoder((1, 2, 3), kernel_size=(1, 5), code_size=4, size=(1, 142)), ValueError, "multiple of 4",
    ),
    "activation": (lambda: conv_encoder(activation="swish"), ValueError, "activation='swish'"),
    "output": (lambda: ConvAutoencoder(output="softmax"), ValueError, "'softmax'"),
    "loss": (lambda: ConvAutoencoder(loss="l2"), ValueError, "loss='l2'"),
    "code size 0": (lambda: ConvAutoencoder(code_size=0), ValueError, "=0; expected an integer of at least 1"),
    "code size below 0": (lambda: conv_decoder(code_size=-1), ValueError, "=-1; expected an integer"),
    "size": (
        lambda: ConvAutoencoder(code_size=4, size=30), ValueError, "size=30 cannot be halved 2 times.*multiple of 4",
    ),
    "no size": (lambda: conv_encoder(code_size=4, size=0), ValueError, "size=0"),
    "another size": (
        lambda: ConvAutoencoder((1, 2), code_size=4, size=4).transform(random_images(2, 1, 6, 6)),
        ValueError, r"Linear\(8, 4\).*\(2, 18\)",
    ),
    "flat images": (lambda: ConvAutoencoder().reconstruct(random_images(2, 784)), ValueError, r"got \(2, 784\)"),
    "no channel axis": (lambda: ConvAutoencoder().reconstruct(random_images(2, 28, 28)), ValueError, r"\(2, 28, 28\)"),
    "colours": (lambda: ConvAutoencoder().reconstruct(random_images(2, 3, 28, 28)), ValueError, r"\(2, 3, 28, 28\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(case: str) -> None:
    call, error, message = MISTAKES[case]
    with pytest.raises(error, match=message):
        call()
