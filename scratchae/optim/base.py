"""What all optimisers share: groups of options, the step of each parameter, and clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from scratchae.attach import replaceable
from scratchae.autograd import Tensor
from scratchae.backend import Array, to_device, xp_of
from scratchae.checks import check_number


class Optimizer:
    """The base class. A new optimiser defines `update`, `state_names`, and an `__init__` that passes options on.

    The optimiser may move the values of the parameters to other memory. An array that shared memory with a parameter
    then no longer follows.

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
    add_param_group: Callable[..., None]  # from more/

    def __init__(self, params: Iterable[Any], **options: Any):
        given = members(params)
        groups = given if any(isinstance(g, dict) for g in given) else [{"params": given}]
        self.defaults = {**getattr(type(self), "defaults", {}), **options}
        self.param_groups: list[dict[str, Any]] = []
        for own in groups:
            if not isinstance(own, dict):
                found = type(own).__name__
                raise TypeError(f"groups of parameters are dicts {{'params': [...], ...}}; among them is a {found}")
            group = {**self.defaults, **own, "params": tensors(own.get("params", []))}
            if not group["params"]:
                advice = "pass model.parameters() of a model that has some, or groups {'params': [...], ...}"
                raise ValueError(f"the optimiser got no parameters, or not in each group; {advice}")
            self.param_groups.append(self._checked(group))
        check_leaves([p for group in self.param_groups for p in group["params"]])
        self.made_with = [options_of(group) for group in self.param_groups]
        self._updaters = [updaters_of(group["params"]) for group in self.param_groups]
        for group, updater in self.updaters():
            updater.provide(self.state_names(group))

    def state_names(self, group: dict) -> tuple[str, ...]:
        """The arrays that the optimiser keeps for each parameter."""
        return ()

    def update(self, p: Array, g: Array, state: dict[str, Array], step: int, group: dict, scratch: Array) -> None:
        """The rule: move `p` in place, given its gradient `g`, which must not be written to.

        The rule is elementwise. `p`, `g`, the arrays of `state` (one for each of `state_names`) and the two of
        `scratch` have one shape. `scratch` is memory for intermediate results. `step` counts from 1.
        """
        raise NotImplementedError

    def updaters(self) -> Iterator[tuple[dict[str, Any], Updater]]:
        """Each updater, with the group that its options stand in."""
        for group, updaters in zip(self.param_groups, self._updaters, strict=True):
            for updater in updaters:
                yield group, updater

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group, updater in self.updaters():
            updater.step(self, group)

    def zero_grad(self) -> None:
        """Set every `.grad` to None."""
        for _, updater in self.updaters():
            updater.zero_grad()

    def gradients(self) -> Iterator[Array]:
        """Every gradient there is, several in one array where they lie side by side.

        A change of these arrays in place is a change of `.grad`.
        """
        return (array for _, updater in self.updaters() for array in updater.all_gradients())

    def values(self) -> Iterator[Array]:
        """The values of the parameters, several in one array where they lie side by side."""
        return (array for _, updater in self.updaters() for array in updater.all_values())

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


class Updater:
    """One parameter, the number of its steps, and the arrays that an optimiser keeps for it."""

    def __init__(self, p: Tensor):
        self.p, self.steps = p, 0
        self.state: dict[str, Array] = {}

    def step(self, optimizer: Optimizer, group: dict[str, Any]) -> None:
        """Update the parameter by the optimiser's rule, if there is a gradient."""
        p = self.p
        if p.grad is None:
            return
        self.steps += 1
        self.provide(optimizer.state_names(group))
        # For half precision these are copies in float32, rounded once, when they are written back.
        value, grad = (array.astype(state_dtype(p), copy=False) for array in (p.data, p.grad))
        scratch = [xp_of(value).empty_like(value) for _ in range(2)]
        optimizer.update(value, grad, self.state, self.steps, group, scratch)
        if value is not p.data:
            p.data[...] = value
        p.changed()

    def provide(self, state_names: Iterable[str]) -> None:
        """Zeros for new `state_names`; all arrays in the `state_dtype` and on the device that the parameter has by now.

        An option may be switched on between steps, and `.to` may move the parameter.
        """
        zeros = {name: np.zeros(self.p.shape) for name in state_names if name not in self.state}
        for name, array in {**self.state, **zeros}.items():
            self.state[name] = to_device(array, self.p.device).astype(state_dtype(self.p), copy=False)

    def zero_grad(self) -> None:
        """Set `.grad` to None."""
        if self.p.requires_grad:
            self.p.grad = None

    def all_gradients(self) -> list[Array]:
        """The gradient, if there is one."""
        return [] if self.p.grad is None else [self.p.grad]

    def all_values(self) -> list[Array]:
        """The value of the parameter."""
        return [self.p.data]

    def entries(self, state_names: Iterable[str] = ()) -> list[tuple[Tensor, int, dict[str, Array]]]:
        """(parameter, number of steps, state with the arrays `state_names`) of each parameter."""
        self.provide(state_names)
        return [(self.p, self.steps, self.state)]

    def load(self, entries: list[tuple[int, dict[str, Array]]]) -> None:
        """Replace (number of steps, state) of each parameter."""
        [(self.steps, self.state)] = entries


def state_dtype(p: Tensor) -> Any:
    """The dtype of the state and the arithmetic for a parameter: its own, or float32 where its own is narrower.

    In float16, Adam's eps of 1e-8 rounds to 0, and the square of a gradient of 300 overflows to infinity.
    """
    return np.result_type(p.dtype, np.float32)


@replaceable
def updaters_of(params: list[Tensor]) -> list[Updater]:
    """The updaters of the parameters of a group. A room may attach updaters of many parameters."""
    return [Updater(p) for p in params]


def options_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a group as JSON values."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in group.items() if name != "params"}


# --- what an optimiser is made from: a room may attach checks ---------------------------------------


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


@replaceable
def clip_grad_norm(params: Iterable[Tensor] | Tensor, max_norm: float) -> float:
    """Scale all gradients together so that their joint Euclidean norm is at most `max_norm`; return the norm before.

    Raises ValueError, before anything changes, where the norm is not finite or `max_norm` is negative.
    """
    max_norm = check_number("max_norm", max_norm)
    grads = [p.grad for p in ([params] if isinstance(params, Tensor) else params) if p.grad is not None]
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
    rows = [g.ravel().astype(np.result_type(g.dtype, np.float32), copy=False) for g in grads]
    with np.errstate(over="ignore", invalid="ignore"):
        squares = sum(float(g @ g) for g in rows)
        if 1e-30 < squares < math.inf:
            return math.sqrt(squares)
        # The squares of very large or very small numbers leave the range of their dtype. Scaled ones stay inside.
        peak = max((float(abs(g).max()) for g in rows if g.size), default=0.0) or 1.0
        return peak if math.isinf(peak) else peak * math.sqrt(sum(float((scaled := g / peak) @ scaled) for g in rows))
