"""The training steps in JAX with Adam of Optax. One compiled function is the whole step, with donated buffers."""

from functools import partial

import jax
import numpy as np
import optax
from jax import numpy as jnp

batch = jnp.asarray


def images(x):
    return jnp.asarray(np.moveaxis(x, 1, -1))


def dense(case, weights):
    parameters = [jnp.asarray(w.T) for w in weights]
    activations = [{None: lambda h: h, "ReLU": jax.nn.relu, "Sigmoid": jax.nn.sigmoid}[a] for *_, a in case.layers()]

    def loss_of(parameters, x):
        h = x
        for w, b, activation in zip(parameters[::2], parameters[1::2], activations, strict=True):
            h = activation(h @ w + b)
        return jnp.mean((h - x) ** 2)

    return training_step(loss_of, parameters)


def convolutional(weights):
    parameters = [jnp.asarray(w.transpose(2, 3, 1, 0) if w.ndim == 4 else w) for w in weights]

    def loss_of(parameters, x):
        first, second, third, fourth, last = zip(parameters[::2], parameters[1::2], strict=True)
        h = pool(jax.nn.relu(conv(x, *first)))
        h = pool(jax.nn.relu(conv(h, *second)))
        h = upsample(jax.nn.relu(conv(h, *third)))
        h = upsample(jax.nn.relu(conv(h, *fourth)))
        return optax.sigmoid_binary_cross_entropy(conv(h, *last), x).mean()

    return training_step(loss_of, parameters)


def conv(x, w, b):
    return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + b


def pool(x):
    n, height, width, c = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, c).max(axis=(2, 4))


def upsample(x):
    return x.repeat(2, axis=1).repeat(2, axis=2)


def variational(sizes, weights, noise):
    parameters = [jnp.asarray(w.T) for w in weights]

    def loss_of(parameters, x, e):
        w1, b1, w2, b2, w3, b3, w_mu, b_mu, w_var, b_var = parameters
        features = jax.nn.relu(x @ w1 + b1)
        mu, logvar = features @ w_mu + b_mu, features @ w_var + b_var
        logits = jax.nn.relu((mu + jnp.exp(0.5 * logvar) * e) @ w2 + b2) @ w3 + b3
        reconstruction = optax.sigmoid_binary_cross_entropy(logits, x).sum()
        return (reconstruction - 0.5 * (1 + logvar - mu**2 - jnp.exp(logvar)).sum()) / len(x)

    step = training_step(loss_of, parameters)
    return lambda x: step(x, noise())


def training_step(loss_of, parameters):
    optimizer = optax.adam(1e-3)
    state = optimizer.init(parameters)

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(parameters, state, *inputs):
        loss, gradients = jax.value_and_grad(loss_of)(parameters, *inputs)
        changes, state = optimizer.update(gradients, state)
        return optax.apply_updates(parameters, changes), state, loss

    def step(*inputs):
        nonlocal parameters, state
        parameters, state, loss = update(parameters, state, *inputs)
        return float(loss)

    return step
