"""Layers, losses and initialisation against their formulas, and what a module does with what is inside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import naive
import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn
from scratchae.nn import init

ERF = np.vectorize(math.erf)
SHAPE = (4, 6)


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(axis, keepdims=True)


def normalised(x: np.ndarray, axes: Any) -> np.ndarray:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


# name -> (layer, input shape, formula of the input and the layer's state)
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], Callable[..., np.ndarray]]] = {
    "identity": (nn.Identity, SHAPE, lambda x: x),
    "relu": (nn.ReLU, SHAPE, lambda x: np.maximum(x, 0)),
    "leaky_relu": (lambda: nn.LeakyReLU(0.2), SHAPE, lambda x: np.where(x > 0, x, 0.2 * x)),
    "elu": (lambda: nn.ELU(1.5), SHAPE, lambda x: np.where(x > 0, x, 1.5 * (np.exp(x) - 1))),
    "gelu": (nn.GELU, SHAPE, lambda x: x * (1 + ERF(x / math.sqrt(2))) / 2),
    "sigmoid": (nn.Sigmoid, SHAPE, lambda x: 1 / (1 + np.exp(-x))),
    "tanh": (nn.Tanh, SHAPE, np.tanh),
    "softplus": (nn.Softplus, SHAPE, lambda x: np.log(1 + np.exp(x))),
    "softmax": (nn.Softmax, SHAPE, lambda x: softmax(x, -1)),
    "softmax_0": (lambda: nn.Softmax(dim=0), SHAPE, lambda x: softmax(x, 0)),
    "flatten": (nn.Flatten, (4, 2, 3), lambda x: x.reshape(4, 6)),
    "flatten_from_2": (lambda: nn.Flatten(2), (2, 2, 3, 2), lambda x: x.reshape(2, 2, 6)),
    "unflatten": (lambda: nn.Unflatten(1, (2, 3)), SHAPE, lambda x: x.reshape(4, 2, 3)),
    "unflatten_last": (lambda: nn.Unflatten(-1, (3, 2)), (2, 2, 6), lambda x: x.reshape(2, 2, 3, 2)),
    "linear": (lambda: nn.Linear(6, 5), SHAPE, lambda x, weight, bias: x @ weight.T + bias),
    "linear_3d": (lambda: nn.Linear(3, 5), (2, 4, 3), lambda x, weight, bias: x @ weight.T + bias),
    "linear_1d": (lambda: nn.Linear(6, 5), (6,), lambda x, weight, bias: x @ weight.T + bias),
    "linear_plain": (lambda: nn.Linear(6, 5, bias=False), SHAPE, lambda x, weight: x @ weight.T),
    "layer_norm": (lambda: nn.LayerNorm(6), SHAPE, lambda x, weight, bias: normalised(x, -1) * weight + bias),
    "layer_norm_2d": (
        lambda: nn.LayerNorm((2, 3)), (4, 2, 3), lambda x, weight, bias: normalised(x, (1, 2)) * weight + bias
    ),
    "batch_norm": (
        lambda: nn.BatchNorm1d(6), SHAPE, lambda x, weight, bias, **_: normalised(x, 0) * weight + bias
    ),
    "batch_norm_3d": (
        lambda: nn.BatchNorm1d(2), (4, 2, 3),
        lambda x, weight, bias, **_: normalised(x, (0, 2)) * weight[:, None] + bias[:, None],
    ),
    "batch_norm_eval": (
        lambda: nn.BatchNorm1d(6).eval(), SHAPE,
        lambda x, weight, bias, running_mean, running_var:
            (x - running_mean) / np.sqrt(running_var + 1e-5) * weight + bias,
    ),
    "conv2d": (
        lambda: nn.Conv2d(4, 6, (3, 2), 2, 1, (1, 2), 2), (2, 4, 5, 4),
        lambda x, weight, bias: naive.conv2d(x, weight, bias, (2, 2), (1, 1), (1, 2), 2),
    ),
    "conv2d_valid_plain": (
        lambda: nn.Conv2d(2, 3, 3, padding="valid", bias=False), (2, 2, 5, 4), lambda x, weight: naive.conv2d(x, weight)
    ),
    **{
        f"conv2d_{mode}": (
            lambda mode=mode: nn.Conv2d(2, 3, 3, 2, (1, 2), padding_mode=mode), (2, 2, 5, 4),
            lambda x, weight, bias, theirs=theirs:
                naive.conv2d(np.pad(x, ((0, 0), (0, 0), (1, 1), (2, 2)), theirs), weight, bias, (2, 2)),
        )
        for mode, theirs in (("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap"))
    },
    "conv1d_same_circular": (
        lambda: nn.Conv1d(2, 3, 4, padding="same", padding_mode="circular"), (2, 2, 6),
        lambda x, weight, bias:
            naive.conv2d(np.pad(x, ((0, 0), (0, 0), (1, 2)), "wrap")[:, :, None], weight[:, :, None], bias)[:, :, 0],
    ),
    "conv_transpose2d": (
        lambda: nn.ConvTranspose2d(2, 3, 3, 2, 1, (1, 0)), (2, 2, 3, 2),
        lambda x, weight, bias: naive.conv_transpose2d(x, weight, bias, 2, 1, (1, 0)),
    ),
    "max_pool2d": (lambda: nn.MaxPool2d(3, 2, 1), (2, 2, 5, 4), lambda x: naive.pool(x, 3, 2, 1, np.max, -np.inf)),
    "avg_pool2d": (lambda: nn.AvgPool2d((2, 3)), (2, 2, 4, 6), lambda x: naive.pool(x, (2, 3), (2, 3), 0, np.mean, 0)),
    "upsample": (lambda: nn.Upsample((2, 3)), (2, 2, 2, 3), lambda x: x.repeat(2, 2).repeat(3, 3)),
    "upsample_bilinear": (lambda: nn.Upsample(2, "bilinear"), (2, 2, 3, 2), naive.bilinear_twice),
    "pixel_shuffle": (lambda: nn.PixelShuffle(2), (2, 8, 2, 3), naive.pixel_shuffle_two),
    "pixel_unshuffle": (
        lambda: nn.PixelUnshuffle(2), (2, 1, 4, 6),
        lambda x: np.concatenate([x[:, :, a::2, b::2] for a in (0, 1) for b in (0, 1)], 1),
    ),
    "batch_norm_2d": (
        lambda: nn.BatchNorm2d(3), (2, 3, 2, 2),
        lambda x, weight, bias, **_: normalised(x, (0, 2, 3)) * weight[:, None, None] + bias[:, None, None],
    ),
    "silu": (nn.SiLU, SHAPE, lambda x: x / (1 + np.exp(-x))),
    "hardtanh": (lambda: nn.Hardtanh(-0.5, 1.2), SHAPE, lambda x: np.clip(x, -0.5, 1.2)),
    "residual": (
        lambda: nn.Residual(nn.Linear(6, 6)), SHAPE,
        lambda x, **state: x + x @ state["net.weight"].T + state["net.bias"],
    ),
    "group_norm": (
        lambda: nn.GroupNorm(2, 6), (3, 6, 2, 3),
        lambda x, weight, bias: normalised(x.reshape(3, 2, 3, 2, 3), (2, 3, 4)).reshape(x.shape)
            * weight[:, None, None] + bias[:, None, None],
    ),
    "group_norm_features": (
        lambda: nn.GroupNorm(3, 6), SHAPE,
        lambda x, weight, bias: normalised(x.reshape(4, 3, 2), 2).reshape(x.shape) * weight + bias,
    ),
    "group_norm_plain": (
        lambda: nn.GroupNorm(1, 2, affine=False), (3, 2, 4), lambda x: normalised(x, (1, 2))
    ),
    "instance_norm": (lambda: nn.InstanceNorm2d(3), (2, 3, 2, 4), lambda x: normalised(x, (2, 3))),
    "instance_norm_affine": (
        lambda: nn.InstanceNorm2d(3, affine=True), (2, 3, 2, 2),
        lambda x, weight, bias: normalised(x, (2, 3)) * weight[:, None, None] + bias[:, None, None],
    ),
    "conv1d": (
        lambda: nn.Conv1d(4, 6, 3, 2, 1, 2, 2), (2, 4, 9),
        lambda x, weight, bias:
            naive.conv2d(x[:, :, None], weight[:, :, None], bias, (1, 2), (0, 1), (1, 2), 2)[:, :, 0],
    ),
    "conv_transpose1d": (
        lambda: nn.ConvTranspose1d(2, 3, 3, 2, 1, 1), (2, 2, 5),
        lambda x, weight, bias:
            naive.conv_transpose2d(x[:, :, None], weight[:, :, None], bias, (1, 2), (0, 1), (0, 1))[:, :, 0],
    ),
    "max_pool1d": (
        lambda: nn.MaxPool1d(3, 2, 1), (2, 2, 8),
        lambda x: naive.pool(x[:, :, None], (1, 3), (1, 2), (0, 1), np.max, -np.inf)[:, :, 0],
    ),
    "avg_pool1d": (
        lambda: nn.AvgPool1d(3), (2, 2, 8),
        lambda x: naive.pool(x[:, :, None], (1, 3), (1, 3), 0, np.mean, 0)[:, :, 0],
    ),
    "dropout_2d_eval": (lambda: nn.Dropout2d(0.7).eval(), (2, 3, 2, 2), lambda x: x),
    "dropout_eval": (lambda: nn.Dropout(0.7).eval(), SHAPE, lambda x: x),
    "noise_eval": (lambda: nn.GaussianNoise(0.7).eval(), SHAPE, lambda x: x),
    "sequential": (
        lambda: nn.Sequential(nn.Linear(6, 5), nn.Tanh()), SHAPE,
        lambda x, **state: np.tanh(x @ state["0.weight"].T + state["0.bias"]),
    ),
}  # fmt: skip


def build(name: str, rng: np.random.Generator) -> tuple[nn.Module, np.ndarray]:
    """The layer in float64 with random numbers in its state, and an input."""
    make, shape, _ = LAYERS[name]
    module = make().to(np.float64)
    module.load_state_dict({n: rng.uniform(0.5, 1.5, a.shape) for n, a in module.state_dict().items()})
    return module, rng.standard_normal(shape)


def as_function(module: nn.Module) -> tuple[Callable[..., Any], list[sa.Tensor]]:
    """`module` as a function of (input, *parameters), each of which it then uses in place of its own."""
    places = [(m, n) for m in module.modules() for n, v in vars(m).items() if isinstance(v, nn.Parameter)]

    def call(x: Any, *parameters: sa.Tensor) -> Any:
        sa.manual_seed(0)
        for (owner, name), p in zip(places, parameters, strict=True):
            setattr(owner, name, p)
        return module(x)

    return call, [getattr(owner, name) for owner, name in places]


def test_the_tables_have_every_public_layer_and_loss() -> None:
    public = {c for c in map(vars(nn).get, nn.__all__) if isinstance(c, type) and issubclass(c, nn.Module)}
    tested = {type(make()) for make, _, _ in LAYERS.values()} | {kind for kind, _ in LOSSES.values()}
    tested |= {nn.CosineSimilarity, nn.GaussianNLLLoss}  # of other arguments: in test_losses.py
    missing = sorted(c.__name__ for c in public - tested - {nn.Module})
    assert not missing, f"add a line with the formula to LAYERS or LOSSES for {', '.join(missing)}"


@pytest.mark.parametrize("name", LAYERS)
def test_the_forward_pass_is_the_formula(name: str, rng: np.random.Generator) -> None:
    module, x = build(name, rng)
    wanted = LAYERS[name][2](x, **module.state_dict())
    np.testing.assert_allclose(module(sa.Tensor(x)).numpy(), wanted, rtol=1e-12, atol=1e-14)
    found = module.to(np.float32)(sa.Tensor(x.astype(np.float32)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", [*LAYERS, "dropout", "noise"])
def test_both_orders_of_derivatives_are_the_slopes_for_input_and_parameters(
    name: str, rng: np.random.Generator
) -> None:
    random = {"dropout": nn.Dropout(0.3), "noise": nn.GaussianNoise(0.3)}
    module, x = (random[name], rng.standard_normal(SHAPE)) if name in random else build(name, rng)
    call, parameters = as_function(module)
    inputs = [sa.tensor(x, requires_grad=True), *parameters]
    assert sa.gradcheck(call, inputs) and sa.gradgradcheck(call, inputs, rtol=1e-4, atol=1e-6)


ON_DEVICES = ("silu", "hardtanh", "residual", "group_norm", "instance_norm_affine", "conv1d", "conv1d_same_circular",
              "conv_transpose1d", "max_pool1d", "avg_pool1d", "conv2d_reflect", "conv2d_replicate")  # fmt: skip


@pytest.mark.parametrize("name", ON_DEVICES)
def test_a_layer_computes_the_same_on_every_device(name: str, device: str, rng: np.random.Generator) -> None:
    module, array = build(name, rng)
    results = []
    for place in ("cpu", device):
        x = sa.tensor(array, requires_grad=True, device=place)
        y = module.to(place)(x)
        inputs = [x, *module.parameters()]
        first = sa.grad((y * y).sum(), inputs, create_graph=True)
        second = sa.grad(sum((g * g).sum() for g in first), inputs)
        results.append([a.numpy() for a in (y, *first, *second)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12 * abs(a).max())


def test_hardtanh_has_pytorchs_slope_on_its_bounds_and_silu_its_values_far_out() -> None:
    x = sa.tensor([-1.0, 1.0, -0.5, 2.0], requires_grad=True)
    nn.Hardtanh()(x).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0, 1, 0])
    np.testing.assert_allclose(F.silu(np.array([-80.0, -20.0, 80.0])), [-80 * np.exp(-80), -20 / (1 + np.exp(20)), 80])


# --- randomness and running statistics ------------------------------------------------------------


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_dropout_drops_the_share_p_scales_the_rest_and_follows_the_seed(p: float) -> None:
    layer, x = nn.Dropout(p), sa.Tensor(np.ones((200, 500), np.float32))
    out = layer(x).numpy()
    assert set(np.unique(out)) <= {0, np.float32(1 / (1 - p)) if p < 1 else 0}
    assert abs((out == 0).mean() - p) < 0.006 and abs(out.mean() - (p < 1)) < 0.02  # over 3.5 standard errors
    sa.manual_seed(0)
    np.testing.assert_array_equal(layer(x).numpy(), out)
    assert layer.eval()(x) is x


def test_gaussian_noise_has_its_deviation_in_train_mode_and_follows_the_seed() -> None:
    layer, x = nn.GaussianNoise(0.3), sa.Tensor(np.full((200, 500), 2.0))
    noise = layer(x).numpy() - 2
    assert noise.dtype == np.float64 and abs(noise.mean()) < 0.004 and abs(noise.std() - 0.3) < 0.003
    sa.manual_seed(0)
    np.testing.assert_array_equal(layer(x).numpy() - 2, noise)
    assert layer.eval()(x) is x


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 2)])
def test_batch_norm_moves_its_running_statistics_and_uses_them_in_eval_mode(
    shape: tuple, rng: np.random.Generator
) -> None:
    layer, mean, var = nn.BatchNorm1d(3, momentum=0.3).to(np.float64), np.zeros(3), np.ones(3)
    axes = (0, *range(2, len(shape)))
    for _ in range(3):
        x = rng.normal(2, 3, shape)
        layer(sa.Tensor(x))
        mean, var = 0.7 * mean + 0.3 * x.mean(axes), 0.7 * var + 0.3 * x.var(axes, ddof=1)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-13)
    np.testing.assert_allclose(layer.running_var, var, rtol=1e-13)
    before = layer.eval().state_dict()
    one = layer(sa.Tensor(x[:1])).numpy()  # one sample is enough here
    np.testing.assert_array_equal(one, layer(sa.Tensor(x)).numpy()[:1])
    assert all((before[n] == a).all() for n, a in layer.state_dict().items())


# --- initialisation -------------------------------------------------------------------------------

# shape (40, 30, 5, 2): fan_in 300, fan_out 400
UNIFORM = {
    "uniform": (lambda t: init.uniform_(t, -0.3, 0.7), -0.3, 0.7),
    "xavier": (lambda t: init.xavier_uniform_(t, gain=2.0), -2 * math.sqrt(6 / 700), 2 * math.sqrt(6 / 700)),
    "kaiming": (init.kaiming_uniform_, -math.sqrt(6 / 300), math.sqrt(6 / 300)),
    "kaiming_out": (lambda t: init.kaiming_uniform_(t, 0, "fan_out", "tanh"), -5 / 60 * 3**0.5, 5 / 60 * 3**0.5),
}
NORMAL = {
    "normal": (lambda t: init.normal_(t, 0.5, 0.2), 0.5, 0.2),
    "xavier": (init.xavier_normal_, 0, math.sqrt(2 / 700)),
    "kaiming": (lambda t: init.kaiming_normal_(t, a=1.0), 0, math.sqrt(1 / 300)),
    "kaiming_relu": (lambda t: init.kaiming_normal_(t, nonlinearity="relu", mode="fan_out"), 0, math.sqrt(2 / 400)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_initialisation_has_its_bounds_and_moments_and_follows_the_seed(kind: str, dtype: Any) -> None:
    for fill, a, b in (UNIFORM if kind == "uniform" else NORMAL).values():
        t = nn.Parameter(np.empty((40, 30, 5, 2), dtype))
        sa.manual_seed(1)
        assert fill(t) is t and t.dtype == dtype
        values, mean, std = t.data.copy(), (a + b) / 2, (b - a) / math.sqrt(12)
        if kind == "normal":
            mean, std = a, b
            assert abs((abs(values - mean) < std).mean() - 0.6827) < 0.015
        else:
            assert values.min() >= a - 1e-6 and values.max() <= b + 1e-6 and np.ptp(values) > 0.99 * (b - a)
        assert abs(values.mean() - mean) < 4 * std / math.sqrt(t.size) and abs(values.std() / std - 1) < 0.02
        sa.manual_seed(1)
        np.testing.assert_array_equal(fill(t).data, values)


def test_linear_starts_uniform_within_one_over_the_root_of_its_inputs() -> None:
    layer, bound = nn.Linear(400, 300), 1 / math.sqrt(400)
    for p, least in ((layer.weight, 0.999), (layer.bias, 0.97)):
        assert p.dtype == np.float32 and least * bound < abs(p.data).max() <= bound
        assert abs(p.data.std() / (bound / math.sqrt(3)) - 1) < (0.01 if p.ndim == 2 else 0.1)
    sa.manual_seed(0)
    np.testing.assert_array_equal(nn.Linear(400, 300).weight.data, layer.weight.data)
    assert (nn.Linear(400, 300).weight.data != layer.weight.data).any()


def test_constants_and_gains() -> None:
    t = nn.Parameter(np.empty((2, 3), np.float32))
    assert (init.zeros_(t).data == 0).all() and (init.ones_(t).data == 1).all()
    assert (init.constant_(t, 2.5).data == 2.5).all()
    assert [init.gain(n) for n in ("linear", "sigmoid", "tanh", "relu")] == [1, 1, 5 / 3, math.sqrt(2)]
    assert init.gain("leaky_relu", 0.2) == pytest.approx(math.sqrt(2 / 1.04), rel=1e-15)
    assert init.fans((7, 5)) == (5, 7) and init.fans((8, 4, 3, 3)) == (36, 72)


# --- losses ---------------------------------------------------------------------------------------

LOSSES: dict[str, tuple[type[nn.Module], Callable[..., np.ndarray]]] = {
    "mse": (nn.MSELoss, lambda x, t: (x - t) ** 2),
    "l1": (nn.L1Loss, lambda x, t: abs(x - t)),
    "bce": (nn.BCELoss, lambda x, t: -(t * np.log(x) + (1 - t) * np.log(1 - x))),
    "logits": (nn.BCEWithLogitsLoss, lambda x, t: np.log(1 + np.exp(x)) - t * x),
    "kl": (nn.KLDivLoss, lambda x, t: t * (np.log(t) - x)),
    "cross_entropy": (nn.CrossEntropyLoss, lambda x, t: -np.log(softmax(x, 1))[np.arange(len(t)), t]),
    "huber": (nn.HuberLoss, lambda x, t: (x - t) ** 2 / 2),
    "smooth_l1": (nn.SmoothL1Loss, lambda x, t: (x - t) ** 2 / 2),
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_module_is_the_formula_and_its_gradient_the_slope(
    name: str, reduction: str, rng: np.random.Generator
) -> None:
    kind, formula = LOSSES[name]
    x = rng.uniform(0.1, 0.9, SHAPE)
    t = rng.integers(0, 6, 4) if name == "cross_entropy" else rng.uniform(0.1, 0.9, SHAPE)
    elements, loss = formula(x, t), kind(reduction=reduction)
    wanted = elements if reduction == "none" else getattr(elements, reduction)()
    np.testing.assert_allclose(loss(sa.Tensor(x), sa.Tensor(t)).numpy(), wanted, rtol=1e-12)
    assert sa.gradcheck(lambda x: loss(x, sa.Tensor(t)), [x])
    assert repr(loss) == f"{kind.__name__}({'' if reduction == 'mean' else f'{reduction=}'})"


def test_kl_div_loss_divides_by_the_batch_and_takes_log_targets(rng: np.random.Generator) -> None:
    x, t = np.log(softmax(rng.standard_normal(SHAPE), 1)), softmax(rng.standard_normal(SHAPE), 1)
    wanted = (t * (np.log(t) - x)).sum() / 4
    assert nn.KLDivLoss("batchmean")(sa.Tensor(x), sa.Tensor(t)).item() == pytest.approx(wanted, rel=1e-12)
    log_target = nn.KLDivLoss("batchmean", log_target=True)
    assert log_target(sa.Tensor(x), sa.Tensor(np.log(t))).item() == pytest.approx(wanted, rel=1e-12)
    assert F.kl_div(sa.Tensor(x), sa.Tensor(np.exp(x)), "batchmean").item() == pytest.approx(0, abs=1e-15)


def test_a_layer_of_ones_own_on_one_of_ours_can_be_shown() -> None:
    class Tied(nn.Linear):
        def __init__(self, in_features: int, out_features: int, weight: Any = None):
            super().__init__(in_features, out_features)
            self.weight = self.weight if weight is None else weight

    assert repr(Tied(2, 3)).startswith("Tied(2, 3)")
