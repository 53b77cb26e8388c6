"""Ways to damage an input, for denoising autoencoders.

Each takes an array `x` of float32 or float64, an `amount` and a generator of random numbers, and
returns a new array of the same shape and dtype; `x` stays as it is. Array and generator are NumPy's, or
both those of one GPU.

Source: P. Vincent, H. Larochelle, I. Lajoie, Y. Bengio, P.-A. Manzagol, "Stacked denoising
autoencoders", Journal of Machine Learning Research 11, 2010, section 3.3.
"""

from __future__ import annotations

import math
from numbers import Real

import numpy as np

from scratchae.backend import unwatched, xp_of


def gaussian(x: np.ndarray, amount: float, rng: np.random.Generator, clip: bool = True) -> np.ndarray:
    """clip(x + amount * e, 0, 1) with e standard normal: `amount` is the standard deviation.

    With `clip`, an x that leaves [0, 1] is refused: clipping would cut the data off, and not only the noise.

    Raises ValueError unless `amount` is finite and at least 0, TypeError for an x of another dtype.
    """
    _check("gaussian", x, amount)
    if clip and unwatched():
        x = xp_of(x).where((x >= 0) & (x <= 1), x, np.nan)  # for the loss to show
    elif clip and x.size and ((low := x.min()) < 0 or x.max() > 1):
        found = f"[{low:.4g}, {x.max():.4g}]"
        raise ValueError(f"gaussian noise got x in {found}; expected images in [0, 1]: scale them, or use clip=False")
    noisy = rng.standard_normal(x.shape, dtype=x.dtype)
    noisy *= float(amount)
    noisy += x
    return noisy.clip(0, 1, out=noisy) if clip else noisy


def masking(x: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """x * m with m = 0 with probability `amount`, else 1, for each element by itself.

    Raises ValueError unless `amount` is in [0, 1], TypeError for an x of another dtype.
    """
    _check("masking", x, amount)
    return x * (rng.random(x.shape, dtype=x.dtype) >= float(amount))


def salt_and_pepper(x: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """0 with probability amount / 2, 1 with probability amount / 2, else x, for each element by itself.

    Raises ValueError unless `amount` is in [0, 1], TypeError for an x of another dtype.
    """
    _check("salt_and_pepper", x, amount)
    draw = rng.random(x.shape, dtype=x.dtype)
    where = xp_of(x).where
    return where(draw < float(amount) / 2, x.dtype.type(0), where(draw < float(amount), x.dtype.type(1), x))


def check_amount(name: str, amount: float) -> None:
    """ValueError unless `amount` is one that the noise of that name takes."""
    largest = math.inf if name == "gaussian" else 1
    if not isinstance(amount, Real) or not (0 <= amount <= largest and math.isfinite(amount)):
        allowed = "a finite number of at least 0" if name == "gaussian" else "a number in [0, 1]"
        raise ValueError(f"{name} noise got amount={amount!r}; expected {allowed}")


def _check(name: str, x: np.ndarray, amount: float) -> None:
    dtype = getattr(x, "dtype", type(x).__name__)
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} noise got {dtype}; expected an array of float32 or float64: use .astype")
    check_amount(name, amount)
