"""One training step of a small network: what it records, the same gradients by hand, and what Adam makes of them."""

import numpy as np

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim
from scratchae.autograd.engine import Node

sa.manual_seed(0)
rng = np.random.default_rng(0)
x, y = (rng.normal(size=shape).astype(np.float32) for shape in ((5, 3), (5, 2)))
model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
optimizer = optim.Adam(model.parameters(), lr=0.01)

loss = F.mse_loss(model(x), y)
node = loss.node  # the newest; what it was computed from are its parents
while node is not None:
    kept = ", ".join(node.op.values[i] for i in node.plan.keep) or "nothing"
    print(f"{node.op.name:15} {str(node.shape):7} keeps {kept}")
    node = next((parent for parent in node.parents if type(parent) is Node), None)

optimizer.zero_grad()
loss.backward()

# The same by hand, newest first.
w1, b1, w2, b2 = (p.numpy() for p in model.parameters())
h = np.maximum(x @ w1.T + b1, 0)
d = h @ w2.T + b2 - y
g = 2 / d.size * d  # sum_of_squares; subtract hands it on
of_second = [g.T @ h, g.sum(axis=0)]  # linear
g = (g @ w2) * (h > 0)  # linear, relu
by_hand = [g.T @ x, g.sum(axis=0), *of_second]  # linear
found = [p.grad for p in model.parameters()]
print("as by hand:", all(map(np.allclose, found, by_hand)))
print("in one buffer:", all(a.base is found[0].base for a in found))

before = b2.copy()
optimizer.step()
print("gradient of the last bias", found[3], "and its step", b2 - before)
