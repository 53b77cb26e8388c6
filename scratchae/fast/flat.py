"""An optimiser's parameters, gradients and state side by side in flat buffers.

All parameters of one dtype and device lie in one buffer. Their gradients lie in a second buffer, and each array of the
optimiser's state in another one. A step is then one pass over a few long arrays, not one pass over each small array.
The pass goes in pieces that fit in the cache.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from scratchae.attach import replaceable
from scratchae.autograd import Tensor
from scratchae.backend import Array, device_of, to_device, xp_of
from scratchae.changes import changed
from scratchae.optim.base import Optimizer, state_dtype

_PIECE = 1 << 17  # elements of a piece on the CPU: small enough for the cache, large enough to hide the calls


def one_for_many(formula: Callable) -> Callable[[list[Tensor]], list[Flat]]:
    """For `optim.base.updaters_of`: one updater for all parameters of one dtype and device."""

    def updaters_of(params: list[Tensor]) -> list[Flat]:
        kinds: dict[Any, list[Tensor]] = {}
        for p in params:
            kinds.setdefault((p.dtype, p.device), []).append(p)
        return [Flat(ps) for ps in kinds.values()]

    return updaters_of


class Flat:
    """An updater of parameters of one dtype and device: values, gradients and optimiser state, each end to end.

    It has the methods of `optim.base.Updater`. `wide` is the `state_dtype` of its parameters.

    A parameter stays the object that it is. Its `.data` becomes a view of the buffer, and so does its next gradient,
    since `zero_grad` tells the engine where to write the gradient. A copy, `.to`, `.data = ...` or another optimiser
    breaks a view. `gather` notices a broken view, and lays everything out anew.
    """

    def __init__(self, params: list[Tensor]):
        self.params = params
        ends = np.cumsum([p.size for p in params]).tolist()
        self.spans = [slice(end - p.size, end) for p, end in zip(params, ends, strict=True)]
        self.steps = [0] * len(params)
        self.views: list[Array] = []
        self.state: dict[str, Array] = {}
        self.gather()
        self._offer([p.node if p.grad is None else None for p in params])

    def step(self, optimizer: Optimizer, group: dict[str, Any]) -> None:
        """Update all parameters that have a gradient."""
        self.gather()
        self.provide(optimizer.state_names(group))
        self.count_step()
        move(optimizer, self, group)

    def provide(self, state_names: Iterable[str]) -> None:
        """Zeros for those of `state_names` that have no array yet: an option may be switched on between steps."""
        for name in state_names:
            if name not in self.state:
                self.state[name] = self.xp.zeros_like(self.values, dtype=self.wide)

    def entries(self, state_names: Iterable[str] = ()) -> list[tuple[Tensor, int, dict[str, Array]]]:
        """(parameter, number of steps, state with the arrays `state_names`) of each parameter."""
        self.provide(state_names)
        return [
            (p, steps, {name: array[span].reshape(p.shape) for name, array in self.state.items()})
            for p, steps, span in zip(self.params, self.steps, self.spans, strict=True)
        ]

    def load(self, entries: list[tuple[int, dict[str, Array]]]) -> None:
        """Replace (number of steps, state) of each parameter."""
        self.steps = [steps for steps, _ in entries]
        parts = {name: [state[name].ravel() for _, state in entries] for name in entries[0][1]}
        here = device_of(self.values)  # the parameters may have gone elsewhere, where `gather` will follow
        self.state = {name: self.xp.concatenate([to_device(a, here) for a in ps]) for name, ps in parts.items()}

    def gather(self) -> None:
        """Lay the parameters out in one buffer, unless they still lie there."""
        if self.views and all(p._data is view for p, view in zip(self.params, self.views, strict=True)):
            return
        if len({(p.dtype, p.device) for p in self.params}) > 1:
            raise RuntimeError("parameters of one dtype and device went to different ones; make a new optimiser")
        self.values = xp_of(self.params[0].data).concatenate([p.data.ravel() for p in self.params])
        self.views = [self.values[span].reshape(p.shape) for p, span in zip(self.params, self.spans, strict=True)]
        for p, view in zip(self.params, self.views, strict=True):
            p.data = view
        self.wide = state_dtype(self.params[0])
        self.state = {n: to_device(s, device_of(self.values)).astype(self.wide) for n, s in self.state.items()}
        self.scratch = self.xp.empty((2, min(self.values.size, self.piece())), self.wide)
        self.gradients = self.xp.empty_like(self.values)
        self.memories: list = [None] * len(self.params)
        self.references = self._references()

    @property
    def xp(self) -> Any:
        return xp_of(self.values)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: a copy has no views, and is laid out anew."""
        return {**vars(self), "views": [], "memories": [], "gradients": None, "scratch": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.gather()

    def piece(self) -> int:
        """The number of elements that one update takes at a time."""
        return _PIECE if self.xp is np else self.values.size

    def _references(self) -> int:
        return sys.getrefcount(self.gradients)

    def zero_grad(self) -> None:
        """Drop all gradients, and ask for the next ones side by side in one buffer."""
        self.gather()  # `.to` may have changed their dtype or device
        leaves = [p.node for p in self.params]
        for leaf in leaves:
            if leaf is not None:
                leaf.grad = leaf.memory = None
        self.memories = [None] * len(self.params)
        if self._references() > self.references:  # the script has kept a view of a gradient, which must not change
            self.gradients = self.xp.empty_like(self.values)
        self._offer(leaves)

    def _offer(self, leaves: list) -> None:
        for i, (leaf, span) in enumerate(zip(leaves, self.spans, strict=True)):
            if leaf is not None:
                leaf.memory = self.memories[i] = self.gradients[span].reshape(leaf.shape)

    def _all_in_buffer(self) -> bool:
        return all(p.grad is memory is not None for p, memory in zip(self.params, self.memories, strict=True))

    def all_values(self) -> list[Array]:
        """The parameters, in one array."""
        self.gather()
        return [self.values]

    def all_gradients(self) -> Iterator[Array]:
        """The gradients, as few arrays as they lie in."""
        if self._all_in_buffer():
            yield self.gradients
        else:
            yield from (p.grad for p in self.params if p.grad is not None)

    def state_of(self, piece: slice) -> dict[str, Array]:
        return {name: array[piece] for name, array in self.state.items()}

    def count_step(self) -> None:
        """One step more for each parameter that has a gradient, and whose values therefore change."""
        moving = [p.grad is not None for p in self.params]
        if all(moving):
            self.steps = [n + 1 for n in self.steps]
            changed(self.values)
        else:
            self.steps = [n + moves for n, moves in zip(self.steps, moving, strict=True)]
            for p in itertools.compress(self.params, moving):
                p.changed()

    def runs(self) -> Iterator[tuple[slice, Array, int]]:
        """(span, flat gradient, step number) of parameters with a gradient; neighbours in the buffer come joined."""
        if self._all_in_buffer() and len(set(self.steps)) == 1:  # nearly always: one run
            yield slice(0, self.values.size), self.gradients, self.steps[0]
            return
        ready = [i for i, p in enumerate(self.params) if p.grad is not None]
        # A gradient lies elsewhere if it was assigned, or kept from before.
        inside = {i: self.params[i].grad is self.memories[i] for i in ready}
        together = itertools.groupby(enumerate(ready), lambda e: (e[1] - e[0], self.steps[e[1]], inside[e[1]]))
        for (_, step, in_buffer), run in together:
            members = [i for _, i in run]
            if in_buffer:
                span = slice(self.spans[members[0]].start, self.spans[members[-1]].stop)
                yield span, self.gradients[span], step
            else:
                yield from ((self.spans[i], self.params[i].grad.ravel(), step) for i in members)  # type: ignore[union-attr]


@replaceable
def move(optimizer: Optimizer, flat: Flat, group: dict[str, Any]) -> None:
    """Update all parameters of a flat buffer that have a gradient, in pieces that fit in the cache."""
    for span, g, step in flat.runs():
        for start in range(span.start, span.stop, size := flat.piece()):
            piece = slice(start, min(start + size, span.stop))
            # For half precision these are copies in float32, rounded once, when they are written back.
            p = flat.values[piece].astype(flat.wide, copy=False)
            grad = g[start - span.start : piece.stop - span.start].astype(flat.wide, copy=False)
            optimizer.update(p, grad, flat.state_of(piece), step, group, flat.scratch[:, : grad.size])
            if flat.wide != flat.values.dtype:
                flat.values[piece] = p
