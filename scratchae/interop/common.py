"""Helpers of both translations: import an optional package, and find the class of a layer."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

# A subclass that overrides none of these methods computes the same as its base class.
_COMPUTES = ("__call__", "forward", "encode", "decode", "posterior", "shaped_like")


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
