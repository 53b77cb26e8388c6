"""Normalisation as one primitive: loops compute the result, and all gradients at once.

norm_loops.py has the loops. The engine differentiates the formula of the core operator by operator, in some twenty
passes over memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from scratchae.autograd.engine import primitive
from scratchae.autograd.reductions import batch_count, batch_mean, mean
from scratchae.autograd.tensor import data_of
from scratchae.backend import Array
from scratchae.fast.compiled import memory_order
from scratchae.fast.elements import native
from scratchae.fast.numba import norm_loops
from scratchae.fast.threads import cut, run

_LEAST = 1 << 11  # numbers: NumPy's passes over fewer take no longer
_LINE = 16  # numbers of a channel that lie side by side, or more
_ROW = 4  # channels that lie side by side, or more
_COLUMNS = 64  # or more, for a thread at a time
_PIECE = 1 << 15  # numbers, or more, for a thread at a time


def by_channels(formula: Callable[..., tuple]) -> Callable[..., tuple]:
    """For `normalised`, where this process has the whole batch, and each channel one weight."""

    def normalised(x: Any, axes: tuple[int, ...], eps: float, weight: Any = None, bias: Any = None) -> tuple:
        data, reduced = data_of(x), {axis % x.ndim for axis in axes}
        layout = _layout(data, reduced)
        if layout is None or 0 in axes and batch_count(layout.length) != layout.length:
            return formula(x, axes, eps, weight, bias)
        shape = tuple(1 if i in reduced else n for i, n in enumerate(x.shape))
        if weight is None:
            weight, bias = np.ones(shape, x.dtype), np.zeros(shape, x.dtype)
        elif not all(a.shape == shape and a.dtype == x.dtype for a in (weight, bias)):
            return formula(x, axes, eps, weight, bias)
        average, variance = moments(data, layout, shape)
        if 0 in axes:
            batch_mean(average, 0)  # refused where the batch is one of several that make a step
        return normalise([x, weight, bias], average, variance, axes, eps, layout), average, variance

    return normalised


class Layout(NamedTuple):
    """An array in memory: its axes from the outermost to the innermost, and (R, K, M, N) as in norm_loops.py.

    `order` is None if the axes of the array already lie in this order.
    """

    order: tuple[int, ...] | None
    shape: tuple[int, int, int, int]

    @property
    def length(self) -> int:
        """Numbers of a channel."""
        return self.shape[0] * self.shape[2]

    @property
    def channels(self) -> int:
        return self.shape[1] * self.shape[3]

    def rows(self, a: Array) -> Array:
        """`a` in this shape: a copy, where the order in memory is another."""
        return np.ascontiguousarray(a if self.order is None else a.transpose(self.order)).reshape(self.shape)

    def line(self, a: Array) -> Array:
        """One number for each channel, from an array with axes of length 1."""
        return (a if self.order is None else a.transpose(self.order)).reshape(-1)

    def outer(self, a: Array, shape: tuple[int, ...]) -> Array:
        """Rows or a line as an array of `shape`."""
        if self.order is None:
            return a.reshape(shape)
        return a.reshape([shape[axis] for axis in self.order]).transpose(np.argsort(self.order))

    def share(self, name: str, *arrays: Array) -> None:
        """Call a loop with pieces of the channels. Each channel is added up by one thread, in one order."""
        _, K, _, N = self.shape
        compute = getattr(norm_loops(), f"{name}_of_{'lines' if N == 1 else 'columns'}")
        least = _PIECE / self.length  # channels
        if K > 1:
            run(lambda own: compute(*arrays, (own.start, own.stop), (0, N)), cut(K, least / N))
        else:
            run(lambda own: compute(*arrays, (0, 1), (own.start, own.stop)), cut(N, max(_COLUMNS, least)))


def _layout(x: Any, reduced: set[int]) -> Layout | None:
    """None for arrays that the loops are not made for. `reduced` are the axes that a channel consists of."""
    if type(x) is not np.ndarray or x.size < _LEAST or not native(x.dtype) or not norm_loops():
        return None
    order, runs = memory_order(x), [1]  # lengths in memory: normalised, kept, normalised, ...
    for axis in order or range(x.ndim):
        kept = axis not in reduced
        if x.shape[axis] > 1:
            if kept == len(runs) % 2:  # the last run is of the other sort
                runs.append(1)
            runs[-1] *= x.shape[axis]
    if len(runs) > 4:
        return None
    if len(runs) < 3:  # all is one channel, or the channels are columns
        runs = [runs[0], 1, 1, runs[1]] if len(runs) == 2 else [1, 1, runs[0]]
    R, K, M, N = (*runs, 1, 1)[:4]
    return Layout(order, (R, K, M, N)) if (M >= _LINE if N == 1 else N >= _ROW) else None


def moments(x: Array, layout: Layout, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """The mean and the variance of each channel, in `shape`."""
    average, variance = np.empty((2, layout.channels), x.dtype)
    layout.share("moments", layout.rows(x), average, variance)
    return layout.outer(average, shape), layout.outer(variance, shape)


def _slopes(g: Any, xs: list, average: Array, variance: Array, axes: tuple, eps: float, layout: Layout) -> list:
    """The gradients of x, the weight and the bias, in their shapes."""
    x, weight, _ = xs
    if not isinstance(x, np.ndarray):
        return _recorded_slopes(g, x, weight, axes, eps)
    dx, (dweight, dbias) = np.empty(layout.shape, x.dtype), np.empty((2, layout.channels), x.dtype)
    arrays = [layout.rows(g), layout.rows(x)]
    lines = [layout.line(a) for a in (weight, average, variance)]
    layout.share("slopes", *arrays, *lines, eps, dx, dweight, dbias)
    return [layout.outer(dx, x.shape), *(layout.outer(a, weight.shape) for a in (dweight, dbias))]


def _recorded_slopes(g: Any, x: Any, weight: Any, axes: tuple[int, ...], eps: float) -> list:
    """The same by operators, which are recorded for second derivatives. Mean and variance are functions of x here."""
    mean_over = batch_mean if 0 in axes else mean
    centred = x - mean_over(x, axes, keepdims=True)
    inverse = (mean_over(centred * centred, axes, keepdims=True) + eps) ** -0.5
    standard, h = centred * inverse, g * weight
    h = h - mean_over(h, axes, keepdims=True) - standard * mean_over(h * standard, axes, keepdims=True)
    return [h * inverse, g * standard, g]


@primitive(xs=_slopes)
def normalise(xs: list, average: Array, variance: Array, axes: tuple, eps: float, layout: Layout) -> Array:
    """(x - average) / sqrt(variance + eps) * weight + bias, for `xs` = [x, weight, bias].

    `average` and `variance` are those of x over `axes`. The derivative contains them as functions of x.
    """
    x, *others = xs
    out, rows = np.empty(layout.shape, x.dtype), layout.rows(x)
    layout.share("results", rows, *(layout.line(a) for a in (*others, average, variance)), eps, out)
    return layout.outer(out, x.shape)
