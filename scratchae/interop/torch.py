"""Modules of PyTorch and of scratchae, translated in both directions.

The names of layers, options and weights and the weight layouts are the same on both sides. So `LAYERS` is the whole
translation, but for functions and residuals. A layer is translated with the options of its constructor here. Further
options of PyTorch must have their defaults.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae import nn
from scratchae.backend import to_device
from scratchae.debug.descriptions import option
from scratchae.interop.common import as_layer, known_class, options_of, place, require
from scratchae.nn.linear import Function
from scratchae.random import fixed_seed

LAYERS: tuple[type[nn.Module], ...] = (
    nn.Linear, nn.Flatten, nn.Unflatten, nn.Identity,
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softmax,
    nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d, nn.AvgPool2d, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle,
    nn.Conv1d, nn.ConvTranspose1d, nn.MaxPool1d, nn.AvgPool1d,
    nn.Dropout, nn.Dropout2d, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm2d, nn.BatchNorm1d, nn.BatchNorm2d,
)  # fmt: skip
THEIR_NAMES = {"shape": "unflattened_size"}  # the only option with another name in PyTorch
NO_MATTER = ("training", "inplace")  # `training` is copied separately, `inplace` only saves memory


def to_torch(model: nn.Module) -> Any:
    """A `torch.nn.Sequential` (or a single layer) on the CPU, with copies of the weights of `model`.

    A function such as F.relu becomes a layer. `nn.Residual` becomes a module of `scratchae.interop.residual`.
    The dtype, train or eval mode and frozen parameters are the same as in `model`. PyTorch's random generator keeps its
    state. Convert an autoencoder half by half, or as `nn.Sequential(model.encoder, model.decoder)`.

    Raises TypeError for a layer that PyTorch does not have.
    """
    torch = require("torch", "torch")

    def convert(layer: Any, found: Any, path: str) -> Any:
        options = {THEIR_NAMES.get(name, name): option(layer, name) for name in options_of(found)}
        state = {name: torch.tensor(to_device(a, "cpu")) for name, a in layer.state_dict().items()}
        theirs = getattr(torch.nn, found.__name__)(**options)
        theirs.to("cpu", next((a.dtype for a in state.values()), None))
        theirs.load_state_dict({**theirs.state_dict(), **state})  # PyTorch's BatchNorm also counts batches
        return theirs

    with torch.random.fork_rng(devices=[]):
        chains = {nn.Sequential: torch.nn.Sequential, nn.Residual: _residual()}
        return _converted(model, chains, lambda m: known_class(m, LAYERS), convert)


def from_torch(module: Any) -> Any:
    """A `Sequential` (or a single layer) with copies of the weights of `module`, a `torch.nn.Sequential`.

    The dtype, train or eval mode and frozen parameters are the same as in `module`. The random generators of both
    libraries keep their states. The layers are numbered, and lose their names.

    Raises TypeError for a layer or an option that scratchae does not have.
    """
    torch = require("torch", "torch")
    counterparts = {getattr(torch.nn, cls.__name__): cls for cls in LAYERS}

    def convert(layer: Any, found: Any, path: str) -> Any:
        given = {name: option(layer, THEIR_NAMES.get(name, name)) for name in options_of(found)}
        options = {name: _in_our_way(name, value) for name, value in given.items()}
        lacking = [f"{name}={given[name]!r}" for name, value in options.items() if value is None]
        # `twin` has these options alone. Any other difference of `layer` from `twin` has no counterpart here.
        twin = type(layer)(**{THEIR_NAMES.get(name, name): value for name, value in given.items()})
        rest = {name: value for name, value in vars(twin).items() if not name.startswith("_") and name not in NO_MATTER}
        for name, value in rest.items():
            if (getattr(layer, name) or False) != (value or False):  # None, False and 0 mean the same
                lacking.append(f"{name}={getattr(layer, name)!r}")
        state = layer.state_dict()
        if state.keys() != twin.state_dict().keys():
            lacking.append(f"weights: {', '.join(state) or 'none'}")
        lacking += sorted({str(p.dtype) for p in layer.parameters()} - {"torch.float32", "torch.float64"})
        if lacking:
            raise _refusal(path, layer, f"ours has nothing like its {', '.join(lacking)}")
        arrays = {name: a.detach().cpu().numpy() for name, a in state.items()}
        copy = found(**options).to(next((a.dtype for a in arrays.values()), np.float32))
        copy.load_state_dict(arrays)
        return copy

    with torch.random.fork_rng(devices=[]), fixed_seed(0):
        chains = {torch.nn.Sequential: nn.Sequential, _residual(): nn.Residual}
        return _converted(module, chains, lambda m: counterparts.get(type(m)), convert)


def _residual() -> Any:
    return importlib.import_module("scratchae.interop.residual").Residual  # imports PyTorch


def _converted(model: Any, chains: dict[type, Any], find: Callable[[Any], Any], convert: Callable) -> Any:
    """`model` with every chain rebuilt and every layer converted. Shared layers stay shared.

    `chains` has the new class of each class of chains. `find` gives a layer's class in scratchae, or None. `convert`
    takes a layer, that class, and the layer's path.
    """
    made: dict[int, Any] = {}

    def build(old: Any, path: str) -> Any:
        if id(old) not in made:
            layer = old
            if isinstance(old, Function) and (layer := as_layer(old.function)) is None:
                raise _refusal(path, old, f"no layer computes the function {old.describe()}")
            if chain := known_class(layer, chains):
                parts = {"net": layer.net} if chain.__name__ == "Residual" else dict(enumerate(layer))
                made[id(old)] = chains[chain](*[build(part, f"{path}.{i}".lstrip(".")) for i, part in parts.items()])
            elif found := find(layer):
                made[id(old)] = convert(layer, found, path)
            else:
                known = ", ".join(cls.__name__ for cls in LAYERS)
                raise _refusal(path, old, f"it is no Sequential, and none of {known}")
            for before, after in zip(old.parameters(), made[id(old)].parameters(), strict=False):
                after.requires_grad = before.requires_grad
            made[id(old)].training = old.training
        return made[id(old)]

    new = build(model, "")
    counts = [sum(1 for _ in m.parameters()) for m in (model, new)]
    if counts[0] != counts[1]:
        raise TypeError(f"layers share a weight: {counts[0]} parameters would become {counts[1]}; share whole layers")
    return new


def _in_our_way(name: str, value: Any) -> Any:
    """PyTorch's option as an option here; None where there is no counterpart."""
    if name == "mode":
        return value if value in ("nearest", "bilinear") else None
    if name == "shape":
        return tuple(value) if all(isinstance(n, int) and n >= 0 for n in value) else None
    if name == "scale_factor" and value is not None:  # PyTorch keeps floats, even for whole numbers
        whole = np.asarray(value).astype(int)
        if (whole != value).any():
            return None
        return tuple(whole.tolist()) if whole.ndim else int(whole)
    return value


def _refusal(path: str, layer: Any, why: str) -> TypeError:
    advice = "change it first, or convert the layers before and after it"
    return TypeError(f"{place(path)} is a {type(layer).__module__}.{type(layer).__qualname__}: {why}; {advice}")
