"""One call of `Trainer.fit`: its data, how far it has come, how it is saved and resumed, and shared by processes.

A run that goes on must end with the bits of one that was never broken off. So a checkpoint holds everything that a step
reads: weights, the optimiser, the random generators, the place in the epoch and its sums, the callbacks' memory. And
`identity` holds what must be the same when the run goes on: the data and their order, the kinds and options of all
layers, the loss, the options of the optimiser and of the callbacks. `resuming.py` puts a checkpoint back.
"""

from __future__ import annotations

import hashlib
import math
import os
import warnings
import weakref
from typing import Any

from scratchae import backend, random
from scratchae.checks import is_finite
from scratchae.data.loader import DataLoader
from scratchae.files.checkpoint import apply_state, non_finite_weights, state_of, write_state
from scratchae.files.identity import frozen, plain, settings_of, structure
from scratchae.files.interrupts import HeldSignals
from scratchae.files.resuming import restore
from scratchae.files.storage import FilePath
from scratchae.history import Means
from scratchae.made import MadeWith
from scratchae.nn import Module

began: Any = weakref.WeakKeyDictionary()  # what the run of a model and a checkpoint's path was when it began


class Run:
    """The data of one `fit`, where its checkpoints go, and how far it has come.

    Attributes:
        epoch: number of complete epochs; `batch`, `means` and `seconds` are of the one in progress.
        told: how many callbacks have seen the last complete epoch.
        part: (rank, size), the process's part of each batch; `device` is where batches go.
        asked: the signal that some process had at the last step, for all to end there.
        replay: gpu.replay.Steps, where steps are replayed.
    """

    def __init__(
        self,
        trainer: Any,
        loader: DataLoader,
        held_out: DataLoader | None,
        checkpoint: FilePath | None,
        every: int | None,
        device: str,
    ):
        self.trainer, self.loader, self.held_out = trainer, loader, held_out
        self.checkpoint, self.every, self.device = checkpoint, every, device
        self.part = self.part_of(loader)
        self.first_epoch = loader.epoch  # the loader's own count, when the run began
        self.epoch, self.batch, self.means, self.seconds = 0, 0, Means(), 0.0
        self.told = 0
        self.saved_step: int | None = None
        self.signals = HeldSignals()
        self.asked: int | None = None
        self.replay: Any = None
        self.identity: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}  # as they were when the run began
        self.moving: set[str] = set()  # those of the settings that have changed since
        # A model that is frozen and yet in train mode when the run begins wants its batch statistics.
        self.lively = {id(m) for m in trainer.model.modules() if _is_frozen(m) and m.training}
        self.warned = False

    def part_of(self, loader: DataLoader) -> tuple[int, int]:
        """(rank, size): the part of each batch that this process takes."""
        world = self.trainer.world
        return (world.rank, world.size) if world.size > 1 else loader.part

    def train_mode(self) -> None:
        """Train mode for all modules but those that were put aside: frozen, and in eval mode."""
        model = self.trainer.model
        aside = [m for m in model.modules() if _is_frozen(m) and not m.training and id(m) not in self.lively]
        resting = [m for top in aside for m in top.modules()]
        model.train()
        for module in resting:
            module.training = False

    @property
    def step(self) -> int:
        return self.epoch * len(self.loader) + self.batch

    def begin(self, epochs: int, resume: bool) -> None:
        """Know what this run is, agree on it with the other processes, and go on from the checkpoint if asked to."""
        trainer, world = self.trainer, self.trainer.world
        given = {"epochs": epochs, "resume": resume, "checkpoint": self.checkpoint is not None}
        world.agree({**given, "checkpoint_every": self.every, "validation": self.held_out is not None})
        self.settings = self._settings()
        self.identity = self._made_of()
        start = world.share(
            {**state_of(trainer.model, trainer.optimizer), "random": random.random_state(), "seed": self.loader.seed}
            if world.size > 1
            else None
        )
        if start is not None:
            self.loader.seed = start["seed"]  # one that was drawn differs
        if start is not None or self.checkpoint is not None:
            order = {name: getattr(self.loader, name) for name in ("batch_size", "seed", "shuffle", "drop_last")}
            validation = None if self.held_out is None else self.held_out.fingerprint()
            self.identity = {**order, "data": self.loader.fingerprint(), "validation": validation, **self.identity}
        if start is not None:
            self._agree()
            apply_state("process 0", start, trainer.model, trainer.optimizer)
            random.set_random_state(start["random"])
        if resume and self.checkpoint is not None and world.share(os.path.exists(self.checkpoint)):
            restore(self, self.checkpoint, began.get(trainer.model, {}).get(os.path.realpath(self.checkpoint), {}))
        if self.checkpoint is not None:
            began.setdefault(trainer.model, {})[os.path.realpath(self.checkpoint)] = self.identity

    def _made_of(self) -> dict[str, Any]:
        """What the run was made with, as plain values. Of callbacks that only write files, the options may change."""
        trainer, optimizer = self.trainer, self.trainer.optimizer
        callbacks = {
            f"callback {i}, {name}": value
            for i, c in enumerate(trainer.callbacks)
            if isinstance(c, MadeWith) and not getattr(c, "only_writes", False)
            for name, value in c._made_with.items()
        }
        rules = {
            f"optimizer, group {i}, {name}": plain(value)
            for i, group in enumerate(getattr(optimizer, "made_with", ()))
            for name, value in group.items()
        }
        return {
            "callbacks": [type(c).__name__ for c in trainer.callbacks],
            **callbacks,
            **structure(trainer.model),
            **trainer._loss_identity,
            "clip_grad_norm": trainer._clip,
            "frozen": frozen(trainer.model),
            "optimizer": type(optimizer).__name__,
            **rules,
        }

    def _settings(self) -> dict[str, Any]:
        """As JSON has them; of the loss too, where that is a module."""
        loss = self.trainer._loss
        of_loss = settings_of(loss, "loss") if isinstance(loss, Module) else {}
        return {name: plain(value) for name, value in {**settings_of(self.trainer.model), **of_loss}.items()}

    def _agree(self) -> None:
        """Find out that all processes do the same."""
        trainer, world, loader = self.trainer, self.trainer.world, self.loader
        shapes = {f"model.{n}": f"{p.dtype} {p.shape}" for n, p in trainer.model.named_parameters()}
        groups = trainer.optimizer.param_groups
        now = {f"optimizer.{k}": plain(v) for group in groups for k, v in group.items() if k != "params"}
        world.agree({**{f"{name}, shape": s for name, s in shapes.items()}, **self.identity, **now})
        if (least := min(map(loader.batch_length, range(len(loader))))) < world.size:
            raise ValueError(
                f"the smallest batch has {least} samples for {world.size} processes; choose another batch_size, or "
                "leave the last batch out with a DataLoader(..., drop_last=True)"
            )

    def next_epoch(self, row: dict[str, float]) -> None:
        """The epoch in progress is complete, and `row` what it gave."""
        trainer = self.trainer
        self.check_weights()
        if trainer.world.size > 1:
            trainer.world.agree({f"the weights after epoch {self.epoch + 1}": _digest(trainer.model)})
        trainer.history.append(row)
        self.epoch, self.batch, self.means, self.seconds, self.told = self.epoch + 1, 0, Means(), 0.0, 0

    def check_weights(self) -> None:
        """FloatingPointError where an update has made a parameter infinite or NaN."""
        trainer = self.trainer
        if all(map(is_finite, trainer.optimizer.values())):  # few arrays: on a GPU each look waits
            return
        if names := non_finite_weights(trainer.model, trainer.optimizer):
            error = FloatingPointError(
                f"the weights {', '.join(names[:3])} are not finite after step {self.step}: an update has overflowed. "
                "Lower the learning rate, or clip gradients with Trainer(..., clip_grad_norm=1.0)"
            )
            raise self.with_checkpoint(error)

    def warn_if_not_finite(self, row: dict[str, float]) -> None:
        """Tell, once in a run, that a number of the validation is NaN or infinite."""
        held_out = {name: value for name, value in row.items() if name.startswith("val_")}
        bad = [f"{name} is {value}" for name, value in held_out.items() if not math.isfinite(value)]
        if bad and not self.warned:
            self.warned = True
            warnings.warn(
                f"epoch {self.epoch}: {', '.join(bad)}. Look for NaN in the validation data", RuntimeWarning,
                stacklevel=4,
            )  # fmt: skip

    def catch_up(self, wait: bool = True) -> None:
        """Take in the losses of the steps that were replayed: of all, or of those that have arrived."""
        if self.replay is None:
            return
        try:
            rows = self.replay.read(wait)
        except FloatingPointError as error:
            raise self.with_checkpoint(error) from None
        for i, terms in enumerate(rows, self.batch - len(self.replay.asked) - len(rows)):
            self.means.add(terms, self.loader.batch_length(i))

    def with_checkpoint(self, error: FloatingPointError) -> FloatingPointError:
        if self.saved_step is None:
            return error
        return FloatingPointError(f"{error}. The last good checkpoint is {self.checkpoint}, of step {self.saved_step}")

    # --- breaking off ---

    def end_if_asked(self) -> bool:
        """Save and end, as Ctrl-C or SIGTERM asked for; in all processes, if one was asked.

        Returns whether there was a signal whose handler, one of the script's own, came back.
        """
        world, signals = self.trainer.world, self.signals
        if world.size > 1:
            signals.pending = max(world.gather(signals.pending or 0)) or None
        if signals.pending is None:
            return False
        self.save()
        world.share(None)  # nobody leaves while the first one writes
        signals.act()
        return True

    def save(self) -> None:
        """Write the checkpoint, if there is to be one; never with weights that are not finite."""
        if self.checkpoint is None or (self.batch and self.saved_step == self.step):
            return  # within an epoch, a step is saved once; at its end, history and callbacks are new
        self.catch_up()
        self.check_weights()
        if self.trainer.world.rank == 0:
            write_state(self.checkpoint, self._state(), {"epoch": self.epoch, "step": self.step})
        self.saved_step = self.step

    def _state(self) -> dict[str, Any]:
        """All that it takes to go on."""
        trainer, now = self.trainer, self._settings()
        self.moving |= {name for name, value in now.items() if self.settings.get(name) != value}
        loss = trainer._loss.state_dict() if isinstance(trainer._loss, Module) else None
        return {
            **state_of(trainer.model, trainer.optimizer),
            "loss": loss,
            "run": self.identity,
            "settings": {name: value for name, value in now.items() if name in self.moving},
            "frozen": frozen(trainer.model),
            "lively": [name for name, module in trainer.model.named_modules() if id(module) in self.lively],
            "evaluating": [name for name, module in trainer.model.named_modules() if not module.training],
            "epoch": self.epoch,
            "batch": self.batch,
            "told": self.told,
            "first_epoch": self.first_epoch,
            "sums": self.means.sums,
            "samples": self.means.samples,
            "seconds": self.seconds,
            "history": trainer.history,
            "random": random.random_state(),
            "callbacks": [c.state_dict() if hasattr(c, "state_dict") else {} for c in trainer.callbacks],
        }


def _is_frozen(module: Module) -> bool:
    """Whether a module has parameters, and none of them is trained."""
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)


def _digest(model: Module) -> str:
    """A hash of the weights, to find out that no process has drifted away."""
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(backend.to_device(value, "cpu").tobytes())
    return digest.hexdigest()
