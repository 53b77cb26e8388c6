"""Solutions of tutorial 15, on the embedded sample.

python tutorials/solutions/15_which_draws_best.py
"""

import sys
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import data, measures, optim
from scratchae.autoencoders import fit_sampler

sys.path.append(str(Path(__file__).parents[1]))
from common import load

digits = load("sample", data.mnist, data.mnist_sample)
real = measures.features(digits.test)
sa.manual_seed(0)
model = sa.Autoencoder.dense((784, 128, 16))
mean = digits.train.mean(axis=0).ravel().clip(1e-3, 1 - 1e-3)
model.decoder[-2].bias.data[:] = np.log(mean / (1 - mean))
sa.Trainer(model, optim.Adam(model.parameters(), lr=2e-3)).fit(digits.train, epochs=8, progress=False)
codes = model.transform(digits.train)


def distance(codes, features=real):
    return measures.frechet_distance(measures.features(model.inverse_transform(codes)), features)


print("Change a constant")
# A mixture of one component is one normal distribution. So the distance is that of the row "plain, normal". Each
# component more can follow a group of codes, and the distance falls.
normal = distance(fit_sampler("normal", codes).sample(1000))
found = {k: distance(fit_sampler("mixture", codes, components=k, rounds=20).sample(1000)) for k in (1, 10, 50)}
print(f"normal {normal:.0f}; mixture of", ", ".join(f"{k}: {d:.0f}" for k, d in found.items()))
assert abs(found[1] / normal - 1) < 0.1
assert found[50] < found[10] < found[1]

print("\nExplain a number")
# A real image has a large ball if its third nearest neighbour is far away. All noise images have similar features. So
# a single large ball can hold all noise images, and then precision is 1. The test set has one image with such a ball.
noise = measures.features(np.random.default_rng(0).random((1000, 784), dtype=np.float32))


def distances(a, b):
    """Euclidean distances of all rows of `a` and `b`."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.sqrt(squares.clip(min=0))


radii = np.sort(distances(real, real), axis=1)[:, 3]
held = (distances(real, noise) <= radii[:, None]).sum(axis=1)
print(f"precision of noise {measures.precision_recall(real, noise)[0]:.2f}")
print(f"{np.sum(held > 0)} of {len(real)} test images hold noise, and a single one holds {held.max()} noise images")
print(f"radius of its ball {radii[held.argmax()]:.1f}, median radius {np.median(radii):.1f}")
assert held.max() == 1000
assert np.sum(held > 0) < 10

print("\nWrite code")
# Take a code of a random training image, and add noise. This sampler is a mixture with one narrow component per
# training image (a kernel density estimate). Without any noise, the sampler copies training images, and its distance
# is that of decoded training images. So a low distance does not prove that drawn images are new.
validation = measures.features(digits.validation)
draw = np.random.default_rng(0)
by_kernel = {}
for share in (0.0, 0.3, 1.0):
    chosen = codes[draw.integers(len(codes), size=1000)]
    moved = chosen + share * codes.std(axis=0) * draw.standard_normal(chosen.shape)
    by_kernel[share] = distance(moved.astype(np.float32), validation), distance(moved.astype(np.float32))
    print(f"noise of {share} standard deviations: validation {by_kernel[share][0]:.0f}, test {by_kernel[share][1]:.0f}")
assert by_kernel[0.0][0] < by_kernel[0.3][0] < by_kernel[1.0][0]
assert by_kernel[0.0][1] < found[50]
