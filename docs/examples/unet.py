"""A U-Net that denoises images: halves with a way across at each size (Ronneberger et al. 2015)."""

from itertools import pairwise

import numpy as np

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim


def block(channels_in, channels_out):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.GroupNorm(4, channels_out), F.silu,
        nn.Residual(nn.Sequential(
            nn.Conv2d(channels_out, channels_out, 3, padding=1), nn.GroupNorm(4, channels_out), F.silu,
        )),
    )  # fmt: skip


class UNet(nn.Module):
    def __init__(self, channels=1, widths=(8, 16, 32)):
        self.down = [block(a, b) for a, b in pairwise((channels, *widths))]
        self.halve = nn.MaxPool2d(2)
        self.double = nn.Upsample(2)
        self.up = [block(a + b, a) for a, b in reversed([*pairwise(widths)])]
        self.last = nn.Conv2d(widths[0], channels, 1)

    def forward(self, x):
        h, across = self.down[0](x), []
        for down in self.down[1:]:
            across.append(h)
            h = down(self.halve(h))
        for up in self.up:
            h = up(F.concatenate([across.pop(), self.double(h)], axis=1))
        return x + self.last(h)


def noisy(clean, rng):
    return clean + 0.3 * rng.standard_normal(clean.shape, np.float32)


if __name__ == "__main__":
    sa.manual_seed(0)
    rng = np.random.default_rng(0)
    (train, _), (test, _) = sa.data.mnist_sample(), sa.data.mnist_sample("test")
    train, test = train[:256], test[:128]
    model = UNet()
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=3e-3), loss=F.mse_loss)
    trainer.fit((noisy(train, rng), train), epochs=2, batch_size=16, progress=False)
    degraded = noisy(test, rng)
    with sa.no_grad():
        restored = model.eval()(degraded)
    for name, images in (("noisy", degraded), ("restored", restored)):
        print(f"{name:9}", f"mean squared error {F.mse_loss(images, test).item():.3f}")
