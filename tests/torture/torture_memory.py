"""Very many training steps with the garbage collector off: the process does not grow."""

from __future__ import annotations

import gc

import common
import numpy as np

import scratchae as sa
from scratchae import autoencoders as ae
from scratchae import nn, optim

N = common.count(100_000)
PER_EPOCH = max(1, N // 100)
ALLOWED = 2.0  # MB between a tenth of the way and the end


class Watch(sa.Callback):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_epoch_end(self, trainer: object, row: object) -> None:
        self.seen.append(common.memory())


def main() -> None:
    gc.collect()
    gc.disable()
    x = np.random.default_rng(0).random((8 * PER_EPOCH, 12), np.float32)
    encoder = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))
    decoder = nn.Sequential(nn.Linear(3, 12), nn.Sigmoid())
    model = ae.DenoisingAutoencoder(encoder, decoder, loss="bce", amount=0.1)
    watch = Watch()
    trainer = sa.Trainer(model, optim.Adam(model.parameters()), [watch])
    trainer.fit(x, x[:8], epochs=100, batch_size=8, progress=False)
    grown = watch.seen[-1] - watch.seen[9]
    problems = [f"grown by {grown:.2f} MB, allowed {ALLOWED}"] if grown > ALLOWED else []
    common.verdict(problems, f"{100 * PER_EPOCH:,} steps: {watch.seen[9]:.2f} MB after a tenth of them, "
                             f"{watch.seen[-1]:.2f} MB after the last")  # fmt: skip


main()
