"""Compiled normalisation against the formula of the core. Needs the extra [fast]; run by name.

The tests of numbers (test_nn.py, ...) use small arrays, for which the formula runs. Here the arrays are large enough
for the loops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn
from scratchae.distributed.parts import part_of_batch
from scratchae.fast import norms
from scratchae.fast.numba import INSTALLED
from scratchae.nn.normalisation import normalised

assert INSTALLED and not sa.attach.PLAIN
pytestmark = pytest.mark.usefixtures("two_threads")
LOOPS = ["moments", "results", "slopes"]  # of one forward and one backward pass
IMAGES = (2, 1, 3, 0)  # the order of convolutions in memory

# the layer, the shape of its input, the order in memory
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[int, ...]]] = {
    "images": (lambda: nn.BatchNorm2d(16), (64, 16, 14, 14), IMAGES),
    "images in PyTorch's order": (lambda: nn.BatchNorm2d(3), (17, 3, 9, 13), (0, 1, 2, 3)),
    "images with channels last": (lambda: nn.BatchNorm2d(6), (17, 6, 9, 13), (0, 2, 3, 1)),
    "one channel": (lambda: nn.BatchNorm2d(1), (33, 1, 28, 28), IMAGES),
    "one pixel": (lambda: nn.BatchNorm2d(40), (64, 40, 1, 1), (0, 1, 2, 3)),
    "rows": (lambda: nn.BatchNorm1d(51), (129, 51), (0, 1)),
    "columns": (lambda: nn.BatchNorm1d(51), (129, 51), (1, 0)),
    "many rows": (lambda: nn.BatchNorm1d(33), (5000, 33), (0, 1)),
    "series": (lambda: nn.BatchNorm1d(5), (33, 5, 37), (0, 1, 2)),
    "layer": (lambda: nn.LayerNorm(100), (65, 100), (0, 1)),
    "layer of series": (lambda: nn.LayerNorm((3, 11)), (7, 11, 3, 11), (0, 1, 2, 3)),
    "groups": (lambda: nn.GroupNorm(2, 6), (17, 6, 7, 9), (0, 1, 2, 3)),
    "groups behind a convolution": (lambda: nn.GroupNorm(2, 6), (33, 6, 7, 9), IMAGES),
    "instances behind a convolution": (lambda: nn.InstanceNorm2d(6, affine=True), (33, 6, 7, 9), IMAGES),
    "instances": (lambda: nn.InstanceNorm2d(6), (17, 6, 7, 9), (0, 1, 2, 3)),
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The loops that ran."""
    found, share = [], norms.Layout.share
    monkeypatch.setattr(norms.Layout, "share", lambda self, name, *a: (found.append(name), share(self, name, *a))[1])
    return found


def ordered(x: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    return x.transpose(order).copy().transpose(np.argsort(order))


def case(name: str, dtype: Any, offset: float = 3.0) -> tuple[nn.Module, np.ndarray, np.ndarray]:
    """A layer with random weights, its input, and the gradient of its result."""
    make, shape, order = CASES[name]
    rng, layer = np.random.default_rng(0), make().to(dtype)
    for p in layer.parameters():
        p.data[...] = rng.standard_normal(p.shape)
    x, g = rng.standard_normal((2, *shape))
    return layer, ordered((x + offset).astype(dtype), order), g.astype(dtype)


def by_loops(layer: nn.Module, x: np.ndarray, g: np.ndarray) -> list[np.ndarray]:
    """The result, the buffers and the gradients."""
    t = sa.Tensor(x, requires_grad=True)
    y = layer(t)
    buffers = [layer.running_mean, layer.running_var] if isinstance(layer, nn.BatchNorm1d) else []
    return [y.data, *buffers, *(a.data for a in sa.grad(y, [t, *layer.parameters()], g))]


def by_operators(layer: nn.Module, x: np.ndarray, g: np.ndarray) -> list[np.ndarray]:
    """The gradients again, recorded, and the gradients of their squares."""
    t = sa.Tensor(x, requires_grad=True)
    leaves = [t, *layer.parameters()]
    recorded = sa.grad(layer(t), leaves, g, create_graph=True)
    second = sa.grad(sum(((a * a).sum() for a in recorded), start=(t * 0).sum()), leaves, allow_unused=True)
    return [a.data for a in (*recorded, *second) if a is not None]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_results_and_first_and_second_derivatives(name: str, dtype: str, formulas: Any, calls: list[str]) -> None:
    found = by_loops(*case(name, dtype))
    assert calls == LOOPS
    assert found[0].transpose(CASES[name][2]).flags.c_contiguous  # in the order of the input
    found += by_operators(*case(name, dtype))
    calls.clear()
    formulas(normalised)
    wanted = by_loops(*case(name, "float64")) + by_operators(*case(name, "float64"))
    assert calls == []
    first = len(by_loops(*case(name, "float64")))
    for i, (mine, exact) in enumerate(zip(found, wanted, strict=True)):
        assert mine.dtype == dtype and mine.shape == exact.shape
        largest = (1e-6 if i < first else 5e-5) if dtype == "float32" else 1e-13
        assert abs(mine - exact).max() <= largest * abs(exact).max()


@pytest.mark.parametrize(("shape", "axes"), [((60, 35), (0,)), ((5, 3, 140), (0, 2)), ((35, 60), (-1,))])
def test_gradcheck(shape: tuple[int, ...], axes: tuple[int, ...], calls: list[str]) -> None:
    rng, kept = np.random.default_rng(0), [1 if i in axes or i - len(shape) in axes else n for i, n in enumerate(shape)]
    x, factors = rng.standard_normal((2, *shape))
    inputs = [x[:1, ..., :3], *rng.standard_normal((2, *kept))]  # of x, the differences change these numbers only

    def loss(few: sa.Tensor, weight: sa.Tensor, bias: sa.Tensor) -> sa.Tensor:
        line = F.concatenate([few, x[:1, ..., 3:]], axis=-1)
        return (normalised(F.concatenate([line, x[1:]]), axes, 1e-5, weight, bias)[0] * factors).sum()

    def slopes(*leaves: sa.Tensor) -> list[sa.Tensor]:
        return sa.grad(loss(*leaves), list(leaves), create_graph=True)

    assert sa.gradcheck(loss, inputs) and sa.gradcheck(slopes, inputs)
    assert set(calls) == set(LOOPS)


@pytest.mark.parametrize("name", CASES)
def test_the_same_bits_for_any_number_of_threads(name: str) -> None:
    found = []
    for number in (1, 2, 3):
        sa.set_num_threads(number)
        found.append([a.tobytes() for a in by_loops(*case(name, "float32"))])
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("name", ["images", "rows", "many rows", "layer", "instances"])
def test_a_large_mean_costs_no_digits(name: str) -> None:
    layer, x, g = case(name, "float32", offset=1000.0)
    found, wanted = by_loops(layer, x, g), by_loops(case(name, "float64")[0], x.astype(np.float64), g)
    for mine, exact in zip(found, wanted, strict=True):
        assert abs(mine - exact).max() <= 3e-4 * abs(exact).max()  # the rounded mean has an error of 1000 * 6e-8
    axes = {"layer": (1,), "instances": (2, 3)}.get(name, (0, *range(2, x.ndim)))
    _, average, variance = normalised(np.ascontiguousarray(x), axes, 1e-5)
    np.testing.assert_allclose(average, x.mean(axes, np.float64, keepdims=True), rtol=6e-8)
    np.testing.assert_allclose(variance, x.astype(np.float64).var(axes, keepdims=True), rtol=2e-6)


def test_lines_that_differ_much_in_their_means() -> None:
    x = ordered((np.arange(14)[:, None] * 1000 + np.random.default_rng(0).random((64, 4, 14, 14))), IMAGES)
    _, average, variance = normalised(x.astype(np.float32), (0, 2, 3), 1e-5)
    exact = x.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(average, exact.mean((0, 2, 3), keepdims=True), rtol=1e-7)
    np.testing.assert_allclose(variance, exact.var((0, 2, 3), keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("view", [
    lambda x: x[::-1], lambda x: x[:, :, ::2, 1:], lambda x: x[..., ::-1], lambda x: np.broadcast_to(x[:1], x.shape),
    lambda x: x.transpose(0, 1, 3, 2), lambda x: x[:, :, ::-1].transpose(0, 1, 3, 2),
])  # fmt: skip
def test_views_of_any_strides(view: Callable[[np.ndarray], np.ndarray], calls: list[str]) -> None:
    x = view(case("images", "float32")[1])
    layer, g = nn.BatchNorm2d(16), view(np.random.default_rng(1).standard_normal((64, 16, 14, 14)).astype(np.float32))
    found = by_loops(layer, x, g)
    for mine, copied in zip(found, by_loops(nn.BatchNorm2d(16), x.copy(), g.copy()), strict=True):
        np.testing.assert_allclose(mine, copied, rtol=1e-5, atol=2e-5 * abs(copied).max())
    assert calls == LOOPS * 2


def test_eval_mode_and_half_precision() -> None:
    layer, x, _ = case("images", "float32")
    layer(sa.Tensor(x))
    before = layer.running_mean.copy(), layer.running_var.copy()
    out = layer.eval()(sa.Tensor(x)).data
    along = (1, -1, 1, 1)
    mean, var, weight, bias = (
        a.reshape(along).astype(np.float64) for a in (*before, layer.weight.data, layer.bias.data)
    )
    np.testing.assert_allclose(out, (x - mean) / np.sqrt(var + 1e-5) * weight + bias, rtol=1e-4, atol=1e-5)
    assert np.array_equal(before, (layer.running_mean, layer.running_var))
    half, whole = nn.BatchNorm2d(16).to(np.float16), nn.BatchNorm2d(16)
    x = x.astype(np.float16)
    found, wanted = half(sa.Tensor(x)).data, whole(sa.Tensor(x.astype(np.float32))).data
    assert found.dtype == np.float16 and np.array_equal(found, wanted.astype(np.float16))


def test_other_arrays_are_left_to_the_formula(calls: list[str]) -> None:
    rng = np.random.default_rng(0)
    swapped = rng.standard_normal((64, 64)).astype(np.float32)
    swapped = swapped.astype(swapped.dtype.newbyteorder())
    for x in (rng.standard_normal((8, 5)), swapped, rng.standard_normal((600, 2, 3))):
        out, average, _ = normalised(x, (0, *range(2, x.ndim)), 1e-5)
        np.testing.assert_allclose(average, x.mean((0, *range(2, x.ndim)), keepdims=True), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(out.std((0, *range(2, x.ndim))), 1, rtol=1e-3)
    assert calls == []


def test_a_part_of_a_batch_is_left_to_the_formula_unless_its_mean_is_its_own(calls: list[str]) -> None:
    x = sa.Tensor(np.random.default_rng(0).standard_normal((64, 100)).astype(np.float32))
    with part_of_batch(slice(0, 64), 128):
        nn.BatchNorm1d(100)(x)
        assert calls == []
        nn.LayerNorm(100)(x)
    assert calls == ["moments", "results"]


@pytest.mark.parametrize("frozen", [("weight",), ("bias",), ("weight", "bias"), ("x",), ("x", "weight"), ("x", "bias")])
def test_frozen_weights_and_a_constant_input(frozen: tuple[str, ...], formulas: Any) -> None:
    def slopes() -> list[np.ndarray]:
        """The gradients of the leaves that are not frozen, and the gradients of their squares."""
        layer, x, g = case("rows", "float64")
        leaves = {"x": sa.Tensor(x, requires_grad=True), "weight": layer.weight, "bias": layer.bias}
        for name in frozen:
            leaves[name].requires_grad = False
        free = [leaf for name, leaf in leaves.items() if name not in frozen]
        loss = (layer(leaves["x"]) ** 3 * g).sum()
        first = sa.grad(loss, free, create_graph=True)
        second = sa.grad(sum((a * a).sum() for a in first), free)
        return [a.data for a in (*sa.grad(loss, free), *first, *second)]

    found = slopes()
    formulas(normalised)
    for mine, exact in zip(found, slopes(), strict=True):
        assert abs(mine - exact).max() <= 1e-12 * abs(exact).max()


def test_nan_stays_in_its_channel() -> None:
    layer, x, g = case("images", "float32")
    x[3, 2, 5, 5] = np.nan
    for a in by_loops(layer, x, g)[:5]:
        bad = np.isnan(a if a.ndim == 1 else a.sum((0, 2, 3)))
        assert bad[2] and bad.sum() == 1


def test_a_step_of_several_batches_refuses_a_norm_over_the_batch() -> None:
    x = np.random.default_rng(0).random((256, 64), dtype=np.float32)
    model = sa.Autoencoder(nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32)), nn.Linear(32, 64))
    trainer = sa.Trainer(model, sa.optim.SGD(model.parameters(), lr=0.1), accumulate=2)
    with pytest.raises(ValueError, match="needs all samples at once: BatchNorm"):
        trainer.fit(x, batch_size=128, progress=False)
    assert not model.encoder[1].running_mean.any()
