"""The losses of replayed steps: written into a list on the GPU, and fetched while later steps run."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

READ_EVERY = 64  # steps between two copies of the losses to the host


class Losses:
    """The loss terms of the steps of one `fit`, in a ring of twice READ_EVERY places.

    One half of the ring is copied to the host while the other half fills.

    Args:
        ledger: the record that kernels.cu keeps of the steps, copied together with the losses.
        stop: a function that gets the ledger's numbers and raises, called if a step was not finite.
    """

    def __init__(self, cupy: ModuleType, ledger: Any, stop: Callable[[np.ndarray], None]):
        self.cupy, self.ledger, self.stop = cupy, ledger, stop
        self.names: list[str] = []
        self.done = self.fetched = 0  # steps replayed, and steps whose losses have arrived
        self.rows: list[dict[str, float]] = []  # losses that have arrived, until `read` returns them
        self.asked: deque[int] = deque()  # the caller's numbers of the steps whose losses have not arrived
        self.under_way: deque[tuple[Any, int]] = deque()  # copies to the host: (event at the end, steps until there)

    def make_room(self, names: list[str]) -> None:
        """Make a list for these terms, unless the present list is for the same terms."""
        if names == self.names:
            return
        self.names, shape = names, (READ_EVERY, len(names))
        self.values = self.cupy.zeros((2 * READ_EVERY, len(names)), "float64")
        # While Python goes on, a GPU can copy to pinned memory only.
        pinned = self.cupy.cuda.alloc_pinned_memory
        self.landing = [
            (np.frombuffer(pinned(8 * math.prod(shape)), float, math.prod(shape)).reshape(shape),
             np.frombuffer(pinned(8 * 4), float, 4))
            for _ in range(2)
        ]  # fmt: skip

    def count(self, number: int) -> None:
        """Count a step that was launched; `number` is the caller's number of the step."""
        self.done += 1
        self.asked.append(number)
        if self.done % READ_EVERY == 0:
            self._start_copy()

    def read(self, wait: bool) -> list[dict[str, float]]:
        """The losses that were not returned before. Without `wait`, only the losses that have arrived."""
        while self.under_way and wait:
            self._finish_copy()
        if self.done > self.fetched and wait:
            self._fetch(self.values.get(), self.ledger.get(), self.done)
        rows, self.rows = self.rows, []
        return rows

    def _start_copy(self) -> None:
        """Copy the losses since the last copy, while the next steps write to the other half of `values`."""
        half = (self.done // READ_EVERY - 1) % 2
        values, ledger = self.landing[half]
        self.values[half * READ_EVERY :][:READ_EVERY].get(out=values, blocking=False)
        self.ledger.get(out=ledger, blocking=False)
        self.under_way.append((self.cupy.cuda.get_current_stream().record(), self.done))
        if len(self.under_way) > 1:
            self._finish_copy()

    def _finish_copy(self) -> None:
        event, until = self.under_way.popleft()
        event.synchronize()
        values, ledger = self.landing[(until // READ_EVERY - 1) % 2]
        self._fetch(values, ledger, until)

    def _fetch(self, values: np.ndarray, ledger: np.ndarray, until: int) -> None:
        """Take the steps before `until` from `values`, the whole list or the half with these steps."""
        if 0 < ledger[0] <= until:
            self.stop(ledger)
        for step in range(self.fetched, until):
            self.rows.append(dict(zip(self.names, values[step % len(values)].tolist(), strict=True)))
            self.asked.popleft()
        self.fetched = until
