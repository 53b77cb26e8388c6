"""A module's state: its parameters and buffers by name, saved and loaded whole.

Loading checks and converts the whole state before anything changes. Parameters that are trained are then written to in
place, because the optimiser holds views of their memory. A graph that kept older values notices (Tensor.changed).
Frozen parameters and buffers get a new array instead, and a graph that read the old array keeps the old array.

`files/attach.py` makes the functions with `self` methods of Module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from scratchae.autograd import Tensor
from scratchae.autograd.tensor import values_of
from scratchae.backend import Array, device_of, to_device, xp_of
from scratchae.checks import check_bool, shown
from scratchae.files.shards import read_weights
from scratchae.files.storage import FilePath, write_arrays
from scratchae.nn.module import Module, Place, places_in


def state_dict(self: Module) -> dict[str, Array]:
    """Copies of all parameters and buffers by name, as arrays on the module's device."""
    arrays = {place.name: place.array for place in places_in(self)}
    return {name: xp_of(a).array(a) for name, a in arrays.items()}


class NotLoaded(NamedTuple):
    """What a load with `strict=False` has left out, by name; three empty lists where all of the state fits."""

    missing: list[str]  # in the model alone
    unexpected: list[str]  # in the state alone
    misshaped: list[str]  # in both, with different shapes


def load_state_dict(self: Module, state: Mapping[str, Any], strict: bool = True) -> NotLoaded:
    """Copy arrays into the parameters and buffers of the same names; they take the module's dtype and device.

    A parameter with several names needs one of them. All or nothing: raises ValueError that lists every missing,
    unexpected, mis-shaped and contradictory name. PyTorch's `num_batches_tracked` is ignored, unless the model has a
    buffer of that name.

    With `strict=False`, names that are missing, unexpected or mis-shaped are no errors. All that fits is loaded, and
    the rest is returned: `left = model.load_state_dict(state, strict=False)`, `left.missing`.
    """
    return load(list(places_in(self)), state, check_bool("load_state_dict: strict", strict))


def save_weights(self: Module, path: FilePath) -> None:
    """Write `state_dict()` as a safetensors file, readable by `safetensors.torch.load_file` too."""
    write_arrays(path, self.state_dict())


def load_weights(self: Module, path: FilePath, strict: bool = True) -> NotLoaded:
    """Load a file of `save_weights`, or of PyTorch's `safetensors.torch.save_file`: all of it or nothing.

    A path that ends in `.index.json` is the index of a model in several files: `model.safetensors.index.json`. BF16 and
    F16 numbers are converted to the dtypes of the model. With `strict=False`, all that fits is loaded, and the rest is
    returned; see `load_state_dict`.

    Raises ValueError for a file that is damaged or does not fit (see `load_state_dict`), OSError where there is none.
    """
    strict = check_bool("load_weights: strict", strict)
    state = read_weights(path)
    try:
        return self.load_state_dict(state, strict=strict)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def check_names(state: Any, names: Iterable[str], newer: Iterable[str] = ()) -> None:
    """Raise ValueError unless a state is a dict with these `names`; older files lack those that are `newer`."""
    expected = {*names, *newer}
    if not isinstance(state, Mapping) or {*state, *newer} != expected:
        found = f"holds {sorted(map(str, state))}" if isinstance(state, Mapping) else f"is a {type(state).__name__}"
        raise ValueError(f"the state {found}, expected {sorted(expected)}; nothing was loaded")


# --- loading --------------------------------------------------------------------------------------

Shared = list[Place]  # all places of one array: as many as the array has names


def load(places: Sequence[Place], state: Any, strict: bool = True) -> NotLoaded:
    """Put the arrays of `state` into `places`, or none of them; see `load_state_dict`."""
    if not isinstance(state, Mapping):
        advice = "; a file is loaded with load_weights" if isinstance(state, str) else ""
        raise TypeError(f"load_state_dict: expected a mapping from names to arrays, got {shown(state)}{advice}")
    by_array: dict[int, Shared] = {}
    for place in places:
        by_array.setdefault(id(place.array), []).append(place)
    names = {place.name for place in places}
    odd = [name for name in state if name not in names and not str(name).endswith("num_batches_tracked")]
    left = NotLoaded([], [name if isinstance(name, str) else shown(name) for name in odd], [])
    misfits = [f"unexpected: {name}" for name in left.unexpected]
    problems: list[str] = []
    found = [(shared, _values(shared, state, left, misfits, problems)) for shared in by_array.values()]
    found = [(shared, values) for shared, values in found if values]
    _refuse([*misfits, *problems] if strict else problems)
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
    return left


def _values(
    shared: Shared, state: Mapping[str, Any], left: NotLoaded, misfits: list[str], problems: list[str]
) -> list[Array]:
    """The state's arrays that fit one array of the model, one for each of its names.

    Names that do not fit go to `left`, with a text to `misfits`. Other errors go to `problems`.
    """
    given = {place.name: state[place.name] for place in shared if place.name in state}
    if not given:
        left.missing.extend(place.name for place in shared)
        misfits.append(f"missing: {' or '.join(place.name for place in shared)}")
    wanted, values = shared[0].array.shape, []
    for name, value in given.items():
        value = np.asarray(value) if isinstance(value, np.generic) else value
        try:
            array = values_of(value, name)
        except TypeError as error:
            problems.append(f"not an array of real numbers: {error}")
            continue
        if array.shape == wanted:
            values.append(array)
        else:
            left.misshaped.append(name)
            misfits.append(f"shape: {name} is {array.shape} in the state, {wanted} in the model")
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
    return bool(((a == b) | (a != a) & (b != b)).all())  # NaN in the same places counts as equal


def _write(ready: list[tuple[Shared, Array]]) -> None:
    """Put every array into its places, or none of them where an error or Ctrl-C comes between."""
    before: list[tuple[Shared, Array]] = []
    try:
        for shared, array in ready:
            in_place = any(_trained(place) for place in shared)
            before.append((shared, shared[0].array.copy() if in_place else shared[0].array))
            _put(shared, array)
    except BaseException:
        for shared, array in before:
            _put(shared, array)
        raise


def _trained(place: Place) -> bool:
    return isinstance(place.value, Tensor) and place.value.requires_grad


def _put(shared: Shared, array: Array) -> None:
    for place in shared:
        if _trained(place):
            place.value.data[...] = array
            place.value.changed()
        else:
            place.put(array)


def overflowed(given: Array, converted: Array) -> bool:
    """Whether a finite number of `given` became infinite when the array was converted to another dtype."""
    if given.dtype == converted.dtype or converted.dtype.kind != "f":
        return False
    infinite = abs(converted) == np.inf
    return bool(infinite.any() and (abs(to_device(given, device_of(converted)))[infinite] < np.inf).any())
