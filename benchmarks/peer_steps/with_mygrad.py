"""The training steps in MyGrad. The library has no optimiser, so Adam is written by hand.

MyGrad computes in float64 where a Python number meets a tensor of float32, so the numbers of this file are float32.
"""

import mygrad as mg
import numpy as np
from mygrad.nnet.activations import relu, sigmoid
from mygrad.nnet.layers import conv_nd, max_pool

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)


def batch(x):
    return x


images = batch


def dense(case, weights):
    parameters = [mg.tensor(w.T) for w in weights]
    activations = [{None: lambda h: h, "ReLU": relu, "Sigmoid": sigmoid}[a] for *_, a in case.layers()]

    def loss_of(x):
        h = x
        for w, b, activation in zip(parameters[::2], parameters[1::2], activations, strict=True):
            h = activation(mg.matmul(h, w) + b)
        return mg.mean((h - x) ** 2)

    return training_step(loss_of, parameters)


def convolutional(weights):
    parameters = [mg.tensor(w if w.ndim == 4 else w.reshape(-1, 1, 1)) for w in weights]

    def conv(x, i):
        return conv_nd(x, parameters[2 * i], stride=1, padding=1) + parameters[2 * i + 1]

    def loss_of(x):
        h = max_pool(relu(conv(x, 0)), (2, 2), 2)
        h = max_pool(relu(conv(h, 1)), (2, 2), 2)
        h = upsample(relu(conv(h, 2)))
        h = upsample(relu(conv(h, 3)))
        return mg.mean(cross_entropy(conv(h, 4), x))

    return training_step(loss_of, parameters)


def upsample(x):
    return mg.repeat(mg.repeat(x, 2, axis=2), 2, axis=3)


def cross_entropy(logits, x):
    return mg.logaddexp(ZERO, logits) - x * logits


def variational(sizes, weights, noise):
    parameters = [mg.tensor(w.T) for w in weights]
    w1, b1, w2, b2, w3, b3, w_mu, b_mu, w_var, b_var = parameters

    def loss_of(x):
        features = relu(x @ w1 + b1)
        mu, logvar = features @ w_mu + b_mu, features @ w_var + b_var
        logits = relu((mu + mg.exp(HALF * logvar) * noise()) @ w2 + b2) @ w3 + b3
        divergence = -HALF * mg.sum(ONE + logvar - mu**2 - mg.exp(logvar))
        return (mg.sum(cross_entropy(logits, x)) + divergence) / np.float32(len(x))

    return training_step(loss_of, parameters)


def training_step(loss_of, parameters):
    optimizer = Adam(parameters)

    def step(x):
        loss = loss_of(x)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


class Adam:
    def __init__(self, parameters, rate=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
        self.parameters, self.rate, self.beta1, self.beta2, self.eps = parameters, rate, beta1, beta2, eps
        self.means, self.squares = ([np.zeros_like(p.data) for p in parameters] for _ in range(2))
        self.steps = 0

    def step(self):
        self.steps += 1
        for p, m, v in zip(self.parameters, self.means, self.squares, strict=True):
            m += (1 - self.beta1) * (p.grad - m)
            v += (1 - self.beta2) * (p.grad**2 - v)
            m_hat, v_hat = m / (1 - self.beta1**self.steps), v / (1 - self.beta2**self.steps)
            p.data -= self.rate * m_hat / (np.sqrt(v_hat) + self.eps)
