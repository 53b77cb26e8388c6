"""NumPy's functions and other libraries' operators on Tensors: recorded, or refused with advice.

`np.exp(tensor)` is `F.exp(tensor)`. A function of NumPy without a counterpart here is refused, since the graph would
end there without a warning.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from scratchae.autograd import Tensor, ops
from scratchae.backend import plain_array

_OPERATE_ON_ARRAYS = ("pandas", "scipy", "polars", "xarray", "numpy.ma", "torch", "jax")  # on arrays, not on Tensors
_LOOK = ("allclose", "array_equal", "isclose", "shape", "ndim", "size")  # functions that have no derivative


def _no_operator(name: str) -> str:
    """The error's text for a function of NumPy without a counterpart. Advice names an operator of the same name."""
    ours = name.rpartition(".")[2]
    advice = f"use F.{ours}, or " if hasattr(ops, ours) else ""
    return f"{name} is not an operator of Tensors; {advice}for the values alone use .numpy()"


def array(self: Any, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    """The values. TypeError for an operator of another library, with the Tensor on its right, which drops the graph."""
    if self.requires_grad and sys._getframe(1).f_globals.get("__name__", "").startswith(_OPERATE_ON_ARRAYS):
        raise TypeError(f"a Tensor of shape {self.shape} would lose its graph as a NumPy array: pass its .numpy()")
    return np.array(self.numpy(), dtype=dtype, copy=copy)


def ufunc(self: Any, function: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """NumPy's elementwise functions, and operators with an array on the left."""
    op = getattr(ops, {"absolute": "abs"}.get(function.__name__, function.__name__), None)
    if op is not None and method == "__call__" and "out" in options:
        written = f"np.{function.__name__} would write a Tensor's values into an array (out=, or `array += tensor`)"
        raise TypeError(f"{written}, which drops the graph: write array = array + tensor, or use tensor.numpy()")
    if op is None or method != "__call__" or options:
        call = function.__name__ if method == "__call__" else f"{function.__name__}.{method}"
        raise TypeError(_no_operator(f"np.{call}" + (f" with {sorted(options)}" if op and options else "")))
    return op(*inputs)


def other(self: Any, function: Any, types: Any, args: Any, options: Any) -> Any:
    """NumPy's other functions."""
    of_numpy = getattr(np, function.__name__, None) is function  # not np.linalg.norm, say
    if of_numpy and (op := getattr(ops, function.__name__, None)) is not None:
        return op(*args, **options)
    if of_numpy and function.__name__ in ("shape", "ndim") and args:
        return getattr(args[0], function.__name__)  # also for an array on a GPU, without a copy
    if function.__name__ in _LOOK:
        plain = [a.numpy() if isinstance(a, Tensor) else a for a in (*args, *options.values())]
        return function(*plain[: len(args)], **dict(zip(options, plain[len(args) :], strict=True)))
    raise TypeError(_no_operator(f"np.{function.__module__}.{function.__name__}".replace("np.numpy.", "np.")))


@property  # type: ignore[misc]
def mask(self: Any) -> Any:
    """Raises TypeError. numpy.ma reads this attribute first, and would go on with plain arrays."""
    return plain_array(np.ma.masked_array(0.0), "an operand of a Tensor")
