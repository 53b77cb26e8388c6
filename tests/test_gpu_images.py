"""The kernels for images against the CPU's way, tap by tap; and what the stand-in for RawModule refuses."""

from __future__ import annotations

import itertools
import sys
import types
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import attach, backend
from scratchae import functional as F
from scratchae.gpu import images
from scratchae.images import conv, pooling
from scratchae.images.window import Window, output_size

pytestmark = pytest.mark.skipif(attach.PLAIN, reason="SCRATCHAE_PLAIN=1 passes the kernels over")
on_gpus = pytest.mark.parametrize(
    "device", ["stand-in", *(["gpu"] if backend.gpu_available() else [])], indirect=True
)
precisions = pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-13)])

SIZE, CHANNELS, BATCH = (9, 11), 4, 3
KERNELS = [(1, 1), (2, 3), (3, 3), (4, 1), (5, 4)]
STRIDES = [(1, 1), (2, 2), (3, 2), (1, 3)]
PADS = [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((1, 2), (0, 2))]
DILATIONS = [(1, 1), (2, 1), (1, 2)]


def up(x: np.ndarray) -> Any:
    return backend.to_device(x, "gpu")


def close(found: Any, wanted: np.ndarray, tolerance: float) -> None:
    found = backend.to_device(found, "cpu")
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    assert np.abs(found - wanted).max(initial=0) <= tolerance * np.abs(wanted).max(initial=0)


@on_gpus
@precisions
@pytest.mark.parametrize("batch", [BATCH, 0])
def test_columns_and_their_adjoint_are_the_cpus(rng, device, dtype, tolerance, batch) -> None:
    X = rng.standard_normal((SIZE[0], CHANNELS, SIZE[1], batch)).astype(dtype)
    for window in itertools.starmap(Window, itertools.product(KERNELS, STRIDES, PADS, DILATIONS)):
        out = output_size(SIZE, window)
        close(images.launch_columns(up(X), window, out), conv.matrices(X, window, out), 0)
        half = slice(CHANNELS // 2)  # one group's channels: not in one piece
        close(images.launch_columns(up(X)[:, half], window, out), conv.matrices(X[:, half], window, out), 0)
        w = rng.standard_normal((2, CHANNELS, *window.kernel)).astype(dtype)
        Y = rng.standard_normal((out[0], 2, out[1], batch)).astype(dtype)
        adjoint = conv.multiply_then_shift.__wrapped__  # the formula, which the CPU has a faster way for
        close(adjoint(up(Y), up(w), window, SIZE), adjoint(Y, w, window, SIZE), tolerance)


def windows() -> list:
    """Every window whose padding is at most half of it, as `F.max_pool2d` wants; one tiles the image."""
    pads = [((p, p), (q, q)) for p, q in [(0, 0), (1, 1), (2, 1)]]
    grid = itertools.product([*KERNELS, (3, 11)], [*STRIDES, (3, 11)], pads)
    return [Window(k, s, p) for k, s, p in grid if all(2 * side[0] <= n for side, n in zip(p, k, strict=True))]


@on_gpus
@precisions
@pytest.mark.parametrize("batch", [BATCH, 0])
def test_pooling_and_its_reverse_are_the_cpus(rng, device, dtype, tolerance, batch) -> None:
    x = rng.integers(-4, 4, (batch, CHANNELS, *SIZE)).astype(dtype)  # with many ties
    x[rng.random(x.shape) < 0.05] = -np.inf
    y = rng.standard_normal(x.shape).astype(dtype)
    for window in windows():
        best, extra = pooling.max_pool.op.forward(x, window)
        found, found_extra = pooling.max_pool.op.forward(up(x), window)
        np.testing.assert_array_equal(backend.to_device(found, "cpu"), best)
        close(found_extra["index"], extra["index"], 0)
        g, index = rng.standard_normal(best.shape).astype(dtype), extra["index"]
        for function, given, options in [
            (pooling.put_back, (g, index), {"size": SIZE}),
            (pooling.pick, (y, index), {}),
            (pooling.pool_sum, (y,), {}),
            (pooling.spread, (g,), {"size": SIZE}),
        ]:
            wanted = function(*given, **options, window=window)
            close(function(*map(up, given), **options, window=window), wanted, tolerance)


@on_gpus
def test_nan_passes_through_max_pool_as_on_the_cpu(rng, device) -> None:
    x = rng.integers(-2, 2, (BATCH, CHANNELS, *SIZE)).astype(np.float32)
    x[rng.random(x.shape) < 0.2] = np.nan
    for window in windows():
        best, extra = pooling.max_pool.op.forward(x, window)
        found, found_extra = pooling.max_pool.op.forward(up(x), window)
        np.testing.assert_array_equal(backend.to_device(found, "cpu"), best)
        close(found_extra["index"], extra["index"], 0)


@on_gpus
@precisions
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("operation", [F.conv2d, F.conv_transpose2d])
def test_convolutions_and_their_gradients_are_the_cpus(rng, device, operation, groups, dtype, tolerance) -> None:
    for kernel, stride, dilation in itertools.product([(1, 1), (3, 2), (5, 4)], [1, (3, 2)], DILATIONS):
        cut = (6, CHANNELS // groups) if operation is F.conv2d else (CHANNELS, 6 // groups)
        options: dict[str, Any] = {"stride": stride, "dilation": dilation}
        if operation is F.conv_transpose2d:  # where the stride is smaller, under no tap of any kernel
            options["output_padding"] = tuple(d - 1 for d in dilation)
        x, w = rng.standard_normal((BATCH, CHANNELS, 9, 11)), rng.standard_normal((*cut, *kernel))
        found = []
        for place in ("cpu", "gpu"):
            X, W = (sa.tensor(a.astype(dtype), requires_grad=True, device=place) for a in (x, w))
            out = operation(X, W, padding=1 if kernel != (1, 1) else 0, groups=groups, **options)
            (out * out).sum().backward()
            found.append((out.data, X.grad, W.grad))
        for here, there in zip(*found, strict=True):
            close(there, here, 10 * tolerance)  # products of up to a thousand numbers


@pytest.mark.parametrize("dilation", [(1, 1), (2, 2)])
def test_each_is_one_launch(stand_in, dilation) -> None:
    window = Window((3, 3), (2, 2), ((1, 1), (1, 1)))
    dilated = window._replace(dilation=dilation)
    X, G = stand_in.ones((8, 2, 8, 5), np.float32), stand_in.ones((4, 2, 4, 5), np.float32)
    index, product = stand_in.zeros(G.shape, np.uint8), stand_in.ones((3, 3, 3, 2, 3, 5), np.float32)
    for call in (
        lambda: images.launch_columns(X, dilated, (3, 3)),
        lambda: images.launch_fold(product, (8, 8), dilated),
        lambda: images.launch_max_pool(X, window),
        lambda: images.launch_put_back(G, index, (8, 8), window),
        lambda: images.launch_pick(X, index, window),
        lambda: images.launch_pool_sum(X, window),
        lambda: images.launch_spread(G, (8, 8), window),
    ):
        stand_in.counts.reset()
        call()
        assert (stand_in.counts.launches, stand_in.counts.synchronisations) == (1, 0)


def test_a_gpu_keeps_the_matrices_of_bilinear_upsampling_by_the_library_that_owns_them(stand_in, monkeypatch) -> None:
    def found() -> Any:
        return pooling.interpolation(3, 2, np.dtype(np.float32), "gpu:0")

    up(np.zeros(1))  # the first use of a GPU attaches
    kept = found()
    assert found() is kept  # at the address that a recorded step reads
    other = types.ModuleType("cupy")  # a stand-in beside a real GPU, or the reverse
    vars(other).update(vars(stand_in))
    monkeypatch.setitem(sys.modules, "cupy", other)
    assert found() is not kept
    close(kept, pooling.interpolation(3, 2, np.dtype(np.float32), "cpu"), 0)


@on_gpus
def test_other_dtypes_and_huge_windows_go_the_cpus_way(rng, device) -> None:
    x = rng.standard_normal((2, 1, 20, 20))
    for dtype, kernel in ((np.float16, 3), (np.float32, 17)):  # 17 * 17 places do not fit into a byte
        close(F.max_pool2d(up(x.astype(dtype)), kernel), F.max_pool2d(x.astype(dtype), kernel), 0)


def test_more_elements_than_an_int_counts_are_refused(stand_in) -> None:
    X = stand_in.broadcast_to(stand_in.ones(1, np.float32), (2**31, 1, 1, 1))
    with pytest.raises(ValueError, match="31 bits"):
        images.launch_pool_sum(X, Window((1, 1), (2**31 - 1, 1), ((0, 0), (0, 0))))


# --- the stand-in itself --------------------------------------------------------------------------

CODE = """typedef float T;
extern "C" __global__ void twice(int n, const T* x, T* y, T offset) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = 2 * x[i] + offset;
}
"""


def test_the_stand_in_runs_every_thread_of_every_block(stand_in) -> None:
    x, y = stand_in.arange(1000, dtype=np.float32), stand_in.zeros((10, 100), np.float32)
    stand_in.RawModule(code=CODE).get_function("twice")((4,), (256,), (np.int32(999), x, y.T, np.float32(1)))
    assert y.get().ravel().tolist() == [*range(1, 1999, 2), 0]


MISTAKES = {
    "too few arguments": (lambda n, x, y, t: (n, x, y), {}, "has 4 parameters, got 3"),
    "a Python integer, of 8 bytes": (lambda n, x, y, t: (4, x, y, t), {}, "argument 0: .* takes NumPy's int32"),
    "a wide integer": (lambda n, x, y, t: (np.int64(4), x, y, t), {}, "argument 0: .* takes int32, got int64"),
    "an array of another dtype": (lambda n, x, y, t: (n, x.astype(np.float64), y, t), {}, "takes float32, got float64"),
    "an array of the CPU": (lambda n, x, y, t: (n, x.get(), y, t), {}, "takes an array of float32"),
    "an array with gaps": (lambda n, x, y, t: (n, x[::2], y, t), {}, "strides .* has gaps"),
    "a large block": (lambda n, x, y, t: (n, x, y, t), {"block": (2048,)}, "CUDA_ERROR_INVALID_VALUE"),
    "no block": (lambda n, x, y, t: (n, x, y, t), {"grid": (0,)}, "CUDA_ERROR_INVALID_VALUE"),
    "too many threads": (lambda n, x, y, t: (n, x, y, t), {"block": (512, 4)}, "more than 1024 threads"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_stand_in_refuses_what_cuda_would_believe(mistake, stand_in) -> None:
    change, shape, message = MISTAKES[mistake]
    x, y = stand_in.ones(4, np.float32), stand_in.ones(4, np.float32)
    arguments = change(np.int32(4), x, y, np.float32(0))
    with pytest.raises((TypeError, ValueError, RuntimeError), match=message):
        stand_in.RawModule(code=CODE).get_function("twice")(**{"grid": (1,), "block": (32,), **shape}, args=arguments)
    assert (y._host == 1).all()


def test_the_stand_in_names_missing_kernels_and_compile_errors(stand_in) -> None:
    with pytest.raises(RuntimeError, match="CUDA_ERROR_NOT_FOUND"):
        stand_in.RawModule(code=CODE).get_function("thrice")
    with pytest.raises(RuntimeError, match="kernels:2:"):
        stand_in.RawModule(code=CODE.replace("__global__", "__globe__"))
    with pytest.raises(RuntimeError, match="do not compile"):  # as NVRTC, whose headers have a T themselves
        stand_in.RawModule(code=CODE.partition("\n")[2], options=("-DT=float",))
