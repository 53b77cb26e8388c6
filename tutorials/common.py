"""What every tutorial shares: its command line, the data it asks for, and its last line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from scratchae import data


def settings(script: str, description: str | None, uses_data: bool = True) -> argparse.Namespace:
    """The command line: `.quick`, `.data` ("sample" or "full") and `.out`, the folder for this script's pictures."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seconds, on the embedded sample")
    if uses_data:
        which = "5,000 embedded images, or all 60,000"
        parser.add_argument("--data", choices=["sample", "full"], default="sample", help=which)
    parser.add_argument("--out", type=Path, default=Path("outputs"), help="folder for the pictures (default: outputs)")
    args = parser.parse_args()
    if uses_data and args.quick and args.data == "full":
        parser.error("--quick runs on the embedded sample; leave out one of --quick and --data full")
    args.out = args.out / Path(script).stem
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"the pictures need a folder that can be written to, pass one with --out: {error}")
    return args


def load(which: str, full: Callable, sample: Callable) -> tuple:
    """(training images, labels, test images, labels) of the full set or of the sample."""
    read = full if which == "full" else sample
    try:
        return *read("train"), *read("test")
    except (OSError, data.DataError) as error:
        sys.exit(f"{error}")


def verdict(what: str, target: float, result: float) -> None:
    """The last line. The script fails where `result` is above `target`."""
    reached = result <= target
    print(f"{what}: target at most {target:.5g}, result {result:.5g} - {'reached' if reached else 'MISSED'}")
    sys.exit(not reached)
