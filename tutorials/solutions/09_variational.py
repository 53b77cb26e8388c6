"""Solutions of tutorial 09, on the embedded sample.

python tutorials/solutions/09_variational.py
"""

import sys
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import data, optim
from scratchae import functional as F

sys.path.append(str(Path(__file__).parents[1]))
from common import load

digits = load("sample", data.mnist, data.mnist_sample)
rng = np.random.default_rng(0)
sa.manual_seed(0)
vae = sa.VariationalAutoencoder.dense((784, 400, 20), activation="relu", loss="bce")
trainer = sa.Trainer(vae, optim.Adam(vae.parameters(), lr=1e-3))
trainer.fit(digits.train, epochs=8, batch_size=128, progress=False)

print("Change a constant")
# Codes near 0 decode to similar drawings, so the variance falls by half. Most images of the data have a code farther
# out. Even at 1.0, the drawings of this short training have less variety than the test images.
noise = rng.standard_normal((1000, 20)).astype(np.float32)
variance = {}
for scale in (1.0, 0.5):
    images = vae.inverse_transform(scale * noise)
    variance[scale] = images.var(axis=0).mean()
    print(f"standard deviation {scale}: variance of a pixel over the drawings {variance[scale]:.4f}")
print(f"test images: {digits.test.var(axis=0).mean():.4f}")
assert variance[0.5] < 0.75 * variance[1.0] < digits.test.var(axis=0).mean()

print("\nExplain a number")
# A probability is at most 1. A density can be higher, and only its integral is 1. The density of a pixel that is always
# black can be narrow and high. With log(p / (1 - p)) = -87, the density at x = 0 is 87, and log 87 = 4.47. These pixels
# say nothing about the digits. Therefore only the differences between the rows of the table are of interest.
p = np.exp(-87.0)
x = np.linspace(0, 1, 1_000_001)
density = np.exp(-F.continuous_bernoulli_nll(np.full(len(x), p), x, "none"))
integral = np.sum((density[1:] + density[:-1]) / 2) / (len(x) - 1)
black = (digits.train == 0).all(axis=0).sum()
print(f"density at 0: {density[0]:.2f}, integral {integral:.6f}")
print(f"{black} pixels are always black and can have {black * np.log(87):.0f} nats")
assert abs(density[0] - 87) < 1e-3 and abs(integral - 1) < 1e-5

print("\nWrite code")
# KL = E_q[log q(z | x) - log p(z)]. With z = mu + sigma * noise, the two logarithms differ by
# (z^2 - noise^2) / 2 - log sigma. The error of the mean falls with the square root of the number of draws.
with sa.no_grad():
    mu, logvar = (output.numpy().astype(np.float64) for output in vae.eval().posterior(digits.test[:1]))
exact = float(F.gaussian_kl(mu, logvar, "sum"))
for draws in (100, 10_000):
    noise = rng.standard_normal((draws, 20))
    z = mu + np.exp(logvar / 2) * noise
    samples = ((z**2 - noise**2 - logvar) / 2).sum(axis=1)
    error = samples.std() / np.sqrt(draws)
    print(f"{draws:6} draws: {samples.mean():.3f} with a standard error of {error:.3f}; the formula: {exact:.3f}")
    assert abs(samples.mean() - exact) < 4 * error
