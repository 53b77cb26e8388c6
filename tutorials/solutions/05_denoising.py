"""Solutions of tutorial 05, on the embedded sample.

python tutorials/solutions/05_denoising.py
"""

import sys
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import data, optim
from scratchae.autoencoders import DenoisingAutoencoder
from scratchae.data import noise

sys.path.append(str(Path(__file__).parents[1]))
from common import load

digits = load("sample", data.mnist, data.mnist_sample)
train, clean = digits.train, digits.test
rng = np.random.default_rng(0)


def psnr(images, clean):
    return float(10 * np.log10(1 / np.mean((images - clean) ** 2)))


def trained(corruption, epochs=6):
    sa.manual_seed(0)
    model = DenoisingAutoencoder.dense((784, 256), code_activation="relu", corruption=corruption)
    sa.Trainer(model, optim.Adam(model.parameters(), lr=2e-3)).fit(train, epochs=epochs, progress=False)
    return model


print("Change a constant")
# A network for one strength is best near its strength. Both networks have equal size and equal training.
one = trained(lambda x: noise.gaussian(x, 0.4, rng))
all_strengths = trained(lambda x: noise.gaussian(x, rng.uniform(0.2, 0.6), rng))
found = {}
for strength in (0.2, 0.4, 0.6):
    noisy = noise.gaussian(clean, strength, np.random.default_rng(1))
    found[strength] = psnr(one.reconstruct(noisy), clean), psnr(all_strengths.reconstruct(noisy), clean)
    print(f"noise {strength}: trained at 0.4 {found[strength][0]:.2f} dB, at 0.2 to 0.6 {found[strength][1]:.2f} dB")
assert found[0.4][0] > found[0.4][1]
assert all(found[strength][0] < found[strength][1] for strength in (0.2, 0.6))

print("\nExplain a number")
# Noise with a standard deviation of 0.2 has a squared error of 0.04, and 10 log10(1 / 0.04) = 13.98 dB. Clipping to
# [0, 1] cuts off half of the noise of a pixel that is 0 or 1. Half of the error is 3.01 dB. A few pixels are grey, so
# clipping gains a little less.
unclipped = psnr(noise.gaussian(clean, 0.2, np.random.default_rng(1), clip=False), clean)
clipped = psnr(noise.gaussian(clean, 0.2, np.random.default_rng(1)), clean)
print(f"without clipping {unclipped:.2f} dB, with clipping {clipped:.2f} dB, difference {clipped - unclipped:.2f} dB")
assert abs(unclipped - 10 * np.log10(1 / 0.04)) < 0.02
assert 2.5 < clipped - unclipped < 10 * np.log10(2)

print("\nWrite code")


# A corruption is a function from an array to an array. The square hides neighbouring pixels, so the neighbourhood of a
# hidden pixel is hidden too. The noise of one pixel depends on its neighbours, so the short formula for A is wrong. We
# compute the regression from noisy copies. The regression beats this small dense network after 6 epochs.
def hide_square(images, side=8):
    hidden = images.copy()
    for image, (row, column) in zip(hidden, rng.integers(4, 24 - side, (len(images), 2)), strict=True):
        image[..., row : row + side, column : column + side] = 0
    return hidden


noisy = hide_square(clean)
filled = trained(hide_square).reconstruct(noisy)
copies = np.concatenate([hide_square(train) for _ in range(4)]).reshape(-1, 784)
wanted = np.concatenate([train] * 4).reshape(-1, 784)
seen_mean, mean = copies.mean(axis=0), wanted.mean(axis=0)
centred = copies - seen_mean
covariance = centred.T @ centred / len(copies) + 1e-3 * np.eye(784)
weights = np.linalg.solve(covariance, centred.T @ (wanted - mean) / len(copies))
regression = np.clip(mean + (noisy.reshape(-1, 784) - seen_mean) @ weights, 0, 1).reshape(clean.shape)
scores = {"noisy": noisy, "regression": regression, "network": filled}
scores = {name: psnr(images, clean) for name, images in scores.items()}
print("a hidden square of 8 x 8:", *(f"{name} {score:.2f} dB" for name, score in scores.items()))
assert scores["noisy"] < scores["network"] < scores["regression"]
