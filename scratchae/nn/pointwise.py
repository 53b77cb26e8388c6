"""Layers without parameters: activations, and randomness in train mode. The formulas are in `functional`."""

from typing import Any

from scratchae import functional as F
from scratchae.nn.layer import Layer, dimension, number
from scratchae.nn.module import titled


class ReLU(Layer):
    """max(x, 0)."""

    def forward(self, x: Any) -> Any:
        return F.relu(x)


class LeakyReLU(Layer):
    """x where positive, negative_slope * x elsewhere."""

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = number(self, "negative_slope", negative_slope, "(-inf, inf)")

    def forward(self, x: Any) -> Any:
        return F.leaky_relu(x, self.negative_slope)


class ELU(Layer):
    """x where positive, alpha (exp(x) - 1) elsewhere (Clevert et al. 2016)."""

    def __init__(self, alpha: float = 1.0):
        self.alpha = number(self, "alpha", alpha, "(-inf, inf)")

    def forward(self, x: Any) -> Any:
        return F.elu(x, self.alpha)


class GELU(Layer):
    """x Phi(x), Phi the normal distribution function."""

    def forward(self, x: Any) -> Any:
        return F.gelu(x)


class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Any) -> Any:
        return F.sigmoid(x)


class Tanh(Layer):
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))."""

    def forward(self, x: Any) -> Any:
        return F.tanh(x)


class Softplus(Layer):
    """log(1 + exp(x))."""

    def forward(self, x: Any) -> Any:
        return F.softplus(x)


class Softmax(Layer):
    """exp(x) / sum(exp(x)) along `dim`."""

    def __init__(self, dim: int = -1):
        self.dim = dimension(self, "dim", dim)

    def forward(self, x: Any) -> Any:
        if not -x.ndim <= self.dim < x.ndim:
            raise ValueError(f"{titled(self)}: the input has shape {x.shape}, and no dimension {self.dim}")
        return F.softmax(x, self.dim)


class Dropout(Layer):
    """In train mode, each element becomes 0 with probability `p`, the others are divided by 1 - p."""

    def __init__(self, p: float = 0.5):
        self.p = number(self, "p", p, "[0, 1]")

    def forward(self, x: Any) -> Any:
        return F.dropout(x, self.p, self.training)
