"""Solutions of tutorial 02C, on the embedded sample.

python tutorials/solutions/02C_loss_activation_inputs.py
"""

import sys
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import data, optim
from scratchae import functional as F

sys.path.append(str(Path(__file__).parents[1]))
from common import load, pca

LINE = np.array([1, 0.5])


def points_with(count):
    """1000 points, of which `count` are outliers."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((1000, 1)) * LINE + 0.05 * rng.standard_normal((1000, 2))
    far = rng.uniform(0.5, 1.5, (count, 1)) * rng.choice([-1, 1], (count, 1)) * [-3, 6]
    points[:count] = far + 0.3 * rng.standard_normal((count, 2))
    return points.astype(np.float32)


def degrees(direction):
    return float(np.degrees(np.arccos(abs(direction @ LINE) / np.linalg.norm(direction) / np.linalg.norm(LINE))))


print("Change a constant")
# PCA takes the direction with the largest variance. Along the line, the variance is 1 + 0.5^2 = 1.25. Across the line,
# 5% outliers give 0.05 x 45 x 1.08 = 2.4, and 1% give 0.5. So 1% outliers lose, and PCA finds the line again.
angles = {count: degrees(pca(points_with(count))[1][0]) for count in (50, 10)}
print(f"PCA: 5% outliers {angles[50]:.1f} degrees, 1% outliers {angles[10]:.1f} degrees")
assert angles[50] > 80 and angles[10] < 5

print("\nExplain a number")
# In 10% of the training images, the corner is 1, and in all others 0. The network cannot know in which images. The MSE
# asks for the mean, 0.1. The MAE asks for the median, 0. But the loss asks this only of the mean output over the
# training images. Clean images have no white points, so their codes differ from the codes of the training images. The
# output at the corner depends on the code a little, and no training image shows which output a clean image should get.
digits = load("sample", data.mnist, data.mnist_sample)
dirty = digits.train.copy()
dirty[np.random.default_rng(0).random(dirty.shape) < 0.1] = 1
print(f"corner of the training images: mean {dirty[:, 0, 0, 0].mean():.3f}, median {np.median(dirty[:, 0, 0, 0]):.3f}")
corners = {}
for loss in ("mse", "mae"):
    sa.manual_seed(0)
    model = sa.Autoencoder.dense((784, 128, 32), activation="gelu", output=None, loss=loss)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    trainer = sa.Trainer(model, optimizer, [sa.Schedule(optim.CosineLR(optimizer, 3))])
    trainer.fit(dirty, epochs=3, batch_size=32, progress=False)
    corners[loss] = [float(model.reconstruct(x)[:, 0, 0, 0].mean()) for x in (dirty, digits.test)]
    print(f"{loss}: mean corner, training images {corners[loss][0]:.3f}, clean test images {corners[loss][1]:.3f}")
assert abs(corners["mse"][0] - 0.1) < 0.01 < 0.02 < 0.1 - corners["mse"][1]
assert max(map(abs, corners["mae"])) < 0.02

print("\nWrite code")


# The Huber loss is quadratic, d^2 / (2 c), for errors |d| below c = 0.1, and linear, |d| - c / 2, above. Its derivative
# is never above 1. An error of 6 pulls no harder than an error of 0.1.
def huber(reconstruction, target):
    d = abs(reconstruction - target)
    return F.mean(F.where(d.numpy() < 0.1, d * d / 0.2, d - 0.05))


sa.manual_seed(0)
model = sa.Autoencoder.dense((2, 1), activation=None, output=None, loss=huber)
optimizer = optim.Adam(model.parameters(), lr=1e-2)
trainer = sa.Trainer(model, optimizer, [sa.Schedule(optim.CosineLR(optimizer, 40))])
trainer.fit(points_with(50), epochs=40, batch_size=100, progress=False)
angle = degrees(model.decoder[0].weight.numpy()[:, 0])
print(f"Huber loss, 5% outliers: {angle:.1f} degrees")
assert angle < 2
