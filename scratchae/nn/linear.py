"""The chain of layers, the fully connected layer, and the layers that only change shapes."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from scratchae import functional as F
from scratchae.nn.layer import Layer, check_dtype, dimension, new_parameters, shape_of, size
from scratchae.nn.module import Module, titled


class Sequential(Module):
    """Layers one after the other; indexed, sliced and iterated like a list. A function such as F.relu is a layer too.

    An error in a layer is raised with the layer's place in the chain.
    """

    def __init__(self, *layers: Module | Callable[[Any], Any]):
        for i, layer in enumerate(layers):
            if not callable(layer) or isinstance(layer, type):
                wanted = "expected modules or functions: nn.ReLU() or F.relu"
                raise TypeError(f"Sequential: argument {i} is a {type(layer).__name__}; {wanted}")
            setattr(self, str(i), layer if isinstance(layer, Module) else Function(layer))

    def forward(self, x: Any) -> Any:
        for layer in self:
            x = layer(x)
        return x

    def __iter__(self) -> Iterator[Module]:
        attributes = list(vars(self).values())  # a list, since another thread may set an attribute meanwhile
        return (value for value in attributes if isinstance(value, Module))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getitem__(self, index: int | slice) -> Any:
        layers = list(iter(self))
        return Sequential(*layers[index]) if isinstance(index, slice) else layers[index]


class Function(Module):
    """A function of one array as a layer; debug/ attaches a `describe` that prints the name of the function."""

    def __init__(self, function: Callable[[Any], Any]):
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


class Linear(Layer):
    """y = x W^T + b on the last axis: (..., in_features) to (..., out_features).

    `weight` (out_features, in_features) and `bias` (out_features) start uniform in
    [-1/sqrt(in_features), 1/sqrt(in_features)], as in PyTorch.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        self.in_features = size(self, "in_features", in_features)
        self.out_features = size(self, "out_features", out_features)
        self.weight, self.bias = new_parameters(self, (self.out_features, self.in_features), self.out_features, bias)

    def forward(self, x: Any) -> Any:
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            flat = "; flatten the images first, with nn.Flatten()" if math.prod(x.shape[1:]) == self.in_features else ""
            raise ValueError(
                f"{titled(self)}: the input has shape {x.shape}, whose last dimension must be {self.in_features}; "
                f"the weight has shape {self.weight.shape}{flat}"
            )
        check_dtype(self, x, self.weight)
        return F.linear(x, self.weight, self.bias)


class Flatten(Layer):
    """(N, a, b, ...) to (N, a b ...)."""

    def __init__(self, start_dim: int = 1):
        self.start_dim = dimension(self, "start_dim", start_dim)

    def forward(self, x: Any) -> Any:
        if not -x.ndim <= self.start_dim < x.ndim:
            least = self.start_dim if self.start_dim >= 0 else -self.start_dim - 1
            raise ValueError(f"{titled(self)}: the input has shape {x.shape}; expected over {least} dimensions")
        flat = (*x.shape[: self.start_dim], math.prod(x.shape[self.start_dim :]))
        return x if x.shape == flat else F.reshape(x, flat)


class Unflatten(Layer):
    """One dimension split into several: Unflatten(1, (1, 28, 28)) makes images of (N, 784)."""

    def __init__(self, dim: int, shape: tuple[int, ...]):
        self.dim, self.shape = dimension(self, "dim", dim), shape_of(self, "shape", shape)

    def forward(self, x: Any) -> Any:
        if not -x.ndim <= self.dim < x.ndim or x.shape[self.dim] != math.prod(self.shape):
            wanted = f"{math.prod(self.shape)} in dimension {self.dim}"
            raise ValueError(f"{titled(self)}: the input has shape {x.shape}; expected {wanted}")
        dim = self.dim % x.ndim
        return F.reshape(x, (*x.shape[:dim], *self.shape, *x.shape[dim + 1 :]))


class Identity(Module):
    """The input itself, whatever it is."""

    def forward(self, x: Any) -> Any:
        return x
