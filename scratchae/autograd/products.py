"""Matrix products. `linear` and its weight's gradient are primitives that are each other's derivatives."""

import math
from typing import Any

import numpy as np

from scratchae.autograd.engine import primitive, primitive_in_float32
from scratchae.autograd.precision import in_float32
from scratchae.autograd.shaping import broadcast_to, expand_dims, reshape, squeeze, swapaxes
from scratchae.autograd.tensor import Tensor
from scratchae.backend import Array, numbers, xp_of


@primitive(x=lambda g, y: product(g, swapaxes(y, -1, -2)), y=lambda g, x: product(swapaxes(x, -1, -2), g))
def product(x: Array, y: Array) -> Array:
    """`x @ y` of matrices, or of stacks of matrices, which may overlap in memory."""
    return x @ y


@in_float32
def matmul(x: Any, y: Any) -> Any:
    """`x @ y` as in NumPy: matrices, stacks of matrices that broadcast, and vectors on either side."""
    x, y = (a if isinstance(a, Tensor) else _matrix(a) for a in (x, y))
    if x.ndim == 0 or y.ndim == 0:
        raise ValueError(f"matmul needs an axis on each side, got shapes {x.shape} and {y.shape}; use * for scalars")
    if x.ndim > 2 and y.ndim == 2:  # one product of many rows, not many products
        return reshape(product(reshape(x, (math.prod(x.shape[:-1]), x.shape[-1])), y), (*x.shape[:-1], y.shape[1]))
    out = product(expand_dims(x, 0) if x.ndim == 1 else x, expand_dims(y, 1) if y.ndim == 1 else y)
    lost = (*([-2] if x.ndim == 1 else []), *([-1] if y.ndim == 1 else []))
    return squeeze(out, lost) if lost else out


def _matrix(a: Any) -> Array:
    """A plain array; numbers in lists become float32."""
    array = numbers(a, "matmul: an operand")
    return array.astype(np.float32) if isinstance(a, (list, tuple)) else array


@primitive_in_float32(
    x=lambda g, weight: linear(g, swapaxes(weight, 0, 1), None),  # g W
    weight=lambda g, x, memory: linear_weight_grad(g, x, memory),  # g^T x
    bias=lambda g, memory: sum_rows(g, memory),  # every row has the same bias
)
def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """x weight^T + bias over the last axis of `x`; `weight` is (out, in) as in PyTorch."""
    xp_of(x, weight, bias)  # refuses a mixture of devices
    out = _rows(x) @ weight.T
    if bias is not None:
        out += bias
    return out if x.ndim == 2 else out.reshape(*x.shape[:-1], len(weight))


@primitive(g=lambda h, x: linear(x, h, None), x=lambda h, g: linear(g, swapaxes(h, 0, 1), None))
def linear_weight_grad(g: Array, x: Array, memory: Array | None = None) -> Array:
    """g^T x, summed over all rows; written into `memory` if that is given."""
    return xp_of(g, x).matmul(_rows(g).T, _rows(x), out=memory)


@primitive(g=lambda h, g_shape: broadcast_to(h, g_shape))
def sum_rows(g: Array, memory: Array | None = None) -> Array:
    """The sum over all axes but the last; written into `memory` if that is given."""
    return _rows(g).sum(axis=0, out=memory)


def _rows(x: Array) -> Array:
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
