"""Does this GPU work with scratchae? Memory, a product, training step by step, and training that replays a recording.

    python benchmarks/gpu_smoke.py

A line is printed as soon as a piece of work is done. After 40 seconds, Python prints the line of code that is running.
"""

from __future__ import annotations

import faulthandler
import time

import numpy as np
from ceilings import device
from gpu_sides import STEP_BY_STEP, trainer_of
from paired import OURS

import scratchae as sa
from scratchae import backend
from scratchae import functional as F

BATCH, STEPS = 64, 8
start = time.perf_counter()


def main() -> None:
    for name, value in device().items():
        say(f"{name}: {value}")
    rng = np.random.default_rng(0)

    numbers = rng.random(1 << 22, dtype=np.float32)
    np.testing.assert_array_equal(backend.to_device(backend.to_device(numbers, "gpu"), "cpu"), numbers)
    say(f"memory: {numbers.nbytes >> 20} MiB went to the GPU and came back")

    a, b = rng.random((2, 512, 512), dtype=np.float32)
    product = backend.to_device(F.matmul(backend.to_device(a, "gpu"), backend.to_device(b, "gpu")), "cpu")
    np.testing.assert_allclose(product, a.astype(np.float64) @ b, rtol=1e-5)
    say("product: two matrices of 512 x 512, as on the CPU")

    expected, _ = train("cpu", STEP_BY_STEP)
    losses, weights = train("gpu", STEP_BY_STEP)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    say(f"training: {2 * STEPS} steps one by one, losses {losses}, as on the CPU")

    replayed, same = train("gpu", OURS)
    assert replayed == losses, f"the replayed steps gave the losses {replayed}"
    for name in weights:
        assert same[name].tobytes() == weights[name].tobytes(), f"the replayed steps gave other bits of {name}"
    say(f"replay: {2 * STEPS} steps, from the fourth on by a recording, with the same bits")


def train(place: str, who: str) -> tuple[list[float], dict[str, np.ndarray]]:
    """The losses of two epochs of 8 steps, and the weights after them."""
    sa.manual_seed(0)
    model = sa.Autoencoder.dense((784, 64)).to(place)
    trainer, held = trainer_of(model, who)
    images = sa.data.mnist_sample()[0][: BATCH * STEPS]
    losses = trainer.fit(images, epochs=2, batch_size=BATCH, progress=False)["loss"]
    if who == OURS:
        assert held[0].graph is not None, f"the steps were not replayed: {held[0].given_up}"
    return losses, {name: backend.to_device(value, "cpu") for name, value in model.state_dict().items()}


def say(text: str) -> None:
    print(f"{time.perf_counter() - start:5.1f} s  {text}", flush=True)


if __name__ == "__main__":
    faulthandler.dump_traceback_later(40)
    main()
