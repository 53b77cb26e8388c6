"""Solutions of tutorial 12, on the embedded sample.

python tutorials/solutions/12_features_and_transfer.py
"""

import sys
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import data, optim

sys.path.append(str(Path(__file__).parents[1]))
from common import load, pca

digits = load("sample", data.mnist, data.mnist_sample)
draws = [np.random.default_rng(draw).permutation(len(digits.train))[:100] for draw in range(5)]


def pretrained(epochs):
    sa.manual_seed(0)
    model = sa.autoencoders.DenoisingAutoencoder.dense((784, 256, 128, 32), corruption="masking", amount=0.5)
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=1e-3))
    trainer.fit(digits.train, epochs=epochs, batch_size=64, progress=False)
    return model


def scores(train, labels, test, decay=0.02):
    """The scores of a logistic regression for `test`. Features are centred, and have a mean square sum of 32."""
    mean = train.mean(axis=0)
    scale = np.sqrt(np.mean(np.sum((train - mean) ** 2, axis=1)) / 32)
    x, test = ((np.asarray(f, np.float64) - mean) / scale for f in (train, test))
    weights, bias = np.zeros((x.shape[1], 10)), np.zeros(10)
    step = 1 / (np.linalg.norm(x, 2) ** 2 / len(x) / 2 + 1 + decay)
    for _ in range(300):
        odds = np.exp(x @ weights + bias)
        error = (odds / odds.sum(axis=1, keepdims=True) - np.eye(10)[labels]) / len(x)
        weights, bias = weights - step * (x.T @ error + decay * weights), bias - step * error.sum(axis=0)
    return test @ weights + bias


def accuracy(train, test):
    """The mean over the draws of 100 labels."""
    found = [scores(train[drawn], digits.train_labels[drawn], test).argmax(axis=1) for drawn in draws]
    return np.mean([np.mean(classes == digits.test_labels) for classes in found])


print("Change a constant")
# A short pretraining gives a code that is worse than the pixels. The decoder learns the mean image first, and for the
# mean image the code need not differ between digits.
codes = {}
for epochs in (2, 15):
    model = pretrained(epochs)
    codes[epochs] = model.transform(digits.train), model.transform(digits.test)
found = {epochs: accuracy(*pair) for epochs, pair in codes.items()}
by_pixels = accuracy(*(images.reshape(len(images), -1) for images in (digits.train, digits.test)))
print(f"accuracy with 100 labels: 2 epochs {found[2]:.1%}, 15 epochs {found[15]:.1%}, pixels {by_pixels:.1%}")
assert found[2] < by_pixels - 0.05 and found[15] > found[2] + 0.1

print("\nExplain a number")
# All 784 components are a rotation of the pixels. A rotation changes no length and no dot product. Logistic regression
# with a weight decay rotates its weights in the same way. Each score stays the same, up to rounding.
mean, directions = pca(digits.train)
flat = [images.reshape(len(images), -1) for images in (digits.train, digits.test)]
drawn = draws[0]
by_pixels = scores(flat[0][drawn], digits.train_labels[drawn], flat[1])
rotated = [(x - mean) @ directions.T for x in flat]
by_rotation = scores(rotated[0][drawn], digits.train_labels[drawn], rotated[1])
print(f"largest score {abs(by_pixels).max():.2f}, largest difference {abs(by_pixels - by_rotation).max():.1e}")
assert abs(by_pixels - by_rotation).max() < 1e-4

print("\nWrite code")
# The codes are as good as the pixels here, and 24 times shorter. The logistic regression gains more from the codes.


def nearest(train, test):
    found = []
    for drawn in draws:
        known = train[drawn]
        places = np.argmin((known**2).sum(axis=1) - 2 * test @ known.T, axis=1)
        found.append(np.mean(digits.train_labels[drawn][places] == digits.test_labels))
    return np.mean(found)


by_kind = {"pixels": nearest(*flat), "codes": nearest(*codes[15])}
print("nearest labelled image:", ", ".join(f"{kind} {share:.1%}" for kind, share in by_kind.items()))
assert by_kind["codes"] > by_kind["pixels"] - 0.02
