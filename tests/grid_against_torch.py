"""Convolutions against PyTorch over a whole grid, values, first and second gradients, in both precisions.

Run by hand (`python tests/grid_against_torch.py`; needs torch, takes about a minute): test_reference.py holds a
sample of it that needs no PyTorch.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np
import torch

import scratchae as sa
from scratchae import functional as F

STRIDES, PADDINGS, DILATIONS = [(1, 1), (2, 2), (3, 2)], [(0, 0), (1, 1), (2, 1)], [(1, 1), (2, 1), (2, 3)]
GROUPS, KERNELS, CHANNELS = [1, 2], [(1, 1), (2, 3), (3, 3), (5, 4)], [(8, 2), (4, 6)]
ALLOWED = {"float32": 1e-5, "float64": 1e-12}


def results(convolve: Any, x: Any, w: Any, grad: Any) -> list:
    out = convolve(x, w)
    first = grad((out * out).sum(), [x, w], create_graph=True)
    second = grad(sum((g * g).sum() for g in first), [x, w])
    return [out, *first, *second]


def main() -> None:
    worst = dict.fromkeys(ALLOWED, 0.0)
    count = 0
    for s, p, d, g, k, (c, o) in itertools.product(STRIDES, PADDINGS, DILATIONS, GROUPS, KERNELS, CHANNELS):
        rng = np.random.default_rng(count)
        x, w = rng.standard_normal((2, c, 9, 11)), rng.standard_normal((o, c // g, *k)) / (c * k[0] * k[1])
        for dtype in ALLOWED:
            ours = [sa.tensor(a.astype(dtype), requires_grad=True) for a in (x, w)]
            theirs = [torch.tensor(a.astype(dtype), requires_grad=True) for a in (x, w)]
            options = {"stride": s, "padding": p, "dilation": d, "groups": g}
            found = results(partial(F.conv2d, **options), *ours, sa.grad)
            wanted = results(partial(torch.nn.functional.conv2d, **options), *theirs, torch.autograd.grad)
            for a, b in zip(found, wanted, strict=True):
                reference = b.detach().numpy()
                assert a.shape == reference.shape and a.dtype == dtype
                error = np.abs(a.numpy() - reference).max() / np.abs(reference).max()
                assert error <= ALLOWED[dtype], f"{options} kernel {k}: {error:.3g}"
                worst[dtype] = max(worst[dtype], float(error))
        count += 1
    print(f"{count} convolutions; largest relative error: " + ", ".join(f"{k} {v:.2g}" for k, v in worst.items()))


if __name__ == "__main__":
    main()
