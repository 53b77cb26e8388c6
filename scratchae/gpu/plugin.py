"""The plug-in that replays the steps of `fit` on a GPU; see replay.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from scratchae import backend
from scratchae.gpu import replay
from scratchae.gpu.memory import giving_way


class Replay:
    """The plug-in that replays steps where possible. `steps` is None where Python does every step."""

    steps: replay.Steps | None = None

    @contextmanager
    def around_epochs(self, run: Any) -> Iterator[None]:
        what = f"a step of {type(run.trainer.model).__name__} on a batch of {run.loader.batch_size} samples"
        with backend.told_when_full(what), replay.training_stream(run.device):
            self.steps = replay.steps_of(run.trainer, run.plugins)
            try:
                with giving_way(self.steps.cupy, self.steps.release) if self.steps is not None else nullcontext():
                    yield
            finally:
                self.steps = None  # releases the graph's memory too
                for loader in filter(None, (run.loader, run.held_out)):
                    loader.forget_copies()

    def begin_epoch(self, run: Any) -> None:
        if self.steps is not None:
            self.steps.begin_epoch()

    def take(self, run: Any, batch: Any) -> bool:
        if self.steps is None:
            return False
        if self.steps.take(batch, run.step + 1):
            return True
        self._catch_up(run)
        return False

    def between_steps(self, run: Any) -> None:
        if self.steps is not None and run.batch % 64 == 1:
            self._catch_up(run, wait=False)

    def after_steps(self, run: Any) -> None:
        self._catch_up(run)

    before_save = after_steps

    def _catch_up(self, run: Any, wait: bool = True) -> None:
        """Add the losses of replayed steps to the means. Without `wait`, only the losses that have arrived."""
        if self.steps is not None:
            rows = self.steps.read(wait)
            for i, terms in enumerate(rows, run.batch - len(self.steps.asked) - len(rows)):
                run.means.add(terms, run.loader.batch_length(i))
