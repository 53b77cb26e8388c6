"""Solutions of tutorial 07, on the embedded sample.

python tutorials/solutions/07_sparse.py
"""

import sys
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import data, nn, optim
from scratchae.autoencoders import SparseAutoencoder

sys.path.append(str(Path(__file__).parents[1]))
from common import load, pca

digits = load("sample", data.mnist, data.mnist_sample)
mean, directions = pca(digits.train)
directions = directions[:256]


def train(model, lr, epochs):
    optimizer = optim.Adam(model.parameters(), lr=lr)
    sa.Trainer(model, optimizer).fit(digits.train, epochs=epochs, batch_size=64, progress=False)
    return model


print("Change a constant")
# With the target 0.2, the units may be active more often. The code keeps more of each image.
models = {}
for target in (0.05, 0.2):
    sa.manual_seed(0)
    model = SparseAutoencoder.dense((784, 256), penalty="kl", target=target, weight=3e-2)
    models[target] = train(model, lr=5e-3, epochs=8)
    activity, error = model.transform(digits.test).mean(), model.reconstruction_error(digits.test).mean()
    print(f"target {target}: mean activation {activity:.3f}, test MSE {error:.4f}")
errors = {target: model.reconstruction_error(digits.test).mean() for target, model in models.items()}
assert errors[0.2] < 0.8 * errors[0.05]

print("\nExplain a number")
# The target 0.05 is a mean. The mean of the 256 numbers of an image is also about 0.05, so their sum is about 13. This
# sum can be 13 units with the value 1, or many more units with small values. KL does not decide between both.
z = models[0.05].transform(digits.test)
active = (z > 0.1 * z.max(axis=0)).sum(axis=1).mean()
print(f"sum of the code of an image: {z.sum(axis=1).mean():.1f}; active units of an image: {active:.0f}")
assert 11 < z.sum(axis=1).mean() < 17
assert active > 40

print("\nWrite code")
# Let V_S be the columns of V for the 20 units that an image keeps. Least squares gives the best 20 numbers for these
# units. PCA's directions are orthogonal unit vectors, so its numbers are already the best. The columns of the k-sparse
# network are not orthogonal, so least squares lowers its error.


def keep_largest(z, k):
    kept, chosen = np.zeros_like(z), np.argpartition(-np.abs(z), k - 1, axis=1)[:, :k]
    np.put_along_axis(kept, chosen, np.take_along_axis(z, chosen, axis=1), axis=1)
    return kept


class KSparse(sa.Autoencoder):
    def encode(self, x):
        z = self.encoder(x)
        return z * sa.Tensor((keep_largest(z.data, 20) != 0).astype(z.dtype))


def refitted(codes, V, c, flat):
    rebuilt = np.empty_like(flat)
    for i, code in enumerate(codes):
        V_S = V[:, code != 0]
        rebuilt[i] = c + V_S @ np.linalg.lstsq(V_S, flat[i] - c, rcond=None)[0]
    return float(np.mean((rebuilt - flat) ** 2))


flat = digits.test.reshape(len(digits.test), -1).astype(np.float64)
model = KSparse(nn.Sequential(nn.Flatten(), nn.Linear(784, 256)), nn.Sequential(nn.Linear(256, 784)), loss="mse")
model.encoder[1].weight.data[...], model.encoder[1].bias.data[...] = directions, -directions @ mean
model.decoder[0].weight.data[...], model.decoder[0].bias.data[...] = directions.T, mean
train(model, lr=1e-3, epochs=5)
before, V, c = model.reconstruction_error(digits.test).mean(), model.decoder[0].weight.numpy(), model.decoder[0].bias
after = refitted(model.transform(digits.test), V.astype(np.float64), c.numpy().astype(np.float64), flat)
codes = keep_largest((flat - mean) @ directions.T, 20)
pca_before, pca_after = np.mean((mean + codes @ directions - flat) ** 2), refitted(codes, directions.T, mean, flat)
print(f"test MSE with 20 units: k-sparse {before:.5f}, then {after:.5f}; PCA {pca_before:.5f}, then {pca_after:.5f}")
assert after < 0.99 * before
assert abs(pca_after / pca_before - 1) < 1e-6
