"""Data: MNIST and Fashion-MNIST, toy sets, mini-batches, and noise to remove again."""

from scratchae.data import noise
from scratchae.data.datasets import fashion_mnist, fashion_mnist_sample, mnist, mnist_sample
from scratchae.data.files import image_folder, load_array
from scratchae.data.idx import DataError, read_idx, write_idx
from scratchae.data.loader import DataLoader
from scratchae.data.toys import helix, tilted_gaussian
from scratchae.data.transforms import crop, flip, rotate, scale

__all__ = [
    "DataError",
    "DataLoader",
    "crop",
    "fashion_mnist",
    "fashion_mnist_sample",
    "flip",
    "helix",
    "image_folder",
    "load_array",
    "mnist",
    "mnist_sample",
    "noise",
    "read_idx",
    "rotate",
    "scale",
    "tilted_gaussian",
    "write_idx",
]
