"""The contractive penalty against its closed form and explicit Jacobians, in both ways of computing it.

`Opaque` hides the layers of an encoder, and so makes the penalty a double backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from family import SIZES, assert_gradients_are_slopes, bits, images

import scratchae as sa
from scratchae import nn, optim
from scratchae.autoencoders import (
    Autoencoder,
    ContractiveAutoencoder,
    VariationalAutoencoder,
    contractive,
    conv_encoder,
    jacobian,
)

X = images(5, np.float64)


def build(sizes: Any = SIZES, **options: Any) -> ContractiveAutoencoder:
    return ContractiveAutoencoder.dense(sizes, **{"activation": "sigmoid", "weight": 0.7, **options}).to(np.float64)


def around(encoder: nn.Module, pixels: int = 16) -> ContractiveAutoencoder:
    decoder = nn.Sequential(nn.Flatten(), nn.Linear(2, pixels))
    return ContractiveAutoencoder(encoder, decoder, weight=0.7).to(np.float64)


def contraction(model: Any, x: np.ndarray = X) -> float:
    return model.penalties(sa.Tensor(x), None)["contraction"].item()


def by_differences(model: Any, x: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    """d code / d x, (n, code size, features), by moving one feature of all samples at a time."""
    columns = []
    for i in np.ndindex(x.shape[1:]):
        step = np.zeros_like(x)
        step[(slice(None), *i)] = eps
        above, below = (model.encode(sa.Tensor(moved)).numpy().reshape(len(x), -1) for moved in (x + step, x - step))
        columns.append((above - below) / (2 * eps))
    return np.stack(columns, axis=2)


# --- the number -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("weight", [0.7, 0.0, 25])
def test_one_sigmoid_layer_has_the_closed_form(n: int, weight: float) -> None:
    model = build((16, 6), weight=weight)
    w, b = (p.data for p in model.encoder[1].parameters())
    h = 1 / (1 + np.exp(-(X[:n].reshape(n, 16) @ w.T + b)))
    wanted = weight * ((h * (1 - h)) ** 2 @ (w**2).sum(1)).mean()
    assert contraction(model, X[:n]) == pytest.approx(wanted, rel=1e-12, abs=0)
    terms = model.loss_terms(sa.Tensor(X[:n]))
    assert list(terms) == ["reconstruction", "contraction"]
    assert terms["contraction"].item() == pytest.approx(wanted, rel=1e-12, abs=0)
    plain = Autoencoder(model.encoder, model.decoder, loss="bce").loss(sa.Tensor(X[:n])).item()
    assert terms["reconstruction"].item() == plain


def dense(n: int, *middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(n, 5), *middle, nn.Linear(5, 2))


# name -> encoder of images with n pixels
ENCODERS: dict[str, Callable[[int], nn.Module]] = {
    "linear": lambda n: dense(n),
    "deep": lambda n: dense(n, nn.Tanh(), nn.Linear(5, 4), nn.ELU(), nn.Linear(4, 5), nn.Sigmoid()),
    "GELU": lambda n: dense(n, nn.GELU()),
    "LayerNorm": lambda n: dense(n, nn.LayerNorm(5), nn.Softplus()),
    "BatchNorm in eval mode": lambda n: dense(n, nn.BatchNorm1d(5), nn.Tanh()).eval(),
    "conv, pool": lambda n: conv_encoder((1, 1, 2), "pool", activation="tanh"),
    "conv, stride": lambda n: conv_encoder((1, 1, 2), "stride", activation="gelu"),
    "conv, code": lambda n: conv_encoder((1, 2), "pool", activation="softplus", code_size=2, size=4),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_any_encoder_gives_the_norm_of_its_jacobian(name: str) -> None:
    model = around(ENCODERS[name](16))
    explicit = by_differences(model, X)
    found = jacobian(model, X, batch_size=2)
    assert found.shape == explicit.shape and found.dtype == np.float64
    np.testing.assert_allclose(found, explicit, rtol=0, atol=1e-9)
    assert contraction(model) == pytest.approx(0.7 * (found**2).sum((1, 2)).mean(), rel=1e-12)
    assert contraction(model) == pytest.approx(0.7 * (explicit**2).sum((1, 2)).mean(), rel=1e-8)


def test_a_linear_encoders_jacobian_is_its_weight_in_the_order_of_the_pixels() -> None:
    model = Autoencoder.dense((16, 3), activation=None)
    found = jacobian(model, X.astype(np.float32))
    np.testing.assert_array_equal(found, np.broadcast_to(model.encoder[1].weight.data, (5, 3, 16)))


def test_the_jacobian_of_a_variational_code_is_that_of_its_mean() -> None:
    model = VariationalAutoencoder.dense(SIZES, activation="tanh").to(np.float64)
    np.testing.assert_allclose(jacobian(model, X), by_differences(model, X), rtol=0, atol=1e-9)


def test_jacobian_is_taken_in_eval_mode_and_changes_nothing(device: str) -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2))
    model = Autoencoder(encoder, nn.Linear(2, 16))
    model.decoder.eval()
    wanted = jacobian(model, X.astype(np.float32))
    modes, state = [m.training for m in model.modules()], bits(model)
    found = jacobian(model.to(device), X.astype(np.float32), batch_size=2)
    assert type(found) is np.ndarray
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)
    assert [m.training for m in model.modules()] == modes and bits(model.to("cpu")) == state
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(ValueError, match="empty array"):
        jacobian(model, X[:0])


# --- the Gram matrix of the first layer -----------------------------------------------------------


class Opaque(nn.Module):
    def __init__(self, encoder: nn.Module):
        self.inner = encoder

    def forward(self, x: Any) -> Any:
        return self.inner(x)


@pytest.fixture
def backward_passes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The `encode` of each Jacobian that is computed row by row, while the test runs."""
    calls: list[Any] = []
    rows = contractive._jacobian_rows

    def counted(encode: Any, x: Any, create_graph: bool) -> list[Any]:
        calls.append(encode)
        return rows(encode, x, create_graph)

    monkeypatch.setattr(contractive, "_jacobian_rows", counted)
    return calls


def penalty_and_gradients(encoder: nn.Module, x: np.ndarray) -> list[np.ndarray]:
    model = around(encoder)
    model.zero_grad()
    value = model.penalties(sa.Tensor(x), None)["contraction"]
    value.backward()
    # the bias of a layer without an activation gets no gradient in one way, and zeros in the other
    return [value.data, *(np.zeros(p.shape) if p.grad is None else p.grad for p in encoder.parameters())]


def assert_both_ways_agree(encoder: nn.Module, x: np.ndarray) -> None:
    encoder.to(np.float64)
    found, wanted = penalty_and_gradients(encoder, x), penalty_and_gradients(Opaque(encoder), x)
    assert len(found) == len(wanted)
    for f, w in zip(found, wanted, strict=True):
        np.testing.assert_allclose(f, w, rtol=1e-10, atol=1e-12)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity, "relu": nn.ReLU, "leaky": nn.LeakyReLU, "steep leaky": lambda: nn.LeakyReLU(1.7),
    "elu": nn.ELU, "elu, alpha 0.3": lambda: nn.ELU(0.3), "gelu": nn.GELU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}  # fmt: skip


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [(15, 4), (15, 7, 3), (3, 7, 4), (15, 7, 5, 2), (6, 4, 5, 9)])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_it_is_what_double_backward_gives(name: str, sizes: Any, bias: bool, backward_passes: list[Any]) -> None:
    layers = [
        layer
        for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True)
        for layer in (nn.Linear(n_in, n_out, bias), ACTIVATIONS[name]())
    ]
    x = np.random.default_rng(1).standard_normal((5, 1, sizes[0] // 3, 3))
    for encoder in (nn.Sequential(nn.Flatten(), *layers), nn.Sequential(nn.Flatten(), *layers[:-1])):
        backward_passes.clear()
        assert_both_ways_agree(encoder, x)
        assert len(backward_passes) == 1  # of the Opaque one


def shared(activation: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), activation, nn.Linear(5, 4), activation, nn.Linear(4, 2))


def tied(layer: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.Tanh(), layer, nn.Tanh(), layer, nn.Linear(5, 2))


# name -> an encoder of 4 x 4 images for which a formula must do
CHAINS: dict[str, Callable[[], nn.Module]] = {
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(16, 5), nn.Tanh())),
                                    nn.Sequential(), nn.Linear(5, 2)),
    "two activations": lambda: dense(16, nn.Tanh(), nn.Softplus()),
    "one activation in two places": lambda: shared(nn.Sigmoid()),
    "one layer in two places": lambda: tied(nn.Linear(5, 5)),
    "reshaping between": lambda: dense(16, nn.Flatten(), nn.GELU(), nn.Identity(), nn.Flatten(-1)),
    "reshaping of the code": lambda: nn.Sequential(*dense(16, nn.Tanh()), nn.Flatten(0)),
    "shapes kept in front": lambda: nn.Sequential(nn.Identity(), nn.Flatten(-1), *dense(16)),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_chains_need_no_backward_pass_for_each_unit(name: str, backward_passes: list[Any]) -> None:
    encoder = CHAINS[name]()
    assert_both_ways_agree(encoder, X)
    assert len(backward_passes) == 1


def test_a_linear_layer_alone_is_a_chain(backward_passes: list[Any]) -> None:
    model = around(nn.Linear(16, 2))
    assert contraction(model, X.reshape(5, 16)) == pytest.approx(0.7 * (model.encoder.weight.data**2).sum(), rel=1e-12)
    assert not backward_passes


@pytest.mark.parametrize("frozen", [(0,), (2,), (0, 2), (0, 2, 4)])
def test_frozen_layers_have_slopes_too(frozen: tuple[int, ...], backward_passes: list[Any]) -> None:
    layers = [nn.Linear(16, 5), nn.Sigmoid(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)]
    encoder = nn.Sequential(nn.Flatten(), *layers)
    for i in frozen:
        layers[i].requires_grad_(False)
    if len(frozen) < 3:
        assert_both_ways_agree(encoder, X)
        assert len(backward_passes) == 1
    wanted = (jacobian(around(encoder), X) ** 2).sum((1, 2)).mean()
    assert contraction(around(encoder)) == pytest.approx(0.7 * wanted, rel=1e-12)


class Doubled(nn.Tanh):
    def forward(self, x: Any) -> Any:
        return 2 * super().forward(x)


class Residual(nn.Sequential):
    def forward(self, x: Any) -> Any:
        return x + super().forward(x)


class Halved(nn.Linear):
    def forward(self, x: Any) -> Any:
        return super().forward(x) / 2


def changed(layer: nn.Module) -> nn.Module:
    forward = layer.forward
    layer.forward = lambda x: 3 * forward(x)  # type: ignore[method-assign]
    return layer


# name -> an encoder of 4 x 4 images that is no chain
OTHERS: dict[str, Callable[[], nn.Module]] = {
    "subclass of an activation": lambda: dense(16, Doubled()),
    "subclass of a chain": lambda: dense(16, Residual(nn.Linear(5, 5), nn.Tanh())),
    "subclass of a linear layer": lambda: dense(16, nn.Tanh(), Halved(5, 5)),
    "an activation's own forward": lambda: dense(16, changed(nn.Tanh())),
    "a layer's own forward": lambda: dense(16, nn.Tanh(), changed(nn.Linear(5, 5))),
    "a chain's own forward": lambda: changed(dense(16, nn.Tanh())),
    "an activation of the inputs": lambda: nn.Sequential(nn.Flatten(), nn.Tanh(), nn.Linear(16, 2)),
    "a layer along the rows": lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 2)),
    "Softmax": lambda: dense(16, nn.Softmax()),
    "Dropout in eval mode": lambda: dense(16, nn.Dropout(0.5)).eval(),
    "LayerNorm": lambda: dense(16, nn.LayerNorm(5)),
    "no layer": lambda: nn.Flatten(),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_encoders_take_a_backward_pass_for_each_unit(name: str, backward_passes: list[Any]) -> None:
    model = around(OTHERS[name]())
    wanted = 0.7 * (by_differences(model, X) ** 2).sum((1, 2)).mean()
    assert contraction(model) == pytest.approx(wanted, rel=1e-8)
    assert len(backward_passes) == 1


class Twice(ContractiveAutoencoder):
    def encode(self, x: Any) -> Any:
        return 2 * super().encode(x)


def test_an_encode_of_ones_own_is_followed(backward_passes: list[Any]) -> None:
    model = build()
    twice = Twice(model.encoder, model.decoder, weight=0.7)
    assert contraction(twice) == pytest.approx(4 * contraction(model), rel=1e-12)
    assert len(backward_passes) == 1
    model.encode = twice.encode  # type: ignore[method-assign]
    assert contraction(model) == pytest.approx(contraction(twice), rel=1e-12)
    assert len(backward_passes) == 3


def test_wrong_inputs_are_told_with_the_place_of_the_layer() -> None:
    model = build()
    for x in (X[:, :, :3], X[:, :, 0]):
        with pytest.raises(ValueError, match=r"layer 1: Linear\(16, 5\): the input has shape"):
            model.penalties(sa.Tensor(x), None)


# --- graphs and modes -----------------------------------------------------------------------------


def test_without_a_graph_it_is_the_same_number() -> None:
    model = build((16, 6, 4), activation="tanh")
    recorded = model.loss_terms(sa.Tensor(X))
    assert recorded["contraction"].requires_grad
    with sa.no_grad():
        terms = model.loss_terms(sa.Tensor(X))
        assert not sa.is_grad_enabled()
    assert sa.is_grad_enabled()
    for name, term in terms.items():
        assert not term.requires_grad and term.node is None and term.item() == recorded[name].item()
    trainer = sa.Trainer(model, optim.SGD(model.parameters(), lr=0.1))
    assert trainer.evaluate(X)["contraction"] == pytest.approx(recorded["contraction"].item(), rel=1e-14)


def test_the_grad_mode_is_put_back_after_an_error_too() -> None:
    model = around(nn.Sequential(nn.Flatten(), nn.Linear(16, 2), nn.BatchNorm1d(2)))
    with sa.no_grad():
        with pytest.raises(ValueError, match="BatchNorm"):
            model.loss(sa.Tensor(X))
        assert not sa.is_grad_enabled()
    with pytest.raises(ValueError, match="BatchNorm"):
        model.loss(sa.Tensor(X))
    assert sa.is_grad_enabled()


@pytest.mark.parametrize("frozen", [False, True])
def test_the_inputs_gradient_and_those_of_the_weights_stay_as_they_were(frozen: bool) -> None:
    model, x = build(), sa.tensor(X, requires_grad=not frozen)
    if not frozen:
        (x * 2).sum().backward()
    before = None if frozen else x.grad.copy()
    loss = model.loss_terms(x)["contraction"]
    assert all(p.grad is None for p in model.parameters())
    np.testing.assert_array_equal(x.grad, before)
    loss.backward()
    np.testing.assert_array_equal(x.grad, before)
    assert all(p.grad is not None for p in model.encoder.parameters())
    assert all(p.grad is None for p in model.decoder.parameters())


def test_batchnorm_in_train_mode_is_refused_and_in_eval_mode_welcome() -> None:
    for encoder in (
        nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.BatchNorm1d(6), nn.Sigmoid(), nn.Linear(6, 3)),
        nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten()),
    ):
        model = around(encoder)
        with pytest.raises(ValueError, match="depends on other samples.*BatchNorm in train mode.*LayerNorm"):
            model.penalties(sa.Tensor(X), None)
        assert contraction(model.eval()) > 0
        model.train()
        encoder.eval()  # frozen statistics, the rest in train mode
        assert contraction(model) > 0


def test_batchnorm_is_refused_even_where_the_first_samples_code_is_constant() -> None:
    """A ReLU can be off for one sample; the others still influence each other."""
    model = around(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.ReLU()))
    x = np.concatenate([np.zeros((1, 16)), X.reshape(5, 16)])
    assert (model.encode(sa.Tensor(x)).numpy()[0] == 0).all()
    with pytest.raises(ValueError, match="depends on other samples"):
        model.penalties(sa.Tensor(x), None)


def test_batchnorm_in_the_decoder_is_nobodys_business() -> None:
    model = build((16, 4))
    model.decoder = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 16), nn.Sigmoid())
    model.to(np.float64)
    assert model.loss(sa.Tensor(X)).item() > 0


# --- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "softplus", "gelu", "elu", "relu", None])
def test_gradients_of_all_parameters_are_the_slopes(activation: str | None) -> None:
    x = X[:3, :, :2, :2]
    assert_gradients_are_slopes(build((4, 3, 2), activation=activation, loss="bce_logits"), x)


@pytest.mark.parametrize("loss", ["mse", "mae", "bce"])
def test_gradients_beside_other_losses(loss: str) -> None:
    assert_gradients_are_slopes(build((4, 2), loss=loss), X[:3, :, :2, :2])


@pytest.mark.parametrize("name", [name for name in ENCODERS if name not in ("linear", "GELU")])
def test_gradients_of_other_encoders(name: str) -> None:
    x = X[:2] if "conv" in name else X[:2, :, :2, :2]
    assert_gradients_are_slopes(around(ENCODERS[name](x[0].size), x[0].size), x)


# --- what it does ---------------------------------------------------------------------------------


def test_training_with_it_makes_codes_move_less() -> None:
    norms, data = [], images(64)
    for weight in (0.0, 0.1):
        sa.manual_seed(0)
        model = ContractiveAutoencoder.dense((16, 4), "sigmoid", weight=weight)
        optimizer = optim.Adam(model.parameters(), lr=0.03)
        sa.Trainer(model, optimizer).fit(data, epochs=10, batch_size=32, progress=False)
        norms.append((jacobian(model, data) ** 2).sum((1, 2)).mean())
    assert norms[1] < 0.2 * norms[0]


@pytest.mark.parametrize("weight", [-1e-3, float("nan"), float("inf"), None, "1"])
def test_weights_out_of_range_are_named(weight: Any) -> None:
    with pytest.raises(ValueError, match=f"weight={weight!r}; expected a finite number of at least 0"):
        build(weight=weight)
