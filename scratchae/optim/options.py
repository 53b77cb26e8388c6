"""What an optimiser is made from, checked: parameters in an order that stays the same, and options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from scratchae.autograd import Tensor
from scratchae.autograd.tensor import Leaf
from scratchae.checks import check_bool, check_number, shown

_FLAGS = ("nesterov", "amsgrad", "centered")
_NUMBERS = {
    **dict.fromkeys(("lr", "momentum", "dampening", "eps", "weight_decay"), "[0, inf)"),
    **dict.fromkeys(("alpha", "betas"), "[0, 1)"),
}


def check_option(name: str, value: Any) -> Any:
    """`value` as Python's own bool, float or pair of floats; an optimiser of your own may have other names.

    Python's own, because NumPy's numbers would make each update compute in float64. Raises ValueError for another
    type or a value out of range.
    """
    if name == "betas":
        pair = value.tolist() if isinstance(value, np.ndarray) else value
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError(f"betas={shown(value)}; expected two numbers of at least 0 and below 1")
        return tuple(check_number(name, beta, _NUMBERS[name]) for beta in pair)
    if name in _FLAGS or (name not in _NUMBERS and isinstance(value, (bool, np.bool_))):
        return check_bool(name, value)
    return check_number(name, value, _NUMBERS.get(name, "[0, inf)"))


def plain_options(group: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a group as JSON has them, in the order of the group and without its parameters."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in group.items() if name != "params"}


def listed(params: Any) -> list[Any]:
    """Parameters or groups of them as a list. Raises TypeError for what is no list of them, or has no fixed order."""
    way_out = None
    if isinstance(params, Tensor):
        way_out = "pass [tensor]"
    elif isinstance(params, Mapping):
        way_out = "pass [group], or model.parameters()"
    elif isinstance(params, (set, frozenset)):
        way_out = "its order differs from run to run, so pass a list"
    elif not isinstance(params, Iterable):
        way_out = "pass model.parameters()"
    if way_out is not None:
        raise TypeError(f"an optimiser takes a list of parameters, got a {type(params).__name__}; {way_out}")
    return list(params)


def check_params(params: Iterable[Any]) -> None:
    """Refuse what an optimiser cannot move: TypeError for no Tensor, ValueError for a result, or one given twice."""
    seen: set[int] = set()
    for p in params:
        check_tensor(p)
        if p.node is not None and type(p.node) is not Leaf:
            raise ValueError(f"a Tensor of shape {p.shape} is a result; an optimiser can only move leaves")
        if id(p) in seen:
            raise ValueError(f"a parameter of shape {p.shape} is given twice")
        seen.add(id(p))


def check_tensor(p: Any) -> None:
    if not isinstance(p, Tensor):
        raise TypeError(f"an optimiser takes Tensors, got a {type(p).__name__}; pass model.parameters()")
