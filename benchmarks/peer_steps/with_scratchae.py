"""The training steps in scratchae. The environment chooses between plain NumPy, threads and compiled loops."""

import scratchae as sa
from scratchae import functional as F
from scratchae import nn

batch = images = sa.Tensor


def dense(case, weights):
    model = sa.Autoencoder.dense(case.sizes, activation=case.activation, output=case.output, loss="mse")
    set_weights(model, weights)  # equal weights
    return training_step(model, model.loss)


def convolutional(weights):
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2),
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2),
        nn.Conv2d(16, 1, 3, padding=1),
    )  # fmt: skip
    set_weights(model, weights)  # equal weights
    return training_step(model, lambda x: F.binary_cross_entropy_with_logits(model(x), x))


def variational(sizes, weights, noise):
    """The model draws its own noise. After `manual_seed(0)`, the noise equals that of `noise`."""
    model = sa.VariationalAutoencoder.dense(sizes, loss="bce_logits")
    set_weights(model, weights)  # equal weights
    sa.manual_seed(0)  # equal noise
    return training_step(model, model.loss)


def training_step(model, loss_of):
    optimizer = sa.optim.Adam(model.parameters(), lr=1e-3)

    def step(x):
        loss = loss_of(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def set_weights(model, weights):
    for p, value in zip(model.parameters(), weights, strict=True):
        p.data[...] = value
