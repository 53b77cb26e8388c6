"""The training steps in DeZero, which was written for NumPy 1.

DeZero 0.0.13 uses the name `np.int` at its import. NumPy 1.24 removed this name, so this file sets the name again.
DeZero turns Python numbers into arrays of float64. NumPy 1 still computed in float32 with such an array, but NumPy 2
computes in float64. This file turns the numbers into float32, so that DeZero is as fast as with NumPy 1.
"""

import numpy as np

np.int = int  # noqa: NPY001
import dezero  # noqa: E402
from dezero import functions as F  # noqa: E402
from dezero import layers as L  # noqa: E402
from dezero.optimizers import Adam  # noqa: E402

dezero.core.as_array = lambda x, xp=np: xp.array(x, np.float32) if np.isscalar(x) else x
batch = images = dezero.Variable


def dense(case, weights):
    model = dezero.Model()
    activations = []
    for i, (n_in, n_out, activation) in enumerate(case.layers()):
        setattr(model, f"layer{i}", L.Linear(n_out, in_size=n_in))
        activations.append({None: lambda h: h, "ReLU": F.relu, "Sigmoid": F.sigmoid}[activation])
    layers = [getattr(model, f"layer{i}") for i in range(len(activations))]
    set_weights(layers, weights)  # equal weights

    def loss_of(x):
        h = x
        for layer, activation in zip(layers, activations, strict=True):
            h = activation(layer(h))
        return F.mean_squared_error(h, x) / x.shape[1]  # the library's error is a sum over features

    return training_step(model, loss_of)


def convolutional(weights):
    model = dezero.Model()
    model.a, model.b, model.c, model.d = (L.Conv2d(16, 3, pad=1, in_channels=n) for n in (1, 16, 16, 16))
    model.e = L.Conv2d(1, 3, pad=1, in_channels=16)
    set_weights([model.a, model.b, model.c, model.d, model.e], weights)  # equal weights

    def loss_of(x):
        h = F.pooling(F.relu(model.a(x)), 2, 2)
        h = F.pooling(F.relu(model.b(h)), 2, 2)
        h = upsample(F.relu(model.c(h)))
        h = upsample(F.relu(model.d(h)))
        return F.sigmoid_cross_entropy(model.e(h), x) / (28 * 28)

    return training_step(model, loss_of)


def upsample(x):
    n, c, height, width = x.shape
    wide = F.broadcast_to(F.reshape(x, (n, c, height, 1, width, 1)), (n, c, height, 2, width, 2))
    return F.reshape(wide, (n, c, 2 * height, 2 * width))


def variational(sizes, weights, noise):
    n, hidden, code = sizes
    model = dezero.Model()
    model.encoder, model.hidden, model.output = L.Linear(hidden), L.Linear(hidden), L.Linear(n)
    model.to_mu, model.to_logvar = L.Linear(code), L.Linear(code)
    set_weights([model.encoder, model.hidden, model.output, model.to_mu, model.to_logvar], weights)  # equal weights

    def loss_of(x):
        features = F.relu(model.encoder(x))
        mu, logvar = model.to_mu(features), model.to_logvar(features)
        logits = model.output(F.relu(model.hidden(mu + F.exp(0.5 * logvar) * noise())))
        divergence = -0.5 * F.sum(1 + logvar - mu**2 - F.exp(logvar))
        return F.sigmoid_cross_entropy(logits, x) + divergence / len(x)

    return training_step(model, loss_of)


def training_step(model, loss_of):
    optimizer = Adam(alpha=1e-3).setup(model)

    def step(x):
        loss = loss_of(x)
        model.cleargrads()
        loss.backward()
        optimizer.update()
        return loss.data.item()

    return step


def set_weights(layers, weights):
    for layer, w, b in zip(layers, weights[::2], weights[1::2], strict=True):
        layer.W.data, layer.b.data = w.T.copy() if w.ndim == 2 else w.copy(), b.copy()
