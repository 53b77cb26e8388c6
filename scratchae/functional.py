"""Operators, activations and losses as functions; `import scratchae.functional as F`.

The operators and activations come from `scratchae.autograd.ops`, the losses are written here. All take Tensors and
arrays alike, and give arrays where all they got was arrays. Losses take `(input, target)` of equal shapes, never
broadcast, and have PyTorch's `reduction`: "mean" over all elements, "sum", or "none" for the elements themselves.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from scratchae import random
from scratchae.autograd import ops
from scratchae.autograd.elementwise import log_1_plus
from scratchae.autograd.engine import primitive
from scratchae.autograd.ops import *
from scratchae.autograd.precision import in_float32
from scratchae.autograd.tensor import Tensor, box, operand
from scratchae.backend import Array, device_of, unwatched, xp_of
from scratchae.checks import check_bool, check_number, rounding, shown
from scratchae.gpu.kernels import fused
from scratchae.images import functions as images
from scratchae.images.functions import *

__all__ = [
    "dropout", "normal_like", "mse_loss", "l1_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "kl_div", "cross_entropy", "gaussian_kl", "bernoulli_kl",
]  # fmt: skip
__all__ += [name for name in vars(ops) if not name.startswith("_")] + images.__all__


def dropout(x: Any, p: float = 0.5, training: bool = True, per_sample: bool = True) -> Any:
    """Each element set to 0 with probability `p`, the others divided by 1 - p (Srivastava et al. 2014).

    `per_sample` says whether the first axis of `x` counts the samples of the batch; see `sa.generator`.
    """
    check_number("dropout: p", p, "[0, 1]")
    check_bool("dropout: training", training)
    if not training or p == 0:
        return x
    data = _data(operand(x, "dropout: x"))
    kept = random.generator(device_of(data), per_sample).random(data.shape, dtype=np.float32) >= p
    return x * (kept.astype(data.dtype) * (1 / (1 - p) if p < 1 else 0.0))


def normal_like(x: Any, per_sample: bool = True) -> Any:
    """Standard normal numbers in the shape, dtype and place of `x`: a constant, an array or Tensor as `x` is.

    `per_sample` says whether the first axis of `x` counts the samples of the batch; see `sa.generator`. Raises
    TypeError where `x` has no floating point dtype.
    """
    x = operand(x, "normal_like: x")
    if x.dtype.kind != "f":
        raise TypeError(f"normal_like: x is {x.dtype}; convert it with .astype('float32')")
    noise = random.normal_like(_data(x), per_sample)
    return box(noise, None) if isinstance(x, Tensor) else noise


# --- losses ---------------------------------------------------------------------------------------


def _operands(name: str, input: Any, target: Any, reduction: str, *more: str) -> tuple[Any, Any]:
    """Input and target of one shape and one dtype, if all is well."""
    input = operand(input, f"{name}: the input")
    if input.dtype.kind != "f":
        raise TypeError(f"{name}: the input is {input.dtype}; convert it with .astype('float32')")
    target = operand(target, f"{name}: the target")
    if input.shape != target.shape:
        raise ValueError(f"{name}: input has shape {input.shape}, target {target.shape}; they must be equal")
    if input.size == 0 and reduction == "mean":
        raise ValueError(f"{name}: the input of shape {input.shape} is empty, and nothing has no mean")
    _check_reduction(name, reduction, *more)
    return input, target if target.dtype == input.dtype else target.astype(input.dtype)


def _check_reduction(name: str, reduction: str, *more: str) -> None:
    allowed = ("mean", "sum", "none", *more)
    if not isinstance(reduction, str) or reduction not in allowed:
        raise ValueError(f"{name}: reduction={shown(reduction)}; expected one of {allowed}")


def _reduce(elements: Any, reduction: str) -> Any:
    return elements if reduction == "none" else sum(elements) if reduction == "sum" else mean(elements)


@in_float32
def _reduced(input: Any, target: Any, elements: Any, reduction: str) -> Any:
    return _reduce(elements(input, target), reduction)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(input - target)^2; the mean and the sum as one dot product, with the gradient 2 (input - target), / n."""
    return _mse(*_operands("mse_loss", input, target, reduction), reduction)


@in_float32
def _mse(input: Any, target: Any, reduction: str) -> Any:
    difference = input - target
    if reduction == "none":
        return difference * difference
    return sum_of_squares(difference, 1.0 if reduction == "sum" else 1 / difference.size)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """|input - target|."""
    return _reduced(*_operands("l1_loss", input, target, reduction), lambda x, t: abs(x - t), reduction)


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
    target = _probabilities("binary_cross_entropy: target", target, "scale the data to [0, 1]")
    input, target = _operands("binary_cross_entropy", input, target, reduction)
    loss = _reduced(input, target, _bernoulli_nll, reduction)
    # The logarithm of a negative number has made the sum NaN; only then is it worth looking where.
    if not unwatched() and math.isnan(float(_data(loss).sum())):
        advice = "pass logits to binary_cross_entropy_with_logits"
        clamped = _probabilities("binary_cross_entropy: input", input, advice)
        if clamped is not input:
            return _reduced(clamped, target, _bernoulli_nll, reduction)
    return loss


def _data(x: Any) -> Array:
    return x.data if isinstance(x, Tensor) else x


def _range(values: Any) -> tuple[float, float] | None:
    """The least and the greatest value; None where there is none, or where a NaN is for the loss to show."""
    data = _data(values)
    if not data.size or unwatched():  # in a step that is recorded, kernels make a NaN of what is out of range
        return None
    low, high = float(data.min()), float(data.max())
    return None if math.isnan(low) or math.isnan(high) else (low, high)


def _probabilities(what: str, values: Any, advice: str) -> Any:
    """Values in [0, 1], of which rounding may have pushed some beyond. Raises ValueError for others."""
    values = operand(values, what)
    low, high = _range(values) or (0.0, 1.0)
    if low >= 0 and high <= 1:
        return values
    margin = rounding(values.dtype) if values.dtype.kind == "f" else 0.0
    if low >= -margin and high <= 1 + margin:
        return clip(values, 0.0, 1.0)
    raise ValueError(f"{what} ranges over [{_digits(low)}, {_digits(high)}]; expected [0, 1]: {advice}")


def _digits(number: float) -> str:
    """Six digits, or nine where six do not tell the number from a bound."""
    text = f"{number:.6g}"
    return text if float(text) not in (0.0, 1.0) or number == float(text) else f"{number:.9g}"


def binary_cross_entropy_with_logits(input: Any, target: Any, reduction: str = "mean") -> Any:
    """binary_cross_entropy(sigmoid(x), t) = softplus(x) - t x, exact for any logit."""
    target = _probabilities("binary_cross_entropy_with_logits: target", target, "scale the data to [0, 1]")
    input, target = _operands("binary_cross_entropy_with_logits", input, target, reduction)
    return _reduced(input, target, _bernoulli_nll_of_logits, reduction)


@primitive(
    input=fused("logits_slope")(lambda g, input, target: g * (sigmoid(input) - target)),
    target=lambda g, input: -g * input,
)
@fused("bernoulli_nll_of_logits")
def _bernoulli_nll_of_logits(input: Array, target: Array) -> Array:
    return softplus(input) - target * input


@in_float32
def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """t (log t - input), with `input` already a log-probability, as PyTorch has it; t = 0 contributes 0.

    `log_target=True`: the target is a log-probability too. "batchmean" divides the sum by the first
    axis' length, which is the KL divergence proper.
    """
    input, target = _operands("kl_div", input, target, reduction, "batchmean")
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


@in_float32
def cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Any:
    """-log softmax(input)[label]: `input` (N, C) or (N, C, ...) logits, `target` (N) or (N, ...) labels."""
    _check_reduction("cross_entropy", reduction)
    input, labels = operand(input, "cross_entropy: the input"), _data(operand(target, "cross_entropy: the labels"))
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


@in_float32
def gaussian_kl(mu: Any, logvar: Any, reduction: str = "mean") -> Any:
    """KL(N(mu, exp(logvar)) || N(0, 1)) = (mu^2 + exp(logvar) - 1 - logvar) / 2 (Kingma & Welling 2014, app. B)."""
    mu, logvar = _operands("gaussian_kl", mu, logvar, reduction)
    return _reduce(0.5 * (mu * mu + expm1(logvar) - logvar), reduction)


def bernoulli_kl(rho: Any, rho_hat: Any, reduction: str = "mean") -> Any:
    """KL between coins: rho log(rho / rho_hat) + (1 - rho) log((1 - rho) / (1 - rho_hat)).

    `rho` is a number or has the shape of `rho_hat`; both lie in (0, 1).
    """
    _check_reduction("bernoulli_kl", reduction)
    rho_hat, rho = operand(rho_hat, "bernoulli_kl: rho_hat"), operand(rho, "bernoulli_kl: rho")
    if rho.shape not in ((), rho_hat.shape):
        raise ValueError(f"bernoulli_kl: rho has shape {rho.shape}, rho_hat {rho_hat.shape}; they must be equal")
    for name, values in (("rho", rho), ("rho_hat", rho_hat)):
        if (found := _range(values)) and not (found[0] > 0 and found[1] < 1):
            ends = f"[{_digits(found[0])}, {_digits(found[1])}]"
            margin = "1e-3" if values.dtype == np.float16 else "1e-7"
            advice = f"hold it off the ends with F.clip({name}, {margin}, 1 - {margin})"
            raise ValueError(f"bernoulli_kl: {name} ranges over {ends}; expected probabilities in (0, 1): {advice}")
    number = not isinstance(rho, Tensor) and rho.ndim == 0
    return _reduced(rho_hat, rho.item() if number else rho.astype(rho_hat.dtype), _bernoulli_kl, reduction)


def _bernoulli_kl(rho_hat: Any, rho: Any) -> Any:
    log_p, log_q = (math.log(rho), math.log1p(-rho)) if isinstance(rho, float) else (log(rho), log1p(-rho))
    return rho * (log_p - log(rho_hat)) + (1 - rho) * (log_q - log1p(-rho_hat))
