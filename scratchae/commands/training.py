"""`scratchae train`."""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path
from typing import Any

from scratchae import optim, plotting, progress, random
from scratchae.autoencoders.base import ACTIVATIONS, LOSSES
from scratchae.autoencoders.conditional import Conditional
from scratchae.builds import KINDS, build, options_of, usual_options
from scratchae.commands.inputs import (
    SETS,
    Inputs,
    is_pictures,
    is_table,
    read_array,
    read_labels,
    read_pictures,
    read_table,
)
from scratchae.commands.places import CURVE, check_places, check_replaceable, curve_beside
from scratchae.data.files import SUFFIXES
from scratchae.files.checkpoint import save_checkpoint
from scratchae.files.storage import check_place, write_whole
from scratchae.training import Trainer


def _name(text: str) -> str | None:
    return None if text == "none" else text


OPTIONS: dict[str, tuple[Any, str]] = {  # name -> (type, help)
    "activation": (_name, f"{', '.join(ACTIVATIONS)}, or none for a linear model"),
    "output": (_name, "activation of the last layer, or none (default: sigmoid; for a table none)"),
    "loss": (str, f"{', '.join(LOSSES)} (default: bce; for a table mse)"),
    "corruption": (str, "denoising: gaussian, masking or salt_and_pepper (default: gaussian; for a table masking)"),
    "amount": (float, "denoising: of the corruption"),
    "penalty": (str, "sparse: kl or l1; regularised: l2 or gradient"),
    "target": (float, "sparse: mean activation"),
    "weight": (float, "sparse, contractive, wasserstein, adversarial: of the penalty"),
    "beta": (float, "variational: weight of the KL term; total-correlation: of the total correlation"),
    "samples": (int, "importance-weighted: codes per item"),
    "information": (float, "total-correlation: weight of the mutual information"),
    "dimensions": (float, "total-correlation: weight of the KL of each dimension"),
    "kernel": (str, "wasserstein: imq or rbf"),
    "code_weight": (float, "regularised: weight of the squared code"),
    "decoder_weight": (float, "regularised: weight of the decoder's penalty"),
    "patch": (int, "masked: side of a patch"),
    "share": (float, "masked: share of hidden patches"),
    "entries": (int, "vector-quantised: entries of the codebook"),
    "entry_size": (int, "vector-quantised: length of an entry"),
    "commitment": (float, "vector-quantised: weight of the commitment"),
    "down": (str, "conv: pool or stride"),
    "code_size": (int, "conv: a flat code; conv-variational needs one"),
}
TABLE_EPOCHS, EPOCHS = 20, 10
TABLE_SIZES, CONV_SIZES, SIZES = [32, 4], [16, 32], [128, 64]


def train(args: argparse.Namespace) -> None:
    for name in filter(None, (args.out, args.checkpoint)):
        if Path(name).suffix.lower() in SUFFIXES:
            raise ValueError(f"{name} is the name of a picture; expected one for a model, such as model.safetensors")
    check_place(args.out)
    curve = curve_beside(args.out)
    outputs = {"--out": args.out, "--checkpoint": args.checkpoint, "the loss curve": curve}
    sources = [args.data, *filter(None, [args.labels])]
    check_places({what: path for what, path in outputs.items() if path}, *sources)  # before the training, not after
    check_replaceable(args.out, "a model", lambda state, metadata: "build" in metadata)
    if args.checkpoint is not None and not args.resume:
        check_replaceable(args.checkpoint, "a run's checkpoint", lambda state, metadata: "run" in state)
    inputs = _inputs(args)
    inputs.check_finite(args.data)
    labels = _labels(args, len(inputs.values))
    held_out: Any = read_array(args.data, "test").values if args.data in SETS else None
    if labels is not None and held_out is not None:
        held_out = held_out, read_labels(args.data, None, len(held_out), "test")
    random.manual_seed(args.seed)
    described = _description(args, inputs)
    if labels is not None:
        described["classes"] = max(2, int(labels.max()) + 1)
    model = build(described).to(args.device)
    progress.line(str(model))  # a reader that closes the pipe does not end the training
    trainer = Trainer(model, optim.Adam(model.parameters(), lr=args.lr))
    usual = EPOCHS if inputs.columns is None else TABLE_EPOCHS
    epochs = usual if args.epochs is None else args.epochs
    given = inputs.values if labels is None else (inputs.values, labels)
    history = trainer.fit(given, held_out, epochs, args.batch_size, seed=args.seed, checkpoint=args.checkpoint,
                          resume=args.resume)  # fmt: skip
    save_checkpoint(args.out, model, build=described)
    write_whole(curve, plotting.png(history.plot(), metadata={"Title": CURVE}))
    print(f"model: {args.out}\nloss curve: {curve}")


def _inputs(args: argparse.Namespace) -> Inputs:
    """The training data. Raises ValueError for options of other kinds of data."""
    for option, wanted, fits in (
        ("size", "pictures", is_pictures), ("channels", "pictures", is_pictures),
        ("categories", "a table", is_table), ("without", "a table", is_table),
    ):  # fmt: skip
        if getattr(args, option) is not None and not fits(args.data):
            raise ValueError(f"--{option} is an option for {wanted}, and --data {args.data} is none; leave it out")
    if is_pictures(args.data):
        side = 28 if args.size is None else args.size
        return read_pictures(args.data, (side, side), 1 if args.channels is None else args.channels)
    if not is_table(args.data):
        return read_array(args.data)
    if args.kind.startswith("conv"):
        raise ValueError(f"--kind {args.kind} takes pictures, and {args.data} is a table; choose another kind")
    inputs = read_table(args.data, _names(args.categories), _names(args.without))
    rows, features = inputs.values.shape
    progress.line("\n  ".join([f"{args.data}: {rows} rows become {features} features each", *inputs.notes()]))
    return inputs


def _labels(args: argparse.Namespace, n: int) -> Any:
    """The labels (n,) of the training data for a conditional kind, and None for other kinds."""
    if not issubclass(KINDS[args.kind], Conditional):
        if args.labels is not None:
            raise ValueError(f"--labels is for conditional kinds, and --kind {args.kind} is none; leave it out")
        return None
    labels = read_labels(args.data, args.labels, n)
    if labels is None:
        wanted = "name a .npy file of one whole number for each item with --labels"
        raise ValueError(f"--kind {args.kind} needs labels, and --data {args.data} has none; {wanted}")
    if labels.min() < 0:
        raise ValueError(f"{args.labels} holds the label {labels.min()}; expected whole numbers from 0")
    return labels


def _description(args: argparse.Namespace, inputs: Inputs) -> dict[str, Any]:
    """What the file of the model says of the model: see builds.py."""
    shape = list(inputs.values.shape[1:])
    described = {"kind": args.kind, "sizes": _sizes(args, shape, inputs), "shape": shape, **_options(args)}
    features = None if inputs.columns is None else shape[0]
    described = {**usual_options(args.kind, len(inputs.values), features), **described}
    if inputs.columns is not None:
        described = {"output": None, "loss": "mse", **described, "columns": inputs.columns.describe()}
    low, high = float(inputs.values.min()), float(inputs.values.max())
    if low < 0 or high > 1:
        if (loss := described.get("loss", "bce")).startswith(("bce", "cb")):
            found = f"{args.data} holds values from {low:g} to {high:g}, and --loss {loss} takes values in [0, 1]"
            raise ValueError(f"{found}; scale the values, or train with --loss mse --output none")
        if args.kind.endswith("denoising") and described.get("corruption", "gaussian") == "gaussian":
            described["clip"] = False  # the noise need not stay in [0, 1] either
    return described


def _sizes(args: argparse.Namespace, shape: list[int], inputs: Inputs) -> list[int]:
    conv = args.kind.startswith("conv")
    first = shape[0] if conv else math.prod(shape)
    if args.sizes is None:
        return [first, *(CONV_SIZES if conv else SIZES if inputs.columns is None else TABLE_SIZES)]
    try:
        sizes = [int(part) for part in args.sizes.split(",")]
    except ValueError:
        found = f"--sizes {args.sizes!r}: expected whole numbers with commas between"
        raise ValueError(f"{found}, such as 784,128,64") from None
    return sizes if inputs.columns is None or sizes[0] == first else [first, *sizes]


def _names(text: str | None) -> list[str]:
    """Names with commas between. A name with a comma in it stands in quotation marks."""
    return [] if text is None else [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """The options given for the kind. Raises ValueError for an option that the kind does not have."""
    given = {name: value for name, value in vars(args).items() if name in OPTIONS}
    conv = ["down", "code_size"] if args.kind.startswith("conv") else []
    known = {"activation", "output", "loss", *options_of(args.kind), *conv}
    if unknown := sorted(set(given) - known):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in OPTIONS if name in known)
        raise ValueError(f"--{unknown[0].replace('_', '-')} is no option of --kind {args.kind}; expected {names}")
    return given
