"""All operators by name. The methods of Tensor, and NumPy's functions of a Tensor, find their operator here."""
# isort: skip_file

from scratchae.autograd.elementwise import (
    abs, add, astype, bitwise_and, bitwise_or, clip, cos, divide, elu, equal, exp, expm1, gelu, greater, greater_equal,
    invert, leaky_relu, less, less_equal, log, log1p, maximum, minimum, multiply, negative, not_equal, power, relu,
    sigmoid, sign, sin, softplus, sqrt, subtract, tanh, where,
)  # fmt: skip
from scratchae.autograd.products import linear, matmul
from scratchae.autograd.reductions import (
    all, any, argmax, argmin, batch_mean, log_softmax, logsumexp, max, mean, min, norm, softmax, sum, sum_of_squares,
    var,
)  # fmt: skip
from scratchae.autograd.shaping import (
    broadcast_to, concatenate, expand_dims, getitem, pad, reshape, squeeze, stack, swapaxes, transpose,
)  # fmt: skip
