"""Automatic differentiation: Tensor, the engine behind it, the operators, and the check of them all."""

from scratchae.autograd.tensor import Tensor, tensor  # isort: skip  (first: it closes the circle with ops)
from scratchae.autograd.backprop import grad
from scratchae.autograd.engine import no_grad, primitive
from scratchae.autograd.gradcheck import gradcheck, gradgradcheck

__all__ = ["Tensor", "grad", "gradcheck", "gradgradcheck", "no_grad", "primitive", "tensor"]
