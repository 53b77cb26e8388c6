"""Checks of options, with errors that tell the value given and the values allowed."""

import math
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

_LARGEST = 2**63 - 1  # the largest axis, seed or counter of NumPy's


def check_count(name: str, value: Any, least: int = 1) -> int:
    """`value` as an int. Raises ValueError unless it is an integer of at least `least` that fits 64 bits."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}={shown(value)}; expected an integer of at least {least}")
    if value > _LARGEST:
        raise ValueError(f"{name}={shown(value)}; expected an integer of at most {_LARGEST}")
    return int(value)


def check_number(name: str, value: Any, within: str = "[0, inf)") -> float:
    """`value` as a float. Raises ValueError unless it is a real number in the interval, such as "[0, 1)"."""
    low, high = map(float, within[1:-1].split(", "))
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    plain = value.item() if isinstance(value, np.generic) else value
    above = real and (plain >= low if within[0] == "[" else plain > low)
    below = real and (plain <= high if within[-1] == "]" else plain < high)
    if not (above and below and abs(plain) <= sys.float_info.max):
        raise ValueError(f"{name}={shown(value)}; expected a {_INTERVALS.get(within, f'number in {within}')}")
    return float(plain)


_INTERVALS = {
    "[0, inf)": "finite number of at least 0",
    "(0, inf)": "finite number above 0",
    "(-inf, inf)": "finite number",
    "[0, 1)": "number of at least 0 and below 1",
}


def rounding(dtype: Any) -> float:
    """The distance beyond 0 or 1 that a few roundings can make in a floating point dtype."""
    return 4 * float(np.finfo(dtype).eps)


def check_bool(name: str, value: Any) -> bool:
    """`value` as a bool. Raises ValueError unless it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name}={shown(value)}; expected True or False")
    return bool(value)


def check_choice(name: str, value: Any, allowed: Iterable[str], others: str = "") -> str:
    """`value` if it is one of the `allowed` strings; ValueError if not. `others` are more values for the error text."""
    names = list(allowed)
    if isinstance(value, str) and value in names:
        return value
    listed = " or ".join(map(repr, names)) if len(names) == 2 else f"one of {', '.join(map(repr, names))}"
    raise ValueError(f"{name}={shown(value)}; expected {others}{listed}")


def check_fits(what: str, shape: Iterable[int]) -> None:
    """Raise ValueError where an array of `shape` has more bytes than any process can address."""
    if math.prod(map(int, shape)) > 2**47 // 8:  # NumPy's integers would overflow
        raise ValueError(f"{what} takes more memory than a process can address")


def shown(value: Any) -> str:
    """`repr` of a value for an error's text, cut off where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print very long integers
        text = f"<a {type(value).__name__} that is too long to print>"
    return text if len(text) <= 80 else f"{text[:77]}..."
