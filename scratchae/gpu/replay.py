"""Training steps on a GPU, recorded once as a CUDA graph and replayed.

The step of a small model is dozens of kernels of some microseconds each. Python takes longer to launch the kernels one
by one than the GPU takes to run them. A CUDA graph launches all kernels at once.

A replay runs no Python code, and so cannot branch on a number. The losses are written into a list on the GPU and
fetched later. The GPU also holds the step count and the learning rate (updates.py), and the counter of random numbers
(random.py). A step whose loss or gradients are not finite raises a flag on the GPU. A raised flag stops all updates of
the weights until the host has read the flag.

A graph repeats the recorded kernels, even where Python would launch other kernels by then. Before the graph is used,
the step is therefore done twice from the same state, by Python and by the graph. Both must give the same bits. A step
that changes a value in Python is not recorded.

A graph has a pool of memory of its own. Where the rest of the memory is too small for other work, the graph and
the pool are dropped.
"""

from __future__ import annotations

import functools
import gc
import sys
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from scratchae import backend
from scratchae.autograd.modes import watchers
from scratchae.changes import changed
from scratchae.gpu.kernels import TYPES, launch
from scratchae.gpu.losses import Losses
from scratchae.gpu.memory import pool_that_keeps
from scratchae.gpu.recording import recording
from scratchae.gpu.state import State, difference, same_bits
from scratchae.gpu.updates import counters_of, has_kernels
from scratchae.guards import Finite, not_finite
from scratchae.plugins import STEP, Clip

WATCHED = 2  # first steps without a graph; these steps compile the kernels, and their errors have a clear traceback


_streams: dict[tuple[Any, str, int], Any] = {}  # one per thread: a recording contains all work on its stream


@contextmanager
def training_stream(device: str) -> Iterator[None]:
    """Inside, `device` is current, and its work goes to a stream that can be recorded. The default stream cannot."""
    cupy = sys.modules.get("cupy")
    if cupy is None or device == "cpu":
        yield
        return
    with backend.current(device):
        place = cupy, device, threading.get_ident()
        if place not in _streams:
            _streams[place] = cupy.cuda.Stream(non_blocking=True)
        stream = _streams[place]
        cupy.cuda.get_current_stream().synchronize()
        with stream:
            try:
                yield
            finally:
                stream.synchronize()


def replayable(model: Any, optimizer: Any) -> bool:
    """Whether model and optimiser lie on one GPU, and kernels of gpu/ move the weights."""
    buffers = [getattr(module, name) for module, name in model.buffer_places()]
    moved = [p for group in optimizer.param_groups for p in group["params"]]
    devices = {p.device for p in (*moved, *model.parameters())}
    devices |= set(map(backend.device_of, buffers))
    on_gpu = len(devices) == 1 and "cpu" not in devices
    kept = all(b.dtype.name in TYPES and b.flags.c_contiguous for b in buffers)  # as the kernel `keep` copies them
    return on_gpu and kept and has_kernels(optimizer)


def steps_of(trainer: Any, plugins: list[Any]) -> Steps | None:
    """The `Steps` of a trainer; None on the CPU, or where a plug-in must see every step."""
    others = (plugin for plugin in plugins if not isinstance(plugin, (Finite, Clip)))
    if any(hasattr(plugin, moment) for plugin in others for moment in STEP):
        return None
    if watchers or not replayable(trainer.model, trainer.optimizer):
        return None
    return Steps(trainer.model, trainer.optimizer, trainer._terms, trainer.clip_grad_norm)


class Steps:
    """The steps of one `fit`.

    Args:
        model, optimizer: the trained model, and its optimiser, which has kernels (`updates.has_kernels`).
        terms: a function from a batch, a tuple of arrays on the GPU, to the loss terms by name.
        max_norm: scale gradients down to this norm, if not None.
    """

    def __init__(self, model: Any, optimizer: Any, terms: Callable[[tuple], dict], max_norm: float | None):
        self.cupy = sys.modules["cupy"]
        self.model, self.optimizer, self.terms, self.max_norm = model, optimizer, terms, max_norm
        self.ledger = self.cupy.zeros(4, "float64")  # see kernels.cu
        self.state = State(model, optimizer, self.ledger)
        self.losses = Losses(self.cupy, self.ledger, self._stop)
        self.graph: Any = None
        self.inputs: tuple = ()  # the batch that the graph reads
        self.pool: Any = None  # the memory that the graph reads and writes
        self.given_up: str | None = None  # the reason why steps are no longer replayed
        self.watched = 0

    # --- from step to step ---

    def begin_epoch(self) -> None:
        """Pass on a learning rate that a callback changed. Any other change needs a new recording."""
        if self.given_up is None and not replayable(self.model, self.optimizer):
            self._give_up("the optimiser has parameters on another device, or of a dtype without kernels")
        if self.given_up is not None:
            return
        for group, flat in self.optimizer.updaters():
            flat.gather()
            counters_of(flat).prepare(group["lr"], max(flat.steps))
        if self.graph is not None and difference(self.signature, self.state.signature()) is not None:
            self._drop()

    def take(self, batch: Any, number: int) -> bool:
        """Do step `number` on `batch` and return True. Return False where Python must do the step."""
        if self.given_up or self.watched < WATCHED:
            self.watched += 1
            return False
        batch = tuple(map(self.cupy.asarray, batch if isinstance(batch, tuple) else (batch,)))
        if self.given_up is not None:  # the copy of the batch took the graph's memory
            return False
        if self.graph is None or len(batch[0]) > len(self.inputs[0]):  # recorded on a short last batch
            if not self._record(batch):
                return False
        elif [(a.shape, a.dtype) for a in batch] != [(a.shape, a.dtype) for a in self.inputs]:
            return False  # the short last batch
        else:
            for static, a in zip(self.inputs, batch, strict=True):
                static[...] = a
            self.graph.launch()
            self._count(1)
        self.losses.count(number)
        return True

    def read(self, wait: bool = True) -> list[dict[str, float]]:
        """The loss terms of the steps since the last call. Without `wait`, only the terms that have arrived.

        Raises FloatingPointError if a step was not finite. Model and optimiser are then in the state before the step.
        """
        return self.losses.read(wait)

    @property
    def asked(self) -> deque[int]:
        """The numbers of the steps whose losses have not arrived."""
        return self.losses.asked

    def _stop(self, ledger: np.ndarray) -> None:
        """Put back the state before the step that raised the flag, and raise the error of the step."""
        bad = int(ledger[0])
        for kept, module, name in self.state.kept:
            getattr(module, name)[...] = kept
        self._count(bad - 1 - self.losses.done)
        self.given_up = "an earlier step was not finite"
        what = f"the loss term {self.losses.names[-1 - int(ledger[1])]!r}" if ledger[1] < 0 else self._gradient(ledger)
        number = self.asked[bad - 1 - self.losses.fetched]
        raise not_finite(f"{what} is not finite", number)

    def _gradient(self, ledger: np.ndarray) -> str:
        place = int(ledger[2])
        for p in self.owners[int(ledger[1])]:
            if place < p.size:
                return f"the gradient of {next(n for n, q in self.model.named_parameters() if q is p)}"
            place -= p.size
        raise AssertionError("a place beyond the buffer")

    def _count(self, steps: int) -> None:
        """Count steps as the optimiser's own code does in Python: for the parameters that have a gradient."""
        for flat, moves in zip(self.state.flats, self.moves, strict=True):
            flat.steps = [n + steps * moved for n, moved in zip(flat.steps, moves, strict=True)]
            counters_of(flat).step += steps
            changed(flat.values)

    # --- recording ---

    def _record(self, batch: tuple) -> bool:
        """Do the step on `batch`, record the step, and return True. Return False where Python must do the step."""
        self._drop()
        state = self.state
        python, counted, before = state.python(), state.counted(), None
        try:
            self.inputs = tuple(map(self.cupy.array, batch))
            state.keep_buffers()
            before = state.copies()
            self._step()
            after, values, done = state.copies(), self.losses.values.copy(), True
        except self.cupy.cuda.memory.OutOfMemoryError as error:  # the copies need memory that a step does not
            if difference(python, state.python()) is not None:  # the step cannot be repeated
                raise
            done, reason = False, _told(error)
        if done:
            reason = self._recorded(python, counted, before, after, values)
        elif before is not None:
            state.put_back(before, counted)
        if reason:
            self._give_up(reason)
        return done

    def _recorded(self, python: dict, counted: list, before: Any, after: list, values: Any) -> str:
        """Record the step that has left the state `after` and the losses `values`. Return why not, or ''."""
        cupy, state, stream = self.cupy, self.state, self.cupy.cuda.get_current_stream()
        if (changed := difference(python, state.python())) is not None:
            return f"a step changes {changed} in Python, which a replay would not"
        counted_after = state.counted()
        if [corrections for *_, corrections in counted] != [corrections for *_, corrections in counted_after]:
            return "its parameters have taken different numbers of steps"
        self.moves = [
            [b - a for a, b in zip(was, now, strict=True)]
            for (was, *_), (now, *_) in zip(counted, counted_after, strict=True)
        ]
        state.put_back(before, counted)
        self.signature = state.signature()
        cupy.get_default_memory_pool().free_all_blocks()  # a graph needs as much memory again as the steps so far
        self.pool, self.stream, reason = pool_that_keeps(cupy), stream, ""  # no other array may share the memory
        with cupy.cuda.using_allocator(self.pool.malloc):
            stream.begin_capture()
            try:
                self._step()
            except Exception as error:  # from an operation that a graph cannot record, or from a GPU without memory
                reason = _told(error)  # only the text, since the error would hold the step's arrays
            finally:  # also after a second Ctrl-C, since no other work can use a stream that records
                try:
                    self.graph = stream.end_capture()
                except Exception as error:  # follows from the first error
                    reason = reason or _told(error)
        if not reason:
            self.graph.launch()
            if all(map(same_bits, [*after, values], [*state.arrays(), self.losses.values])):
                return ""
            reason = "the replayed step gave other numbers than the step itself"
        state.put_back(after, counted_after)
        self.losses.values[...] = values
        return reason

    def release(self, why: str) -> bool:
        """Give the memory of the graph back to the GPU. Return whether there was a graph."""
        if self.graph is None:
            return False
        self._give_up(f"other work needs the memory of the graph: {why}")
        return True

    def _give_up(self, why: str) -> None:
        self.given_up = why
        self._drop()
        warnings.warn(f"the training steps are done one by one, not replayed from a CUDA graph: {why}", stacklevel=8)

    def _drop(self) -> None:
        if self.graph is not None:
            self.stream.synchronize()  # a replay may still run
        self.graph, self.inputs = None, ()
        if self.pool is not None:
            self.pool = None
            gc.collect()  # in CuPy, the pieces of a block refer to each other, and outlive the pool

    def _step(self) -> None:
        """Forward pass, backward pass and update on `inputs`. The host reads no number back."""
        run = functools.partial(launch, self.cupy, "kernels.cu")
        run("begin_step", "float64", 1, self.ledger)
        for kept, module, name in self.state.kept:
            run("keep", kept.dtype, kept.size, kept, getattr(module, name), self.ledger)
        usual = [counters_of(flat).halted for flat in self.state.flats]
        try:
            with recording() as flags:
                terms = self.terms(self.inputs)
                self.losses.make_room(list(terms))
                for i, value in enumerate(terms.values()):
                    place, number = (*self.losses.values.shape, i, self.ledger), value.data
                    for flag in flags:  # a true flag means values out of range, and makes the loss NaN
                        number = self.cupy.where(flag, np.nan, number).astype(number.dtype)
                    run("write_down", value.dtype, 1, number, self.losses.values, *place)
                self.optimizer.zero_grad()
                first, *others = terms.values()
                sum(others, first).backward()
                if self.max_norm is not None:
                    self._clip()
                self.owners = []
                for i, (gradients, owners) in enumerate(self._gradients()):
                    self.owners.append(owners)
                    run("find_not_finite", gradients.dtype, gradients.size, gradients, self.ledger, i)
                for flat in self.state.flats:
                    counters_of(flat).halted = self.ledger[:1]
                self.optimizer.step()
        finally:
            for flat, halted in zip(self.state.flats, usual, strict=True):
                counters_of(flat).halted = halted

    def _gradients(self) -> Iterator[tuple[Any, list]]:
        """Each array of gradients, with its parameters in the order of the array."""
        for flat in self.state.flats:
            found = list(flat.all_gradients())
            owners = [p for p in flat.params if p.grad is not None]
            yield from [(found[0], flat.params)] if len(found) == 1 else zip(found, ([p] for p in owners), strict=True)

    def _clip(self) -> None:
        """As optim.clip_grad_norm, but in float64, where no square overflows."""
        arrays = list(self.optimizer.gradients())
        norm = self.cupy.sqrt(sum((g.astype("float64") ** 2).sum() for g in arrays))
        factor = self.cupy.where(norm > self.max_norm, self.max_norm / (norm + 1e-6), 1.0)
        for g in arrays:
            g *= factor.astype(g.dtype)


def _told(error: BaseException) -> str:
    """The error, and the line that CuPy was called from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "cupy" not in f.filename]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
