"""Reading what a `state_dict` gave: all of it is checked and converted before anything changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from scratchae.backend import Array, device_of, overflowed, plain_array, to_device
from scratchae.checks import check_count
from scratchae.optim.flat import Flat


def check_names(state: Any, names: Iterable[str], newer: Iterable[str] = ()) -> None:
    """Raise ValueError unless a state is a dict with these `names`; older files lack those that are `newer`."""
    expected = {*names, *newer}
    if not isinstance(state, Mapping) or {*state, *newer} != expected:
        found = f"holds {sorted(map(str, state))}" if isinstance(state, Mapping) else f"is a {type(state).__name__}"
        raise ValueError(f"the state {found}, expected {sorted(expected)}; nothing was loaded")


def groups_of(state: Any, kind: str, counts: list[int]) -> list[Mapping[str, Any]]:
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


def contents(flat: Flat, names: Iterable[str], entries: Mapping[int, tuple[str, Any]]) -> tuple[list[int], dict]:
    """Step counts and state arrays for `flat`; `entries` are the state's, by the id of the parameter.

    Each entry comes with words that say where it stands. Raises ValueError for one that does not fit.
    """
    steps: list[int] = []
    arrays = {name: flat.zeros() for name in names}
    for p, span in zip(flat.params, flat.spans, strict=True):
        where, entry = entries[id(p)]
        held = dict(entry) if isinstance(entry, Mapping) else {}
        shapes = {name: getattr(value, "shape", type(value).__name__) for name, value in held.items()}
        if set(held) != {"step", *arrays} or any(shapes[name] != p.shape for name in arrays):
            found = shapes if isinstance(entry, Mapping) else f"a {type(entry).__name__}"
            raise ValueError(
                f"{where}: the state holds {found}, expected a step and {sorted(arrays)} of shape {p.shape}"
            )
        steps.append(check_count(f"{where}: step", held["step"], 0))
        for name, array in arrays.items():
            array[span] = _converted(f"{where}: {name}", held[name], array)
    return steps, arrays


def _converted(what: str, given: Any, like: Array) -> Array:
    """`given` end to end, in the dtype and on the device of `like`; ValueError where that cannot hold its numbers."""
    try:
        there = to_device(plain_array(given, what), device_of(like))
    except TypeError as error:
        raise ValueError(error) from None
    with np.errstate(over="ignore"):  # told here, and not by a warning
        array = there.astype(like.dtype)
    if overflowed(there, array):
        raise ValueError(f"{what} holds numbers of {there.dtype} that {like.dtype} cannot hold")
    return array.ravel()
