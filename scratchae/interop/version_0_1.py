"""The places of names in version 0.1. A use there gives the name from its new place, with a DeprecationWarning."""

from __future__ import annotations

import sys
import warnings
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from scratchae import functional, nn

# Old place: new places.
MOVED = {
    "autograd": ("debug.anomaly", "debug.gradcheck"),
    "autograd.conv": ("images.conv", "images.window"),
    "autograd.gradcheck": ("debug.gradcheck",),
    "autograd.images": ("images.functions", "images.options", "more.images"),
    "autograd.modes": ("debug.anomaly",),
    "autograd.pooling": ("images.pooling",),
    "autograd.tensor": ("files.pickles",),  # in pickles of Tensors
    "callbacks": ("files.history", "plotting.callbacks"),
    "checkpoint": ("files.checkpoint",),
    "disk": ("files.disk",),
    "interrupts": ("files.interrupts",),
    "nn.activations": ("nn.pointwise",),
    "nn.containers": ("nn.linear",),
    "nn.images": ("images.layers", "more.images"),
    "nn.losses": ("more.loss_modules",),
    "nn.regularisation": ("more.layers", "nn.pointwise"),
    "plotting.curves": ("plotting.scores",),
    "storage": ("files.disk", "files.storage"),
}


def _found(place: str, name: str) -> Any:
    """The name from its new place, or a module that is gone. Raises AttributeError if version 0.1 had no such name."""
    for new in MOVED.get(place, ()):
        found = getattr(import_module(f"scratchae.{new}"), name, None)
        if getattr(found, "__module__", None) == f"scratchae.{new}":
            warnings.warn(f"scratchae.{place}.{name} of version 0.1 is now {_public(name, found, new)}",
                          DeprecationWarning, stacklevel=2)  # fmt: skip
            return found
    inner = f"{place}.{name}".lstrip(".")
    if inner in MOVED:
        return sys.modules[f"scratchae.{inner}"]
    raise AttributeError(f"module {f'scratchae.{place}'.rstrip('.')!r} has no attribute {name!r}")


def _public(name: str, found: Any, new: str) -> str:
    """The shortest public path of a name."""
    packages = (sys.modules["scratchae"], nn, functional)
    return next((f"{p.__name__}.{name}" for p in packages if vars(p).get(name) is found), f"scratchae.{new}.{name}")


for _place in ("", "nn", *MOVED):  # `scratchae` and `nn` find the modules that are gone
    _path = f"scratchae.{_place}".rstrip(".")
    try:
        _module = import_module(_path)
    except ModuleNotFoundError:  # this module only finds names
        _module = sys.modules[_path] = ModuleType(_path, f"{_path} of version 0.1; see {__name__}.")
    vars(_module)["__getattr__"] = partial(_found, _place)
