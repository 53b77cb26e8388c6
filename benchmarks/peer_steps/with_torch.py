"""The training steps in PyTorch. The caller sets `mode`: eager, fused, compile, or channels last for images."""

import torch
from torch import nn
from torch.nn import functional as F

mode = "eager"


def batch(x):
    return torch.from_numpy(x)


def images(x):
    return torch.from_numpy(x).to(memory_format=layout())


def layout():
    return torch.channels_last if "channels last" in mode else torch.contiguous_format


def dense(case, weights):
    layers = []
    for n_in, n_out, activation in case.layers():
        layers += [nn.Linear(n_in, n_out), *([getattr(nn, activation)()] if activation else [])]
    model = nn.Sequential(*layers)
    set_weights(model, weights)  # equal weights
    return training_step(model, lambda x: F.mse_loss(model(x), x))


def convolutional(weights):
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2),
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2),
        nn.Conv2d(16, 1, 3, padding=1),
    ).to(memory_format=layout())  # fmt: skip
    set_weights(model, weights)  # equal weights
    return training_step(model, lambda x: F.binary_cross_entropy_with_logits(model(x), x))


def variational(sizes, weights, noise):
    n, hidden, code = sizes
    encoder = nn.Sequential(nn.Linear(n, hidden), nn.ReLU())
    decoder = nn.Sequential(nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, n))
    to_mu, to_logvar = nn.Linear(hidden, code), nn.Linear(hidden, code)
    model = nn.ModuleList([encoder, decoder, to_mu, to_logvar])
    set_weights(model, weights)  # equal weights

    def loss_of(x, e):
        features = encoder(x)
        mu, logvar = to_mu(features), to_logvar(features)
        logits = decoder(mu + (0.5 * logvar).exp() * e)
        reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return (reconstruction - 0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum()) / len(x)

    step = training_step(model, loss_of)
    return lambda x: step(x, torch.from_numpy(noise()))


def training_step(model, loss_of):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=mode != "eager")
    run = torch.compile(loss_of) if "compile" in mode else loss_of

    def step(*inputs):
        loss = run(*inputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def set_weights(model, weights):
    with torch.no_grad():
        for p, value in zip(model.parameters(), weights, strict=True):
            p.copy_(torch.from_numpy(value))
