"""Solutions of tutorial 10, on the embedded sample.

python tutorials/solutions/10_anomaly_detection.py
"""

import sys
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import data, optim

sys.path.append(str(Path(__file__).parents[1]))
from common import load

digits = load("sample", data.mnist, data.mnist_sample)
eights = digits.train[digits.train_labels == 8]
labels = digits.test_labels


def network(code_size, seed=0):
    sa.manual_seed(seed)
    model = sa.Autoencoder.dense((784, 128, code_size), activation="relu", output="sigmoid", loss="mse")
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    trainer = sa.Trainer(model, optimizer, [sa.Schedule(optim.CosineLR(optimizer, 30))])
    trainer.fit(eights, epochs=30, batch_size=16, seed=seed, progress=False)
    return model.reconstruct


def squared_error(images, reconstructed):
    return ((reconstructed - images).reshape(len(images), -1) ** 2).mean(axis=1)


def per_ink(images, reconstructed):
    return squared_error(images, reconstructed) / np.sqrt(squared_error(images, 0) + 1e-12)


def auroc(scores, anomalies=labels != 8):
    ordered = np.sort(scores[labels == 8])
    places = [np.searchsorted(ordered, scores[anomalies], side).mean() for side in ("left", "right")]
    return float(sum(places) / 2 / len(ordered))


def restored(reconstruct, digit):
    images = digits.test[labels == digit]
    mean_image = np.broadcast_to(eights.mean(axis=0), images.shape)
    return 1 - squared_error(images, reconstruct(images)).mean() / squared_error(images, mean_image).mean()


print("Change a constant")
# A wide code restores more of an 8, and more of a 1. Both errors fall, so the AUROC changes little.
networks = {code_size: network(code_size) for code_size in (4, 32, 256)}
for code_size, reconstruct in networks.items():
    area = auroc(per_ink(digits.test, reconstruct(digits.test)))
    print(f"code size {code_size:3}: restored of an 8 {restored(reconstruct, 8):.0%}, of a 1 "
          f"{restored(reconstruct, 1):.0%}, AUROC {area:.3f}")  # fmt: skip
    assert area > 0.9
for digit in (1, 8):
    assert restored(networks[256], digit) > restored(networks[4], digit) + 0.05

print("\nExplain a number")
# No. The quantile comes from 50 scores, and the rate from 100 scores. Both are random. We draw normal scores of a
# perfect detector many times, and look at the rates.
rng = np.random.default_rng(0)
thresholds = np.quantile(rng.standard_normal((10_000, 50)), 0.95, axis=1)
rates = np.mean(rng.standard_normal((10_000, 100)) > thresholds[:, None], axis=1)
low, high = np.quantile(rates, [0.05, 0.95])
print(f"mean rate {rates.mean():.1%}, nine of ten rates between {low:.0%} and {high:.0%}")
assert low <= 0.01 and high >= 0.1

print("\nWrite code")
trained = [networks[32], network(32, seed=1), network(32, seed=2)]
scores = [per_ink(digits.test, reconstruct(digits.test)) for reconstruct in trained]
single, together = np.mean([auroc(s) for s in scores]), auroc(np.mean(scores, axis=0))
print(f"AUROC: one network {single:.4f}, three networks together {together:.4f}")
assert together > single
