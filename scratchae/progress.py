"""What is shown of a run: a bar in a terminal or a notebook, one line per epoch elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from typing import Any

from scratchae.plotting.curves import losses


class Steady:
    """A stream that nobody may read any more: a closed pipe or a full disk must not end the training."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(Exception):  # of a closed file, a full disk, or somebody's own object
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(Exception):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def bar(title: str, total: int, initial: int, shown: bool) -> Any:
    """tqdm's bar; a widget in a notebook."""
    from tqdm.auto import tqdm

    stream = getattr(sys, "stderr", None)
    file = None if stream is None else Steady(stream)
    return tqdm(desc=title, total=total, initial=initial, disable=not shown, unit="batch", file=file)


def line(text: str) -> None:
    if (stream := getattr(sys, "stdout", None)) is not None:  # as it is in a program without a console
        print(text, file=Steady(stream), flush=True)


def is_watched() -> bool:
    """Whether a bar that moves can be shown: in a terminal or a notebook, not in a file."""
    with contextlib.suppress(AttributeError, ValueError):  # sys.stderr is None, or closed
        return sys.stderr.isatty() or "ipykernel" in sys.modules
    return "ipykernel" in sys.modules


def text(row: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.5g}" for name, value in losses(row).items())
