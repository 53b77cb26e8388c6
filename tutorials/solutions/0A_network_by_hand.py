"""Solutions of tutorial 0A.

python tutorials/solutions/0A_network_by_hand.py
"""

import numpy as np

STEPS, LR = 2000, 1.0


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def disc_and_ring(n, seed):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    radius = np.where(y == 1, rng.uniform(0, 1, n), rng.uniform(1.3, 2.2, n))
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), y[:, None].astype(float)


# Each activation has its value at z, and its slope, computed from this value h.
ACTIVATIONS = {
    "tanh": (np.tanh, lambda h: 1 - h**2),
    "ReLU": (lambda z: np.maximum(z, 0), lambda h: (h > 0).astype(float)),
}


def forward(parameters, x, activation):
    W1, b1, W2, b2 = parameters
    h = ACTIVATIONS[activation][0](x @ W1.T + b1)
    return h, sigmoid(h @ W2.T + b2)


def gradients_of(parameters, x, y, activation):
    h, a = forward(parameters, x, activation)
    dL_dz2 = 2 * (a - y) / len(y) * a * (1 - a)
    dL_dz1 = dL_dz2 @ parameters[2] * ACTIVATIONS[activation][1](h)
    return [dL_dz1.T @ x, dL_dz1.sum(axis=0), dL_dz2.T @ h, dL_dz2.sum(axis=0)]


def start(hidden):
    rng = np.random.default_rng(0)
    return [rng.uniform(-0.5, 0.5, shape) for shape in ((hidden, 2), hidden, (1, hidden), 1)]


def test_accuracy(hidden, activation):
    parameters = start(hidden)
    for _ in range(STEPS):
        gradients = gradients_of(parameters, x_train, y_train, activation)
        parameters = [p - LR * g for p, g in zip(parameters, gradients, strict=True)]
    return float(np.mean((forward(parameters, x_test, activation)[1] > 0.5) == (y_test == 1)))


x_train, y_train = disc_and_ring(200, seed=0)
x_test, y_test = disc_and_ring(2000, seed=1)

print("Change a constant")
# Three lines make a triangle around the disc. Two lines always leave an open side.
accuracies = {hidden: test_accuracy(hidden, "tanh") for hidden in (8, 3, 2)}
print("test accuracy:", ", ".join(f"{hidden} hidden {found:.1%}" for hidden, found in accuracies.items()))
assert accuracies[3] > 0.93 and accuracies[2] < 0.85

print("\nExplain a number")
# The slope of the sigmoid, a (1 - a), is small where a is near 0 or 1. The neuron is saturated. The factor of the loss,
# 2 (a - y), has its largest value here. But the chain rule multiplies both factors.
a = sigmoid(20.0)
print(f"dL/da = {2 * (a - 0):.3f}, slope of the sigmoid {a * (1 - a):.1e}, dL/dz = {2 * a * a * (1 - a):.1e}")
assert 2 * a > 1.99 and a * (1 - a) < 1e-8

print("\nWrite code")
# The ReLU has the slope 1 where z > 0, and 0 elsewhere. At z = 0 the slope is not defined, and we choose 0.
s, parameters = 1e-5, start(8)
analytic = gradients_of(parameters, x_train, y_train, "ReLU")[0][0, 0]
losses = []
for move in (s, -s):
    moved = [p.copy() for p in parameters]
    moved[0][0, 0] += move
    losses.append(np.mean((forward(moved, x_train, "ReLU")[1] - y_train) ** 2))
numeric = (losses[0] - losses[1]) / (2 * s)
print(f"gradient of the first weight: chain rule {analytic:.9f}, finite difference {numeric:.9f}")
assert abs(numeric - analytic) < 1e-8
relu = test_accuracy(8, "ReLU")
print(f"test accuracy: ReLU {relu:.1%}, tanh {accuracies[8]:.1%}")
assert relu > 0.97
