"""One call of `Trainer.fit`: its data, how far it has come, how it is saved and resumed, and shared by processes.

A run that goes on must end with the bits of one that was never broken off. So a checkpoint holds everything that a step
reads: weights, the optimiser, the random generators, the place in the epoch and its sums, the callbacks' memory. And
`identity` holds what must be the same when it goes on: the data and their order, the layers' options, the callbacks.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from scratchae import backend, random
from scratchae.checkpoint import apply_state, read_state, state_of, write_state
from scratchae.data import DataLoader
from scratchae.history import History, Means
from scratchae.interrupts import HeldSignals
from scratchae.nn import Module
from scratchae.storage import FilePath


class Run:
    """The data of one `fit`, where its checkpoints go, and how far it has come.

    Attributes:
        epoch: number of complete epochs; `batch`, `means` and `seconds` are of the one in progress.
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
    ):
        self.trainer, self.loader, self.held_out = trainer, loader, held_out
        self.checkpoint, self.every = checkpoint, every
        self.first_epoch = loader.epoch  # the loader's own count, when the run began
        self.epoch, self.batch, self.means, self.seconds = 0, 0, Means(), 0.0
        self.saved_step: int | None = None
        self.signals = HeldSignals()
        self.asked: int | None = None
        self.replay: Any = None
        self.identity: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}

    @property
    def step(self) -> int:
        return self.epoch * len(self.loader) + self.batch

    def begin(self, epochs: int, resume: bool) -> None:
        """Know what this run is, agree on it with the other processes, and go on from the checkpoint if asked to."""
        trainer, world = self.trainer, self.trainer.world
        self.settings = _settings(trainer.model)
        own = {f"model.{name}": value for name, value in _settings(trainer.model, ours=True).items()}
        self.identity = {"callbacks": [type(c).__name__ for c in trainer.callbacks], **own}
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
            self.identity |= {**order, "data": self.loader.fingerprint(), "validation": validation}
        if start is not None:
            self._agree(epochs)
            apply_state("process 0", start, trainer.model, trainer.optimizer)
            random.set_random_state(start["random"])
        if resume and self.checkpoint is not None and world.share(os.path.exists(self.checkpoint)):
            self._resume(self.checkpoint)

    def _agree(self, epochs: int) -> None:
        """Find out that all processes do the same."""
        trainer, world, loader = self.trainer, self.trainer.world, self.loader
        shapes = {f"model.{n}": f"{p.dtype} {p.shape}" for n, p in trainer.model.named_parameters()}
        groups = trainer.optimizer.param_groups
        rules = {f"optimizer.{k}": v for group in groups for k, v in group.items() if k != "params"}
        kind = type(trainer.optimizer).__name__
        world.agree({**shapes, **self.identity, **rules, "epochs": epochs, "optimizer": kind})
        if (least := min(map(loader.batch_length, range(len(loader))))) < world.size:
            raise ValueError(
                f"the smallest batch has {least} samples for {world.size} processes; choose another batch_size, or "
                "leave the last batch out with a DataLoader(..., drop_last=True)"
            )

    @contextmanager
    def batches_here(self, device: str) -> Iterator[None]:
        """Inside, the loaders give this process's part of each batch, on `device` unless they have one."""
        world = self.trainer.world
        with ExitStack() as stack:
            for loader in filter(None, (self.loader, self.held_out)):
                part = (world.rank, world.size) if world.size > 1 else loader.part
                stack.enter_context(loader.giving(loader.device or device, part))
            yield

    def next_epoch(self, row: dict[str, float]) -> None:
        """The epoch in progress is complete, and `row` what it gave."""
        trainer = self.trainer
        if trainer.world.size > 1:
            trainer.world.agree({f"the weights after epoch {self.epoch + 1}": _digest(trainer.model)})
        trainer.history.append(row)
        self.epoch, self.batch, self.means, self.seconds = self.epoch + 1, 0, Means(), 0.0

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

    # --- breaking off and going on ---

    def end_if_asked(self) -> None:
        """Save and end, as Ctrl-C or SIGTERM asked for; in all processes, if one was asked."""
        world, signals = self.trainer.world, self.signals
        if world.size > 1:
            signals.pending = max(world.gather(signals.pending or 0)) or None
        if signals.pending is not None:
            self.save()
            world.share(None)  # nobody leaves while the first one writes
            signals.act()

    def save(self) -> None:
        """Write the checkpoint, if there is to be one."""
        if self.checkpoint is None or (self.batch and self.saved_step == self.step):
            return  # within an epoch, a step is saved once; at its end, history and callbacks are new
        self.catch_up()
        if self.trainer.world.rank == 0:
            write_state(self.checkpoint, self._state(), {"epoch": self.epoch, "step": self.step})
        self.saved_step = self.step

    def _state(self) -> dict[str, Any]:
        """All that it takes to go on."""
        trainer = self.trainer
        return {
            **state_of(trainer.model, trainer.optimizer),
            "run": self.identity,
            "settings": {k: v for k, v in _settings(trainer.model).items() if self.settings.get(k) != v},
            "epoch": self.epoch,
            "batch": self.batch,
            "first_epoch": self.first_epoch,
            "sums": self.means.sums,
            "samples": self.means.samples,
            "seconds": self.seconds,
            "stop": trainer.stop,
            "history": trainer.history,
            "random": random.random_state(),
            "callbacks": [c.state_dict() if hasattr(c, "state_dict") else {} for c in trainer.callbacks],
        }

    def _resume(self, path: FilePath) -> None:
        """Put everything where `_state` found it; ValueError, with nothing changed, for another run's checkpoint."""
        trainer = self.trainer
        state = trainer.world.share(read_state(path)[0] if trainer.world.rank == 0 else None)
        if "run" not in state:
            raise ValueError(f"{os.fspath(path)} was not written by Trainer.fit; see load_checkpoint for such files")
        own, theirs = self.identity, state["run"]
        before = state_of(trainer.model, trainer.optimizer)
        if own.keys() != theirs.keys():  # other layers: told best by their weights, if they have any
            apply_state(path, state, trainer.model, trainer.optimizer)
            apply_state(path, before, trainer.model, trainer.optimizer)
        if names := [name for name in {**own, **theirs} if own.get(name) != theirs.get(name)]:
            listed = "; ".join(f"{name} {own.get(name)!r}, not {theirs.get(name)!r}" for name in names)
            raise ValueError(f"{os.fspath(path)} is of another run, nothing was loaded. This one has {listed}")
        apply_state(path, state, trainer.model, trainer.optimizer)
        for callback, its_state in zip(trainer.callbacks, state["callbacks"], strict=True):
            try:
                if hasattr(callback, "load_state_dict"):
                    callback.load_state_dict(its_state)
            except Exception as error:
                apply_state(path, before, trainer.model, trainer.optimizer)
                where = f"{os.fspath(path)} is of another run: callback {type(callback).__name__}"
                raise ValueError(f"{where}: {error}; nothing was loaded") from None
        self.epoch, self.batch, self.first_epoch = state["epoch"], state["batch"], state["first_epoch"]
        self.means.sums, self.means.samples, self.seconds = state["sums"], state["samples"], state["seconds"]
        self.saved_step = self.step
        trainer.stop, trainer.history = state["stop"], History(state["history"])
        random.set_random_state(state["random"])
        modules = dict(trainer.model.named_modules())
        for name, value in state["settings"].items():  # those that changed while it ran: a beta that warms up, say
            path_to, _, attribute = name.rpartition(".")
            setattr(modules[path_to], attribute, value)


def _settings(model: Module, ours: bool = False) -> dict[str, Any]:
    """Numbers and strings among the attributes of all modules (or those of our own classes): beta, decoder.2.p, ..."""
    return {
        f"{path}.{name}" if path else name: value
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, (int, float, str))
        and name != "training"
        and (not ours or type(module).__module__.startswith("scratchae."))
    }


def _digest(model: Module) -> str:
    """A hash of the weights, to find out that no process has drifted away."""
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(backend.to_device(value, "cpu").tobytes())
    return digest.hexdigest()
