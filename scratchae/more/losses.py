"""Losses that few models need, and the options of those in `scratchae.losses` that few models need.

Conventions and numbers are PyTorch's, where PyTorch has the loss. Input and target have equal shapes, and never
broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae import losses as core
from scratchae.autograd import ops
from scratchae.autograd.precision import in_float32
from scratchae.autograd.tensor import data_of, operand
from scratchae.backend import Array, device_of, is_array, seen, to_device
from scratchae.checks import check_bool, check_count, check_number
from scratchae.losses import check_reduction, operands_of, probabilities, reduce_elements

# --- the losses of the core, with all their options -----------------------------------------------


def cross_entropy(
    input: Any, target: Any, reduction: str = "mean", *, weight: Any = None, ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Any:  # fmt: skip
    """-log softmax(input)[label]: `input` (N, C) or (N, C, ...) logits, `target` (N) or (N, ...) labels.

    Args:
        input, target: logits, and integer labels from 0 to C - 1.
        reduction: "mean" averages over the labels that are not ignored, each with the weight of its class: over the
            samples, and over the pixels where each pixel has a label. "sum", or "none", in the shape of `target`.
        weight: (C), a factor for each class.
        ignore_index: a label that counts as none. Its element of the loss is 0.
        label_smoothing: in [0, 1], the share of the target that is spread evenly over all classes.

    Raises ValueError for other labels, shapes and options, and for a mean where all labels are ignored.
    """
    check_reduction("cross_entropy", reduction)
    input, target = operand(input, "cross_entropy: the input"), operand(target, "cross_entropy: the labels")
    ignore_index = check_count("cross_entropy: ignore_index", ignore_index, least=-(2**63))
    smoothing = check_number("cross_entropy: label_smoothing", label_smoothing, "[0, 1]")
    labels = data_of(target)
    if labels.dtype.kind not in "iu":
        return core.cross_entropy(input, labels, reduction)  # raises the error
    if labels.size == 0 and reduction == "mean":
        raise ValueError(f"cross_entropy: there are no labels, {labels.shape}, and nothing has no mean")
    counted = labels.astype(np.int64) != ignore_index
    # A recorded step on a GPU cannot branch on its labels.
    if weight is None and not smoothing and isinstance(labels, np.ndarray) and counted.all():
        return core.cross_entropy(input, labels, reduction)
    if weight is not None:
        weight = _numbers_like(input, weight, "cross_entropy: the weight")
        if input.ndim < 2 or weight.shape != input.shape[1:2]:
            wanted = f"expected {input.shape[1:2]}, a number for each class of the input {input.shape}"
            raise ValueError(f"cross_entropy: the weight has shape {weight.shape}; {wanted}")
    counted, labels = (to_device(a, device_of(data_of(input))) for a in (counted, labels * counted))
    return _cross_entropy(input, labels, counted, weight, smoothing, reduction)


@in_float32
def _cross_entropy(input: Any, labels: Array, counted: Array, weight: Any, smoothing: float, reduction: str) -> Any:
    """Of each label y: (1 - s) w_y (-log p_y) + s / C sum_c w_c (-log p_c). A mean is divided by the mean of w_y."""
    elements = core.cross_entropy(input, labels, "none")
    weights = counted.astype(input.dtype)
    if weight is not None:
        weights = ops.multiply(weights, ops.getitem(weight, labels.astype(np.int64)))
        elements = ops.multiply(weights, elements)
    if smoothing:
        surprises = -ops.log_softmax(input, 1)
        if weight is not None:
            surprises = ops.multiply(surprises, ops.reshape(weight, (-1, *(1,) * (input.ndim - 2))))
        elements = (1 - smoothing) * elements + smoothing * ops.mean(surprises, 1)
    elements = ops.where(counted, elements, 0.0)
    if reduction != "mean":
        return reduce_elements(elements, reduction)
    mean_weight = ops.batch_mean(weights)  # over the whole batch, where several processes have a part each
    if seen(lambda: not data_of(mean_weight)):
        raise ValueError("cross_entropy: all labels are ignored, or of weight 0, and nothing has no mean")
    return ops.divide(ops.mean(elements), mean_weight)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, reduction: str = "mean", *, weight: Any = None, pos_weight: Any = None
) -> Any:
    """binary_cross_entropy(sigmoid(x), t) = softplus(x) - t x, exact for any logit.

    Args:
        input, target: logits, and targets in [0, 1], of one shape.
        reduction: "mean" averages over all elements, and does not divide by the weights. "sum", or "none".
        weight: a factor for each element.
        pos_weight: a factor for the term with t, such as the number of negatives for each positive.

    `weight` and `pos_weight` are numbers or arrays that broadcast to the shape of the input. Raises ValueError for
    others, and for targets outside [0, 1].
    """
    if weight is None and pos_weight is None:
        return core.binary_cross_entropy_with_logits(input, target, reduction)
    name = "binary_cross_entropy_with_logits"
    target = probabilities(f"{name}: target", target, "scale the data to [0, 1]")
    input, target = operands_of(name, input, target, reduction)
    factors = [_factor(f"{name}: {which}", w, input) for which, w in (("weight", weight), ("pos_weight", pos_weight))]
    return _weighted_logits(input, target, *factors, reduction)


def _factor(what: str, values: Any, like: Any) -> Any:
    """`values` as numbers like `like`, to whose shape they must broadcast; None stays None."""
    if values is None:
        return None
    values = _numbers_like(like, values, what)
    fits = values.ndim <= like.ndim and all(
        n in (1, m) for n, m in zip(reversed(values.shape), reversed(like.shape), strict=False)
    )
    if not fits:
        raise ValueError(f"{what} has shape {values.shape}, which does not broadcast to the input's {like.shape}")
    return values


def _numbers_like(like: Any, given: Any, what: str) -> Any:
    """`given` in the dtype of `like`. Numbers that are no array yet go to the device of `like`."""
    values = operand(given, what)
    here = values if is_array(data_of(given)) else to_device(values, device_of(data_of(like)))
    return here.astype(like.dtype)


@in_float32
def _weighted_logits(input: Any, target: Any, weight: Any, pos_weight: Any, reduction: str) -> Any:
    if pos_weight is None:
        elements = core.bernoulli_nll_of_logits(input, target)
    else:
        positive = ops.multiply(pos_weight, ops.multiply(target, ops.softplus(-input)))
        elements = positive + ops.multiply(1 - target, ops.softplus(input))
    return reduce_elements(elements if weight is None else ops.multiply(weight, elements), reduction)


# --- losses of (input, target) --------------------------------------------------------------------


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """d^2 / 2 where |d| = |input - target| is at most `delta`, and delta (|d| - delta / 2) elsewhere (Huber 1964).

    "mean" averages over all elements: samples, channels and pixels alike. Raises ValueError for `delta` of 0 or below.
    """
    delta = check_number("huber_loss: delta", delta, "(0, inf)")
    return _huber(*operands_of("huber_loss", input, target, reduction), delta, 1.0, reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """d^2 / (2 beta) where |d| = |input - target| is below `beta`, and |d| - beta / 2 elsewhere (Girshick 2015).

    This is huber_loss / beta, and l1_loss where `beta` is 0. "mean" averages over all elements: samples, channels and
    pixels alike. Raises ValueError for `beta` below 0.
    """
    beta = check_number("smooth_l1_loss: beta", beta)
    operands = operands_of("smooth_l1_loss", input, target, reduction)
    return _huber(*operands, beta, 1 / beta, reduction) if beta else core.l1_loss(*operands, reduction)


@in_float32
def _huber(input: Any, target: Any, delta: float, scale: float, reduction: str) -> Any:
    difference = input - target
    slope = ops.clip(difference, -delta, delta)
    return reduce_elements(slope * (difference - 0.5 * slope) * scale, reduction)


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    """(log v + (input - target)^2 / v) / 2: -log of a normal density of mean `input` and variance `var`.

    Args:
        input, target: means and observations, of one shape.
        var: variances. One number, or the shape of the input, in which one axis may be 1. The last axis may be missing.
        full: add the constant log(2 pi) / 2.
        eps: the least variance: v is max(var, eps). The gradient is that of v, also where `var` is below.
        reduction: "mean" averages over all elements: samples and features alike. "sum", or "none".

    Raises ValueError for a negative variance, and for other shapes and options.
    """
    full, eps = check_bool("gaussian_nll_loss: full", full), check_number("gaussian_nll_loss: eps", eps, "(0, inf)")
    input, target = operands_of("gaussian_nll_loss", input, target, reduction)
    var = _numbers_like(input, var, "gaussian_nll_loss: var")
    if var.ndim and var.shape == input.shape[:-1]:
        var = ops.expand_dims(var, -1)
    odd = [n for n, m in zip(var.shape, input.shape, strict=False) if n != m]
    if var.ndim and (var.ndim != input.ndim or odd not in ([], [1])):
        wanted = "expected a number, that shape with at most one axis of 1 instead, or that shape without its last axis"
        raise ValueError(f"gaussian_nll_loss: var has shape {var.shape}, the input {input.shape}; {wanted}")
    if var.size and seen((data_of(var) < 0).any()):
        raise ValueError(f"gaussian_nll_loss: var goes down to {data_of(var).min()}; expected variances of at least 0")
    return _gaussian_nll(input, target, var, eps, 0.5 * math.log(2 * math.pi) if full else 0.0, reduction)


@in_float32
def _gaussian_nll(input: Any, target: Any, var: Any, eps: float, constant: float, reduction: str) -> Any:
    below = eps - data_of(var)
    var = var + below * (below > 0)  # a constant, so that a variance below `eps` has a gradient that raises it
    difference = input - target
    return reduce_elements(0.5 * (ops.log(var) + difference * difference / var) + constant, reduction)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along axis `dim`, which the result has no more. No mean is taken.

    `x1` and `x2` broadcast, as in PyTorch. Raises ValueError for an axis that the broadcast shape has not.
    """
    dim = check_count("cosine_similarity: dim", dim, least=-64)
    eps = check_number("cosine_similarity: eps", eps)
    x1, x2 = operand(x1, "cosine_similarity: x1"), operand(x2, "cosine_similarity: x2")
    for name, x in (("x1", x1), ("x2", x2)):
        if x.dtype.kind != "f":
            raise TypeError(f"cosine_similarity: {name} is {x.dtype}; convert it with .astype('float32')")
    try:
        shape = np.broadcast_shapes(x1.shape, x2.shape)
    except ValueError:
        advice = "they must broadcast to one shape"
        raise ValueError(f"cosine_similarity: x1 has shape {x1.shape}, x2 {x2.shape}; {advice}") from None
    if not -len(shape) <= dim < len(shape):
        raise ValueError(f"cosine_similarity: dim={dim} for shape {shape}; expected one of its {len(shape)} axes")
    return _cosine(ops.broadcast_to(x1, shape), ops.broadcast_to(x2, shape), dim, eps)


@in_float32
def _cosine(x1: Any, x2: Any, dim: int, eps: float) -> Any:
    directions = [x / ops.maximum(ops.norm(x, dim, keepdims=True), eps) for x in (x1, x2)]
    return ops.sum(directions[0] * directions[1], dim)


def continuous_bernoulli_nll(input: Any, target: Any, reduction: str = "mean") -> Any:
    """-log of the continuous Bernoulli density C(x) x^t (1 - x)^(1 - t) of targets in [0, 1].

    C(x) = 2 artanh(1 - 2 x) / (1 - 2 x), and C(1/2) = 2. Binary cross-entropy lacks this factor, and is no likelihood
    for targets between 0 and 1. `input` is the parameter x in [0, 1], such as the output of a sigmoid; 0 and 1 count
    as their next neighbours inside. The mean of the density is not x but m, which `continuous_bernoulli_mean` gives,
    and the gradient of an element is (m - t) / (x (1 - x)).

    "mean" averages over all elements: samples, channels and pixels alike.

    Source: G. Loaiza-Ganem, J. Cunningham, "The continuous Bernoulli: fixing a pervasive error in variational
    autoencoders", NeurIPS 2019. Raises ValueError for values outside [0, 1].
    """
    name = "continuous_bernoulli_nll"
    input = probabilities(f"{name}: input", input, "end the decoder in a sigmoid")
    target = probabilities(f"{name}: target", target, "scale the data to [0, 1]")
    return _continuous_bernoulli(*operands_of(name, input, target, reduction), reduction)


def continuous_bernoulli_mean(x: Any) -> Any:
    """The mean x / (2 x - 1) + 1 / (2 artanh(1 - 2 x)) of the continuous Bernoulli density, and 1/2 for x = 1/2.

    `x` is the parameter in [0, 1], as for `continuous_bernoulli_nll`. The mean lies between x and 1/2. Raises
    ValueError for values outside [0, 1].
    """
    x = probabilities("continuous_bernoulli_mean: x", x, "end the decoder in a sigmoid")
    if x.dtype.kind != "f":
        raise TypeError(f"continuous_bernoulli_mean: x is {x.dtype}; convert it with .astype('float32')")
    return _continuous_bernoulli_mean(x)


def as_means(formula: Callable[..., Any]) -> Callable[..., Any]:
    """Let `Autoencoder._visible` give the means of the densities under `continuous_bernoulli_nll`."""

    def visible(model: Any, out: Any) -> Any:
        is_density = model._loss_function is continuous_bernoulli_nll
        return continuous_bernoulli_mean(out) if is_density else formula(model, out)

    return visible


@in_float32
def _continuous_bernoulli_mean(x: Any) -> Any:
    """With the log-odds l, the mean is 1 / (1 - exp(-l)) - 1 / l; near l = 0 the derivative of the series below."""
    log_odds = _log_odds(x)
    near = abs(data_of(log_odds)) < 1
    small, large = ops.where(near, log_odds, 0.0), ops.where(near, 1.0, log_odds)
    square = small * small
    series = 2 * len(_SERIES) * _SERIES[-1]
    for n in range(len(_SERIES) - 1, 0, -1):
        series = series * square + 2 * n * _SERIES[n - 1]
    return ops.where(near, 0.5 + series * small, -1 / ops.expm1(-large) - 1 / large)


@in_float32
def _continuous_bernoulli(input: Any, target: Any, reduction: str) -> Any:
    """With the log-odds l, the density is exp(l (t - 1/2)) (l / 2) / sinh(l / 2)."""
    log_odds = _log_odds(input)
    return reduce_elements(log_odds * (0.5 - target) + _log_sinh_ratio(log_odds), reduction)


def _log_odds(x: Any) -> Any:
    """log(x / (1 - x)), where 0 and 1 count as their next neighbours inside."""
    limits = np.finfo(x.dtype)
    x = ops.clip(x, float(limits.tiny), 1 - float(limits.epsneg))
    return ops.log(x) - ops.log1p(-x)


_BERNOULLI_NUMBERS = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798)
_SERIES = [b / (2 * n * math.factorial(2 * n)) for n, b in enumerate(_BERNOULLI_NUMBERS, 1)]


def _log_sinh_ratio(x: Any) -> Any:
    """log(sinh(x / 2) / (x / 2)).

    Near 0, the formula would lose all digits of its derivatives, and a series takes over. The series is
    sum B_2n x^2n / (2n (2n)!), with the Bernoulli numbers B_2n.
    """
    near = abs(data_of(x)) < 1
    square = ops.where(near, x, 0.0) ** 2
    series = _SERIES[-1] * square
    for coefficient in reversed(_SERIES[:-1]):
        series = (series + coefficient) * square
    size = abs(ops.where(near, 1.0, x))
    return ops.where(near, series, size / 2 + ops.log1p(-ops.exp(-size)) - ops.log(size))
