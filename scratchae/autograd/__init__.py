"""Automatic differentiation: Tensor, the engine behind it, the operators, and the check of them all."""

from scratchae.autograd.tensor import Tensor, tensor  # isort: skip  (first: it closes the circle with ops)
from scratchae.autograd.backprop import grad
from scratchae.autograd.engine import detect_anomaly, enable_grad, is_grad_enabled, no_grad, primitive
from scratchae.autograd.gradcheck import gradcheck, gradgradcheck

__all__ = [
    "Tensor", "detect_anomaly", "enable_grad", "grad", "gradcheck", "gradgradcheck", "is_grad_enabled", "no_grad",
    "primitive", "tensor",
]  # fmt: skip
