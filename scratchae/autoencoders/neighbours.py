"""A sampler for the whole-number codes of a vector-quantised autoencoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchae.autoencoders.clusters import k_means, nearest_of, vectors_of
from scratchae.checks import check_count
from scratchae.random import generator


class NeighbourSampler:
    """Whole-number codes (n, H, W) or (n, places), drawn place by place, given the places that are drawn already.

    The neighbours are the places to the left, above, and above to the left and right; on a line, the two places before.
    There are too many combinations of neighbours to count. So k-means puts similar combinations into `groups`, by the
    vectors of the neighbours' entries and the place itself, and the sampler counts the codes that follow each group.

    Args:
        entries: the vectors of the codebook, (entries, size): `model.codebook.entries`.
        groups: number of groups of combinations.
        fit_on: at most so many places are used for k-means. All places are counted.
    """

    def __init__(self, entries: Any, groups: int = 512, fit_on: int = 20_000):
        self.entries = vectors_of(entries, 2)
        self.groups, self.fit_on = check_count("groups", groups), check_count("fit_on", fit_on)

    def fit(self, codes: Any) -> NeighbourSampler:
        codes, n = np.asarray(codes), len(self.entries)
        if codes.ndim not in (2, 3) or codes.dtype.kind not in "iu" or not codes.size:
            found = f"codes of {codes.dtype} and shape {codes.shape}"
            raise ValueError(f"NeighbourSampler: {found}; expected whole numbers of shape (n, H, W) or (n, places)")
        if codes.min() < 0 or codes.max() >= n:
            raise ValueError(f"NeighbourSampler: codes up to {codes.max()}; there are {n} entries, 0 to {n - 1}")
        self.shape = codes.shape[1:]
        maps = codes.reshape(len(codes), *([1] * (3 - codes.ndim)), *self.shape)
        places = [(i, j) for i in range(maps.shape[1]) for j in range(maps.shape[2])]
        chosen = generator().permutation(len(places) * len(maps))[: self.fit_on]
        contexts = np.empty((len(chosen), self._contexts(maps[:1], 0, 0).shape[1]))
        for place, (i, j) in enumerate(places):
            here = np.flatnonzero(chosen // len(maps) == place)
            contexts[here] = self._contexts(maps[chosen[here] % len(maps)], i, j)
        self.centres, _ = k_means(contexts, min(self.groups, len(contexts)))
        counts = np.zeros((len(self.centres), n))
        for i, j in places:
            np.add.at(counts, (nearest_of(self._contexts(maps, i, j), self.centres), maps[:, i, j]), 1)
        counts += 0.5 * counts.sum(axis=0) / counts.sum()  # a group that was never seen draws from all codes
        self.shares = np.cumsum(counts / counts.sum(axis=1, keepdims=True), axis=1)
        return self

    def sample(self, n: int) -> np.ndarray:
        """Codes (n, H, W) or (n, places)."""
        rows, columns = self.shape if len(self.shape) == 2 else (1, *self.shape)
        maps = np.zeros((check_count("n", n), rows, columns), np.int64)
        for i in range(rows):
            for j in range(columns):
                groups = nearest_of(self._contexts(maps, i, j), self.centres)
                draws = generator().random((n, 1))
                maps[:, i, j] = np.minimum((self.shares[groups] < draws).sum(axis=1), len(self.entries) - 1)
        return maps.reshape(n, *self.shape)

    def _contexts(self, maps: np.ndarray, i: int, j: int) -> np.ndarray:
        """The entries of the places before (i, j), zeros outside, and the place: (n, 4 * size + 2)."""
        n, rows, columns = maps.shape
        size = self.entries.shape[1]
        before = [(i, j - 1), (i - 1, j - 1), (i - 1, j), (i - 1, j + 1)] if rows > 1 else [(0, j - 1), (0, j - 2)]
        vectors = [
            self.entries[maps[:, a, b]] if 0 <= a < rows and 0 <= b < columns else np.zeros((n, size))
            for a, b in before
        ]
        place = self.entries.std() * np.sqrt(size) * np.array([i / rows, j / columns])
        vectors.append(np.broadcast_to(place, (n, 2)))
        return np.concatenate(vectors, axis=1)
