"""Where an optimiser's speed comes from: everything side by side in flat buffers.

All parameters of one dtype and device lie in one buffer, and so do their gradients and the optimiser's
state. A step is then one pass over a few long arrays instead of one over each small one.

The state of half-precision parameters is kept in float32, and their updates are computed there: float16 rounds Adam's
eps of 1e-8 to 0, and the square of a gradient of 300 to infinity.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from scratchae.attach import PLAIN
from scratchae.autograd import Tensor
from scratchae.backend import Array, device_of, to_device, xp_of
from scratchae.changes import changed
from scratchae.gpu.kernels import TYPES
from scratchae.gpu.updates import Counters

_CHUNK = 1 << 17  # elements of a piece: small enough to stay in the cache, large enough to hide the calls


class Flat:
    """Parameters of one dtype and device, their gradients and optimiser state, each end to end.

    `wide` is the dtype of the state and of the arithmetic: the parameters' own, or float32 for narrower ones.

    A parameter stays the object that it is; its `.data` becomes a view of the buffer, and so does its
    next gradient, since `zero_grad` tells the engine where to write it. Whatever breaks a view (a copy,
    `.to`, `.data = ...`, another optimiser) is noticed by `gather`, which lays everything out anew.
    """

    def __init__(self, params: list[Tensor], state_names: Sequence[str]):
        self.params = params
        ends = np.cumsum([p.size for p in params]).tolist()
        self.spans = [slice(end - p.size, end) for p, end in zip(params, ends, strict=True)]
        self.steps = [0] * len(params)
        self.views: list[Array] = []
        self.state: dict[str, Array] = {}
        self.gather()
        self.provide(state_names)
        self._offer([p.node if p.grad is None else None for p in params])

    def provide(self, state_names: Sequence[str]) -> None:
        """Zeros for those of `state_names` that have no array yet: an option may be switched on between steps."""
        for name in state_names:
            if name not in self.state:
                self.state[name] = self.zeros()

    def zeros(self) -> Array:
        """What an array of the state begins with."""
        return self.xp.zeros_like(self.values, dtype=self.wide)

    def gather(self) -> None:
        """Lay the parameters out in one buffer, unless they still are."""
        if self.views and all(p._data is view for p, view in zip(self.params, self.views, strict=True)):
            return
        if len({(p.dtype, p.device) for p in self.params}) > 1:
            raise RuntimeError("parameters of one dtype and device went to different ones; make a new optimiser")
        self.values = xp_of(self.params[0].data).concatenate([p.data.ravel() for p in self.params])
        self.views = [self.values[span].reshape(p.shape) for p, span in zip(self.params, self.spans, strict=True)]
        for p, view in zip(self.params, self.views, strict=True):
            p.data = view
        device, dtype = device_of(self.values), self.values.dtype
        self.wide = np.result_type(dtype, np.float32)
        self.state = {name: to_device(s, device).astype(self.wide) for name, s in self.state.items()}
        self.scratch = self.xp.empty((2, min(self.values.size, self.chunk())), self.wide)
        self.gradients = self.xp.empty_like(self.values)
        self.homes: list = [None] * len(self.params)
        self.references = self._references()
        on_gpu = self.xp is not np and dtype.name in TYPES and not PLAIN
        self.counters = Counters(self.xp) if on_gpu else None

    @property
    def xp(self) -> Any:
        return xp_of(self.values)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: what is a view here would not be one there, and is laid out anew."""
        return {**vars(self), "views": [], "homes": [], "gradients": None, "scratch": None, "counters": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.gather()

    def chunk(self) -> int:
        return _CHUNK if self.xp is np and not PLAIN else self.values.size

    def _references(self) -> int:
        return sys.getrefcount(self.gradients)

    def zero_grad(self) -> None:
        """Drop all gradients, and ask for the next ones side by side in one buffer."""
        self.gather()  # `.to` may have made their dtype or device another
        leaves = [p.node for p in self.params]
        for leaf in leaves:
            if leaf is not None:
                leaf.grad = leaf.home = None
        self.homes = [None] * len(self.params)
        if self._references() > self.references:  # a view lives on: somebody kept a gradient, and shall keep it
            self.gradients = self.xp.empty_like(self.values)
        self._offer(leaves)

    def _offer(self, leaves: list) -> None:
        for i, (leaf, span) in enumerate(zip(leaves, self.spans, strict=True)):
            if leaf is not None and not PLAIN:
                leaf.home = self.homes[i] = self.gradients[span].reshape(leaf.shape)

    def _all_at_home(self) -> bool:
        """Whether every gradient lies in the buffer."""
        return all(p.grad is home is not None for p, home in zip(self.params, self.homes, strict=True))

    def all_gradients(self) -> Iterator[Array]:
        """The gradients, as few arrays as they lie in."""
        if self._all_at_home():
            yield self.gradients
        else:
            yield from (p.grad for p in self.params if p.grad is not None)

    def state_of(self, piece: slice) -> dict[str, Array]:
        return {name: array[piece] for name, array in self.state.items()}

    def count_step(self) -> None:
        """One step more for each parameter that has a gradient, and whose values therefore change."""
        moving = [p.grad is not None for p in self.params]
        self.steps = [n + moves for n, moves in zip(self.steps, moving, strict=True)]
        if all(moving):
            changed(self.values)
        else:
            for p in itertools.compress(self.params, moving):
                p.changed()

    def runs(self) -> Iterator[tuple[slice, Array, int]]:
        """(span, flat gradient, step number) of what has a gradient; neighbours in the buffer come joined."""
        if self._all_at_home() and len(set(self.steps)) == 1:  # nearly always: one run
            yield slice(0, self.values.size), self.gradients, self.steps[0]
            return
        ready = [i for i, p in enumerate(self.params) if p.grad is not None]
        at_home = {i: self.params[i].grad is self.homes[i] for i in ready}  # else assigned, or kept from before
        together = itertools.groupby(enumerate(ready), lambda e: (e[1] - e[0], self.steps[e[1]], at_home[e[1]]))
        for (_, step, home), run in together:
            members = [i for _, i in run]
            if home:
                span = slice(self.spans[members[0]].start, self.spans[members[-1]].stop)
                yield span, self.gradients[span], step
            else:
                yield from ((self.spans[i], self.params[i].grad.ravel(), step) for i in members)  # type: ignore[union-attr]
