"""Small 3-D point clouds with a known structure of fewer dimensions, to study the codes of an autoencoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae.checks import check_count, check_number, shown

# A rotation with rational entries: columns of length 1, at right angles, determinant +1.
_TILT = np.array([[2, -2, -1], [1, 2, -2], [2, 1, 2]]) / 3


def helix(
    n: int = 1000, turns: float = 3.0, noise: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A curve in space: `(points, t)`, float32 (n, 3) and the curve's parameter, float32 (n,).

    t is uniform on [0, 2 pi turns), and a point is (cos t, sin t, t / (pi turns) - 1). So the curve fits
    the cube [-1, 1]^3. Each coordinate gets normal noise of standard deviation `noise`. The same
    arguments give the same points. Raises ValueError for n < 1, turns <= 0, noise < 0, seed < 0 and
    values that are no numbers.
    """
    n, noise, seed = _checked("helix", n, noise, seed)
    wanted = "a finite number above 0 and up to 1e37, such as 3.0"
    turns = _must_be(wanted, check_number, "helix(turns", turns, "(0, 1e37]")
    rng = np.random.default_rng(seed)
    t = rng.uniform(0, 2 * math.pi * turns, n)
    points = np.stack([np.cos(t), np.sin(t), t / (math.pi * turns) - 1], axis=1)
    points += noise * rng.standard_normal((n, 3))
    return points.astype(np.float32), t.astype(np.float32)


def tilted_gaussian(n: int = 1000, noise: float = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A flat cloud near a tilted plane: `(points, u)`, float32 (n, 3) and float32 (n,).

    A point is R (u, v, w) with independent normal u, v, w of mean 0 and standard deviations 1, 0.5 and
    `noise`. The rotation R has the columns (2, 1, 2)/3, (-2, 2, 1)/3 and (-1, -2, 2)/3; the last column
    is the plane's normal. The points' covariance is R diag(1, 0.25, noise^2) R^T. PCA, and a linear
    autoencoder, should find its eigenvectors. `u` is the position along the longest axis.

    Raises ValueError for n < 1, noise < 0, seed < 0 and values that are no numbers.
    """
    n, noise, seed = _checked("tilted_gaussian", n, noise, seed)
    flat = np.random.default_rng(seed).standard_normal((n, 3)) * [1.0, 0.5, noise]
    return (flat @ _TILT.T).astype(np.float32), flat[:, 0].astype(np.float32)


def _checked(name: str, n: Any, noise: Any, seed: Any) -> tuple[int, float, int]:
    return (
        _must_be("a whole number of points, at least 1", check_count, f"{name}(n", n),
        # The bound leaves room for the factors within float32.
        _must_be("a finite standard deviation from 0 to 1e37", check_number, f"{name}(noise", noise, "[0, 1e37]"),
        _must_be("a whole number of at least 0", check_count, f"{name}(seed", seed, 0),
    )


def _must_be(wanted: str, check: Callable[..., Any], option: str, value: Any, *bounds: Any) -> Any:
    """The value that `check` returns. An error says that `wanted` is expected."""
    try:
        return check(option, value, *bounds)
    except ValueError:
        raise ValueError(f"{option}={shown(value)}): expected {wanted}") from None
