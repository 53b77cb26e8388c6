"""Checkpoints: a model, its optimiser and what else it takes to go on, in one file.

The file is a safetensors one (storage.py). The state is a tree of dicts and lists; its arrays are the file's arrays,
and the rest of the tree is JSON in the header, with {"@": name} where an array belongs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from scratchae.backend import Array, is_array
from scratchae.nn import Module
from scratchae.optim import Optimizer
from scratchae.storage import FORMAT, FileError, FilePath, read_arrays, write_arrays


def save_checkpoint(path: FilePath, model: Module, optimizer: Optimizer | None = None, **metadata: Any) -> None:
    """Write a model's state, an optimiser's, and `metadata` (JSON values: numbers, strings, lists, dicts, None).

    The old file stays if anything fails. Raises ValueError for other metadata, before anything is written, and
    OSError where the file cannot be written.
    """
    write_state(path, state_of(model, optimizer), metadata)


def load_checkpoint(path: FilePath, model: Module, optimizer: Optimizer | None = None) -> dict[str, Any]:
    """Put back what `save_checkpoint` (or a Trainer) saved, and return the metadata.

    All or nothing: raises ValueError, with model and optimiser as they were, for a file that is damaged, is no
    checkpoint, does not fit the model, or holds no state for the optimiser given; OSError where there is none.
    """
    state, metadata = read_state(path)
    apply_state(path, state, model, optimizer)
    return metadata


def state_of(model: Module, optimizer: Optimizer | None) -> dict[str, Any]:
    return {"model": model.state_dict(), "optimizer": None if optimizer is None else optimizer.state_dict()}


def apply_state(path: FilePath, state: Mapping[str, Any], model: Module, optimizer: Optimizer | None) -> None:
    """Load `state_of` into both, or into neither; the errors name `path`."""
    before = model.state_dict()
    try:
        if optimizer is not None and state["optimizer"] is None:
            raise ValueError("the checkpoint holds no optimiser state; load it without one; nothing was loaded")
        model.load_state_dict(state["model"])
        if optimizer is not None:
            optimizer.load_state_dict(state["optimizer"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # the last three from malformed entries
        model.load_state_dict(before)
        raise ValueError(f"{path}: {error}") from None


def write_state(path: FilePath, state: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Write any tree of dicts with names, lists, arrays, numbers, strings and None."""
    arrays: dict[str, Array] = {}
    tree = _without_arrays(state, "", arrays)
    strings = {"format": FORMAT, "state": json.dumps(tree), "metadata": _json_of(metadata)}
    write_arrays(path, arrays, strings)


def read_state(path: FilePath) -> tuple[Any, dict[str, Any]]:
    """The tree and the metadata of a checkpoint. Raises FileError (a ValueError) or OSError."""
    arrays, strings = read_arrays(path, checked=True)
    if strings.get("format") != FORMAT:
        found = f"format {strings.get('format')!r}, expected {FORMAT!r}"
        raise FileError(f"{path} is no checkpoint: {found}. Weights alone are read by model.load_weights")
    try:
        state, metadata = _with_arrays(json.loads(strings["state"]), arrays), json.loads(strings["metadata"])
        if not isinstance(state["model"], dict) or not isinstance(state["optimizer"], (dict, type(None))):
            raise TypeError("model and optimizer must be dicts")
    except (KeyError, TypeError, ValueError) as error:
        found = f"{type(error).__name__}: {error}"
        raise FileError(f"{path} is malformed ({found}). Nothing was loaded") from None
    return state, metadata


def _json_of(metadata: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"metadata must be JSON values (finite numbers, strings, lists, dicts, None): {error}"
        ) from None
    for name, value in metadata.items():
        if json.loads(text)[name] != value:
            raise ValueError(f"metadata {name}={value!r} would come back changed; use lists, and strings as keys")
    return text


def _without_arrays(node: Any, name: str, arrays: dict[str, Array]) -> Any:
    if is_array(node):
        arrays[name] = node
        return {"@": name}
    if isinstance(node, Mapping):
        if wrong := [k for k in node if not isinstance(k, str) or k == "@"]:
            raise ValueError(f"a state's keys must be strings other than '@', got {wrong} in {name or 'the top'}")
        return {k: _without_arrays(v, f"{name}.{k}" if name else k, arrays) for k, v in node.items()}
    if isinstance(node, (list, tuple)):
        return [_without_arrays(v, f"{name}.{i}", arrays) for i, v in enumerate(node)]
    return node


def _with_arrays(node: Any, arrays: Mapping[str, Array]) -> Any:
    if isinstance(node, dict):
        return arrays[node["@"]] if "@" in node else {k: _with_arrays(v, arrays) for k, v in node.items()}
    return [_with_arrays(v, arrays) for v in node] if isinstance(node, list) else node
