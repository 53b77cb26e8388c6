"""DLPack: Tensors and other libraries' arrays in the same memory, without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchae.autograd import Tensor
from scratchae.backend import load_cupy

_HOST, _CUDA = (1, 3), (2, 13)  # DLPack's numbers for memory that NumPy reads (plain, pinned) and that CuPy reads


def exported(self: Any, **options: Any) -> Any:
    """`Tensor.__dlpack__`: the array in DLPack's form, for `torch.from_dlpack(tensor)` and the like.

    Raises BufferError for a Tensor that requires a gradient, as PyTorch does: the other library would not record.
    """
    if self.requires_grad:
        raise BufferError(f"a Tensor of shape {self.shape} requires a gradient, which DLPack drops: pass its .detach()")
    return self.data.__dlpack__(**options)


def device(self: Any) -> tuple[int, int]:
    """`Tensor.__dlpack_device__`: DLPack's kind and number of the device."""
    return self.data.__dlpack_device__()


def from_dlpack(x: Any) -> Tensor:
    """A Tensor in the memory of another library's array, without a copy: a write on one side shows on the other.

    The other way, `torch.from_dlpack(tensor)`, `np.from_dlpack(tensor)` and the like take a Tensor, or its `.detach()`
    if the Tensor requires a gradient. After a write from outside, call `Tensor.changed`. With NumPy 2.0, an array that
    comes by DLPack is read-only.

    Args:
        x: a tensor of PyTorch, an array of JAX, or another object with `__dlpack__` and `__dlpack_device__`.

    Raises:
        TypeError: `x` has no such methods, or a dtype that NumPy does not have, or complex numbers.
        ValueError: `x` is neither in the CPU's memory nor on a CUDA device.
        BufferError: the other library refuses, as PyTorch does for a tensor that requires a gradient.
    """
    if not (hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__")):
        raise TypeError(f"from_dlpack: a {type(x).__name__} has no __dlpack__; sa.tensor takes arrays and numbers")
    kind = x.__dlpack_device__()[0]
    if kind not in (*_HOST, *_CUDA):
        raise ValueError(f"from_dlpack: a {type(x).__name__} on DLPack's device {int(kind)}; move it to the CPU first")
    library = np if kind in _HOST else load_cupy()
    try:
        array = library.from_dlpack(x)
    except RuntimeError as error:
        given = f"a {type(x).__name__} of {getattr(x, 'dtype', 'an unknown dtype')}"
        raise TypeError(f"from_dlpack: {given}: {error} Convert it to float32 first") from error
    return Tensor(array)
