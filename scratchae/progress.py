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
        with contextlib.suppress(OSError, ValueError):  # ValueError: it is closed
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def bar(title: str, total: int, initial: int, shown: bool) -> Any:
    """tqdm's bar; a widget in a notebook."""
    from tqdm.auto import tqdm

    return tqdm(desc=title, total=total, initial=initial, disable=not shown, unit="batch", file=Steady(sys.stderr))


def line(text: str) -> None:
    if sys.stdout is not None:  # as it is in a program without a console
        print(text, file=Steady(sys.stdout), flush=True)


def is_watched() -> bool:
    """Whether a bar that moves can be shown: in a terminal or a notebook, not in a file."""
    with contextlib.suppress(AttributeError, ValueError):  # sys.stderr is None, or closed
        return sys.stderr.isatty() or "ipykernel" in sys.modules
    return "ipykernel" in sys.modules


def text(row: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.5g}" for name, value in losses(row).items())
