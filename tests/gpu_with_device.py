"""Training at its real sizes on a real GPU: the CPU's numbers, the same bits every time, and memory that runs out.

    python -m pytest tests/gpu_with_device.py

Run by name. Where there is no GPU, what can be run on the stand-in for CuPy runs there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest
import strict_cupy

import scratchae as sa
from scratchae import backend, nn
from scratchae import functional as F
from scratchae.gpu import replay

HAS_GPU = backend.gpu_available()
pytestmark = [pytest.mark.gpu] if HAS_GPU else []
BATCH, STEPS = 64, 20
MODELS: dict[str, Callable[[], Any]] = {
    "linear": lambda: sa.Autoencoder.dense((784, 64), activation=None, output=None, loss="mse"),
    "deep": lambda: sa.Autoencoder.dense((784, 512, 256, 64)),
    "vae": lambda: sa.VariationalAutoencoder.dense((784, 400, 20), loss="bce_logits"),
    "sparse": lambda: sa.SparseAutoencoder.dense((784, 64), weight=0.1),
    "contractive": lambda: sa.ContractiveAutoencoder.dense((784, 16), activation="sigmoid", weight=0.1),
    "conv and pool": lambda: sa.ConvAutoencoder((1, 16, 16)),
    "strided": lambda: sa.ConvAutoencoder((1, 16, 32), down="stride", loss="bce_logits"),
}
every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(autouse=True)
def _gpu() -> Iterator[None]:
    if HAS_GPU:
        yield
        return
    strict_cupy.install()
    yield
    strict_cupy.uninstall()


def images() -> np.ndarray:
    return sa.data.mnist_sample()[0][: BATCH * STEPS].reshape(-1, 1, 28, 28)


def run(name: str, device: str, rule: Any, rate: float, replayed: bool = True) -> tuple[list[float], dict, Any]:
    """The losses of single steps, then all weights, and what replayed the steps."""
    sa.manual_seed(1)
    model = MODELS[name]().to(device)
    trainer = sa.Trainer(model, rule(model.parameters(), lr=rate))
    make, held = replay.steps_of, []

    def steps_of(*arguments: Any) -> Any:
        held.append(make(*arguments) if replayed else None)
        return held[-1]

    losses, add = [], sa.history.Means.add

    def noted(self: Any, terms: dict[str, float], samples: int) -> None:
        losses.append(sum(terms.values()))
        add(self, terms, samples)

    with mock.patch.object(sa.history.Means, "add", noted), mock.patch.object(replay, "steps_of", steps_of):
        trainer.fit(images(), batch_size=BATCH, progress=False)
    assert len(losses) == STEPS
    return losses, {key: backend.to_device(v, "cpu") for key, v in model.state_dict().items()}, held[0]


def assert_same_bits(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> None:
    for name in one:
        assert one[name].tobytes() == two[name].tobytes(), name


@every_model
def test_a_run_of_20_steps_gives_the_cpus_numbers(name: str) -> None:
    noise = np.random.default_rng(2).standard_normal((BATCH, 20), dtype=np.float32)  # the devices draw other numbers
    place = {"cpu": noise, "gpu": backend.to_device(noise, "gpu")}
    small = 1e-4 if name == "vae" else 1e-2  # its loss is a sum over pixels
    for rule, rate in ((sa.optim.SGD, small), (sa.optim.Adam, 1e-3)):
        found = {}
        for device in ("cpu", "gpu"):
            with mock.patch("scratchae.functional.normal_like", lambda x, d=device: place[d]):
                found[device] = run(name, device, rule, rate)
        (losses, weights, _), (expected, wanted, _) = found["gpu"], found["cpu"]
        np.testing.assert_allclose(losses, expected, rtol=1e-5)
        if rule is sa.optim.SGD:  # Adam makes whole steps of gradients that are zero but for rounding
            for key, value in weights.items():
                np.testing.assert_allclose(value, wanted[key], rtol=0, atol=1e-5 * abs(wanted[key]).max(), err_msg=key)


@every_model
def test_steps_are_replayed_and_every_run_gives_the_same_bits(name: str) -> None:
    losses, weights, steps = run(name, "gpu", sa.optim.Adam, 1e-3)
    assert steps.graph is not None, steps.given_up
    again = run(name, "gpu", sa.optim.Adam, 1e-3)
    one_by_one = run(name, "gpu", sa.optim.Adam, 1e-3, replayed=False)
    for found, values, _ in (again, one_by_one):
        assert found == losses
        assert_same_bits(weights, values)


@pytest.mark.skipif(not HAS_GPU, reason="only a GPU runs out of its memory")
def test_memory_that_runs_out_leaves_the_process_usable() -> None:
    class Large(nn.Module):
        wants = 2**50

        def forward(self, x: Any) -> Any:
            backend.xp_of(x.data).empty(self.wants, np.float32)
            return x

    layer = Large()
    model = sa.Autoencoder(nn.Sequential(nn.Flatten(), layer, nn.Linear(784, 8)), nn.Linear(8, 784), loss="mse")
    trainer = sa.Trainer(model.to("gpu"), sa.optim.Adam(model.parameters()))
    with pytest.raises(MemoryError, match=r"a batch of 64 samples.*4,503,599,627,370,496 bytes"):
        trainer.fit(images(), batch_size=BATCH, progress=False)
    layer.wants = 1
    history = trainer.fit(images(), epochs=3, batch_size=BATCH, progress=False)["loss"]
    assert history[2] < history[1] < history[0]


@pytest.mark.skipif(not HAS_GPU, reason="only a GPU has TF32")
def test_float32_is_float32_unless_tf32_is_allowed(rng: np.random.Generator) -> None:
    a, b = (rng.standard_normal((512, 512)) for _ in range(2))
    x, y = (backend.to_device(m.astype(np.float32), "gpu") for m in (a, b))

    def error() -> float:
        return float(np.linalg.norm(backend.to_device(F.matmul(x, y), "cpu") - a @ b) / np.linalg.norm(a @ b))

    assert error() < 1e-6
    try:
        sa.allow_tf32()
        assert error() < 1e-3  # as before on GPUs without TF32
    finally:
        sa.allow_tf32(False)


@pytest.mark.skipif(not HAS_GPU, reason="the stand-in has nothing to hold")
def test_a_long_run_holds_memory_flat() -> None:
    import cupy

    used = []

    class Note(sa.Callback):
        def on_epoch_end(self, trainer: Any, row: Any) -> None:
            used.append(cupy.get_default_memory_pool().total_bytes())

    model = MODELS["vae"]().to("gpu")
    trainer = sa.Trainer(model, sa.optim.Adam(model.parameters(), lr=1e-3), [Note()])
    trainer.fit(images(), epochs=10_000 // STEPS, batch_size=BATCH, progress=False)
    assert used[-1] == used[1]
