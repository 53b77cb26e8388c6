"""The autoencoder: what `dense` builds, what the losses are, and what the methods on arrays promise."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import naive
import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim
from scratchae.autoencoders.base import ACTIVATIONS, LOSSES

FLAT, IMAGES = (10, 784), (10, 1, 28, 28)


def small(loss: Any = "bce", **options: Any) -> sa.Autoencoder:
    return sa.Autoencoder.dense((6, 5, 3), loss=loss, **options)


def data(n: int = 10, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(1).random((n, 6)).astype(dtype)


def layers(net: Any) -> list[str]:
    return [f"{type(layer).__name__}({layer.describe()})" for layer in net]


# --- what is built --------------------------------------------------------------------------------


def test_dense_mirrors_its_sizes() -> None:
    model = sa.Autoencoder.dense((784, 128, 32, 8))
    assert layers(model.encoder) == ["Flatten()", "Linear(784, 128)", "ReLU()", "Linear(128, 32)", "ReLU()",
                                     "Linear(32, 8)"]  # fmt: skip
    assert layers(model.decoder) == ["Linear(8, 32)", "ReLU()", "Linear(32, 128)", "ReLU()", "Linear(128, 784)",
                                     "Sigmoid()"]  # fmt: skip
    assert model.count_parameters() == sum(a * b + b for a, b in [(784, 128), (128, 32), (32, 8), (8, 32), (32, 128),
                                                                  (128, 784)])  # fmt: skip


def test_without_activations_it_is_the_linear_one() -> None:
    model = sa.Autoencoder.dense((6, 4, 2), activation=None, output=None, loss="mse")
    assert layers(model.encoder) == ["Flatten()", "Linear(6, 4)", "Linear(4, 2)"]
    assert layers(model.decoder) == ["Linear(2, 4)", "Linear(4, 6)"]
    x, y = data(2)
    middle = model(sa.Tensor((x + y)[None] / 2)).numpy()  # it is affine: the middle goes to the middle
    np.testing.assert_allclose(middle[0], model(sa.Tensor(np.stack([x, y]))).numpy().mean(0), atol=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_code_is_bounded_only_where_the_activation_bounds_both_sides(name: str) -> None:
    layer = f"{ACTIVATIONS[name].__name__}({ACTIVATIONS[name]().describe()})"
    model = small(activation=name, output=name)
    code = [layer] if name in ("sigmoid", "tanh") else []
    assert layers(model.encoder) == ["Flatten()", "Linear(6, 5)", layer, "Linear(5, 3)", *code]
    assert layers(model.decoder) == ["Linear(3, 5)", layer, "Linear(5, 6)", layer]
    assert layers(small(activation=name, code_activation=None).encoder)[-1] == "Linear(5, 3)"
    assert layers(small(activation=None, code_activation=name).encoder)[-2:] == ["Linear(5, 3)", layer]


def test_further_options_go_to_the_kind() -> None:
    class Kind(sa.Autoencoder):
        def __init__(self, encoder: Any, decoder: Any, loss: Any, weight: float):
            super().__init__(encoder, decoder, loss)
            self.weight = weight

    model = Kind.dense((6, 4, 2), activation="softplus", weight=0.25)
    assert type(model) is Kind and model.weight == 0.25 and layers(model.encoder)[2] == "Softplus()"


@pytest.mark.parametrize("shape", [FLAT, IMAGES], ids=["flat", "images"])
def test_forward_keeps_the_inputs_shape(shape: tuple) -> None:
    model = sa.Autoencoder.dense((784, 16, 4))
    x = np.random.default_rng(0).random(shape, np.float32)
    z = model.encode(sa.Tensor(x))
    assert z.shape == (10, 4) and model.decode(z).shape == FLAT
    out = model(sa.Tensor(x))
    assert out.shape == shape and model.reconstruct(x).shape == shape
    np.testing.assert_array_equal(out.numpy().reshape(FLAT), model(sa.Tensor(x.reshape(FLAT))).numpy())
    assert model.transform(x).shape == (10, 4) and model.reconstruction_error(x).shape == (10,)


# --- losses ---------------------------------------------------------------------------------------

FORMULAS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "mse": lambda y, t: (y - t) ** 2,
    "mae": lambda y, t: abs(y - t),
    "bce": lambda y, t: -(t * np.log(y) + (1 - t) * np.log(1 - y)),
    "bce_logits": lambda y, t: np.log(1 + np.exp(y)) - t * y,
    "cb": naive.continuous_bernoulli,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_the_loss_is_the_named_distance_to_the_target(name: str) -> None:
    model = small(name, output=None if name == "bce_logits" else "sigmoid").to(np.float64)
    x, clean = data(dtype=np.float64), sa.Tensor(data(dtype=np.float64) ** 2)
    y = model(sa.Tensor(x)).numpy()
    for args, target in (((sa.Tensor(x),), x), ((sa.Tensor(x), clean), clean.numpy())):
        terms, wanted = model.loss_terms(*args), FORMULAS[name](y, target).mean()
        assert list(terms) == ["reconstruction"] and terms["reconstruction"].item() == pytest.approx(wanted, rel=1e-12)
        assert model.loss(*args).item() == terms["reconstruction"].item()
    model._distance = None
    same = sa.Autoencoder(model.encoder, model.decoder, loss=LOSSES[name])
    assert same.loss(sa.Tensor(x)).item() == pytest.approx(FORMULAS[name](y, x).mean(), rel=1e-12)
    assert set(LOSSES) == set(FORMULAS)


def test_mean_squared_error_is_the_default_and_any_function_will_do() -> None:
    encoder, decoder, x = nn.Linear(6, 2), nn.Linear(2, 6), sa.Tensor(data())
    assert sa.Autoencoder(encoder, decoder).loss(x).item() == F.mse_loss(decoder(encoder(x)), x).item()
    worst = sa.Autoencoder(encoder, decoder, loss=lambda y, t: abs(y - t).max())
    assert worst.loss(x).item() == abs(decoder(encoder(x)).numpy() - data()).max()


def test_the_loss_is_the_sum_of_all_terms() -> None:
    class Kind(sa.Autoencoder):
        def loss_terms(self, x: Any, target: Any = None) -> dict[str, Any]:
            return {**super().loss_terms(x, target), "a": self.encode(x).sum(), "b": (x * x).sum()}

    model, x = Kind(nn.Linear(6, 2), nn.Linear(2, 6)).to(np.float64), sa.Tensor(data(dtype=np.float64))
    assert model.loss(x).item() == pytest.approx(sum(t.item() for t in model.loss_terms(x).values()), rel=1e-14)


def gradcheck_parameters(model: sa.Autoencoder, *batch: sa.Tensor) -> bool:
    """Check the slope of the model's loss in each of its parameters."""
    model = copy.deepcopy(model)
    places = [(m, n) for m in model.modules() for n, v in vars(m).items() if isinstance(v, nn.Parameter)]

    def loss(*values: sa.Tensor) -> sa.Tensor:
        for (owner, name), value in zip(places, values, strict=True):
            setattr(owner, name, value)
        return model.loss(*batch)

    return sa.gradcheck(loss, [getattr(owner, name) for owner, name in places])


@pytest.mark.parametrize("loss", FORMULAS)
@pytest.mark.parametrize("activation", [*ACTIVATIONS, None])
def test_gradients_of_all_parameters_are_the_slopes(activation: str | None, loss: str) -> None:
    model = small(loss, activation=activation, output=None if loss == "bce_logits" else "sigmoid").to(np.float64)
    assert gradcheck_parameters(model, sa.Tensor(data(4, np.float64)))
    assert gradcheck_parameters(model, sa.Tensor(data(4, np.float64)), sa.Tensor(data(4, np.float64) ** 2))


# --- on arrays ------------------------------------------------------------------------------------


class Probe(nn.Module):
    """Notes what passes by."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, bool, bool]] = []

    def forward(self, x: Any) -> Any:
        self.seen.append((len(x), x.requires_grad, self.training))
        return x


METHODS: dict[str, Callable[[sa.Autoencoder, np.ndarray, int], np.ndarray]] = {
    "reconstruct": lambda m, x, b: m.reconstruct(x, batch_size=b),
    "transform": lambda m, x, b: m.transform(x, batch_size=b),
    "inverse_transform": lambda m, x, b: m.inverse_transform(x[:, :3], batch_size=b),
    "reconstruction_error": lambda m, x, b: m.reconstruction_error(x, batch_size=b),
}
every_method = pytest.mark.parametrize("name", METHODS)


@every_method
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batches_give_the_same_as_one_pass_in_the_models_dtype(name: str, dtype: Any) -> None:
    model, x = small().to(dtype), data(dtype=dtype)
    method, tensor = METHODS[name], sa.Tensor(x)
    whole = method(model, x, 1024)
    assert type(whole) is np.ndarray and whole.dtype == dtype and len(whole) == 10
    for batch_size in (1, 4, 10):
        np.testing.assert_allclose(method(model, x, batch_size), whole, rtol=1e-5 if dtype == np.float32 else 1e-13)
    error = ((model(tensor).numpy() - x) ** 2).mean(1)
    with sa.no_grad():  # to compare as arrays
        wanted = {"reconstruct": model(tensor), "transform": model.encode(tensor), "reconstruction_error": error,
                  "inverse_transform": model.decode(sa.Tensor(x[:, :3]))}[name]  # fmt: skip
    np.testing.assert_allclose(whole, np.asarray(wanted), rtol=1e-6 if dtype == np.float32 else 1e-13)


@every_method
def test_array_methods_run_in_batches_in_eval_mode_and_record_nothing(name: str) -> None:
    model, probe = small(), Probe()
    model.encoder = nn.Sequential(*model.encoder, probe, nn.Dropout(0.5))
    model.decoder = nn.Sequential(nn.Dropout(0.5), *model.decoder, probe)
    model.decoder[0].eval()  # modes are mixed
    modes = [m.training for m in model.modules()]
    state = sa.random.generator().bit_generator.state
    first = METHODS[name](model, data(), 4)
    sizes = [4, 4, 2] if "transform" in name else [4, 4, 4, 4, 2, 2]
    assert probe.seen == [(n, False, False) for n in sizes]
    np.testing.assert_array_equal(METHODS[name](model, data(), 4), first)
    assert [m.training for m in model.modules()] == modes and len(set(modes)) == 2
    assert all(p.grad is None for p in model.parameters()) and sa.random.generator().bit_generator.state == state
    with pytest.raises(ValueError, match="Linear"):
        METHODS[name](model, np.ones((3, 2), np.float32), 4)
    assert [m.training for m in model.modules()] == modes
    assert model.loss(sa.Tensor(data())).requires_grad


@pytest.mark.parametrize("loss", ["bce_logits", F.binary_cross_entropy_with_logits])
def test_logits_come_out_as_probabilities(loss: Any) -> None:
    model, x = small(loss, output=None).to(np.float64), data(dtype=np.float64)
    wanted = 1 / (1 + np.exp(-model(sa.Tensor(x)).numpy()))
    np.testing.assert_allclose(model.reconstruct(x), wanted, rtol=1e-12)
    np.testing.assert_allclose(model.inverse_transform(model.transform(x)), wanted, rtol=1e-12)
    np.testing.assert_allclose(model.reconstruction_error(x), ((wanted - x) ** 2).mean(1), rtol=1e-12)


@pytest.mark.parametrize("loss", ["cb", F.continuous_bernoulli_nll])
def test_parameters_of_densities_come_out_as_means(loss: Any) -> None:
    model, x = small(loss).to(np.float64), data(dtype=np.float64)
    parameters = model(sa.Tensor(x)).numpy()
    wanted = naive.continuous_bernoulli_mean(parameters)
    assert abs(wanted - parameters).max() > 0.01
    np.testing.assert_allclose(model.reconstruct(x), wanted, rtol=1e-12)
    np.testing.assert_allclose(model.inverse_transform(model.transform(x)), wanted, rtol=1e-12)
    np.testing.assert_allclose(model.reconstruction_error(x), ((wanted - x) ** 2).mean(1), rtol=1e-12)


def test_a_tensor_is_as_good_as_an_array_and_a_model_may_have_no_parameters() -> None:
    model, x = small(), data()
    np.testing.assert_array_equal(model.transform(sa.Tensor(x)), model.transform(x))
    halves = sa.Autoencoder(nn.Identity(), nn.Sequential(nn.Flatten(), nn.ReLU()))
    np.testing.assert_array_equal(halves.reconstruct(x - 0.5), np.maximum(x - 0.5, 0))


@pytest.mark.parametrize("way", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies_compute_the_same(way: Callable) -> None:
    model = small("bce_logits", output=None)
    np.testing.assert_array_equal(way(model).reconstruct(data()), model.reconstruct(data()))


# --- training -------------------------------------------------------------------------------------


def test_three_epochs_on_digits_lower_the_loss() -> None:
    images, _ = sa.data.mnist_sample()
    held_out, _ = sa.data.mnist_sample("test")
    model = sa.Autoencoder.dense((784, 64, 16))
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    history = sa.Trainer(model, optimizer).fit(images, held_out, epochs=3, batch_size=128, progress=False)
    assert history["loss"][0] > history["loss"][1] > history["loss"][2]
    assert history["loss"][-1] < 0.19 and history["val_loss"][-1] < 0.18  # over three seeds at most 0.177 and 0.167
    mean_image = ((held_out - images.mean(0)) ** 2).mean()  # 0.067; the model had 0.032 to 0.035
    assert model.reconstruction_error(held_out).mean() < 0.6 * mean_image


def test_the_linear_autoencoder_finds_the_plane_of_the_principal_components() -> None:
    points, _ = sa.data.tilted_gaussian(400)
    points = (points - points.mean(0)).astype(np.float64)
    variances, axes = np.linalg.eigh(points.T @ points / 400)
    model = sa.Autoencoder.dense((3, 2), activation=None, output=None, loss="mse").to(np.float64)
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    schedule = sa.Schedule(optim.CosineLR(optimizer, 1000))
    sa.Trainer(model, optimizer, [schedule]).fit(points, epochs=1000, batch_size=400, progress=False)
    best = variances[0] / 3  # what is left of the third axis, per coordinate
    assert best * (1 - 1e-12) <= model.reconstruction_error(points).mean() < best * 1.001
    basis, _ = np.linalg.qr(model.decoder[0].weight.data)
    np.testing.assert_allclose(basis @ basis.T, axes[:, 1:] @ axes[:, 1:].T, atol=1e-3)


# --- mistakes -------------------------------------------------------------------------------------

dense = sa.Autoencoder.dense
MISTAKES: dict[str, tuple[Callable[[sa.Autoencoder], Any], type[Exception], str]] = {
    "one size": (lambda m: dense((784,)), ValueError, r"sizes=\(784,\); expected input size"),
    "no sizes": (lambda m: dense(()), ValueError, r"sizes=\(\)"),
    "size 0": (lambda m: dense((784, 0, 3)), ValueError, r"sizes=\(784, 0, 3\).*at least 1"),
    "half a size": (lambda m: dense((6, 2.5)), ValueError, "2.5"),
    "sizes a number": (lambda m: dense(784), (TypeError, ValueError), "sizes=784"),
    "loss": (lambda m: dense((6, 2), loss="l2"), ValueError, "loss='l2'.*function.*'bce_logits', 'cb', 'mae', 'mse'"),
    "no loss": (lambda m: sa.Autoencoder(m.encoder, m.decoder, loss=None), ValueError, "loss=None"),
    "activation": (lambda m: dense((6, 4, 2), activation="swish"), ValueError, "activation='swish'.*'gelu'.*'relu'"),
    "output": (lambda m: dense((6, 2), output="softmax"), ValueError, "'softmax'.*'sigmoid'"),
    "code": (lambda m: dense((6, 2), code_activation="none"), ValueError, "'none'.*'tanh'"),
    "decoder": (
        lambda m: sa.Autoencoder(m.encoder, nn.Linear(3, 7))(sa.Tensor(data())),
        ValueError, r"decoder gives shape \(10, 7\) for inputs of shape \(10, 6\)",
    ),
    "code to decoder": (lambda m: m.decode(sa.Tensor(data())), ValueError, r"layer 0: Linear\(3, 5\).*\(10, 6\)"),
    "pixels to 255": (lambda m: m.loss(sa.Tensor(data() * 255)), ValueError, r"target ranges.*\[0, 1\]: scale"),
    "target shape": (lambda m: m.loss(sa.Tensor(data()), sa.Tensor(data(3))), ValueError, r"\(10, 6\).*\(3, 6\)"),
    "uint8 codes": (lambda m: m.inverse_transform(np.ones((4, 3), np.uint8)), TypeError, "codes of uint8: expected"),
    **{
        f"empty to {name}": (lambda m, call=call: call(m, data(0), 4), ValueError, r"empty array of shape \(0, ")
        for name, call in METHODS.items()
    },
    "batch size 0": (lambda m: m.transform(data(), batch_size=0), ValueError, "batch_size=0; expected an integer of"),
    "a list": (lambda m: m.transform(data().tolist()), TypeError, "list.*array"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(case: str) -> None:
    call, error, message = MISTAKES[case]
    with pytest.raises(error, match=message):
        call(small())


def test_a_dense_model_on_logits_has_no_second_sigmoid() -> None:
    model = sa.Autoencoder.dense((8, 3), loss="bce_logits")
    assert not any(isinstance(m, sa.nn.Sigmoid) for m in model.modules())
    by_module = sa.Autoencoder(model.encoder, model.decoder, loss=sa.nn.BCEWithLogitsLoss())
    x = np.random.default_rng(0).random((5, 8), dtype=np.float32)
    np.testing.assert_array_equal(by_module.reconstruct(x), model.reconstruct(x))
    assert model.reconstruct(x).min() > 0 and model.reconstruct(x).max() < 1


@pytest.mark.parametrize("loss", ["bce_logits", F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss()])
def test_no_sigmoid_is_applied_twice(loss: Any) -> None:
    assert layers(small(loss=loss).decoder)[-1].startswith("Linear")
    with pytest.raises(ValueError, match=r"applies a sigmoid itself.*output=None"):
        sa.Autoencoder(nn.Linear(4, 2), nn.Sequential(nn.Linear(2, 4), nn.Sigmoid()), loss=loss)


def test_an_unknown_activation_is_refused_where_no_layer_would_use_it() -> None:
    with pytest.raises(ValueError, match="activation='bogus'"):
        sa.Autoencoder.dense((6, 2), activation="bogus")
