"""Outputs of commands: places that are free, and files that are written whole."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scratchae import data, plotting
from scratchae.commands.inputs import SETS
from scratchae.data.columns import Columns
from scratchae.data.files import SUFFIXES
from scratchae.files.checkpoint import read_state
from scratchae.files.storage import FilePath, check_apart, write_whole

CURVE = "scratchae: loss curve of a model"  # the title in the picture, by which a later run recognises a loss curve


def check_places(outputs: Mapping[str, FilePath], *inputs: str) -> None:
    """Refuse, before the work, outputs that cannot be written, and outputs that would spoil an input."""
    check_apart(outputs, [source for source in inputs if source not in SETS])
    for folder in filter(os.path.isdir, inputs):
        for what, path in outputs.items():
            inside = Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents
            if inside and Path(path).suffix.lower() in SUFFIXES:
                found = f"{what} {os.fspath(path)} would be one of the images of {folder} the next time"
                raise ValueError(f"{found}; choose a place outside that folder")


def curve_beside(out: str) -> Path:
    """The path for a model's loss curve: a free name, or the name of an older loss curve."""
    for ending in (".png", "-loss.png"):
        curve = Path(out).with_name(Path(out).name.removesuffix(".safetensors") + ending)
        if not os.path.isfile(curve) or CURVE.encode() in curve.read_bytes():
            return curve
    raise ValueError(f"{curve} is there and no loss curve; rename it, or choose another --out")


def check_replaceable(path: str, what: str, is_ours: Callable[[Any, Any], bool]) -> None:
    """Refuse to replace a file of another kind."""
    if os.path.exists(path):
        try:
            ours = is_ours(*read_state(path))
        except ValueError:
            ours = False
        if not ours:
            raise ValueError(f"{path} is there and is not {what}; rename it, or choose another name")


def endings(shape: tuple[int, ...], columns: Columns | None) -> list[str]:
    """The endings of names for arrays of items of this shape."""
    return [".npy", *([".csv"] if columns else []), *([".png"] if len(shape) > 1 else [])]


def check_ending(path: str, allowed: list[str]) -> None:
    if Path(path).suffix not in allowed:
        raise ValueError(f"{path}: expected a name that ends in {' or '.join(allowed)}")


def write(path: str, array: np.ndarray, columns: Columns | None = None, originals: np.ndarray | None = None) -> None:
    """Write numbers, a table or a picture; the ending of the name decides. A picture may have `originals` on top."""
    ending = Path(path).suffix
    if ending == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, array)
        write_whole(path, buffer.getvalue())
    elif ending == ".csv" and columns is not None:
        data.write_table(path, columns.decode(array))
    elif originals is not None:
        plotting.reconstructions(originals[:10], array[:10], path)
    else:
        plotting.image_grid(array, path)
    print(f"{path}: {array.shape}")
