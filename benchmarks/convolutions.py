"""The measured convolutions: single layers, and training steps of whole convolutional autoencoders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from paired import OURS, Step
from sides import TORCH, compiled, initialise, random_batches, side, training_step


@dataclass(frozen=True)
class Layer:
    """One convolution, forward only or forward and backward. The input of a first layer needs no gradient."""

    channels: int
    size: int
    out: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    backward: bool = True
    batch: int = 128

    rivals = ("torch eager", "torch channels last")
    checked_steps = 5

    @property
    def first(self) -> bool:
        return self.channels in (1, 3)

    @property
    def options(self) -> dict[str, int]:
        return {"stride": self.stride, "padding": self.kernel // 2, "groups": self.groups}

    def flops(self) -> float:
        pixels = self.batch * (-(-self.size // self.stride)) ** 2
        one = 2 * pixels * self.out * self.channels // self.groups * self.kernel**2
        return one * ((2 if self.first else 3) if self.backward else 1)

    def arrays(self) -> list[np.ndarray]:
        """Images, kernels, and the gradient of the result."""
        out = -(-self.size // self.stride)
        shapes = [
            (self.batch, self.channels, self.size, self.size),
            (self.out, self.channels // self.groups, self.kernel, self.kernel),
            (self.batch, self.out, out, out),
        ]
        rng = np.random.default_rng(0)
        return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]

    def build(self, who: str) -> Step:
        return self._ours() if who == OURS else self._torch("channels last" in who)

    def _ours(self) -> Step:
        import scratchae as sa
        from scratchae import functional as F

        def innermost(a: np.ndarray) -> np.ndarray:  # the memory order between two layers
            return np.ascontiguousarray(a.transpose(2, 1, 3, 0)).transpose(3, 1, 0, 2)

        x, w, g = self.arrays()
        X = sa.Tensor(x if self.first else innermost(x), requires_grad=not self.first)
        W, G = sa.Tensor(w, requires_grad=True), innermost(g)

        def step(i: int) -> float:
            if not self.backward:
                with sa.no_grad():
                    return float(F.conv2d(X, W, **self.options).data[0, 0, 1, 1])
            for leaf in [W] if self.first else [X, W]:
                leaf.grad = None
            F.conv2d(X, W, **self.options).backward(G)
            return float(W.grad[0, 0, 0, 0])

        return step

    def _torch(self, channels_last: bool) -> Step:
        import torch

        layout = torch.channels_last if channels_last else torch.contiguous_format
        X, W, G = (torch.from_numpy(a).contiguous(memory_format=layout) for a in self.arrays())
        X.requires_grad_(not self.first), W.requires_grad_(True)

        def step(i: int) -> float:
            if not self.backward:
                with torch.no_grad():
                    return torch.nn.functional.conv2d(X, W, **self.options)[0, 0, 1, 1].item()
            X.grad = W.grad = None
            torch.nn.functional.conv2d(X, W, **self.options).backward(G)
            return W.grad[0, 0, 0, 0].item()

        return step


@dataclass(frozen=True)
class Network:
    """A training step (Adam, cross-entropy on logits) of a convolutional autoencoder.

    `layers`: ("conv", in, out, stride), ("transpose", in, out) with stride 2, ("norm", channels), "relu", "pool",
    "upsample".
    """

    layers: tuple
    batch: int = 128
    side: int = 28

    rivals = (*TORCH, "torch channels last")
    checked_steps = 5

    def model(self, who: str) -> tuple[Any, Any]:
        """The network with its initial weights, and the network's side."""
        s = side(who)
        make = {
            "conv": lambda a, b, stride: s.nn.Conv2d(a, b, 3, stride, 1),
            "transpose": lambda a, b: s.nn.ConvTranspose2d(a, b, 3, 2, 1, 1),
            "norm": s.nn.BatchNorm2d,
            "relu": s.nn.ReLU,
            "pool": lambda: s.nn.MaxPool2d(2),
            "upsample": lambda: s.nn.Upsample(scale_factor=2),
        }
        layers = [make[layer]() if isinstance(layer, str) else make[layer[0]](*layer[1:]) for layer in self.layers]
        model = s.nn.Sequential(*layers)
        initialise(model.parameters(), s)
        return in_layout(model, who), s

    def build(self, who: str) -> Step:
        model, s = self.model(who)
        run, batches = compiled(model, who), random_batches(self.batch, 1, self.side, self.side, batches=8)

        def loss_of(x: Any) -> Any:
            return s.F.binary_cross_entropy_with_logits(run(x), x)

        optimizer = s.adam(model.parameters(), lr=1e-3)
        return training_step(loss_of, optimizer, [in_layout(s.tensor(x), who) for x in batches])


def in_layout(model_or_images: Any, who: str) -> Any:
    if who != "torch channels last":
        return model_or_images
    import torch

    return model_or_images.to(memory_format=torch.channels_last)


def conv(a: int, b: int, stride: int = 1) -> tuple:
    return ("conv", a, b, stride)


SHAPES = {
    "1 -> 16, 28x28": Layer(1, 28, 16),
    "16 -> 16, 14x14": Layer(16, 14, 16),
    "16 -> 1, 28x28": Layer(16, 28, 1),
    "32 -> 64, 14x14": Layer(32, 14, 64),
    "1 -> 16, 28x28, stride 2": Layer(1, 28, 16, stride=2),
    "16 -> 32, 14x14, stride 2": Layer(16, 14, 32, stride=2),
}
OTHERS = {
    "32 -> 32, 28x28": Layer(32, 28, 32),
    "16 -> 16, 14x14, 5x5": Layer(16, 14, 16, kernel=5),
    "32 -> 32, 14x14, depthwise": Layer(32, 14, 32, groups=32),
    "32 -> 64, 14x14, 1x1": Layer(32, 14, 64, kernel=1),
    "3 -> 32, 64x64": Layer(3, 64, 32),
}
FORWARD = {f"{name}, forward": replace(layer, backward=False) for name, layer in SHAPES.items()}
LAYERS = {**SHAPES, **FORWARD, **OTHERS}
NETWORKS = {
    "conv-pool 1-16-16-16-1": Network(
        (conv(1, 16), "relu", "pool", conv(16, 16), "relu", "pool", conv(16, 16), "relu", "upsample", conv(16, 16),
         "relu", "upsample", conv(16, 1))
    ),
    "conv-pool with batch norm": Network(
        (conv(1, 16), ("norm", 16), "relu", "pool", conv(16, 16), ("norm", 16), "relu", "pool", conv(16, 16),
         ("norm", 16), "relu", "upsample", conv(16, 16), ("norm", 16), "relu", "upsample", conv(16, 1))
    ),
    "strided 1-16-32-16-1": Network(
        (conv(1, 16, 2), "relu", conv(16, 32, 2), "relu", ("transpose", 32, 16), "relu", ("transpose", 16, 1))
    ),
    "pool and transposed, 32 channels": Network(
        (conv(1, 32), "relu", "pool", conv(32, 32), "relu", "pool", ("transpose", 32, 32), "relu",
         ("transpose", 32, 32), "relu", conv(32, 1))
    ),
}  # fmt: skip


def reference(layer: Layer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The result and both gradients in float64, tap by tap: out[i, j] += w[ky, kx] x[s i + ky, s j + kx]."""
    x, w, g = (a.astype(np.float64) for a in layer.arrays())
    n, groups, pad, side = len(x), layer.groups, layer.kernel // 2, g.shape[-1]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad))).reshape(n, groups, -1, *(2 * [layer.size + 2 * pad]))
    w, g = w.reshape(groups, -1, *w.shape[1:]), g.reshape(n, groups, -1, side, side)
    out, dw, dx = np.zeros_like(g), np.zeros_like(w), np.zeros_like(padded)
    for ky, kx in np.ndindex(layer.kernel, layer.kernel):
        rows, columns = (slice(k, k + layer.stride * (side - 1) + 1, layer.stride) for k in (ky, kx))
        patch, tap = padded[..., rows, columns], w[..., ky, kx]
        out += np.einsum("ngchw,goc->ngohw", patch, tap)
        dw[..., ky, kx] = np.einsum("ngchw,ngohw->goc", patch, g)
        dx[..., rows, columns] += np.einsum("ngohw,goc->ngchw", g, tap)
    inside = slice(pad, pad + layer.size)
    shapes = [(n, layer.out, side, side), (layer.out, -1, layer.kernel, layer.kernel), x.shape]
    return tuple(a.reshape(s) for a, s in zip((out, dw, dx[..., inside, inside]), shapes, strict=True))
