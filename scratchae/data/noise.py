"""Ways to damage an input, for denoising autoencoders.

Each function takes an array `x` of float32 or float64, an `amount` and a generator of random numbers.
The result is a new array of the same shape and dtype; `x` does not change. Array and generator are
NumPy's, or both belong to one GPU. For a batch, pass `sa.generator(device, per_sample=True)`.

Source: P. Vincent, H. Larochelle, I. Lajoie, Y. Bengio, P.-A. Manzagol, "Stacked denoising
autoencoders", Journal of Machine Learning Research 11, 2010, section 3.3.
"""

from typing import Any

import numpy as np

from scratchae.backend import is_array, seen, xp_of
from scratchae.checks import check_bool, check_number, rounding


def gaussian(x: np.ndarray, amount: float, rng: np.random.Generator, clip: bool = True) -> np.ndarray:
    """clip(x + amount * e, 0, 1) with e standard normal: `amount` is the standard deviation.

    With `clip`, an x outside [0, 1] is refused, since clipping would cut off the data too. Numbers beyond 0 or 1 by a
    few rounding errors are allowed.

    Raises ValueError for an x outside [0, 1], and unless `amount` is finite and at least 0. Raises TypeError for
    another dtype.
    """
    _check("gaussian", x, amount)
    check_bool("gaussian noise: clip", clip)
    margin = rounding(x.dtype)
    if clip and x.size and seen((x.min() < -margin) | (x.max() > 1 + margin)):
        found = f"[{x.min()!s}, {x.max()!s}]"
        raise ValueError(f"gaussian noise got x in {found}; expected images in [0, 1]: scale them, or pass clip=False")
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


def check_amount(name: str, amount: Any) -> None:
    """ValueError unless the noise of that name takes `amount`."""
    check_number(f"{name} noise got amount", amount, "[0, inf)" if name == "gaussian" else "[0, 1]")


def _check(name: str, x: Any, amount: Any) -> None:
    if not is_array(x) or isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} noise got a {type(x).__name__}; expected an array of NumPy or CuPy")
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} noise got {x.dtype}; expected an array of float32 or float64: use .astype")
    check_amount(name, amount)
