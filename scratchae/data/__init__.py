"""Data: MNIST and Fashion-MNIST, toy sets, mini-batches, and noise to remove again."""

from scratchae.data import noise
from scratchae.data.datasets import fashion_mnist, fashion_mnist_sample, mnist, mnist_sample
from scratchae.data.files import image_folder, load_array
from scratchae.data.idx import DataError, read_idx, write_idx
from scratchae.data.loader import DataLoader
from scratchae.data.toys import helix, tilted_gaussian

__all__ = [
    "DataError",
    "DataLoader",
    "fashion_mnist",
    "fashion_mnist_sample",
    "helix",
    "image_folder",
    "load_array",
    "mnist",
    "mnist_sample",
    "noise",
    "read_idx",
    "tilted_gaussian",
    "write_idx",
]
