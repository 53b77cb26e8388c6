"""The training steps in Keras: `model.train_on_batch` of a compiled model, on the engine that KERAS_BACKEND names."""

import keras
import numpy as np
from keras import layers, ops

batch = ops.convert_to_tensor


def images(x):
    return ops.convert_to_tensor(np.moveaxis(x, 1, -1))


def dense(case, weights):
    model = keras.Sequential([keras.Input((case.sizes[0],))])
    for _, n_out, activation in case.layers():
        model.add(layers.Dense(n_out, activation.lower() if activation else None))
    model.compile(keras.optimizers.Adam(1e-3, epsilon=1e-8), loss="mse")
    model.set_weights([w.T for w in weights])  # equal weights
    return lambda x: model.train_on_batch(x, x)


def convolutional(weights):
    model = keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(16, 3, padding="same", activation="relu"), layers.MaxPooling2D(2),
        layers.Conv2D(16, 3, padding="same", activation="relu"), layers.MaxPooling2D(2),
        layers.Conv2D(16, 3, padding="same", activation="relu"), layers.UpSampling2D(2),
        layers.Conv2D(16, 3, padding="same", activation="relu"), layers.UpSampling2D(2),
        layers.Conv2D(1, 3, padding="same"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(1e-3, epsilon=1e-8), loss=keras.losses.BinaryCrossentropy(from_logits=True))
    model.set_weights([w.transpose(2, 3, 1, 0) if w.ndim == 4 else w for w in weights])  # equal weights
    return lambda x: model.train_on_batch(x, x)


class Code(layers.Layer):
    """A code of the given mean and logarithm of the variance. The layer adds the KL divergence to the loss."""

    def call(self, mu, logvar, e):
        self.add_loss(-0.5 * ops.mean(ops.sum(1 + logvar - mu**2 - ops.exp(logvar), axis=-1)))
        return mu + ops.exp(0.5 * logvar) * e


def variational(sizes, weights, noise):
    n, hidden, code = sizes
    x, e = keras.Input((n,)), keras.Input((code,))
    encoder, to_mu, to_logvar = layers.Dense(hidden, "relu"), layers.Dense(code), layers.Dense(code)
    decoder = [layers.Dense(hidden, "relu"), layers.Dense(n)]
    features = encoder(x)
    logits = decoder[1](decoder[0](Code()(to_mu(features), to_logvar(features), e)))
    model = keras.Model([x, e], logits)

    def reconstruction(x, logits):
        return ops.sum(ops.binary_crossentropy(x, logits, from_logits=True), axis=-1)

    model.compile(keras.optimizers.Adam(1e-3, epsilon=1e-8), loss=reconstruction)
    set_weights([encoder, *decoder, to_mu, to_logvar], weights)  # equal weights
    return lambda x: model.train_on_batch([x, ops.convert_to_tensor(noise())], x)


def set_weights(dense_layers, weights):
    for layer, w, b in zip(dense_layers, weights[::2], weights[1::2], strict=True):
        layer.set_weights([w.T, b])
