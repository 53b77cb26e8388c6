"""Solutions of tutorial 14, on the embedded sample.

The answers need no network. All three use a codebook of patches of 4 x 4 pixels, which k-means finds in a second.

python tutorials/solutions/14_vector_quantised.py
"""

import sys
from pathlib import Path

import numpy as np

from scratchae import data

sys.path.append(str(Path(__file__).parents[1]))
from common import load
from pca_codec import PCACodec

digits = load("sample", data.mnist, data.mnist_sample)
codec = PCACodec(digits.train)


def patches(images):
    """(n, 49, 16): each image as 7 x 7 patches of 4 x 4 pixels."""
    return images.reshape(-1, 7, 4, 7, 4).transpose(0, 1, 3, 2, 4).reshape(-1, 49, 16)


def nearest(vectors, entries):
    return ((entries**2).sum(axis=1) - 2 * vectors @ entries.T).argmin(axis=-1)


def k_means(vectors, size, rounds=15):
    """Entries (size, 16). Each is the mean of its vectors; each vector belongs to the nearest entry."""
    entries = np.unique(vectors, axis=0)
    entries = entries[np.random.default_rng(0).permutation(len(entries))[:size]]
    for _ in range(rounds):
        index = nearest(vectors, entries)
        for i in np.unique(index):
            entries[i] = vectors[index == i].mean(axis=0)
    return entries


def error(entries):
    found = patches(digits.test)
    return float(np.mean((entries[nearest(found, entries)] - found) ** 2))


def pca_error(bits):
    widths = codec.share_out(bits)
    levels, contrast = codec.encode(digits.test, widths), codec.best_contrast(digits.validation, widths)
    return float(np.mean((codec.decode(levels, widths, contrast) - digits.test) ** 2))


training = patches(digits.train[:1000]).reshape(-1, 16)
entries = k_means(training, 64)

print("Change a constant")
# An index out of 128 costs 7 bits, so an image costs 49 x 7 = 343 bits, 17% more. Twice the entries are not half the
# error. In 16 dimensions, the distances between entries shrink slowly when their number doubles.
small, large = error(entries), error(k_means(training, 128))
print(f"test MSE of patches: 294 bits {small:.5f}, 343 bits {large:.5f}, ratio {large / small:.2f}")
assert 0.7 < large / small < 0.95

print("\nExplain a number")
# More than half of all places are black, and a few entries share them. The other entries share the rest. Without the
# most frequent entry, the perplexity rises.
shares = np.bincount(nearest(patches(digits.test), entries).ravel(), minlength=64) / (49 * len(digits.test))


def perplexity(p):
    p = p[p > 0] / p.sum()
    return float(np.exp(-np.sum(p * np.log(p))))


rest = np.delete(shares, shares.argmax())
print(f"{np.sum(shares > 0)} entries in use, the most frequent at {shares.max():.0%} of the places")
print(f"perplexity {perplexity(shares):.1f}, without the most frequent entry {perplexity(rest):.1f}")
assert shares.max() > 0.4
assert perplexity(shares) < 32 < perplexity(rest)

print("\nWrite code")
# Each patch is coded without its neighbours, and the decoder only copies an entry. The VQ-VAE's vectors see more than 4
# x 4 pixels, and its decoder joins neighbouring entries. PCA looks at the whole image, so PCA beats the patches.
print(f"294 bits, test MSE: k-means of patches {small:.5f}, the best PCA codec {pca_error(294):.5f}")
assert pca_error(294) < small
