"""Small 3-D point clouds with a known lower-dimensional structure, to look at what a code learns."""

from __future__ import annotations

import math

import numpy as np

# A rotation with rational entries: columns of length 1, at right angles, determinant +1.
_TILT = np.array([[2, -2, -1], [1, 2, -2], [2, 1, 2]]) / 3


def helix(
    n: int = 1000, turns: float = 3.0, noise: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A curve in space: `(points, t)`, float32 (n, 3) and the curve's parameter, float32 (n,).

    t is uniform on [0, 2 pi turns), and a point is (cos t, sin t, t / (pi turns) - 1), so that the
    curve fits the cube [-1, 1]^3, plus normal noise of standard deviation `noise` in each coordinate.
    The same arguments give the same points. Raises ValueError for n < 1, turns <= 0 or noise < 0.
    """
    _check("helix", n, noise)
    if not 0 < turns < math.inf:
        raise ValueError(f"helix(turns={turns!r}): expected a finite number above 0, such as 3.0")
    rng = np.random.default_rng(seed)
    t = rng.uniform(0, 2 * math.pi * turns, n)
    points = np.stack([np.cos(t), np.sin(t), t / (math.pi * turns) - 1], axis=1)
    points += noise * rng.standard_normal((n, 3))
    return points.astype(np.float32), t.astype(np.float32)


def tilted_gaussian(n: int = 1000, noise: float = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A flat cloud near a tilted plane: `(points, u)`, float32 (n, 3) and float32 (n,).

    A point is R (u, v, w) with independent normal u, v, w of mean 0 and standard deviations 1, 0.5 and
    `noise`, and the rotation R with the columns (2, 1, 2)/3, (-2, 2, 1)/3 and (-1, -2, 2)/3; the last
    is the plane's normal. The points' covariance is thus R diag(1, 0.25, noise^2) R^T: its eigenvectors
    are what PCA, and a linear autoencoder, should find. Returned beside the points is u, the position
    along the longest axis. Raises ValueError for n < 1 or noise < 0.
    """
    _check("tilted_gaussian", n, noise)
    flat = np.random.default_rng(seed).standard_normal((n, 3)) * [1.0, 0.5, noise]
    return (flat @ _TILT.T).astype(np.float32), flat[:, 0].astype(np.float32)


def _check(name: str, n: int, noise: float) -> None:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"{name}(n={n!r}): expected a whole number of points, at least 1")
    if not 0 <= noise < math.inf:
        raise ValueError(f"{name}(noise={noise!r}): expected a finite standard deviation of at least 0")
