"""`explore` writes a trained autoencoder as one HTML file, which needs no network and no server."""

from __future__ import annotations

import base64
import html
import json
import math
import re
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from scratchae.autoencoders import Autoencoder, DenoisingAutoencoder, VariationalAutoencoder
from scratchae.autoencoders.conditional import Conditional
from scratchae.backend import Array
from scratchae.checks import check_bool, check_count, shown
from scratchae.explorer import network
from scratchae.explorer.items import (
    MOST_CLASSES,
    Given,
    as_picture,
    check_features,
    chosen,
    described_labels,
    picture_shape,
    principal_axes,
    ranges,
    sprite,
    unit_scores,
)
from scratchae.files.storage import FilePath, check_place, write_whole

HERE = Path(__file__).parent
SCRIPTS = ("layers", "numbers", "paint", "items", "map", "hands", "units", "path", "draw", "labels", "explorer")
TOLERANCE = 0.5 / 255  # of the range of the data: the largest change of an output that float16 may make
TRIED = 256  # codes and items on which float16 is tried


def explore(
    model: Autoencoder, path: FilePath, images: Array | None = None, labels: Any = None, title: str | None = None, *,
    features: Iterable[str] | None = None, shape: Sequence[int] | None = None, draw: bool = True,
) -> None:  # fmt: skip
    """Write `model` as a page on which you walk through the code space. Any browser opens the page from a disk.

    The page has a map of the codes. The decoder runs in the page, and shows the picture at the cursor. You can move
    each code unit, follow the path between two codes, and draw an input of your own.

    Args:
        model: an autoencoder of layers of `scratchae.nn`. The page computes the model in eval mode.
        path: the page's file, which ends in .html. An older file is replaced as a whole.
        images: data (n, ...) of the shape that the model takes. Items (C, H, W) with C = 1 or 3, and items (H, W), are
            shown as pictures, and so are flat items of a square number of values from 8 x 8 on. All other items are
            shown as bars or as a line. Of more than 2,000 items, the page shows a random sample and says so. Items
            with large codes are fewer.
        labels: one for each image. Integers, booleans and strings are classes, at most 40. Floats are a scale. A
            conditional model needs its labels here. Its page has a button for each label, which the decoder uses.
        title: the page's title. By default the class of the model.
        features: the names of an item's numbers, for data that are no pictures.
        shape: how one item looks, such as (1, 28, 28) for a flat picture, or (784,) for a series. By default the
            images tell the shape, or the decoder.
        draw: whether the page has the encoder too, and a place to draw inputs.

    Weights are stored as float16 if no output changes by more than half a grey level (0.5 / 255 of the range), and
    as float32 otherwise.

    Raises TypeError for a model that is no autoencoder, and for a layer that the page cannot compute. Raises ValueError
    for labels of another length, and for data or codes that are not finite. Nothing is written then.
    """
    if not isinstance(model, Autoencoder):
        raise TypeError(f"explore: the model is a {type(model).__name__}, without encoder and decoder; "
                        "expected an Autoencoder")  # fmt: skip
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"explore: path={shown(str(path))}; expected a name that ends in .html")
    check_place(path)
    check_bool("explore: draw", draw)
    with _labelled(model, 0):
        described = _described(model, images, labels, features, shape, draw)
    described["title"] = type(model).__name__ if title is None else str(title)
    write_whole(path, _page(described).encode())


def _described(
    model: Autoencoder, images: Any, labels: Any, features: Iterable[str] | None, shape: Any, draw: bool
) -> dict[str, Any]:
    """All that the page shows. `_page` packs the arrays in it."""
    encoder, decoder = network.halves(model)
    classes = _classes(model, images, labels)
    given, codes = _given(model, images, labels, features is not None or shape is not None)
    own = None if given is None else given.labels  # of a conditional model: each item has its own label
    layers, out = network.described(decoder, codes[:1])
    looks = _item_shape(shape, out.shape[1:] if given is None else given.items.shape[1:], features is not None)
    if math.prod(looks) != out.size or given is not None and math.prod(looks) != given.items[0].size:
        raise ValueError(f"explore: the decoder makes shape {out.shape[1:]}; expected {math.prod(looks)} numbers, "
                         f"for items of shape {tuple(looks)}")  # fmt: skip
    shape = looks if given is None else given.items.shape[1:]  # as the model takes items
    names = None if features is None else check_features(features, shape)
    picture = None if names else picture_shape(looks)

    tried = _tried(codes)
    every = np.arange(len(tried)) % (classes or 1)
    with _labelled(model, every):
        decoded = model.inverse_transform(tried)
    if not np.isfinite(decoded).all():
        raise ValueError("explore: the decoder makes numbers that are not finite; see whether the model's weights are")
    items = decoded.reshape(-1, *shape) if given is None else given.items
    low, high = _range(items, decoded, picture is not None)
    flat = codes.reshape(len(codes), -1).astype(np.float64)
    advice = "; or pass draw=False, which leaves out the encoder"
    with _labelled(model, own):
        scored = None if given is None else unit_scores(model, items, flat)
        held = None if given is None else _items(model, given, codes, picture, low, high)
    return {
        "kind": type(model).__name__,
        "classes": classes,
        "parameters": model.count_parameters(),
        "shape": list(shape),
        "picture": picture,
        "features": names,
        "range": [low, high],
        "code": {"shape": list(codes.shape[1:]), "prior": isinstance(model, VariationalAutoencoder)},
        "decoder": layers,
        "encoder": network.described(encoder, items[:1], advice)[0] if draw else None,
        "noise": _noise(model),
        "units": _assumed_units(flat) if scored is None else {**ranges(flat), **scored},
        "axes": None if given is None else principal_axes(flat),
        "items": held,
        "half": _half_is_enough(model, items[:TRIED] if draw else None, own, tried, every, decoded, high - low),
    }


def _given(model: Autoencoder, images: Any, labels: Any, told: bool) -> tuple[Given | None, np.ndarray]:
    """The items of the page, and their codes. Without `images`, codes from all over the space.

    `told` says whether an argument tells how items look, so that a flat item is not taken for a picture.
    """
    if images is None:
        if labels is not None:
            raise ValueError("explore: labels without images; pass both, or none")
        return None, network.assumed_codes(model, TRIED)
    given = chosen(model, images, labels, told)
    with _labelled(model, given.labels):
        codes = model.transform(given.items)
    if not np.isfinite(codes).all():
        raise ValueError("explore: some codes are not finite; see whether the model's weights are")
    return given, codes


def _classes(model: Autoencoder, images: Any, labels: Any) -> int | None:
    """The number of labels of a conditional model, and None for other models. Raises ValueError without labels."""
    if not isinstance(model, Conditional):
        return None
    if model.classes > MOST_CLASSES:
        raise ValueError(f"explore: the model has {model.classes} labels; the page has buttons for {MOST_CLASSES}")
    if images is not None and labels is None:
        wanted = f"expected labels from 0 to {model.classes - 1}, one for each image"
        raise ValueError(f"explore: {type(model).__name__} with images and without labels; {wanted}")
    return model.classes


def _labelled(model: Autoencoder, labels: Any) -> Any:
    """Inside, a conditional model has these labels. Without labels, the labels around stay."""
    return model.given(labels) if isinstance(model, Conditional) and labels is not None else nullcontext()


def _tried(codes: np.ndarray) -> np.ndarray:
    """Codes on which float16 is tried: of items, and of places between and around them."""
    mean, spread = codes.mean(axis=0), codes.std(axis=0)
    noise = np.random.default_rng(0).standard_normal((TRIED, *codes.shape[1:]))
    return np.concatenate([codes[:TRIED], (mean + spread * noise).astype(codes.dtype)])


def _item_shape(given: Any, out: tuple[int, ...], named: bool) -> tuple[int, ...]:
    """How one item looks: as told, or by the shape of the data, `out`."""
    if given is not None:
        return tuple(check_count("explore: shape", n) for n in given)
    return out if named else as_picture(out)


def _range(items: np.ndarray, decoded: np.ndarray, is_picture: bool) -> tuple[float, float]:
    """What is black and what is white, or the lowest and the highest value of a chart."""
    low, high = float(items.min()), float(items.max())
    if is_picture and -0.01 <= low and high <= 1.01:
        return 0.0, 1.0
    if not is_picture:
        low, high = min(low, float(decoded.min())), max(high, float(decoded.max()))
    return (low, high) if high > low else (low - 1, high + 1)


def _noise(model: Autoencoder) -> dict[str, Any] | None:
    """The noise of a denoising model. A function of the user's counts as Gaussian noise."""
    if not isinstance(model, DenoisingAutoencoder):
        return None
    kind = model.corruption if isinstance(model.corruption, str) else "gaussian"
    return {"kind": kind, "amount": 0.3 if model.amount is None else model.amount, "clip": model.clip}


def _assumed_units(codes: np.ndarray) -> dict[str, Any]:
    """The ranges of code units of which no data are known."""
    low, high = codes.min(axis=0), codes.max(axis=0)
    return {"low": low, "high": high, "from": low, "to": high, "centre": (low + high) / 2,
            "scores": None, "measure": None}  # fmt: skip


def _items(
    model: Autoencoder, given: Given, codes: np.ndarray, picture: Any, low: float, high: float
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "codes": _Half(codes),
        "errors": model.reconstruction_error(given.items),
        "numbers": given.numbers.astype(np.uint32),
        "given": given.of,
        "labels": None if given.labels is None else described_labels(given.labels),
    }
    if picture is None:
        return {**found, "rows": _Half(given.items)}
    file, size = sprite(given.items.reshape(-1, *picture), low, high)
    return {**found, "sprite": f"data:image/png;base64,{base64.b64encode(file).decode()}", "thumbnail": size}


def _half_is_enough(
    model: Autoencoder, items: Any, own: Any, codes: Array, every: np.ndarray, decoded: np.ndarray, span: float
) -> bool:
    """Whether codes and weights rounded to float16 change no output by more than the tolerance.

    A conditional model reconstructs the items under their `own` labels, and decodes the codes under the labels `every`.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        rough = network.rounded(model)
        with _labelled(model, every):
            changes = [rough.inverse_transform(codes.astype(np.float16).astype(codes.dtype)) - decoded]
        if items is not None:
            with _labelled(model, None if own is None else own[: len(items)]):
                changes.append(rough.reconstruct(items) - model.reconstruct(items))
        return all(bool(np.abs(change).max() <= TOLERANCE * span) for change in changes)


# --- the file -------------------------------------------------------------------------------------


class _Half:
    """An array that may be stored as float16."""

    def __init__(self, array: np.ndarray):
        self.array = array


def packed(described: Any, half: bool) -> tuple[str, bytearray]:
    """`described` as JSON, in which each array is a place in the bytes. With `half`, large arrays become float16."""
    numbers = bytearray()

    def packed_one(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: packed_one(one, key) for key, one in value.items()}
        if isinstance(value, list):
            return [packed_one(one) for one in value]
        large = isinstance(value, _Half) or name == "weight"
        array = value.array if isinstance(value, _Half) else value
        if not isinstance(array, np.ndarray):
            return value
        if array.dtype.kind == "f":
            array = array.astype(np.float16 if large and half else np.float32)
        numbers.extend(bytes(-len(numbers) % 4))  # JavaScript reads whole words
        place = {"at": len(numbers), "size": array.size, "type": array.dtype.name}
        numbers.extend(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return place

    return json.dumps(packed_one(described), allow_nan=False), numbers


def _page(described: dict[str, Any]) -> str:
    text, numbers = packed(described, described["half"])
    parts = {
        "title": html.escape(described["title"]),
        "style": (HERE / "style.css").read_text("utf-8"),
        "script": "\n".join((HERE / f"{name}.js").read_text("utf-8") for name in SCRIPTS),
        "model": text.replace("<", "\\u003c"),
        "numbers": base64.encodebytes(numbers).decode(),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], (HERE / "page.html").read_text("utf-8"))
