"""Data: MNIST and Fashion-MNIST, your own files, toy sets, mini-batches, and noise to remove again."""

from scratchae.data import noise
from scratchae.data.columns import Columns
from scratchae.data.datasets import fashion_mnist, fashion_mnist_sample, mnist, mnist_sample
from scratchae.data.files import image_folder, load_array
from scratchae.data.idx import DataError, read_idx, write_idx
from scratchae.data.loader import DataLoader
from scratchae.data.series import windows
from scratchae.data.tables import load_table, write_table
from scratchae.data.toys import helix, tilted_gaussian
from scratchae.data.transforms import crop, flip, rotate, scale

__all__ = [
    "Columns",
    "DataError",
    "DataLoader",
    "crop",
    "fashion_mnist",
    "fashion_mnist_sample",
    "flip",
    "helix",
    "image_folder",
    "load_array",
    "load_table",
    "mnist",
    "mnist_sample",
    "noise",
    "read_idx",
    "rotate",
    "scale",
    "tilted_gaussian",
    "windows",
    "write_idx",
    "write_table",
]
