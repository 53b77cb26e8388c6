"""The common parts of all tutorials: the command line, the data, and the last lines."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import scratchae as sa
from scratchae import data


def settings(script: str, description: str | None, uses_data: bool = True, resumes: bool = False) -> argparse.Namespace:
    """The command line: `.quick`, `.data` ("sample" or "full") and `.out`, the folder for this script's pictures. A
    script that `resumes` passes `.resume` to `fit`, and keeps a checkpoint in this folder."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seconds, on the embedded sample")
    if uses_data:
        which = "5,000 embedded images, or all 60,000"
        parser.add_argument("--data", choices=["sample", "full"], default="sample", help=which)
    if resumes:
        parser.add_argument("--resume", action="store_true", help="continue an interrupted run")
    parser.add_argument("--out", type=Path, default=Path("outputs"), help="folder for the pictures (default: outputs)")
    args = parser.parse_args()
    if uses_data and args.quick and args.data == "full":
        parser.error("--quick runs on the embedded sample; leave out one of --quick and --data full")
    args.out = args.out / Path(script).stem
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"the pictures need a folder with write access; name the folder with --out: {error}")
    sa.set_num_threads()  # threads that sleep while they wait, so that other programs on this machine do no harm
    return args


class Images(NamedTuple):
    """Images (n, 1, 28, 28) with values in [0, 1], and their labels (n,), in three sets.

    The weights are trained on `train`. All other choices use `validation`: the code size, the number of epochs, a
    threshold. `test` is used once, for the final result.
    """

    train: np.ndarray
    train_labels: np.ndarray
    validation: np.ndarray
    validation_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def load(which: str, full: Callable, sample: Callable) -> Images:
    """The full set (55,000, 5,000 and 10,000 images) or the embedded sample (4,500, 500 and 1,000 images)."""
    read, n = (full, 55_000) if which == "full" else (sample, 4_500)
    try:
        (images, labels), test = read("train"), read("test")
    except (OSError, data.DataError) as error:
        sys.exit(f"{error}")
    return Images(images[:n], labels[:n], images[n:], labels[n:], *test)


def pca(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean (D,) of flattened images and their principal directions (D, D): unit rows, largest variance first."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    mean = flat.mean(axis=0)
    # The right singular vectors of the centred data are the eigenvectors of this much smaller matrix.
    return mean, np.linalg.eigh((flat - mean).T @ (flat - mean))[1].T[::-1]


def pca_reconstruct(images: np.ndarray, mean: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """`images` projected onto the plane through `mean` along the given rows of directions, in their shape."""
    centred = images.reshape(len(images), -1) - mean
    return (mean + centred @ directions.T @ directions).reshape(images.shape)


def mse(images: np.ndarray, reconstructions: np.ndarray) -> float:
    """The mean squared error over all pixels of all images."""
    return float(np.mean((reconstructions - images) ** 2))


_results: dict[str, dict[str, float | bool]] = {}


def verdict(what: str, target: float, result: float, at_least: bool = False) -> None:
    """Print a line with a target. The `result` must be at most `target`, or at least `target`."""
    reached = bool(result >= target if at_least else result <= target)
    _results[what] = {"target": target, "result": float(result), "at_least": at_least, "reached": reached}
    bound = "at least" if at_least else "at most"
    print(f"{what}: target {bound} {target:.5g}, result {result:.5g} - {'reached' if reached else 'MISSED'}")


def finish() -> None:
    """End the script. The exit status is 1 after a missed target. `run_all.py` reads the results as JSON."""
    if path := os.environ.get("SCRATCHAE_RESULTS"):
        Path(path).write_text(json.dumps(_results, indent=1))
    if not all(r["reached"] for r in _results.values()):
        sys.exit(1)
