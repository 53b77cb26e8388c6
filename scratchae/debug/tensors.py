"""A Tensor in words: its printed form, and the origin of a Tensor that has no gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae.autograd.tensor import Leaf


def printed(self: Any) -> str:
    """`Tensor.__repr__`: the values, and the dtype, device and origin where they are not the usual ones."""
    values = np.array2string(self.numpy(), separator=", ", prefix="tensor(", threshold=200)
    notes = "" if self.dtype == np.float32 else f", dtype={self.dtype}"
    notes += "" if self.device == "cpu" else f", device={self.device!r}"
    if self.node is not None:
        notes += ", requires_grad=True" if type(self.node) is Leaf else f", from={self.node.op.name}"
    return f"tensor({values}{notes})"


def origin_of(formula: Callable[[Any], str]) -> Callable[[Any], str]:
    """For `backprop.origin_of`."""

    def told(tensor: Any) -> str:
        origin = tensor._origin
        if not isinstance(origin, str):
            operation, arrays = origin
            read = " and ".join(f"{dtype}{list(shape)}" for dtype, shape in arrays)
            origin = f"the result of {operation} on {read}, none of which requires one"
        return f"this Tensor of shape {tensor.shape} is {origin}"

    return told
