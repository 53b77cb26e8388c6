"""Half precision (float16) only stores numbers. Functions that add up many numbers compute in float32."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

HALF = np.dtype(np.float16)


def in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """Half precision goes through `function` as float32, and the result is rounded once, as in PyTorch.

    A float16 sum overflows at 65,504, and so does each square of a number above 256. With wider operands, the result
    has the wider dtype. For a primitive see `primitive_in_float32`.
    """

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        return rounded_once(function, args, options)

    return call


def rounded_once(function: Callable[..., Any], args: tuple, options: dict[str, Any]) -> Any:
    """`function` of arrays and Tensors, with half precision widened. The result has the operands' dtype."""
    dtypes = [a.dtype for a in (*args, *options.values()) if getattr(getattr(a, "dtype", None), "kind", "") == "f"]
    if HALF not in dtypes:
        return function(*args, **options)
    result = function(*map(_widened, args), **{name: _widened(a) for name, a in options.items()})
    return result.astype(np.result_type(*dtypes))


def _widened(a: Any) -> Any:
    return a.astype(np.float32) if getattr(a, "dtype", None) == HALF else a
