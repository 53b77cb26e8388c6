"""Two callbacks at the moments of a training step: norms of gradients, and weights that stay within a bound."""

import numpy as np

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim


class GradientNorms(sa.Callback):
    def on_fit_begin(self, trainer):
        self.norms = []

    def after_backward(self, run):
        squares = sum(float((g * g).sum()) for g in run.trainer.optimizer.gradients())
        self.norms.append(squares**0.5)

    def state_dict(self):
        return {"norms": self.norms}

    def load_state_dict(self, state):
        self.norms = list(state["norms"])


class Bounded(sa.Callback):
    def __init__(self, bound):
        self.bound = bound

    def after_step(self, run):
        for parameter in run.trainer.model.parameters():
            np.clip(parameter.data, -self.bound, self.bound, out=parameter.data)
            parameter.changed()


sa.manual_seed(0)
x = np.random.default_rng(0).normal(size=(256, 4)).astype(np.float32)
y = x @ np.array([[2.0], [0.5], [-0.5], [-2.0]], np.float32)

model = nn.Linear(4, 1)
log = GradientNorms()
trainer = sa.Trainer(model, optim.SGD(model.parameters(), lr=0.1), [log, Bounded(1.0)], loss=F.mse_loss)
trainer.fit((x, y), epochs=5, batch_size=64, progress=False)
print("norms of the first and the last step:", round(log.norms[0], 3), round(log.norms[-1], 3))
print("weights:", model.weight.numpy().astype(float).round(3).tolist())
