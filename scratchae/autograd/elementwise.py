"""Operators that work element by element, with NumPy's broadcasting. The backward pass undoes the broadcasting.

Activations mask their gradients by `masked`, so that one faster function can be attached for all activations.
"""

import math
import operator
from typing import Any

import numpy as np

from scratchae.attach import replaceable
from scratchae.autograd.engine import primitive
from scratchae.autograd.precision import in_float32
from scratchae.autograd.tensor import operand
from scratchae.backend import Array, device_of, to_device, xp_of

# --- arithmetic -----------------------------------------------------------------------------------


@primitive(x=lambda g: g, y=lambda g: g)
def add(x: Array, y: Array) -> Array:
    return x + y


@primitive(x=lambda g: g, y=lambda g: -g)
def subtract(x: Array, y: Array) -> Array:
    return x - y


@primitive(x=lambda g, y: g * y, y=lambda g, x: g * x)
def multiply(x: Array, y: Array) -> Array:
    return x * y


@primitive(x=lambda g, y: g / y, y=lambda g, y, out: -g * (out / y))
def divide(x: Array, y: Array) -> Array:
    return x / y


@primitive(x=lambda g: -g)
def negative(x: Array) -> Array:
    return -x


@primitive(x=lambda g, x, y: g * _power_slope(x, y), y=lambda g, x, out: g * out * log(x + (x == 0)))
def power(x: Array, y: Array) -> Array:
    return x**y


def _power_slope(x: Any, y: Any) -> Any:
    """d(x ** y)/dx = y x^(y-1), and 0 for y = 0 and any x."""
    if isinstance(y, (int, float)):
        return y * x ** (y - 1) if y != 0 else x * 0
    return y * x ** (y - (y != 0))


@primitive(g=lambda h, keep: masked(h, keep))
def masked(g: Array, keep: Array) -> Array:
    """`g` where `keep` holds and exactly 0 elsewhere, even where g is infinite or NaN."""
    return xp_of(g, keep).where(keep, g, g.dtype.type(0))


# Where x and y are equal, each gets half of the gradient, as in PyTorch.
@primitive(
    x=lambda g, x, y: 0.5 * (masked(g, x > y) + masked(g, x >= y)),
    y=lambda g, x, y: 0.5 * (masked(g, y > x) + masked(g, y >= x)),
)
def maximum(x: Array, y: Array) -> Array:
    return xp_of(x, y).maximum(x, y)


@primitive(
    x=lambda g, x, y: 0.5 * (masked(g, x < y) + masked(g, x <= y)),
    y=lambda g, x, y: 0.5 * (masked(g, y < x) + masked(g, y <= x)),
)
def minimum(x: Array, y: Array) -> Array:
    return xp_of(x, y).minimum(x, y)


def _clip_vjp(g: Any, x: Any, min: float | None, max: float | None) -> Any:
    g = g if min is None else masked(g, x >= min)
    return g if max is None else masked(g, x <= max)


@primitive(x=_clip_vjp)
def clip(x: Array, min: float | None = None, max: float | None = None) -> Array:
    """`x` limited to `min` and `max` (None: no bound). The gradient is 1 inside and on the bounds, else 0."""
    return xp_of(x).clip(x, min, max)


@primitive(x=lambda g, condition: masked(g, condition != 0), y=lambda g, condition: masked(g, condition == 0))
def _where(condition: Array, x: Array, y: Array) -> Array:
    xp = xp_of(condition, x, y)
    if not (hasattr(x, "dtype") or hasattr(y, "dtype")):
        x = xp.full((), x, np.float32)  # two plain numbers have no dtype to take
    return xp.where(condition, x, y)


def where(condition: Any, x: Any, y: Any) -> Any:
    """Elements of `x` where `condition` holds, else of `y`. Each element's gradient goes to the chosen operand."""
    return _where(operand(condition, "where: the condition"), x, y)


# --- functions of one number that NumPy has -------------------------------------------------------


def _ufunc(name: str, **vjps: Any) -> Any:
    def forward(x: Array) -> Array:
        return getattr(xp_of(x), name)(x)

    forward.__name__ = forward.__qualname__ = name
    forward.__doc__ = f"NumPy's `{name}`."
    return primitive(**vjps)(forward)


sign = _ufunc("sign")
abs = _ufunc("abs", x=lambda g, x: g * sign(x))
exp: Any = _ufunc("exp", x=lambda g, out: g * out)
expm1 = _ufunc("expm1", x=lambda g, out: g * (out + 1))
log: Any = _ufunc("log", x=lambda g, x: g / x)
log1p = _ufunc("log1p", x=lambda g, x: g / (x + 1))
sqrt = _ufunc("sqrt", x=lambda g, out: g * 0.5 / out)
sin = _ufunc("sin", x=lambda g, x: g * cos(x))
cos: Any = _ufunc("cos", x=lambda g, x: -g * sin(x))
tanh = _ufunc("tanh", x=lambda g, out: g * (1 - out * out))

# --- activations ----------------------------------------------------------------------------------


@primitive(x=lambda g, out: g * (out * (1 - out)))
def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), accurate far into the tail: sigmoid(-50) is 1.9e-22, not 0."""
    xp = xp_of(x)
    with np.errstate(over="ignore"):  # exp(-x) = inf gives the right result, 0
        out = xp.exp(-1.0 * x)  # not -x, which unsigned integers do not have
    out += 1
    return 1 / out


@primitive(x=lambda g, x: g * sigmoid(x))
def softplus(x: Array) -> Array:
    """log(1 + exp(x)), written so that nothing overflows: max(x, 0) + log(1 + exp(-|x|))."""
    xp = xp_of(x)
    return log_1_plus(xp.exp(-1.0 * xp.abs(x))) + maximum(x, 0)


@replaceable
def log_1_plus(e: Array) -> Array:
    """log(1 + e) of an array in [-1, 1]."""
    return xp_of(e).log1p(e)


@primitive(x=lambda g, out: masked(g, out > 0))
def relu(x: Array) -> Array:
    """max(x, 0); its gradient at 0 is 0, and NaN passes on."""
    return xp_of(x).maximum(x, 0)


@primitive(x=lambda g, x, slope: masked(g, x > 0) + slope * masked(g, x <= 0))
def leaky_relu(x: Array, slope: float = 0.01) -> Array:
    """x where positive, slope * x elsewhere."""
    return maximum(x, 0) + slope * minimum(x, 0)


@primitive(x=lambda g, x, out, alpha: masked(g, x > 0) + masked(g, x <= 0) * (masked(out, x <= 0) + alpha))
def elu(x: Array, alpha: float = 1.0) -> Array:
    """x where positive, alpha * (exp(x) - 1) elsewhere."""
    return maximum(x, 0) + alpha * expm1(minimum(x, 0))


@in_float32
def gelu(x: Any) -> Any:
    """x Phi(x), with Phi the normal distribution function: the exact form (Hendrycks & Gimpel 2016)."""
    return x * normal_cdf(x)


@primitive(x=lambda g, x: g * exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi)))
def normal_cdf(x: Array) -> Array:
    """Phi(x) = erfc(-x / sqrt 2) / 2, with a small relative error in the left tail too."""
    return (0.5 * _erfc(x * -math.sqrt(0.5))).astype(x.dtype if x.dtype.kind == "f" else np.float64)


_erfc = np.vectorize(math.erfc, otypes=[float])

# --- comparisons, dtypes, devices -----------------------------------------------------------------

equal, not_equal, less, less_equal, greater, greater_equal, invert, bitwise_and, bitwise_or = (
    primitive()(getattr(operator, name)) for name in "eq ne lt le gt ge invert and_ or_".split()
)


@primitive(x=lambda g: g)  # the engine gives a gradient its argument's dtype
def astype(x: Array, dtype: Any) -> Array:
    """`x` as another dtype; integers and booleans are constants to the derivative."""
    return x.astype(dtype)


@primitive(x=lambda g, source: move(g, source))
def move(x: Array, device: str) -> Any:
    """`x` on another device; the gradient travels back."""
    return to_device(x, device), {"source": device_of(x)}
