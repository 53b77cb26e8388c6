"""Compiled loops against the formulas that they stand in for. Needs the extra [fast]; run by name.

The tests of numbers (test_ops.py, test_images.py, ...) use small arrays, for which the formulas run. Here the arrays
are large enough for the loops.
"""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae.autograd import elementwise
from scratchae.fast import convolutions, gemm, loops, products, threads
from scratchae.fast.flat import move
from scratchae.fast.numba import INSTALLED
from scratchae.images import conv
from scratchae.images.functions import conv2d
from scratchae.images.window import Window, output_size

assert INSTALLED and not sa.attach.PLAIN
pytestmark = pytest.mark.usefixtures("two_threads")
rng = np.random.default_rng(0)
OPTIMIZERS = [
    (sa.optim.Adam, {}), (sa.optim.Adam, {"betas": (0.7, 0.9), "eps": 0.01, "weight_decay": 0.1}),
    (sa.optim.AdamW, {"lr": 0.05}), (sa.optim.Adam, {"amsgrad": True}), (sa.optim.SGD, {"lr": 0.1}),
    (sa.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (sa.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}), (sa.optim.RMSprop, {"weight_decay": 0.1}),
    (sa.optim.RMSprop, {"momentum": 0.5}), (sa.optim.RMSprop, {"centered": True}),
]  # fmt: skip


def script(text: str, **environment: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(Path(sa.__file__).parents[1]), **environment}
    command = [sys.executable, "-c", "import sys, numpy as np, scratchae as sa\n" + text]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


# --- exp and log ----------------------------------------------------------------------------------

_every = {
    "exp": (loops.exp, np.exp, 1.0, [(1e-38, 88.72), (-1e-38, -103.9)]),
    "log": (loops.log, np.log, 1.0, [(1e-45, 3.4e38)]),
    "log_1_plus": (loops.log_1_plus, np.log1p, 1.5, [(1e-45, 1.0), (-1e-45, -0.9999)]),
    "log_1_plus_positive": (loops.log_1_plus_positive, np.log1p, 2.0, [(1e-38, 1.0)]),
}


@pytest.mark.parametrize("name", _every)
def test_error_in_units_of_the_last_place_over_the_whole_range(name: str) -> None:
    function, exact, most, ranges = _every[name]

    @numba.njit(**loops.OPTIONS)
    def over(x: Any, out: Any) -> None:
        for i in range(x.size):
            out[i] = function(x[i])

    for ends in ranges:
        low, high = np.array(ends, np.float32).view(np.int32)
        x = np.arange(low, high, max(1, (high - low) // 2_000_000), dtype=np.int32).view(np.float32)
        out = np.empty_like(x)
        over(x, out)
        wanted = exact(x.astype(np.float64))
        unit = np.maximum(np.spacing(abs(wanted).astype(np.float32)).astype(np.float64), 2.0**-149)
        assert (abs(out - wanted) / unit).max() <= most + 0.01


# --- elements -------------------------------------------------------------------------------------

UNARY = ["relu", "sigmoid", "softplus", "tanh", "elu", "gelu", "leaky_relu"]
EDGES = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 88.0, -88.0, 104.0, -104.0, 3e38, -3e38, -50.0]


def derivatives(name: str, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """The function, its vjp for `y`, and the gradient of the vjp's squares."""
    t = sa.Tensor(x, requires_grad=True)
    out = getattr(F, name)(t)
    first = sa.grad(out, t, y, create_graph=True)
    second = sa.grad((first * first).sum(), t) if first.requires_grad else first * 0
    return [out.numpy(), first.numpy(), second.numpy()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", UNARY)
def test_activations_equal_the_formulas_which_run_for_small_arrays(name: str, dtype: str) -> None:
    x, y = (rng.standard_normal((8, 500)) * 4).astype(dtype), rng.standard_normal((8, 500)).astype(dtype)
    whole = derivatives(name, x, y)
    rows = [np.stack(parts) for parts in zip(*(derivatives(name, *row) for row in zip(x, y, strict=True)), strict=True)]
    for mine, formula in zip(whole, rows, strict=True):
        assert mine.dtype == dtype
        assert abs(mine - formula).max() <= (1e-6 if dtype == "float32" else 1e-15) * abs(formula).max()


@pytest.mark.parametrize("name", [*UNARY, "normal_cdf"])
def test_edges_of_activations(name: str) -> None:
    edges = np.array(EDGES, np.float32)
    function = getattr(F, name, None) or getattr(elementwise, name)
    with np.errstate(all="ignore"):
        found, wanted = function(np.tile(edges, 200))[-len(edges) :], function(edges.astype(np.float64))
        wanted = wanted.astype(np.float32)
    np.testing.assert_allclose(found, wanted, rtol=3e-6, atol=3e-43)
    assert F.sigmoid(np.full(3000, -50, np.float32))[7] == pytest.approx(1.9287498e-22, rel=1e-6)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 1, 3, 0)])
def test_orders_in_memory_stay_and_may_differ(order: tuple) -> None:
    x, g = rng.standard_normal((2, 9, 5, 8, 16)).astype(np.float32)
    t = sa.Tensor(x.transpose(order).copy().transpose(np.argsort(order)), requires_grad=True)
    out = F.sigmoid(t)
    assert out.numpy().strides == t.data.strides
    out.backward(g)  # in rows
    y = 1 / (1 + np.exp(-x.astype(float)))
    np.testing.assert_allclose(t.grad, g * y * (1 - y), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("view", [
    lambda x: x[::-1], lambda x: x[:, ::-1], lambda x: x[..., ::-1], lambda x: x[::-1, :, ::2, ::-1],
    lambda x: x.transpose(3, 1, 0, 2)[:, ::-1], lambda x: np.broadcast_to(x[:1], x.shape), lambda x: x[:, :, 1:, 3:],
])  # fmt: skip
@pytest.mark.parametrize("name", ["relu", "sigmoid", "elu", "gelu"])
def test_views_of_any_strides(name: str, view: Callable[[np.ndarray], np.ndarray]) -> None:
    x = view(rng.standard_normal((9, 6, 8, 16)).astype(np.float32))
    whole, copied = derivatives(name, x, x), derivatives(name, x.copy(), x.copy())
    for mine, plain in zip(whole, copied, strict=True):
        np.testing.assert_allclose(mine, plain, rtol=1e-5, atol=1e-6)
    swapped = x.astype(x.dtype.newbyteorder())
    np.testing.assert_allclose(getattr(F, name)(swapped).astype(np.float32), whole[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
def test_cross_entropies(name: str, reduction: str) -> None:
    x = rng.random((60, 70)).astype(np.float32)
    x.flat[:2] = 0, 1
    x = x * 60 - 30 if "logits" in name else x
    target = rng.random((60, 70)).astype(np.float32)

    def result(dtype: type) -> list[np.ndarray]:
        t = sa.Tensor(x.astype(dtype), requires_grad=True)
        loss = getattr(F, name)(t, target.astype(dtype), reduction)
        loss.backward(np.ones(loss.shape, dtype))
        return [loss.numpy(), t.grad]

    for mine, exact in zip(result(np.float32), result(np.float64), strict=True):
        np.testing.assert_allclose(mine, exact, rtol=3e-5, atol=1e-6 * abs(exact).max())


def test_masked_is_exactly_0_elsewhere() -> None:
    g, keep = np.full(5000, np.nan, np.float32), np.zeros(5000, bool)
    keep[3] = True
    out = elementwise.masked(g, keep)
    assert np.isnan(out[3]) and np.count_nonzero(out) == 1


# --- update rules ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_update_rules(kind: Any, options: dict, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start = rng.standard_normal(300_000).astype(dtype)
    gradients = rng.standard_normal((4, start.size)).astype(dtype)

    def moved() -> np.ndarray:
        p = sa.Tensor(start.copy(), requires_grad=True)
        optimizer = kind([p], **options)
        for g in gradients:
            p.grad = g.copy()
            optimizer.step()
        return p.numpy()

    by_loop = moved()
    sa.set_num_threads(1)
    assert by_loop.tobytes() == moved().tobytes()
    monkeypatch.setattr(move.op, "forward", move.__wrapped__)
    formula = moved()
    assert abs(by_loop - formula).max() <= (1e-6 if dtype == "float32" else 1e-14) * abs(formula).max()


def test_a_rule_of_your_own_is_not_replaced() -> None:
    class Sign(sa.optim.Adam):
        def update(self, p: Any, g: Any, state: Any, step: int, group: dict, scratch: Any) -> None:
            p -= group["lr"] * np.sign(g)

    p = sa.Tensor(np.ones(5000, np.float32), requires_grad=True)
    optimizer = Sign([p], lr=0.5)
    p.grad = np.full(5000, 3, np.float32)
    optimizer.step()
    assert (p.numpy() == 0.5).all()


# --- images ---------------------------------------------------------------------------------------

WINDOWS = [
    Window((3, 3), (1, 1), ((1, 1), (1, 1))), Window((3, 3), (1, 1), ((0, 2), (2, 1))), Window((3, 3), (1, 1)),
    Window((3, 3), (2, 2), ((1, 1), (1, 1))), Window((3, 3), (2, 2), ((0, 1), (2, 0))),
    Window((3, 3), (1, 2), ((1, 1), (0, 1))), Window((3, 3), (1, 1), ((2, 2), (2, 2)), (2, 2)),
    Window((3, 3), (3, 2), ((2, 1), (3, 3)), (1, 3)), Window((3, 3), (2, 2), ((3, 2), (1, 1))),
    Window((3, 3), (2, 2), ((1, 0), (0, 1))), Window((3, 3), (1, 1), ((1, -1), (0, -2))),
    Window((3, 3), (2, 2), ((1, -2), (1, -3))),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [(1, 1), (3, 2), (2, 5), (4, 16)])
@pytest.mark.parametrize("window", WINDOWS)
def test_convolutions(window: Window, channels: tuple[int, int], dtype: str, formulas: Any) -> None:
    size, n = (9, 12), 96
    out = output_size(size, window)
    C, O = channels  # noqa: E741
    X, w = rng.standard_normal((size[0], C, size[1], n)).astype(dtype), rng.standard_normal((O, C, 3, 3)).astype(dtype)
    Y = rng.standard_normal((out[0], O, out[1], n)).astype(dtype)

    def results() -> list[np.ndarray]:
        return [
            conv.shift_then_multiply(X, w, window, out), conv.summed_products(X, Y, window, out),
            conv.multiply_then_shift(Y, w, window, size),
        ]  # fmt: skip

    assert convolutions.suits(X, w, window, out) == (out[1] * n >= 512)
    found = results()
    sa.set_num_threads(1)
    assert [a.tobytes() for a in found] == [a.tobytes() for a in results()]
    formulas(conv.shift_then_multiply, conv.summed_products, conv.multiply_then_shift)
    for mine, formula in zip(found, results(), strict=True):
        assert mine.shape == formula.shape and mine.dtype == dtype
        assert abs(mine - formula).max() <= (2e-6 if dtype == "float32" else 1e-14) * abs(formula).max()


@pytest.mark.parametrize("window", WINDOWS)
def test_a_convolution_begins_with_its_bias(window: Window, formulas: Any) -> None:
    x, w, bias = (rng.standard_normal(shape).astype(np.float32) for shape in ((96, 3, 9, 12), (5, 3, 3, 3), (5,)))

    def by(b: Any) -> np.ndarray:
        return conv.conv(x, w, b, window, 1)

    found = by(bias)
    np.testing.assert_allclose(found, by(None) + bias[:, None, None], rtol=1e-5, atol=1e-5)
    formulas(conv.conv, conv.shift_then_multiply)
    np.testing.assert_allclose(found, by(bias), rtol=1e-5, atol=1e-5)


def test_a_convolution_passes_nan_and_infinity_on() -> None:
    x, w = np.zeros((64, 2, 10, 10), np.float32), np.ones((2, 2, 3, 3), np.float32)
    x[3, 0, 5, 5], x[4, 0, 5, 5] = np.nan, np.inf
    y = conv2d(x, w, padding=1)
    assert np.isnan(y[3]).sum() == 18 and np.isinf(y[4]).sum() == 18 and np.isfinite(np.delete(y, (3, 4), 0)).all()
    g = sa.Tensor(w, requires_grad=True)
    conv2d(x, g, padding=1).backward(np.ones_like(y))
    assert np.isnan(g.grad[:, 0]).all() and (g.grad[:, 1] == 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_windows_that_tile(dtype: str) -> None:
    x = rng.integers(0, 3, (32, 3, 8, 12)).astype(dtype)  # with ties, of which the first gets the gradient
    x[0, 0, 0, :3] = np.nan, 1, np.inf
    t = sa.Tensor(x, requires_grad=True)
    blocks = x.reshape(32, 3, 4, 2, 4, 3).transpose(0, 1, 2, 4, 3, 5).reshape(32, 3, 4, 4, 6)
    y = F.max_pool2d(t, (2, 3))
    np.testing.assert_array_equal(y.numpy(), blocks.max(-1))
    g = rng.standard_normal(y.shape).astype(dtype)
    y.backward(g)
    first = np.where(np.isnan(blocks).any(-1), 0, blocks.argmax(-1))[..., None] == np.arange(6)
    expected = (first * g[..., None]).reshape(32, 3, 4, 4, 2, 3).transpose(0, 1, 2, 4, 3, 5).reshape(x.shape)
    np.testing.assert_array_equal(t.grad[1:], expected[1:])  # the first image has a NaN
    u = sa.Tensor(rng.standard_normal((32, 3, 4, 5)).astype(dtype), requires_grad=True)
    up = F.upsample(u, scale_factor=2)
    np.testing.assert_array_equal(up.numpy(), u.numpy().repeat(2, 2).repeat(2, 3))
    h = rng.standard_normal(up.shape).astype(dtype)
    up.backward(h)
    sums = h.reshape(32, 3, 4, 2, 5, 2).sum((3, 5))
    np.testing.assert_allclose(u.grad, sums, rtol=1e-5 if dtype == "float32" else 1e-13, atol=1e-6)


# --- products -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "sizes", [(128, 784, 128), (128, 128, 784), (784, 130, 128), (5, 2000, 1000), (300, 2000, 301)]
)
def test_products_in_all_layouts_and_the_same_bits(sizes: tuple[int, int, int], dtype: str) -> None:
    m, k, n = sizes
    for across_x in (False, True):
        for across_y in (False, True):
            x, y = (
                rng.standard_normal(shape[::-1] if across else shape).astype(dtype)
                for shape, across in (((m, k), across_x), ((k, n), across_y))
            )
            x, y = x.T if across_x else x, y.T if across_y else y
            for bias in (None, rng.standard_normal(n).astype(dtype)):
                found = []
                for number in (1, 2, 3):
                    sa.set_num_threads(number)
                    found.append(products.matmul(x, y, bias=bias).tobytes())
                assert found[0] == found[1] == found[2]
                exact = x.astype(np.longdouble) @ y if m * k * n < 1 << 22 else x.astype(float) @ y
                exact = exact + (0 if bias is None else bias)
                error = abs(np.frombuffer(found[0], dtype).reshape(m, n) - exact).max()
                assert error <= (2e-6 if dtype == "float32" else 2e-14) * abs(exact).max()


def test_products_of_matrices_with_gaps_and_of_busy_pools() -> None:
    x, y = rng.standard_normal((2, 300, 600)).astype(np.float32)
    np.testing.assert_allclose(products.matmul(x[:, ::2], y[:, 1::2].T), x[:, ::2] @ y[:, 1::2].T, rtol=1e-4, atol=1e-4)
    wanted = products.matmul(x, y.T).tobytes()
    inside: list[bytes] = []
    threads.run(lambda piece: inside.append(products.matmul(x, y.T).tobytes()), [1, 2, 3])
    beside: list[bytes] = []

    def several() -> None:
        for _ in range(50):
            beside.append(products.matmul(x, y.T).tobytes())

    others = [threading.Thread(target=several) for _ in range(4)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    assert len(inside) == 3 and len(beside) == 200 and set(inside) | set(beside) == {wanted}


def test_an_operation_that_lost_time_to_other_programs_is_followed_by_some_alone() -> None:
    sa.set_num_threads(3)
    found: set[int] = set()

    def pieces() -> int:
        found.clear()
        threads.run(lambda piece: (found.add(threading.get_ident()), time.sleep(0.01)), range(6))
        return len(found)

    x = rng.standard_normal((300, 300))
    wanted = products.matmul(x, x).tobytes()
    threads._pool.judge(time.perf_counter() - 0.01, time.thread_time())  # 10 ms by the clock, none by the processor
    assert threads._pool.alone_until > time.perf_counter()
    assert pieces() == 1 and products.matmul(x, x).tobytes() == wanted
    threads._pool.alone_until = 0.0
    assert pieces() > 1 and products.matmul(x, x).tobytes() == wanted
    computed = time.thread_time()
    threads._pool.alone_until = 0.0
    threads._pool.judge(time.perf_counter() - 0.01, computed - 0.01)  # all of it by the processor
    assert threads._pool.alone_until == 0.0


def test_threads_fall_asleep_when_no_work_comes() -> None:
    x = rng.standard_normal((400, 400)).astype(np.float32)
    for _ in range(20):
        products.matmul(x, x)
    time.sleep(0.1)
    start = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - start < 0.1


def test_a_board_without_threads_serves_one_product_after_the_other() -> None:
    x, y = rng.standard_normal((2, 200, 200))
    board, target = threads.new_board(), np.empty((200, 200))
    for i in range(3):
        gemm.multiply(board, products._plan(200, 200, 200, False, False, 8, False), x, y, target)
        np.testing.assert_allclose(target, x @ y, rtol=1e-10, atol=1e-10)
        assert board[gemm.CALLS] == i + 1 and board[gemm.DONE] == board[gemm.COUNT] == 2


# --- import, compilation, copies ------------------------------------------------------------------

STEP = """
sa.manual_seed(0)
model = sa.Autoencoder.dense((784, 128))
x = np.random.default_rng(0).random((128, 784), dtype=np.float32)
trainer = sa.Trainer(model, sa.optim.Adam(model.parameters()))
trainer.fit(x, batch_size=128, progress=False)
print(trainer.history["loss"][0])
"""


def test_import_brings_no_numba_and_a_first_run_says_that_it_compiles(tmp_path: Path) -> None:
    assert script("print('numba' in sys.modules, sa.get_num_threads() >= 1)").stdout == "False True\n"
    patience = "sa.fast.numba._PATIENCE = 0.0\n"
    first = script(patience + STEP, NUMBA_CACHE_DIR=str(tmp_path))
    second = script(patience + STEP, NUMBA_CACHE_DIR=str(tmp_path))
    assert first.stderr.count("scratchae: compiling loops") == 1 and first.stderr.count("\n") == 1
    assert second.stderr == "" and second.stdout == first.stdout != ""
    without = script(STEP + "print('numba' in sys.modules)", SCRATCHAE_COMPILED="0").stdout.split()
    assert without[1] == "False" and float(without[0]) == pytest.approx(float(first.stdout), rel=1e-5)


def test_a_numba_that_cannot_be_imported_is_left_out_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 1.9 or less')")
    run = script("sys.path.insert(0, " + repr(str(tmp_path)) + ")\n" + STEP + "sa.show_config()")
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("Numba needs NumPy 1.9 or less); scratchae goes on without compiled loops") == 1
    assert float(run.stdout.split()[0]) > 0 and "cannot be imported" in run.stdout


def test_a_run_killed_while_it_compiles_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(sa.__file__).parents[1]), "NUMBA_CACHE_DIR": str(tmp_path)}
    code = "import sys, numpy as np, scratchae as sa\n" + STEP
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.DEVNULL) as run:
        while not list(tmp_path.rglob("*.nbi")) and run.poll() is None:
            time.sleep(0.01)
        run.kill()
    again = script(STEP, NUMBA_CACHE_DIR=str(tmp_path))
    assert again.returncode == 0 and float(again.stdout) > 0, again.stderr


def test_loops_are_compiled_where_no_folder_can_keep_them() -> None:
    names: dict[str, Any] = {}
    exec(compile("def twice(x):\n    return x + x", "<no file>", "exec"), names)
    assert loops.loop(names["twice"])(2.0) == 4.0


def test_optimisers_are_copied_and_pickled() -> None:
    p = sa.Tensor(np.ones(5000, np.float32), requires_grad=True)
    twins = [(p, sa.optim.Adam([p]))]
    twins += [copy.deepcopy(twins[0]), pickle.loads(pickle.dumps(twins[0]))]
    for q, optimizer in twins:
        for _ in range(3):
            q.grad = np.linspace(-1, 1, 5000, dtype=np.float32)
            optimizer.step()
    assert len({q.numpy().tobytes() for q, _ in twins}) == 1


def test_an_interrupt_leaves_the_pool_free() -> None:
    x = rng.standard_normal((300, 300))
    wanted = products.matmul(x, x).tobytes()
    lines = script(
        """
import signal, time
from scratchae.fast import products, threads
sa.set_num_threads(2)
x = np.random.default_rng(0).standard_normal((300, 300))
wanted, interrupts, end = products.matmul(x, x), 0, time.perf_counter() + 3
def interrupt(_, frame):
    signal.setitimer(signal.ITIMER_REAL, 2e-4 * np.random.random() + 1e-5)
    if frame.f_code.co_filename.endswith("threads.py") and frame.f_code.co_name not in ("end", "judge"):
        raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 1e-3)
wrong = 0
while time.perf_counter() < end:
    try:
        wrong += products.matmul(x, x).tobytes() != wanted.tobytes()
    except KeyboardInterrupt:
        interrupts += 1
signal.signal(signal.SIGALRM, signal.SIG_IGN)
print(interrupts > 20, wrong, threads._pool.busy._is_owned())
"""
    )
    assert lines.stdout == "True 0 False\n", lines.stderr
    assert products.matmul(x, x).tobytes() == wanted


def test_both_threads_compute_after_a_pause() -> None:
    found: set[int] = set()
    for _ in range(20):
        time.sleep(0.01)  # they fall asleep
        threads._pool.alone_until = 0.0
        threads.run(lambda piece: (found.add(threading.get_ident()), time.sleep(2e-3)), range(8))
    assert len(found) == 2
    x = rng.standard_normal((1200, 1200)).astype(np.float32)
    shares = []
    for _ in range(10):
        time.sleep(0.01)
        threads._pool.alone_until = 0.0
        before, own = time.process_time(), time.thread_time()
        products.matmul(x, x)
        shares.append((time.process_time() - before) / (time.thread_time() - own))
    assert max(shares) > 1.2  # the other thread computed too
