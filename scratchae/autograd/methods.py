"""The operators and methods of a Tensor, under NumPy's names. Methods that have a derivative call `ops.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from scratchae import autograd  # `autograd.ops` is imported later, since the operators need Tensor
from scratchae.backend import Array, device_of, to_device

if TYPE_CHECKING:
    from scratchae.autograd.tensor import Tensor


class Methods:
    """The operators and methods of Tensor."""

    __slots__ = ()
    _data: Array

    # --- the array ---

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def dtype(self) -> np.dtype:
        return self._data.dtype

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def size(self) -> int:
        return self._data.size

    @property
    def device(self) -> str:
        """'cpu', 'gpu:0', 'gpu:1', ..."""
        return device_of(self._data)

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array, without the graph. On the CPU the array shares memory with the Tensor."""
        return to_device(self._data, "cpu")

    def item(self) -> float:
        """The value of a Tensor of one element, as a Python number."""
        if self.size != 1:
            raise ValueError(f"item() needs one element, this Tensor has shape {self.shape}")
        return self._data.item()

    def to(self: Any, device: str) -> Tensor:
        """This Tensor on `device` ('cpu', 'gpu', 'gpu:1'); the Tensor itself if it is there already."""
        if not isinstance(device, str):
            raise TypeError(f"to({device!r}): expected 'cpu', 'gpu' or 'gpu:<number>'; dtypes are changed by .astype")
        there = to_device(self._data, device)
        return self if there is self._data else autograd.elementwise.move(self, device)

    def tolist(self) -> list:
        return self._data.tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    __array_ufunc__: Any = None  # an array on the left leaves the operation to the Tensor; see interop/numpy.py

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a Tensor of shape (); .item() gives its value, .numpy() an array")
        return self.shape[0]

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError("Tensors are not written to, since their graph would be wrong; use F.where, or t.data[...] = x")

    def __bool__(self) -> bool:
        return bool(self._data)

    def __index__(self) -> int:
        return self._data.__index__()

    def __float__(self) -> float:
        return float(self._data)

    def __int__(self) -> int:
        return int(self._data)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 else super().__format__(spec)

    # fmt: off

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
    prod = cumsum = cumprod = std = sort = argsort = repeat = cast(Any, None)  # from more/

    # --- shapes, types, pieces ---

    @property
    def T(self) -> Tensor: return autograd.ops.transpose(self)
    def ravel(self) -> Tensor: return autograd.ops.reshape(self, -1)
    def swapaxes(self, axis1: int, axis2: int) -> Tensor: return autograd.ops.swapaxes(self, axis1, axis2)
    def squeeze(self, axis: Any = None) -> Tensor: return autograd.ops.squeeze(self, axis)
    def astype(self, dtype: Any) -> Tensor: return autograd.ops.astype(self, np.dtype(dtype))
    def clip(self, min: Any = None, max: Any = None) -> Tensor: return autograd.ops.clip(self, min, max)
    def __getitem__(self, index: Any) -> Tensor: return autograd.ops.getitem(self, index)
    def reshape(self, *shape: Any) -> Tensor: return autograd.ops.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        return autograd.ops.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)
