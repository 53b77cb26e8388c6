"""Checks of options, with errors that tell what was given and what is allowed; and of what a training step makes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def check_count(name: str, value: Any, least: int = 1) -> int:
    """`value` as an int; ValueError unless it is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}={value!r}; expected an integer of at least {least}")
    return int(value)


def check_number(name: str, value: Any, below: float = math.inf) -> float:
    """`value` as a float; ValueError unless it is a number from 0 up to, but not including, `below`."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value < below:
        allowed = "finite number of at least 0" if below == math.inf else f"number of at least 0 and below {below:g}"
        raise ValueError(f"{name}={value!r}; expected a {allowed}")
    return float(value)


def is_finite(g: Any) -> bool:
    """Whether all elements of an array are."""
    flat = g.ravel()
    # One dot product tells almost always; only a huge but finite gradient needs the second look.
    with np.errstate(over="ignore", invalid="ignore"):
        square = float(flat @ flat)
    return math.isfinite(square) or bool((abs(g) < math.inf).all())


def not_finite(found: str, step: int) -> FloatingPointError:
    """The error of a step that is not done, since `found` (a loss or a gradient is not finite)."""
    return FloatingPointError(
        f"{found} at step {step}; the weights are those of the step before. Check the data for NaN and targets outside "
        "their range, lower the learning rate, or clip gradients with Trainer(..., clip_grad_norm=1.0)"
    )
