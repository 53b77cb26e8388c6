"""Layers as data: the options and the arrays of each layer, from which `layers.js` computes the same outputs.

`LAYERS` maps each layer to the function of `layers.js`, to its options and its arrays. One sample runs through the
layers and gives the shape of each output.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae import nn
from scratchae.autoencoders import Autoencoder, VariationalAutoencoder
from scratchae.autoencoders.base import works_on_logits
from scratchae.autoencoders.labels import LabelBias
from scratchae.autograd import no_grad
from scratchae.autograd.tensor import data_of
from scratchae.backend import Array, to_device
from scratchae.images.options import conv_window, pair
from scratchae.images.window import Window
from scratchae.interop.common import as_layer, known_class
from scratchae.more.series import window_of
from scratchae.nn.layer import Layer
from scratchae.nn.linear import Function
from scratchae.nn.module import device_of_model, evaluating, titled

Described = dict[str, Any]  # the options and arrays of a layer
# The layers whose `weight` may be stored as float16.
ROUNDED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Conv1d, nn.ConvTranspose1d)


class ContinuousBernoulliMean(nn.Module):
    """From the outputs of a model with the loss "cb" to data."""

    def forward(self, x: Any) -> Any:
        return F.continuous_bernoulli_mean(F.clip(x, 0.0, 1.0))


def halves(model: Any) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """The modules from an input to its code, and from a code to data, under their names in the model.

    Raises TypeError for a kind that computes codes or data in a way of its own.
    """
    kind = known_class(model, (Autoencoder, VariationalAutoencoder))
    if kind is None:
        advice = "explore an Autoencoder of the same encoder and decoder"
        raise TypeError(f"explore: {type(model).__name__} encodes or decodes in a way of its own; {advice}")
    encoder = {"encoder": model.encoder}
    if kind is VariationalAutoencoder:
        encoder["mu"] = model.mu
    decoder = {"decoder": model.decoder}
    if works_on_logits(model._loss_function):
        decoder["the sigmoid of the loss"] = nn.Sigmoid()
    if model._loss_function is F.continuous_bernoulli_nll:
        decoder["the mean of the density"] = ContinuousBernoulliMean()
    return encoder, decoder


def described(modules: dict[str, nn.Module], sample: Array, advice: str = "") -> tuple[list[Described], Array]:
    """The layers of `modules`, one after the other, and their output for `sample`, an array (1, ...).

    Raises TypeError for a layer that the page cannot compute. `advice` adds to the error's text.
    """
    layers: list[Described] = []
    for path, module in modules.items():
        with evaluating(module), no_grad():
            sample = _add(layers, path, module, to_device(sample, device_of_model(module)), advice)
    return layers, sample


def _add(layers: list[Described], path: str, layer: Any, x: Array, advice: str) -> Array:
    if known_class(layer, [nn.Sequential]):
        for i, part in enumerate(layer):
            x = _add(layers, f"{path}.{i}", part, x, advice)
        return x
    layer = _without_function(layer)
    known = known_class(layer, [*LAYERS, nn.Residual])
    if known is None:
        kind = titled(layer) if isinstance(layer, Function) else type(layer).__name__
        wanted = f"expected layers of scratchae.nn that the page can compute, or a Sequential of them{advice}"
        raise TypeError(f"explore: layer {path} is a {kind}; {wanted}")
    net: list[Described] = []
    if known is nn.Residual:
        _add(net, f"{path}.net", layer.net, x, advice)
    y = data_of(layer(x))
    if len(y) != 1:
        raise ValueError(f"explore: layer {path} makes shape {y.shape} of one sample; expected one output: (1, ...)")
    name, options = ("Residual", {"net": net}) if known is nn.Residual else LAYERS[known](layer, x)
    if name != "Reshape" or y.shape != x.shape:
        told = {key: _on_cpu(value) for key, value in options.items()}
        layers.append({"layer": name, "shape": list(y.shape[1:]), **told})
    return y


def _without_function(layer: Any) -> Any:
    """The layer of a function such as F.relu; other layers, and functions without a layer, as given."""
    known = as_layer(layer.function) if known_class(layer, [Function]) else None
    return layer if known is None else known


def _on_cpu(value: Any) -> Any:
    """A parameter or an array as a float32 array; another option as given."""
    value = data_of(value)
    return to_device(value, "cpu").astype(np.float32) if hasattr(value, "astype") else value


def rounded(model: Autoencoder) -> Autoencoder:
    """A copy of the model whose large arrays hold float16's numbers."""
    rough = copy.deepcopy(model)
    for module in rough.modules():
        if isinstance(module, ROUNDED):
            weight = module.weight
            weight.data = weight.data.astype(np.float16).astype(weight.dtype)
    return rough


def code_shape(model: Autoencoder) -> tuple[int, ...]:
    """The shape of one code, from the model alone. Raises ValueError for a decoder that does not tell."""
    if isinstance(model, VariationalAutoencoder):
        return (model.code_size,)
    first = next((m for m in model.decoder.modules() if isinstance(m, (Layer, Function))), None)
    if isinstance(first, nn.Linear):
        return (first.in_features,)
    begins = f"the decoder begins with {titled(first)}" if first is not None else "the decoder has no layer"
    raise ValueError(f"explore: {begins}, which does not tell the shape of a code; pass some images")


def assumed_codes(model: Autoencoder, n: int) -> np.ndarray:
    """Codes for a model without data, evenly from the range of the encoder's last layer; from [-3, 3] without limits.

    The first two codes are the ends of the range.
    """
    last: Any = model.encoder
    while not isinstance(last, nn.Residual) and (inside := [*last.children()]):  # a Residual adds its input at the end
        last = inside[-1]
    last = _without_function(last)
    limits: dict[Any, tuple[float, float]] = {nn.Sigmoid: (0, 1), nn.Tanh: (-1, 1), nn.ReLU: (0, 3)}
    if isinstance(last, nn.Hardtanh):
        limits[type(last)] = last.min_val, last.max_val
    low, high = (-3, 3) if isinstance(model, VariationalAutoencoder) else limits.get(type(last), (-3, 3))
    codes = np.random.default_rng(0).uniform(low, high, (n, *code_shape(model)))
    codes[0], codes[1] = low, high
    return codes.astype(next((p.dtype for p in model.parameters()), np.float32))


# --- every layer ----------------------------------------------------------------------------------
#
# A writer gets the layer and its input, and returns the function in layers.js and the options.

Writer = Callable[[Any, Array], tuple[str, Described]]


def _layer(name: str, *options: str) -> Writer:
    """A writer of the layer's attributes `options`."""
    return lambda m, x: (name, {option: getattr(m, option) for option in options})


def _window(m: Any, in_full: Callable[..., Window] = conv_window) -> Described:
    """The options of a convolution or a pool: kernel, stride, the padding above and on the left, dilation.

    `window_of` as `in_full` gives those of a series as an image of height 1.
    """
    given = m.kernel_size, m.kernel_size if m.stride is None else m.stride, m.padding, getattr(m, "dilation", 1)
    kernel, stride, ((top, _), (left, _)), dilation = in_full("explore", *given)
    return {"kernel": kernel, "stride": stride, "pad": (top, left), "dilation": dilation}


def _conv(name: str, in_full: Callable[..., Window] = conv_window) -> Writer:
    def write(m: Any, x: Array) -> tuple[str, Described]:
        if (mode := getattr(m, "padding_mode", "zeros")) != "zeros":
            raise ValueError(f"explore: {titled(m)} has padding_mode={mode!r}; the page pads with zeros only")
        return name, {"weight": m.weight, "bias": m.bias, "groups": m.groups, **_window(m, in_full)}

    return write


def _batch_norm(m: nn.BatchNorm1d, x: Array) -> tuple[str, Described]:
    """In eval mode, one factor and one shift for each channel."""
    weight, bias = (to_device(data_of(p), "cpu").astype(np.float64) for p in (m.weight, m.bias))
    mean, var = (to_device(b, "cpu").astype(np.float64) for b in (m.running_mean, m.running_var))
    scale = weight / np.sqrt(var + m.eps)
    return "BatchNorm", {"scale": scale, "shift": bias - mean * scale}


def _group_norm(m: Any, x: Array) -> tuple[str, Described]:
    """In an InstanceNorm2d, each channel is a group."""
    groups = m.num_groups if isinstance(m, nn.GroupNorm) else m.num_features
    return "GroupNorm", {"groups": groups, "scale": m.weight, "shift": m.bias, "eps": m.eps}


def _softmax(m: nn.Softmax, x: Array) -> tuple[str, Described]:
    if (dim := m.dim % x.ndim) == 0:
        raise ValueError(f"explore: {titled(m)} runs along the batch; expected another dimension")
    return "Softmax", {"dim": dim - 1}


LAYERS: dict[type[nn.Module], Writer] = {
    nn.Linear: _layer("Linear", "weight", "bias"),
    nn.Conv2d: _conv("Conv2d"),
    nn.ConvTranspose2d: _conv("ConvTranspose2d"),
    nn.MaxPool2d: lambda m, x: ("MaxPool2d", _window(m)),
    nn.AvgPool2d: lambda m, x: ("AvgPool2d", _window(m)),
    nn.Conv1d: _conv("Conv1d", window_of),
    nn.ConvTranspose1d: _conv("ConvTranspose1d", window_of),
    nn.MaxPool1d: lambda m, x: ("MaxPool1d", _window(m, window_of)),
    nn.AvgPool1d: lambda m, x: ("AvgPool1d", _window(m, window_of)),
    nn.Upsample: lambda m, x: ("Upsample", {"scale": pair("scale_factor", m.scale_factor, 1), "mode": m.mode}),
    nn.PixelShuffle: lambda m, x: ("PixelShuffle", {"factor": m.upscale_factor}),
    nn.PixelUnshuffle: lambda m, x: ("PixelUnshuffle", {"factor": m.downscale_factor}),
    **dict.fromkeys(
        (nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout2d, nn.GaussianNoise), _layer("Reshape")
    ),
    nn.ReLU: _layer("ReLU"),
    nn.LeakyReLU: _layer("LeakyReLU", "negative_slope"),
    nn.ELU: _layer("ELU", "alpha"),
    nn.GELU: _layer("GELU"),
    nn.SiLU: _layer("SiLU"),
    nn.Hardtanh: _layer("Hardtanh", "min_val", "max_val"),
    nn.Sigmoid: _layer("Sigmoid"),
    ContinuousBernoulliMean: _layer("ContinuousBernoulliMean"),
    nn.Tanh: _layer("Tanh"),
    nn.Softplus: _layer("Softplus"),
    nn.Softmax: _softmax,
    nn.LayerNorm: lambda m, x: ("LayerNorm", {"scale": m.weight, "shift": m.bias, "eps": m.eps}),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d), _batch_norm),
    **dict.fromkeys((nn.GroupNorm, nn.InstanceNorm2d), _group_norm),
    LabelBias: lambda m, x: ("LabelBias", {"table": m.weight}),  # one row for each label
}
