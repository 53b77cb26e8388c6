"""A prior over discrete codes: it predicts the index at a place from the indices before this place.

A code is a map of whole numbers, read row by row. The prior counts the training codes in three contexts. A later
context is finer, so its rows of counts have fewer observations.

    depth    context                               rows of the table
      1      the place                             49
      2      the neighbours to the left and above  65 x 65
      3      both                                  49 x 65 x 65

Each row has 64 counts. A neighbour outside the map has the index 64. Tutorial 14 explains the formula that joins the
three predictions.
"""

import numpy as np

import scratchae as sa

STRENGTH = 20  # observations that weigh as much as the prediction of a coarser context


class NeighbourCounts:
    """The prior of these training codes (n, rows, columns), whole numbers from 0 to entries - 1."""

    def __init__(self, codes, entries):
        self.entries, self.shape = entries, codes.shape[1:]
        places, pairs = codes[0].size, (entries + 1) ** 2
        self.tables = [np.zeros((rows, entries), np.float32) for rows in (places, pairs, places * pairs)]
        for table, context in zip(self.tables, self.contexts(codes), strict=True):
            np.add.at(table, (context, codes), 1)

    def contexts(self, codes):
        """For each table, the row of the context of each place: three arrays in the shape of `codes`."""
        place = np.broadcast_to(np.arange(codes[0].size).reshape(self.shape), codes.shape)
        padded = np.pad(codes, ((0, 0), (1, 0), (1, 0)), constant_values=self.entries)
        pair = padded[:, 1:, :-1] * (self.entries + 1) + padded[:, :-1, 1:]
        return place, pair, place * (self.entries + 1) ** 2 + pair

    def probabilities(self, codes, row, column, depth):
        """Probabilities (n, entries) of the entries at this place, from the first `depth` tables."""
        p = np.full(self.entries, 1 / self.entries)
        for table, context in zip(self.tables[:depth], self.contexts(codes), strict=False):
            seen = table[context[:, row, column]]
            p = (seen + STRENGTH * p) / (seen.sum(axis=1, keepdims=True) + STRENGTH)
        return p

    def bits(self, codes, depth):
        """The mean cost of a code, if an index of probability p costs -log2 p bits."""
        every = np.arange(len(codes))
        p = [self.probabilities(codes, i, j, depth)[every, codes[:, i, j]] for i, j in np.ndindex(self.shape)]
        return -np.log2(p).sum(axis=0).mean()

    def sample(self, n, depth):
        """Draw `n` codes, index by index. Each index depends on the indices before."""
        codes = np.zeros((n, *self.shape), int)
        for i, j in np.ndindex(self.shape):
            p = self.probabilities(codes, i, j, depth)
            codes[:, i, j] = (np.log(p) + sa.generator().gumbel(size=p.shape)).argmax(axis=1)  # one draw from p
        return codes
