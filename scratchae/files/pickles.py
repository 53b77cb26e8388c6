"""Copies and pickles of Tensors: of leaves and constants, with their gradients."""

from __future__ import annotations

from typing import Any

from scratchae.autograd import Tensor
from scratchae.autograd.tensor import Leaf
from scratchae.backend import Array, xp_of


def reduced(self: Any) -> tuple:
    """`Tensor.__reduce__`. Raises RuntimeError for a result, whose graph cannot be copied."""
    if self.node is not None and type(self.node) is not Leaf:
        raise RuntimeError("only leaves can be copied or pickled; this is a result: detach() it first")
    return _rebuild, (type(self), self.data, self.requires_grad, self.grad)


def _rebuild(kind: type[Tensor], data: Array, requires_grad: bool, grad: Array | None) -> Tensor:
    t = kind.__new__(kind)
    t._data, t.node, t._origin = data, Leaf(data) if requires_grad else None, "a copy"
    if grad is not None:
        t.node.grad = xp_of(grad).array(grad)
    return t
