"""Weights from Keras: the guide's lines against the definition of its padding, written as loops over NHWC images."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from scratchae import functional as F
from scratchae import nn

GUIDE = (Path(__file__).parents[1] / "docs" / "from_keras.md").read_text()
LINES = [code for code in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "kernel.transpose" in code]


def same_convolution(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Keras's Conv2D with padding="same": ceil(size / stride) outputs, and an odd row of padding at the far end."""
    k, (n, h, w, _) = len(kernel), x.shape
    sizes = [-(-side // stride) for side in (h, w)]
    total = [max((out - 1) * stride + k - side, 0) for out, side in zip(sizes, (h, w), strict=True)]
    x = np.pad(x, ((0, 0), *((t // 2, t - t // 2) for t in total), (0, 0)))
    out = np.zeros((n, *sizes, kernel.shape[3]))
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            window = x[:, i * stride : i * stride + k, j * stride : j * stride + k]
            out[:, i, j] = np.einsum("nabc,abco->no", window, kernel)
    return out


def same_transposed(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Keras's Conv2DTranspose with padding="same": the transpose of the convolution's matrix."""
    n, h, w, _ = x.shape
    shape = (h * stride, w * stride, kernel.shape[2])
    units = np.eye(np.prod(shape)).reshape(-1, *shape)
    matrix = same_convolution(units, kernel, stride).reshape(len(units), -1)
    return (x.reshape(n, -1) @ matrix.T).reshape(n, *shape)


def nchw(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("lines", LINES)
def test_the_guides_lines_equal_keras(lines: str) -> None:
    rng, up = np.random.default_rng(0), "ConvTranspose2d" in lines
    kernel, bias = rng.standard_normal((3, 3, 1, 16)), rng.standard_normal(1 if up else 16)
    names = {"F": F, "nn": nn, "kernel": kernel, "bias": bias}
    exec(lines, names)
    layers = names["up" if up else "down"].to(np.float64)
    layers[0 if up else 1].weight.data[...] = kernel.transpose(3, 2, 0, 1)  # float32 had rounded the values
    layers[0 if up else 1].bias.data[...] = bias
    x = rng.standard_normal((2, 4, 6, 16 if up else 1))
    theirs = (same_transposed if up else same_convolution)(x, kernel, 2) + bias
    np.testing.assert_allclose(layers(nchw(x)).numpy(), nchw(theirs), rtol=0, atol=1e-12 * abs(theirs).max())


def test_the_guide_has_the_lines_for_both_ways() -> None:
    assert len(LINES) == 2 and all(len(lines.splitlines()) == 3 for lines in LINES)


@pytest.mark.parametrize(("k", "stride"), [(2, 2), (3, 1), (3, 2), (3, 3), (4, 2), (5, 2), (5, 3)])
def test_keras_crops_the_larger_part_at_the_far_end(k: int, stride: int) -> None:
    rng, h, w = np.random.default_rng(0), 3, 4
    kernel, x = rng.standard_normal((k, k, 2, 3)), rng.standard_normal((2, h, w, 3))
    weight = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    near = (k - stride) // 2
    full = F.conv_transpose2d(nchw(x), weight, stride=stride)
    assert full.shape[2:] == (h * stride + k - stride, w * stride + k - stride)
    ours = full[:, :, near : near + h * stride, near : near + w * stride]
    theirs = nchw(same_transposed(x, kernel, stride))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * abs(theirs).max())


def test_padding_at_both_ends_shifts_by_a_pixel() -> None:
    rng = np.random.default_rng(0)
    kernel, x = rng.standard_normal((3, 3, 1, 2)), rng.standard_normal((1, 4, 4, 2))
    weight = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    ours = F.conv_transpose2d(nchw(x), weight, stride=2, padding=1, output_padding=1)
    theirs = nchw(same_transposed(x, kernel, 2))
    np.testing.assert_allclose(ours[:, :, :-1, :-1], theirs[:, :, 1:, 1:], atol=1e-12)
