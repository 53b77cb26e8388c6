"""The states of optimisers and schedules: all of a state is checked and converted before anything changes.

`files/attach.py` makes the functions with `self` methods of Optimizer and of the schedules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from scratchae.autograd import Tensor
from scratchae.backend import Array, plain_array, to_device
from scratchae.checks import check_count, check_number, shown
from scratchae.files.states import check_names, overflowed
from scratchae.optim import Optimizer
from scratchae.optim.base import options_of, state_dtype
from scratchae.optim.schedules import LRSchedule

# --- optimisers -----------------------------------------------------------------------------------


def state_dict(self: Optimizer) -> dict[str, Any]:
    """Everything needed to go on: options, step counts and copies of the state arrays."""
    held = {}  # by the id of the parameter
    for group, updater in self.updaters():
        for p, steps, state in updater.entries(self.state_names(group)):
            held[id(p)] = {"step": steps, **{name: array.copy() for name, array in state.items()}}
    groups = [{**options_of(group), "params": [held[id(p)] for p in group["params"]]} for group in self.param_groups]
    return {"kind": type(self).__name__, "groups": groups}


def load_state_dict(self: Optimizer, state: Mapping[str, Any]) -> None:
    """Restore what `state_dict` gave, from arrays of any real dtype.

    Raises ValueError for a state that does not fit, TypeError for an option that this optimiser has not. Nothing is
    changed then.
    """
    try:
        options, entries = _read(self, state)
        loaded = [[entries[id(p)] for p, *_ in updater.entries()] for _, updater in self.updaters()]
    except (ValueError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{error}; nothing was loaded") from None
    for group, read in zip(self.param_groups, options, strict=True):
        group.update(read)
    for (_, updater), own in zip(self.updaters(), loaded, strict=True):
        updater.load(own)


def _read(optimizer: Optimizer, state: Any) -> tuple[list[dict[str, Any]], dict[int, tuple[int, dict[str, Array]]]]:
    """The options of each group, and by the id of each parameter its number of steps and its arrays."""
    own, options, entries = optimizer.param_groups, [], {}
    groups = _groups_of(state, type(optimizer).__name__, [len(group["params"]) for group in own])
    for g, (given, group) in enumerate(zip(groups, own, strict=True)):
        if missing := sorted(set(group) - set(given)):
            raise ValueError(f"group {g}: the state lacks the options {missing}")
        options.append(optimizer._checked({**given, "params": group["params"]}))
        names = optimizer.state_names(options[-1])
        for i, (p, entry) in enumerate(zip(group["params"], given["params"], strict=True)):
            entries[id(p)] = _entry(f"group {g}, parameter {i}", entry, p, names)
    return options, entries


def _groups_of(state: Any, kind: str, counts: list[int]) -> list[Mapping[str, Any]]:
    """The groups of a state. Raises ValueError unless it is of a `kind` with `counts` parameters per group."""
    if not isinstance(state, Mapping):
        raise ValueError(f"the state is a {type(state).__name__}, expected a dict as state_dict() gives it")
    if state.get("kind") != kind:
        raise ValueError(f"the state is of {state.get('kind')!r}, this is {kind}")
    groups = state.get("groups")
    if not isinstance(groups, list) or not groups or not all(map(_is_group, groups)):
        raise ValueError("the state has no list of 'groups', or one of them no list of 'params'")
    if (found := [len(g["params"]) for g in groups]) != counts:
        raise ValueError(f"the state has {found} parameters per group, this optimiser {counts}")
    return groups


def _is_group(group: Any) -> bool:
    return isinstance(group, Mapping) and isinstance(group.get("params"), list)


def _entry(where: str, entry: Any, p: Tensor, names: Iterable[str]) -> tuple[int, dict[str, Array]]:
    """The number of steps and the arrays of a parameter. Raises ValueError for an `entry` that does not fit."""
    held = dict(entry) if isinstance(entry, Mapping) else {}
    shapes = {name: getattr(value, "shape", type(value).__name__) for name, value in held.items()}
    if set(held) != {"step", *names} or any(shapes[name] != p.shape for name in names):
        found = shapes if isinstance(entry, Mapping) else f"a {type(entry).__name__}"
        raise ValueError(f"{where}: the state holds {found}, expected a step and {sorted(names)} of shape {p.shape}")
    steps = check_count(f"{where}: step", held["step"], 0)
    return steps, {name: _converted(f"{where}: {name}", held[name], p) for name in names}


def _converted(what: str, given: Any, p: Tensor) -> Array:
    """A copy of `given` on the device of `p`, in the dtype of its state; ValueError where its numbers do not fit."""
    try:
        there = to_device(plain_array(given, what), p.device)
    except TypeError as error:
        raise ValueError(error) from None
    with np.errstate(over="ignore"):  # the error below tells it, not a warning
        array = there.astype(state_dtype(p))
    if overflowed(there, array):
        raise ValueError(f"{what} holds numbers of {there.dtype} that {array.dtype} cannot hold")
    return array


# --- schedules ------------------------------------------------------------------------------------


def schedule_state_dict(self: LRSchedule) -> dict[str, Any]:
    """The epoch and the rates `lrs` of now. The options (`T_max`, ...) are not in it: they are the constructor's."""
    rates = self.rates
    base_lrs = [*self.base_lrs, *rates[len(self.base_lrs) :]]  # groups may have joined since the last step
    return {**{name: getattr(self, name) for name in self.progress}, "base_lrs": base_lrs, "lrs": rates}


def load_schedule_state_dict(self: LRSchedule, state: Mapping[str, Any]) -> None:
    """Put back what `state_dict` gave, and set the optimiser's rates, whether or not those were restored too.

    Raises ValueError, with nothing changed, for a state that does not fit.
    """
    check_names(state, self.progress, newer=["lrs"])
    try:
        read = {name: _progress(self, name, state[name]) for name in self.progress}
        known = self.rates_at(read["epoch"], read["base_lrs"])
        rates = _rates(self, "lrs", state.get("lrs", known))
    except ValueError as error:
        raise ValueError(f"{error}; nothing was loaded") from None
    vars(self).update(read)
    self.rates = rates


def _progress(schedule: Any, name: str, value: Any) -> Any:
    """One entry of a state, checked."""
    if name == "base_lrs":
        return _rates(schedule, name, value)
    if name == "best":
        none_yet = isinstance(value, float) and value == schedule.none_yet
        return value if none_yet else check_number(name, value, "(-inf, inf)")
    return check_count(name, value, 0)


def _rates(schedule: LRSchedule, name: str, given: Any) -> list[float]:
    groups = len(schedule.optimizer.param_groups)
    if not isinstance(given, list) or len(given) != groups:
        raise ValueError(f"{name}={shown(given)}; expected a list of {groups} rates, one for each group")
    return [check_number(name, lr) for lr in given]
