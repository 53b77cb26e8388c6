"""Solutions of tutorial 04, on the embedded sample.

python tutorials/solutions/04_deep_autoencoder.py
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


def train(size, epochs, code_activation=None):
    sa.manual_seed(0)
    model = sa.Autoencoder.dense((784, 256, size), "relu", "sigmoid", "mse", code_activation)
    if code_activation:
        model.encoder[-2].bias.data[...] = 0.2
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    trainer = sa.Trainer(model, optimizer, [sa.Schedule(optim.CosineLR(optimizer, epochs))])
    trainer.fit(digits.train, epochs=epochs, batch_size=32, progress=False)
    return model


def errors(reconstruct):
    return [float(np.mean((reconstruct(images) - images) ** 2)) for images in (digits.train, digits.test)]


print("Change a constant")
# With 8 numbers, the deep network has about two thirds of PCA's test error after 6 epochs.
by_pca = {k: errors(lambda x, k=k: pca_reconstruct(x, mean, directions[:k])) for k in (8, 64)}
deep = {k: errors(train(k, 6).reconstruct) for k in (8, 64)}
for k in (8, 64):
    print(f"{k} numbers: PCA training {by_pca[k][0]:.4f}, test {by_pca[k][1]:.4f}; "
          f"deep training {deep[k][0]:.4f}, test {deep[k][1]:.4f}")  # fmt: skip
assert deep[8][1] < 0.75 * by_pca[8][1]

print("\nExplain a number")
# Overfitting is not the reason. Overfitting is a training error far below the validation error. Here the training
# error is also above PCA's training error. The network had too few steps. After the 25 epochs of a default run, its
# test error is 0.0076, and PCA has 0.0093.
assert deep[64][1] > by_pca[64][1] and deep[64][0] > by_pca[64][0]

print("\nWrite code")
# A unit that has no positive input has no gradient, so its own weights stay. Its input still changes, because the
# weights of the hidden layer change. For some units, the input becomes positive again. Then the unit has a gradient.
model = train(16, 2, "relu")
hidden, code = model.encoder[1], model.encoder[3]


def inputs(images):
    h = np.maximum(images.reshape(len(images), -1) @ hidden.weight.numpy().T + hidden.bias.numpy(), 0)
    return h @ code.weight.numpy().T + code.bias.numpy()


largest = inputs(digits.train).max(axis=0)
before = {name: values.copy() for name, values in model.state_dict().items()}
moved, revived = [], []
for unit in np.flatnonzero(largest > 0):
    model.load_state_dict(before)
    code.bias.data[unit] -= largest[unit] + 0.01  # no training image makes the unit positive now
    own = code.weight.numpy()[unit].copy()
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=3e-3))
    trainer.fit(digits.train, epochs=1, batch_size=32, progress=False)
    after = inputs(digits.train)[:, unit].max()
    moved.append(abs(after + 0.01))
    if not np.array_equal(own, code.weight.numpy()[unit]):
        revived.append(int(unit))
print(f"{len(moved)} units were switched off, one at a time; after an epoch, {len(revived)} of them had come back "
      f"for a time: {revived}")  # fmt: skip
print(f"the largest input of a unit moved by {np.median(moved):.1f} (median)")
assert np.median(moved) > 0.5
assert 0 < len(revived) < len(moved)
