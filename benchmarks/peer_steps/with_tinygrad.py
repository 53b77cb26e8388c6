"""The training steps in tinygrad. TinyJit records the whole step and replays the record.

`contiguous_backward` stores a gradient. Otherwise each product that reads the gradient computes the gradient again and
again. The variational step then takes 360 ms in place of 28 (two cores of a Zen 5).
"""

from tinygrad import Tensor, TinyJit, nn
from tinygrad.helpers import Context


def batch(x):
    return Tensor(x).realize()


images = batch


def dense(case, weights):
    linear = [nn.Linear(n_in, n_out) for n_in, n_out, _ in case.layers()]
    activations = [{None: lambda h: h, "ReLU": Tensor.relu, "Sigmoid": Tensor.sigmoid}[a] for *_, a in case.layers()]
    set_weights(linear, weights)  # equal weights

    def loss_of(x):
        h = x
        for layer, activation in zip(linear, activations, strict=True):
            h = activation(layer(h).contiguous_backward())
        return (h - x).square().mean()

    return training_step(linear, loss_of)


def convolutional(weights):
    conv = [nn.Conv2d(n_in, n_out, 3, padding=1) for n_in, n_out in ((1, 16), (16, 16), (16, 16), (16, 16), (16, 1))]
    set_weights(conv, weights)  # equal weights

    def loss_of(x):
        h = conv[0](x).relu().max_pool2d(2)
        h = conv[1](h).relu().max_pool2d(2)
        h = conv[2](h).relu().interpolate((14, 14), mode="nearest")
        h = conv[3](h).relu().interpolate((28, 28), mode="nearest")
        return conv[4](h).contiguous_backward().binary_crossentropy_logits(x)

    return training_step(conv, loss_of)


def variational(sizes, weights, noise):
    n, hidden, code = sizes
    encoder, decoder = nn.Linear(n, hidden), [nn.Linear(code, hidden), nn.Linear(hidden, n)]
    to_mu, to_logvar = nn.Linear(hidden, code), nn.Linear(hidden, code)
    layers = [encoder, *decoder, to_mu, to_logvar]
    set_weights(layers, weights)  # equal weights

    def loss_of(x, e):
        features = encoder(x).relu()
        mu, logvar = to_mu(features), to_logvar(features)
        logits = decoder[1](decoder[0](mu + (0.5 * logvar).exp() * e).relu()).contiguous_backward()
        reconstruction = logits.binary_crossentropy_logits(x, reduction="sum")
        return (reconstruction - 0.5 * (1 + logvar - mu.square() - logvar.exp()).sum()) / x.shape[0]

    step = training_step(layers, loss_of)
    return lambda x: step(x, Tensor(noise()).realize())


def training_step(layers, loss_of):
    optimizer = nn.optim.Adam(nn.state.get_parameters(layers), lr=1e-3)

    @TinyJit
    @Context(TRAINING=1)
    def update(*inputs):
        optimizer.zero_grad()
        loss = loss_of(*inputs).backward()
        return loss.realize(*optimizer.schedule_step())

    return lambda *inputs: update(*inputs).item()


def set_weights(layers, weights):
    for layer, w, b in zip(layers, weights[::2], weights[1::2], strict=True):
        layer.weight.assign(Tensor(w)).realize()
        layer.bias.assign(Tensor(b)).realize()
