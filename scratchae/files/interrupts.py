"""Ctrl-C and SIGTERM, held back until training stands between two steps."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from scratchae.attach import replaceable

HELD = (signal.SIGINT, signal.SIGTERM)
_holders: list[HeldSignals] = []  # in force now; a `fit` in a callback of another `fit` adds the second
_at_fork = threading.local()


class HeldSignals:
    """A context in which the first SIGINT or SIGTERM is only noted in `pending`. A second signal acts at once.

    Python delivers signals to the main thread alone, so the context does nothing in other threads. At the end the
    context puts the earlier handlers back, except where the block has set another handler. A process that is forked
    inside has the handlers from before the block.
    """

    def __init__(self) -> None:
        self.pending: int | None = None
        self._before: dict[int, Any] = {}
        self._raised: BaseException | None = None

    def __enter__(self) -> HeldSignals:
        if threading.current_thread() is threading.main_thread():
            _holders.append(self)
            for number in HELD:
                before = signal.getsignal(number)
                if before not in (None, signal.SIG_IGN):  # an ignored signal stays ignored
                    self._before[number] = before
                    signal.signal(number, self._note)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._put_back()
        # A signal may have come after the last look. An exception that the script catches must not hide the signal.
        if self.pending is not None and (error is None or error is not self._raised):
            self.act(error)

    def _put_back(self) -> None:
        if self in _holders:
            _holders.remove(self)  # first: from here on `_note` holds nothing back
            for number, handler in self._before.items():
                if signal.getsignal(number) == self._note:
                    signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        at_once = self.pending is not None or self not in _holders  # not in force: other code set `_note` again
        self.pending = number
        if at_once:
            self.act()

    def act(self, error: BaseException | None = None, told: str = "") -> None:
        """Do what the script expects of the signal. The signal replaces the exception `error`.

        The text `told` becomes the text of a KeyboardInterrupt, which Python prints at the end of a script.

        The script's own handler is called, and training goes on if the handler returns. Without a handler, SIGINT
        raises KeyboardInterrupt, and SIGTERM raises SystemExit with status 143.
        """
        number = self.pending
        handler = self._before.get(number)  # type: ignore[arg-type]
        while isinstance(outer := getattr(handler, "__self__", None), HeldSignals):
            handler = outer._before.get(number)  # type: ignore[arg-type]
        if callable(handler) and handler is not signal.default_int_handler:
            self.pending = None
            handler(number, None)
        else:
            terminated = number == signal.SIGTERM
            self._raised = SystemExit(128 + signal.SIGTERM) if terminated else KeyboardInterrupt(*filter(None, [told]))
            raise self._raised from error


class Signals:
    """The plug-in that ends training between two steps after Ctrl-C or SIGTERM.

    `held` holds the signal back until the checkpoint is written.
    """

    def __init__(self) -> None:
        self.held = HeldSignals()

    def around_epochs(self, run: Any) -> HeldSignals:
        return self.held

    def breaks_off(self, run: Any) -> bool:
        return self.held.pending is not None

    def pause(self, run: Any) -> bool:
        """Save and end, if a signal came. Returns True if the script's own handler returned."""
        if asked(run, self.held) is None:
            return False
        run.tell("save")
        run.tell("before_end")
        self.held.act(told=_where_it_is(run))
        return True

    def between_steps(self, run: Any) -> None:
        self.pause(run)  # without an answer, so that later plug-ins have this moment too


def _where_it_is(run: Any) -> str:
    """Where a run that ends early was saved, and how the run goes on."""
    path, stopped = run.options["checkpoint"], f"training stopped after step {run.step}"
    if path is None:
        return f"{stopped}, and was not saved: pass checkpoint=... to fit, to go on later"
    return f"{stopped} and was saved: go on with fit(checkpoint={str(path)!r}, resume=True)"


@replaceable
def asked(run: Any, held: HeldSignals) -> int | None:
    """The signal that ends training; None if no signal came."""
    return held.pending


# A signal between a fork and the change of the child's handlers waits in the system, and so is not lost.


def _before_fork() -> None:
    _at_fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, HELD if _holders else ())


def _in_parent() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _at_fork.mask)


def _in_child() -> None:
    for holder in reversed(_holders.copy()):
        holder._put_back()
        holder.pending = None  # the signal was for the parent
    signal.pthread_sigmask(signal.SIG_SETMASK, _at_fork.mask)


if hasattr(os, "register_at_fork"):  # not on Windows, where no process is forked
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
