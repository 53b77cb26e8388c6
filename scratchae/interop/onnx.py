"""Models as ONNX files, which other runtimes and other languages run.

`LAYERS` maps each layer to one operator of ONNX, or to a few. Weights keep their names and their layout, since PyTorch
and ONNX have the same. One sample runs through the model and gives each layer's shapes. The graph is first built in
plain Python. So a model that cannot be exported is refused before `onnx` is imported or a file is changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae import nn
from scratchae.autoencoders import Autoencoder, VariationalAutoencoder
from scratchae.autograd import no_grad
from scratchae.autograd.tensor import data_of
from scratchae.backend import Array, is_array, to_device
from scratchae.files.storage import FilePath, write_whole
from scratchae.images.layers import Conv
from scratchae.images.options import conv_window, pair
from scratchae.interop.common import as_layer, known_class, place, require
from scratchae.more.series import window_of
from scratchae.nn.linear import Function
from scratchae.nn.module import device_of_model, evaluating, places_in, titled

OPSET, IR_VERSION = 17, 8  # of 2022: the first opset with LayerNormalization, and old enough for every runtime in use


def to_onnx(model: nn.Module, path: FilePath, example: Array) -> None:
    """Write `model` in eval mode, with the input "x" and the output "y". Both have a batch of any size, "N".

    Args:
        model: layers of `scratchae.nn`, `Sequential`s of them, or an autoencoder of any kind.
        path: the file, replaced as a whole.
        example: inputs (n, ...), float32 or float64, in the shape and dtype that the exported model will take.

    The output of an autoencoder is the result of `forward` in eval mode: reconstructions in the shape of `x`. A
    variational autoencoder decodes the mean. With the loss "bce_logits" the output is logits. You can also export one
    half, as in `to_onnx(model.encoder, ...)`. A variational autoencoder's `encoder` gives features. For codes, export
    `nn.Sequential(model.encoder, model.mu)`.

    Raises TypeError for a layer that is not of `scratchae.nn`. Runtimes have fewer operators for float64 than for
    float32: onnxruntime 1.31 has no convolution for float64. ONNX stores options such as `eps` and slopes in float32
    in either case.
    """
    value = _one_sample(model, example)
    graph = _Graph(model)
    with evaluating(model), no_grad():
        model(value)  # for an example of a wrong shape, a layer raises its own error here
        y, out = _add(graph, model, "", "x", value)
    if len(out) != 1:
        raise ValueError(f"the model makes shape {out.shape} of one sample; expected one output per sample: (1, ...)")
    graph.nodes.append(("Identity", [y], "y", {}))
    write_whole(path, _serialised(graph, value, out))


class _Graph:
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


def _add(g: _Graph, layer: nn.Module, path: str, x: str, value: Array) -> tuple[str, Array]:
    """Add `layer` after the output named `x`, with `value` for the sample. Returns name and value of the new output."""
    if isinstance(layer, Function):
        layer = as_layer(layer.function) or layer
    known = known_class(layer, LAYERS | CHAINS)
    if known is None:
        raise TypeError(
            f"to_onnx: {place(path)} is a {titled(layer)}, which has a forward() of its own; put it together "
            "from layers of scratchae.nn in an nn.Sequential, or export the parts before and after it"
        )
    if known in LAYERS:
        after = layer(value)
        return LAYERS[known](g, layer, x, value, after), after
    y, out = x, value
    for name, part in CHAINS[known](layer).items():
        y, out = _add(g, part, f"{path}.{name}" if path else name, y, out)
    if known is nn.Residual:
        y, out = g("Add", x, y), value + out
    if isinstance(layer, Autoencoder):
        flat, out = out, layer.shaped_like(out, value)
        y = _reshape(g, layer, y, flat, out)
    return y, out


# --- every layer ----------------------------------------------------------------------------------
#
# A writer gets the graph, the layer, the name of its input, and the sample's input and output as arrays.

Writer = Callable[[_Graph, Any, str, Array, Array], str]


def _operator(name: str, *arrays: str, **options: str) -> Writer:
    """A writer of one operator. Inputs are x and the layer's attributes `arrays`; `options` have ONNX's names."""
    return lambda g, m, x, *_: g(
        name, x, *[getattr(m, a) for a in arrays], **{theirs: getattr(m, ours) for theirs, ours in options.items()}
    )


def _linear(g: _Graph, m: nn.Linear, x: str, before: Array, after: Array) -> str:
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


def _conv(g: _Graph, m: Any, x: str, *_: Array) -> str:
    return g("Conv", x, m.weight, m.bias, **_window(m))


def _conv_transpose(g: _Graph, m: Any, x: str, *_: Array) -> str:
    return g("ConvTranspose", x, m.weight, m.bias, **_window(m))


def _avg_pool(g: _Graph, m: Any, x: str, *_: Array) -> str:
    return g("AveragePool", x, **_window(m), count_include_pad=1)


def _upsample(g: _Graph, m: nn.Upsample, x: str, *_: Array) -> str:
    scales = np.array([1, 1, *pair("scale_factor", m.scale_factor, 1)], np.float32)
    if m.mode == "bilinear":
        return g("Resize", x, None, scales, mode="linear", coordinate_transformation_mode="half_pixel")
    where = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return g("Resize", x, None, scales, mode="nearest", **where)


def _pixel_unshuffle(g: _Graph, m: nn.PixelUnshuffle, x: str, before: Array, after: Array) -> str:
    """ONNX's SpaceToDepth puts the places in a block first, and the channels last."""
    f, c = m.downscale_factor, before.shape[1]
    return g("Gather", g("SpaceToDepth", x, blocksize=f), np.arange(c * f * f).reshape(f * f, c).T.ravel(), axis=1)


def _reshape(g: _Graph, m: nn.Module, x: str, before: Array, after: Array) -> str:
    """A layer that changes no number in eval mode becomes a reshape, or no operator at all."""
    return x if before.shape == after.shape else g("Reshape", x, np.array([-1, *after.shape[1:]]))


def _gelu(g: _Graph, m: nn.GELU, x: str, before: Array, after: Array) -> str:
    """x (1 + erf(x / sqrt 2)) / 2."""
    half, one, root = (np.array(v, before.dtype) for v in (0.5, 1, math.sqrt(0.5)))
    return g("Mul", g("Mul", x, half), g("Add", g("Erf", g("Mul", x, root)), one))


def _hardtanh(g: _Graph, m: nn.Hardtanh, x: str, before: Array, after: Array) -> str:
    return g("Clip", x, *(np.array(bound, before.dtype) for bound in (m.min_val, m.max_val)))


def _group_norm(g: _Graph, m: nn.GroupNorm, x: str, before: Array, after: Array) -> str:
    """The groups as channels of an InstanceNormalization, which is without a scale and a shift here."""
    ones = np.ones(m.num_groups, before.dtype)
    groups = g("Reshape", x, np.array([0, m.num_groups, -1]))  # 0: as many as in x
    out = g("Reshape", g("InstanceNormalization", groups, ones, 0 * ones, epsilon=m.eps), g("Shape", x))
    if not m.affine:
        return out
    along_channels = np.array([-1, *[1] * (before.ndim - 2)])
    scaled = g("Mul", out, g("Reshape", m.weight, along_channels))
    return g("Add", scaled, g("Reshape", m.bias, along_channels))


def _instance_norm(g: _Graph, m: nn.InstanceNorm2d, x: str, before: Array, after: Array) -> str:
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
    **dict.fromkeys((nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout2d, nn.GaussianNoise), _reshape),
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

# The named parts of modules that are a chain of parts.
CHAINS: dict[type[nn.Module], Callable[[Any], dict[str, nn.Module]]] = {
    nn.Sequential: lambda m: {str(i): layer for i, layer in enumerate(m)},
    nn.Residual: lambda m: {"net": m.net},
    Autoencoder: lambda m: {"encoder": m.encoder, "decoder": m.decoder},
    VariationalAutoencoder: lambda m: {"encoder": m.encoder, "mu": m.mu, "decoder": m.decoder},
}


# --- before and after -----------------------------------------------------------------------------


def _one_sample(model: nn.Module, example: Array) -> Array:
    example = data_of(example)
    if not is_array(example) or example.dtype not in (np.float32, np.float64):
        given = example.dtype if is_array(example) else type(example).__name__
        raise TypeError(f"to_onnx: example is {given}; expected an array of float32 or float64")
    if example.ndim < 2 or len(example) == 0:
        raise ValueError(f"to_onnx: example has shape {example.shape}; expected at least one sample: (n, ...)")
    return to_device(example[:1], device_of_model(model))


def _serialised(graph: _Graph, x: Array, y: Array) -> bytes:
    onnx = require("onnx", "onnx")
    element = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    ends = [onnx.helper.make_tensor_value_info(n, element, ["N", *a.shape[1:]]) for n, a in (("x", x), ("y", y))]
    nodes = [onnx.helper.make_node(op, inputs, [out], out, **options) for op, inputs, out, options in graph.nodes]
    arrays = [onnx.numpy_helper.from_array(a, name) for name, a in graph.arrays.items()]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "scratchae", ends[:1], ends[1:], arrays),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="scratchae",
    )  # fmt: skip
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()
