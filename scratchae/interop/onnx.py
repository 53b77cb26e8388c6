"""Models as ONNX files, which other runtimes and other languages run.

onnx_layers.py maps each layer to one operator of ONNX, or to a few. Weights keep their names and their layout, since
PyTorch and ONNX have the same. One sample runs through the model and gives each layer's shapes. The graph is first
built in plain Python. So a model that cannot be exported is refused before `onnx` is imported or a file is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae import nn
from scratchae.autoencoders import Autoencoder, VariationalAutoencoder
from scratchae.autograd import no_grad
from scratchae.autograd.tensor import data_of
from scratchae.backend import Array, is_array, to_device, xp_of
from scratchae.checks import check_bool
from scratchae.files.storage import FilePath, write_whole
from scratchae.interop.common import as_layer, known_class, place, require
from scratchae.interop.onnx_layers import LAYERS, Graph, reshape
from scratchae.nn.linear import Function
from scratchae.nn.module import device_of_model, evaluating, titled

SIDES = {3: ["L"], 4: ["H", "W"]}  # names of free sizes, by the number of axes
OPSET, IR_VERSION = 17, 8  # of 2022: the first opset with LayerNormalization, and old enough for every runtime in use


def to_onnx(model: nn.Module, path: FilePath, example: Array, free_size: bool = False) -> None:
    """Write `model` in eval mode, with the input "x" and the output "y". Both have a batch of any size, "N".

    Args:
        model: layers of `scratchae.nn`, `Sequential`s of them, or an autoencoder of any kind. A `Sequential` may hold
            functions that a layer computes, such as F.relu.
        path: the file, replaced as a whole.
        example: inputs (n, ...), float32 or float64, in the shape and dtype that the exported model will take.
        free_size: whether the file also takes images of other heights and widths than the example's, or series of
            other lengths. The model must take such inputs too. So it has no Flatten, Unflatten and Linear layers.

    The output of an autoencoder is the result of `forward` in eval mode: reconstructions in the shape of `x`. A
    variational autoencoder decodes the mean. With the loss "bce_logits" the output is logits, and with "cb" it is the
    parameters of densities. You can also export one half, as in `to_onnx(model.encoder, ...)`. A variational
    autoencoder's `encoder` gives features. For codes, export `nn.Sequential(model.encoder, model.mu)`.

    Raises TypeError for a layer that is not of `scratchae.nn`, ValueError for `free_size` with a model whose file
    depends on the size. Runtimes have fewer operators for float64 than for float32: onnxruntime 1.31 has no convolution
    for float64. ONNX stores options such as `eps` and slopes in float32 in either case.
    """
    free = check_bool("to_onnx: free_size", free_size)
    value = _one_sample(model, example)
    graph, out = _traced(model, value)
    x, y = list(value.shape), list(out.shape)
    if free:
        larger = _of_twice_the_size(model, value, graph)
        x[2:] = SIDES[value.ndim]
        y = [n if n == m else None for n, m in zip(out.shape, larger.shape, strict=True)]
    write_whole(path, _serialised(graph, value.dtype, x, y))


def _traced(model: nn.Module, value: Array) -> tuple[Graph, Array]:
    """The graph of `model`, and the output for one sample."""
    graph = Graph(model)
    with evaluating(model), no_grad():
        model(value)  # for an example of a wrong shape, a layer raises its own error here
        y, out = _add(graph, model, "", "x", value)
    if len(out) != 1:
        raise ValueError(f"the model makes shape {out.shape} of one sample; expected one output per sample: (1, ...)")
    graph.nodes.append(("Identity", [y], "y", {}))
    return graph, out


# The named parts of modules that are a chain of parts.
CHAINS: dict[type[nn.Module], Callable[[Any], dict[str, nn.Module]]] = {
    nn.Sequential: lambda m: {str(i): layer for i, layer in enumerate(m)},
    nn.Residual: lambda m: {"net": m.net},
    Autoencoder: lambda m: {"encoder": m.encoder, "decoder": m.decoder},
    VariationalAutoencoder: lambda m: {"encoder": m.encoder, "mu": m.mu, "decoder": m.decoder},
}


def _add(g: Graph, layer: nn.Module, path: str, x: str, value: Array) -> tuple[str, Array]:
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
        y = reshape(g, layer, y, flat, out)
    return y, out


# --- before and after -----------------------------------------------------------------------------


def _one_sample(model: nn.Module, example: Array) -> Array:
    example = data_of(example)
    if not is_array(example) or example.dtype not in (np.float32, np.float64):
        given = example.dtype if is_array(example) else type(example).__name__
        raise TypeError(f"to_onnx: example is {given}; expected an array of float32 or float64")
    if example.ndim < 2 or len(example) == 0:
        raise ValueError(f"to_onnx: example has shape {example.shape}; expected at least one sample: (n, ...)")
    return to_device(example[:1], device_of_model(model))


def _of_twice_the_size(model: nn.Module, value: Array, graph: Graph) -> Array:
    """The output for a sample of twice the size. ValueError unless the operators are those of `graph`."""
    if value.ndim not in SIDES:
        wanted = "expected (n, C, H, W) or (n, C, L)"
        raise ValueError(f"to_onnx: free_size=True: the example has shape {value.shape}; {wanted}")
    try:
        other, out = _traced(model, xp_of(value).tile(value, (1, 1, *[2] * (value.ndim - 2))))
    except ValueError as error:
        raise ValueError(f"to_onnx: free_size=True: {error}. {_ONE_SIZE}") from error
    ours, theirs = map(_contents, (graph, other))
    if ours != theirs:
        found = next((a[0] for a, b in zip(ours, theirs, strict=False) if a != b), "list of operators")
        raise ValueError(f"to_onnx: free_size=True: the size of the example would be in a {found}. {_ONE_SIZE}")
    return out


_ONE_SIZE = "Flatten, Unflatten and Linear layers take one size only; export the part without them, or one size"


def _contents(graph: Graph) -> list[tuple]:
    """The operators with the bytes of their arrays."""
    arrays = {name: array.tobytes() for name, array in graph.arrays.items()}
    return [(operator, options, [arrays.get(i, i) for i in inputs]) for operator, inputs, _, options in graph.nodes]


def _serialised(graph: Graph, dtype: np.dtype, x: list, y: list) -> bytes:
    """The file of a graph; `x` and `y` are the shapes of input and output, with a name or None for a free size."""
    onnx = require("onnx", "onnx")
    element = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    ends = [onnx.helper.make_tensor_value_info(n, element, ["N", *shape[1:]]) for n, shape in (("x", x), ("y", y))]
    nodes = [onnx.helper.make_node(op, inputs, [out], out, **options) for op, inputs, out, options in graph.nodes]
    arrays = [onnx.numpy_helper.from_array(a, name) for name, a in graph.arrays.items()]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "scratchae", ends[:1], ends[1:], arrays),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="scratchae",
    )  # fmt: skip
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()
