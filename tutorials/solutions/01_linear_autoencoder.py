"""Solutions of tutorial 01, on the embedded sample.

python tutorials/solutions/01_linear_autoencoder.py
"""

import sys
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import data, optim

sys.path.append(str(Path(__file__).parents[1]))
from common import load, pca, pca_reconstruct

digits = load("sample", data.mnist, data.mnist_sample)
mean, directions = pca(digits.train)


def pca_error(images, size):
    return float(np.mean((pca_reconstruct(images, mean, directions[:size]) - images) ** 2))


print("Change a constant")
# The first directions carry the most. The second half of 64 directions removes less than the first half.
small, large = pca_error(digits.test, 32), pca_error(digits.test, 64)
print(f"PCA, test MSE: 32 numbers {small:.5f}, 64 numbers {large:.5f}, ratio {small / large:.2f}")
assert 1.5 < small / large < 2.2

print("\nExplain a number")
# An image minus the mean image is a sum of 784 perpendicular components. PCA drops 720 of these components. By
# Pythagoras, the squared error of an image is the sum of the squares of the 720 dropped coordinates. Each coordinate
# has the mean 0, so the mean of its square over all training images is its variance. The MSE is also a mean over 784
# pixels.
dropped = (digits.train.reshape(len(digits.train), -1) - mean) @ directions[64:].T
from_variances, training_error = dropped.var(axis=0).sum() / 784, pca_error(digits.train, 64)
print(f"variances of 720 directions / 784: {from_variances:.8f}; PCA's training MSE: {training_error:.8f}")
assert abs(from_variances - training_error) < 1e-9

print("\nWrite code")
# The columns of the decoder's weight (784, 4) span its plane. Take orthonormal bases Q_1 and Q_2 of both planes. The
# singular values of Q_1^T Q_2 are the cosines of the principal angles. The last angle needs a long training, because
# the 4th and the 5th direction have similar variances.
sa.manual_seed(0)
model = sa.Autoencoder.dense((784, 4), activation=None, output=None, loss="mse")
optimizer = optim.Adam(model.parameters(), lr=1e-2)
trainer = sa.Trainer(model, optimizer, [sa.Schedule(optim.CosineLR(optimizer, 40))])
trainer.fit(digits.train, epochs=40, batch_size=64, progress=False)
basis = np.linalg.qr(model.decoder[0].weight.numpy().astype(np.float64))[0]
cosines = np.linalg.svd(basis.T @ directions[:4].T, compute_uv=False)
angles = np.degrees(np.arccos(np.minimum(cosines, 1)))
print("4 numbers, principal angles in degrees:", *(f"{angle:.1f}" for angle in angles))
assert angles.max() < 5
