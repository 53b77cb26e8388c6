"""The operators, one line each: name, function of Tensors, its closed form in NumPy, and its inputs.

An input is `real`, `positive` or `unit` (0 to 1) with a shape; `(...)` in its place means any shape, and
the line is then run for each of `SHAPES`. Real inputs keep away from 0, where some functions have a kink.
The first word of a name is the function's in `scratchae.functional`, or the operator's spelling.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import naive
import numpy as np

import scratchae as sa
from scratchae import functional as F

SHAPES = [(3, 4), (), (1, 3, 1), (0, 3)]


class Input(NamedTuple):
    kind: str
    shape: tuple

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        low, high = {"real": (0.15, 2.0), "positive": (0.3, 2.0), "unit": (0.1, 0.9)}[self.kind]
        # Numbers that float32 holds exactly, so that both precisions compute from the same.
        x = np.asarray(rng.uniform(low, high, self.shape)).astype(np.float32).astype(np.float64)
        return x * rng.choice([-1.0, 1.0], self.shape) if self.kind == "real" else x


class Op(NamedTuple):
    name: str
    f: Callable[..., Any]
    reference: Callable[..., Any]
    inputs: tuple[Input, ...]
    empty: bool = True  # defined for no elements too
    differentiable: bool = True

    def arrays(self, dtype: Any = np.float64) -> list[np.ndarray]:
        rng = np.random.default_rng(len(self.name))
        return [i.draw(rng).astype(dtype) for i in self.inputs]


def real(*shape: Any) -> Input:
    return Input("real", shape)


def positive(*shape: Any) -> Input:
    return Input("positive", shape)


def unit(*shape: Any) -> Input:
    return Input("unit", shape)


def op(name: str, f: Callable, reference: Callable, *inputs: Input, **notes: bool) -> Op:
    return Op(name, f, reference, inputs, **notes)


# --- closed forms that NumPy does not have under one name -----------------------------------------

_phi = np.vectorize(lambda x: math.erfc(-x / math.sqrt(2)) / 2, otypes=[float])


def _lse(x: np.ndarray, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


def _norm(x: np.ndarray, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    return np.sqrt((x**2).sum(axis=axis, keepdims=keepdims))


def _seeded_dropout(x: Any) -> Any:
    sa.manual_seed(3)
    return F.dropout(x, 0.25)


def _kept(x: np.ndarray) -> np.ndarray:
    return np.random.default_rng(3).random(x.shape, np.float32) >= 0.25


def _bce(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    return -(t * np.log(x) + (1 - t) * np.log(1 - x))


def _cross_entropy(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return -np.take_along_axis(x - _lse(x, 1, True), np.expand_dims(labels, 1), 1).squeeze(1).mean()


def _smoothed_cross_entropy(x: np.ndarray, labels: np.ndarray, w: np.ndarray, ignored: int, share: float) -> Any:
    """Label by label: the cross entropy to (1 - share) of the label and share / C of each class, weighted by class."""
    surprises = np.moveaxis(w.reshape(-1, *[1] * (x.ndim - 2)) * (_lse(x, 1, True) - x), 1, -1).reshape(-1, x.shape[1])
    kept = [(row, y) for row, y in zip(surprises, labels.ravel(), strict=True) if y != ignored]
    return sum((1 - share) * row[y] + share * row.mean() for row, y in kept) / sum(float(w[y]) for _, y in kept)


def _huber(d: np.ndarray, delta: float) -> np.ndarray:
    return np.where(abs(d) <= delta, d**2 / 2, delta * (abs(d) - delta / 2))


def _coins(p: Any, q: np.ndarray) -> np.ndarray:
    return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))


ROW = np.array([0.5, -1.5, 2.0, 0.25], np.float32)
MASK = np.array([[1, 0, 1, 1], [0, 0, 1, 0], [1, 1, 0, 0]], bool)
LABELS = np.array([2, 0, 3])
PIXELS = np.array([[2, 0], [3, 3], [1, 0]])
M, CUBE = (3, 4), (3, 4, 2)

# --- the table ------------------------------------------------------------------------------------

TABLE = [
    op("add", F.add, np.add, real(...), real(...)),
    op("subtract", F.subtract, np.subtract, real(...), real(...)),
    op("multiply", F.multiply, np.multiply, real(...), real(...)),
    op("divide", F.divide, np.divide, real(...), real(...)),
    op("power", F.power, np.power, positive(...), real(...)),
    op("+ broadcast", lambda x, y: x + y, np.add, real(2, 3, 1), real(4)),
    op("- broadcast", lambda x, y: x - y, np.subtract, real(), real(3, 4)),
    op("* broadcast", lambda x, y: x * y, np.multiply, real(3, 1), real(2, 1, 4)),
    op("/ broadcast", lambda x, y: x / y, np.divide, real(1, 4), real(3, 1)),
    op("** broadcast", lambda x, y: x**y, np.power, positive(3, 1), real(4)),
    op("+ number", lambda x: x + 2, lambda x: x + 2, real(...)),
    op("+ reflected", lambda x: 2 + x, lambda x: 2 + x, real(...)),
    op("- reflected", lambda x: 2 - x, lambda x: 2 - x, real(...)),
    op("* reflected", lambda x: 2 * x, lambda x: 2 * x, real(...)),
    op("/ reflected", lambda x: 2 / x, lambda x: 2 / x, real(...)),
    op("** reflected", lambda x: 2**x, lambda x: 2**x, real(...)),
    op("** square", lambda x: x**2, np.square, real(...)),
    op("** reciprocal root", lambda x: x**-0.5, lambda x: 1 / np.sqrt(x), positive(...)),
    op("ndarray +", lambda x: ROW + x, lambda x: ROW + x, real(*M)),
    op("ndarray -", lambda x: ROW - x, lambda x: ROW - x, real(*M)),
    op("ndarray *", lambda x: ROW * x, lambda x: ROW * x, real(*M)),
    op("ndarray /", lambda x: ROW / x, lambda x: ROW / x, real(*M)),
    op("ndarray **", lambda x: abs(ROW) ** x, lambda x: abs(ROW) ** x, real(*M)),
    op("ndarray @", lambda x: ROW @ x, lambda x: ROW @ x, real(4, 2)),
    op("negative", F.negative, np.negative, real(...)),
    op("- in front", lambda x: -x, np.negative, real(...)),
    op("sign", F.sign, np.sign, real(...), differentiable=False),
    op("sum_of_squares", F.sum_of_squares, lambda x: (x**2).sum(), real(...)),
    op("conv2d", lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=1, dilation=(1, 2), groups=2),
       lambda x, w, b: naive.conv2d(x, w, b, (2, 1), (1, 1), (1, 2), 2), real(2, 4, 5, 6), real(6, 2, 3, 2), real(6)),
    op("conv2d same", lambda x, w: F.conv2d(x, w, padding="same"),
       lambda x, w: naive.conv2d(np.pad(x, ((0, 0), (0, 0), (1, 2), (1, 1))), w), real(2, 2, 4, 5), real(3, 2, 4, 3)),
    op("conv_transpose2d", lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, (1, 0)),
       lambda x, w, b: naive.conv_transpose2d(x, w, b, 2, 1, (1, 0)), real(2, 3, 3, 4), real(3, 2, 3, 3), real(2)),
    op("conv1d", lambda x, w, b: F.conv1d(x, w, b, stride=2, padding=1, dilation=2, groups=2),
       lambda x, w, b: naive.conv2d(x[:, :, None], w[:, :, None], b, (1, 2), (0, 1), (1, 2), 2)[:, :, 0],
       real(2, 4, 8), real(6, 2, 3), real(6)),
    op("conv1d no series", lambda x, w: F.conv1d(x, w, padding="same"), lambda x, w: np.zeros((0, 3, 5)),
       real(0, 2, 5), real(3, 2, 4)),
    op("conv_transpose1d", lambda x, w, b: F.conv_transpose1d(x, w, b, 2, 1, 1),
       lambda x, w, b: naive.conv_transpose2d(x[:, :, None], w[:, :, None], b, (1, 2), (0, 1), (0, 1))[:, :, 0],
       real(2, 3, 4), real(3, 2, 3), real(2)),
    op("max_pool1d", lambda x: F.max_pool1d(x, 3, 2, 1),
       lambda x: naive.pool(x[:, :, None], (1, 3), (1, 2), (0, 1), np.max, -np.inf)[:, :, 0], real(2, 2, 6)),
    op("avg_pool1d", lambda x: F.avg_pool1d(x, 3, 2),
       lambda x: naive.pool(x[:, :, None], (1, 3), (1, 2), 0, np.mean, 0)[:, :, 0], real(2, 2, 6)),
    op("max_pool2d", lambda x: F.max_pool2d(x, 3, 2, 1), lambda x: naive.pool(x, 3, 2, 1, np.max, -np.inf),
       real(2, 2, 5, 6)),
    op("avg_pool2d", lambda x: F.avg_pool2d(x, (2, 3), (1, 2)), lambda x: naive.pool(x, (2, 3), (1, 2), 0, np.mean, 0),
       real(2, 2, 4, 5)),
    op("upsample nearest", lambda x: F.upsample(x, (2, 3)), lambda x: x.repeat(2, 2).repeat(3, 3), real(2, 2, 2, 3)),
    op("upsample bilinear", lambda x: F.upsample(x, 2, "bilinear"), naive.bilinear_twice, real(2, 2, 3, 2)),
    op("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), naive.pixel_shuffle_two, real(2, 8, 2, 3)),
    op("pixel_unshuffle", lambda x: F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2), lambda x: x, real(2, 1, 4, 6)),
    op("abs", F.abs, np.abs, real(...)),
    op("maximum", F.maximum, np.maximum, real(...), real(...)),
    op("maximum number", lambda x: F.maximum(x, 0.5) + F.maximum(-0.5, x),
       lambda x: np.maximum(x, 0.5) + np.maximum(x, -0.5), real(...)),
    op("minimum", F.minimum, np.minimum, real(...), real(...)),
    op("minimum broadcast", F.minimum, np.minimum, real(3, 1), real(4)),
    op("clip", lambda x: F.clip(x, -0.7, 0.9), lambda x: np.clip(x, -0.7, 0.9), real(...)),
    op("clip one side", lambda x: F.clip(x, max=0.3) - F.clip(x, 0.4),
       lambda x: np.minimum(x, 0.3) - np.maximum(x, 0.4), real(...)),
    op("where", lambda x, y: F.where(MASK, x, y), lambda x, y: np.where(MASK, x, y), real(*M), real(4)),
    op("where number", lambda x: F.where(x > 0.5, x, -1.0), lambda x: np.where(x > 0.5, x, -1.0), real(...)),
    op("exp", F.exp, np.exp, real(...)),
    op("expm1", F.expm1, np.expm1, real(...)),
    op("log", F.log, np.log, positive(...)),
    op("log1p", F.log1p, np.log1p, positive(...)),
    op("log2", F.log2, np.log2, positive(...)),
    op("log10", F.log10, np.log10, positive(...)),
    op("square", F.square, np.square, real(...)),
    op("sqrt", F.sqrt, np.sqrt, positive(...)),
    op("sin", F.sin, np.sin, real(...)),
    op("cos", F.cos, np.cos, real(...)),
    op("tan", F.tan, np.tan, unit(...)),
    op("tanh", F.tanh, np.tanh, real(...)),
    op("sigmoid", F.sigmoid, lambda x: 1 / (1 + np.exp(-x)), real(...)),
    op("softplus", F.softplus, lambda x: np.log(1 + np.exp(x)), real(...)),
    op("relu", F.relu, lambda x: np.where(x > 0, x, 0), real(...)),
    op("leaky_relu", lambda x: F.leaky_relu(x, 0.2), lambda x: np.where(x > 0, x, 0.2 * x), real(...)),
    op("elu", lambda x: F.elu(x, 1.3), lambda x: np.where(x > 0, x, 1.3 * (np.exp(x) - 1)), real(...)),
    op("elu below 0", lambda x: F.elu(x, -0.7), lambda x: np.where(x > 0, x, -0.7 * (np.exp(x) - 1)), real(...)),
    op("gelu", F.gelu, lambda x: x * _phi(x), real(...)),
    op("silu", F.silu, lambda x: x / (1 + np.exp(-x)), real(...)),
    op("hardtanh", lambda x: F.hardtanh(x, -0.7, 0.9), lambda x: np.clip(x, -0.7, 0.9), real(...)),
    op("astype", lambda x: F.astype(x, x.dtype) * 2, lambda x: x * 2, real(...)),
    op("dropout", _seeded_dropout, lambda x: _kept(x) * x / 0.75, real(...)),
    op("dropout eval", lambda x: 2 * F.dropout(x, 0.5, training=False), lambda x: 2 * x, real(...)),
    op("normal_like", lambda x: x * (abs(F.normal_like(x)) >= 0).astype(x.dtype), lambda x: x * 1, real(...)),
    # shapes and pieces
    op("reshape", lambda x: F.reshape(x, (2, -1)), lambda x: x.reshape(2, -1), real(*M)),
    op("reshape flat", lambda x: F.reshape(x, -1), np.ravel, real(...), empty=False),
    op("transpose", F.transpose, np.transpose, real(...)),
    op("transpose axes", lambda x: F.transpose(x, (-1, 0, 1)), lambda x: x.transpose(2, 0, 1), real(*CUBE)),
    op("swapaxes", lambda x: F.swapaxes(x, 0, -1), lambda x: x.swapaxes(0, 2), real(*CUBE)),
    op("squeeze", F.squeeze, np.squeeze, real(...)),
    op("squeeze axis", lambda x: F.squeeze(x, (0, -1)), lambda x: x[0, :, 0], real(1, 3, 1)),
    op("expand_dims", lambda x: F.expand_dims(x, (0, -1)), lambda x: x[None, ..., None], real(...)),
    op("broadcast_to", lambda x: F.broadcast_to(x, (2, 3, 4)), lambda x: np.broadcast_to(x, (2, 3, 4)), real(3, 1)),
    op("pad", lambda x: F.pad(x, [(1, 0), (2, 3)]), lambda x: np.pad(x, [(1, 0), (2, 3)]), real(*M)),
    *(op(f"pad {m} {w}", lambda x, w=w, m=m: F.pad(x, w, m), lambda x, w=w, m=m: np.pad(x, w, m), real(*M))
      for m in ("reflect", "edge", "wrap") for w in (((1, 0), (2, 3)), ((0, 0), (9, 8)))),
    op("pad wrap no rows", lambda x: F.pad(x, ((0, 0), (1, 2)), "wrap"),
       lambda x: np.pad(x, ((0, 0), (1, 2)), "wrap"), real(0, 3)),
    op("pad reflect one row", lambda x: F.pad(x, ((2, 1), (0, 0)), "reflect"),
       lambda x: np.pad(x, ((2, 1), (0, 0)), "edge"), real(1, 3)),
    op("flip", F.flip, np.flip, real(...)),
    op("flip axes", lambda x: F.flip(x, (0, -1)), lambda x: np.flip(x, (0, -1)), real(*CUBE)),
    op("roll", lambda x: F.roll(x, 2), lambda x: np.roll(x, 2), real(...)),
    op("roll axis", lambda x: F.roll(x, -5, 1), lambda x: np.roll(x, -5, 1), real(*CUBE)),
    op("roll axes", lambda x: F.roll(x, (1, -2), (0, -2)), lambda x: np.roll(x, (1, -2), (0, -2)), real(*CUBE)),
    op("repeat", lambda x: F.repeat(x, 2), lambda x: np.repeat(x, 2), real(...)),
    op("repeat axis", lambda x: F.repeat(x, 3, -2), lambda x: np.repeat(x, 3, -2), real(*CUBE)),
    op("repeat list", lambda x: F.repeat(x, [2, 0, 1], 0), lambda x: np.repeat(x, [2, 0, 1], 0), real(*CUBE)),
    op("tile", lambda x: F.tile(x, 2), lambda x: np.tile(x, 2), real(...)),
    op("tile more axes", lambda x: F.tile(x, (2, 1, 3)), lambda x: np.tile(x, (2, 1, 3)), real(...)),
    op("tile no copies", lambda x: F.tile(x, (0, 2)), lambda x: np.tile(x, (0, 2)), real(*M)),
    op("concatenate", lambda x, y: F.concatenate([x, y]), lambda x, y: np.concatenate([x, y]), real(2, 3), real(4, 3)),
    op("concatenate axis", lambda x, y: F.concatenate([x, y, x], -1),
       lambda x, y: np.concatenate([x, y, x], -1), real(2, 3), real(2, 0)),
    op("stack", lambda x, y: F.stack([x, y]), lambda x, y: np.stack([x, y]), real(...), real(...)),
    op("stack axis", lambda x, y: F.stack([x, y], -2), lambda x, y: np.stack([x, y], -2), real(*M), real(*M)),
    # products
    op("linear", F.linear, lambda x, w, b: x @ w.T + b, real(3, 4), real(5, 4), real(5)),
    op("linear no bias", F.linear, lambda x, w: x @ w.T, real(3, 4), real(5, 4)),
    op("linear one row", F.linear, lambda x, w, b: x @ w.T + b, real(4), real(5, 4), real(5)),
    op("linear more axes", F.linear, lambda x, w, b: x @ w.T + b, real(2, 1, 3, 4), real(5, 4), real(5)),
    op("linear no rows", F.linear, lambda x, w, b: x @ w.T + b, real(0, 4), real(5, 4), real(5)),
    # along an axis
    op("cumsum", F.cumsum, np.cumsum, real(...)),
    op("cumsum axis", lambda x: F.cumsum(x, -2), lambda x: x.cumsum(-2), real(*CUBE)),
    op("cumprod", F.cumprod, np.cumprod, real(...)),
    op("cumprod axis", lambda x: F.cumprod(x, -2), lambda x: x.cumprod(-2), real(*CUBE)),
    op("sort", F.sort, np.sort, real(*M)),
    op("sort axis", lambda x: F.sort(x, 0), lambda x: np.sort(x, 0), real(*CUBE)),
    op("sort flat", lambda x: F.sort(x, None), lambda x: np.sort(x, None), real(...)),
    op("argsort", F.argsort, np.argsort, real(*M), differentiable=False),
    op("argsort axis", lambda x: F.argsort(x, 0), lambda x: np.argsort(x, 0), real(*CUBE), differentiable=False),
    op("argsort flat", lambda x: F.argsort(x, None), lambda x: np.argsort(x, None), real(...), differentiable=False),
    op("take_along_axis", lambda x: F.take_along_axis(x, F.argsort(x, 1)[:, [0, 0, -1]], 1),
       lambda x: np.take_along_axis(x, np.argsort(x, 1)[:, [0, 0, -1]], 1), real(*CUBE)),
    op("take_along_axis broadcast", lambda x: F.take_along_axis(x, F.argsort(x[:1])[..., :1]),
       lambda x: np.take_along_axis(x, np.argsort(x[:1])[..., :1], -1), real(*M)),
    op("take_along_axis flat", lambda x: F.take_along_axis(x, F.argsort(x, None)[:1], None),
       lambda x: np.take_along_axis(x, np.argsort(x, None)[:1], None), real(...)),
    op("argmax", F.argmax, np.argmax, real(...), empty=False, differentiable=False),
    op("argmax axis", lambda x: F.argmax(x, -1), lambda x: x.argmax(-1), real(*M), differentiable=False),
    op("argmin", F.argmin, np.argmin, real(...), empty=False, differentiable=False),
    op("argmin axis", lambda x: F.argmin(x, 0), lambda x: x.argmin(0), real(*M), differentiable=False),
    op("softmax", F.softmax, lambda x: np.exp(x - _lse(x, -1, True)), real(*M)),
    op("softmax axis", lambda x: F.softmax(x, 0), lambda x: np.exp(x - _lse(x, 0, True)), real(*CUBE)),
    op("log_softmax", F.log_softmax, lambda x: x - _lse(x, -1, True), real(*M)),
    op("log_softmax axis", lambda x: F.log_softmax(x, 1), lambda x: x - _lse(x, 1, True), real(*CUBE)),
    # losses
    op("mse_loss", F.mse_loss, lambda x, y: ((x - y) ** 2).mean(), real(...), real(...), empty=False),
    op("mse_loss sum", lambda x, y: F.mse_loss(x, y, "sum"), lambda x, y: ((x - y) ** 2).sum(), real(...), real(...)),
    op("mse_loss none", lambda x, y: F.mse_loss(x, y, "none"), lambda x, y: (x - y) ** 2, real(...), real(...)),
    op("l1_loss", F.l1_loss, lambda x, y: np.abs(x - y).mean(), real(...), real(...), empty=False),
    op("binary_cross_entropy", lambda x, t: F.binary_cross_entropy(x, t, "none"), _bce, unit(...), unit(...)),
    op("binary_cross_entropy_with_logits", lambda x, t: F.binary_cross_entropy_with_logits(x, t, "none"),
       lambda x, t: _bce(1 / (1 + np.exp(-x)), t), real(...), unit(...)),
    op("binary_cross_entropy_with_logits weighted",
       lambda x, t: F.binary_cross_entropy_with_logits(x, t, "none", weight=ROW.tolist(), pos_weight=3),
       lambda x, t: ROW * (3 * t * np.log1p(np.exp(-x)) + (1 - t) * np.log1p(np.exp(x))), real(*M), unit(*M)),
    op("kl_div", lambda x, t: F.kl_div(x, t, "sum"), lambda x, t: (t * (np.log(t) - x)).sum(), real(...), unit(...)),
    op("kl_div log_target", lambda x, t: F.kl_div(x, t, "batchmean", log_target=True),
       lambda x, t: (np.exp(t) * (t - x)).sum() / 3, real(*M), real(*M)),
    op("cross_entropy", lambda x: F.cross_entropy(x, LABELS), lambda x: _cross_entropy(x, LABELS), real(*M)),
    op("cross_entropy pixels", lambda x: F.cross_entropy(x, PIXELS), lambda x: _cross_entropy(x, PIXELS), real(*CUBE)),
    op("cross_entropy weighted",
       lambda x: F.cross_entropy(x, LABELS, weight=abs(ROW).tolist(), ignore_index=0, label_smoothing=0.1),
       lambda x: _smoothed_cross_entropy(x, LABELS, abs(ROW), 0, 0.1), real(*M)),
    op("cross_entropy weighted pixels",
       lambda x: F.cross_entropy(x, PIXELS, weight=abs(ROW).tolist(), ignore_index=3, label_smoothing=0.2),
       lambda x: _smoothed_cross_entropy(x, PIXELS, abs(ROW), 3, 0.2), real(*CUBE)),
    op("huber_loss", lambda x, y: F.huber_loss(x, y, "none", 1.25), lambda x, y: _huber(x - y, 1.25),
       real(...), real(...)),
    op("smooth_l1_loss", lambda x, y: F.smooth_l1_loss(x, y, "none", 0.75), lambda x, y: _huber(x - y, 0.75) / 0.75,
       real(...), real(...)),
    op("gaussian_nll_loss", lambda m, x, v: F.gaussian_nll_loss(m, x, v, reduction="none"),
       lambda m, x, v: (np.log(v) + (x - m) ** 2 / v) / 2, real(...), real(...), positive(...)),
    op("gaussian_nll_loss broadcast", lambda m, x, v: F.gaussian_nll_loss(m, x, v, full=True),
       lambda m, x, v: (np.log(2 * np.pi * v) + (x - m) ** 2 / v).mean() / 2, real(*CUBE), real(*CUBE),
       positive(3, 1, 2)),
    op("cosine_similarity", lambda x, y: F.cosine_similarity(x, y, -1),
       lambda x, y: (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * 2 * y[:, 0] ** 2), real(*CUBE), real(4, 1)),
    op("continuous_bernoulli_nll", lambda x, t: F.continuous_bernoulli_nll(x, t, "none"), naive.continuous_bernoulli,
       unit(...), unit(...)),
    op("continuous_bernoulli_mean", F.continuous_bernoulli_mean, naive.continuous_bernoulli_mean, unit(...)),
    op("ssim", lambda x, y: F.ssim(x, y, 2.0, window_size=3), lambda x, y: naive.ssim(x, y, 2.0, 3, 1.5).mean(),
       unit(2, 1, 4, 5), unit(2, 1, 4, 5)),
    op("gaussian_kl", lambda m, v: F.gaussian_kl(m, v, "sum"),
       lambda m, v: ((m**2 + np.exp(v) - 1 - v) / 2).sum(), real(...), real(...)),
    op("gaussian_kl batchmean", lambda m, v: F.gaussian_kl(m, v, "batchmean"),
       lambda m, v: ((m**2 + np.exp(v) - 1 - v) / 2).sum(1).mean(), real(*M), real(*M)),
    op("bernoulli_kl", lambda q: F.bernoulli_kl(0.05, q, "sum"), lambda q: _coins(0.05, q).sum(), unit(...)),
    op("bernoulli_kl both", lambda p, q: F.bernoulli_kl(p, q), lambda p, q: _coins(p, q).mean(), unit(*M), unit(*M)),
]  # fmt: skip

COMPARISONS = {
    "equal": operator.eq, "not_equal": operator.ne, "less": operator.lt, "less_equal": operator.le,
    "greater": operator.gt, "greater_equal": operator.ge,
}  # fmt: skip
TABLE += [
    op(name, lambda x, f=f: f(F.abs(x), F.max(F.abs(x))), lambda x, f=f: f(abs(x), abs(x).max()), real(*M),
       differentiable=False)
    for name, f in COMPARISONS.items()
] + [
    op("invert", lambda x: ~(x > 0), lambda x: ~(x > 0), real(...), differentiable=False),
    op("bitwise_and", lambda x: (x > 0) & (x < 1), lambda x: (x > 0) & (x < 1), real(...), differentiable=False),
    op("bitwise_and reflected", lambda x: MASK & (x > 0), lambda x: MASK & (x > 0), real(*M), differentiable=False),
    op("bitwise_or", lambda x: (x > 1) | (x < 0), lambda x: (x > 1) | (x < 0), real(...), differentiable=False),
    op("bitwise_or reflected", lambda x: True | (x > 0), lambda x: True | (x > 0), real(*M), differentiable=False),
    op("any", lambda x: F.any(x > 1.9), lambda x: (x > 1.9).any(), real(...), differentiable=False),
    op("any axis", lambda x: (x > 1.5).any(0), lambda x: (x > 1.5).any(0), real(*M), differentiable=False),
    op("all", lambda x: F.all(x < 1.9), lambda x: (x < 1.9).all(), real(...), differentiable=False),
    op("all axis", lambda x: (x < 1.5).all(-1), lambda x: (x < 1.5).all(-1), real(*M), differentiable=False),
]  # fmt: skip

REDUCTIONS = {
    "sum": (F.sum, np.sum), "prod": (F.prod, np.prod), "std": (F.std, np.std),
    "mean": (F.mean, np.mean), "batch_mean": (F.batch_mean, np.mean), "var": (F.var, np.var),
    "max": (F.max, np.max), "min": (F.min, np.min), "logsumexp": (F.logsumexp, _lse), "norm": (F.norm, _norm),
}  # fmt: skip
TABLE += [op(f"{name} all", f, ref, real(...), empty=name in ("sum", "prod")) for name, (f, ref) in REDUCTIONS.items()]
TABLE += [
    op(f"{name} axis={axis} keepdims={keep}", lambda x, f=f, a=axis, k=keep: f(x, axis=a, keepdims=k),
       lambda x, f=ref, a=axis, k=keep: f(x, axis=a, keepdims=k), real(*CUBE))
    for (name, (f, ref)), axis, keep in product(REDUCTIONS.items(), [None, 1, -1, (0, 2), (-1, 0)], [False, True])
]  # fmt: skip

MATMULS = [
    ((4,), (4,)), ((4,), (4, 2)), ((3, 4), (4,)), ((3, 4), (4, 2)), ((4,), (2, 4, 3)), ((2, 3, 4), (4,)),
    ((2, 3, 4), (4, 2)), ((3, 4), (2, 4, 5)), ((2, 3, 4), (2, 4, 1)), ((2, 1, 3, 4), (5, 4, 2)), ((0, 4), (4, 2)),
]  # fmt: skip
TABLE += [op(f"matmul {a} {b}", F.matmul, np.matmul, real(*a), real(*b)) for a, b in MATMULS]

EINSUMS = [
    ("ij,jk->ik", (3, 4), (4, 2)), ("ij,jk", (3, 4), (4, 2)), ("ba", (3, 4)), ("ii", (3, 3)), ("iji->j", (3, 2, 3)),
    ("ij->", (3, 4)), ("i,i", (4,), (4,)), ("i,i->i", (4,), (4,)), ("i,j->ji", (3,), (4,)), ("i,i", (0,), (0,)),
    ("bij,bkj->bik", (2, 3, 4), (2, 1, 4)), ("ij,jk,kl->li", (2, 3), (3, 4), (4, 2)),
    ("iij,jjk->ik", (2, 2, 3), (3, 3, 2)), ("ij,ij,ij->i", (3, 4), (3, 4), (3, 4)), ("i...->...", (3, 4, 2)),
    ("...ij,...jk", (2, 1, 3, 4), (5, 4, 2)), ("ij,kj->ik", (3, 1), (2, 4)), ("a,bc,c->cab", (2,), (1, 3), (3,)),
    (",->", (), ()), (" ij , jk -> ki ", (3, 4), (4, 2)),
]  # fmt: skip
TABLE += [
    op(f"einsum {subscripts}", lambda *xs, s=subscripts: F.einsum(s, *xs), lambda *xs, s=subscripts: np.einsum(s, *xs),
       *(real(*shape) for shape in shapes)) for subscripts, *shapes in EINSUMS
]  # fmt: skip

INDICES: dict[str, Any] = {
    "integer": 1, "negative": -1, "integers": (1, -2, 0), "numpy integer": np.int64(2), "slice": slice(1, None),
    "strided": (slice(None, None, 2), slice(None, None, -1)), "ellipsis": (..., 0), "new axis": (None, 1, ..., None),
    "list": [2, 0], "repeats": np.array([1, 1, 0, 1]), "repeats in pairs": ([0, 0, 2], np.array([1, 1, 3])),
    "repeats in tuples": ((0, 0, 2), (1, 1, 3)), "repeats and slice": (slice(None), [3, 3], 0),
    "array of two axes": np.array([[0, 1], [1, 0]]), "mask": MASK, "mask and integer": (MASK, 1),
    "list of bools": [True, False, True], "nothing": [],
}  # fmt: skip
TABLE += [
    op(f"getitem {name}", lambda x, i=i: F.getitem(x, i), lambda x, i=i: x[i], real(*CUBE))
    for name, i in INDICES.items()
]
TABLE += [
    op("getitem Tensor", lambda x: F.getitem(x, sa.tensor(PIXELS)), lambda x: x[PIXELS], real(4, 3)),
    op("getitem Tensor mask", lambda x: F.getitem(x, (sa.tensor(MASK), 1)), lambda x: x[MASK, 1], real(*CUBE)),
]


def cases() -> Iterator[Op]:
    """The table with every `(...)` replaced by each of `SHAPES`."""
    for row in TABLE:
        if all(i.shape != (...,) for i in row.inputs):
            yield row
        else:
            for shape in SHAPES if row.empty else SHAPES[:-1]:
                yield row._replace(name=f"{row.name} {shape}", inputs=tuple(Input(i.kind, shape) for i in row.inputs))
