"""Train and eval mode: the switch is the module's own, and a look in eval mode is a matter of the thread that looks.

`evaluating(model)` flips no switch. A thread that reconstructs while another one trains the same model must not put
that one's steps into eval mode, so each thread notes for itself which modules it is evaluating.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Evaluated(threading.local):
    """The modules that this thread is evaluating: id -> number of blocks around."""

    def __init__(self) -> None:
        self.blocks: dict[int, int] = {}


evaluated = _Evaluated()


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Eval mode for `model` and all inside it, in this block and this thread; the modules' switches stay as they are.

    `train()` in the block sets the switches as ever, which shows when the block has ended.
    """
    modules = list(model.modules())  # held until the end: no other module can get one of their ids
    blocks = evaluated.blocks  # of this thread, also if another one should end the block
    for module in modules:
        blocks[id(module)] = blocks.get(id(module), 0) + 1
    try:
        yield
    finally:
        for module in modules:
            blocks[id(module)] -= 1
            if not blocks[id(module)]:
                del blocks[id(module)]
