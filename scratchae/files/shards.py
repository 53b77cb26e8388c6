"""Weights in one safetensors file, or in several files ("shards") with an index.

The index is a JSON file, as Hugging Face's libraries write: {"weight_map": {name of an array: name of its shard}}. The
shards lie in the folder of the index.
"""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from scratchae.checks import shown
from scratchae.files.storage import FORMAT, FileError, FilePath, read_arrays


def read_weights(path: FilePath) -> dict[str, np.ndarray]:
    """Arrays by name, of a safetensors file or of the shards of an index, a path that ends in `.index.json`.

    Of each shard, the arrays are read that the index names. Raises FileError (a ValueError) that names the file for a
    file that is damaged or of another kind, and OSError where a file is missing.
    """
    if not os.fsdecode(path).endswith(".index.json"):
        return _weights_in(path)
    folder, arrays = Path(os.fsdecode(path)).parent, dict[str, np.ndarray]()
    for shard, names in _shards_of(path).items():
        try:
            there = _weights_in(folder / shard)
        except FileNotFoundError:
            told = f"{path} names the file {shard}, which is not in the folder {folder}; nothing was loaded"
            raise FileNotFoundError(told) from None
        if lacking := [name for name in names if name not in there]:
            raise FileError(f"{folder / shard} lacks {shown(lacking)}, which {path} expects there; nothing was loaded")
        arrays |= {name: there[name] for name in names}
    return arrays


def _weights_in(path: FilePath) -> dict[str, np.ndarray]:
    arrays, strings = read_arrays(path)
    if strings.get("format") == FORMAT:  # PyTorch and others write "pt" there
        raise FileError(f"{path} is a checkpoint: read it with sa.load_checkpoint; nothing was loaded")
    return arrays


def _shards_of(path: FilePath) -> dict[str, list[str]]:
    """The names of the arrays in each shard of an index."""
    try:
        index = json.loads(Path(os.fsdecode(path)).read_bytes())
    except (ValueError, RecursionError, MemoryError) as error:
        raise FileError(f"{path} is no JSON file ({type(error).__name__}: {error}); nothing was loaded") from None
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places:
        raise FileError(f"{path} is no index of shards: it has no 'weight_map' of names; nothing was loaded")
    shards: dict[str, list[str]] = {}
    for name, shard in places.items():
        if not isinstance(shard, str) or not _stays_inside(shard):
            found = f"weight_map[{shown(name)}]={shown(shard)}"
            raise FileError(f"{path}: {found}; expected the name of a file in the same folder; nothing was loaded")
        shards.setdefault(shard, []).append(name)
    return shards


def _stays_inside(shard: str) -> bool:
    """Whether a relative path leads to no place outside of its folder, on any system."""
    ways = (PurePosixPath(shard), PureWindowsPath(shard))
    return bool(shard) and "\0" not in shard and not any(way.anchor or ".." in way.parts for way in ways)
