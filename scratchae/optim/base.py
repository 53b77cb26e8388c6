"""What all optimisers share: groups of options, the step, saving and restoring, and clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from scratchae.autograd import Tensor
from scratchae.autograd.tensor import Leaf
from scratchae.backend import Array, device_of, to_device
from scratchae.checks import check_number
from scratchae.gpu.updates import Counters, Update
from scratchae.optim.flat import Flat


class Optimizer:
    """What all optimisers share; a new one defines `update`, `state_names`, and an `__init__` that hands options on.

    The parameters' values move into one buffer: an array that shared memory with one no longer follows it.

    Args:
        params: Tensors that are leaves, or dicts `{"params": [...], "lr": ..., ...}` with options of
            their own. Those with requires_grad=False or without a gradient are left alone.
        options: for every group that does not set them itself.

    Raises ValueError for no parameters, one given twice, or an option out of range; TypeError for
    something that is not a Tensor.
    """

    def __init__(self, params: Iterable[Any], **options: Any):
        if isinstance(params, Tensor):
            raise TypeError("the optimiser takes a list of parameters, got one Tensor; pass [tensor]")
        if not isinstance(params, Iterable):
            raise TypeError(f"the optimiser takes parameters, got {type(params).__name__}; pass model.parameters()")
        listed = list(params)
        if not listed:
            raise ValueError("the optimiser got no parameters; pass model.parameters() of a model that has some")
        groups = listed if any(isinstance(g, dict) for g in listed) else [{"params": listed}]
        if odd := [type(g).__name__ for g in groups if not isinstance(g, dict)]:
            raise TypeError(f"groups of parameters are dicts {{'params': [...], ...}}; among them is a {odd[0]}")
        self.defaults = options = {**getattr(type(self), "defaults", {}), **options}
        self.param_groups: list[dict[str, Any]] = []
        self._flats: list[list[Flat]] = []
        for given in groups:
            params = given.get("params", [])
            members = [params] if isinstance(params, Tensor) else list(params)
            group = {**options, **given, "params": members}
            if not members:
                raise ValueError("a group of the optimiser has no parameters; expected {'params': [...], ...}")
            self._check_options(group)
            # NumPy's own numbers would make each update compute in float64.
            self.param_groups.append({k: v.item() if isinstance(v, np.generic) else v for k, v in group.items()})
        self._check_params()
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

    def update_on_gpu(self, update: Update, state: dict[str, Array], group: dict) -> None:
        """The same by kernels of kernels.cu, over all that lies side by side."""
        raise NotImplementedError

    @property
    def has_kernels(self) -> bool:
        """Whether `update_on_gpu` does what `update` does: not where a rule of your own changes `update` alone."""
        rule, kernels = (
            next(c for c in type(self).__mro__ if name in vars(c)) for name in ("update", "update_on_gpu")
        )
        return issubclass(kernels, rule)

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group, flats in zip(self.param_groups, self._flats, strict=True):
            for flat in flats:
                flat.gather()
                flat.provide(self.state_names(group))
                flat.count_step()
                if flat.counters is not None and self.has_kernels:
                    self._move_on_gpu(flat, flat.counters, group)
                else:
                    self._move(flat, group)

    def _move(self, flat: Flat, group: dict) -> None:
        for span, g, step in flat.runs():
            for start in range(span.start, span.stop, chunk := flat.chunk()):
                piece = slice(start, min(start + chunk, span.stop))
                grad = g[start - span.start : piece.stop - span.start]
                scratch = flat.scratch[:, : grad.size]
                self.update(flat.values[piece], grad, flat.state_of(piece), step, group, scratch)

    def _move_on_gpu(self, flat: Flat, counters: Counters, group: dict) -> None:
        counted = None
        for span, g, step in flat.runs():
            if step != counted:
                counters.prepare(group["lr"], step - 1)
            update = Update(counters, flat.values[span], g, step != counted)
            self.update_on_gpu(update, flat.state_of(span), group)
            counted = step

    def flats(self) -> Iterator[Flat]:
        """The flat buffers of all groups."""
        return (flat for flats in self._flats for flat in flats)

    def gradients(self) -> Iterator[Array]:
        """Every gradient there is, many in one array where they lie side by side; what is done to these in place is
        done to `.grad`."""
        for flat in self.flats():
            yield from flat.all_gradients()

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
            entry = {k: list(v) if isinstance(v, tuple) else v for k, v in group.items() if k != "params"}
            places = {id(p): (flat, i) for flat in flats for i, p in enumerate(flat.params)}
            entry["params"] = [_state_of(*places[id(p)]) for p in group["params"]]
            groups.append(entry)
        return {"kind": type(self).__name__, "groups": groups}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave; ValueError, with nothing changed, where it does not fit."""
        if state.get("kind") != type(self).__name__:
            kinds = f"the state is of {state.get('kind')!r}, this is {type(self).__name__}"
            raise ValueError(f"{kinds}; nothing was loaded")
        groups = state.get("groups", ())
        if not groups or any("params" not in g for g in groups):
            raise ValueError("the state has no 'groups', or one of them no 'params'; nothing was loaded")
        if [len(g["params"]) for g in groups] != (expected := [len(g["params"]) for g in self.param_groups]):
            found = [len(g["params"]) for g in groups]
            counts = f"the state has {found} parameters per group, this optimiser {expected}"
            raise ValueError(f"{counts}; nothing was loaded")
        todo = []
        for g, (given, group) in enumerate(zip(groups, self.param_groups, strict=True)):
            options = {k: tuple(v) if isinstance(group.get(k), tuple) else v for k, v in given.items() if k != "params"}
            self._check_options({**group, **options})
            names = {"step", *self.state_names({**group, **options})}
            for i, (entry, p) in enumerate(zip(given["params"], group["params"], strict=True)):
                step = entry.get("step", 0)
                if not isinstance(step, (int, np.integer)) or step < 0:
                    where = f"group {g}, parameter {i}"
                    raise ValueError(f"{where}: step={step!r}; expected an integer of at least 0; nothing was loaded")
                wrong = {n for n in names - {"step"} if getattr(entry.get(n), "shape", None) != p.shape}
                if set(entry) != names or wrong:
                    shapes = {n: getattr(v, "shape", v) for n, v in entry.items()}
                    raise ValueError(
                        f"group {g}, parameter {i}: the state holds {shapes}, "
                        f"expected {sorted(names)} of shape {p.shape}; nothing was loaded"
                    )
            todo.append((group, options, given["params"]))
        for (group, options, entries), flats in zip(todo, self._flats, strict=True):
            group.update(options)
            by_id = {id(p): entry for p, entry in zip(group["params"], entries, strict=True)}
            for flat in flats:
                flat.state = {name: flat.xp.zeros_like(flat.values) for name in self.state_names(group)}
                for i, (p, span) in enumerate(zip(flat.params, flat.spans, strict=True)):
                    flat.steps[i] = int(by_id[id(p)]["step"])
                    for name, array in flat.state.items():
                        array[span] = to_device(by_id[id(p)][name], device_of(array)).ravel()

    def _check_options(self, group: dict[str, Any]) -> None:
        """Refuse unknown options and values out of range."""
        if unknown := set(group) - {*self.defaults, "params"}:
            raise TypeError(f"{type(self).__name__} has no options {sorted(unknown)}; it has {sorted(self.defaults)}")
        for name, value in group.items():
            if name == "betas" and len(value) != 2:
                raise ValueError(f"betas={value!r}; expected two numbers")
            for v in value if name == "betas" else [value]:
                if name != "params" and not isinstance(v, bool):
                    check_number(name, v, "[0, 1)" if name in ("betas", "alpha") else "[0, inf)")

    def _check_params(self) -> None:
        seen: set[int] = set()
        for p in (p for group in self.param_groups for p in group["params"]):
            if not isinstance(p, Tensor):
                raise TypeError(f"the optimiser takes Tensors, got a {type(p).__name__}")
            if p.node is not None and type(p.node) is not Leaf:
                raise ValueError(f"a Tensor of shape {p.shape} is a result; an optimiser can only move leaves")
            if id(p) in seen:
                raise ValueError(f"a parameter of shape {p.shape} is given twice")
            seen.add(id(p))


def _state_of(flat: Flat, i: int) -> dict[str, Any]:
    arrays = {name: s[flat.spans[i]].reshape(flat.params[i].shape).copy() for name, s in flat.state.items()}
    return {"step": flat.steps[i], **arrays}


def _joint_norm(grads: list[Array]) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        squares = sum(float((flat := g.ravel()) @ flat) for g in grads)
    if 1e-30 < squares < math.inf:
        return math.sqrt(squares)
    # The squares of very large or very small float32 numbers leave its range: scale them first.
    peaks = [float(abs(g).max()) for g in grads if g.size]
    if not math.isfinite(sum(peaks)) or not any(peaks):
        return sum(peaks)
    return max(peaks) * math.sqrt(sum(float((flat := g.ravel() / max(peaks)) @ flat) for g in grads))


def clip_grad_norm(params: Iterable[Tensor] | Tensor, max_norm: float) -> float:
    """Scale all gradients together so that their joint Euclidean norm is at most `max_norm`; return the norm before.

    Raises ValueError, before anything changes, where the norm is not finite or `max_norm` is negative.
    """
    check_number("max_norm", max_norm)
    grads = [p.grad for p in ([params] if isinstance(params, Tensor) else params) if p.grad is not None]
    norm = _joint_norm(grads)
    if not math.isfinite(norm):
        raise ValueError(f"clip_grad_norm: the gradients' norm is {norm}, not finite; nothing was changed")
    if norm > max_norm:
        for g in grads:
            g *= max_norm / (norm + 1e-6)  # PyTorch's guard against division by zero
    return norm
