"""Modes of modules: a switch that is True or False, and eval mode in one thread while others train the same model."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from scratchae.checks import check_bool
from scratchae.nn.module import Module


class _Evaluated(threading.local):
    """The ids of the modules that this thread is evaluating, each with the number of blocks around."""

    def __init__(self) -> None:
        self.blocks: Counter[int] = Counter()


_evaluated = _Evaluated()


def training(self: Any) -> bool:
    """Whether dropout, noise and batch statistics are on. Inside `evaluating` they are off."""
    return self.__dict__.get("training", self._starts_in_train_mode) and id(self) not in _evaluated.blocks


def set_training(self: Module, mode: bool) -> None:
    self.__dict__["training"] = check_bool(f"{type(self).__name__}: training", mode)


def started(cls: Any, **options: Any) -> None:
    """For `Module.__init_subclass__`. By `training = False` a class starts its modules in eval mode."""
    super(Module, cls).__init_subclass__(**options)
    if isinstance(cls.training, bool):
        cls._starts_in_train_mode = cls.training
        cls.training = Module.training


def evaluating(formula: Callable) -> Callable[[Module], Any]:
    """For `module.evaluating`: the modules' own switches stay as they are.

    `train()` in the block sets the switches as always, which shows when the block has ended.
    """

    @contextmanager
    def in_this_thread(model: Module) -> Iterator[None]:
        modules = list(model.modules())  # kept until the end: the id of a module that is gone may go to a new module
        blocks = _evaluated.blocks  # of this thread, even where another thread ends the block
        blocks += Counter(map(id, modules))
        try:
            yield
        finally:
            blocks -= Counter(map(id, modules))  # a Counter drops the counts of 0 here

    return in_this_thread
