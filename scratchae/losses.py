"""Losses, as functions of (input, target).

Input and target have equal shapes, and never broadcast. `reduction` is as in PyTorch. "mean" averages over all
elements, over the features of a sample as well as over the samples. "sum" adds all elements up, and "none" gives the
elements themselves. "batchmean", where a loss has it, sums over the features and averages over the samples. All losses
take Tensors and arrays. The result of two arrays is an array.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae.autograd import ops
from scratchae.autograd.elementwise import log_1_plus
from scratchae.autograd.engine import primitive
from scratchae.autograd.precision import in_float32
from scratchae.autograd.tensor import Tensor, data_of, operand
from scratchae.backend import Array, seen, xp_of
from scratchae.checks import rounding, shown


def operands_of(name: str, input: Any, target: Any, reduction: str, *more: str) -> tuple[Any, Any]:
    """Input and target of one shape and one dtype. Raises TypeError or ValueError for other operands."""
    check_reduction(name, reduction, *more)
    input, target = operand(input, f"{name}: the input"), operand(target, f"{name}: the target")
    if input.dtype.kind != "f":
        raise TypeError(f"{name}: the input is {input.dtype}; convert it with .astype('float32')")
    if input.shape != target.shape:
        raise ValueError(f"{name}: input has shape {input.shape}, target {target.shape}; they must be equal")
    if 0 in {"mean": input.shape, "batchmean": input.shape[:1]}.get(reduction, ()):
        raise ValueError(f"{name}: the input of shape {input.shape} is empty, and nothing has no mean")
    return input, target if target.dtype == input.dtype else target.astype(input.dtype)


def check_reduction(name: str, reduction: str, *more: str) -> None:
    """Raise ValueError for another reduction than "mean", "sum", "none" and `more`."""
    allowed = ("mean", "sum", "none", *more)
    if not isinstance(reduction, str) or reduction not in allowed:
        raise ValueError(f"{name}: reduction={shown(reduction)}; expected one of {allowed}")


def reduce_elements(elements: Any, reduction: str) -> Any:
    """The elements of a loss as they are, or their mean, sum, or sum divided by the number of samples."""
    if reduction in ("none", "mean"):
        return elements if reduction == "none" else ops.mean(elements)
    total = ops.sum(elements)
    return total / math.prod(elements.shape[:1]) if reduction == "batchmean" else total


@in_float32
def _reduced(input: Any, target: Any, elements: Callable[[Any, Any], Any], reduction: str) -> Any:
    return reduce_elements(elements(input, target), reduction)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(input - target)^2. "mean" averages over all elements: samples, channels and pixels alike.

    The gradient is 2 (input - target), for the mean divided by the number of elements. Mean and sum are dot products.
    """
    return _mse(*operands_of("mse_loss", input, target, reduction), reduction)


@in_float32
def _mse(input: Any, target: Any, reduction: str) -> Any:
    difference = input - target
    if reduction == "none":
        return difference * difference
    return ops.sum_of_squares(difference, 1.0 if reduction == "sum" else 1 / difference.size)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """|input - target|. "mean" averages over all elements: samples, channels and pixels alike."""
    return _reduced(*operands_of("l1_loss", input, target, reduction), lambda x, t: abs(x - t), reduction)


@primitive(
    input=lambda g, input, target: g * (input - target) / ops.maximum(input * (1 - input), 1e-12),
    target=lambda g, input: g * _clamped_log_odds(input),
)
def bernoulli_nll(input: Array, target: Array) -> Array:
    """-(t log x + (1 - t) log(1 - x)) of each element, with both logarithms at least -100."""
    with np.errstate(divide="ignore", invalid="ignore"):  # log(0) is clamped; x outside [0, 1] gives NaN, checked later
        log_p, log_q = ops.maximum(ops.log(input), -100.0), ops.maximum(log_1_plus(-input), -100.0)
    return target * (log_q - log_p) - log_q


def _clamped_log_odds(x: Any) -> Any:
    with np.errstate(divide="ignore"):
        return ops.maximum(ops.log1p(-x), -100.0) - ops.maximum(ops.log(x), -100.0)


def binary_cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Any:
    """-(t log x + (1 - t) log(1 - x)), with both logarithms at least -100, as in PyTorch.

    "mean" averages over all elements: samples, channels and pixels alike. The gradient of an element is
    (x - t) / max(x (1 - x), 1e-12). Raises ValueError for values outside [0, 1].
    """
    target = probabilities("binary_cross_entropy: target", target, "scale the data to [0, 1]")
    input, target = operands_of("binary_cross_entropy", input, target, reduction)
    loss = _reduced(input, target, bernoulli_nll, reduction)
    # The logarithm of a negative number makes the sum NaN. Only a NaN makes the search for that number worth its time.
    if seen(lambda: math.isnan(data_of(loss).sum())):
        advice = "pass logits to binary_cross_entropy_with_logits"
        clamped = probabilities("binary_cross_entropy: input", input, advice)
        if clamped is not input:
            return _reduced(clamped, target, bernoulli_nll, reduction)
    return loss


def probabilities(what: str, values: Any, advice: str) -> Any:
    """Values in [0, 1]. Values beyond by a few rounding errors are clipped. Raises ValueError for other values."""
    values = operand(values, what)
    if not seen(lambda: _outside(values)):
        return values
    if _outside(values, margin=rounding(values.dtype) if values.dtype.kind == "f" else 0.0):
        raise ValueError(f"{what} ranges over {_range(values)}; expected [0, 1]: {advice}")
    return ops.clip(values, 0.0, 1.0)


def _outside(values: Any, margin: float = 0.0) -> bool:
    """Whether a value is out of [0, 1] by more than `margin`; NaN is not."""
    data = data_of(values)
    return bool(data.size) and bool((data.min() < -margin) | (data.max() > 1 + margin))


def _range(values: Any) -> str:
    """The least and the greatest value."""
    data = data_of(values)
    return f"[{_digits(float(data.min()))}, {_digits(float(data.max()))}]"


def _digits(number: float) -> str:
    """Six digits, or nine digits where six digits would round the number to 0 or 1."""
    text = f"{number:.6g}"
    return text if float(text) not in (0.0, 1.0) or number == float(text) else f"{number:.9g}"


def binary_cross_entropy_with_logits(input: Any, target: Any, reduction: str = "mean") -> Any:
    """binary_cross_entropy(sigmoid(x), t) = softplus(x) - t x, exact for any logit.

    "mean" averages over all elements: samples, channels and pixels alike.
    """
    target = probabilities("binary_cross_entropy_with_logits: target", target, "scale the data to [0, 1]")
    input, target = operands_of("binary_cross_entropy_with_logits", input, target, reduction)
    return _reduced(input, target, bernoulli_nll_of_logits, reduction)


@primitive(input=lambda g, input, target: g * (ops.sigmoid(input) - target), target=lambda g, input: -g * input)
def bernoulli_nll_of_logits(input: Array, target: Array) -> Array:
    """bernoulli_nll(sigmoid(x), t) of each element."""
    return ops.softplus(input) - target * input


@in_float32
def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """t (log t - input), where `input` is a log-probability, as in PyTorch. t = 0 contributes 0.

    With `log_target=True` the target is a log-probability too. "mean" averages over all elements. "batchmean" divides
    the sum by the length of the first axis, which gives the mathematical KL divergence, averaged over the samples.
    """
    input, target = operands_of("kl_div", input, target, reduction, "batchmean")
    if log_target:
        p = ops.exp(target)
        elements = p * (ops.where(p > 0, target, 0.0) - ops.where(p > 0, input, 0.0))
    else:
        elements = _x_log_x(target) - target * ops.where(target == 0, 0.0, input)
    return reduce_elements(elements, reduction)


@primitive(x=lambda g, x: g * (ops.log(x) + 1))
def _x_log_x(x: Array) -> Array:
    return x * xp_of(x).log(x + (x == 0))


@in_float32
def cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Any:
    """-log softmax(input)[label]: `input` (N, C) or (N, C, ...) logits, `target` (N) or (N, ...) labels.

    "mean" averages over all labels: over the samples, and over the pixels where each pixel has a label.
    """
    check_reduction("cross_entropy", reduction)
    input, labels = operand(input, "cross_entropy: the input"), data_of(operand(target, "cross_entropy: the labels"))
    if labels.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: labels are {labels.dtype}; expected integers: use .astype('int64')")
    if input.ndim < 2 or labels.shape != (*input.shape[:1], *input.shape[2:]):
        wanted = "expected (N, C) or (N, C, ...) and the same without C"
        raise ValueError(f"cross_entropy: logits have shape {input.shape}, labels {labels.shape}; {wanted}")
    classes = input.shape[1]
    if labels.size and seen((labels.min() < 0) | (labels.max() >= classes)):
        raise ValueError(f"cross_entropy: labels in [{labels.min()}, {labels.max()}]; expected 0 to {classes - 1}")
    logits = ops.transpose(input, (0, *range(2, input.ndim), 1)) if input.ndim > 2 else input
    rows = xp_of(labels).arange(labels.size)
    log_p = ops.reshape(ops.log_softmax(logits, -1), (-1, classes))
    picked = ops.getitem(log_p, (rows, labels.reshape(-1).astype(np.int64)))
    return reduce_elements(-ops.reshape(picked, labels.shape), reduction)


@in_float32
def gaussian_kl(mu: Any, logvar: Any, reduction: str = "mean") -> Any:
    """KL(N(mu, exp(logvar)) || N(0, 1)) = (mu^2 + exp(logvar) - 1 - logvar) / 2 (Kingma & Welling 2014, app. B).

    "mean" averages over samples and code units, which is the KL divergence of a sample divided by the code size.
    "batchmean" sums over the code units and averages over the samples. A variational autoencoder needs this one, beside
    a reconstruction term that is summed over the features too:

        loss = F.mse_loss(output, x, "sum") / len(x) + beta * F.gaussian_kl(mu, logvar, "batchmean")
    """
    mu, logvar = operands_of("gaussian_kl", mu, logvar, reduction, "batchmean")
    return reduce_elements(0.5 * (mu * mu + ops.expm1(logvar) - logvar), reduction)


def bernoulli_kl(rho: Any, rho_hat: Any, reduction: str = "mean") -> Any:
    """KL between coins: rho log(rho / rho_hat) + (1 - rho) log((1 - rho) / (1 - rho_hat)).

    `rho` is a number or has the shape of `rho_hat`. Both lie in (0, 1). "mean" averages over all elements, the code
    units. Raises ValueError for values outside.
    """
    check_reduction("bernoulli_kl", reduction)
    rho_hat, rho = operand(rho_hat, "bernoulli_kl: rho_hat"), operand(rho, "bernoulli_kl: rho")
    if rho.shape not in ((), rho_hat.shape):
        raise ValueError(f"bernoulli_kl: rho has shape {rho.shape}, rho_hat {rho_hat.shape}; they must be equal")
    for name, values in (("rho", rho), ("rho_hat", rho_hat)):
        data = data_of(values)
        if data.size and seen(lambda: data.min() <= 0 or data.max() >= 1):  # noqa: B023
            margin = "1e-3" if values.dtype == np.float16 else "1e-7"
            wanted = f"probabilities in (0, 1): hold it off the ends with F.clip({name}, {margin}, 1 - {margin})"
            raise ValueError(f"bernoulli_kl: {name} ranges over {_range(values)}; expected {wanted}")
    number = not isinstance(rho, Tensor) and rho.ndim == 0
    return _reduced(rho_hat, rho.item() if number else rho.astype(rho_hat.dtype), _bernoulli_kl, reduction)


def _bernoulli_kl(rho_hat: Any, rho: Any) -> Any:
    log_p, log_q = (math.log(rho), math.log1p(-rho)) if isinstance(rho, float) else (ops.log(rho), ops.log1p(-rho))
    return rho * (log_p - ops.log(rho_hat)) + (1 - rho) * (log_q - ops.log1p(-rho_hat))
