"""Layers that normalise: (x - mean) / sqrt(variance + eps), then a learned scale and shift."""

from typing import Any

import numpy as np

from scratchae.attach import replaceable
from scratchae.autograd.precision import in_float32
from scratchae.autograd.reductions import batch_count, batch_mean, mean
from scratchae.autograd.tensor import data_of
from scratchae.backend import Array
from scratchae.changes import changed
from scratchae.checks import check_fits
from scratchae.nn.layer import Layer, check_dtype, number, shape_of, size
from scratchae.nn.module import Parameter, titled


class LayerNorm(Layer):
    """Normalises each sample over its last dimensions, `normalized_shape` (Ba et al. 2016)."""

    def __init__(self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5):
        self.normalized_shape = shape_of(self, "normalized_shape", normalized_shape)
        self.eps = number(self, "eps", eps, "[0, inf)")
        self.weight, self.bias = scale_and_shift(self, self.normalized_shape)

    def forward(self, x: Any) -> Any:
        axes = tuple(range(-len(self.normalized_shape), 0))
        if x.shape[-len(axes) :] != self.normalized_shape:
            wanted = f"(..., {', '.join(map(str, self.normalized_shape))})"
            raise ValueError(f"{titled(self)}: the input has shape {x.shape}; expected {wanted}")
        check_dtype(self, x, self.weight)
        return _layer_norm(x, self.weight, self.bias, axes, self.eps)


def scale_and_shift(layer: Layer, shape: tuple[int, ...]) -> tuple[Parameter, Parameter]:
    """The learned scale, which starts at 1, and the learned shift, which starts at 0."""
    check_fits(f"{type(layer).__name__}: a weight of shape {shape}", shape)
    return Parameter(np.ones(shape, np.float32)), Parameter(np.zeros(shape, np.float32))


@in_float32
def _layer_norm(x: Any, weight: Any, bias: Any, axes: tuple[int, ...], eps: float) -> Any:
    return normalised(x, axes, eps)[0] * weight + bias


@replaceable
def normalised(x: Any, axes: tuple[int, ...], eps: float, weight: Any = None, bias: Any = None) -> tuple:
    """(x - mean) / sqrt(variance + eps) * weight + bias, then the mean and the variance over `axes`.

    `weight`, `bias`, the mean and the variance have the shape of `x`, with length 1 along `axes`. A faster way gives
    the mean and the variance as arrays, without derivatives. If 0, the batch's axis, is among `axes`, the mean and the
    variance are those of the whole batch.
    """
    mean_over = batch_mean if 0 in axes else mean
    centred = x - (average := mean_over(x, axes, keepdims=True))
    variance = mean_over(centred * centred, axes, keepdims=True)
    scale = (variance + eps) ** -0.5
    return (centred * scale if weight is None else centred * (weight * scale) + bias), average, variance


class BatchNorm1d(Layer):
    """Normalises each feature over the batch, (N, C) or (N, C, L) (Ioffe & Szegedy 2015).

    Train mode uses the mean and the variance of the batch. `running_mean` and `running_var` then move towards the
    batch's values, by `momentum` times the difference. The variance for `running_var` is divided by n - 1, as in
    PyTorch. Eval mode uses `running_mean` and `running_var`.
    """

    _shapes = {2: "(N, C)", 3: "(N, C, L)"}
    running_mean: Array
    running_var: Array

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1):
        self.num_features = n = size(self, "num_features", num_features)
        self.eps, self.momentum = number(self, "eps", eps, "[0, inf)"), number(self, "momentum", momentum, "[0, 1]")
        self.weight, self.bias = scale_and_shift(self, (n,))
        self.register_buffer("running_mean", np.zeros(n, np.float32))
        self.register_buffer("running_var", np.ones(n, np.float32))

    def forward(self, x: Any) -> Any:
        if x.ndim not in self._shapes or x.shape[1] != self.num_features:
            wanted = f"{' or '.join(self._shapes.values())} with C = {self.num_features}"
            raise ValueError(f"{titled(self)}: the input has shape {x.shape}; expected {wanted}")
        check_dtype(self, x, self.weight)
        n = batch_count(x.size // self.num_features)
        if self.training and n < 2:
            raise ValueError(
                f"{titled(self)}: a batch of shape {x.shape} has {('no', 'one')[n]} value per feature; train mode "
                "needs two. If it is the short last batch, choose another batch_size, or leave it out with "
                "sa.DataLoader(..., drop_last=True)"
            )
        return _batch_norm(x, self.weight, self.bias, self, n)

    def _update(self, average: Any, variance: Any, n: int) -> None:
        for running, now in ((self.running_mean, average), (self.running_var, variance * (n / (n - 1)))):
            moved = running.astype(now.dtype) * (1 - self.momentum)
            moved += self.momentum * data_of(now).reshape(-1)
            running[...] = moved
            changed(running)


@in_float32
def _batch_norm(x: Any, weight: Any, bias: Any, layer: BatchNorm1d, n: int) -> Any:
    axes = (0, *range(2, x.ndim))
    along_channels = (1, -1, *[1] * (x.ndim - 2))
    weight, bias = weight.reshape(along_channels), bias.reshape(along_channels)
    if layer.training:
        out, average, variance = normalised(x, axes, layer.eps, weight, bias)
        layer._update(average, variance, n)
        return out
    average, variance = (a.reshape(along_channels).astype(x.dtype) for a in (layer.running_mean, layer.running_var))
    return (x - average) * (weight * (variance + layer.eps) ** -0.5) + bias
