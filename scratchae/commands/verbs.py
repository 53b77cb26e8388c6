"""What the command line does with a model: reconstruct, encode, decode, sample, anomaly, explore, info."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from scratchae import data, random
from scratchae.autoencoders.conditional import Conditional
from scratchae.autoencoders.neighbours import NeighbourSampler
from scratchae.autoencoders.samplers import fit_sampler
from scratchae.builds import load_built
from scratchae.commands.inputs import SETS, Inputs, check_finite, printable, read_for, read_labels
from scratchae.commands.places import check_ending, check_places, endings, write
from scratchae.data.columns import Columns
from scratchae.explorer import explore as write_explorer

TOLD = 3  # columns per row in the list of anomalies


def reconstruct(args: argparse.Namespace) -> None:
    model, described = _model(args, args.data, args.labels)
    inputs = read_for(model, args.data, described["shape"])
    inputs.check_finite(args.data)
    with _labelled(args, model, args.data, len(inputs.values)):
        write(args.out, model.reconstruct(inputs.values), inputs.columns, originals=inputs.values)


def encode(args: argparse.Namespace) -> None:
    model, described = _model(args, args.data, args.labels)
    inputs = read_for(model, args.data, described["shape"])
    inputs.check_finite(args.data)
    with _labelled(args, model, args.data, len(inputs.values)):
        codes = model.transform(inputs.values)
    check_ending(args.out, endings(codes.shape[1:], None))
    write(args.out, codes)


def decode(args: argparse.Namespace) -> None:
    model, described = _model(args, args.codes, args.labels)
    codes = np.asarray(data.load_array(args.codes), None if described["kind"] == "vector-quantised" else np.float32)
    check_finite(args.codes, codes, "code")
    with _labelled(args, model, None, len(codes)):
        images = model.inverse_transform(codes)
    write(args.out, images.reshape(-1, *described["shape"]), model.columns)


def sample(args: argparse.Namespace) -> None:
    model, described = _model(args, args.labels)
    random.manual_seed(args.seed)
    if args.data is None:
        if not hasattr(model, "sample"):
            found = f"{args.model} is of kind {described['kind']!r}, whose codes have no known distribution"
            raise ValueError(f"{found}; name the training data with --data, and a sampler is fitted to their codes")
        with _labelled(args, model, None, args.n):
            items = model.sample(args.n)
    else:
        inputs = read_for(model, args.data, described["shape"])
        inputs.check_finite(args.data)
        with _labelled(args, model, None, args.n):
            codes = model.transform(_with_the_label(args, model, inputs.values))
        if codes.dtype.kind in "iu":
            sampler = NeighbourSampler(model.codebook.entries).fit(codes)
        else:
            sampler = fit_sampler(args.sampler, codes.reshape(len(codes), -1))
        with _labelled(args, model, None, args.n):
            items = model.inverse_transform(sampler.sample(args.n).reshape(-1, *codes.shape[1:]))
    write(args.out, items.reshape(-1, *described["shape"]), model.columns)


def anomaly(args: argparse.Namespace) -> None:
    if not 0 < args.quantile < 1:
        raise ValueError(f"--quantile {args.quantile}: expected a number between 0 and 1")
    model, described = _model(args)
    normal, suspects = (read_for(model, source, described["shape"]) for source in (args.normal, args.data))
    with _labelled(args, model, args.normal, len(normal.values)):
        errors, _ = _errors(model, normal)
    with _labelled(args, model, args.data, len(suspects.values)):
        found, by_column = _errors(model, suspects)
    if (odd := np.flatnonzero(~np.isfinite(errors))).size:
        listed = f"{normal.item} number {odd[0]} has the error {errors[odd[0]]}, one of {odd.size} that are not finite"
        raise ValueError(f"{args.normal}: {listed}; remove these, since no threshold can be taken from them")
    threshold = float(np.quantile(errors, args.quantile))
    print(f"# threshold {threshold:.6g}, the {args.quantile:g} quantile of {len(errors)} normal {normal.item}s")
    for note in suspects.notes():
        print(f"# {note}")
    more = _headings(suspects)
    print(",".join(["number", "error", "anomalous", *more]))
    for i, error in enumerate(found):
        fields = [suspects.files[i]] if suspects.files else []
        if suspects.columns is not None:
            fields = _largest(suspects.columns, by_column[i], error, len(more) // 2)
        print(_row([str(i), f"{error:.6g}", str(int(not error <= threshold)), *fields]))  # NaN is anomalous


def explore(args: argparse.Namespace) -> None:
    check_places({"PAGE": args.page}, args.model, *filter(None, (args.data, args.labels)))
    model, described = load_built(args.model)
    images = labels = None
    if args.data is not None:
        inputs = read_for(model, args.data, described["shape"])
        inputs.check_finite(args.data)
        images, labels = inputs.values, SETS[args.data]("train")[1] if args.data in SETS else None
    if args.labels is not None:
        labels = data.load_array(args.labels)
    if isinstance(model, Conditional) and images is not None and labels is None:
        raise ValueError(f"{_conditional(args, model)}; name a file of the labels of {args.data} with --labels")
    features = None if args.features is None else args.features.split(",")
    shape = described["shape"] if images is None else None
    write_explorer(model.to(args.device), args.page, images, labels, args.title, features=features, shape=shape)
    print(f"page: {args.page}")


def info(args: argparse.Namespace) -> None:
    model, described = _model(args)
    print(f"{args.model}: {described['kind']}, for inputs of shape {tuple(described['shape'])}\n{model}")
    for column in described.get("columns", []):
        told = "categories" if "categories" in column else "mean"
        print(printable(f"{column['name']}: {told} {column[told]}, a gap is {column['gap']}"))


def _model(args: argparse.Namespace, *inputs: str | None) -> tuple[Any, dict[str, Any]]:
    """The model of a command, and the model's description. The place of the output is checked first."""
    if hasattr(args, "out"):
        if Path(args.out).suffix not in (".npy", ".csv", ".png"):
            raise ValueError(f"{args.out}: expected a name that ends in .npy, .csv for a table, or .png for images")
        check_places({"OUT": args.out}, args.model, *filter(None, inputs))
    model, described = load_built(args.model)
    if hasattr(args, "out") and args.verb is not encode:
        check_ending(args.out, endings(tuple(described["shape"]), model.columns))
    return model.to(args.device), described


def _labelled(args: argparse.Namespace, model: Any, source: str | None, n: int) -> Any:
    """Inside, a conditional model has the labels that the command line gives, or those of the set `source`."""
    label, file = args.label, getattr(args, "labels", None)
    if not isinstance(model, Conditional):
        if label is not None or file is not None:
            option = "--labels" if label is None else "--label"
            raise ValueError(f"{option} is for conditional models, and {args.model} is none; leave it out")
        return nullcontext()
    if label is None and args.verb is not sample:
        label = read_labels(source, file, n)
    if label is None:
        files = ", or a file of labels with --labels" if hasattr(args, "labels") and args.verb is not sample else ""
        raise ValueError(f"{_conditional(args, model)}; choose one with --label{files}")
    return model.given(label)


def _conditional(args: argparse.Namespace, model: Any) -> str:
    return f"{args.model} is a conditional model, of labels from 0 to {model.classes - 1}"


def _with_the_label(args: argparse.Namespace, model: Any, values: np.ndarray) -> np.ndarray:
    """The items of `sample --data` from which a sampler learns: for a conditional model, those with the label."""
    if not isinstance(model, Conditional):
        return values
    labels = read_labels(args.data, args.labels, len(values))
    if labels is None:
        raise ValueError(f"{_conditional(args, model)}; name a file of the labels of {args.data} with --labels")
    if not (chosen := labels == args.label).any():
        raise ValueError(f"no item of {args.data} has the label {args.label}; there are {sorted({*labels.tolist()})}")
    return values[chosen]


def _errors(model: Any, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """The error of each item, and for a table what each column adds to the error."""
    with np.errstate(all="ignore"):  # an overflow is an anomaly, and needs no warning
        if inputs.columns is None:
            return model.reconstruction_error(inputs.values), np.empty(0)
        by_column = inputs.columns.errors(inputs.table, model.reconstruct)
        return by_column.sum(axis=1), by_column


def _headings(inputs: Inputs) -> list[str]:
    if inputs.columns is not None:
        places = range(1, min(TOLD, len(inputs.columns.names)) + 1)
        return [f"{name}_{i}" for i in places for name in ("column", "share")]
    return ["file"] if inputs.files else []


def _largest(columns: Columns, added: np.ndarray, error: float, n: int) -> list[str]:
    """The columns that add most to the error of a row, each with its share of the error."""
    order = np.argsort(-np.nan_to_num(added, nan=np.inf), kind="stable")[:n]
    shares = [f"{added[j] / error:.3f}" if 0 < error < np.inf else "" for j in order]
    return [field for j, share in zip(order, shares, strict=True) for field in (columns.names[j], share)]


def _row(fields: Sequence[str]) -> str:
    """A line of comma-separated values."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(fields)
    return printable(text.getvalue())
