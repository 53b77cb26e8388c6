"""Ctrl-C and SIGTERM, held back until training stands between two steps."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import Any

HELD = (signal.SIGINT, signal.SIGTERM)


class HeldSignals:
    """A context in which the first SIGINT or SIGTERM is only noted, in `pending`; a second one acts at once.

    Python delivers signals to the main thread alone: in another one this does nothing. The handlers that were there
    before are put back at the end.
    """

    def __init__(self) -> None:
        self.pending: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> HeldSignals:
        if threading.current_thread() is threading.main_thread():
            for number in HELD:
                before = signal.getsignal(number)
                if before not in (None, signal.SIG_IGN):  # what the caller ignores stays ignored
                    self._before[number] = before
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            with contextlib.suppress(ValueError):
                signal.signal(number, handler)
        if self.pending is not None and exception[0] is None:  # it came when nobody looked any more
            self.act()

    def _note(self, number: int, frame: Any) -> None:
        if self.pending is not None:
            self.act()
        self.pending = number

    def act(self) -> None:
        """End the way a script expects: KeyboardInterrupt, or exit status 143."""
        if self.pending == signal.SIGTERM:
            sys.exit(128 + signal.SIGTERM)
        raise KeyboardInterrupt
