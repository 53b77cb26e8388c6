"""The progress of a run: a bar in a terminal or a notebook, and one line per epoch elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from scratchae.plugins import ORDER, Run

NOT_LOSSES = ("seconds", "images_per_second", "lr")
"""Columns of a history that are no losses."""


class Progress:
    """The plug-in that shows the progress of a run, in the first process."""

    bar: Any = None

    @contextlib.contextmanager
    def around_epoch(self, run: Run) -> Iterator[None]:
        self.title = f"epoch {run.epoch + 1}/{run.options['epochs']}"
        if not is_watched():
            yield
            return
        with bar(self.title, len(run.loader), run.batch) as self.bar:
            yield
        self.bar = None

    def between_steps(self, run: Run) -> None:
        if self.bar is not None:
            self.bar.update()
            if run.batch % 64 == 1 and run.means.samples:
                self.bar.set_postfix_str(text(run, run.means.means()), refresh=False)

    def end_epoch(self, run: Run) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(text(run, run.row))
        else:
            line(f"{self.title}  {text(run, run.row)}  {run.row['seconds']:.1f} s")


class Steady:
    """A stream whose errors are ignored, since a closed pipe or a full disk must not end the training."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(Exception):  # of a closed file, a full disk, or an object of the user's
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(Exception):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def bar(title: str, total: int, initial: int) -> Any:
    """tqdm's bar; a widget in a notebook."""
    from tqdm.auto import tqdm

    stream = getattr(sys, "stderr", None)
    file = None if stream is None else Steady(stream)
    return tqdm(desc=title, total=total, initial=initial, unit="batch", file=file)


def line(text: str) -> None:
    """Print a line; a program without a console has no stream for the line."""
    if (stream := getattr(sys, "stdout", None)) is not None:
        print(text, file=Steady(stream), flush=True)


def is_watched() -> bool:
    """Whether a bar that moves can be shown: in a terminal or a notebook, not in a file."""
    with contextlib.suppress(AttributeError, ValueError):  # sys.stderr is None, or closed
        return sys.stderr.isatty() or "ipykernel" in sys.modules
    return "ipykernel" in sys.modules


def text(run: Run, row: Mapping[str, float]) -> str:
    """The losses and metrics among an epoch's numbers in one line."""
    return "  ".join(f"{name} {value:.5g}" for name, value in losses(row, run.trainer.metrics).items())


def losses(numbers: Mapping[str, Any], metrics: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """The losses and metrics among a run's numbers.

    A lone term that equals the loss is left out, since its curve hides the loss.
    """
    found = {name: np.asarray(value, float) for name, value in numbers.items() if name not in NOT_LOSSES}
    terms = {name.removeprefix("val_") for name in found} - {"loss", *metrics}
    if len(terms) == 1:
        pairs = [[found.get(prefix + name, np.empty(0)) for name in ("loss", *terms)] for prefix in ("", "val_")]
        if all(np.array_equal(whole, part, equal_nan=True) for whole, part in pairs):
            return {name: value for name, value in found.items() if name.removeprefix("val_") not in terms}
    return found


ORDER["progress"] = lambda run: [Progress()] if run.options["progress"] and run.first else []
