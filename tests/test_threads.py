"""Threads that share one operation: the same bits for any number, and nothing that hangs, leaks or stays set."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from platforms import needs_fork
from threadpoolctl import threadpool_info

import scratchae as sa
from scratchae import functional as F
from scratchae.fast import cores, passes, products, threads
from scratchae.fast.blas import one_thread
from scratchae.fast.threads import cut, run

pytestmark = pytest.mark.skipif(sa.attach.PLAIN, reason="the threads are not attached")


@pytest.fixture(autouse=True)
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(threads, "_LOST", float("inf"))  # on a busy machine too, all threads take part
    before = sa.get_num_threads()
    sa.set_num_threads(3)
    yield
    sa.set_num_threads(before)


def images(n: int, size: int = 28, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(1).random((n, channels, size, size), dtype=np.float32)


def blas_threads() -> list[int]:
    """Of NumPy's BLAS, and not of another one that another test has loaded."""
    return [b["num_threads"] for b in threadpool_info() if b["user_api"] == "blas" and "scipy" not in b["filepath"]]


def script(text: str, **environment: str) -> list[str]:
    """The lines that a script of its own prints."""
    run = subprocess.run(
        [sys.executable, "-c", "import os, sys, threading, numpy as np, scratchae as sa\n" + textwrap.dedent(text)],
        env={**os.environ, "PYTHONPATH": str(Path(sa.__file__).parents[1]), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert not run.stderr
    return run.stdout.splitlines()


# --- the same bits --------------------------------------------------------------------------------


def with_batch_norm() -> Any:
    layers = (sa.nn.Linear(784, 256), sa.nn.BatchNorm1d(256), sa.nn.ELU(), sa.nn.Dropout(0.3), sa.nn.Linear(256, 784))
    return sa.Autoencoder(sa.nn.Sequential(sa.nn.Flatten(), *layers[:4]), layers[4], loss="bce_logits")


MODELS: dict[str, Callable[[], Any]] = {
    "dense": lambda: sa.Autoencoder.dense((784, 512, 64), loss="bce"),
    "linear": lambda: sa.Autoencoder.dense((784, 160), activation=None, output=None, loss="mse"),
    "pool": lambda: sa.ConvAutoencoder((1, 16, 16)),
    "transposed": lambda: sa.ConvAutoencoder((1, 16, 32), "stride"),
    "one thin channel": lambda: sa.ConvAutoencoder((1, 2, 2), "stride"),
    "batch norm and dropout": with_batch_norm,
    "variational": lambda: sa.VariationalAutoencoder.dense((784, 400, 20), activation="leaky_relu", loss="bce_logits"),
    "contractive": lambda: sa.ContractiveAutoencoder.dense((784, 24), weight=0.1),
}


def trained(model: Any, steps: int = 3, batch: int = 200) -> tuple[bytes, list]:
    sa.manual_seed(0)
    for p in model.parameters():
        p.data[...] = sa.generator().normal(0, 0.05, p.shape)
    x = images(steps * batch)
    flat = isinstance(model.encoder[0], (sa.nn.Linear, sa.nn.Flatten))
    trainer = sa.Trainer(model, sa.optim.AdamW(model.parameters(), lr=1e-2), clip_grad_norm=0.5)
    history = trainer.fit(x.reshape(len(x), -1) if flat else x, epochs=1, batch_size=batch, progress=False)
    return np.concatenate([p.numpy().ravel() for p in model.parameters()]).tobytes(), history["loss"]


@pytest.mark.parametrize("name", MODELS)
def test_training_gives_the_same_bits_for_any_number_of_threads(name: str) -> None:
    found = []
    for n in (1, 2, 3):
        sa.set_num_threads(n)
        found.append(trained(MODELS[name]()))
    assert np.isfinite(found[0][1]).all()
    assert found[0] == found[1] == found[2]


def test_double_backward_gives_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 64, 8, 20, 20), dtype=np.float32)
    w = rng.random((16, 8, 3, 3), dtype=np.float32) - 0.5
    found = []
    for n in (1, 2, 3):
        sa.set_num_threads(n)
        a, b = sa.Tensor(x, requires_grad=True), sa.Tensor(w, requires_grad=True)
        pooled = F.max_pool2d(F.elu(F.conv2d(a, b, padding=1)), 2)
        first = sa.grad((pooled * pooled).sum(), [a, b], create_graph=True)
        second = sa.grad((first[0] * y).sum() + (first[1] * first[1]).sum(), [a, b])
        found.append(b"".join(g.numpy().tobytes() for g in (*first, *second)))
    assert found[0] == found[1] == found[2]


def test_a_run_resumed_with_another_number_of_threads_ends_with_the_same_bits(tmp_path: Path) -> None:
    def fit(threads: int, epochs: int, **options: Any) -> bytes:
        sa.set_num_threads(threads)
        sa.manual_seed(0)
        model = sa.Autoencoder.dense((784, 256, 64))
        trainer = sa.Trainer(model, sa.optim.Adam(model.parameters()))
        trainer.fit(images(400), epochs=epochs, batch_size=200, progress=False, **options)
        return b"".join(p.numpy().tobytes() for p in model.parameters())

    path = tmp_path / "run.safetensors"
    fit(3, 1, checkpoint=path)
    assert fit(1, 2, checkpoint=path, resume=True) == fit(2, 2)


ELEMENTWISE = ["relu", "sigmoid", "tanh", "softplus", "leaky_relu", "elu", "gelu", "exp", "log", "sqrt", "abs"]


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 2, 0), (2, 1, 3, 0)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_elementwise_passes_keep_bits_and_memory_order(name: str, order: tuple, dtype: str) -> None:
    x = np.random.default_rng(0).standard_normal((40, 17, 21, 30)).astype(dtype)
    x[0, 0, 0, :4] = np.nan, np.inf, -np.inf, -0.0
    x = x.transpose(order).copy().transpose(np.argsort(order))
    found = []
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for n in (1, 3):
            sa.set_num_threads(n)
            t = sa.Tensor(x, requires_grad=True)
            out = getattr(F, name)(t)
            out.backward(x)
            found.append((out.numpy(), t.grad))
    (out, grad), (out_3, grad_3) = found
    assert out.strides == out_3.strides and out.dtype == out_3.dtype == grad_3.dtype == dtype
    np.testing.assert_array_equal(out.view(f"i{x.itemsize}"), out_3.view(f"i{x.itemsize}"))
    np.testing.assert_array_equal(grad, grad_3)


def test_operands_that_stretch_or_have_other_dtypes_give_what_numpy_gives() -> None:
    x = np.random.default_rng(0).random((700, 600), dtype=np.float32)
    others = [x, x.T.copy().T, x[:1], x[0], x[:, :1], x[:, ::-1], x.astype("float64"), x > 0.5, 2, 0.1, np.float32(3)]
    for y in [*others, x.astype("int32"), np.array(2.0, np.float32), np.array(2.0), x[:1].astype("float64"), x[None]]:
        for got, expected in ((F.add(x, y), x + y), (F.multiply(x, y), x * y), (F.add(y, x), y + x)):
            assert got.dtype == expected.dtype and got.shape == expected.shape
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("m", "k", "n"), [(200, 300, 400), (400, 300, 64), (1, 9000, 9), (130, 4000, 9), (0, 5, 7)])
def test_products_are_numpys_within_rounding(m: int, k: int, n: int) -> None:
    rng = np.random.default_rng(0)
    x, y, stack = rng.random((m, k)), rng.random((k, n)), rng.random((5, k, n))
    bias = rng.random(n)
    for got, expected in (
        (products.matmul(x, y), x @ y),
        (F.matmul(x, y), x @ y),
        (F.matmul(x, stack), x @ stack),
        (F.matmul(stack.swapaxes(1, 2), y), stack.swapaxes(1, 2) @ y),
        (F.linear(x, y.T, bias), x @ y + bias),
        (F.linear(x, y.T.copy()), x @ y),
    ):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_shapes_that_do_not_fit_raise_what_numpy_raises() -> None:
    x = np.ones((300, 300), np.float32)
    for y in (np.ones((299, 300), np.float32), np.ones((7, 299, 300), np.float32)):
        with pytest.raises(ValueError, match="matmul"):
            F.matmul(x, y)
    with pytest.raises(ValueError, match="shapes|broadcast"):
        F.add(np.ones((600, 700), np.float32), np.ones((600, 600), np.float32))


# --- the pool -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "least"), [(10, 3), (10, 20), (1, 1), (0, 4), (1000, 1), (7, 0)])
def test_slices_cover_everything_once(n: int, least: int) -> None:
    slices = cut(n, least)
    assert [i for s in slices for i in range(n)[s]] == list(range(n))
    lengths = [s.stop - s.start for s in slices]
    assert len(set(lengths[:-1])) <= 1 and all(length >= least for length in lengths[:-1])


def test_other_threads_take_the_last_pieces() -> None:
    taken: list[int] = []
    threads._Job(taken.append, range(4)).work(from_the_end=True)
    threads._Job(taken.append, range(4)).work()
    assert taken == [3, 2, 1, 0, 0, 1, 2, 3]


def test_every_piece_is_computed_once() -> None:
    for _ in range(300):
        seen: list[int] = []
        run(seen.append, range(20))
        assert sorted(seen) == list(range(20))


def test_several_threads_compute() -> None:
    together = threading.Barrier(3)
    run(lambda piece: together.wait(10), range(3))
    found = set()
    run(lambda piece: (found.add(threading.get_ident()), together.wait(10)), range(3))
    assert len(found) == 3 and threading.get_ident() in found


def test_one_thread_starts_none() -> None:
    lines = script(
        """
        model = sa.ConvAutoencoder((1, 16, 16))
        x = np.ones((100, 1, 28, 28), np.float32)
        model.loss(x).backward()
        print(sa.get_num_threads(), threading.active_count())
        sa.set_num_threads(2)
        model.loss(x).backward()
        print(sa.get_num_threads(), threading.active_count())
        sa.set_num_threads(1)
        print(threading.active_count())
        """,
        SCRATCHAE_THREADS="1",
    )
    assert lines == ["1 1", "2 2", "1"]


def test_a_pool_that_is_busy_is_left_alone() -> None:
    outer: list[int] = []

    def nested(piece: int) -> None:
        here = threading.get_ident()
        run(lambda inner: outer.append(piece * 10 + inner) if threading.get_ident() == here else None, range(4))

    run(nested, range(4))
    assert sorted(outer) == [i * 10 + j for i in range(4) for j in range(4)]


def test_an_exception_is_raised_in_the_caller_and_the_pool_works_on() -> None:
    started = threading.Barrier(3)

    def fails(piece: int) -> None:
        started.wait(10)
        if threading.current_thread() is not threading.main_thread():
            raise OSError(f"piece {piece}")

    with pytest.raises(OSError, match="piece"):
        run(fails, range(3))
    for error in (ValueError, KeyboardInterrupt, SystemExit):
        calls: list[int] = []

        def breaks(piece: int, error: Any = error, calls: list = calls) -> None:
            calls.append(piece)
            raise error

        with pytest.raises(error):
            run(breaks, range(100))
        assert len(calls) <= 3, "later pieces are left out"
    seen: list[int] = []
    run(seen.append, range(9))
    assert len(seen) == 9


@needs_fork
def test_a_fork_in_a_signals_handler_does_not_wait_for_the_job_that_it_interrupted() -> None:
    lines = script(
        """
        import signal
        from scratchae.fast.threads import run
        def handler(number, frame):
            if os.fork() == 0:
                os._exit(0)
            print(os.wait()[1])
        signal.signal(signal.SIGUSR1, handler)
        seen = []
        def work(piece):
            seen.append(piece)
            if threading.current_thread() is threading.main_thread() and len(seen) < 4:
                signal.raise_signal(signal.SIGUSR1)
        run(work, range(3))
        print(sorted(seen))
        """,
        SCRATCHAE_THREADS="2",
        PYTHONWARNINGS="ignore",
    )
    assert lines[-1] == "[0, 1, 2]" and set(lines[:-1]) <= {"0"}


def test_the_callers_errstate_holds_in_all_threads() -> None:
    x = np.full((600, 1000), 1e30, np.float32)
    together = threading.Barrier(3)

    def squared(piece: int) -> None:
        together.wait(10)
        np.multiply(x[piece], x[piece])

    with np.errstate(over="ignore"):
        run(squared, range(3))
        F.multiply(x, x)
    for function in (lambda: run(squared, range(3)), lambda: F.multiply(x, x)):
        with np.errstate(over="raise"), pytest.raises(FloatingPointError):
            function()


def test_several_threads_of_the_script_train_at_once() -> None:
    expected = trained(MODELS["pool"](), 1)[0]
    x, found = images(200), []

    def step() -> None:
        with lock:  # all threads draw from one generator
            model = sa.ConvAutoencoder((1, 16, 16))
            sa.manual_seed(0)
            for p in model.parameters():
                p.data[...] = sa.generator().normal(0, 0.05, p.shape)
        trainer = sa.Trainer(model, sa.optim.AdamW(model.parameters(), lr=1e-2), clip_grad_norm=0.5)
        trainer.fit(x, epochs=1, batch_size=200, progress=False)
        found.append(np.concatenate([p.numpy().ravel() for p in model.parameters()]).tobytes())

    lock, before = threading.Lock(), blas_threads()
    workers = [threading.Thread(target=step) for _ in range(5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [expected] * 5
    assert blas_threads() == before


def test_memory_of_a_job_is_freed_with_it() -> None:
    import gc
    import weakref

    array = np.ones(3 << 17, np.float32)
    alive = weakref.ref(array)
    run(lambda piece, array=array: array[piece].sum(), cut(array.size, 1 << 10))
    del array
    gc.collect()
    for _ in range(100):
        if alive() is None:
            break
        time.sleep(0.01)  # a thread may just be finding out that no piece is left
    assert alive() is None


# --- BLAS, processes, settings --------------------------------------------------------------------


def test_numpy_of_the_script_keeps_its_blas_threads() -> None:
    before, inside = blas_threads(), []
    with one_thread:
        inside.append(blas_threads())
        with one_thread:
            inside.append(blas_threads())
        inside.append(blas_threads())
    assert inside == [[1] * len(before)] * 3 and blas_threads() == before
    trained(MODELS["dense"](), 1)
    assert blas_threads() == before
    with pytest.raises(ValueError, match="matmul"):
        F.matmul(np.ones((500, 500)), np.ones((501, 500)))
    assert blas_threads() == before


@needs_fork
def test_a_forked_child_makes_its_own_threads() -> None:
    lines = script(
        """
        import warnings
        warnings.simplefilter("error")  # Python warns of a fork beside threads
        sa.fast.threads._LOST = 1e9  # seconds: threads help on a busy machine too
        def step():
            model = sa.ConvAutoencoder((1, 8, 8))
            sa.manual_seed(0)
            for p in model.parameters():
                p.data[...] = sa.generator().normal(0, 0.05, p.shape)
            loss = model.loss(np.ones((150, 1, 28, 28), np.float32) / 2)
            loss.backward()
            return loss.item(), [w.thread.is_alive() for w in sa.fast.threads._pool.workers]
        first = step()
        there, here = os.pipe()
        if os.fork() == 0:
            os.write(here, repr(step()).encode())
            os._exit(0)
        os.wait()
        print(first == step() == eval(os.read(there, 10_000)), first[1])
        """,
        SCRATCHAE_THREADS="3",
    )
    assert lines == ["True [True, True]"]


def test_nothing_hangs_at_the_end_of_the_interpreter() -> None:
    text = """
    import atexit
    def step():
        sa.functional.exp(np.ones((1000, 1000), np.float32))
    atexit.register(lambda: (step(), print("at exit")))
    {before}
    print("end")
    """
    for before in ("step()", "", "threading.Thread(target=step).start()"):
        assert script(text.format(before=before), SCRATCHAE_THREADS="4") == ["end", "at exit"]


def test_the_number_of_threads_is_set_and_checked() -> None:
    for n in (1, 2, np.int64(5)):
        sa.set_num_threads(n)
        assert sa.get_num_threads() == n
    sa.set_num_threads()
    assert sa.get_num_threads() == cores.cores()
    for wrong in (0, -1, 1.5, "2", True):
        with pytest.raises((TypeError, ValueError), match="set_num_threads"):
            sa.set_num_threads(wrong)  # type: ignore[arg-type]
    assert script("print(sa.get_num_threads())", SCRATCHAE_THREADS="7") == ["7"]
    with pytest.raises(AssertionError, match="SCRATCHAE_THREADS is '0'"):
        script("", SCRATCHAE_THREADS="0")


def test_cores_are_those_of_affinity_quota_and_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in cores._LOCAL:
        monkeypatch.delenv(name, raising=False)
    affinities = {0: 12}
    monkeypatch.setattr(cores, "_affinity", lambda process: affinities.get(process, 12))
    monkeypatch.setattr(cores, "_quotas", lambda: [])
    assert cores.cores() == 12
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_SIZE", "5")
    assert cores.cores() == 2
    affinities[0] = 4  # the launcher has given each process its own
    assert cores.cores() == 4
    monkeypatch.setattr(cores, "_quotas", lambda: [2.5, 30.0])
    assert cores.cores() == 2
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_SIZE", "many")
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "3(x2)")
    affinities[0] = 12
    monkeypatch.setattr(cores, "_quotas", lambda: [])
    assert cores.cores() == 4


def test_quotas_of_both_versions_are_found(tmp_path: Path) -> None:
    listed = tmp_path / "cgroup"
    listed.write_text("0::/outer/inner\n")
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "outer" / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "outer" / "inner" / "cpu.max").write_text("max 100000\n")
    assert list(cores._quotas(str(tmp_path), str(listed))) == [1.5]
    listed.write_text("5:memory:/a\n4:cpu,cpuacct:/a\n")
    (tmp_path / "cpu,cpuacct" / "a").mkdir(parents=True)
    (tmp_path / "cpu,cpuacct" / "a" / "cpu.cfs_quota_us").write_text("300000\n")
    (tmp_path / "cpu,cpuacct" / "a" / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "cpu,cpuacct" / "cpu.cfs_quota_us").write_text("-1\n")
    assert list(cores._quotas(str(tmp_path), str(listed))) == [3.0]
    assert list(cores._quotas(str(tmp_path), str(tmp_path / "none"))) == []


def test_rules_of_a_script_run_in_one_thread() -> None:
    where = set()

    class Rule(sa.optim.SGD):
        def update(self, *args: Any) -> None:
            where.add(threading.get_ident())
            super().update(*args)

    p = sa.Tensor(np.ones(6 << 16, np.float32), requires_grad=True)
    optimizer = Rule([p], lr=0.5)
    p.sum().backward()
    optimizer.step()
    assert where == {threading.get_ident()} and (p.numpy() == 0.5).all()


def test_what_the_attached_ways_rest_on() -> None:
    assert passes.outermost(np.empty((3, 4, 5)).transpose(2, 0, 1)) == -2
    assert passes.outermost(np.empty((1, 4))) == -1 == passes.outermost(np.empty(4))
    assert threads.get_num_threads() == 3
