"""Solutions of tutorial 02, on the embedded sample.

python tutorials/solutions/02_code_size.py
"""

import sys
from pathlib import Path

import numpy as np

from scratchae import data

sys.path.append(str(Path(__file__).parents[1]))
from common import load, pca, pca_reconstruct

digits = load("sample", data.mnist, data.mnist_sample)
mean, directions = pca(digits.train)


def pca_error(images, given, size):
    return float(np.mean((pca_reconstruct(given, mean, directions[:size]) - images) ** 2))


def elbow(errors):
    k, error = np.array([*errors], float), np.array([*errors.values()])
    across, down = (k - k[0]) / (k[-1] - k[0]), (error - error[-1]) / (error[0] - error[-1])
    return int(k[np.argmax(1 - across - down)])


print("Change a constant")
# The elbow depends on the last size, because the last size is an end of the straight line. With 64 as the last size,
# the elbow of PCA moves from 32 to 16. The rule is therefore only a first guess. The use of the code decides.
errors = {k: pca_error(digits.validation, digits.validation, k) for k in (2, 4, 8, 16, 32, 64, 128)}
before = elbow(errors)
del errors[128]
print(f"elbow up to 128 numbers: {before}, up to 64 numbers: {elbow(errors)}")
assert (before, elbow(errors)) == (32, 16)

print("\nExplain a number")
# 784 directions span all of the space, so each image is its own projection. The error is 0, up to rounding. This PCA
# copies all images, and also all noise. The error of noisy images is the variance of the noise, 0.5^2 = 0.25.
rng = np.random.default_rng(0)
noisy = digits.test + 0.5 * rng.standard_normal(digits.test.shape)
clean, copied = pca_error(digits.test, digits.test, 784), pca_error(digits.test, noisy, 784)
print(f"784 numbers: test MSE {clean:.1e}, of noisy images {copied:.4f}")
assert clean < 1e-10 and abs(copied - 0.25) < 0.005

print("\nWrite code")
# One more direction removes the mean square of its coefficients, divided by 784, from E(k). The direction also adds
# s^2 / 784 of noise. A direction is worth its place as long as the mean square is above s^2. Strong noise needs a small
# code.
coefficients = (digits.validation.reshape(-1, 784) - mean) @ directions.T
squares = np.mean(coefficients**2, axis=0)  # of each direction
best = {}
for noise in (0.1, 0.2, 0.4, 0.8):
    # The error with k directions: the squares after direction k, and k times the noise.
    left = squares.sum() - np.concatenate([[0], np.cumsum(squares)]) + noise**2 * np.arange(785)
    best[noise] = int(np.argmin(left))
    print(f"noise {noise}: {best[noise]} numbers, MSE {left[best[noise]] / 784:.5f}")
assert best[0.1] > best[0.2] > best[0.4] > best[0.8]
noisy = digits.validation + 0.4 * rng.standard_normal(digits.validation.shape)
measured = pca_error(digits.validation, noisy, best[0.4])
assert measured < min(pca_error(digits.validation, noisy, best[0.4] // 2), pca_error(digits.validation, noisy, 128))
