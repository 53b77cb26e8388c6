"""Checks of options, with errors that tell what was given and what is allowed."""

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
