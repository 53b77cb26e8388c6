"""Helpers of both translations: import an optional package, find the class of a layer, and the layer of a function."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from scratchae import functional as F
from scratchae import nn
from scratchae.more import attach as _offered  # noqa: F401  # nn and functional now have all layers

# A subclass that overrides none of these methods computes the same as its base class.
_COMPUTES = ("__call__", "forward", "encode", "decode", "posterior", "shaped_like")

# The layer of each function. The options of both come in the same order.
LAYER_OF: dict[Any, type[nn.Module]] = {
    F.relu: nn.ReLU, F.leaky_relu: nn.LeakyReLU, F.elu: nn.ELU, F.gelu: nn.GELU, F.silu: nn.SiLU,
    F.hardtanh: nn.Hardtanh, F.sigmoid: nn.Sigmoid, F.tanh: nn.Tanh, F.softplus: nn.Softplus, F.softmax: nn.Softmax,
    F.max_pool2d: nn.MaxPool2d, F.avg_pool2d: nn.AvgPool2d, F.max_pool1d: nn.MaxPool1d, F.avg_pool1d: nn.AvgPool1d,
    F.upsample: nn.Upsample, F.pixel_shuffle: nn.PixelShuffle, F.pixel_unshuffle: nn.PixelUnshuffle,
}  # fmt: skip


def as_layer(function: Callable[..., Any]) -> nn.Module | None:
    """The layer that computes a function of one array: `F.relu`, or `functools.partial(F.leaky_relu, slope=0.2)`."""
    plain, options = function, {}
    if isinstance(function, functools.partial) and not function.args:
        plain, options = function.func, function.keywords
    kind = next((layer for known, layer in LAYER_OF.items() if known is plain), None)  # not every object has a hash
    if kind is None:
        return None
    given = inspect.signature(plain).bind(None, **options)
    given.apply_defaults()
    return kind(*given.args[1:])


def options_of(cls: type) -> list[str]:
    """The names of the arguments of a layer's constructor, an inherited constructor included.

    `inspect.signature(cls)` finds no inherited constructor in Python 3.10.
    """
    if cls.__init__ is object.__init__:  # type: ignore[misc]
        return []
    return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]  # type: ignore[misc]


def require(package: str, extra: str) -> Any:
    """Import the module `package`. If the package is missing, a ModuleNotFoundError says how to install it."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        advice = f"this needs the package {package} ({error}); install it with:  pip install 'scratchae[{extra}]'"
        raise ModuleNotFoundError(advice, name=error.name) from None


def known_class(layer: Any, classes: Iterable[type]) -> Any:
    """The class among `classes` that `layer` is an instance of. None for no class, or if a subclass computes more."""
    base = next((c for c in type(layer).__mro__ if c in classes), None)
    changed = any(getattr(type(layer), name, None) is not getattr(base, name, None) for name in _COMPUTES)
    return None if changed else base


def place(path: str) -> str:
    """How an error names the layer at `path`."""
    return f"layer {path}" if path else "the model"
