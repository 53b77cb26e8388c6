"""The layer through which labels enter a network, and the labels of the batch in progress.

The label enters a half after the first layer with weights, as a bias of its own for each class:

    y = W x + b + B[label]

A label that is appended to x as numbers 0, ..., 0, 1, 0, ... has the same effect, since W then has one more column for
each class.
"""

from contextvars import ContextVar
from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae import nn
from scratchae.backend import Array
from scratchae.checks import check_count

LABELS: ContextVar[Array | None] = ContextVar("labels", default=None)
"""The labels of the batch: (N,), or one number for all samples. Each thread has labels of its own."""


class LabelBias(nn.Module):
    """Adds a learned vector to each sample, which depends on the label: (N, features), or a number for each channel.

    `weight` is (classes, features) and starts at 0. Raises RuntimeError outside a conditional autoencoder, which knows
    the labels, and ValueError for another number of labels than samples.
    """

    def __init__(self, classes: int, features: int):
        self.classes = check_count("LabelBias: classes", classes, 2)
        self.weight = nn.Parameter(np.zeros((self.classes, check_count("LabelBias: features", features)), np.float32))

    def forward(self, x: Any) -> Any:
        labels = LABELS.get()
        if labels is None:
            raise RuntimeError("LabelBias: there are no labels; give them to the method, as in transform(x, labels)")
        if labels.ndim and len(labels) != len(x):
            raise ValueError(f"{len(labels)} labels for {len(x)} samples; expected as many, or one number for all")
        return x + F.reshape(self.weight[labels], (-1, self.weight.shape[1], *[1] * (x.ndim - 2)))


def with_labels(half: Any, classes: int) -> Any:
    """`half` with a LabelBias after the first layer with weights of nested Sequentials, unless it has one."""
    if not isinstance(half, nn.Module) or any(isinstance(m, LabelBias) for m in half.modules()):
        return half
    if isinstance(half, nn.Linear):
        return nn.Sequential(half, LabelBias(classes, half.out_features))
    if isinstance(half, (nn.Conv2d, nn.ConvTranspose2d)):
        return nn.Sequential(half, LabelBias(classes, half.out_channels))
    if type(half) is not nn.Sequential:
        return half
    layers: list[Any] = []
    for i, layer in enumerate(half):
        layers.append(with_labels(layer, classes))
        if layers[-1] is not layer:
            return nn.Sequential(*layers, *half[i + 1 :])
    return half
