"""Solutions of tutorial 13, on the embedded sample.

python tutorials/solutions/13_data_parallel.py
"""

import sys
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import data, optim

sys.path.append(str(Path(__file__).parents[1]))
from common import load

images = load("sample", data.mnist, data.mnist_sample).train


def build(dtype="float32"):
    sa.manual_seed(0)
    return sa.Autoencoder.dense((784, 128, 64), "gelu", code_activation=None).to(dtype)


def gradient(model):
    return np.concatenate([p.grad.ravel() for p in model.parameters()])


def add_gradients(model, parts, shares):
    for part, share in zip(parts, shares, strict=True):
        (model.loss(part) * share).backward()


def of_parts(batch, parts, shares):
    model = build(batch.dtype)
    add_gradients(model, parts, shares)
    return gradient(model)


batch = images[:128]
whole = of_parts(batch, [batch], [1.0])

print("Change a constant")
# The difference grows, but much less than the number of parts. Each addition rounds, and the errors have both signs.
apart = {}
for n in (2, 4, 128):
    apart[n] = np.abs(of_parts(batch, np.array_split(batch, n), [1 / n] * n) - whole).max()
    print(f"{n:3} parts: largest difference {apart[n]:.1e}, largest entry {np.abs(whole).max():.1e}")
assert apart[2] < apart[128] < 64 * apart[2] and apart[128] < 1e-5 * np.abs(whole).max()

print("\nExplain a number")
# Without weights, each row of the small part counts 43/42 times as much as another row. The average is wrong by a
# constant share of the gradient, which is no rounding. With 128, 64 or 32 equal parts, the weights are equal, and the
# error hides. The last batch of an epoch is often smaller, and shows the error again.
parts = np.array_split(batch.astype("float64"), 3)
exact = of_parts(batch.astype("float64"), parts, [len(part) / 128 for part in parts])
average = of_parts(batch.astype("float64"), parts, [1 / 3] * 3)
one = of_parts(batch.astype("float64"), [batch.astype("float64")], [1.0])
wrong = np.linalg.norm(average - one) / np.linalg.norm(one)
print(f"parts of {[len(part) for part in parts]} rows: the error of the average is {wrong:.1e} of the gradient")
print(f"the error of the weighted sum is {np.linalg.norm(exact - one) / np.linalg.norm(one):.1e} of the gradient")
assert np.linalg.norm(exact - one) < 1e-12 * np.linalg.norm(one) < 1e-4 * np.linalg.norm(average - one)

print("\nWrite code")
# Both loops see the same batches in the same order. Only the sums of the gradients have another order.


def train(dtype, n_parts, steps=60):
    model = build(dtype)
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    loader = sa.DataLoader(images.astype(dtype), 128, shuffle=True, seed=0)
    while steps:
        for rows in loader:
            optimizer.zero_grad()
            parts = np.array_split(np.asarray(rows), n_parts)
            add_gradients(model, parts, [len(part) / len(rows) for part in parts])
            optimizer.step()
            steps -= 1
            if not steps:
                break
    return np.concatenate([value.ravel() for value in model.state_dict().values()])


for dtype, most in (("float64", 1e-12), ("float32", 1e-4)):
    apart = np.abs(train(dtype, 1) - train(dtype, 2)).max()
    print(f"{dtype}: largest difference of the weights after 60 steps {apart:.0e}")
    assert apart < most
