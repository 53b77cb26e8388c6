"""Loading a state into a module: all of it or nothing, and without touching what a recorded graph has kept.

Everything is looked at and converted first. Then parameters that are trained are written to in place, because the
optimiser holds views of them; a graph that kept older values notices (Tensor.changed). Frozen parameters and buffers
get a new array instead: a graph that read the old one keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from scratchae.autograd import Tensor
from scratchae.autograd.tensor import values_of
from scratchae.backend import Array, device_of, overflowed, to_device, xp_of
from scratchae.checks import shown


class Place(NamedTuple):
    """A parameter or a buffer, under one of its names."""

    name: str  # from the model
    owner: Any  # the module that has it
    attribute: str  # its name there
    value: Any  # a Parameter, or the buffer's array

    @property
    def array(self) -> Array:
        return self.value.data if isinstance(self.value, Tensor) else self.value

    @property
    def trained(self) -> bool:
        return isinstance(self.value, Tensor) and self.value.requires_grad

    def put(self, array: Array) -> None:
        """Give it another array."""
        if isinstance(self.value, Tensor):
            self.value.data = array
        else:
            setattr(self.owner, self.attribute, array)


Shared = list[Place]  # all places of one array: one, or as many names as it has


def load(places: Sequence[Place], state: Any) -> None:
    """Put the arrays of `state` into `places`; see Module.load_state_dict."""
    if not isinstance(state, Mapping):
        advice = "; a file is loaded with load_weights" if isinstance(state, str) else ""
        raise TypeError(f"load_state_dict: expected a mapping from names to arrays, got {shown(state)}{advice}")
    by_array: dict[int, Shared] = {}
    for place in places:
        by_array.setdefault(id(place.array), []).append(place)
    names = {place.name for place in places}
    problems = [
        f"unexpected: {name if isinstance(name, str) else shown(name)}"
        for name in state
        if name not in names and not str(name).endswith("num_batches_tracked")
    ]
    found = [(shared, _values(shared, state, problems)) for shared in by_array.values()]
    _refuse(problems)
    ready = [(shared, [_as_new(value, shared[0].array) for value in values]) for shared, values in found]
    for shared, (first, *others) in ready:
        if not all(_equal(first, other) for other in others):
            several = " and ".join(place.name for place in shared if place.name in state)
            problems.append(f"different values: {several} are one array in the model")
    for (shared, read), (_, values) in zip(found, ready, strict=True):
        if any(map(overflowed, read, values)):
            problems.append(f"too large for {values[0].dtype}: {shared[0].name}")
    _refuse(problems)
    _write([(shared, values[0]) for shared, values in ready])


def _values(shared: Shared, state: Mapping[str, Any], problems: list[str]) -> list[Array]:
    """What the state has for one array of the model, under each of its names; what is wrong goes to `problems`."""
    given = {place.name: state[place.name] for place in shared if place.name in state}
    if not given:
        problems.append(f"missing: {' or '.join(place.name for place in shared)}")
    wanted, values = shared[0].array.shape, []
    for name, value in given.items():
        value = np.asarray(value) if isinstance(value, np.generic) else value
        try:
            array = values_of(value, name)
        except TypeError as error:
            problems.append(f"not an array of real numbers: {error}")
            continue
        values.append(array)
        if array.shape != wanted:
            problems.append(f"shape: {name} is {array.shape} in the state, {wanted} in the model")
    return values


def _refuse(problems: list[str]) -> None:
    if problems:
        listed = "\n  ".join(sorted(problems))
        raise ValueError(f"the state does not fit the model; nothing was loaded:\n  {listed}")


def _as_new(value: Array, like: Array) -> Array:
    """A new array with the numbers of `value`, in the dtype and the place of `like`."""
    new = xp_of(like).empty_like(like)
    with np.errstate(over="ignore"):  # told below, with its name
        new[...] = to_device(value, device_of(like))
    return new


def _equal(a: Array, b: Array) -> bool:
    return bool(((a == b) | (a != a) & (b != b)).all())  # NaN in the same places is the same, too


def _write(ready: list[tuple[Shared, Array]]) -> None:
    """Put every array into its places; where one cannot be written, or Ctrl-C comes between, none is."""
    before: list[tuple[Shared, Array]] = []
    try:
        for shared, array in ready:
            in_place = any(place.trained for place in shared)
            before.append((shared, shared[0].array.copy() if in_place else shared[0].array))
            _put(shared, array)
    except BaseException:
        for shared, array in before:
            _put(shared, array)
        raise


def _put(shared: Shared, array: Array) -> None:
    for place in shared:
        if place.trained:
            place.value.data[...] = array
            place.value.changed()
        else:
            place.put(array)
