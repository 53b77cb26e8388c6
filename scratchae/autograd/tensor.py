"""Tensor: an array, and the node of the graph that the array came from.

The difference to an array is one reference, `node`:

    None    a constant
    Leaf    made by the user with requires_grad=True; the leaf keeps the gradient, `.grad`
    Node    the result of an operation on Tensors that require a gradient (see engine.py)

The operators and the methods of arrays are in methods.py.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from scratchae import autograd
from scratchae.autograd.methods import Methods
from scratchae.backend import Array, is_array, numbers, plain_array, to_device, xp_of
from scratchae.changes import changed

_NEEDS_FLOAT = "requires_grad needs floating point data, this is {}; convert with .astype('float32')"


_leaves = threading.Lock()  # several threads may send gradients to the same leaves


class Leaf:
    """Where the backward pass ends: the gradient of one Tensor that the user made.

    `memory` is an array of an optimiser for the next gradient, or None. A gradient never shares its memory with another
    array. A vjp writes the gradient into `memory`, or the gradient is copied when it arrives.
    """

    __slots__ = ("shape", "dtype", "grad", "memory")

    def __init__(self, data: Array):
        self.shape, self.dtype = data.shape, data.dtype
        self.grad: Array | None = None
        self.memory: Array | None = None

    def take_memory(self, like: Array) -> Array:
        """`memory`, which is given away once, or a new array on the device of `like`."""
        with _leaves:
            memory, self.memory = self.memory, None
        return xp_of(like).empty(self.shape, self.dtype) if memory is None else memory

    def add(self, g: Array, written: bool) -> None:
        """Take in a gradient. Later gradients are added to the first, which is copied unless a vjp has `written` it."""
        if not written and self.grad is None:
            # A copy in the memory order of `g`. A copy into another order can take longer than the whole vjp.
            memory = xp_of(g).empty_like(g, self.dtype) if self.memory is None else self.take_memory(g)
            memory[...] = g
            g = memory
        with _leaves:
            if self.grad is None:
                self.grad = g
            else:
                self.grad += g


class Tensor(Methods):
    """An array of numbers, with a record of its computation.

    Args:
        data: a NumPy or CuPy array, used as it is and not copied (`sa.tensor` copies and converts).
        requires_grad: keep the gradient of results that are computed from this Tensor in `.grad`.

    `data`, `shape`, `dtype`, `ndim`, `size`, `device` are the array's. Arithmetic, indexing and the
    methods below follow NumPy and give Tensors. Dicts and sets compare Tensors by identity; `==` is elementwise.
    """

    __slots__ = ("_data", "node", "_origin", "__weakref__")  # debug/ puts `_origin` into words

    def __init__(self, data: Any, requires_grad: bool = False):
        if isinstance(data, Tensor):
            data = data._data
        self._data: Array = _array(data)
        self.node: Any = None
        self._origin: Any = "a Tensor made with requires_grad=False"
        if requires_grad:
            self.requires_grad = True

    @property
    def data(self) -> Array:
        """The array itself; `t.data[...] = x` writes in place, unrecorded: see `changed`."""
        return self._data

    @data.setter
    def data(self, array: Array) -> None:
        array = plain_array(array, ".data")
        if type(self.node) is Leaf and (array.shape, array.dtype) != (self.node.shape, self.node.dtype):
            if array.dtype.kind != "f":
                raise TypeError(_NEEDS_FLOAT.format(array.dtype))
            self.node = Leaf(array)
        self._data = array

    def changed(self) -> None:
        """Call `changed` after `t.data[...] = x`, or another write to the array in place.

        A backward pass through a graph that kept the values from before is refused from then on.
        """
        changed(self._data)

    # --- the graph ---

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this Tensor are recorded. Setting it to False freezes a leaf."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if self.node is not None and type(self.node) is not Leaf:
            raise RuntimeError("requires_grad can be set on leaves only; this is a result: detach() it first")
        if not wanted:
            self.node = None
        elif self.dtype.kind != "f":
            raise TypeError(_NEEDS_FLOAT.format(self.dtype))
        elif self.node is None:
            self.node = Leaf(self._data)

    @property
    def grad(self) -> Array | None:
        """The leaf's gradient, an array of its shape, dtype and device, or None. Assigning copies."""
        return self.node.grad if type(self.node) is Leaf else None

    @grad.setter
    def grad(self, gradient: Any) -> None:
        if type(self.node) is not Leaf:
            raise RuntimeError("only a leaf with requires_grad=True has a .grad to assign")
        if gradient is None:
            self.node.grad = self.node.memory = None
            return
        array = gradient._data if isinstance(gradient, Tensor) else numbers(gradient, ".grad")
        if array.shape != self.shape:
            raise ValueError(f".grad needs an array of shape {self.shape}, got {array.shape}")
        xp = xp_of(self._data, array)
        self.node.grad = xp.array(array, dtype=self.dtype)

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add the gradient of this Tensor to the `.grad` of every leaf that the Tensor was computed from.

        Args:
            gradient: the gradient to start from, in this Tensor's shape; not needed for a scalar.
            retain_graph: keep the graph for another backward pass. Otherwise it is freed.
        """
        autograd.backprop.backward(self, gradient, retain_graph)

    def detach(self) -> Tensor:
        """The same array as a constant."""
        return box(self._data, None)


def _array(data: Any) -> Array:
    """Data as a plain array; Python's numbers become float32."""
    array = numbers(data, "the data of a Tensor")
    return array if is_array(data) or isinstance(data, np.generic) else array.astype(np.float32)


def operand(x: Any, what: str) -> Any:
    """A Tensor as it is; numbers and arrays as a plain array. Raises TypeError that names `what` for others."""
    return x if isinstance(x, Tensor) else numbers(x, what)


def values_of(x: Any, what: str) -> Array:
    """The array of a Tensor, or the plain array `x`. Raises TypeError, which names `what`, for other objects."""
    return plain_array(data_of(x), what)


def data_of(x: Any) -> Array:
    """The array that a Tensor holds, or the array `x` itself."""
    return x._data if isinstance(x, Tensor) else x


def box(data: Array, node: Any, origin: Any = "detached from its graph") -> Tensor:
    """A Tensor around `data` that came from `node`: the constructor without its checks."""
    t = Tensor.__new__(Tensor)
    t._data, t.node, t._origin = data, node, origin
    return t


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False, device: str | None = None) -> Tensor:
    """A Tensor with a copy of `data`.

    Args:
        data: an array or a Tensor (keeps its dtype), or numbers and nested lists (become float32).
        dtype: a dtype to convert to.
        requires_grad: keep its gradient in `.grad`; needs a floating point dtype.
        device: 'cpu', 'gpu', 'gpu:1'; where the data is if None.
    """
    array = data._data if isinstance(data, Tensor) else _array(data)
    array = plain_array(xp_of(array).array(array, dtype=dtype), f"sa.tensor: dtype={dtype}")
    return Tensor(array if device is None else to_device(array, device), requires_grad)
