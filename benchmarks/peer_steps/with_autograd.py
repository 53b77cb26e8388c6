"""The training steps in autograd. Its Adam is a whole training loop, so the step's Adam is written by hand."""

from autograd import numpy as np
from autograd import value_and_grad
from autograd.scipy.signal import convolve


def batch(x):
    return x


images = batch


def dense(case, weights):
    parameters = [w.T for w in weights]
    activations = [{None: lambda h: h, "ReLU": relu, "Sigmoid": sigmoid}[a] for *_, a in case.layers()]

    def loss_of(parameters, x):
        h = x
        for w, b, activation in zip(parameters[::2], parameters[1::2], activations, strict=True):
            h = activation(h @ w + b)
        return np.mean((h - x) ** 2)

    return training_step(loss_of, parameters)


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def convolutional(weights):
    """`convolve` turns kernels around, and has no sum over images. The padding is a concatenation of zeros."""
    parameters = [w[..., ::-1, ::-1].swapaxes(0, 1) if w.ndim == 4 else w.reshape(-1, 1, 1) for w in weights]

    def loss_of(parameters, x):
        first, second, third, fourth, last = zip(parameters[::2], parameters[1::2], strict=True)
        h = pool(relu(conv(x, *first)))
        h = pool(relu(conv(h, *second)))
        h = upsample(relu(conv(h, *third)))
        h = upsample(relu(conv(h, *fourth)))
        return np.mean(cross_entropy(conv(h, *last), x))

    return training_step(loss_of, parameters)


def conv(x, w, b):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), "constant")
    return convolve(padded, w, axes=([2, 3], [2, 3]), dot_axes=([1], [0]), mode="valid") + b


def pool(x):
    n, c, height, width = x.shape
    return np.max(np.max(np.reshape(x, (n, c, height // 2, 2, width // 2, 2)), axis=3), axis=4)


def upsample(x):
    return np.repeat(np.repeat(x, 2, axis=2), 2, axis=3)


def cross_entropy(logits, x):
    return np.logaddexp(0, logits) - x * logits


def variational(sizes, weights, noise):
    parameters = [w.T for w in weights]

    def loss_of(parameters, x, e):
        w1, b1, w2, b2, w3, b3, w_mu, b_mu, w_var, b_var = parameters
        features = relu(x @ w1 + b1)
        mu, logvar = features @ w_mu + b_mu, features @ w_var + b_var
        logits = relu((mu + np.exp(0.5 * logvar) * e) @ w2 + b2) @ w3 + b3
        divergence = -0.5 * np.sum(1 + logvar - mu**2 - np.exp(logvar))
        return (np.sum(cross_entropy(logits, x)) + divergence) / len(x)

    step = training_step(loss_of, parameters)
    return lambda x: step(x, noise())


def training_step(loss_of, parameters, rate=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    parameters = [p.copy() for p in parameters]
    means, squares = ([np.zeros_like(p) for p in parameters] for _ in range(2))
    steps = 0

    def step(*inputs):
        nonlocal steps
        steps += 1
        loss, gradients = value_and_grad(loss_of)(parameters, *inputs)
        for p, g, m, v in zip(parameters, gradients, means, squares, strict=True):
            m += (1 - beta1) * (g - m)
            v += (1 - beta2) * (g**2 - v)
            p -= rate * m / (1 - beta1**steps) / (np.sqrt(v / (1 - beta2**steps)) + eps)
        return float(loss)

    return step
