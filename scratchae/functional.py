"""Operators, activations and losses as functions; `import scratchae.functional as F`.

The operators and activations come from `scratchae.autograd.ops`, the losses are written here. All take Tensors and
arrays alike, and give arrays where all they got was arrays. Losses take `(input, target)` of equal shapes, never
broadcast, and have PyTorch's `reduction`: "mean" over all elements, "sum", or "none" for the elements themselves.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from scratchae.autograd import ops
from scratchae.autograd.elementwise import log_1_plus
from scratchae.autograd.engine import primitive
from scratchae.autograd.ops import *
from scratchae.autograd.tensor import Tensor
from scratchae.backend import Array, device_of, unwatched, xp_of
from scratchae.gpu.kernels import fused
from scratchae.random import generator

__all__ = [
    "dropout", "mse_loss", "l1_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div",
    "cross_entropy", "gaussian_kl", "bernoulli_kl",
]  # fmt: skip
__all__ += [name for name in vars(ops) if not name.startswith("_")]


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """Each element set to 0 with probability `p`, the others divided by 1 - p (Srivastava et al. 2014)."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability p={p}; expected 0 <= p <= 1")
    if not training or p == 0:
        return x
    data = _data(x)
    kept = generator(device_of(data)).random(data.shape, dtype=np.float32) >= p
    return x * (kept.astype(data.dtype) * (1 / (1 - p) if p < 1 else 0.0))


# --- losses ---------------------------------------------------------------------------------------


def _check(name: str, input: Any, target: Any, reduction: str, *more: str) -> Any:
    """The target in the input's dtype, if all is well."""
    if isinstance(target, (list, int, float)):
        target = np.asarray(target, input.dtype)
    shapes = getattr(input, "shape", None), getattr(target, "shape", None)
    if shapes[0] != shapes[1]:
        raise ValueError(f"{name}: input has shape {shapes[0]}, target {shapes[1]}; they must be equal")
    if input.dtype.kind != "f":
        raise TypeError(f"{name}: the input is {input.dtype}; convert it with .astype('float32')")
    if input.size == 0 and reduction == "mean":
        raise ValueError(f"{name}: the input of shape {input.shape} is empty, and nothing has no mean")
    _check_reduction(name, reduction, *more)
    return target if target.dtype == input.dtype else target.astype(input.dtype)


def _check_reduction(name: str, reduction: str, *more: str) -> None:
    if reduction not in (allowed := ("mean", "sum", "none", *more)):
        raise ValueError(f"{name}: reduction={reduction!r}; expected one of {allowed}")


def _reduce(elements: Any, reduction: str) -> Any:
    return elements if reduction == "none" else sum(elements) if reduction == "sum" else mean(elements)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(input - target)^2; the mean and the sum as one dot product, with the gradient 2 (input - target), / n."""
    target = _check("mse_loss", input, target, reduction)
    difference = input - target
    if reduction == "none":
        return difference * difference
    return sum_of_squares(difference, 1.0 if reduction == "sum" else 1 / difference.size)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """|input - target|."""
    target = _check("l1_loss", input, target, reduction)
    return _reduce(abs(input - target), reduction)


@primitive(
    input=fused("bernoulli_slope")(
        lambda g, input, target: g * (input - target) / maximum(input * (1 - input), 1e-12)
    ),
    target=lambda g, input: g * _clamped_log_odds(input),
)
@fused("bernoulli_nll")
def _bernoulli_nll(input: Array, target: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):  # log(0) is clamped; outside [0, 1] is NaN, told below
        log_p, log_q = maximum(log(input), -100.0), maximum(log_1_plus(-input), -100.0)
    return target * (log_q - log_p) - log_q


def binary_cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Any:
    """-(t log x + (1 - t) log(1 - x)), both logs held at -100 or above, as PyTorch does.

    The gradient is (x - t) / max(x (1 - x), 1e-12). Raises ValueError for values outside [0, 1].
    """
    target = _check("binary_cross_entropy", input, target, reduction)
    _check_range("binary_cross_entropy", "target", target, "[0, 1]", "scale the data to [0, 1]")
    loss = _reduce(_bernoulli_nll(input, target), reduction)
    # The logarithm of a negative number has made the sum NaN; only then is it worth looking where.
    if not unwatched() and math.isnan(float(_data(loss).sum())):
        advice = "pass logits to binary_cross_entropy_with_logits"
        _check_range("binary_cross_entropy", "input", input, "[0, 1]", advice)
    return loss


def _data(x: Any) -> Array:
    return x.data if isinstance(x, Tensor) else np.asarray(x) if isinstance(x, (int, float)) else x


def _check_range(loss: str, what: str, values: Any, allowed: str, advice: str) -> None:
    data = _data(values)
    if not data.size or unwatched():  # then the kernels make a NaN of it
        return
    lo, hi = float(data.min()), float(data.max())
    fine = lo >= 0 and hi <= 1 if allowed == "[0, 1]" else lo > 0 and hi < 1
    if not fine and not math.isnan(lo + hi):  # NaN is for the caller to see in the loss
        raise ValueError(f"{loss}: {what} ranges over [{lo:.6g}, {hi:.6g}]; expected {allowed}: {advice}")


def binary_cross_entropy_with_logits(input: Any, target: Any, reduction: str = "mean") -> Any:
    """binary_cross_entropy(sigmoid(x), t) = softplus(x) - t x, exact for any logit."""
    target = _check("binary_cross_entropy_with_logits", input, target, reduction)
    _check_range("binary_cross_entropy_with_logits", "target", target, "[0, 1]", "scale the data to [0, 1]")
    return _reduce(_bernoulli_nll_of_logits(input, target), reduction)


@primitive(
    input=fused("logits_slope")(lambda g, input, target: g * (sigmoid(input) - target)),
    target=lambda g, input: -g * input,
)
@fused("bernoulli_nll_of_logits")
def _bernoulli_nll_of_logits(input: Array, target: Array) -> Array:
    return softplus(input) - target * input


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """t (log t - input), with `input` already a log-probability, as PyTorch has it; t = 0 contributes 0.

    `log_target=True`: the target is a log-probability too. "batchmean" divides the sum by the first
    axis' length, which is the KL divergence proper.
    """
    target = _check("kl_div", input, target, reduction, "batchmean")
    if log_target:
        p = exp(target)
        elements = p * (where(p > 0, target, 0.0) - where(p > 0, input, 0.0))
    else:
        elements = _x_log_x(target) - target * where(target == 0, 0.0, input)
    return sum(elements) / len(input) if reduction == "batchmean" else _reduce(elements, reduction)


def _clamped_log_odds(x: Any) -> Any:
    with np.errstate(divide="ignore"):
        return maximum(log1p(-x), -100.0) - maximum(log(x), -100.0)


@primitive(x=lambda g, x: g * (log(x) + 1))
def _x_log_x(x: Array) -> Array:
    return x * xp_of(x).log(x + (x == 0))


def cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Any:
    """-log softmax(input)[label]: `input` (N, C) or (N, C, ...) logits, `target` (N) or (N, ...) labels."""
    _check_reduction("cross_entropy", reduction)
    labels = np.asarray(target) if isinstance(target, (list, int)) else _data(target)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: labels are {labels.dtype}; expected integers: use .astype('int64')")
    if input.ndim < 2 or labels.shape != (*input.shape[:1], *input.shape[2:]):
        raise ValueError(
            f"cross_entropy: logits have shape {input.shape}, labels {labels.shape}; "
            "expected (N, C) or (N, C, ...) and the same without C"
        )
    classes = input.shape[1]
    if labels.size and not unwatched() and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"cross_entropy: labels in [{labels.min()}, {labels.max()}]; expected 0 to {classes - 1}")
    logits = transpose(input, (0, *range(2, input.ndim), 1)) if input.ndim > 2 else input
    xp = xp_of(labels)
    rows = xp.arange(labels.size)
    picked = getitem(reshape(log_softmax(logits, -1), (-1, classes)), (rows, labels.reshape(-1).astype(np.int64)))
    picked = reshape(picked, labels.shape)
    if unwatched():
        picked = where((labels >= 0) & (labels < classes), picked, math.nan)  # for the loss to show
    return _reduce(-picked, reduction)


def gaussian_kl(mu: Any, logvar: Any, reduction: str = "mean") -> Any:
    """KL(N(mu, exp(logvar)) || N(0, 1)) = (mu^2 + exp(logvar) - 1 - logvar) / 2 (Kingma & Welling 2014, app. B)."""
    logvar = _check("gaussian_kl", mu, logvar, reduction)
    return _reduce(0.5 * (mu * mu + expm1(logvar) - logvar), reduction)


def bernoulli_kl(rho: Any, rho_hat: Any, reduction: str = "mean") -> Any:
    """KL between coins: rho log(rho / rho_hat) + (1 - rho) log((1 - rho) / (1 - rho_hat)).

    `rho` is a number in (0, 1) or has the shape of `rho_hat`, which must lie in (0, 1).
    """
    _check_reduction("bernoulli_kl", reduction)
    if getattr(rho, "shape", ()) not in ((), rho_hat.shape):
        raise ValueError(f"bernoulli_kl: rho has shape {rho.shape}, rho_hat {rho_hat.shape}; they must be equal")
    _check_range("bernoulli_kl", "rho", rho, "(0, 1)", "it is a probability")
    _check_range("bernoulli_kl", "rho_hat", rho_hat, "(0, 1)", "use probabilities, as a sigmoid gives them")
    number = isinstance(rho, (int, float))
    log_p, log_q = (math.log(rho), math.log1p(-rho)) if number else (log(rho), log1p(-rho))
    return _reduce(rho * (log_p - log(rho_hat)) + (1 - rho) * (log_q - log1p(-rho_hat)), reduction)
