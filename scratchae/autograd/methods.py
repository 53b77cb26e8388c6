"""What a Tensor can do, in NumPy's spelling. Each line hands over to the operator of that name in `ops.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scratchae import autograd  # its `ops`, which are made of Tensors, are there by the time that they are called

if TYPE_CHECKING:
    from scratchae.autograd.tensor import Tensor


# fmt: off
class Methods:
    """The operators and methods of Tensor."""

    __slots__ = ()

    # --- arithmetic ---

    def __add__(self, other: Any) -> Tensor: return autograd.ops.add(self, other)
    def __radd__(self, other: Any) -> Tensor: return autograd.ops.add(other, self)
    def __sub__(self, other: Any) -> Tensor: return autograd.ops.subtract(self, other)
    def __rsub__(self, other: Any) -> Tensor: return autograd.ops.subtract(other, self)
    def __mul__(self, other: Any) -> Tensor: return autograd.ops.multiply(self, other)
    def __rmul__(self, other: Any) -> Tensor: return autograd.ops.multiply(other, self)
    def __truediv__(self, other: Any) -> Tensor: return autograd.ops.divide(self, other)
    def __rtruediv__(self, other: Any) -> Tensor: return autograd.ops.divide(other, self)
    def __pow__(self, other: Any) -> Tensor: return autograd.ops.power(self, other)
    def __rpow__(self, other: Any) -> Tensor: return autograd.ops.power(other, self)
    def __matmul__(self, other: Any) -> Tensor: return autograd.ops.matmul(self, other)
    def __rmatmul__(self, other: Any) -> Tensor: return autograd.ops.matmul(other, self)
    def __neg__(self) -> Tensor: return autograd.ops.negative(self)
    def __pos__(self: Any) -> Tensor: return self
    def __abs__(self) -> Tensor: return autograd.ops.abs(self)

    # --- comparisons and logic: Tensors of bool, constants to the derivative ---

    __hash__ = object.__hash__

    def __eq__(self, other: Any) -> Tensor: return autograd.ops.equal(self, other)  # type: ignore[override]
    def __ne__(self, other: Any) -> Tensor: return autograd.ops.not_equal(self, other)  # type: ignore[override]
    def __lt__(self, other: Any) -> Tensor: return autograd.ops.less(self, other)
    def __le__(self, other: Any) -> Tensor: return autograd.ops.less_equal(self, other)
    def __gt__(self, other: Any) -> Tensor: return autograd.ops.greater(self, other)
    def __ge__(self, other: Any) -> Tensor: return autograd.ops.greater_equal(self, other)
    def __invert__(self) -> Tensor: return autograd.ops.invert(self)
    def __and__(self, other: Any) -> Tensor: return autograd.ops.bitwise_and(self, other)
    def __rand__(self, other: Any) -> Tensor: return autograd.ops.bitwise_and(other, self)
    def __or__(self, other: Any) -> Tensor: return autograd.ops.bitwise_or(self, other)
    def __ror__(self, other: Any) -> Tensor: return autograd.ops.bitwise_or(other, self)
    def any(self, axis: Any = None) -> Tensor: return autograd.ops.any(self, axis)
    def all(self, axis: Any = None) -> Tensor: return autograd.ops.all(self, axis)
    def argmax(self, axis: int | None = None) -> Tensor: return autograd.ops.argmax(self, axis)
    def argmin(self, axis: int | None = None) -> Tensor: return autograd.ops.argmin(self, axis)

    # --- reductions ---

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor: return autograd.ops.sum(self, axis, keepdims)
    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor: return autograd.ops.mean(self, axis, keepdims)
    def var(self, axis: Any = None, keepdims: bool = False) -> Tensor: return autograd.ops.var(self, axis, keepdims)
    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor: return autograd.ops.max(self, axis, keepdims)
    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor: return autograd.ops.min(self, axis, keepdims)

    # --- shapes, types, pieces ---

    @property
    def T(self) -> Tensor: return autograd.ops.transpose(self)
    def ravel(self) -> Tensor: return autograd.ops.reshape(self, -1)
    def swapaxes(self, axis1: int, axis2: int) -> Tensor: return autograd.ops.swapaxes(self, axis1, axis2)
    def squeeze(self, axis: Any = None) -> Tensor: return autograd.ops.squeeze(self, axis)
    def astype(self, dtype: Any) -> Tensor: return autograd.ops.astype(self, np.dtype(dtype))
    def clip(self, min: Any = None, max: Any = None) -> Tensor: return autograd.ops.clip(self, min, max)
    def __getitem__(self, index: Any) -> Tensor: return autograd.ops.getitem(self, index)

    def reshape(self, *shape: Any) -> Tensor:
        return autograd.ops.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        return autograd.ops.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)
