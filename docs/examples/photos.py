"""Noise on photographs: a median filter, a plain convolutional autoencoder and a residual one, in decibels."""

import numpy as np
from sklearn.datasets import load_sample_image

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim

rng = np.random.default_rng(0)


def photo(name):
    """(1, 3, 424, 640), with numbers in [0, 1]. Both sides are multiples of 8."""
    return load_sample_image(name).transpose(2, 0, 1)[None, :, :424].astype("float32") / 255


def patches(image, n, size=32):
    """(n, 3, size, size), from random places."""
    height, width = image.shape[2:]
    places = zip(rng.integers(height - size + 1, size=n), rng.integers(width - size + 1, size=n), strict=True)
    return np.stack([image[0, :, y : y + size, x : x + size] for y, x in places])


def noisy(images, rng):
    return images + 0.1 * rng.standard_normal(images.shape, np.float32)


def decibels(images, clean):
    """The peak signal-to-noise ratio, for a peak of 1."""
    return -10 * np.log10(np.mean((images - clean) ** 2))


# models
def median(images):
    """The median of each 3 x 3 window."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3)), axis=(4, 5))


def plain():
    """The image is halved twice. The code has 2/3 of the numbers of the image."""
    return sa.ConvAutoencoder((3, 32, 32), output=None, loss="mse")


def residual():
    """The image plus a correction, from four convolutions."""
    return nn.Residual(nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), F.relu,
        nn.Conv2d(16, 16, 3, padding=1), F.relu,
        nn.Conv2d(16, 16, 3, padding=1), F.relu,
        nn.Conv2d(16, 3, 3, padding=1),
    ))  # fmt: skip


def trained(model, data, epochs, loss=None):
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    trainer = sa.Trainer(model, optimizer, [sa.Schedule(optim.CosineLR(optimizer, epochs))], loss=loss)
    trainer.fit(data, epochs=epochs, progress=False)
    return model.eval()


def pair(images, rng):
    """(noisy, clean): with other colours, darker, and with new noise for each batch."""
    clean = images[:, rng.permutation(3)] * np.float32(rng.uniform(0.3, 1))
    return noisy(clean, rng), clean


def denoise(train, test, n=400, epochs=15):
    """Decibels on the photo `test`, for each way. The networks train on patches of the photo `train`."""
    sa.manual_seed(0)
    pairs = sa.DataLoader(patches(train, n), 16, shuffle=True, seed=0, transform=pair)
    degraded = noisy(test, rng)
    ways = {"noisy": degraded, "median filter": median(degraded)}
    for name, model, loss in (("plain autoencoder", plain(), None), ("residual network", residual(), F.mse_loss)):
        trained(model, pairs, epochs, loss)
        with sa.no_grad():
            ways[name] = model(degraded)
    return {name: decibels(np.asarray(images), test) for name, images in ways.items()}


# compare
if __name__ == "__main__":
    photos = {name: photo(f"{name}.jpg") for name in ("china", "flower")}
    for train, test in (("china", "flower"), ("flower", "china")):
        print(f"trained on {train}, tested on {test}")
        for name, value in denoise(photos[train], photos[test]).items():
            print(f"  {name:18} {value:.1f} dB")

    # beta
    left, right = photos["china"][..., :480], photos["china"][..., 480:]
    train, test = patches(left, 2000, size=8), patches(right, 1000, size=8)
    print(f"mean colour of each patch: {decibels(test.mean(axis=(2, 3), keepdims=True), test):.1f} dB")
    for beta in (1.0, 0.02):
        sa.manual_seed(0)
        model = sa.VariationalAutoencoder.dense((192, 128, 32), output=None, loss="mse", beta=beta)
        trained(model, sa.DataLoader(train, 16, shuffle=True, seed=0), epochs=20)
        with sa.no_grad():
            kl = model.loss_terms(sa.Tensor(test))["kl"].item() / beta
        print(f"VAE, beta {beta}: {decibels(model.reconstruct(test), test):.1f} dB, KL {kl:.1f} nats")
