"""Convolutions, pools and upsampling against PyTorch over a whole grid: values, first and second gradients, refusals.

Run by hand (`python tests/grid_against_torch.py [names]`; needs torch, takes a few minutes). test_reference.py and
test_images.py hold samples that need no PyTorch.

Both axes of an image have every combination of options. Which combination meets which is drawn: all pairs of all
combinations would take days.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

import scratchae as sa
from scratchae import functional as F

ALLOWED = {"float32": 1e-5, "float64": 1e-12}
KERNELS, STRIDES, PADDINGS, DILATIONS, EXTRAS = (1, 2, 3, 4), (1, 2, 3), (0, 1, 2), (1, 2, 3), (0, 1, 2)
BATCHES, SIZES = (1, 3), [(7, 9), (5, 4), (1, 6)]  # some kernels are larger than some of the images
CHANNELS = [(1, 1, 1), (8, 2, 1), (4, 6, 2), (4, 4, 4), (3, 6, 3)]  # input, output, groups

Case = tuple[dict[str, Any], list[np.ndarray]]  # the options, and the arrays: x, weight, bias


def crossed(rng: np.random.Generator, rounds: int, *options: tuple) -> Iterator[tuple]:
    """For each option a pair (vertical, horizontal); in every round, each axis has every combination once."""
    combinations = list(itertools.product(*options))
    for _ in range(rounds):
        for down, across in zip(combinations, rng.permutation(combinations).tolist(), strict=True):
            yield tuple(zip(down, across, strict=True))


def images(rng: np.random.Generator, channels: int) -> np.ndarray:
    return rng.standard_normal((rng.choice(BATCHES), channels, *SIZES[rng.integers(len(SIZES))]))


def convolutions(rng: np.random.Generator, transposed: bool) -> Iterator[Case]:
    names = ["stride", "padding", "dilation"] + ["output_padding"] * transposed
    values = [STRIDES, PADDINGS, DILATIONS] + [EXTRAS] * transposed
    for kernel, *pairs in crossed(rng, 4 if transposed else 10, KERNELS, *values):
        c, o, groups = CHANNELS[rng.integers(len(CHANNELS))]
        shape = (c, o // groups, *kernel) if transposed else (o, c // groups, *kernel)
        weight = rng.standard_normal(shape) / (c * kernel[0] * kernel[1])
        options = dict(zip(names, pairs, strict=True), groups=groups)
        yield options, [images(rng, c), weight, rng.standard_normal(o)][: rng.integers(2, 4)]


def same(rng: np.random.Generator) -> Iterator[Case]:
    for kernel, stride, dilation in crossed(rng, 4, KERNELS, (1, 1, 1, 2), DILATIONS):
        weight = rng.standard_normal((2, 3, *kernel)) / (3 * kernel[0] * kernel[1])
        yield {"padding": "same", "stride": stride, "dilation": dilation}, [images(rng, 3), weight]


def pools(rng: np.random.Generator) -> Iterator[Case]:
    for kernel, stride, padding in crossed(rng, 12, KERNELS, STRIDES, PADDINGS):
        stride = None if rng.random() < 0.2 else stride
        yield {"kernel_size": kernel, "stride": stride, "padding": padding}, [images(rng, 2)]


def upsamplings(rng: np.random.Generator) -> Iterator[Case]:
    for (scale,), mode in itertools.product(crossed(rng, 10, (1, 2, 3, 4, 5)), ("nearest", "bilinear")):
        yield {"scale_factor": scale, "mode": mode}, [images(rng, 2)]


def shuffles(rng: np.random.Generator) -> Iterator[Case]:
    for channels, size, factor in itertools.product((1, 4, 6, 9), ((6, 4), (3, 6), (4, 4)), (1, 2, 3)):
        yield {"factor": factor}, [rng.standard_normal((2, channels, *size))]


def edges(rng: np.random.Generator) -> Iterator[Case]:
    """Images and batches without elements, kernels and channels that do not fit, options that are none."""
    for x in ((0, 4, 5, 6), (2, 4, 0, 6), (2, 4, 5, 0), (2, 3, 5, 6), (1, 2, 4, 5, 6), (5, 6)):
        for w, groups in itertools.product(((4, 4, 2, 2), (4, 2, 1, 1), (4, 4, 0, 2), (0, 4, 1, 1), (4, 4, 2)), (1, 2)):
            yield {"padding": int(rng.integers(2)), "groups": groups}, [np.ones(x), np.ones(w)]
    for option, value in itertools.product(("stride", "padding", "dilation", "groups"), (-1, 0, 3, (1, 2, 3))):
        yield {option: value}, [np.ones((2, 3, 9, 9)), np.ones((3, 3, 2, 2))]


torch_F = torch.nn.functional
OPERATIONS: dict[str, tuple[Any, Any, Any]] = {
    "conv2d": (F.conv2d, torch_F.conv2d, lambda rng: convolutions(rng, transposed=False)),
    "conv2d same": (F.conv2d, torch_F.conv2d, same),
    "conv2d edges": (F.conv2d, torch_F.conv2d, edges),
    "conv_transpose2d": (F.conv_transpose2d, torch_F.conv_transpose2d, lambda rng: convolutions(rng, transposed=True)),
    "conv_transpose2d edges": (F.conv_transpose2d, torch_F.conv_transpose2d, edges),
    "max_pool2d": (F.max_pool2d, torch_F.max_pool2d, pools),
    "avg_pool2d": (F.avg_pool2d, torch_F.avg_pool2d, pools),
    "upsample": (F.upsample, torch_F.interpolate, upsamplings),
    "pixel_shuffle": (F.pixel_shuffle, lambda x, factor: torch_F.pixel_shuffle(x, factor), shuffles),
    "pixel_unshuffle": (F.pixel_unshuffle, lambda x, factor: torch_F.pixel_unshuffle(x, factor), shuffles),
}


def results(operation: Any, arrays: list, options: dict, grad: Any) -> list | Exception:
    """Values, first and second gradients; or the error."""
    try:
        out = operation(*arrays, **options)
        first = grad((out * out).sum(), arrays, create_graph=True)
        return [out, *first, *grad(sum((g * g).sum() for g in first), arrays)]
    except Exception as error:  # PyTorch refuses some in the backward pass only, and some with an IndexError
        return error


def largest_error(found: list, wanted: list, dtype: str) -> float:
    worst = 0.0
    for ours, theirs in zip(found, wanted, strict=True):
        reference = theirs.detach().numpy()
        assert ours.shape == reference.shape and ours.dtype == dtype, f"{ours.shape} {ours.dtype}: {reference.shape}"
        if reference.size and (largest := np.abs(reference).max()) > 0:
            worst = max(worst, np.abs(ours.numpy() - reference).max() / largest)
    return worst


def main(chosen: list[str]) -> None:
    warnings.simplefilter("ignore")  # PyTorch warns that 'same' copies
    failed = False
    for name in chosen or OPERATIONS:
        ours, theirs, cases = OPERATIONS[name]
        counts, worst = Counter[str](), dict.fromkeys(ALLOWED, 0.0)
        for (options, arrays), dtype in itertools.product(cases(np.random.default_rng(0)), ALLOWED):
            given = f"{name} {dtype} {options} of {[a.shape for a in arrays]}"
            mine = [sa.tensor(a.astype(dtype), requires_grad=True) for a in arrays]
            found = results(ours, mine, options, sa.grad)
            # In double precision: in single precision, some sums of PyTorch's are further off than ours may be.
            leaves = [torch.tensor(a.astype(dtype).astype(np.float64), requires_grad=True) for a in arrays]
            wanted = results(theirs, leaves, options, partial(torch.autograd.grad, materialize_grads=True))
            if isinstance(found, Exception) or isinstance(wanted, Exception):
                ours_told = isinstance(found, ValueError) and str(found).startswith(name.partition(" ")[0])
                both = ours_told and isinstance(wanted, Exception)
                counts["refused by both" if both else "REFUSED BY ONE"] += 1
                if not both:
                    print(f"{given}\n  ours: {found!r:.200}\n  PyTorch: {wanted!r:.200}")
                continue
            counts["equal"] += 1
            if (error := largest_error(found, wanted, dtype)) > ALLOWED[dtype]:
                counts["DIFFERENT"] += 1
                print(f"{given}: error {error:.3g}")
            worst[dtype] = max(worst[dtype], error)
        failed |= bool(counts["DIFFERENT"] + counts["REFUSED BY ONE"])
        errors = ", ".join(f"{dtype} {error:.2g}" for dtype, error in worst.items())
        print(f"{name}: {dict(counts)}; largest relative error: {errors}", flush=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main(sys.argv[1:])
