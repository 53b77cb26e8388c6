"""Operators that reduce over axes. `axis` is None (all), an integer or a tuple; `keepdims` as in NumPy.

In the backward pass, `_spread` puts the reduced axes back and repeats the gradient along these axes.
"""

import math
from typing import Any

import numpy as np

from scratchae.attach import replaceable
from scratchae.autograd.elementwise import exp
from scratchae.autograd.engine import primitive, primitive_in_float32
from scratchae.autograd.shaping import broadcast_to, reshape
from scratchae.backend import Array, xp_of

Axis = Any  # None, int or tuple of ints


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes as a tuple of numbers from 0."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(a % ndim for a in (axis if isinstance(axis, tuple) else (axis,)))


def _spread(g: Any, shape: tuple[int, ...], axis: Axis) -> Any:
    """Repeat the reduced `g` along the reduced axes, up to `shape`."""
    return broadcast_to(_kept(g, shape, axis), shape)


def _kept(out: Any, shape: tuple[int, ...], axis: Axis) -> Any:
    """`out` with the reduced axes back as axes of length 1."""
    reduced = _axes(axis, len(shape))
    return reshape(out, tuple(1 if i in reduced else n for i, n in enumerate(shape)))


def _count(shape: tuple[int, ...], axis: Axis) -> int:
    return math.prod(shape[a] for a in _axes(axis, len(shape)))


def _reduction(name: str, **vjps: Any) -> Any:
    def forward(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
        return getattr(x, name)(axis=axis, keepdims=keepdims)

    forward.__name__ = forward.__qualname__ = name
    forward.__doc__ = f"NumPy's `{name}`."
    return (primitive_in_float32 if vjps else primitive)(**vjps)(forward)


def _slope_of_var(g: Any, x: Any, axis: Axis) -> Any:
    return _spread(g * 2 / _count(x.shape, axis), x.shape, axis) * (x - mean(x, axis, keepdims=True))


def _share_of_winners(g: Any, x: Any, out: Any, axis: Axis) -> Any:
    """The gradient of max and min. Ties share the gradient equally."""
    won = (x == _kept(out, x.shape, axis)).astype(g.dtype)
    winners = reshape(sum(won, axis), g.shape)
    return _spread(g / (winners + (winners == 0)), x.shape, axis) * won  # no winner: the maximum is NaN


sum = _reduction("sum", x=lambda g, x_shape, axis: _spread(g, x_shape, axis))
mean = _reduction("mean", x=lambda g, x_shape, axis: _spread(g / _count(x_shape, axis), x_shape, axis))
var = _reduction("var", x=_slope_of_var)
max = _reduction("max", x=_share_of_winners)
min = _reduction("min", x=_share_of_winners)


@replaceable
def batch_mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean over axes that contain the batch's axis: over the whole batch, even if this process has only a part."""
    return mean(x, axis, keepdims)


@replaceable
def batch_count(n: int) -> int:
    """The number of values in the whole batch, if this process has `n`. `batch_mean` divides by this number."""
    return n


argmax, argmin, any, all = map(_reduction, ("argmax", "argmin", "any", "all"))  # constants to the derivative


def _shifted_exp(x: Array, axis: Axis) -> tuple[Array, Array]:
    """exp(x - m) and m, the finite maximum along `axis`. No number overflows, and -inf gives 0, not NaN."""
    xp = xp_of(x)
    m = x.max(axis=axis, keepdims=True)
    m = xp.where(xp.isfinite(m), m, 0)
    with np.errstate(over="ignore"):  # beside an infinity
        return xp.exp(x - m), m


@primitive_in_float32(x=lambda g, x, out, axis: _spread(g, x.shape, axis) * exp(x - _kept(out, x.shape, axis)))
def logsumexp(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) without overflow; the gradient is the softmax."""
    e, m = _shifted_exp(x, axis)
    with np.errstate(divide="ignore"):  # log(0) = -inf where every element is -inf
        out = xp_of(x).log(e.sum(axis=axis, keepdims=True)) + m
    return out if keepdims else out.squeeze(axis)


@primitive_in_float32(x=lambda g, out, axis: out * (g - sum(g * out, axis, keepdims=True)))
def softmax(x: Array, axis: Axis = -1) -> Array:
    """exp(x) / sum(exp(x)) along `axis`."""
    e, _ = _shifted_exp(x, axis)
    e /= e.sum(axis=axis, keepdims=True)
    return e


@primitive_in_float32(x=lambda g, out, axis: g - exp(out) * sum(g, axis, keepdims=True))
def log_softmax(x: Array, axis: Axis = -1) -> Array:
    """log(softmax(x)), computed without a probability, which could round to 0."""
    e, m = _shifted_exp(x, axis)
    return x - m - xp_of(x).log(e.sum(axis=axis, keepdims=True))


@primitive_in_float32(x=lambda g, x, scale: 2 * scale * g * x)
def sum_of_squares(x: Array, scale: float = 1.0) -> Array:
    """The sum of all squared elements, times `scale`."""
    return (x * x).sum() * scale


def _norm_vjp(g: Any, x: Any, out: Any, axis: Axis) -> Any:
    length = _kept(out, x.shape, axis)
    return _spread(g, x.shape, axis) * (x / (length + (length == 0)))


@primitive_in_float32(x=_norm_vjp)
def norm(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The Euclidean length along `axis`; its gradient at 0 is 0."""
    return xp_of(x).sqrt((x * x).sum(axis=axis, keepdims=keepdims))
