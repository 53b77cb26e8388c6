"""Passes over large arrays in several threads: element by element, and through an optimiser's rule.

All arrays are cut along the axis that is outermost in memory. Elements are independent, so that the bits are those of
one thread, which computes the formula as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae.backend import Array
from scratchae.fast.elements import masked_into
from scratchae.fast.threads import cut, run, several_threads

Way = Callable[..., Any]
# Numbers in a piece, or more. To hand a piece over takes some 20 microseconds, in which a thread computes so many.
MOVED = 1 << 18  # read, changed a little, and written
COMPUTED = 1 << 16  # put through one exponential or the like
LABOURED = 1 << 15  # through several


def worth_sharing(x: Any, least: int) -> bool:
    """Whether `x` is an array on the CPU with two pieces of `least` numbers, and there are threads to share it."""
    return type(x) is np.ndarray and x.size >= 2 * least and several_threads()


def in_pieces(least: int, into: Callable[..., Any] | None = None, dtype: Any = None) -> Callable[[Way], Way]:
    """For an operation on elements: pieces of `least` numbers or more.

    `into` computes the same, and writes it into its argument `out`. Without it, each piece's result is copied, while it
    is in the cache. `dtype` is the result's, unless it is the operands'.
    """

    def decorator(formula: Way) -> Way:
        def shared(*operands: Any) -> Any:
            for large in operands:
                # `worth_sharing` without its call, which small operations would pay each time
                if type(large) is np.ndarray and large.size >= 2 * least and several_threads():
                    break
            else:
                return formula(*operands)
            if large.dtype.kind != "f" or not all(_goes_with(a, large) for a in operands):
                return formula(*operands)
            out, axis = np.empty_like(large, dtype=dtype), outermost(large)

            def part(piece: slice) -> None:
                own = [_part(a, axis, piece) for a in operands]
                if into is None:
                    _part(out, axis, piece)[...] = formula(*own)
                else:
                    into(*own, out=_part(out, axis, piece))

            run(part, cut(large.shape[axis], least * large.shape[axis] / large.size))
            return out

        return shared

    return decorator


def outermost(x: Array) -> int:
    """The axis along which neighbours lie farthest apart in memory, counted from the last (-1)."""
    return max(range(-x.ndim, 0), key=lambda axis: abs(x.strides[axis]) if x.shape[axis] > 1 else -1)


def _goes_with(a: Any, large: Array) -> bool:
    """Whether `a` is a number or a mask, or an array of the same dtype, and stretches to the shape of `large`."""
    if type(a) is not np.ndarray:
        return type(a) in (int, float)
    if a.dtype != large.dtype and a.dtype != bool or a.ndim > large.ndim:
        return False
    return a.shape == large.shape or all(n in (1, m) for n, m in zip(a.shape[::-1], large.shape[::-1], strict=False))


def _part(a: Any, axis: int, piece: slice) -> Any:
    if type(a) is not np.ndarray or a.ndim < -axis or a.shape[axis] == 1:
        return a
    index = (slice(None),) * (a.ndim + axis) + (piece,)
    return a[index]


def moved_in_pieces(formula: Way) -> Way:
    """For `move` of the flat buffers: each thread takes a piece at a time, with scratch memory of its own."""

    def move(optimizer: Any, flat: Any, group: dict[str, Any]) -> None:
        ours = type(optimizer).update.__module__ == "scratchae.optim.algorithms"  # others may not be made for threads
        if not ours or not worth_sharing(flat.values, COMPUTED):
            return formula(optimizer, flat, group)
        for span, g, step in flat.runs():

            def part(piece: slice, g: Array = g, step: int = step, start: int = span.start) -> None:
                own = slice(start + piece.start, start + piece.stop)
                value, grad = (a.astype(flat.wide, copy=False) for a in (flat.values[own], g[piece]))
                optimizer.update(value, grad, flat.state_of(own), step, group, np.empty((2, grad.size), flat.wide))
                if flat.wide != flat.values.dtype:
                    flat.values[own] = value

            run(part, cut(span.stop - span.start, COMPUTED))

    return move


# --- written into `out` ---------------------------------------------------------------------------


def relu_slope_into(g: Array, y: Array, out: Array) -> None:
    """g where y > 0, else 0."""
    masked_into(g, y > 0, out)


def sigmoid_into(x: Array, out: Array) -> None:
    """1 / (1 + exp(-x))."""
    np.multiply(x, -1.0, out=out)
    with np.errstate(over="ignore"):
        np.exp(out, out=out)
    out += 1
    np.divide(1, out, out=out)


def sigmoid_slope_into(g: Array, y: Array, out: Array) -> None:
    """g y (1 - y)."""
    np.subtract(1, y, out=out)
    out *= y
    out *= g


def tanh_slope_into(g: Array, y: Array, out: Array) -> None:
    """g (1 - y^2)."""
    np.multiply(y, y, out=out)
    np.subtract(1, out, out=out)
    out *= g


def square_slope_into(g: Array, x: Array, scale: float, out: Array) -> None:
    """2 scale g x."""
    np.multiply(2 * scale * g, x, out=out)
