"""Modules that hold modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scratchae.nn.module import Module


class Sequential(Module):
    """Layers one after the other; indexed, sliced and iterated like a list.

    An error in a layer is raised with the layer's place in the chain.
    """

    def __init__(self, *layers: Module):
        for i, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise TypeError(f"Sequential: argument {i} is a {type(layer).__name__}; expected modules: nn.ReLU()")
            setattr(self, str(i), layer)

    def forward(self, x: Any) -> Any:
        for i, layer in enumerate(self._layers()):
            try:
                x = layer(x)
            except (TypeError, ValueError) as error:
                if type(error) in (TypeError, ValueError):  # others may be made differently
                    error.args = (f"layer {i}: {error}",)
                raise
        return x

    def _layers(self) -> list[Module]:
        attributes = list(vars(self).values())  # a list, since another thread may set an attribute meanwhile
        return [value for value in attributes if isinstance(value, Module)]

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers())

    def __len__(self) -> int:
        return len(self._layers())

    def __getitem__(self, index: int | slice) -> Any:
        layers = self._layers()
        return Sequential(*layers[index]) if isinstance(index, slice) else layers[index]
