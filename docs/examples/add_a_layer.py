"""A ReLU that learns its slope on the left (He et al. 2015), one slope per channel."""

import numpy as np

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim


class PReLU(nn.Module):
    def __init__(self, channels, slope=0.25):
        self.channels = channels
        self.slope = nn.Parameter(np.full(channels, slope, np.float32))

    def forward(self, x):
        return F.maximum(x, 0.0) + self.slope * F.minimum(x, 0.0)

    def describe(self):
        return f"{self.channels}"


sa.manual_seed(0)
x = np.random.default_rng(0).normal(size=(1000, 2)).astype(np.float32)
y = np.where(x > 0, x, x * np.array([0.1, -0.5], np.float32))

model = PReLU(2)
optimizer = optim.Adam(model.parameters(), lr=0.05)
for _ in range(300):
    loss = F.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

print(model)
print({name: array.astype(float).round(3).tolist() for name, array in model.state_dict().items()})

model.to(np.float64)
print("gradients are right:", sa.gradcheck(model, [x[:5].astype(np.float64)]))
