"""Models by description: `scratchae train` saves a description, from which the other commands build the model.

    {"kind": "variational", "sizes": [784, 256, 20], "shape": [1, 28, 28], "beta": 2.0}
    {"kind": "plain", "sizes": [3, 2], "shape": [3], "columns": [{"name": "age", "mean": 41.5, ...}, ...]}

A description may come from a file of another person. So the whole description is checked before a model is built. A
model is built only if the arrays in the same file are as large as the model will be.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

from scratchae import autoencoders, nn
from scratchae.autoencoders.base import output_activation
from scratchae.autoencoders.conditional import (
    Conditional,
    ConditionalAutoencoder,
    ConditionalVariationalAutoencoder,
)
from scratchae.backend import is_array
from scratchae.checks import check_count, shown
from scratchae.data.columns import Columns
from scratchae.files.checkpoint import apply_state, read_state
from scratchae.files.storage import FileError, FilePath
from scratchae.images.window import Size
from scratchae.more import family as _offered  # noqa: F401  # the kinds of the wider family

KINDS: dict[str, Any] = {
    **autoencoders.KINDS, "conv": autoencoders.ConvAutoencoder, "conv-denoising": autoencoders.DenoisingAutoencoder,
    "conv-variational": autoencoders.VariationalAutoencoder, "conditional": ConditionalAutoencoder,
    "conditional-variational": ConditionalVariationalAutoencoder,
}  # fmt: skip
OPTIONS = ("activation", "output", "loss", "corruption", "amount", "clip", "penalty", "target", "weight", "beta",
           "down", "code_size", "samples", "n_samples", "information", "dimensions", "kernel", "code_weight",
           "decoder_weight", "patch", "share", "entries", "entry_size", "commitment", "decay", "revive",
           "classes")  # fmt: skip
_LARGEST_INPUT = 1 << 28  # numbers in one input: a gigabyte of float32


def options_of(kind: str) -> list[str]:
    """The options that a kind adds to those of `Autoencoder`, as numbers and names.

    The sizes of a code follow from other options, and the number of classes from the labels. A discriminator is a
    module.
    """
    plain = next(c for c in KINDS[kind].__mro__ if not issubclass(c, Conditional))  # the kind without its labels
    found = inspect.signature(plain.__init__).parameters.values()
    aside = ("code_size", "feature_size", "discriminator")
    return [p.name for p in found if p.kind is p.KEYWORD_ONLY and p.name not in aside]


def usual_options(kind: str, n_samples: int, features: int | None = None) -> dict[str, Any]:
    """Options that follow from the training data: `n_samples` of images, or of vectors of so many `features`."""
    if kind == "denoising" and features is not None:
        return {"corruption": "masking"}  # Gaussian noise is for images in [0, 1]
    if kind == "vector-quantised" and features is not None:
        return {"entry_size": 1}  # one whole number for each number of the code
    return {"n_samples": max(2, n_samples)} if kind == "total-correlation" else {}


def build(description: dict[str, Any]) -> Any:
    """Build the untrained model of a description. Raises ValueError where the sizes and the shape do not agree."""
    kind, shape, sizes = description["kind"], tuple(description["shape"]), description["sizes"]
    options = {name: value for name, value in description.items() if name in OPTIONS}
    if kind.startswith("conv"):
        if len(shape) != 3 or shape[0] != sizes[0]:
            raise ValueError(f"--sizes {sizes}: the first is the images' channels; these have shape {shape}")
        if kind == "conv":
            return KINDS[kind](sizes, size=shape[1:], **options)
        return _convolutional(kind, sizes, shape[1:], **options)
    if math.prod(shape) != sizes[0]:
        found = f"inputs of shape {shape} have {math.prod(shape)} numbers"
        raise ValueError(f"--sizes {sizes}: {found}; the first size must be that")
    return KINDS[kind].dense(sizes, **options)


def _convolutional(
    kind: str, channels: list[int], size: Size, activation: str | None = "relu", output: str | None = "sigmoid",
    loss: str = "bce", down: str = "pool", code_size: int | None = None, **options: Any,
) -> Any:  # fmt: skip
    """A denoising or variational autoencoder with the halves of a `ConvAutoencoder`."""
    layers: dict[str, Any] = {"channels": channels, "down": down, "activation": activation, "size": size}
    encoder = autoencoders.conv_encoder(**layers, code_size=None if kind == "conv-variational" else code_size)
    decoder = autoencoders.conv_decoder(**layers, code_size=code_size, output=output_activation(output, loss))
    if kind == "conv-variational":
        if code_size is None:
            raise ValueError("--kind conv-variational needs --code-size, the length of the code, such as 20")
        encoder = nn.Sequential(*encoder, nn.Flatten())
        options |= {"code_size": code_size, "feature_size": autoencoders.feature_size(channels, size)}
    return KINDS[kind](encoder, decoder, loss, **options)


def load_model(path: FilePath) -> Any:
    """The model in a file of `scratchae train`, on the CPU.

    For a model of tables, `model.columns` holds the columns with their scaling, a `data.Columns`; otherwise None.
    Raises ValueError for a file that is damaged or says nothing of its model, and OSError where there is no file.
    """
    return load_built(path)[0]


def load_built(path: FilePath) -> tuple[Any, dict[str, Any]]:
    """A model and its description, from a file that `scratchae train` wrote. Raises ValueError or OSError."""
    state, metadata = read_state(path)
    description = metadata.get("build")
    if description is None:
        raise ValueError(f"{path} does not say how its model was built; expected a file of 'scratchae train'")
    try:
        _check(description)
        _check_promise(description, [a for a in state["model"].values() if is_array(a)])
        model = build(description)
        model.columns = Columns.from_description(description["columns"]) if "columns" in description else None
    except (ValueError, TypeError) as error:
        raise FileError(f"{path} describes no model that can be built: {error}") from None
    apply_state(path, state, model, None)
    return model, description


def _check(description: Any) -> None:
    """Refuse a description that `scratchae train` would not write."""
    if not isinstance(description, dict):
        raise TypeError(f"{shown(description)}, expected a dict")
    older = "size"  # where `shape` says the same
    known = {"kind", "sizes", "shape", "columns", *OPTIONS, older}
    if unknown := sorted(set(description) - known):
        raise ValueError(f"it has no options {shown(unknown)}")
    if not isinstance(kind := description.get("kind"), str) or kind not in KINDS:
        raise ValueError(f"kind={shown(kind)}; expected one of {sorted(KINDS)}")
    for name, least in (("sizes", 2), ("shape", 1)):
        numbers = description.get(name)
        if not isinstance(numbers, list) or len(numbers) < least:
            raise ValueError(f"{name}={shown(numbers)}; expected a list of at least {least} numbers")
        for number in numbers:
            check_count(name, number)
    if math.prod(description["shape"]) > _LARGEST_INPUT:
        raise ValueError(f"shape={shown(description['shape'])}; expected at most {_LARGEST_INPUT} numbers")
    if "columns" in description:
        width = Columns.from_description(description["columns"]).width
        if description["shape"] != [width]:
            raise ValueError(f"shape={shown(description['shape'])}, but its columns have {width} features")
    for name in OPTIONS:
        if not isinstance(value := description.get(name), (str, int, float, type(None))):
            raise TypeError(f"{name}={shown(value)}; expected a number, a name or None")


def _check_promise(description: dict[str, Any], arrays: list[Any]) -> None:
    """Refuse a model that is larger than the arrays of its file, before the model takes memory."""
    if issubclass(KINDS[description["kind"]], Conditional):
        classes = check_count("classes", description.get("classes"), 2)
    else:
        classes = 0
    sizes, code_size = description["sizes"], description.get("code_size")
    weights = 2 * sum(a * b for a, b in zip(sizes[:-1], sizes[1:], strict=True))  # encoder and decoder
    weights += classes * (sizes[1] + sizes[-2])  # a bias for each label
    if description["kind"].startswith("conv"):
        weights *= 3 * 3  # the kernels
        if code_size is not None:
            last = [side // 2 ** (len(sizes) - 1) for side in description["shape"][1:]]
            weights += 2 * sizes[-1] * math.prod(last) * check_count("code_size", code_size)
    held = sum(a.size for a in arrays)
    if weights > held or 2 * (len(sizes) - 1) > len(arrays):
        raise ValueError(f"sizes={shown(sizes)} need at least {weights:,} weights; the file holds {held:,} numbers")
