"""A run goes on from its checkpoint. The whole file is checked first. Then all of the state is loaded, or none."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from scratchae import random
from scratchae.attach import replaceable
from scratchae.files.checkpoint import apply_state, read_state, state_of
from scratchae.files.identity import NO_SETTINGS, at_defaults, differences, is_setting, settings_of
from scratchae.files.storage import FilePath
from scratchae.history import History
from scratchae.nn import Module

_ALWAYS = ("batch_size", "seed", "shuffle", "drop_last", "data", "validation", "callbacks")


@replaceable
def state_in(run: Any, path: FilePath) -> dict[str, Any] | None:
    """The state in a checkpoint; None where there is no file."""
    return read_state(path)[0] if os.path.exists(path) else None


def restore(run: Any, checkpoint: Any, state: Mapping[str, Any], began: Mapping[str, Any]) -> None:
    """Put back the state that `Checkpoint.save` saved. For a state of another run: ValueError, and no change.

    `began` is the identity at the beginning of this model's run with that checkpoint, if this process began the run.
    """
    trainer, path, name = run.trainer, checkpoint.path, os.fspath(checkpoint.path)
    if not isinstance(state.get("run"), dict):
        raise ValueError(f"{name} was not written by Trainer.fit; see load_checkpoint for such files")
    _check_same_run(run, checkpoint, state, began)
    try:
        _check(run, state)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        found = error if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{name} is malformed: {found}. Nothing was loaded") from None
    before = state_of(trainer.model, trainer.optimizer)
    apply_state(path, state, trainer.model, trainer.optimizer)
    try:
        if isinstance(trainer.loss, Module) and "loss" in state:  # older versions saved no state of the loss
            trainer.loss.load_state_dict(state["loss"])
        _restore_plugins(run.plugins, state.get("plugins", {}))  # older versions saved no states of plug-ins
        _restore_callbacks(trainer.callbacks, state["callbacks"])
    except Exception as error:
        apply_state(path, before, trainer.model, trainer.optimizer)
        raise ValueError(f"{name} is of another run: {error}; nothing was loaded") from None
    _restore_place(run, checkpoint, state)


def _check_same_run(run: Any, checkpoint: Any, state: Mapping[str, Any], began: Mapping[str, Any]) -> None:
    """Raise ValueError for a checkpoint of another run. The error names the differences."""
    own, theirs, trainer, path = checkpoint.identity, state["run"], run.trainer, checkpoint.path
    if "told" not in state:  # an older version saved less of a run
        numbers = {f"model.{name}": value for name, value in settings_of(trainer.model).items()}
        own = {
            name: {**checkpoint.identity, **numbers}.get(name) for name in theirs if name in _ALWAYS or name in numbers
        }
        theirs = {name: theirs[name] for name in own}
    models = {"model": trainer.model, "loss": trainer.loss}
    left = set().union(*(at_defaults(m, name) for name, m in models.items() if isinstance(m, Module)))
    own = {name: value for name, value in own.items() if name in theirs or name not in left}
    # The latest changes of the same objects may not be in the file.
    thawed = own.get("frozen") == state.get("frozen") or began.get("frozen") == theirs.get("frozen")
    if "frozen" in own and thawed:  # a callback froze or thawed parameters during the run
        own = {**own, "frozen": theirs.get("frozen")}
    if found := differences(own, theirs):
        before = state_of(trainer.model, trainer.optimizer)
        # Where layers differ, the error about the weights' names and shapes says most.
        apply_state(path, state, trainer.model, trainer.optimizer)
        apply_state(path, before, trainer.model, trainer.optimizer)
        advice = "To go on with other options, read the weights with sa.load_checkpoint and start a new run"
        raise ValueError(f"{os.fspath(path)} is of another run, nothing was loaded. This one has {found}. {advice}")


def _check(run: Any, state: Mapping[str, Any]) -> None:
    """Refuse entries that no run writes."""
    trainer = run.trainer
    for name in ("epoch", "batch", "first_epoch", "samples"):
        _expect(name, state[name], lambda v: type(v) is int and 0 <= v < 2**62, "an integer of at least 0")
    _expect("batch", state["batch"], lambda v: v <= len(run.loader), f"one of {len(run.loader)} batches")
    told = state.get("told", len(trainer.callbacks))
    _expect("told", told, lambda v: type(v) is int and 0 <= v <= len(trainer.callbacks), "a number of callbacks")
    _expect("seconds", state["seconds"], lambda v: _is_number(v) and 0 <= v < math.inf, "seconds")
    _expect("sums", state["sums"], lambda v: all(map(_is_number, v.values())), "a number for each term")
    _expect("history", state["history"], lambda v: _is_history(v, state["epoch"]), "a number for each epoch")
    _expect("stop", state.get("stop", False), lambda v: isinstance(v, bool), "True or False")  # of older versions
    random.check_random_state(state["random"])
    for name, value in state["settings"].items():
        _expect(f"setting {name}", value, lambda v: _fits(_holder(trainer, name), v), "one of this model's")  # noqa: B023
    modules = {n for n, _ in trainer.model.named_modules()}
    for name in ("evaluating", "lively") if {"evaluating", "lively"} & set(state) else ():  # not of older versions
        _expect(name, state[name], lambda v: type(v) is list and modules.issuperset(v), "names of modules")
    names = {n for n, _ in trainer.model.named_parameters()}
    _expect("frozen", state.get("frozen", []), lambda v: type(v) is list and names.issuperset(v), "parameters' names")
    n, dicts = len(trainer.callbacks), [s for s in state["callbacks"] if isinstance(s, dict)]
    _expect("callbacks", state["callbacks"], lambda v: len(dicts) == len(v) == n, "a dict for each")


def _holder(trainer: Any, name: str) -> tuple[Any, str, Any]:
    """The module of a setting, the attribute's name, and its value. The module is None for an unknown setting."""
    path, _, attribute = name.rpartition(".")
    modules = dict(trainer.model.named_modules())
    if isinstance(trainer.loss, Module):
        modules |= dict(trainer.loss.named_modules("loss"))
    module = modules.get(path)
    attributes = dict(vars(module)) if module is not None else {}
    if hasattr(type(module), attribute) and not attribute.startswith("_"):
        attributes.setdefault(attribute, inspect.getattr_static(type(module), attribute))
    if attribute in NO_SETTINGS or attribute not in attributes or not is_setting(attributes[attribute]):
        return None, attribute, None
    return module, attribute, attributes[attribute]


def _fits(holder: tuple[Any, str, Any], value: Any) -> bool:
    """Whether a run may have saved `value` for a setting. The value must have the setting's kind, or one is None."""
    module, _, now = holder
    if module is None or not is_setting(value):
        return False
    kinds = [_kind(now), _kind(value)]
    if kinds[0] != kinds[1] and "None" not in kinds:
        return False
    try:
        _as_kept(now, value)
    except (OverflowError, ValueError):  # too large for a NumPy number, or NaN for an integer
        return False
    return True


def _as_kept(now: Any, value: Any) -> Any:
    """A setting from a file, in the present type of the attribute."""
    kind = type(now) if isinstance(now, np.number) else tuple if isinstance(now, tuple) else None
    return value if kind is None or value is None else kind(value)


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, (bool, str)):
        return type(value).__name__
    return "list" if isinstance(value, (list, tuple)) else "number"


def _expect(name: str, value: Any, holds: Callable[[Any], bool], wanted: str) -> None:
    if not holds(value):
        raise ValueError(f"{name} is {value!r:.60}; expected {wanted}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_history(value: Any, epochs: int) -> bool:
    """Whether the losses are a list of one number for each epoch. A user's own columns may hold other values."""
    losses = value.get("loss", [])
    return len(losses) == epochs and all(map(_is_number, losses)) and all(isinstance(v, list) for v in value.values())


def _restore_callbacks(callbacks: list[Any], states: list[dict]) -> None:
    """Load the states of all callbacks, or of none."""
    restored: list[tuple[Any, Any]] = []
    for callback, state in zip(callbacks, states, strict=True):
        if not hasattr(callback, "load_state_dict"):
            continue
        before = callback.state_dict() if hasattr(callback, "state_dict") else {}
        try:
            callback.load_state_dict(state)
        except Exception as error:
            for earlier, its_state in restored:
                earlier.load_state_dict(its_state)
            raise ValueError(f"callback {type(callback).__name__}: {error}") from None
        restored.append((callback, before))


def _restore_plugins(plugins: list[Any], states: Mapping[str, Any]) -> None:
    """Load the states of the plug-ins that have one. The plug-ins belong to this run alone, and need no undoing."""
    own = {type(p).__name__: p for p in plugins if hasattr(p, "state_dict")}
    if set(own) != set(states):
        raise ValueError(f"its plug-ins with a state are {sorted(states)}, those of this run {sorted(own)}")
    for name, plugin in own.items():
        plugin.load_state_dict(states[name])


def _restore_place(run: Any, checkpoint: Any, state: Mapping[str, Any]) -> None:
    """Put back the place of the run, and the settings that have changed since the run began."""
    trainer = run.trainer
    frozen = state["run"].get("frozen", checkpoint.identity["frozen"])
    checkpoint.identity = {**checkpoint.identity, "frozen": frozen}
    run.epoch, run.batch, run.first_epoch = state["epoch"], state["batch"], state["first_epoch"]
    run.told = state.get("told", len(trainer.callbacks))
    run.means.sums, run.means.samples, run.seconds = state["sums"], state["samples"], state["seconds"]
    checkpoint.saved_step = run.step
    trainer.history = History(state["history"])
    trainer.stop = state.get("stop", False) or any(getattr(c, "stopped", False) for c in trainer.callbacks)
    random.set_random_state(state["random"])
    for name, p in trainer.model.named_parameters() if "frozen" in state else ():
        p.requires_grad = name not in state["frozen"]
    modules = dict(trainer.model.named_modules())
    if "lively" in state:
        run.lively = {id(modules[name]) for name in state["lively"]}
        for name, module in modules.items():
            module.training = name not in state["evaluating"]
    checkpoint.moving = set(state["settings"])
    for name, value in state["settings"].items():  # such as a beta that warms up
        module, attribute, now = _holder(trainer, name)
        setattr(module, attribute, _as_kept(now, value))
