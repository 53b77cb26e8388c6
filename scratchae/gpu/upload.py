"""Batches on their way to a GPU: the next batch travels while the present batch is in use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from scratchae.backend import current, device_of, to_device

RESIDENT = 1 << 30  # bytes; data sets up to this size are copied to the GPU once, and cut into batches there


def batches_on_the_gpu(formula: Callable[..., Iterator[tuple]]) -> Callable[..., Iterator[tuple]]:
    """The batches of a loader on a GPU. A small data set is copied once and cut there; a large one is sent ahead."""

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
    """The `batches` on `device`. Each batch is sent before the previous batch is returned.

    The batches go through pinned memory, which the GPU reads by itself. A separate stream makes the copies. A stream
    waits for another stream only by an event. `send` and `receive` let the streams wait for each other.
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
    finally:  # after a `break`, a batch is still on its way, and its memory must not be reused before it arrives
        if uploads is not None:
            uploads.finish()


class _Uploads:
    def __init__(self, device: str):
        to_device(np.zeros(1, np.float32), device)  # raises if the device does not exist
        import cupy

        self._cupy, self._device = cupy, device
        with current(device):
            self._stream = cupy.cuda.Stream(non_blocking=True)
        self._pinned: list[dict] = [{}, {}]  # two sets of memory; the CPU fills one while the GPU reads the other
        self._arrived: list[Any] = [None, None]
        self._turn = 0

    def send(self, batch: tuple[np.ndarray, ...]) -> tuple[list, Any]:
        cupy, self._turn = self._cupy, 1 - self._turn
        if self._arrived[self._turn] is not None:
            self._arrived[self._turn].synchronize()  # the earlier batch has left this memory
        with current(self._device):
            # The targets may take memory that work on the current stream still reads.
            targets = [cupy.empty(a.shape, a.dtype) for a in batch]
            self._stream.wait_event(cupy.cuda.get_current_stream().record())
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
