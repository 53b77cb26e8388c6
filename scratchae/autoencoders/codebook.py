"""The codebook of a vector-quantised autoencoder: vectors that follow the vectors that chose them.

    n_j = decay * n_j + (1 - decay) * number of vectors        s_j = decay * s_j + (1 - decay) * sum of vectors
    e_j = s_j / n_j

An entry with n_j below `revive` is replaced by a copy of another entry, a little moved. The two then share the vectors
of that entry (splitting: Y. Linde, A. Buzo, R. Gray 1980). Source of the moving averages: A. van den Oord, O. Vinyals,
K. Kavukcuoglu, "Neural discrete representation learning", NeurIPS 2017, appendix A.
"""

from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae import nn
from scratchae.autograd.reductions import batch_count
from scratchae.backend import Array, device_of, xp_of
from scratchae.changes import changed
from scratchae.checks import check_count, check_number
from scratchae.random import generator


class Codebook(nn.Module):
    """`entries` vectors of length `size`, which follow the encoder's vectors in train mode. No gradient moves them."""

    entries: Array
    counts: Array
    sums: Array

    def __init__(self, entries: int, size: int, decay: float = 0.95, revive: float = 0.1):
        n, d = check_count("entries", entries, 2), check_count("entry_size", size)
        self.decay = check_number("decay", decay, "[0, 1)")
        self.revive = check_number("revive", revive)
        first = generator().standard_normal((n, d), dtype=np.float32) / n
        self.register_buffer("entries", first)
        self.register_buffer("counts", np.ones(n, np.float32))
        self.register_buffer("sums", first.copy())

    def nearest(self, vectors: Array) -> Array:
        """The numbers (P,) of the entries nearest to vectors (P, d). |v|^2 is equal for all entries and left out."""
        squares = (self.entries * self.entries).sum(axis=1)
        return (squares - 2 * F.matmul(vectors, self.entries.T)).argmin(axis=1)

    def follow(self, vectors: Array, numbers: Array) -> None:
        """Move the entries towards the vectors (P, d) that chose them."""
        xp = xp_of(vectors)
        chose = (numbers[:, None] == xp.arange(len(self.entries))).astype(vectors.dtype)
        places = batch_count(len(vectors))  # of the whole batch, also where several processes share the batch
        found = F.matmul(chose.T, xp.concatenate([vectors, xp.ones((len(vectors), 1), vectors.dtype)], axis=1))
        found = F.batch_mean((found / len(vectors))[None], axis=0) * places
        self.sums[...] = self.decay * self.sums + (1 - self.decay) * found[:, :-1]
        self.counts[...] = self.decay * self.counts + (1 - self.decay) * found[:, -1]
        self._revive(xp)
        self.entries[...] = self.sums / self.counts[:, None]
        for buffer in (self.entries, self.counts, self.sums):
            changed(buffer)

    def _revive(self, xp: Any) -> None:
        """Make each entry that is hardly used a copy of another, near it. Frequent entries are copied more often."""
        draw, dead = generator(device_of(self.counts)), self.counts < self.revive
        shares = xp.cumsum(self.counts * ~dead)
        chosen = xp.searchsorted(shares, draw.random(len(shares), dtype=np.float32) * shares[-1] * 0.999)
        means = (self.sums / self.counts[:, None])[chosen]
        moved = means + 0.1 * means.std() * draw.standard_normal(means.shape, dtype=np.float32)
        fresh = 2 * self.revive
        self.sums[...] = xp.where(dead[:, None], fresh * moved, self.sums)
        self.counts[...] = xp.where(dead, fresh, self.counts)
