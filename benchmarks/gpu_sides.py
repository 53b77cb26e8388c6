"""The contestants on a GPU, and the measurement in a contestant's process.

    scratchae                  through the Trainer, which records a step as a CUDA graph and replays it
    scratchae, step by step    the same without recording
    torch eager                PyTorch with Adam as a user gets it
    torch fused                the same with the fused Adam; --quick leaves this one out
    torch graphs               fused, and the whole step captured as a CUDA graph

All contestants train on the same batches, which lie on the GPU. Each reads one number per epoch, the mean loss, and so
waits for the GPU only at the epoch's end. scratchae also checks that losses and gradients are finite; PyTorch does not.
"""

from __future__ import annotations

import gc
import math
import re
import statistics
import time
from contextlib import nullcontext
from typing import Any
from unittest import mock

import numpy as np
from convolutions import Network
from epochs import digits
from paired import OURS
from sides import initialise, random_batches, side
from workloads import Dense, Variational

STEP_BY_STEP, EAGER, GRAPHS = f"{OURS}, step by step", "torch eager", "torch graphs"
RIVALS = (STEP_BY_STEP, EAGER, "torch fused", GRAPHS)
CHECKED_EPOCHS = 3  # of 16 batches: enough for steps before, during and after a recording
DATA = 1 << 30  # bytes at most of the batches of an epoch
STEPS = 512  # of an epoch at most
NOISE = "scratchae.functional.normal_like"

Workload = Dense | Variational | Network


def shape(workload: Workload) -> tuple[int, ...]:
    return (1, workload.side, workload.side) if isinstance(workload, Network) else workload.sizes[:1]


def images(workload: Workload, batches: int) -> np.ndarray:
    different = random_batches(workload.batch, *shape(workload))
    return np.resize(different, (batches * workload.batch, *shape(workload)))


def fixed_noise(workload: Workload) -> np.ndarray | None:
    """The noise of every step in the comparison of results, since the two sides would draw different numbers."""
    if not isinstance(workload, Variational):
        return None
    return np.random.default_rng(2).standard_normal((workload.batch, workload.sizes[-1]), dtype=np.float32)


def measure(workload: Workload, who: str, seconds: float, tf32: bool) -> dict:
    """Median time of a step in ms, memory in bytes, launches per step, and the first epochs' losses."""
    contestant = Torchs if who.startswith("torch") else Ours
    checked = contestant(workload, who, tf32, fixed_noise(workload))
    values, _ = checked.train(checked.on_device(images(workload, 16)), CHECKED_EPOCHS)
    checked.forget()
    timed = contestant(workload, who, tf32, None)
    steps = min(STEPS, max(16, DATA // (4 * workload.batch * math.prod(shape(workload)))))
    data = timed.on_device(images(workload, steps))
    once = timed.train(data, 2)[1][-1]
    times = timed.train(data, 1 + math.ceil(seconds / once))[1][1:]  # the first epoch has the recording in it
    ms = statistics.median(times) / steps * 1e3
    return {"ms": ms, "peak": timed.held() - data.nbytes, "values": values, **timed.launches(data)}


class Ours:
    def __init__(self, workload: Workload, who: str, tf32: bool, noise: np.ndarray | None):
        import scratchae as sa

        sa.allow_tf32(tf32)
        self.batch, self.noise = workload.batch, None if noise is None else self.on_device(noise)
        if isinstance(workload, Network):
            model = sa.Autoencoder(workload.model(OURS)[0], sa.nn.Identity(), loss="bce_logits")
        elif isinstance(workload, Dense):
            model = workload.model(OURS)[0]
        else:
            model, _ = workload.ours()
            initialise(model.parameters(), side(OURS))
        model.to("gpu")
        self.trainer, self.replay = trainer_of(model, who)

    def on_device(self, array: np.ndarray) -> Any:
        from scratchae import backend

        return backend.to_device(array, "gpu")

    def train(self, data: Any, epochs: int) -> tuple[list[float], list[float]]:
        """Losses and seconds of the epochs. `fit` waits for the GPU at the end of each."""
        options = {"epochs": epochs, "batch_size": self.batch, "shuffle": False, "progress": False}
        with nullcontext() if self.noise is None else mock.patch(NOISE, lambda x: self.noise):
            history = self.trainer.fit(data, **options)
        return history["loss"], history["seconds"]

    def held(self) -> int:
        return held_by_cupy(self.replay)

    def launches(self, data: Any) -> dict:
        return launches_of(self.replay)

    def forget(self) -> None:
        import cupy

        del self.trainer, self.replay
        gc.collect()
        cupy.get_default_memory_pool().free_all_blocks()


def trainer_of(model: Any, who: str, callbacks: Any = ()) -> tuple[Any, list]:
    """A Trainer, and a list that will hold the gpu.replay.Steps of the Trainer, or None step by step."""
    import scratchae as sa
    from scratchae.gpu import replay

    class Noting(sa.Trainer):
        def fit(self, *data: Any, **options: Any) -> Any:
            with mock.patch.object(replay, "steps_of", steps_of):
                return super().fit(*data, **options)

    make, held = replay.steps_of, []

    def steps_of(*arguments: Any) -> Any:
        held[:] = [make(*arguments) if who == OURS else None]
        return held[0]

    return Noting(model, sa.optim.Adam(model.parameters(), lr=1e-3), callbacks), held


def held_by_cupy(replay: list) -> int:
    """Bytes that CuPy's pools took from the device, including the pool of the recorded graph."""
    import cupy

    pools = [cupy.get_default_memory_pool(), *(p for r in replay if (p := getattr(r, "pool", None)) is not None)]
    return sum(pool.total_bytes() for pool in pools)


def launches_of(replay: list) -> dict:
    """The number of nodes of the recorded graph, plus one copy per input before the launch."""
    (steps,) = replay
    if steps is None:
        return {"launches": None}
    if steps.graph is None:
        return {"launches": None, "note": f"not replayed: {steps.given_up or 'too few steps'}"}
    try:
        nodes = set(re.findall(r"\bgraph_\d+_node_\d+\b", steps.graph.debug_dot_str()))
    except Exception as error:  # CuPy before version 14 has no graph dump, and a count is not worth a failure
        return {"launches": None, "note": f"launches were not counted: {error}"}
    return {"launches": len(nodes) + len(steps.inputs)}


class Torchs:
    def __init__(self, workload: Workload, who: str, tf32: bool, noise: np.ndarray | None, device: str = "cuda"):
        import torch

        self.torch, self.who, self.device, self.batch = torch, who, device, workload.batch
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True  # the shapes stay the same
        fixed = None if noise is None else self.on_device(noise)
        s = side(who)
        s.normal = (lambda *shape: torch.randn(*shape, device=device)) if fixed is None else lambda *shape: fixed
        if isinstance(workload, Network):
            model, _ = workload.model(who)
            self.loss_of = lambda x: s.F.binary_cross_entropy_with_logits(model(x), x)
        elif isinstance(workload, Dense):
            model, self.loss_of, _ = workload.model(who)
        else:
            model, self.loss_of = workload.torchs(who, s)
            initialise(model.parameters(), s)
        model.to(device)
        kind = {EAGER: {}, "torch fused": {"fused": True}, GRAPHS: {"fused": True, "capturable": True}}
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **kind[who])
        self.total = torch.zeros((), device=device)
        self.graph: Any = None
        self.warm = 0

    def on_device(self, array: np.ndarray) -> Any:
        return self.torch.from_numpy(array).to(self.device)

    def train(self, data: Any, epochs: int) -> tuple[list[float], list[float]]:
        losses, seconds, batches = [], [], data.split(self.batch)
        for _ in range(epochs):
            start = time.perf_counter()
            self.total.zero_()
            for x in batches:
                self.step(x)
            losses.append(self.total.item() / len(batches))  # waits
            seconds.append(time.perf_counter() - start)
        return losses, seconds

    def step(self, x: Any) -> None:
        if self.who != GRAPHS:
            return self.whole_step(x)
        cuda = self.torch.cuda
        if self.warm < 3:  # on a stream other than the default stream, by PyTorch's notes on CUDA graphs
            self.warm += 1
            stream = cuda.Stream()
            stream.wait_stream(cuda.current_stream())
            with cuda.stream(stream):
                self.whole_step(x)
            return cuda.current_stream().wait_stream(stream)
        if self.graph is None:
            self.graph, self.static = cuda.CUDAGraph(), x.clone()
            self.optimizer.zero_grad()  # so that the gradients are the graph's own
            with cuda.graph(self.graph):
                self.whole_step(self.static)
        self.static.copy_(x)
        self.graph.replay()

    def whole_step(self, x: Any) -> None:
        loss = self.loss_of(x)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.total += loss.detach()

    def held(self) -> int:
        return self.torch.cuda.max_memory_reserved()

    def launches(self, data: Any) -> dict:
        """The kernels, copies and fills on the GPU in one step, counted by CUPTI."""
        torch = self.torch
        try:
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
                self.step(data[: self.batch])
                torch.cuda.synchronize()
            on_gpu = [e for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA]
            return {"launches": sum(not getattr(e, "is_user_annotation", False) for e in on_gpu) or None}
        except Exception as error:  # a count is not worth a failure
            return {"launches": None, "note": f"launches were not counted: {error}"}

    def forget(self) -> None:
        self.__dict__ = {"torch": self.torch}
        gc.collect()
        self.torch.cuda.empty_cache()
        self.torch.cuda.reset_peak_memory_stats()


def epochs_of_vae(who: str, tf32: bool, epochs: int) -> dict:
    """A user's run with shuffled data on the CPU: the time of an epoch in ms, and the memory after each epoch."""
    import cupy

    import scratchae as sa

    class Memory(sa.Callback):
        def on_epoch_end(self, trainer: Any, row: Any) -> None:
            free, total = cupy.cuda.runtime.memGetInfo()
            used.append(total - free)

    sa.manual_seed(0)
    sa.allow_tf32(tf32)
    used: list[int] = []
    model = sa.VariationalAutoencoder.dense((784, 400, 20), loss="bce_logits").to("gpu")
    trainer, replay = trainer_of(model, who, [Memory()])
    data = digits(60_000).reshape(60_000, 784)
    history = trainer.fit(data, epochs=epochs, batch_size=128, progress=False)
    ms, steps = statistics.median(history["seconds"][1:]) * 1e3, epochs * -(-len(data) // 128)
    return {"ms": ms, "peak": held_by_cupy(replay), "values": history["loss"][:3], "used": used, "steps": steps,
            **launches_of(replay)}  # fmt: skip
