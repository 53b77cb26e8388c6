"""What all optimisers share: groups of options, the step, saving and restoring, and clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from scratchae.attach import replaceable
from scratchae.autograd import Tensor
from scratchae.backend import Array, xp_of
from scratchae.checks import check_number
from scratchae.optim.flat import Flat
from scratchae.optim.options import check_option, check_params, check_tensor, listed, plain_options
from scratchae.optim.state import contents, groups_of


class Optimizer:
    """What all optimisers share; a new one defines `update`, `state_names`, and an `__init__` that hands options on.

    The parameters' values move into one buffer: an array that shared memory with one no longer follows it.

    Args:
        params: Tensors that are leaves, or dicts `{"params": [...], "lr": ..., ...}` with options of
            their own. Those with requires_grad=False or without a gradient are left alone.
        options: for every group that does not set them itself.

    `made_with` holds the options that each group began with, as JSON values. It stays what it was, whatever becomes
    of the options themselves in `param_groups`.

    Raises ValueError for no parameters, one given twice, or an option out of range; TypeError for
    something that is not a Tensor, for a set or a dict of parameters, and for an option that it has not.
    """

    made_with: list[dict[str, Any]] = []  # of one that was pickled before there was such a thing

    def __init__(self, params: Iterable[Any], **options: Any):
        members = listed(params)
        if not members:
            raise ValueError("the optimiser got no parameters; pass model.parameters() of a model that has some")
        groups = members if any(isinstance(g, dict) for g in members) else [{"params": members}]
        if odd := [type(g).__name__ for g in groups if not isinstance(g, dict)]:
            raise TypeError(f"groups of parameters are dicts {{'params': [...], ...}}; among them is a {odd[0]}")
        self.defaults = options = {**getattr(type(self), "defaults", {}), **options}
        self.param_groups: list[dict[str, Any]] = []
        for given in groups:
            params = given.get("params", [])
            group = {**options, **given, "params": [params] if isinstance(params, Tensor) else listed(params)}
            if not group["params"]:
                raise ValueError("a group of the optimiser has no parameters; expected {'params': [...], ...}")
            self.param_groups.append(self._checked(group))
        check_params(p for group in self.param_groups for p in group["params"])
        self.made_with = [plain_options(group) for group in self.param_groups]
        self._flats: list[list[Flat]] = []
        for group in self.param_groups:
            kinds: dict[Any, list[Tensor]] = {}
            for p in group["params"]:
                kinds.setdefault((p.dtype, p.device), []).append(p)
            self._flats.append([Flat(ps, self.state_names(group)) for ps in kinds.values()])

    def state_names(self, group: dict) -> tuple[str, ...]:
        """The arrays that the optimiser keeps for each parameter."""
        return ()

    def update(self, p: Array, g: Array, state: dict[str, Array], step: int, group: dict, scratch: Array) -> None:
        """Move the flat piece `p` in place, given its gradient `g`, which must not be written to.

        `state` holds this piece of each of `state_names`, `step` counts from 1, and `scratch` is two
        rows of memory of the piece's length.
        """
        raise NotImplementedError

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group, flats in zip(self.param_groups, self._flats, strict=True):
            for flat in flats:
                flat.gather()
                flat.provide(self.state_names(group))
                flat.count_step()
                move(self, flat, group)

    def flats(self) -> Iterator[Flat]:
        """The flat buffers of all groups."""
        return (flat for flats in self._flats for flat in flats)

    def gradients(self) -> Iterator[Array]:
        """Every gradient there is, many in one array where they lie side by side; what is done to these in place is
        done to `.grad`."""
        for flat in self.flats():
            yield from flat.all_gradients()

    def values(self) -> Iterator[Array]:
        """The parameters themselves, many in one array."""
        for flat in self.flats():
            flat.gather()
            yield flat.values

    def zero_grad(self) -> None:
        """Set every `.grad` to None."""
        for flat in self.flats():
            flat.zero_grad()

    @property
    def lr(self) -> float:
        """The learning rate (of the first group); setting it sets all groups'."""
        return self.param_groups[0]["lr"]

    @lr.setter
    def lr(self, value: float) -> None:
        value = check_number("lr", value)
        for group in self.param_groups:
            group["lr"] = value

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on: options, step counts and copies of the state arrays."""
        groups = []
        for group, flats in zip(self.param_groups, self._flats, strict=True):
            for flat in flats:
                flat.provide(self.state_names(group))  # those of an option switched on since the last step
            entry = plain_options(group)
            places = {id(p): (flat, i) for flat in flats for i, p in enumerate(flat.params)}
            entry["params"] = [_state_of(*places[id(p)]) for p in group["params"]]
            groups.append(entry)
        return {"kind": type(self).__name__, "groups": groups}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave, from arrays of any real dtype.

        Raises ValueError where it does not fit, TypeError for an option that this optimiser has not. Nothing is
        changed then.
        """
        try:
            fitting = list(self._read(state))
        except (ValueError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{error}; nothing was loaded") from None
        for group, flats, (options, read) in zip(self.param_groups, self._flats, fitting, strict=True):
            group.update(options)
            for flat, (steps, arrays) in zip(flats, read, strict=True):
                flat.steps, flat.state = steps, arrays

    def _read(self, state: Any) -> Iterator[tuple[dict[str, Any], list]]:
        """For each group its options, and for each of its flat buffers step counts and arrays."""
        groups = groups_of(state, type(self).__name__, [len(group["params"]) for group in self.param_groups])
        for g, (given, group, flats) in enumerate(zip(groups, self.param_groups, self._flats, strict=True)):
            if missing := sorted(set(group) - set(given)):
                raise ValueError(f"group {g}: the state lacks the options {missing}")
            options = self._checked({**given, "params": group["params"]})
            entries = {
                id(p): (f"group {g}, parameter {i}", entry)
                for i, (p, entry) in enumerate(zip(group["params"], given["params"], strict=True))
            }
            yield options, [contents(flat, self.state_names(options), entries) for flat in flats]

    def _checked(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """`group` with its options as Python's own numbers; refuses unknown ones and values out of range."""
        if unknown := set(group) - {*self.defaults, "params"}:
            names = sorted(map(str, unknown))
            raise TypeError(f"{type(self).__name__} has no options {names}; it has {sorted(self.defaults)}")
        return {name: value if name == "params" else check_option(name, value) for name, value in group.items()}


@replaceable
def move(optimizer: Optimizer, flat: Flat, group: dict) -> None:
    """Update all parameters of one flat buffer that have a gradient, in pieces that fit in the cache."""
    for span, g, step in flat.runs():
        for start in range(span.start, span.stop, size := flat.piece()):
            piece = slice(start, min(start + size, span.stop))
            # Copies, for half precision alone; rounded once, when they are written back.
            p = flat.values[piece].astype(flat.wide, copy=False)
            grad = g[start - span.start : piece.stop - span.start].astype(flat.wide, copy=False)
            optimizer.update(p, grad, flat.state_of(piece), step, group, flat.scratch[:, : grad.size])
            if flat.wide != flat.values.dtype:
                flat.values[piece] = p


def _state_of(flat: Flat, i: int) -> dict[str, Any]:
    arrays = {name: s[flat.spans[i]].reshape(flat.params[i].shape).copy() for name, s in flat.state.items()}
    return {"step": flat.steps[i], **arrays}


def _joint_norm(grads: list[Array]) -> float:
    # Half precision is widened first: it cannot hold the square of 300, nor a sum of 70,000 ones.
    flats = [g.ravel().astype(np.result_type(g.dtype, np.float32), copy=False) for g in grads]
    with np.errstate(over="ignore", invalid="ignore"):
        squares = sum(float(g @ g) for g in flats)
    if 1e-30 < squares < math.inf:
        return math.sqrt(squares)
    # The squares of very large or very small float32 numbers leave its range: scale them first.
    peaks = [float(abs(g).max()) for g in flats if g.size]
    if not math.isfinite(sum(peaks)) or not any(peaks):
        return sum(peaks)
    return max(peaks) * math.sqrt(sum(float((scaled := g / max(peaks)) @ scaled) for g in flats))


def clip_grad_norm(params: Iterable[Tensor] | Tensor, max_norm: float) -> float:
    """Scale all gradients together so that their joint Euclidean norm is at most `max_norm`; return the norm before.

    Raises ValueError, before anything changes, where the norm is not finite or `max_norm` is negative.
    """
    max_norm = check_number("max_norm", max_norm)
    if not isinstance(params, (Tensor, Iterable)):
        raise TypeError(f"clip_grad_norm: params is a {type(params).__name__}; pass model.parameters()")
    members = [params] if isinstance(params, Tensor) else list(params)
    for p in members:
        check_tensor(p)
    grads = [p.grad for p in members if p.grad is not None]
    norm = _joint_norm(grads)
    if not math.isfinite(norm):
        raise ValueError(f"clip_grad_norm: the gradients' norm is {norm}, not finite; nothing was changed")
    if norm > max_norm:
        factor = max_norm / (norm + 1e-6)  # PyTorch's guard against division by zero
        for g in grads:
            xp_of(g).multiply(g, factor, out=g, dtype=np.result_type(g.dtype, np.float32))
    return norm
