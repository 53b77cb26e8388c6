"""The numbers of docs/course/choosing.md and docs/course/kinds.md, on the embedded sample.

    python docs/course/choices.py                all three tables, under two minutes
    python docs/course/choices.py sizes          one of: sizes, outliers, costs

The printed tables go to choices.txt, from which the pages take them.
"""

from __future__ import annotations

import time

import numpy as np
from failures import dense, fit, main, test_images, train_images, validation_images

import scratchae as sa
from scratchae import data, optim
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
    """A tenth of all pixels of the training images is black or white by chance."""
    damaged = data.noise.salt_and_pepper(train_images, 0.1, np.random.default_rng(0))
    print("loss   MSE to clean test images   mean of black pixels")
    for loss in ("mse", "mae"):
        model = dense((784, 256, 32), loss=loss)
        fit(model, 20, damaged)
        reconstructed = model.reconstruct(test_images)
        error, black = np.mean((reconstructed - test_images) ** 2), reconstructed[test_images == 0].mean()
        print(f"{loss:4}   {error:24.4f}   {black:20.4f}")


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
