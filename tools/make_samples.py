"""Make the samples that come with the package from the full data sets.

    python tools/make_samples.py --source FOLDER      # FOLDER holds mnist/ and fashion-mnist/

The same files and the same zlib give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))  # for a checkout that is not installed

from scratchae.data.idx import read_idx, write_idx  # noqa: E402

PER_CLASS = {"train": 500, "t10k": 100}
SEED = 0


def choose(labels: np.ndarray, per_class: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of `per_class` images of each of the ten classes, in random order."""
    chosen = [rng.choice(np.flatnonzero(labels == digit), per_class, replace=False) for digit in range(10)]
    return rng.permutation(np.concatenate(chosen))


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--source", type=Path, required=True, help="holds mnist/ and fashion-mnist/")
    parser.add_argument("--target", type=Path, default=PROJECT / "scratchae" / "data" / "samples")
    arguments = parser.parse_args()

    total = 0
    for name in ("mnist", "fashion-mnist"):
        rng = np.random.default_rng(SEED)
        (arguments.target / name).mkdir(parents=True, exist_ok=True)
        for split, per_class in PER_CLASS.items():
            files = f"{split}-images-idx3-ubyte.gz", f"{split}-labels-idx1-ubyte.gz"
            images, labels = (read_idx(arguments.source / name / file) for file in files)
            rows = choose(labels, per_class, rng)
            for file, array in zip(files, (images, labels), strict=True):
                write_idx(arguments.target / name / file, array[rows])
                size = (arguments.target / name / file).stat().st_size
                total += size
                print(f"{name}/{file}: {len(rows)} of {len(array)}, {size:,} bytes")
    print(f"all together: {total:,} bytes")


if __name__ == "__main__":
    main()
