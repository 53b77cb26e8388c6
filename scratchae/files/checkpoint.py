"""Checkpoints: a model, its optimiser and all other state that a run needs to go on, in one file.

The file has the safetensors format (storage.py). The state is a tree of dicts and lists. The tree's arrays are the
file's arrays. The rest of the tree is JSON in the header, with {"@": name} in the place of each array.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from scratchae.autograd import Tensor
from scratchae.backend import Array, device_of, is_array, plain_array, to_device
from scratchae.checks import shown
from scratchae.files.states import overflowed
from scratchae.files.storage import FORMAT, FileError, FilePath, read_arrays, write_arrays
from scratchae.guards import non_finite_weights, outside
from scratchae.nn import Module
from scratchae.optim import Optimizer


def save_checkpoint(path: FilePath, model: Module, optimizer: Optimizer | None = None, **metadata: Any) -> None:
    """Write a model's state, an optimiser's, and `metadata` (JSON values: numbers, strings, lists, dicts, None).

    The old file stays after an error. Raises ValueError, before writing, for other metadata and for weights that are
    not finite. Raises OSError where the file cannot be written. `model.save_weights` also writes weights that are not
    finite.
    """
    if names := non_finite_weights(model, optimizer):
        listed = ", ".join(names)
        raise ValueError(f"{path} was not written: not finite are {listed}. Go back to an earlier checkpoint")
    write_state(path, state_of(model, optimizer), metadata)


def load_checkpoint(path: FilePath, model: Module, optimizer: Optimizer | None = None) -> dict[str, Any]:
    """Load the state that `save_checkpoint` (or a Trainer) saved, and return the metadata.

    Raises ValueError for a file that is damaged, is no checkpoint, or does not fit the model. Raises ValueError also
    for a file without a state of the given optimiser, and OSError where there is no file. After an error, model and
    optimiser are unchanged.
    """
    state, metadata = read_state(path)
    apply_state(path, state, model, optimizer)
    return metadata


def state_of(model: Module, optimizer: Optimizer | None) -> dict[str, Any]:
    """The state of model and optimiser for a checkpoint.

    The list "extra" holds the parameters that the optimiser moves and the model does not have, in the optimiser's
    order. An example is a learned weight of a loss.
    """
    state = {"model": model.state_dict(), "optimizer": None if optimizer is None else optimizer.state_dict()}
    extra = [p.data.copy() for p in outside(model, optimizer)]
    return {**state, "extra": extra} if extra else state


def apply_state(path: FilePath, state: Mapping[str, Any], model: Module, optimizer: Optimizer | None) -> None:
    """Load a `state_of` into model and optimiser. After an error, both are unchanged. Errors name `path`."""
    before = state_of(model, optimizer)
    try:
        with ExitStack() as undo:  # if the next part fails, the earlier parts are put back
            others = outside(model, optimizer)
            if optimizer is not None and state["optimizer"] is None:
                raise ValueError("the checkpoint holds no optimiser state; load it without one; nothing was loaded")
            extra = _extra_values(state.get("extra", []), others)
            model.load_state_dict(state["model"])
            undo.callback(model.load_state_dict, before["model"])
            if optimizer is not None:
                optimizer.load_state_dict(state["optimizer"])
                undo.callback(optimizer.load_state_dict, before["optimizer"])
                undo.callback(_write, others, before.get("extra", []))
                _write(others, extra)
            undo.pop_all()
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, Warning) as error:
        raise ValueError(f"{path}: {error}") from None  # wrong entries raise the other errors


def write_state(path: FilePath, state: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Write any tree of dicts with names, lists, arrays, numbers, strings and None."""
    arrays: dict[str, Array] = {}
    try:
        tree = json.dumps(_without_arrays(state, "", arrays))
    except RecursionError:
        raise ValueError(f"cannot save {path}: the state nests lists or dicts too deeply") from None
    write_arrays(path, arrays, {"format": FORMAT, "state": tree, "metadata": _json_of(metadata)})


def read_state(path: FilePath) -> tuple[Any, dict[str, Any]]:
    """The tree and the metadata of a checkpoint. Raises FileError (a ValueError) or OSError."""
    arrays, strings = read_arrays(path, checked=True)
    if strings.get("format") != FORMAT:
        found = f"format {strings.get('format')!r}, expected {FORMAT!r}"
        raise FileError(f"{path} is no checkpoint: {found}. Weights alone are read by model.load_weights")
    try:
        state = _with_arrays(json.loads(strings["state"]), arrays)
        metadata = json.loads(strings["metadata"], parse_constant=_refuse)
        kinds = {"the state": state, "model": state["model"], "metadata": metadata, "optimizer": state["optimizer"]}
        for name, value in kinds.items():
            if not isinstance(value, dict) and (name != "optimizer" or value is not None):
                raise TypeError(f"{name} is {shown(value)}, expected a dict")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        found = f"{type(error).__name__}: {error}"
        raise FileError(f"{path} is malformed ({found}). Nothing was loaded") from None
    return state, metadata


# --- parameters that the optimiser has and the model does not have --------------------------------


def _extra_values(given: Any, others: list[Tensor]) -> list[Array]:
    """The arrays for these parameters, each in its dtype and on its device."""
    wanted = [p.shape for p in others]
    if others and (not isinstance(given, list) or [getattr(a, "shape", None) for a in given] != wanted):
        found = [getattr(a, "shape", shown(a)) for a in given] if isinstance(given, list) else shown(given)
        raise ValueError(
            f"the optimiser moves parameters outside the model, of shapes {wanted}; the checkpoint has {found} for "
            "them. Load it without the optimiser, or with one of model.parameters(); nothing was loaded"
        )
    arrays = [to_device(plain_array(a, "extra"), device_of(p.data)) for a, p in zip(given, others, strict=False)]
    with np.errstate(over="ignore"):  # checked below
        values = [a.astype(p.dtype) for a, p in zip(arrays, others, strict=True)]
    if any(map(overflowed, arrays, values)):
        raise ValueError("a parameter outside the model has numbers that its dtype cannot hold; nothing was loaded")
    return values


def _write(others: list[Tensor], arrays: list[Array]) -> None:
    for p, array in zip(others, arrays, strict=True):
        p.data[...] = array
        p.changed()


# --- metadata, and the tree in the header ---------------------------------------------------------


def _json_of(metadata: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(metadata, allow_nan=False)
        back = json.loads(text)
        changed = [name for name, value in metadata.items() if back[name] != value]
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"metadata must be JSON values (finite numbers, strings, lists, dicts, None): {error}"
        ) from None
    for name in changed:
        raise ValueError(f"metadata {name}={metadata[name]!r} would come back changed; use lists, and strings as keys")
    return text


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} among the metadata")


def _without_arrays(node: Any, name: str, arrays: dict[str, Array]) -> Any:
    if is_array(node):
        while name in arrays:  # {"a.b": ...} beside {"a": {"b": ...}}
            name += "'"
        arrays[name] = node
        return {"@": name}
    if isinstance(node, Mapping):
        if wrong := [k for k in node if not isinstance(k, str) or k == "@"]:
            raise ValueError(f"a state's keys must be strings other than '@', got {wrong} in {name or 'the top'}")
        return {k: _without_arrays(v, f"{name}.{k}" if name else k, arrays) for k, v in node.items()}
    if isinstance(node, (list, tuple)):
        return [_without_arrays(v, f"{name}.{i}", arrays) for i, v in enumerate(node)]
    if not isinstance(node, (str, int, float, type(None))):
        raise TypeError(f"cannot save {name}, {shown(node)}: expected arrays, numbers, strings, None, lists and dicts")
    return node


def _with_arrays(node: Any, arrays: Mapping[str, Array]) -> Any:
    if isinstance(node, dict):
        if "@" not in node:
            return {k: _with_arrays(v, arrays) for k, v in node.items()}
        if len(node) > 1 or not isinstance(node["@"], str):
            raise ValueError(f"{shown(node)} names no array")
        return arrays[node["@"]]
    return [_with_arrays(v, arrays) for v in node] if isinstance(node, list) else node
