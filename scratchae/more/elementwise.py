"""More of NumPy's functions of one number."""

import math

from scratchae.autograd.engine import primitive
from scratchae.backend import Array, xp_of


@primitive(x=lambda g, x: g * (2 * x))
def square(x: Array) -> Array:
    """NumPy's `square`: x * x."""
    return xp_of(x).square(x)


@primitive(x=lambda g, x: g / (x * math.log(2)))
def log2(x: Array) -> Array:
    """NumPy's `log2`: the logarithm to the base 2."""
    return xp_of(x).log2(x)


@primitive(x=lambda g, x: g / (x * math.log(10)))
def log10(x: Array) -> Array:
    """NumPy's `log10`: the logarithm to the base 10."""
    return xp_of(x).log10(x)


@primitive(x=lambda g, out: g * (1 + out * out))
def tan(x: Array) -> Array:
    """NumPy's `tan`."""
    return xp_of(x).tan(x)
