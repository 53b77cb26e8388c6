"""Which memory this library wrote to in place, and when. A recorded graph may still hold that memory.

A graph keeps arrays that the forward pass read: weights, and views of weights. An optimiser's step or a load writes
into that memory. A backward pass refuses an array whose memory changed after the operation that reads the array.
Recording an operation costs nothing for this.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae.autograd.modes import arrays_in
from scratchae.backend import Array
from scratchae.changes import latest, moments

_ALL = (0, 1 << 64)  # addresses


class _Changes:
    """Those of one stretch of memory: the newest, and the moment of each part."""

    def __init__(self, owner: Array):
        key = id(owner)
        self.owner = weakref.ref(owner, lambda _: _changes.pop(key, None))
        self.newest = -1
        self.parts: dict[tuple[int, int], int] = {}  # (first byte, last byte + 1) -> moment


_changes: dict[int, _Changes] = {}  # by the id of the array that owns the memory


def changed(formula: Callable[[Array], None]) -> Callable[[Array], None]:
    """For `changes.changed`."""

    def noted(array: Array) -> None:
        owner = _owner(array)
        found = _changes.get(id(owner))
        if found is None:
            found = _changes[id(owner)] = _Changes(owner)
        latest[0] = found.newest = found.parts[_ALL if array is owner else _bounds(array)] = next(moments)

    return noted


def check_unchanged(formula: Callable[[Any], None]) -> Callable[[Any], None]:
    """For `changes.check_unchanged`."""

    def check(node: Any) -> None:
        for array in arrays_in([node.saved[i] for i in node.plan.read]):
            if changed_since(array, node.order):
                raise RuntimeError(
                    f"backward through {node.op.name!r}: a parameter of shape {array.shape} that it read was changed "
                    "in place since then, by an optimiser's step or by loading values. Call step() after the last "
                    "backward(), or compute the loss again"
                )

    return check


def changed_since(array: Array, moment: int) -> bool:
    """Whether memory of `array` was written to after that moment."""
    found = _changes.get(id(_owner(array)))
    if found is None or found.newest < moment:
        return False
    low, high = _bounds(array)
    return any(at > moment and first < high and low < end for (first, end), at in found.parts.items())


def _owner(array: Array) -> Array:
    """The array that owns the memory of a view."""
    while hasattr(base := array.base, "dtype"):
        array = base
    return array


def _bounds(array: Array) -> tuple[int, int]:
    """The addresses of the first byte, and of the one behind the last."""
    low = high = array.__array_interface__["data"][0] if isinstance(array, np.ndarray) else array.data.ptr
    for n, stride in zip(array.shape, array.strides, strict=True):
        low, high = low + min(0, (n - 1) * stride), high + max(0, (n - 1) * stride)
    return low, high + array.itemsize
