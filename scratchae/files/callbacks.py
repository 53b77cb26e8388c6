"""What a checkpoint keeps of callbacks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from scratchae.backend import Array, plain_array
from scratchae.callbacks import EarlyStopping
from scratchae.checks import check_bool, check_count, check_number, shown
from scratchae.files.states import check_names


def state_of_stopping(self: EarlyStopping) -> dict[str, Any]:
    """The best number and its epoch, the weights of that epoch, and whether training was stopped."""
    weights = self._weights
    return {"best": self.best, "best_epoch": self.best_epoch, "weights": weights, "stopped": self.stopped}


def load_stopping(self: EarlyStopping, state: Mapping[str, Any]) -> None:
    """Put back what `state_dict` gave; ValueError, with nothing changed, for what does not fit."""
    check_names(state, ("best", "best_epoch", "weights"), newer=["stopped"])
    best, weights = state["best"], arrays_by_name("EarlyStopping: weights", state["weights"])
    best = best if type(best) is float and best == math.inf else check_number("best", best, "(-inf, inf)")
    if weights and self._shapes and {n: a.shape for n, a in weights.items()} != self._shapes:
        raise ValueError("EarlyStopping: the best weights are of another model; nothing was loaded")
    best_epoch = check_count("EarlyStopping: best_epoch", state["best_epoch"], 0)
    self.stopped = check_bool("EarlyStopping: stopped", state.get("stopped", False))
    self.best, self.best_epoch, self._weights = best, best_epoch, weights


def arrays_by_name(what: str, given: Any) -> dict[str, Array]:
    """`given` if it is a dict of arrays of real numbers, by names. Raises ValueError if not."""
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ValueError(f"{what}: expected arrays by name, got {shown(given)}; nothing was loaded")
    try:
        return {name: plain_array(array, f"{what}: {name!r}") for name, array in given.items()}
    except TypeError as error:
        raise ValueError(f"{error}; nothing was loaded") from None
