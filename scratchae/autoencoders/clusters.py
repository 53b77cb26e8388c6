"""k-means: groups of similar points."""

from typing import Any

import numpy as np

from scratchae.checks import shown
from scratchae.random import generator

_AT_ONCE = 4096  # points whose distances to all centres are in memory


def k_means(points: np.ndarray, k: int, rounds: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Centres (k, d) of `points` (n, d), and the number of the nearest centre of each point (n,).

    The first centres are points, each drawn with a probability that grows with the squared distance to the nearest
    centre before (k-means++: D. Arthur, S. Vassilvitskii 2007). Each round moves a centre to the mean of its points. A
    centre without points stays.
    """
    draw = generator()
    centres = np.empty((k, points.shape[1]), points.dtype)
    centres[0] = points[draw.integers(len(points))]
    squares = ((points - centres[0]) ** 2).sum(axis=1)
    for i in range(1, k):
        total = squares.sum()
        share = squares / total if total > 0 else np.full(len(points), 1 / len(points))
        centres[i] = points[draw.choice(len(points), p=share)]
        squares = np.minimum(squares, ((points - centres[i]) ** 2).sum(axis=1))
    nearest = nearest_of(points, centres)
    for _ in range(rounds):
        counts = np.bincount(nearest, minlength=k)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, points)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
        before, nearest = nearest, nearest_of(points, centres)
        if np.array_equal(before, nearest):
            break
    return centres, nearest


def nearest_of(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The number (n,) of the centre that is nearest to each point."""
    squares = (centres**2).sum(axis=1)  # |x|^2 is equal for all centres and left out
    parts = [points[i : i + _AT_ONCE] for i in range(0, len(points), _AT_ONCE)]
    return np.concatenate([(squares - 2 * (part @ centres.T)).argmin(axis=1) for part in parts])


def vectors_of(codes: Any, least: int) -> np.ndarray:
    """Codes (n, d) as float64; ValueError for another shape, fewer than `least`, or numbers that are not finite."""
    array = np.asarray(codes, np.float64)
    if array.ndim != 2 or len(array) < least:
        raise ValueError(f"codes of shape {array.shape}; expected (n, d) with n at least {least}")
    if not np.isfinite(array).all():
        raise ValueError(f"codes that are not finite, such as {shown(array[~np.isfinite(array)][0])}")
    return array
