"""MNIST and Fashion-MNIST: find the files, and load arrays from the files."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scratchae.data.download import fetch
from scratchae.data.idx import DataError, read_idx
from scratchae.files.storage import FilePath

# split -> (images, labels); the names are the same for both sets, and gzipped files end in .gz
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_MIRRORS: dict[str, tuple[str, ...]] = {
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    "fashion-mnist": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
}
# SHA-256 sums of the gzipped files as published.
_SHA256 = {
    "mnist": {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
}
_SAMPLES = Path(__file__).parent / "samples"

Dataset = tuple[np.ndarray, np.ndarray]


def mnist(split: str = "train", root: FilePath | None = None, download: bool = True) -> Dataset:
    """Handwritten digits: `(images, labels)`, float32 (n, 1, 28, 28) in [0, 1] and uint8 (n,) in 0..9.

    `split` is "train" (60,000 as published) or "test" (10,000). The four IDX files may be gzipped or
    unpacked. Where `root` is given, only that folder is searched. Otherwise the files are looked for in
    `$SCRATCHAE_DATA/mnist`, then in the user's cache folder. Missing files are downloaded into the cache
    (unless `download=False`), and a download must have the published SHA-256 sum. For files found in place, only the
    structure is checked, so a smaller set of the same form is allowed.

    Raises ValueError for another split, and FileNotFoundError for a missing file. Raises DataError (a
    ValueError) for a broken file or a failed download.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86(11), 1998. Licence: CC BY-SA 3.0.
    """
    return _load("mnist", split, root, download)


def fashion_mnist(split: str = "train", root: FilePath | None = None, download: bool = True) -> Dataset:
    """Pictures of clothes. Shapes, files, search (under `fashion-mnist`) and errors are as in `mnist`.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking
    machine learning algorithms", arXiv:1708.07747, 2017. Licence: MIT.
    """
    return _load("fashion-mnist", split, root, download)


def mnist_sample(split: str = "train") -> Dataset:
    """The part of MNIST that comes with the package, in the form of `mnist`. Needs no network and no files.

    5,000 training and 1,000 test images, drawn from the two splits of MNIST, equally many of every digit.
    """
    return _load("mnist", split, _SAMPLES / "mnist")


def fashion_mnist_sample(split: str = "train") -> Dataset:
    """The part of Fashion-MNIST that comes with the package: 5,000 training, 1,000 test images, balanced.

    Training and test images do not overlap, but they do not follow the official split. Do not compare
    a score on these images with published scores.
    """
    return _load("fashion-mnist", split, _SAMPLES / "fashion-mnist")


def _load(name: str, split: str, root: FilePath | None, download: bool = False) -> Dataset:
    if split not in _FILES:
        raise ValueError(f"split={split!r} does not exist; expected one of {', '.join(map(repr, _FILES))}")
    stems = _FILES[split]
    if root is not None:
        return _read(Path(root).expanduser(), stems)
    cache = _cache_folder() / name
    places = [cache]
    if shared := os.environ.get("SCRATCHAE_DATA"):
        places.append(Path(shared).expanduser() / name)
        # One of the two files decides for the folder, since images and labels must come from one folder.
        if any(_locate(places[1], stem) for stem in stems):
            return _read(places[1], stems)
    ways_out = (
        f"Without the network: put the four .gz files into a folder and pass it as root=, or set SCRATCHAE_DATA to the "
        f"folder that holds {name}/ with them, or use {name.replace('-', '_')}_sample(), which comes with the package"
    )
    missing = [f"{stem}.gz" for stem in stems if not _locate(cache, stem)]
    if missing and not download:
        looked = " or in ".join(map(str, places))
        raise FileNotFoundError(f"found no {missing[0]} in {looked}; expected it there, or download=True. {ways_out}")
    for file in missing:
        fetch([mirror + file for mirror in _MIRRORS[name]], cache / file, _SHA256[name][file], ways_out)
    return _read(cache, stems)


def _cache_folder() -> Path:
    configured = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(configured):  # the XDG specification ignores relative paths
        return Path(configured) / "scratchae"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "scratchae"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "scratchae"


def _locate(folder: Path, stem: str) -> Path | None:
    """The file `stem`, gzipped or unpacked, or None."""
    return next((path for path in (folder / f"{stem}.gz", folder / stem) if os.path.exists(path)), None)


def _read(folder: Path, stems: Sequence[str]) -> Dataset:
    paths = []
    for stem in stems:
        if (path := _locate(folder, stem)) is None:
            remedy = "put the data set's four IDX files there, or name the folder that holds them"
            raise FileNotFoundError(f"{folder}: found neither {stem}.gz nor {stem}; {remedy}")
        paths.append(path)
    pixels, labels = read_idx(paths[0], shape=(None, 28, 28)), read_idx(paths[1], shape=(None,))
    if len(pixels) == 0:
        raise DataError(f"{paths[0]}: holds 0 images; expected at least one: put a filled file there")
    remedy = "take both files from the same data set"
    if len(pixels) != len(labels):
        found = f"{paths[0]} holds {len(pixels)} images, but {paths[1]} holds {len(labels)} labels"
        raise DataError(f"{found}; expected one label for each image: {remedy}")
    if labels.max() > 9:
        found = f"{paths[1]}: label {labels.max()} at position {labels.argmax()}"
        raise DataError(f"{found}; expected 0 to 9 only: {remedy}")
    return np.divide(pixels[:, None], 255, dtype=np.float32), labels
