"""Solutions of tutorial 08, on the embedded sample.

python tutorials/solutions/08_contractive.py
"""

import sys
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import data, optim
from scratchae.autoencoders import ContractiveAutoencoder, jacobian

sys.path.append(str(Path(__file__).parents[1]))
from common import load, pca

digits = load("sample", data.mnist, data.mnist_sample)
mean, directions = pca(digits.train)


def train(weight):
    sa.manual_seed(0)
    model = ContractiveAutoencoder.dense((784, 64), activation="sigmoid", weight=weight)
    image = mean.clip(1e-3, 1 - 1e-3)
    model.decoder[0].bias.data[:] = np.log(image / (1 - image))
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    sa.Trainer(model, optimizer).fit(digits.train, epochs=8, batch_size=128, progress=False)
    return model


print("Change a constant")
# With the weight 10, the penalty outweighs the reconstruction. The code hardly changes with the image, and each
# reconstruction is nearly the mean image. The autoencoder has learned nothing about digits.
model, strong = train(2e-3), train(10.0)
by_mean = np.mean((digits.test - mean.reshape(1, 1, 28, 28)) ** 2)
error = strong.reconstruction_error(digits.test).mean()
print(f"weight 10: test MSE {error:.4f}, mean image {by_mean:.4f}")
assert error > 0.9 * by_mean

print("\nExplain a number")
# The rows of PCA's J are 64 orthogonal unit vectors. Their squares sum to 64, so ||J|| is 8. A noise step of length 1
# has on average 64 / 784 of its squared length in PCA's plane. So the code moves by about sqrt(64 / 784) = 0.286.
J = directions[:64]
u = np.random.default_rng(0).standard_normal((1000, 784))
u /= np.linalg.norm(u, axis=1, keepdims=True)
moved = np.linalg.norm(u @ J.T, axis=1).mean()
print(f"||J|| {np.linalg.norm(J):.3f}, moved by noise {moved:.3f}")
assert abs(np.linalg.norm(J) - 8) < 1e-6
assert abs(moved - 0.286) < 0.01

print("\nWrite code")
# For noise u with independent elements of mean 0 and variance 1, the mean of ||J u||^2 is ||J||^2. For a small number
# e, J u is about (z(x + e u) - z(x)) / e. So two codes give J u. The estimate needs no derivatives of the encoder.
x, e = digits.test[:50], 1e-2
rng, squares = np.random.default_rng(0), []
for _ in range(100):
    u = rng.standard_normal(x.shape).astype(x.dtype)
    squares.append((((model.transform(x + e * u) - model.transform(x)) / e) ** 2).sum(axis=1).mean())
exact = (jacobian(model, x) ** 2).sum(axis=(1, 2)).mean()
print(f"mean ||J||^2: from 100 noise steps {np.mean(squares):.3f}, from the Jacobian {exact:.3f}")
assert abs(np.mean(squares) / exact - 1) < 0.05
