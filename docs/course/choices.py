"""The numbers of docs/course/choosing.md and docs/course/kinds.md, on the embedded sample.

    python docs/course/choices.py                all three tables, under two minutes
    python docs/course/choices.py sizes          one of: sizes, outliers, costs

The printed tables go to choices.txt, from which the pages take them.
"""

from __future__ import annotations

import time

import numpy as np
from failures import dense, fit, main, mse, test_images, train_images, validation_images

import scratchae as sa
from scratchae import data, nn, optim
from scratchae.autoencoders import (
    ContractiveAutoencoder,
    ConvAutoencoder,
    DenoisingAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)


def sizes():
    """PCA's error by the number of components."""
    flat = train_images.reshape(len(train_images), -1).astype(np.float64)
    centre = flat.mean(axis=0)
    directions = np.linalg.eigh((flat - centre).T @ (flat - centre))[1].T[::-1]
    centred = validation_images.reshape(len(validation_images), -1) - centre
    print("numbers   validation MSE   less than with half as many numbers")
    before = None
    for size in (2, 4, 8, 16, 32, 64, 128, 256):
        kept = directions[:size]
        error = float(np.mean((centred - centred @ kept.T @ kept) ** 2))
        print(f"{size:7}   {error:14.4f}" + ("" if before is None else f"   {before - error:.4f}"))
        before = error


def outliers():
    """Training data with wrong values: readings of eight sensors, and digits. The test data are clean."""
    rng = np.random.default_rng(0)
    causes, mix = rng.standard_normal((4000, 2)), rng.standard_normal((2, 8))
    clean = (np.tanh(causes @ mix) + 0.05 * rng.standard_normal((4000, 8))).astype(np.float32)
    readings, wrong = clean[:3000].copy(), rng.random((3000, 8)) < 0.03
    readings[wrong] += rng.choice([-10, 10], wrong.sum())
    pixels = data.noise.salt_and_pepper(train_images, 0.1, rng)
    print("loss     clean test MSE:   sensors   digits   mean of black pixels")
    for name, loss in (("mse", "mse"), ("Huber", nn.HuberLoss()), ("mae", "mae")):
        sensors = dense((8, 64, 2), output=None, loss=loss)
        fit(sensors, 20, readings)
        digits = dense((784, 256, 32), loss=loss)
        fit(digits, 15, pixels)
        black = digits.reconstruct(test_images)[test_images == 0].mean()
        print(f"{name:5}{mse(sensors, clean[3000:]):28.4f}{mse(digits):9.4f}{black:23.4f}")


def costs():
    """Times of a step, in turn, so that other programs on the machine slow all kinds alike."""
    sizes, options = (784, 256, 32), {"loss": "mse"}
    models = {
        "plain": sa.Autoencoder.dense(sizes, **options),
        "denoising": DenoisingAutoencoder.dense(sizes, **options),
        "sparse, KL": SparseAutoencoder.dense(sizes, **options),
        "contractive": ContractiveAutoencoder.dense(sizes, **options),
        "variational": VariationalAutoencoder.dense(sizes, **options),
        "convolutional": ConvAutoencoder((1, 16, 32), "stride", code_size=32, **options),
    }
    batch = train_images[:64]
    optimizers = {name: optim.Adam(model.parameters()) for name, model in models.items()}
    times = {name: [] for name in models}
    for _ in range(60):
        for name, model in models.items():
            start = time.perf_counter()
            optimizers[name].zero_grad()
            model.loss(batch).backward()
            optimizers[name].step()
            times[name].append(time.perf_counter() - start)
    plain = np.median(times["plain"])
    print("kind            time of a step   parameters")
    for name, taken in times.items():
        print(f"{name:13}   {np.median(taken) / plain:11.1f} x   {models[name].count_parameters():12,}")


if __name__ == "__main__":
    main(sizes, outliers, costs, script=__file__)
