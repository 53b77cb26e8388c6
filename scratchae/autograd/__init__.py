"""Automatic differentiation: Tensor, the engine, and the operators."""

from scratchae.autograd import backprop, elementwise, ops
from scratchae.autograd.backprop import grad
from scratchae.autograd.engine import primitive
from scratchae.autograd.modes import enable_grad, is_grad_enabled, no_grad
from scratchae.autograd.tensor import Tensor, tensor

__all__ = [
    "Tensor", "backprop", "elementwise", "enable_grad", "grad",
    "is_grad_enabled", "no_grad", "ops", "primitive", "tensor",
]  # fmt: skip
