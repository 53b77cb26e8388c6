"""Batches on their way to a GPU: the next one travels while this one is in use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from scratchae.backend import current, device_of, to_device

RESIDENT = 1 << 30  # bytes; data sets up to this size are copied to the GPU once, and cut into batches there


def batches_on_the_gpu(formula: Callable[..., Iterator[tuple]]) -> Callable[..., Iterator[tuple]]:
    """The batches of a loader on a GPU: cut from a copy of the arrays there, or sent ahead where the set is large."""

    def batches_of(
        arrays: tuple, order: Any, rows: Iterator[slice], device: str | None, copies: dict[str, tuple]
    ) -> Iterator[tuple]:
        if device not in (None, "cpu") and all(isinstance(a, np.ndarray) for a in arrays):
            if sum(a.nbytes for a in arrays) > RESIDENT:
                return ahead(formula(arrays, order, rows, None, copies), device)
            if device not in copies:
                copies.clear()
                copies[device] = tuple(to_device(a, device) for a in arrays)
            arrays = copies[device]
        if order is not None and not any(isinstance(a, np.ndarray) for a in arrays):
            order = to_device(order, device_of(arrays[0]))
        return formula(arrays, order, rows, device, copies)

    return batches_of


def ahead(batches: Iterable[tuple[np.ndarray, ...]], device: str) -> Iterator[tuple[Any, ...]]:
    """The `batches` on `device`, each sent off before the one ahead of it is handed out.

    They go through pinned memory, from which the GPU reads by itself, and on a stream of their own. A GPU does not
    wait for what happens on another stream unless it is told to: `arrived` and `free` are those tellings.
    """
    uploads: Any = None
    previous = None
    try:
        for batch in batches:
            uploads = _Uploads(device) if uploads is None else uploads
            sent = uploads.send(batch)
            if previous is not None:
                yield uploads.receive(previous)
            previous = sent
        if previous is not None:
            yield uploads.receive(previous)
    finally:  # who breaks off leaves a batch on its way, and its memory must not go to somebody else before it is there
        if uploads is not None:
            uploads.finish()


class _Uploads:
    def __init__(self, device: str):
        to_device(np.zeros(1, np.float32), device)  # or an error that says why not
        import cupy

        self._cupy, self._device = cupy, device
        with current(device):
            self._stream = cupy.cuda.Stream(non_blocking=True)
        self._pinned: list[dict] = [{}, {}]  # two sets of memory, in turns: one is filled while the other is read
        self._arrived: list[Any] = [None, None]
        self._turn = 0

    def send(self, batch: tuple[np.ndarray, ...]) -> tuple[list, Any]:
        cupy, self._turn = self._cupy, 1 - self._turn
        if self._arrived[self._turn] is not None:
            self._arrived[self._turn].synchronize()  # what this memory held before has left it
        with current(self._device):
            targets = [cupy.empty(a.shape, a.dtype) for a in batch]  # on the stream of those who will use them,
            self._stream.wait_event(cupy.cuda.get_current_stream().record())  # who may not be done with that memory
            for i, (a, target) in enumerate(zip(batch, targets, strict=True)):
                target.set(self._filled(i, a), stream=self._stream)
            self._arrived[self._turn] = self._stream.record()
        return targets, self._arrived[self._turn]

    def receive(self, sent: tuple[list, Any]) -> tuple[Any, ...]:
        targets, arrived = sent
        self._cupy.cuda.get_current_stream().wait_event(arrived)
        return tuple(targets)

    def finish(self) -> None:
        self._stream.synchronize()

    def _filled(self, i: int, a: np.ndarray) -> np.ndarray:
        """The array's values in pinned memory."""
        memory = self._pinned[self._turn]
        if i not in memory or memory[i].nbytes < a.nbytes:
            memory[i] = np.frombuffer(self._cupy.cuda.alloc_pinned_memory(a.nbytes), np.uint8)
        pinned = memory[i][: a.nbytes].view(a.dtype)[: math.prod(a.shape)].reshape(a.shape)
        pinned[...] = a
        return pinned
