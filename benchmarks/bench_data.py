"""pytest-benchmark: the time to load batches, and to read files. Every pixel is checked."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import scratchae as sa

SAMPLE = Path(sa.data.__file__).parent / "samples" / "mnist" / "train-images-idx3-ubyte.gz"
N = 5000


@pytest.fixture(scope="module")
def images():
    """The first pixel of each image is the image's number."""
    x = np.random.default_rng(0).random((N, 784), dtype=np.float32)
    x[:, 0] = np.arange(N)
    return x


def one_epoch(loader):
    """Reads every batch, as a training step would."""
    return [(batch[:, 0].copy(), batch.sum(dtype=np.float64)) for batch in loader]


def check(images, seen, shuffled):
    order = np.concatenate([numbers for numbers, _ in seen]).astype(int)
    assert np.array_equal(np.sort(order), np.arange(N))  # each image once
    assert np.array_equal(order, np.arange(N)) != shuffled
    assert sum(total for _, total in seen) == pytest.approx(images.sum(dtype=np.float64), rel=1e-9)


@pytest.mark.parametrize("shuffle", [False, True], ids=["in order", "shuffled"])
def test_loader(benchmark, images, shuffle):
    loader = sa.DataLoader(images, batch_size=64, shuffle=shuffle, seed=0)
    check(images, benchmark(one_epoch, loader), shuffle)


@pytest.mark.parametrize("shuffle", [False, True], ids=["in order", "shuffled"])
def test_loader_on_a_memory_map(benchmark, images, shuffle, tmp_path):
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    loader = sa.DataLoader(mapped, batch_size=64, shuffle=shuffle, seed=0)
    check(images, benchmark(one_epoch, loader), shuffle)


def test_read_idx(benchmark):
    """5,000 gzipped images, with all checks. The pixels follow a header of 16 bytes."""
    found = benchmark(sa.data.read_idx, SAMPLE)
    wanted = np.frombuffer(gzip.decompress(SAMPLE.read_bytes()), np.uint8, offset=16)
    assert np.array_equal(found, wanted.reshape(N, 28, 28))


def test_mnist_sample(benchmark):
    """The same images as float32 in [0, 1], with labels."""
    images, labels = benchmark(sa.data.mnist_sample)
    assert np.array_equal(images[:, 0], sa.data.read_idx(SAMPLE).astype(np.float32) / 255)
    assert np.array_equal(np.bincount(labels), np.full(10, N // 10))
