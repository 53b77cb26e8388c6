"""The operators of ONNX for each layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae import nn
from scratchae.autograd.tensor import data_of
from scratchae.backend import Array, to_device
from scratchae.images.layers import MODES, Conv
from scratchae.images.options import conv_window, pair
from scratchae.more.series import window_of
from scratchae.nn.module import places_in


class Graph:
    """Operators in order, and the arrays among their inputs."""

    def __init__(self, model: nn.Module):
        self.nodes: list[tuple[str, list[str], str, dict[str, Any]]] = []  # operator, inputs, output, attributes
        self.arrays: dict[str, np.ndarray] = {}
        self.names: dict[int, str] = {}  # of parameters and buffers; a shared array is stored once
        for held in places_in(model):
            self.names.setdefault(id(held.value), held.name)

    def __call__(self, operator: str, *inputs: Any, **attributes: Any) -> str:
        """Add an operator and return its output's name. Inputs are names, arrays, or None for a missing input."""
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append((operator, [self._named(i) for i in inputs], output, attributes))
        return output

    def _named(self, value: Any) -> str:
        if value is None or isinstance(value, str):
            return value or ""
        name = self.names.get(id(value), f"constant_{len(self.arrays)}")
        self.arrays[name] = to_device(data_of(value), "cpu")
        return name


# A writer gets the graph, the layer, the name of its input, and the sample's input and output as arrays.

Writer = Callable[[Graph, Any, str, Array, Array], str]


def _operator(name: str, *arrays: str, **options: str) -> Writer:
    """A writer of one operator. Inputs are x and the layer's attributes `arrays`; `options` have ONNX's names."""
    return lambda g, m, x, *_: g(
        name, x, *[getattr(m, a) for a in arrays], **{theirs: getattr(m, ours) for theirs, ours in options.items()}
    )


def _linear(g: Graph, m: nn.Linear, x: str, before: Array, after: Array) -> str:
    if before.ndim == 2:
        return g("Gemm", x, m.weight, m.bias, transB=1)
    product = g("MatMul", x, g("Transpose", m.weight, perm=[1, 0]))
    return product if m.bias is None else g("Add", product, m.bias)


def _window(m: Any) -> dict[str, Any]:
    """Attributes of a convolution or a pool."""
    of_series = isinstance(m, (nn.Conv1d, nn.ConvTranspose1d, nn.MaxPool1d, nn.AvgPool1d))
    given = m.kernel_size, m.kernel_size if m.stride is None else m.stride, m.padding, getattr(m, "dilation", 1)
    window: Any = (window_of if of_series else conv_window)("to_onnx", *given)
    sides = slice(of_series, 2)  # a series is an image of height 1, and ONNX has operators for series
    kernel, strides, pads, dilations = (option[sides] for option in window)
    found: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
    found["pads"] = [*(before for before, _ in pads), *(after for _, after in pads)]
    if isinstance(m, Conv):
        found |= {"dilations": dilations, "group": int(m.groups)}
    if hasattr(m, "output_padding"):
        found["output_padding"] = pair("output_padding", m.output_padding, 0)[sides]
    return found


def _conv(g: Graph, m: Any, x: str, *_: Array) -> str:
    window = _window(m)
    if m.padding_mode != "zeros":
        x = _continued(g, x, window["pads"], MODES[m.padding_mode])
        window["pads"] = [0] * len(window["pads"])
    return g("Conv", x, m.weight, m.bias, **window)


def _continued(g: Graph, x: str, pads: list[int], mode: str) -> str:
    """Images or series padded with their own pixels; `pads` are those before all axes, then those after.

    Pad has no mode "wrap" before opset 19.
    """
    sides = len(pads) // 2
    before, after = pads[:sides], pads[sides:]
    if mode != "wrap":
        return g("Pad", x, np.array([0, 0, *before, 0, 0, *after]), mode=mode)
    start, end = np.array([0]), np.array([np.iinfo(np.int64).max])
    for axis, first, last in zip(range(2, 2 + sides), before, after, strict=True):
        head = [g("Slice", x, np.array([-first]), end, np.array([axis]))] if first else []
        tail = [g("Slice", x, start, np.array([last]), np.array([axis]))] if last else []
        x = g("Concat", *head, x, *tail, axis=axis) if head or tail else x
    return x


def _conv_transpose(g: Graph, m: Any, x: str, *_: Array) -> str:
    return g("ConvTranspose", x, m.weight, m.bias, **_window(m))


def _avg_pool(g: Graph, m: Any, x: str, *_: Array) -> str:
    return g("AveragePool", x, **_window(m), count_include_pad=1)


def _upsample(g: Graph, m: nn.Upsample, x: str, *_: Array) -> str:
    scales = np.array([1, 1, *pair("scale_factor", m.scale_factor, 1)], np.float32)
    if m.mode == "bilinear":
        return g("Resize", x, None, scales, mode="linear", coordinate_transformation_mode="half_pixel")
    where = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return g("Resize", x, None, scales, mode="nearest", **where)


def _pixel_unshuffle(g: Graph, m: nn.PixelUnshuffle, x: str, before: Array, after: Array) -> str:
    """ONNX's SpaceToDepth puts the places in a block first, and the channels last."""
    f, c = m.downscale_factor, before.shape[1]
    return g("Gather", g("SpaceToDepth", x, blocksize=f), np.arange(c * f * f).reshape(f * f, c).T.ravel(), axis=1)


def reshape(g: Graph, m: nn.Module, x: str, before: Array, after: Array) -> str:
    """A layer that changes no number in eval mode becomes a reshape, or no operator at all."""
    return x if before.shape == after.shape else g("Reshape", x, np.array([-1, *after.shape[1:]]))


def _gelu(g: Graph, m: nn.GELU, x: str, before: Array, after: Array) -> str:
    """x (1 + erf(x / sqrt 2)) / 2."""
    half, one, root = (np.array(v, before.dtype) for v in (0.5, 1, math.sqrt(0.5)))
    return g("Mul", g("Mul", x, half), g("Add", g("Erf", g("Mul", x, root)), one))


def _hardtanh(g: Graph, m: nn.Hardtanh, x: str, before: Array, after: Array) -> str:
    return g("Clip", x, *(np.array(bound, before.dtype) for bound in (m.min_val, m.max_val)))


def _group_norm(g: Graph, m: nn.GroupNorm, x: str, before: Array, after: Array) -> str:
    """The groups as channels of an InstanceNormalization, which is without a scale and a shift here."""
    ones = np.ones(m.num_groups, before.dtype)
    groups = g("Reshape", x, np.array([0, m.num_groups, -1]))  # 0: as many as in x
    out = g("Reshape", g("InstanceNormalization", groups, ones, 0 * ones, epsilon=m.eps), g("Shape", x))
    if not m.affine:
        return out
    along_channels = np.array([-1, *[1] * (before.ndim - 2)])
    scaled = g("Mul", out, g("Reshape", m.weight, along_channels))
    return g("Add", scaled, g("Reshape", m.bias, along_channels))


def _instance_norm(g: Graph, m: nn.InstanceNorm2d, x: str, before: Array, after: Array) -> str:
    ones = np.ones(m.num_features, before.dtype)
    weight, bias = (m.weight, m.bias) if m.affine else (ones, 0 * ones)
    return g("InstanceNormalization", x, weight, bias, epsilon=m.eps)


_batch_norm = _operator("BatchNormalization", "weight", "bias", "running_mean", "running_var", epsilon="eps")

LAYERS: dict[type[nn.Module], Writer] = {
    nn.Linear: _linear,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d), _conv),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d), _conv_transpose),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d), lambda g, m, x, *_: g("MaxPool", x, **_window(m))),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d), _avg_pool),
    nn.Upsample: _upsample,
    nn.PixelShuffle: lambda g, m, x, *_: g("DepthToSpace", x, blocksize=int(m.upscale_factor), mode="CRD"),
    nn.PixelUnshuffle: _pixel_unshuffle,
    **dict.fromkeys((nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout2d, nn.GaussianNoise), reshape),
    nn.ReLU: _operator("Relu"),
    nn.LeakyReLU: _operator("LeakyRelu", alpha="negative_slope"),
    nn.ELU: _operator("Elu", alpha="alpha"),
    nn.GELU: _gelu,
    nn.SiLU: lambda g, m, x, *_: g("Mul", x, g("Sigmoid", x)),
    nn.Hardtanh: _hardtanh,
    nn.Sigmoid: _operator("Sigmoid"),
    nn.Tanh: _operator("Tanh"),
    nn.Softplus: _operator("Softplus"),
    nn.Softmax: _operator("Softmax", axis="dim"),
    nn.LayerNorm: lambda g, m, x, *_: g(
        "LayerNormalization", x, m.weight, m.bias, axis=-len(m.normalized_shape), epsilon=m.eps
    ),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d), _batch_norm),
    nn.GroupNorm: _group_norm,
    nn.InstanceNorm2d: _instance_norm,
}
