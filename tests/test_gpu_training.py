"""What runs by kernels of our own on a GPU, against the same on the CPU: products, losses, updates, noise."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import strict_cublas
from textbook import CASES, RULES, Textbook, every_case, leaf

import scratchae as sa
from scratchae import backend
from scratchae import functional as F
from scratchae.autograd import Tensor
from scratchae.gpu import cublas, updates
from scratchae.gpu.recording import recording

# --- products ---------------------------------------------------------------------------------------

SHAPES = [  # of x and y
    ((3, 4), (4, 5)), ((1, 4), (4, 1)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (4, 5)),
    ((3, 4), (2, 4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (6, 4, 5)), ((1, 3, 4), (6, 4, 5)), ((2, 3, 4), (4,)),
    ((3, 1), (1, 5)), ((0, 4), (4, 5)), ((3, 0), (0, 5)), ((2, 3, 0), (0, 5)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_products_by_cublas_are_numpys(
    shapes: tuple, dtype: type, stand_in: ModuleType, rng: np.random.Generator
) -> None:
    x, y = (rng.standard_normal(s).astype(dtype) for s in shapes)
    expected = x @ y
    found = cublas.gemm(stand_in.asarray(x), stand_in.asarray(y))
    assert found.shape == expected.shape and found.dtype == dtype
    np.testing.assert_allclose(found.get(), expected, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-13)


def test_products_take_views_as_they_lie(stand_in: ModuleType, rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((6, 8)), rng.standard_normal((6, 8))
    A, B = stand_in.asarray(a), stand_in.asarray(b)
    views = [lambda m: m.T, lambda m: m[::2, :4].T, lambda m: m[:, ::2].T, lambda m: m[::-1].T, lambda m: m[1:, 1:].T]
    for cut in views:
        expected = cut(b).T @ cut(a)
        launches = stand_in.counts.launches
        np.testing.assert_allclose(cublas.gemm(cut(B).T, cut(A)).get(), expected, rtol=1e-13, atol=1e-13)
        copies = stand_in.counts.launches - launches - 1
        assert copies == (2 if cut in (views[2], views[3]) else 0)  # BLAS needs one axis without gaps
    windows = np.lib.stride_tricks.sliding_window_view(a, (3, 8))[:, 0]  # (4, 3, 8): overlapping matrices
    on_gpu = stand_in.lib.stride_tricks.as_strided(A, windows.shape, windows.strides)
    launches = stand_in.counts.launches
    np.testing.assert_allclose(cublas.gemm(on_gpu, B.T).get(), windows @ b.T, rtol=1e-13, atol=1e-13)
    assert stand_in.counts.launches == launches + 1


def test_products_write_to_memory_that_is_given(stand_in: ModuleType) -> None:
    x, out = stand_in.asarray(np.eye(3)), stand_in.empty((3, 3))
    assert cublas.gemm(x, x, out) is out
    np.testing.assert_array_equal(out.get(), np.eye(3))


def test_shapes_that_do_not_fit_are_cupys_error(stand_in: ModuleType) -> None:
    with pytest.raises(ValueError, match="mismatch"):
        cublas.gemm(stand_in.zeros((2, 3)), stand_in.zeros((2, 3)))


def test_tf32_is_chosen_explicitly(stand_in: ModuleType) -> None:
    x = stand_in.ones((2, 2), np.float32)
    strict_cublas.calls.clear()
    try:
        cublas.gemm(x, x)
        sa.allow_tf32()
        cublas.gemm(x, x)
        cublas.gemm(x.astype(np.float64), x.astype(np.float64))
    finally:
        sa.allow_tf32(False)
    single, double = "float32 1 x (2, 2) (2, 2)", "float64 1 x (2, 2) (2, 2)"
    assert strict_cublas.calls == [single, f"math mode {cublas.TF32_MATH}", single, "math mode 0", double]


# --- activations and losses ---------------------------------------------------------------------------

POINTS = np.array([-np.inf, -200.0, -50.0, -3.0, -1e-3, -0.0, 0.0, 1e-3, 0.7, 3.0, 50.0, 200.0, np.inf, np.nan])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", [F.sigmoid, F.softplus, F.relu, F.tanh], ids=lambda f: f.__name__)
def test_activations_are_those_of_the_cpu(function, dtype: type, stand_in: ModuleType) -> None:
    results = []
    for device in ("cpu", "gpu"):
        x = sa.tensor(POINTS.astype(dtype), requires_grad=True, device=device)
        y = function(x)
        y.sum().backward()
        results.append((y.numpy(), backend.to_device(x.grad, "cpu")))
    rtol = 3e-7 if dtype == np.float32 else 1e-15
    for here, there in zip(*results, strict=True):
        assert there.dtype == dtype
        np.testing.assert_allclose(there, here, rtol=rtol, atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("logits", [False, True])
def test_cross_entropies_are_those_of_the_cpu(
    logits: bool, dtype: type, stand_in: ModuleType, rng: np.random.Generator
) -> None:
    x = np.array([[0.0, 0.0, 1.0, 1.0, 1e-30, 0.3], [*rng.random(6)]])
    x, t = (x * 300 - 150 if logits else x), np.array([[0.0, 1.0, 0.0, 1.0, 0.5, 0.2], [*rng.random(6)]])
    loss = F.binary_cross_entropy_with_logits if logits else F.binary_cross_entropy
    results = []
    for device in ("cpu", "gpu"):
        a, b = (sa.tensor(v.astype(dtype), requires_grad=True, device=device) for v in (x, t))
        value = loss(a, b)
        value.backward()
        results.append([value.numpy(), *(backend.to_device(v.grad, "cpu") for v in (a, b))])
    for here, there in zip(*results, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-6 if dtype == np.float32 else 1e-14, atol=0)


def test_a_target_out_of_range_becomes_nan_where_nobody_looks(stand_in: ModuleType) -> None:
    x = sa.tensor([0.5, 0.5, 0.5], device="gpu")
    for bad in (-0.1, 1.1, np.inf, np.nan):
        t = sa.tensor([0.0, 1.0, bad], device="gpu")
        for loss in (F.binary_cross_entropy, F.binary_cross_entropy_with_logits):
            with recording():
                waits = stand_in.counts.synchronisations
                value = loss(x, t, reduction="none")
                assert stand_in.counts.synchronisations == waits
            assert np.isnan(value.numpy()).tolist() == [False, False, True]


def test_one_kernel_serves_every_layout(stand_in: ModuleType, rng: np.random.Generator) -> None:
    x = rng.standard_normal((4, 3, 2))
    for arrange in (lambda a: a, lambda a: a.transpose(2, 0, 1), lambda a: a[:, ::2], lambda a: a[:1, :1, :1]):
        view = arrange(stand_in.asarray(x))
        launches = stand_in.counts.launches
        y = F.sigmoid(view)
        np.testing.assert_allclose(y.get(), F.sigmoid(arrange(x)), rtol=1e-14)
        assert stand_in.counts.launches - launches <= 2
    x = sa.tensor(x.transpose(1, 2, 0), requires_grad=True, device="gpu")
    launches = stand_in.counts.launches
    F.sigmoid(x).sum().backward()  # the gradient that comes is one number for all
    assert stand_in.counts.launches - launches <= 6


@pytest.mark.parametrize("loss", ["bce", "logits", "mse"])
def test_second_derivatives_on_a_gpu(loss: str, stand_in: ModuleType, rng: np.random.Generator) -> None:
    functions = {
        "bce": lambda x, t: F.binary_cross_entropy(F.sigmoid(x), t),
        "logits": F.binary_cross_entropy_with_logits,
        "mse": lambda x, t: F.mse_loss(F.tanh(x), t),
    }
    x, t = (sa.tensor(v, requires_grad=True, device="gpu") for v in (rng.standard_normal((2, 3)), rng.random((2, 3))))
    assert sa.gradgradcheck(functions[loss], [x, t.detach()])


# --- optimisers ---------------------------------------------------------------------------------------


@every_case
def test_updates_are_the_textbooks(name: str, options: dict, stand_in: ModuleType, rng: np.random.Generator) -> None:
    shapes: list[tuple[int, ...]] = [(3, 4), (), (5,), (0, 2), (700,)]
    params, twins = ([leaf(np.ones(s)) for s in shapes] for _ in range(2))
    params = [Tensor(stand_in.asarray(p.data), requires_grad=True) for p in params]
    optimizer, textbook = RULES[name][0](params, **options), Textbook(twins, name, **options)
    for i in range(6):
        for j, (p, q) in enumerate(zip(params, twins, strict=True)):
            q.grad = None if (i + j) % 4 == 0 else rng.standard_normal(p.shape)  # each counts its own steps
            p.grad = None if q.grad is None else stand_in.asarray(q.grad)
        if i == 3:
            optimizer.lr = textbook.options["lr"] = 0.02
        waits = stand_in.counts.synchronisations
        optimizer.step()
        assert stand_in.counts.synchronisations == waits
        textbook.step()
    for p, q in zip(params, twins, strict=True):
        np.testing.assert_allclose(p.data.get(), q.data, rtol=1e-11, atol=1e-13)


WITH_KERNELS = [(name, options) for name, options in CASES if RULES[name][0].update in updates.RULES]


@pytest.mark.parametrize(("name", "options"), WITH_KERNELS, ids=str)
def test_an_update_is_two_launches(name: str, options: dict, stand_in: ModuleType) -> None:
    params = [sa.tensor(np.ones(s), requires_grad=True, device="gpu") for s in ((3, 4), (5,))]
    optimizer = RULES[name][0](params, **options)
    for first in (True, False):
        optimizer.zero_grad()
        sum((p * p).sum() for p in params).backward()
        launches = stand_in.counts.launches
        optimizer.step()
        assert stand_in.counts.launches - launches == (5 if first else 2)  # at first the numbers are made


def test_a_rule_of_ones_own_is_not_replaced_by_a_kernel(stand_in: ModuleType) -> None:
    class Sign(sa.optim.SGD):
        def update(self, p, g, state, step, group, scratch) -> None:
            p -= group["lr"] * backend.xp_of(g).sign(g)

    p = sa.tensor([1.0, 1.0], requires_grad=True, device="gpu")
    optimizer = Sign([p], lr=0.25)
    (p * sa.tensor([3.0, -5.0], device="gpu")).sum().backward()
    optimizer.step()
    assert p.numpy().tolist() == [0.75, 1.25]


# --- random numbers ---------------------------------------------------------------------------------


def test_philox_gives_the_published_numbers(stand_in: ModuleType) -> None:
    """Known answers of Random123 (kat_vectors: philox4x32 10) for counter and key 0, and all ones."""
    from scratchae.gpu.random import Generator

    source = Generator(stand_in, 0)
    source.state = [0, 0]
    words = [0x6627E8D5, 0xE169C58D]
    assert float(source.random((), np.float32)) == np.float32((words[0] >> 8) / 2**24)
    source.state = [0, 0]
    assert float(source.random(())) == ((words[0] << 21 | words[1] >> 11) & (2**53 - 1)) / 2**53


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_random_numbers_are_spread_as_they_should(dtype: type, stand_in: ModuleType) -> None:
    source = sa.random.generator("gpu")
    n = 200_000
    u, z = source.random(n, dtype).get().astype(float), source.standard_normal((n // 2, 2), dtype).get().astype(float)
    assert 0 <= u.min() and u.max() < 1
    counts = np.histogram(u, 100, (0, 1))[0]
    assert ((counts - n / 100) ** 2 / (n / 100)).sum() < 150  # chi-square, 99 degrees of freedom: 150 is 1 in 1,000
    moments = [(z**k).mean() for k in (1, 2, 3, 4)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.05)
    assert abs((z[1:] * z[:-1]).mean()) < 0.01 and abs((z[:, 0] * z[:, 1]).mean()) < 0.01
    whole = source.integers(3, 7, 1000).get()
    assert set(whole.tolist()) == {3, 4, 5, 6} and source.uniform(2.0, 3.0, 50).get().min() >= 2


def test_random_numbers_follow_seed_and_place(stand_in: ModuleType) -> None:
    sa.manual_seed(3)
    first = sa.random.generator("gpu").random(10).get()
    state = sa.random.random_state()
    second = sa.random.generator("gpu").random(10).get()
    assert not np.array_equal(first, second)
    sa.random.set_random_state(state)
    np.testing.assert_array_equal(sa.random.generator("gpu").random(10).get(), second)
    sa.manual_seed(3)
    np.testing.assert_array_equal(sa.random.generator("gpu").random(20).get(), np.concatenate([first, second]))
    with pytest.raises(TypeError, match="float16"):
        sa.random.generator("gpu").random(3, np.float16)
