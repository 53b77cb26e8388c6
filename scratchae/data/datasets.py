"""MNIST and Fashion-MNIST: where their files are, and how they become arrays."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from scratchae.data.download import fetch
from scratchae.data.idx import DataError, read_idx

# split -> (images, labels); the names are the same for both sets, gzipped ones end in .gz
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_MIRRORS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
}
# of the gzipped files as published
_SHA256 = {
    "mnist": {
        "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
}
_LARGEST_DOWNLOAD = 64 << 20  # bytes; the largest file has 26 MB
_SAMPLES = Path(__file__).parent / "samples"

Dataset = tuple[np.ndarray, np.ndarray]


def mnist(
    split: str = "train", root: str | os.PathLike[str] | None = None, download: bool = True
) -> Dataset:
    """Handwritten digits: `(images, labels)`, float32 (n, 1, 28, 28) in [0, 1] and uint8 (n,) in 0..9.

    `split` is "train" (60,000 as published) or "test" (10,000). The four IDX files, gzipped or
    unpacked, are looked for in `root`, and only there where it is given; else in
    `$SCRATCHAE_DATA/mnist`, then in the user's cache folder, into which they are downloaded
    (unless `download=False`) and where their published SHA-256 sums are checked. Files found in
    place are checked for their structure, so a smaller set of the same form is fine.

    Raises ValueError for another split, DataError (a ValueError) for a broken file or a failed
    download, FileNotFoundError where a file is missing.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86(11), 1998. Licence: CC BY-SA 3.0.
    """
    return _load("mnist", split, root, download)


def fashion_mnist(
    split: str = "train", root: str | os.PathLike[str] | None = None, download: bool = True
) -> Dataset:
    """Pictures of clothes: as `mnist`, in shapes, files, search (under `fashion-mnist`) and errors.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking
    machine learning algorithms", arXiv:1708.07747, 2017. Licence: MIT.
    """
    return _load("fashion-mnist", split, root, download)


def mnist_sample(split: str = "train") -> Dataset:
    """The part of MNIST that comes with the package, as `mnist` returns it; no network, no files needed.

    5,000 training and 1,000 test images, each drawn from its own split, equally many of every digit.
    """
    return _read(_SAMPLES / "mnist", split)


def fashion_mnist_sample(split: str = "train") -> Dataset:
    """The part of Fashion-MNIST that comes with the package: 5,000 training, 1,000 test images, balanced.

    Training and test images do not overlap, but they do not follow the official split: good for
    learning and pictures, not for comparing a score with a published one.
    """
    return _read(_SAMPLES / "fashion-mnist", split)


def _load(name: str, split: str, root: str | os.PathLike[str] | None, download: bool) -> Dataset:
    _check_split(split)
    if root is not None:
        return _read(Path(root).expanduser(), split)
    shared = os.environ.get("SCRATCHAE_DATA")
    # One of the two files is enough to settle on the folder: images and labels are never mixed.
    if shared and any(_locate(Path(shared).expanduser() / name, stem) for stem in _FILES[split]):
        return _read(Path(shared).expanduser() / name, split)
    cache = _cache_folder() / name
    for stem in _FILES[split]:
        if _locate(cache, stem):
            continue
        if not download:
            also = f" or in {Path(shared) / name}" if shared else ""
            raise FileNotFoundError(
                f"found no {stem}.gz in {cache}{also}, and download=False forbids to fetch it; "
                f"expected the file, or download=True. {_ways_out(name)}"
            )
        target, sum_ = cache / f"{stem}.gz", _SHA256[name][stem]
        fetch(_urls(name, target.name), target, sum_, _LARGEST_DOWNLOAD, ways_out=_ways_out(name))
    return _read(cache, split)


def _check_split(split: str) -> None:
    if split not in _FILES:
        raise ValueError(f"split={split!r} does not exist; expected one of {', '.join(map(repr, _FILES))}")


def _ways_out(name: str) -> str:
    return (
        f"Without the network: put the four .gz files into a folder and pass it as root=, or set "
        f"SCRATCHAE_DATA to the folder that holds {name}/ with them, or use "
        f"{name.replace('-', '_')}_sample(), which comes with the package"
    )


def _urls(name: str, file: str) -> list[str]:
    own = os.environ.get("SCRATCHAE_MIRROR")
    return [*([f"{own.rstrip('/')}/{name}/{file}"] if own else []), *(base + file for base in _MIRRORS[name])]


def _cache_folder() -> Path:
    configured = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(configured):  # the XDG specification: a relative one is to be ignored
        return Path(configured) / "scratchae"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "scratchae"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "scratchae"


def _locate(folder: Path, stem: str) -> Path | None:
    """The file `stem`, gzipped or unpacked, or None."""
    return next((path for path in (folder / f"{stem}.gz", folder / stem) if os.path.exists(path)), None)


def _present(folder: Path, stem: str) -> Path:
    path = _locate(folder, stem)
    if path is None:
        raise FileNotFoundError(
            f"{folder}: found neither {stem}.gz nor {stem}; expected the data set's four IDX files in this "
            f"folder: put them there, or name the folder that holds them"
        )
    return path


def _read(folder: Path, split: str) -> Dataset:
    _check_split(split)
    images_path, labels_path = (_present(folder, stem) for stem in _FILES[split])
    pixels = read_idx(images_path, shape=(None, 28, 28))
    labels = read_idx(labels_path, shape=(None,))
    _check_pair(pixels, labels, images_path, labels_path)
    images = pixels[:, None].astype(np.float32)
    images /= np.float32(255)
    return images, labels


def _check_pair(pixels: np.ndarray, labels: np.ndarray, images_path: Path, labels_path: Path) -> None:
    if len(pixels) == 0:
        raise DataError(f"{images_path}: holds 0 images; expected at least one: put a filled file there")
    if len(pixels) != len(labels):
        raise DataError(
            f"{images_path} holds {len(pixels)} images, but {labels_path} holds {len(labels)} labels; "
            f"expected one label for each image: take both files from the same data set"
        )
    if labels.max() > 9:
        raise DataError(
            f"{labels_path}: label {labels.max()} at position {labels.argmax()}; expected 0 to 9 only: "
            f"take both files from the same data set"
        )
