"""PCA as a codec: the best linear code, with its numbers rounded to a given number of bits.

A codec is an encoder and a decoder with a file between them. Tutorials 11 and 14 compare neural codecs with this codec.

    image (784) --- project ---> coefficients (k) --- round ----> levels (k) --- pack ----> bytes
    image (784) <--- add up ---- coefficients (k) <-- look up --- levels (k) <-- unpack --- bytes

Coefficient i is rounded to one of 2^b_i values, and costs b_i bits. The codec chooses the values and the bits b_i. Both
choices lower the squared error on the training images.

The values come from the algorithm of Lloyd and Max. Each value is the mean of its group of numbers. Each number belongs
to the group of the nearest value. The algorithm repeats these two steps.

The bits go one by one to the coefficient whose error falls most. A direction with a large variance gets many bits, and
most directions get none. For Gaussian coefficients, this allocation is called reverse water-filling.

The decoder clips pixels to [0, 1]. After clipping, a pixel beyond 0 or 1 has no larger error than a pixel at 0 or 1. A
higher contrast therefore lowers the error. All coefficients are multiplied by one number c > 1 before clipping. The
validation images choose c.
"""

import numpy as np
from common import pca

MAX_BITS = 8  # of a coefficient
ROUNDS = 30  # of Lloyd's two steps
CONTRASTS = np.arange(1, 1.5, 0.02)


def lloyd_max(numbers):
    """For 0 to MAX_BITS bits: the best values, a list of (2^b,), and their mean squared errors (MAX_BITS + 1,)."""
    numbers = np.sort(numbers)
    sums = np.concatenate([[0], np.cumsum(numbers)])
    edges, means, values, errors = np.empty(0), np.empty(0), [], []
    for _ in range(MAX_BITS + 1):
        edges = np.sort(np.concatenate([edges, means]))  # one bit more splits each group at its mean
        for _ in range(ROUNDS):
            ends = np.concatenate([[0], np.searchsorted(numbers, edges), [len(numbers)]])
            counts, first = np.diff(ends), numbers[np.minimum(ends[:-1], len(numbers) - 1)]
            means = np.where(counts, np.diff(sums[ends]) / np.maximum(counts, 1), first)  # an empty group keeps a place
            edges = (means[1:] + means[:-1]) / 2
        values.append(means)
        errors.append((np.sum(numbers**2) - np.sum(counts * means**2)) / len(numbers))
    return values, np.array(errors)


class PCACodec:
    """The codec of these training images. `widths` are the bits of each coefficient: (k,) whole numbers."""

    def __init__(self, images, components=256):
        self.mean, directions = pca(images)
        self.directions = directions[:components]
        found = [lloyd_max(column) for column in self.project(images).T]
        self.values, self.errors = [values for values, _ in found], np.array([errors for _, errors in found])

    def project(self, images):
        """The coefficients (n, components) of images (n, ...)."""
        return (images.reshape(len(images), -1) - self.mean) @ self.directions.T

    def add_up(self, coefficients, contrast=1.0):
        """Images (n, 1, 28, 28) from their first coefficients (n, k)."""
        images = self.mean + contrast * coefficients @ self.directions[: coefficients.shape[1]]
        return images.clip(0, 1).astype(np.float32).reshape(-1, 1, 28, 28)

    def share_out(self, bits):
        """The widths with the lowest training error for `bits` bits in all."""
        widths = np.zeros(len(self.errors), int)
        gains = np.pad(-np.diff(self.errors), ((0, 0), (0, 1)))  # of one bit more; none after MAX_BITS
        for _ in range(bits):
            widths[gains[np.arange(len(widths)), widths].argmax()] += 1
        return np.trim_zeros(widths, "b")

    def encode(self, images, widths):
        """Levels (n, k), whole numbers below 2^width."""
        columns = zip(self.project(images).T, self.values, widths, strict=False)
        return np.stack([np.searchsorted((v[b][1:] + v[b][:-1]) / 2, column) for column, v, b in columns], axis=1)

    def decode(self, levels, widths, contrast=1.0):
        """Images (n, 1, 28, 28) from their levels."""
        columns = zip(levels.T, self.values, widths, strict=False)
        return self.add_up(np.stack([v[b][level] for level, v, b in columns], axis=1), contrast)

    def best_contrast(self, images, widths):
        """The contrast with the lowest error on these images, which should be validation images."""
        levels = self.encode(images, widths)
        return min(CONTRASTS, key=lambda c: np.mean((self.decode(levels, widths, c) - images) ** 2))

    def entropy_coded(self, train, images, step, contrast=1.0):
        """The mean bits of an image, and the images decoded, if a level costs -log2(its share in `train`) bits.

        All coefficients have the same distance `step` between levels. A frequent level costs few bits, so a direction
        with a small variance costs little.
        """
        known, new = np.rint(self.project(train) / step), np.rint(self.project(images) / step)
        bits = 0.0
        for a, b in zip(known.T, new.T, strict=True):
            low = min(a.min(), b.min())
            counts = 0.01 + np.bincount((np.append(a, max(a.max(), b.max())) - low).astype(int))  # no share is 0
            bits -= np.log2(counts / counts.sum())[(b - low).astype(int)].mean()
        return bits, self.add_up(new * step, contrast)


def pack(levels, widths):
    """Levels (n, k) as bytes (n, ceil(bits / 8)). Level i becomes widths[i] bits."""
    bits = [level[:, None] >> np.arange(width) & 1 for level, width in zip(levels.T, widths, strict=True)]
    return np.packbits(np.concatenate(bits, axis=1).astype(np.uint8), axis=1)


def unpack(packed, widths):
    """The levels (n, k) again."""
    bits = np.split(np.unpackbits(packed, axis=1)[:, : sum(widths)].astype(int), np.cumsum(widths)[:-1], axis=1)
    return np.stack([bit @ (1 << np.arange(bit.shape[1])) for bit in bits], axis=1)
