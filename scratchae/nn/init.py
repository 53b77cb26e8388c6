"""Initialisation, in place, from the package's seeded generator; names and formulas are PyTorch's.

debug/guards.py attaches the checks of what is filled, and of the numbers.
"""

import math

import numpy as np

from scratchae.attach import replaceable
from scratchae.autograd import Tensor
from scratchae.backend import to_device
from scratchae.checks import check_choice, check_number
from scratchae.random import generator


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight of `shape` (out, in, ...).

    An output is computed from fan_in inputs, and an input goes into fan_out outputs.
    """
    if len(shape) < 2:
        raise ValueError(f"fan_in and fan_out need a weight of at least two axes, got shape {shape}")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


@replaceable
def uniform_(t: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Numbers from U(low, high)."""
    return _fill(t, generator().random(t.shape, dtype=_drawn(t)) * (high - low) + low)


@replaceable
def normal_(t: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Numbers from N(mean, std^2)."""
    return _fill(t, generator().standard_normal(t.shape, dtype=_drawn(t)) * std + mean)


@replaceable
def constant_(t: Tensor, value: float) -> Tensor:
    """`value` everywhere."""
    return _fill(t, np.full(t.shape, value))


def zeros_(t: Tensor) -> Tensor:
    return constant_(t, 0.0)


def ones_(t: Tensor) -> Tensor:
    return constant_(t, 1.0)


def kaiming_uniform_(t: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """U(-b, b) with b = gain sqrt(3 / fan): keeps the variance through ReLU-like layers (He et al. 2015)."""
    bound = math.sqrt(3) * gain(nonlinearity, a) / math.sqrt(fan(t, mode))
    return uniform_(t, -bound, bound)


def kaiming_normal_(t: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """N(0, gain^2 / fan) (He et al. 2015)."""
    return normal_(t, 0.0, gain(nonlinearity, a) / math.sqrt(fan(t, mode)))


def xavier_uniform_(t: Tensor, gain: float = 1.0) -> Tensor:
    """U(-b, b) with b = gain sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""
    bound = check_number("xavier_uniform_: gain", gain) * math.sqrt(6 / (fan(t, "fan_in") + fan(t, "fan_out")))
    return uniform_(t, -bound, bound)


def xavier_normal_(t: Tensor, gain: float = 1.0) -> Tensor:
    """N(0, 2 gain^2 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""
    std = check_number("xavier_normal_: gain", gain) * math.sqrt(2 / (fan(t, "fan_in") + fan(t, "fan_out")))
    return normal_(t, 0.0, std)


def gain(nonlinearity: str, a: float = 0.01) -> float:
    """The factor by which a layer before `nonlinearity` keeps the variance; `a` is the slope of a leaky ReLU."""
    a = check_number("gain: a", a, "(-inf, inf)")
    leaky = math.sqrt(2 / (1 + a * a))
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "leaky_relu": leaky}
    return gains[check_choice("nonlinearity", nonlinearity, sorted(gains))]


@replaceable
def fan(t: Tensor, mode: str) -> int:
    """The inputs of an output ("fan_in"), or the outputs of an input ("fan_out"), and at least 1."""
    check_choice("mode", mode, ("fan_in", "fan_out"))
    return max(fans(t.shape)[mode == "fan_out"], 1)  # the fan of an empty weight is 0


def _drawn(t: Tensor) -> type:
    return np.float64 if t.dtype == np.float64 else np.float32


def _fill(t: Tensor, values: np.ndarray) -> Tensor:
    t.data[...] = to_device(values.astype(t.dtype, copy=False), t.device)
    t.changed()
    return t
