"""Jacobians and Hessians, by one backward pass for each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae.autograd import Tensor, enable_grad, grad, tensor
from scratchae.backend import xp_of


def jacobian(f: Callable[[Tensor], Tensor], x: Any) -> Tensor:
    """The derivatives of all elements of `f(x)` for all elements of `x`, of shape `(*f(x).shape, *x.shape)`.

    The numbers are as exact as gradients. One call of `f` and one backward pass for each element of f(x) compute them.

    Args:
        f: a function of one Tensor that returns one Tensor.
        x: a Tensor, an array, or numbers in lists. `f` gets a copy, and the `.grad` of a Tensor stays as it was.

    Returns: a constant Tensor of the dtype and on the device of `x`.

    Raises:
        TypeError: `x` or f(x) has no floating point dtype, or f(x) is no Tensor.
        ValueError: f(x) does not depend on `x` by recorded operations.
    """
    leaf, out = _applied("jacobian", f, x)
    rows = _rows(out, leaf)
    if rows is None:
        raise _unreached("jacobian")
    return rows


def hessian(f: Callable[[Tensor], Tensor], x: Any) -> Tensor:
    """The second derivatives of a number `f(x)` for all pairs of elements of `x`, of shape `(*x.shape, *x.shape)`.

    The Hessian is the Jacobian of the gradient. The arguments and errors are those of `jacobian`. An f(x) of another
    shape than () is a ValueError too.
    """
    leaf, out = _applied("hessian", f, x)
    if out.shape != ():
        raise ValueError(f"hessian: f(x) has shape {out.shape}; expected one number of shape (), such as .sum() gives")
    with enable_grad():
        slope = grad(out, leaf, create_graph=True, allow_unused=True)
    if slope is None:
        raise _unreached("hessian")
    rows = _rows(slope, leaf)
    return Tensor(xp_of(leaf.data).zeros((*leaf.shape, *leaf.shape), leaf.dtype)) if rows is None else rows


def _applied(name: str, f: Callable[[Tensor], Tensor], x: Any) -> tuple[Tensor, Tensor]:
    """A leaf with the values of `x`, and `f` of this leaf, checked."""
    leaf = tensor(x, requires_grad=True)
    with enable_grad():
        out = f(leaf)
    if not isinstance(out, Tensor) or out.dtype.kind != "f":
        kind = f"a Tensor of {out.dtype}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise TypeError(f"{name}: f(x) is {kind}; expected one Tensor of a floating point dtype")
    if not out.requires_grad:
        raise _unreached(name)
    return leaf, out


def _rows(out: Tensor, leaf: Tensor) -> Tensor | None:
    """The gradient of each element of `out`, or None where `out` does not depend on `leaf`."""
    if not out.requires_grad:
        return None
    xp = xp_of(out.data)
    rows = xp.empty((*out.shape, *leaf.shape), leaf.dtype)
    for place in np.ndindex(out.shape):
        one = xp.zeros(out.shape, out.dtype)
        one[place] = 1
        row = grad(out, leaf, one, allow_unused=True)
        if row is None:
            return None
        rows[place] = row.data
    return Tensor(rows)


def _unreached(name: str) -> ValueError:
    return ValueError(f"{name}: f(x) does not depend on x; compute it from the Tensor that f gets, not from its .data")
