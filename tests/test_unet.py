"""The U-Net of the documentation: written from outside in few lines, and it learns."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import functional as F
from scratchae import optim

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "unet.py"


def test_the_unet_is_short_learns_and_takes_images_of_any_size() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 60
    names = runpy.run_path(str(EXAMPLE))
    model, rng = names["UNet"](widths=(4, 8)), np.random.default_rng(0)
    clean = np.repeat(rng.random((16, 1, 1, 8), np.float32), 8, axis=2)
    noise = names["noisy"](clean, rng)
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=1e-2), loss=F.mse_loss)
    history = trainer.fit((noise, clean), epochs=10, batch_size=4, progress=False)
    assert history["loss"][-1] < 0.4 * history["loss"][0] and history["loss"][-1] < 0.5 * ((noise - clean) ** 2).mean()
    assert model(sa.Tensor(rng.random((2, 1, 6, 10), np.float32))).shape == (2, 1, 6, 10)


def test_the_unets_gradients_are_the_slopes() -> None:
    model = runpy.run_path(str(EXAMPLE))["UNet"](widths=(4, 4)).to(np.float64)
    x = np.random.default_rng(0).random((1, 1, 4, 2))
    assert sa.gradcheck(lambda x: (model(x) ** 2).sum(), [x])
