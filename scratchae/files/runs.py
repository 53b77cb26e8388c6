"""Checkpoints of a run, as a plug-in of training.

A resumed run must end with the same bits as a run without a break. So a checkpoint holds all state that a step reads.
The state is weights, optimiser, random generators, the place in the epoch, the epoch's sums, and the callbacks' state.
`identity_of` gives the properties that must be the same when the run goes on. The properties are the data and their
order, all layers with their options, the loss, and the options of optimiser and callbacks. `resuming.py` loads a
checkpoint.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from scratchae import random
from scratchae.checks import check_bool, check_count
from scratchae.data.loader import DataLoader
from scratchae.files.checkpoint import state_of, write_state
from scratchae.files.disk import check_place, locked
from scratchae.files.identity import frozen, plain, settings_of, structure
from scratchae.files.resuming import restore, state_in
from scratchae.files.storage import FilePath
from scratchae.guards import NotFinite
from scratchae.nn import Module
from scratchae.plugins import Run

_began: Any = weakref.WeakKeyDictionary()  # by model and a checkpoint's path: the identity of the run when it began


def checkpoints_of(run: Run) -> list[Checkpoint]:
    """The plug-in for the checkpoint that `fit` was asked for. Raises ValueError for options out of range."""
    path, every, resume = (run.options[name] for name in ("checkpoint", "checkpoint_every", "resume"))
    if every is not None:
        check_count("checkpoint_every", every)
    if path is None and (resume or every):
        raise ValueError("resume and checkpoint_every need to know the file: checkpoint='run.safetensors'")
    check_bool("resume", resume)
    return [] if path is None else [Checkpoint(path, every, resume)]


class Checkpoint:
    """Saves a run in a file after every epoch and every `every` steps, and resumes the run from the file.

    Attributes:
        path, every, resume: see `Trainer.fit`.
        saved_step: the step of the last checkpoint, or None.
        identity, settings: of the run at its beginning; see `identity_of` and `settings_in`.
        moving: names of the settings that have changed since the beginning.
    """

    def __init__(self, path: FilePath, every: int | None, resume: bool):
        check_place(path)  # before the first epoch, not after the epoch
        self.path, self.every, self.resume = path, every, resume
        self.saved_step: int | None = None
        self.identity: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}
        self.moving: set[str] = set()

    @contextmanager
    def around_fit(self, run: Run) -> Iterator[None]:
        with locked(self.path) if run.first else nullcontext():
            try:
                yield
            except NotFinite as error:
                if self.saved_step is not None and not error.complete:
                    last = f"The last good checkpoint is {self.path}, of step {self.saved_step}"
                    error.args = (f"{error}. {last}",)
                raise

    def begin(self, run: Run) -> None:
        self.settings, self.identity = settings_in(run), identity_of(run)
        began = _began.setdefault(run.trainer.model, {})
        place = os.path.realpath(self.path)
        if self.resume and (state := state_in(run, self.path)) is not None:
            restore(run, self, state, began.get(place, {}))
        began[place] = self.identity

    def between_steps(self, run: Run) -> None:
        if self.every and run.step % self.every == 0 and run.batch < len(run.loader):
            self.save(run)

    def save(self, run: Run) -> None:
        """Write the checkpoint. Weights that are not finite raise an error first."""
        if run.batch and self.saved_step == run.step:
            return  # within an epoch, a step is saved once; at its end, history and callbacks are new
        run.tell("before_save")
        if run.first:
            write_state(self.path, self._state(run), {"epoch": run.epoch, "step": run.step})
        self.saved_step = run.step

    def _state(self, run: Run) -> dict[str, Any]:
        """All state that a run needs to go on."""
        trainer, now = run.trainer, settings_in(run)
        self.moving |= {name for name, value in now.items() if self.settings.get(name) != value}
        return {
            **state_of(trainer.model, trainer.optimizer),
            "loss": trainer.loss.state_dict() if isinstance(trainer.loss, Module) else None,
            "run": self.identity,
            "settings": {name: value for name, value in now.items() if name in self.moving},
            "frozen": frozen(trainer.model),
            "lively": [name for name, module in trainer.model.named_modules() if id(module) in run.lively],
            "evaluating": [name for name, module in trainer.model.named_modules() if not module.training],
            "epoch": run.epoch,
            "batch": run.batch,
            "told": run.told,
            "first_epoch": run.first_epoch,
            "sums": run.means.sums,
            "samples": run.means.samples,
            "seconds": run.seconds,
            "history": trainer.history,
            "random": random.random_state(),
            "callbacks": [c.state_dict() if hasattr(c, "state_dict") else {} for c in trainer.callbacks],
            "plugins": {type(p).__name__: p.state_dict() for p in run.plugins if hasattr(p, "state_dict")},
        }


def identity_of(run: Run) -> dict[str, Any]:
    """The data, model and options of a run, as plain values, without options of callbacks that only write files."""
    trainer, optimizer, loss = run.trainer, run.trainer.optimizer, run.trainer.loss
    callbacks = {
        f"callback {i}, {name}": value
        for i, c in enumerate(trainer.callbacks)
        if not getattr(c, "only_writes", False)
        if isinstance(made_with := getattr(c, "_made_with", None), Mapping)
        for name, value in made_with.items()
    }
    rules = {
        f"optimizer, group {i}, {name}": plain(value)
        for i, group in enumerate(getattr(optimizer, "made_with", ()))
        for name, value in group.items()
    }
    return {
        **{name: getattr(run.loader, name) for name in ("batch_size", "seed", "shuffle", "drop_last")},
        "data": run.loader.fingerprint(),
        "validation": None if run.held_out is None else run.held_out.fingerprint(),
        "callbacks": [type(c).__name__ for c in trainer.callbacks],
        **callbacks,
        **structure(trainer.model),
        **(structure(loss, "loss") if isinstance(loss, Module) else {"loss": plain(loss)}),
        "clip_grad_norm": trainer.clip_grad_norm,
        **_options_in_use(run),
        "frozen": frozen(trainer.model),
        "optimizer": type(optimizer).__name__,
        **rules,
    }


def _options_in_use(run: Run) -> dict[str, Any]:
    """Options that older checkpoints do not have, where these options are not at their defaults."""
    trainer, held_out, weights = run.trainer, run.held_out, run.options.get("sample_weight")
    found = {
        "accumulate": trainer.accumulate if trainer.accumulate > 1 else None,
        "metrics": plain(trainer.metrics) if trainer.metrics else None,
        "transform": plain(run.loader.transform),
        "validation, transform": None if held_out is None else plain(held_out.transform),
        "sample_weight": None if weights is None else DataLoader(weights, 1).fingerprint(),
    }
    return {name: value for name, value in found.items() if value is not None}


def settings_in(run: Run) -> dict[str, Any]:
    """The settings of the model, and of a loss that is a module, as values of JSON."""
    loss = run.trainer.loss
    of_loss = settings_of(loss, "loss") if isinstance(loss, Module) else {}
    return {name: plain(value) for name, value in {**settings_of(run.trainer.model), **of_loss}.items()}
