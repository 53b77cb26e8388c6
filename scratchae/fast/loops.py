"""Loops over arrays, compiled by numba: each loop is the formula, element by element.

NumPy makes one pass over memory for each operator of a formula. A loop makes one pass for the whole formula. All
arrays are one-dimensional and contiguous, and `out` is written. compiled.py chooses the arrays.

The first use of a loop compiles the loop for this processor, and keeps the machine code on the disk. `contract` lets
the compiler join a product and a sum (a fused multiply-add), and `nsz` lets the compiler ignore the sign of zero. A
loop gives the same bits everywhere in an array.

numba keeps machine code as long as the file of the loop does not change. Touch this file after a change of
`ERFC_SERIES` in elements.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from scratchae.fast.elements import ERFC_SERIES

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}
f = np.float32  # numba computes in float64 where a formula has a plain number


def loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call, and keep the result where a folder for this purpose can be written."""
    try:
        return njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # no such folder
        return njit(**OPTIONS)(function)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A part of loops, which the compiler puts into each of them."""
    return njit(forceinline=True, **OPTIONS)(function)


def summing(function: Callable[..., Any]) -> Callable[..., Any]:
    """A part of loops that adds numbers up. The compiler splits each sum among the lanes of a vector."""
    return njit(forceinline=True, **{**OPTIONS, "fastmath": OPTIONS["fastmath"] | {"reassoc"}})(function)


# --- exponential and logarithm of a float32 -------------------------------------------------------


@inlined
def exp(x):
    """e^x within 1 unit in the last place, subnormal results included.

    e^x = 2^k e^r with k = x / log 2, rounded, and |r| <= log(2) / 2. A polynomial gives e^r (coefficients: Cephes).
    The power of 2 is built from bits, in two factors, because one factor could leave the range.
    """
    x = min(max(x, f(-104.0)), f(88.8))  # beyond, the result is 0 or infinite
    k = (x * f(1.44269504) + f(12582912.0)) - f(12582912.0)  # the sum with 1.5 * 2^23 rounds
    r = x - k * f(0.693359375) - k * f(-2.12194440e-4)  # log 2 in two parts
    p = f(1.9875691500e-4)
    p = p * r + f(1.3981999507e-3)
    p = p * r + f(8.3334519073e-3)
    p = p * r + f(4.1665795894e-2)
    p = p * r + f(1.6666665459e-1)
    p = p * r + f(5.0000001201e-1)
    p = p * (r * r) + r + f(1)
    n = np.int32(k)
    half = n >> 1
    return p * power_of_2(half) * power_of_2(n - half)


@inlined
def power_of_2(n):
    """2^n for an integer from -126 to 127."""
    return float_of((n + 127) << 23)


@inlined
def float_of(bits):
    return np.int32(bits).view(np.float32)


@inlined
def bits_of(x):
    return np.float32(x).view(np.int32)


@inlined
def log(x):
    """log x within 1 unit in the last place. log(0) is -inf, and NaN comes from negative numbers.

    x = 2^k (1 + m) with 1 + m in [sqrt(1/2), sqrt(2)], and log(1 + m) = m - m^2 / 2 + m^3 P(m) (coefficients: Cephes).
    """
    tiny = x < f(1.17549435e-38)  # subnormal: its exponent is not in the bits
    y = x * f(8388608.0) if tiny else x
    bits = bits_of(y)
    k = f((bits - 0x3F3504F3) >> 23)  # the bits of sqrt(1/2)
    m = float_of(bits - (np.int32(k) << 23)) - f(1)
    p = f(7.0376836292e-2)
    p = p * m + f(-1.1514610310e-1)
    p = p * m + f(1.1676998740e-1)
    p = p * m + f(-1.2420140846e-1)
    p = p * m + f(1.4249322787e-1)
    p = p * m + f(-1.6668057665e-1)
    p = p * m + f(2.0000714765e-1)
    p = p * m + f(-2.4999993993e-1)
    p = p * m + f(3.3333331174e-1)
    k = k - f(23) if tiny else k
    z = m * m
    p = p * m * z + k * f(-2.12194440e-4) - f(0.5) * z
    result = p + m + k * f(0.693359375)
    result = x if x == f(np.inf) else result
    result = f(-np.inf) if x == f(0) else result
    return result if x >= f(0) else f(np.nan)


@inlined
def log_1_plus(e):
    """log(1 + e) for e > -1, with a small relative error near 0 too.

    log(1 + e) = log(u) + (e - (u - 1)) / u, where u is 1 + e, rounded.
    """
    u = f(1) + e
    return log(u) + (e - (u - f(1))) / max(u, f(1.17549435e-38))


@inlined
def log_1_plus_positive(e):
    """log(1 + e) for e from 0 to 1, within 2 units in the last place.

    log(1 + e) = 2 artanh(s) = 2 (s + s^3 / 3 + s^5 / 5 + ...) with s = e / (2 + e), which is at most 1/3.
    """
    s = e / (f(2) + e)
    z = s * s
    p = f(1 / 13)
    p = p * z + f(1 / 11)
    p = p * z + f(1 / 9)
    p = p * z + f(1 / 7)
    p = p * z + f(1 / 5)
    p = p * z + f(1 / 3)
    return f(2) * (s + s * z * p)


# --- activations and their slopes -----------------------------------------------------------------


@inlined
def sigmoid_of(x):
    """1 / (1 + e^-x), accurate in both tails."""
    e = exp(-abs(x))
    q = f(1) / (f(1) + e)
    return q if x >= f(0) else e * q if x < f(0) else x


@loop
def sigmoid(x, out):
    for i in range(out.size):
        out[i] = sigmoid_of(x[i])


@loop
def sigmoid_slope(g, y, out):
    for i in range(out.size):
        out[i] = g[i] * (y[i] * (f(1) - y[i]))


@loop
def tanh_slope(g, y, out):
    for i in range(out.size):
        out[i] = g[i] * (f(1) - y[i] * y[i])


@loop
def softplus(x, out):
    for i in range(out.size):
        out[i] = max(x[i], f(0)) + log_1_plus_positive(exp(-abs(x[i])))


@loop
def softplus_slope(g, x, out):
    for i in range(out.size):
        out[i] = g[i] * sigmoid_of(x[i])


@loop
def relu(x, out):
    for i in range(out.size):
        out[i] = f(0) if x[i] <= f(0) else x[i]  # NaN passes on


@loop
def relu_slope(g, y, out):
    for i in range(out.size):
        out[i] = g[i] if y[i] > f(0) else f(0)


@loop
def masked(g, keep, out):
    for i in range(out.size):
        out[i] = g[i] if keep[i] else f(0)


@loop
def elu(x, alpha, out):
    for i in range(out.size):
        out[i] = x[i] if x[i] > f(0) else alpha * exp_minus_1(x[i])


@loop
def elu_slope(g, x, y, alpha, out):
    for i in range(out.size):
        out[i] = g[i] if x[i] > f(0) else g[i] * (y[i] + alpha)


@inlined
def exp_minus_1(x):
    """e^x - 1 for x <= 0, with a small relative error near 0 too: a polynomial there, exp elsewhere."""
    p = f(1.9875691500e-4)
    p = p * x + f(1.3981999507e-3)
    p = p * x + f(8.3334519073e-3)
    p = p * x + f(4.1665795894e-2)
    p = p * x + f(1.6666665459e-1)
    p = p * x + f(5.0000001201e-1)
    return p * (x * x) + x if x > f(-0.34) else exp(x) - f(1)


@inlined
def normal_cdf_of(x):
    """Phi(x) = erfc(-x / sqrt 2) / 2 by the series of elements.py."""
    z = abs(x) * f(math.sqrt(0.5))
    t = f(2) / (f(2) + z)
    s = f(4) * t - f(2)
    b = f(0)
    b_next = f(0)
    for c in ERFC:
        b, b_next = s * b - b_next + c, b
    tail = f(0.5) * t * exp(f(0.5) * (s * b + ERFC_0) - b_next - z * z)
    return f(1) - tail if x > f(0) else tail


ERFC = tuple(map(f, ERFC_SERIES[11:0:-1]))
ERFC_0 = f(ERFC_SERIES[0])


@loop
def normal_cdf(x, out):
    for i in range(out.size):
        out[i] = normal_cdf_of(x[i])


@loop
def normal_cdf_slope(g, x, out):
    for i in range(out.size):
        out[i] = g[i] * exp(f(-0.5) * x[i] * x[i]) * f(1 / math.sqrt(2 * math.pi))


# --- cross entropies ------------------------------------------------------------------------------


@loop
def nll_of_logits(x, t, out):
    for i in range(out.size):
        out[i] = max(x[i], f(0)) + log_1_plus_positive(exp(-abs(x[i]))) - t[i] * x[i]


@loop
def nll_of_logits_slope(g, x, t, out):
    """`g` is one number: the loss is a mean or a sum."""
    for i in range(out.size):
        out[i] = g * (sigmoid_of(x[i]) - t[i])


@loop
def nll(x, t, out):
    for i in range(out.size):
        log_p, log_q = max(log(x[i]), f(-100)), max(log_1_plus(-x[i]), f(-100))
        out[i] = t[i] * (log_q - log_p) - log_q


@loop
def nll_slope(g, x, t, out):
    for i in range(out.size):
        out[i] = g * (x[i] - t[i]) / max(x[i] * (f(1) - x[i]), f(1e-12))


# --- update rules: see optim/algorithms.py --------------------------------------------------------


@loop
def adam(p, g, M, V, rate, beta1, beta2, eps, decay, shrink):
    """`rate` and `eps` hold the correction of the bias. `decay` is added to the gradient, `shrink` is AdamW's."""
    for i in range(p.size):
        d = g[i] + decay * p[i]
        M[i] = M[i] * beta1 + d
        V[i] = V[i] * beta2 + d * d
        p[i] = p[i] * shrink - rate * (M[i] / (np.sqrt(V[i]) + eps))


@loop
def sgd(p, g, v, rate, momentum, damping, nesterov, decay):
    """With momentum. `damping` is 0 at the first step, which keeps all of the gradient."""
    for i in range(p.size):
        d = g[i] + decay * p[i]
        v[i] = v[i] * momentum + d * (f(1) - damping)
        p[i] = p[i] - rate * (d + momentum * v[i] if nesterov else v[i])


@loop
def rmsprop(p, g, v, rate, alpha, eps, decay):
    for i in range(p.size):
        d = g[i] + decay * p[i]
        v[i] = v[i] * alpha + d * d * (f(1) - alpha)
        p[i] = p[i] - rate * (d / (np.sqrt(v[i]) + eps))

