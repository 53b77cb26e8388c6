"""Operators, activations and losses as functions: `import scratchae.functional as F`.

All functions take Tensors and arrays. A function gives an array where all its operands are arrays.
"""
# isort: skip_file

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae import losses, random
from scratchae.autograd.ops import (
    abs, add, all, any, argmax, argmin, astype, batch_mean, bitwise_and, bitwise_or, broadcast_to, clip, concatenate,
    cos, divide, elu, equal, exp, expand_dims, expm1, gelu, getitem, greater, greater_equal, invert, leaky_relu, less,
    less_equal, linear, log, log1p, log_softmax, logsumexp, matmul, max, maximum, mean, min, minimum, multiply,
    negative, norm, not_equal, pad, power, relu, reshape, sigmoid, sign, sin, softmax, softplus, sqrt, squeeze, stack,
    subtract, sum, sum_of_squares, swapaxes, tanh, transpose, var, where,
)  # fmt: skip
from scratchae.autograd.tensor import Tensor, box, data_of, operand
from scratchae.backend import device_of
from scratchae.checks import check_bool, check_number
from scratchae.images.functions import (
    avg_pool2d, conv2d, conv_transpose2d, max_pool2d, upsample,
)  # fmt: skip
from scratchae.losses import (
    bernoulli_kl, binary_cross_entropy, cross_entropy, gaussian_kl, kl_div, l1_loss, mse_loss,
)  # fmt: skip
from scratchae.random import generator

__all__ = [
    "abs", "add", "all", "any", "argmax", "argmin", "astype", "avg_pool2d", "batch_mean", "bernoulli_kl",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "bitwise_and", "bitwise_or", "broadcast_to", "clip",
    "concatenate", "conv2d", "conv_transpose2d", "cos", "cross_entropy", "divide", "dropout", "elu", "equal", "exp",
    "expand_dims", "expm1", "gaussian_kl", "gelu", "getitem", "greater", "greater_equal", "invert", "kl_div",
    "l1_loss", "leaky_relu", "less", "less_equal", "linear", "log", "log1p", "log_softmax", "logsumexp", "matmul",
    "max", "max_pool2d", "maximum", "mean", "min", "minimum", "mse_loss", "multiply", "negative", "norm",
    "normal_like", "not_equal", "pad", "power", "relu", "reshape", "sigmoid", "sign", "sin", "softmax", "softplus",
    "sqrt", "squeeze", "stack", "subtract", "sum", "sum_of_squares", "swapaxes", "tanh", "transpose", "upsample",
    "var", "where",
]  # fmt: skip
binary_cross_entropy_with_logits: Callable[..., Any] = losses.binary_cross_entropy_with_logits  # more/ adds options


def dropout(x: Any, p: float = 0.5, training: bool = True, per_sample: bool = True) -> Any:
    """Each element set to 0 with probability `p`, the others divided by 1 - p (Srivastava et al. 2014).

    `per_sample` says whether the first axis of `x` counts the samples of the batch; see `sa.generator`.
    """
    check_number("dropout: p", p, "[0, 1]")
    check_bool("dropout: training", training)
    if not training or p == 0:
        return x
    data = data_of(operand(x, "dropout: x"))
    kept = generator(device_of(data), per_sample).random(data.shape, dtype=np.float32) >= p
    return x * (kept.astype(data.dtype) * (1 / (1 - p) if p < 1 else 0.0))


def normal_like(x: Any, per_sample: bool = True) -> Any:
    """Standard normal numbers in the shape, dtype and place of `x`: a constant, an array or Tensor as `x` is.

    `per_sample` says whether the first axis of `x` counts the samples of the batch; see `sa.generator`. Raises
    TypeError where `x` has no floating point dtype.
    """
    x = operand(x, "normal_like: x")
    if x.dtype.kind != "f":
        raise TypeError(f"normal_like: x is {x.dtype}; convert it with .astype('float32')")
    noise = random.normal_like(data_of(x), per_sample)
    return box(noise, None) if isinstance(x, Tensor) else noise


def __getattr__(name):  # type checkers read here that rooms add names, such as those of more/
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
