"""Layers that normalise each sample by itself, by groups of channels."""

import math
from typing import Any

from scratchae import functional as F
from scratchae.autograd.precision import in_float32
from scratchae.checks import check_bool
from scratchae.more.layers import check_floats
from scratchae.nn.layer import Layer, check_dtype, number, size
from scratchae.nn.module import Parameter, titled
from scratchae.nn.normalisation import normalised, scale_and_shift


class _ByGroups(Layer):
    """The base of both layers: their options, and a scale and a shift per channel if `affine`."""

    weight: Parameter | None = None
    bias: Parameter | None = None

    def _make(self, channels: int, eps: Any, affine: Any) -> None:
        name = type(self).__name__
        self.eps, self.affine = number(self, "eps", eps, "[0, inf)"), check_bool(f"{name}: affine", affine)
        if self.affine:
            self.weight, self.bias = scale_and_shift(self, (channels,))

    def _normalised(self, x: Any, groups: int) -> Any:
        check_floats(self, x)
        if self.weight is not None:
            check_dtype(self, x, self.weight)
        return _group_norm(x, self.weight, self.bias, groups, self.eps)


class GroupNorm(_ByGroups):
    """Normalises each of `num_groups` groups of channels of a sample, (N, C, ...) (Wu & He 2018).

    `affine` says whether each channel has a learned scale and shift.
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True):
        self.num_channels = size(self, "num_channels", num_channels)
        self.num_groups = size(self, "num_groups", num_groups)
        if self.num_channels % self.num_groups:
            given = f"num_groups={self.num_groups}, num_channels={self.num_channels}"
            raise ValueError(f"GroupNorm: {given}; the number of groups must divide the number of channels")
        self._make(self.num_channels, eps, affine)

    def forward(self, x: Any) -> Any:
        if x.ndim < 2 or x.shape[1] != self.num_channels or 0 in x.shape[2:]:
            wanted = f"(N, C, ...) with C = {self.num_channels} and no axis of length 0 after N"
            raise ValueError(f"{titled(self)}: the input has shape {x.shape}; expected {wanted}")
        return self._normalised(x, self.num_groups)


class InstanceNorm2d(_ByGroups):
    """Normalises each channel of each image over its pixels, (N, C, H, W) (Ulyanov et al. 2016).

    `affine` says whether each channel has a learned scale and shift. As in PyTorch, the default is no.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, *, affine: bool = False):
        self.num_features = size(self, "num_features", num_features)
        self._make(self.num_features, eps, affine)

    def forward(self, x: Any) -> Any:
        if x.ndim != 4 or x.shape[1] != self.num_features or math.prod(x.shape[2:]) < 2:
            wanted = f"(N, C, H, W) with C = {self.num_features} and at least two pixels"
            raise ValueError(f"{titled(self)}: the input has shape {x.shape}; expected {wanted}")
        return self._normalised(x, self.num_features)


@in_float32
def _group_norm(x: Any, weight: Any, bias: Any, groups: int, eps: float) -> Any:
    n, channels, *rest = x.shape
    blocks = F.reshape(x, (n, groups, channels // groups, *rest))
    out = F.reshape(normalised(blocks, tuple(range(2, blocks.ndim)), eps)[0], x.shape)
    if weight is None:
        return out
    along_channels = (channels, *[1] * len(rest))
    return out * weight.reshape(along_channels) + bias.reshape(along_channels)
