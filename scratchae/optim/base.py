"""What all optimisers share: groups of options, the step, and clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from scratchae.attach import replaceable
from scratchae.autograd import Tensor
from scratchae.backend import Array, xp_of
from scratchae.checks import check_number
from scratchae.made import kept
from scratchae.optim.flat import Flat


class Optimizer:
    """The base class. A new optimiser defines `update`, `state_names`, and an `__init__` that passes options on.

    The parameters' values move into one buffer. An array that shared memory with a parameter no longer follows.

    Args:
        params: Tensors that are leaves, or dicts `{"params": [...], "lr": ..., ...}` with options of
            their own. Parameters with requires_grad=False or without a gradient are left alone.
        options: for every group that does not set them itself.

    `made_with` holds the options that each group began with, as JSON values. Changes of the options in `param_groups`
    do not reach it.

    Raises ValueError for no parameters, a parameter given twice, or an option out of range. Raises TypeError for
    something that is not a Tensor, for a set or a dict of parameters, and for an unknown option.
    """

    state_dict: Callable[..., dict[str, Any]]  # from files/
    load_state_dict: Callable[..., None]  # from files/

    def __init__(self, params: Iterable[Any], **options: Any):
        given = members(params)
        groups = given if any(isinstance(g, dict) for g in given) else [{"params": given}]
        self.defaults = options = {**getattr(type(self), "defaults", {}), **options}
        self.param_groups: list[dict[str, Any]] = []
        for own in groups:
            if not isinstance(own, dict):
                found = type(own).__name__
                raise TypeError(f"groups of parameters are dicts {{'params': [...], ...}}; among them is a {found}")
            group = {**options, **own, "params": tensors(own.get("params", []))}
            if not group["params"]:
                advice = "pass model.parameters() of a model that has some, or groups {'params': [...], ...}"
                raise ValueError(f"the optimiser got no parameters, or not in each group; {advice}")
            self.param_groups.append(self._checked(group))
        check_leaves([p for group in self.param_groups for p in group["params"]])
        self.made_with = [kept({n: v for n, v in group.items() if n != "params"}) for group in self.param_groups]
        self._flats: list[list[Flat]] = []
        for group in self.param_groups:
            kinds: dict[Any, list[Tensor]] = {}
            for p in group["params"]:
                kinds.setdefault((p.dtype, p.device), []).append(p)
            self._flats.append([Flat(ps, self.state_names(group)) for ps in kinds.values()])

    def state_names(self, group: dict) -> tuple[str, ...]:
        """The arrays that the optimiser keeps for each parameter."""
        return ()

    def update(self, p: Array, g: Array, state: dict[str, Array], step: int, group: dict, scratch: Array) -> None:
        """Move the flat piece `p` in place, given its gradient `g`, which must not be written to.

        `state` holds this piece of each of `state_names`, `step` counts from 1, and `scratch` is two
        rows of memory of the piece's length.
        """
        raise NotImplementedError

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group, flats in zip(self.param_groups, self._flats, strict=True):
            for flat in flats:
                flat.gather()
                flat.provide(self.state_names(group))
                flat.count_step()
                move(self, flat, group)

    def flats(self) -> Iterator[Flat]:
        """The flat buffers of all groups."""
        return (flat for flats in self._flats for flat in flats)

    def gradients(self) -> Iterator[Array]:
        """Every gradient there is, many in one array where they lie side by side.

        A change of these arrays in place is a change of `.grad`.
        """
        for flat in self.flats():
            yield from flat.all_gradients()

    def values(self) -> Iterator[Array]:
        """The parameters themselves, many in one array."""
        for flat in self.flats():
            flat.gather()
            yield flat.values

    def zero_grad(self) -> None:
        """Set every `.grad` to None."""
        for flat in self.flats():
            flat.zero_grad()

    @property
    def lr(self) -> float:
        """The learning rate of the first group. Setting `lr` sets the rates of all groups."""
        return self.param_groups[0]["lr"]

    @lr.setter
    def lr(self, value: float) -> None:
        value = check_number("lr", value)
        for group in self.param_groups:
            group["lr"] = value

    def _checked(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """`group` with its options as Python's own numbers; refuses unknown ones and values out of range."""
        if unknown := set(group) - {*self.defaults, "params"}:
            names = sorted(map(str, unknown))
            raise TypeError(f"{type(self).__name__} has no options {names}; it has {sorted(self.defaults)}")
        return {name: value if name == "params" else checked_option(name, value) for name, value in group.items()}


@replaceable
def move(optimizer: Optimizer, flat: Flat, group: dict) -> None:
    """Update all parameters of one flat buffer that have a gradient, in pieces that fit in the cache."""
    for span, g, step in flat.runs():
        for start in range(span.start, span.stop, size := flat.piece()):
            piece = slice(start, min(start + size, span.stop))
            # For half precision these are copies in float32, rounded once, when they are written back.
            p = flat.values[piece].astype(flat.wide, copy=False)
            grad = g[start - span.start : piece.stop - span.start].astype(flat.wide, copy=False)
            optimizer.update(p, grad, flat.state_of(piece), step, group, flat.scratch[:, : grad.size])
            if flat.wide != flat.values.dtype:
                flat.values[piece] = p


# --- what it is made from: debug/guards.py attaches the checks --------------------------------------


@replaceable
def members(params: Any) -> list[Any]:
    """Parameters, or groups of parameters, as a list."""
    return list(params)


@replaceable
def tensors(params: Any) -> list[Tensor]:
    """A Tensor, or several, as a list."""
    return [params] if isinstance(params, Tensor) else list(params)


@replaceable
def check_leaves(params: list[Tensor]) -> None:
    """Refuse Tensors that no optimiser can move."""


@replaceable
def checked_option(name: str, value: Any) -> Any:
    """The value of an option as the rules compute with it."""
    return value


# --- clipping -------------------------------------------------------------------------------------


def clip_grad_norm(params: Iterable[Tensor] | Tensor, max_norm: float) -> float:
    """Scale all gradients together so that their joint Euclidean norm is at most `max_norm`; return the norm before.

    Raises ValueError, before anything changes, where the norm is not finite or `max_norm` is negative.
    """
    max_norm = check_number("max_norm", max_norm)
    grads = [p.grad for p in tensors(params) if p.grad is not None]
    norm = _joint_norm(grads)
    if not math.isfinite(norm):
        raise ValueError(f"clip_grad_norm: the gradients' norm is {norm}, not finite; nothing was changed")
    if norm > max_norm:
        factor = max_norm / (norm + 1e-6)  # PyTorch's guard against division by zero
        for g in grads:
            xp_of(g).multiply(g, factor, out=g, dtype=np.result_type(g.dtype, np.float32))
    return norm


def _joint_norm(grads: list[Array]) -> float:
    # Half precision is widened first: float16 cannot hold the square of 300, nor a sum of 70,000 ones.
    flats = [g.ravel().astype(np.result_type(g.dtype, np.float32), copy=False) for g in grads]
    with np.errstate(over="ignore", invalid="ignore"):
        squares = sum(float(g @ g) for g in flats)
        if 1e-30 < squares < math.inf:
            return math.sqrt(squares)
        # The squares of very large or very small numbers leave the range of their dtype. Scaled ones stay inside.
        peak = max((float(abs(g).max()) for g in flats if g.size), default=0.0) or 1.0
        return peak if math.isinf(peak) else peak * math.sqrt(sum(float((scaled := g / peak) @ scaled) for g in flats))
