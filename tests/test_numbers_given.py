"""Odd numbers and odd arrays, given to layers, initialisation, losses and kinds: a clear error, and nothing drawn."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from family import images

import scratchae as sa
from scratchae import autoencoders as ae
from scratchae import nn
from scratchae.nn import init

ODD: list[Any] = [math.nan, math.inf, -math.inf, -1, -0.5, 0, 0.5, 1.5, True, "3", "", None, 10**400, -(10**400), 2**62,
                  2**63, 1e308, 5e-324, np.float64(np.nan), np.int64(-1), np.ones(2), np.ones((2, 2), int), [], [1, 2],
                  (1,), (0, 1), {}, {3}, object(), 3j, b"3", range(3), slice(3), np.array(True), len]  # fmt: skip
ALLOWED = (ValueError, TypeError)


def halves() -> tuple[nn.Module, nn.Module]:
    return nn.Identity(), nn.Identity()


def weight() -> nn.Parameter:
    return nn.Parameter(np.ones((3, 4), np.float32))


X = images()
Vae = ae.VariationalAutoencoder
# name -> (a call, good arguments by name): each argument is replaced by every odd value in turn
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "Linear": (nn.Linear, {"in_features": 3, "out_features": 2, "bias": True}),
    "Flatten": (nn.Flatten, {"start_dim": 1}),
    "Unflatten": (nn.Unflatten, {"dim": 1, "shape": (2, 3)}),
    "LeakyReLU": (nn.LeakyReLU, {"negative_slope": 0.1}),
    "ELU": (nn.ELU, {"alpha": 1.0}),
    "Softmax": (nn.Softmax, {"dim": 0}),
    "Conv2d": (nn.Conv2d, {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "stride": 1, "padding": 0,
                           "dilation": 1, "groups": 2, "bias": False, "padding_mode": "reflect"}),
    "ConvTranspose2d": (nn.ConvTranspose2d, {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "stride": 2,
                                             "padding": 0, "output_padding": 1, "groups": 2, "bias": True,
                                             "dilation": 1}),
    "MaxPool2d": (nn.MaxPool2d, {"kernel_size": 2, "stride": 2, "padding": 0}),
    "AvgPool2d": (nn.AvgPool2d, {"kernel_size": 2, "stride": 2, "padding": 0}),
    "Conv1d": (nn.Conv1d, {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "stride": 1, "padding": 0,
                           "dilation": 1, "groups": 2, "bias": False, "padding_mode": "zeros"}),
    "ConvTranspose1d": (nn.ConvTranspose1d, {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "stride": 2,
                                             "padding": 0, "output_padding": 1, "groups": 2, "bias": True,
                                             "dilation": 1}),
    "MaxPool1d": (nn.MaxPool1d, {"kernel_size": 2, "stride": 2, "padding": 0}),
    "AvgPool1d": (nn.AvgPool1d, {"kernel_size": 2, "stride": 2, "padding": 0}),
    "GroupNorm": (nn.GroupNorm, {"num_groups": 2, "num_channels": 4, "eps": 1e-5, "affine": True}),
    "InstanceNorm2d": (nn.InstanceNorm2d, {"num_features": 4, "eps": 1e-5, "affine": True}),
    "Hardtanh": (nn.Hardtanh, {"min_val": -1.0, "max_val": 1.0}),
    "Residual": (nn.Residual, {"net": nn.Identity()}),
    "Upsample": (nn.Upsample, {"scale_factor": 2, "mode": "nearest"}),
    "PixelShuffle": (nn.PixelShuffle, {"upscale_factor": 2}),
    "PixelUnshuffle": (nn.PixelUnshuffle, {"downscale_factor": 2}),
    "Dropout": (nn.Dropout, {"p": 0.5}),
    "Dropout2d": (nn.Dropout2d, {"p": 0.5}),
    "GaussianNoise": (nn.GaussianNoise, {"std": 0.5}),
    "LayerNorm": (nn.LayerNorm, {"normalized_shape": (2, 3), "eps": 1e-5}),
    "BatchNorm1d": (nn.BatchNorm1d, {"num_features": 3, "eps": 1e-5, "momentum": 0.1}),
    "BatchNorm2d": (nn.BatchNorm2d, {"num_features": 3, "eps": 1e-5, "momentum": 0.1}),
    **{loss.__name__: (loss, {"reduction": "mean"})
       for loss in (nn.MSELoss, nn.L1Loss, nn.BCELoss, nn.BCEWithLogitsLoss)},
    "CrossEntropyLoss": (nn.CrossEntropyLoss, {"reduction": "mean", "ignore_index": 3, "label_smoothing": 0.1}),
    "HuberLoss": (nn.HuberLoss, {"reduction": "mean", "delta": 2.0}),
    "SmoothL1Loss": (nn.SmoothL1Loss, {"reduction": "mean", "beta": 2.0}),
    "GaussianNLLLoss": (nn.GaussianNLLLoss, {"full": True, "eps": 1e-6, "reduction": "mean"}),
    "CosineSimilarity": (nn.CosineSimilarity, {"dim": 1, "eps": 1e-8}),
    "KLDivLoss": (nn.KLDivLoss, {"reduction": "mean", "log_target": False}),
    "uniform_": (lambda **o: init.uniform_(weight(), **o), {"low": 0.0, "high": 1.0}),
    "normal_": (lambda **o: init.normal_(weight(), **o), {"mean": 0.0, "std": 1.0}),
    "constant_": (lambda **o: init.constant_(weight(), **o), {"value": 2.0}),
    **{f"kaiming {fill.__name__}": (lambda fill=fill, **o: fill(weight(), **o),
                                    {"a": 0.1, "mode": "fan_in", "nonlinearity": "relu"})
       for fill in (init.kaiming_uniform_, init.kaiming_normal_)},
    **{f"xavier {fill.__name__}": (lambda fill=fill, **o: fill(weight(), **o), {"gain": 1.0})
       for fill in (init.xavier_uniform_, init.xavier_normal_)},
    "filled": (lambda t: init.uniform_(t), {"t": weight()}),
    "gain": (init.gain, {"nonlinearity": "relu", "a": 0.1}),
    "Autoencoder": (ae.Autoencoder, {"encoder": nn.Identity(), "decoder": nn.Identity(), "loss": "mse"}),
    "dense": (ae.Autoencoder.dense, {"sizes": (4, 3, 2), "activation": "relu", "output": "sigmoid", "loss": "bce",
                                     "code_activation": None}),
    "dense sizes": (lambda n: ae.Autoencoder.dense((4, n, 2)), {"n": 3}),
    "denoising": (ae.DenoisingAutoencoder.dense, {"sizes": (4, 2), "amount": 0.1}),
    "sparse": (ae.SparseAutoencoder.dense, {"sizes": (4, 2), "penalty": "kl", "target": 0.1, "weight": 1.0}),
    "contractive": (ae.ContractiveAutoencoder.dense, {"sizes": (4, 2), "weight": 1.0}),
    "variational": (Vae.dense, {"sizes": (4, 3, 2), "beta": 1.0}),
    "VariationalAutoencoder": (lambda **o: Vae(*halves(), **o), {"code_size": 2, "feature_size": 3, "beta": 1.0}),
    "LabelBias": (ae.LabelBias, {"classes": 3, "features": 4}),
    **{name: (lambda name=name, **o: getattr(ae, name)(nn.Linear(4, 2), nn.Linear(2, 4), **o), options)
       for name, options in (
           ("Conditional", {"classes": 3}), ("ConditionalAutoencoder", {"classes": 3}),
           ("ConditionalVariationalAutoencoder", {"classes": 3, "code_size": 2, "feature_size": 2}),
           ("WassersteinAutoencoder", {"code_size": 2, "weight": 0.1, "kernel": "imq"}),
           ("AdversarialAutoencoder", {"code_size": 2, "weight": 0.1}),
           ("ImportanceWeightedAutoencoder", {"code_size": 2, "feature_size": 3, "samples": 2}),
           ("TotalCorrelationAutoencoder", {"code_size": 2, "feature_size": 3, "beta": 2.0, "information": 1.0,
                                            "dimensions": 1.0, "n_samples": 50}),
           ("RegularisedAutoencoder", {"penalty": "l2", "code_weight": 0.1, "decoder_weight": 0.1}),
           ("MaskedAutoencoder", {"patch": 2, "share": 0.5}),
           ("VectorQuantisedAutoencoder", {"entries": 4, "entry_size": 2, "commitment": 0.2, "decay": 0.9,
                                           "revive": 0.1}),
       )},
    "ConvAutoencoder": (ae.ConvAutoencoder, {"channels": (1, 2), "down": "pool", "kernel_size": 3, "activation": "elu",
                                             "output": "sigmoid", "loss": "bce", "code_size": 2, "size": 4,
                                             "norm": "batch"}),
    "conv_encoder": (ae.conv_encoder, {"channels": (1, 2), "down": "stride", "kernel_size": 3, "activation": "elu",
                                       "code_size": 2, "size": 4, "norm": None}),
    "conv_decoder": (ae.conv_decoder, {"channels": (1, 2), "down": "stride", "kernel_size": 3, "activation": "elu",
                                       "output": "sigmoid", "code_size": 2, "size": 4, "norm": None}),
    "feature_size": (ae.feature_size, {"channels": (1, 2), "size": 4, "kernel_size": 3}),
    "sample": (lambda n: Vae.dense((16, 5, 2)).sample(n), {"n": 2}),
    "manifold": (lambda **o: Vae.dense((16, 5, 2)).manifold(**o), {"n": 2, "low": -1.0, "high": 1.0}),
    "interpolate": (lambda **o: Vae.dense((16, 5, 2)).interpolate(**o), {"a": X[0], "b": X[1], "steps": 2}),
    "log_likelihood": (lambda **o: Vae.dense((16, 5, 2)).log_likelihood(**o),
                       {"x": X, "samples": 1, "batch_size": 4}),
    **{name: (lambda name=name, **o: getattr(ae.Autoencoder.dense((16, 3)), name)(**o), {"x": X, "batch_size": 4})
       for name in ("reconstruct", "transform", "reconstruction_error")},
    "inverse_transform": (lambda **o: ae.Autoencoder.dense((16, 3)).inverse_transform(**o),
                          {"z": X.reshape(-1, 16)[:, :3], "batch_size": 4}),
    "jacobian": (lambda **o: ae.jacobian(ae.Autoencoder.dense((16, 3)), **o), {"x": X, "batch_size": 4}),
    "summary": (lambda **o: nn.Flatten().summary(**o), {"input_shape": (2, 3)}),
    "side of a summary": (lambda n: nn.Flatten().summary((n, 3)), {"n": 2}),
}  # fmt: skip


def test_every_layer_loss_and_kind_is_in_the_table() -> None:
    public = [*map(vars(nn).get, nn.__all__), *map(vars(ae).get, ae.__all__)]
    with_options = {
        c.__name__ for c in public if isinstance(c, type) and issubclass(c, nn.Module)
        and {*inspect.signature(c).parameters} - {"args", "options", "layers"}
    }  # fmt: skip
    by_dense = {"SparseAutoencoder", "ContractiveAutoencoder", "DenoisingAutoencoder"}
    assert with_options - {*CALLS} == by_dense


MANY = ("samples", "steps")  # of a good many, a call takes its time: 2**62 is a legal number there


@pytest.mark.parametrize("name", CALLS)
def test_odd_values_give_the_documented_errors_or_work_and_draw_nothing(name: str) -> None:
    call, good = CALLS[name]
    if name not in ("summary", "side of a summary"):
        call(**good)
    refused = 0
    for option in good:
        for value in ODD:
            if option in MANY and isinstance(value, int) and value > 1 or option == "loss" and callable(value):
                continue
            sa.manual_seed(0)
            made = sa.random.generator()
            before = made.bit_generator.state
            try:
                call(**{**good, option: value})
            except ALLOWED as error:
                refused += 1
                what = f"{name}({option}={value!r}"[:60]
                assert str(error) and sa.random.generator() is made, what
                if "dense" in what or inspect.isclass(call):
                    assert made.bit_generator.state == before, what
            except BaseException as error:
                raise AssertionError(f"{name}: {option} gave {type(error).__name__}: {error}") from error
    assert refused >= len(ODD) / 2 * len(good) * 0.5


NUMBERS: dict[str, tuple[Callable[[Any], Any], str, list[Any]]] = {
    "in_features": (lambda v: nn.Linear(v, 2), "Linear: in_features=", [0, -1, 2.0, True, "2", None, 10**400]),
    "bias": (lambda v: nn.Linear(2, 2, v), "Linear: bias=", [1, 0, "no", None, math.nan, [True]]),
    "groups": (lambda v: nn.Conv2d(2, 2, 1, groups=v), "Conv2d: groups=", [0, -1, 1.0, True, "1", None, 2**63]),
    "conv bias": (lambda v: nn.ConvTranspose2d(2, 2, 1, bias=v), "ConvTranspose2d: bias=", [1, "no", None]),
    "slope": (lambda v: nn.LeakyReLU(v), "LeakyReLU: negative_slope=", [math.nan, math.inf, "1", None, True, 10**400]),
    "alpha": (lambda v: nn.ELU(v), "ELU: alpha=", [math.nan, -math.inf, "1", None, False, [1], np.ones(2)]),
    "dim": (lambda v: nn.Softmax(v), "Softmax: dim=", [0.0, "0", None, True, -65, 2**63, math.nan]),
    "start_dim": (lambda v: nn.Flatten(v), "Flatten: start_dim=", [1.5, "1", None, True, -65]),
    "shape": (lambda v: nn.Unflatten(1, v), "Unflatten: shape", [(), 0, -1, (2, 0), "12", None, (2, 1.5), (True,)]),
    "p": (lambda v: nn.Dropout(v), "Dropout: p=", [-0.1, 1.1, math.nan, "0.5", None, True, 10**400, np.ones(2)]),
    "p of Dropout2d": (lambda v: nn.Dropout2d(v), "Dropout2d: p=", [-0.1, math.inf, "", [0.5]]),
    "std": (lambda v: nn.GaussianNoise(v), "GaussianNoise: std=", [-1, math.nan, math.inf, "1", None, True, 10**400]),
    "normalized_shape": (lambda v: nn.LayerNorm(v), "LayerNorm: normalized_shape", [0, (), (2, 0), "3", None, True]),
    "eps": (lambda v: nn.LayerNorm(2, v), "LayerNorm: eps=", [-1e-5, math.nan, math.inf, "1", None, True, 10**400]),
    "num_features": (lambda v: nn.BatchNorm2d(v), "BatchNorm2d: num_features=", [0, -3, 2.0, "2", None, True]),
    "batch eps": (lambda v: nn.BatchNorm1d(2, eps=v), "BatchNorm1d: eps=", [-1, math.nan, math.inf, "1"]),
    "momentum": (lambda v: nn.BatchNorm1d(2, momentum=v), "BatchNorm1d: momentum=", [-0.1, 1.1, math.nan, None, True]),
    "reduction": (lambda v: nn.MSELoss(v), "MSELoss: reduction=", ["avg", None, 1, ["mean"], np.array(["mean"])]),
    "log_target": (lambda v: nn.KLDivLoss("sum", v), "KLDivLoss: log_target=", [1, 0, "yes", None]),
    "low": (lambda v: init.uniform_(weight(), v), "uniform_: low=", [math.nan, -math.inf, "0", None, 1e39, -(10**400)]),
    "high": (lambda v: init.uniform_(weight(), 0, v), "uniform_: high=", [math.nan, math.inf, -1, "1", 3.5e38]),
    "width": (lambda v: init.uniform_(weight(), -v, v), "uniform_: high - low=", [3e38]),
    "normal std": (lambda v: init.normal_(weight(), 0, v), "normal_: std=", [-1, math.nan, math.inf, "1", 1e38]),
    "gain": (lambda v: init.xavier_normal_(weight(), v), "xavier_normal_: gain=", [-1, math.nan, "1", 10**400]),
    "a": (lambda v: init.kaiming_uniform_(weight(), v), "gain: a=", [math.nan, math.inf, "0", None]),
    "size": (lambda v: ae.Autoencoder.dense((4, v, 2)), r"sizes=.*sizes\[1\]=", [0, 1.0, True, "3", None, 10**400]),
    "channels": (lambda v: ae.conv_encoder((1, v)), r"channels=.*channels\[1\]=", [0, 1.0, True, "3", None, 2**63]),
    "kernel": (lambda v: ae.conv_encoder(kernel_size=v), "kernel_size=", [0, 2, -1, 3.0, True, "3", None]),
    "side": (lambda v: ae.ConvAutoencoder(code_size=2, size=v), "size=", [0, -4, 27, 28.0, "28", None, True]),
    "code_size": (lambda v: ae.ConvAutoencoder(code_size=v), "code_size=", [0, -1, 2.0, "2", True, 10**400]),
    "a VAE's code_size": (lambda v: Vae(*halves(), code_size=v, feature_size=3), ".*: code_size=", [0, 1.5, None]),
    "feature_size": (lambda v: Vae(*halves(), code_size=2, feature_size=v), ".*: feature_size=", [0, 1.5, None, True]),
    "beta": (lambda v: Vae.dense((4, 3, 2), beta=v), "beta=", [-1, math.nan, math.inf, None, "1", True, 10**400]),
    "too large a layer": (lambda v: nn.Linear(v, v), r"Linear: a weight of shape", [2**40, 2**62, 10**9]),
    "too large a map": (lambda v: Vae.dense((16, 5, 2)).manifold(v), "n=", [2**40, 10**9]),
    "output": (lambda v: ae.Autoencoder.dense((4, 2), output=v), "output=.*expected None or", ["softmax", 1, []]),
    "code_activation": (lambda v: ae.Autoencoder.dense((4, 2), code_activation=v), "code_activation=", ["x", 1, []]),
}  # fmt: skip


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_out_of_range_are_named_with_their_layer_before_anything_is_drawn(case: str) -> None:
    call, message, values = NUMBERS[case]
    for value in values:
        made, before = sa.random.generator(), sa.random.generator().bit_generator.state
        with pytest.raises(ValueError, match=f"(?s)^{message}"):
            call(value)
        if not case.startswith("too large a map"):
            assert sa.random.generator() is made and made.bit_generator.state == before


def test_numpys_numbers_are_taken_as_pythons() -> None:
    layer = nn.Linear(np.int64(3), np.uint8(2), np.False_)
    assert repr(layer) == "Linear(3, 2, bias=False)  # 6 parameters" and type(layer.in_features) is int
    assert nn.LeakyReLU(np.float32(0.5)).describe() == "negative_slope=0.5" and type(nn.ELU(2).alpha) is float
    assert nn.LeakyReLU(-1).negative_slope == -1 and nn.BatchNorm1d(2, 0, 1).momentum == 1
    assert nn.LayerNorm(np.int64(3)).normalized_shape == (3,) and nn.Dropout(1).p == 1
    assert ae.Autoencoder.dense(np.array([4, 3, 2])).transform(np.zeros((1, 4), np.float32)).shape == (1, 2)


def test_an_empty_weight_is_filled_with_nothing() -> None:
    empty = nn.Parameter(np.ones((0, 3), np.float32))
    for fill in (init.kaiming_normal_, init.xavier_uniform_, init.uniform_):
        assert fill(empty) is empty
    assert init.kaiming_uniform_(empty, mode="fan_out").shape == (0, 3)


@pytest.mark.parametrize("t", [np.ones(2), [1.0], None, 1.0])
def test_only_tensors_are_filled(t: Any) -> None:
    for fill in (init.uniform_, init.normal_, init.zeros_, init.kaiming_normal_, init.xavier_normal_):
        with pytest.raises(TypeError, match=f"expected a Tensor or a Parameter to fill, got {type(t).__name__}"):
            fill(t)
    with pytest.raises(TypeError, match=r"Tensor of int64 cannot hold fractions; convert it with .astype"):
        init.uniform_(sa.Tensor(np.arange(3)))


# --- arrays of others -----------------------------------------------------------------------------


class Table:
    """Like a DataFrame: it has a shape, dtypes, and a way out."""

    shape, ndim = (3, 6), 2
    __module__ = "pandas.core.frame"

    def to_numpy(self) -> np.ndarray:
        return np.ones(self.shape)

    def __len__(self) -> int:
        return 3


class Torch:
    """Like a tensor of PyTorch: shapes and a dtype, which is no dtype of NumPy's."""

    shape, ndim, dtype = (3, 6), 2, "torch.float32"
    __module__ = "torch"

    def __len__(self) -> int:
        return 3


FOREIGN: dict[str, tuple[Any, str]] = {
    "a list": ([[1.0] * 6] * 3, "a list"),
    "a list of arrays": ([np.ones(6, np.float32)] * 3, "a list"),
    "nothing": (None, "a NoneType"),
    "text": ("abc", "a str"),
    "a table": (Table(), r"a Table of pandas.*\.to_numpy\(\)"),
    "a tensor of PyTorch": (Torch(), r"a Torch of torch.*\.detach\(\)\.cpu\(\)\.numpy\(\)"),
    "complex numbers": (np.ones((3, 6), complex), "of dtype complex128.*real and .imag"),
    "objects": (np.full((3, 6), None), "of dtype object"),
    "words": (np.full((3, 6), "a"), "of dtype <U1"),
    "a masked array": (np.ma.ones((3, 6)), r"a MaskedArray of numpy.*\.filled\("),
}
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "Linear(6, 2)": lambda: nn.Linear(6, 2),
    "Conv2d(1, 1, (1, 1))": lambda: nn.Conv2d(1, 1, 1),
    "ConvTranspose2d(1, 1, (1, 1))": lambda: nn.ConvTranspose2d(1, 1, 1),
    "MaxPool2d(1)": lambda: nn.MaxPool2d(1),
    "AvgPool2d(1)": lambda: nn.AvgPool2d(1),
    "Upsample(2)": lambda: nn.Upsample(2),
    "PixelShuffle(1)": lambda: nn.PixelShuffle(1),
    "BatchNorm1d(6)": lambda: nn.BatchNorm1d(6),
    "BatchNorm2d(6)": lambda: nn.BatchNorm2d(6),
    "LayerNorm(6)": lambda: nn.LayerNorm(6),
    "Dropout()": lambda: nn.Dropout(0.5),
    "Dropout2d(p=0.25)": lambda: nn.Dropout2d(0.25),
    "GaussianNoise(std=0.2)": lambda: nn.GaussianNoise(0.2),
    "Unflatten(1, (2, 3))": lambda: nn.Unflatten(1, (2, 3)),
    "Softmax(dim=1)": lambda: nn.Softmax(1),
    "ReLU()": nn.ReLU, "GELU()": nn.GELU, "ELU()": nn.ELU, "Sigmoid()": nn.Sigmoid, "Softplus()": nn.Softplus,
}  # fmt: skip


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_names_what_is_no_array_of_its(layer: str, what: str) -> None:
    value, found = FOREIGN[what]
    made = LAYERS[layer]()
    with pytest.raises(TypeError, match=f"(?s){re.escape(layer)}: the input is {found}"):
        made(value)
    with pytest.raises(TypeError, match=f"(?s)layer 1: {re.escape(layer)}: the input is {found}"):
        nn.Sequential(nn.Identity(), made)(value)


def test_big_endian_data_are_taken_by_models_and_layers() -> None:
    x = np.random.default_rng(0).random((5, 6), dtype=np.float32)
    model = sa.Autoencoder.dense((6, 3))
    for name in ("reconstruct", "transform", "reconstruction_error"):
        np.testing.assert_array_equal(getattr(model, name)(x.astype(">f4")), getattr(model, name)(x))
    layer = nn.Linear(6, 2)
    np.testing.assert_array_equal(layer(x.astype(">f4")).numpy(), layer(x).numpy())


@pytest.mark.parametrize("what", FOREIGN)
def test_methods_on_arrays_name_what_is_none(what: str) -> None:
    value, found = FOREIGN[what]
    model, vae = sa.Autoencoder.dense((6, 3)), Vae.dense((6, 4, 2))
    calls = [model.reconstruct, model.transform, model.reconstruction_error, model.inverse_transform,
             lambda x: ae.jacobian(model, x)]  # fmt: skip
    for call in calls:
        with pytest.raises(TypeError, match=f"(?s)Autoencoder: the data is {found}"):
            call(value)
    for call in (vae.log_likelihood, lambda x: vae.interpolate(x, x)):
        with pytest.raises(TypeError, match=f"(?s)VariationalAutoencoder: the data is {found}"):
            call(value)
    with pytest.raises(ValueError, match="single number"):
        model.transform(np.array(1.0))


def test_a_layer_of_ones_own_takes_what_it_likes() -> None:
    class Pair(nn.Linear):
        def forward(self, pair: Any) -> Any:
            return super().forward(pair["a"]) + super().forward(pair["b"])

    x = np.ones((1, 2), np.float32)
    assert Pair(2, 1)({"a": x, "b": x}).shape == (1, 1)
    with pytest.raises(KeyError, match="b"):
        Pair(2, 1)({"a": x})
    assert nn.Identity()({"a": 1}) == {"a": 1} and nn.ReLU()(-2.0) == 0


@pytest.mark.parametrize("batch_size, found", [(32, r"\(1, 4\) has one value")])
def test_a_short_last_batch_is_told_with_a_way_out(batch_size: int, found: str) -> None:
    encoder = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))
    model, x = sa.Autoencoder(encoder, nn.Linear(4, 8)), np.random.default_rng(0).random((33, 8), dtype=np.float32)
    trainer = sa.Trainer(model, sa.optim.Adam(model.parameters()))
    with pytest.raises(ValueError, match=rf"layer 1: BatchNorm1d\(4\): a batch of shape {found}.*drop_last=True"):
        trainer.fit(x, batch_size=batch_size, progress=False)
    trainer.fit(sa.DataLoader(x, batch_size, drop_last=True), progress=False)
    trainer.fit(x, batch_size=11, progress=False)
    with pytest.raises(ValueError, match=r"\(0, 4\) has no value per feature"):
        nn.BatchNorm1d(4)(np.ones((0, 4), np.float32))
