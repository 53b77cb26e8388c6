"""Training by several processes: a plug-in, and the parts of the loop that all processes do together.

Each process computes its rows of every batch. The sum of the gradients over the processes is then the gradient of the
whole batch. All processes get the same bits of the sum, and so have the same weights after the step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np

from scratchae import backend, random
from scratchae.data.loader import DataLoader
from scratchae.distributed.parts import batch_share, part_of_batch, rows_of
from scratchae.distributed.processes import World, init
from scratchae.files.checkpoint import apply_state, state_of
from scratchae.files.identity import plain
from scratchae.files.interrupts import HELD, HeldSignals, Signals
from scratchae.files.runs import identity_of
from scratchae.history import Means
from scratchae.nn import Module
from scratchae.plugins import Run
from scratchae.training import numbers_of, samples_of

Function = Callable[..., Any]


def sharing_of(run: Run) -> list[Sharing]:
    """The plug-in where several processes train, or where a loader gives a part of each batch."""
    return [] if part_of(run, run.loader) == (0, 1) else [Sharing(run)]


def part_of(run: Run, loader: DataLoader) -> tuple[int, int]:
    """(rank, size): the part of each batch that this process takes."""
    world = run.trainer.world
    return (world.rank, world.size) if world.size > 1 else loader.part


class Sharing:
    """Sums losses, signals and gradients over the processes, and makes sure that all processes do the same.

    `asked` is the signal that a process had at the last step; `at_step` is True until `asked` was read.
    """

    def __init__(self, run: Run):
        self.world: World = run.trainer.world
        self.asked: int | None = None
        self.at_step = False
        run.first = self.world.rank == 0

    def around_fit(self, run: Run) -> AbstractContextManager[None]:
        return self.world.together()

    def begin(self, run: Run) -> None:
        """Start from the first process's weights and random numbers; ValueError where the processes differ."""
        if self.world.size == 1:
            return
        trainer, loader, options = run.trainer, run.loader, run.options
        given = {name: options[name] for name in ("epochs", "resume", "checkpoint_every")}
        files = {"checkpoint": options["checkpoint"] is not None, "validation": run.held_out is not None}
        self.world.agree({**given, **files})
        loaders = [loader, *([] if run.held_out is None else [run.held_out])]
        seeds = [each.seed for each in loaders]
        start = {**state_of(trainer.model, trainer.optimizer), "random": random.random_state(), "seeds": seeds}
        start = self.world.share(start)
        for each, seed in zip(loaders, start["seeds"], strict=True):
            each.seed = seed  # drawn seeds differ
        shapes = {f"model.{n}, shape": f"{p.dtype} {p.shape}" for n, p in trainer.model.named_parameters()}
        groups = trainer.optimizer.param_groups
        now = {f"optimizer.{k}": plain(v) for group in groups for k, v in group.items() if k != "params"}
        self.world.agree({**shapes, **identity_of(run), **now})
        if (least := min(map(loader.batch_length, range(len(loader))))) < self.world.size:
            raise ValueError(
                f"the smallest batch has {least} samples for {self.world.size} processes; choose another batch_size, "
                "or leave the last batch out with a DataLoader(..., drop_last=True)"
            )
        apply_state("process 0", start, trainer.model, trainer.optimizer)
        random.set_random_state(start["random"])

    @contextmanager
    def around_step(self, run: Run) -> Iterator[None]:
        n = run.loader.batch_length(run.batch)
        with ExitStack() as self.forward:
            self.forward.enter_context(part_of_batch(rows_of(n, *part_of(run, run.loader)), n))
            yield

    def after_forward(self, run: Run) -> None:
        """Begin to sum the losses. The sum goes on during the backward pass."""
        share, signals = batch_share(), _plugin(run, Signals)
        self.forward.close()
        if share != 1:
            run.loss = run.loss * share
        if self.world.size == 1:  # the loader's own part: no other process has the rest
            return
        asked = [signals.held.pending == number for number in HELD]
        self.names = list(run.numbers)
        self.arrived = self.world.start_sum(np.array([*(share * v for v in run.numbers.values()), *asked]))
        run.numbers = {}  # not known yet

    def after_backward(self, run: Run) -> None:
        if self.world.size == 1:
            return
        *values, interrupted, terminated = self.arrived().tolist()
        run.numbers = dict(zip(self.names, values, strict=True))
        self.asked, self.at_step = HELD[0] if interrupted else HELD[1] if terminated else None, True
        for gradients in run.trainer.optimizer.gradients():
            self.world.sum(gradients)

    def end_epoch(self, run: Run) -> None:
        """Raise ValueError if the weights differ between processes."""
        run.row = self.world.share(run.row)
        if self.world.size > 1:
            self.world.agree({f"the weights after epoch {run.epoch + 1}": _digest(run.trainer.model)})

    def around_callbacks(self, run: Run) -> AbstractContextManager[None]:
        return self.world.together()  # while the first process writes, the others wait for it

    def after_epoch(self, run: Run) -> None:
        run.trainer.stop = any(self.world.gather(run.trainer.stop))  # a callback may stop by the clock

    def before_end(self, run: Run) -> None:
        self.world.share(None)  # no process leaves while the first one writes


def _plugin(run: Run, kind: type) -> Any:
    """The plug-in of class `kind`, or None."""
    return next((plugin for plugin in run.plugins if isinstance(plugin, kind)), None)


def _digest(model: Module) -> str:
    """A hash of the weights, to compare the processes."""
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(backend.to_device(value, "cpu").tobytes())
    return digest.hexdigest()


# --- attached to training and to files/ by distributed/attach.py ----------------------------------


def joined(alone: Function) -> Function:
    """`training.processes`."""
    return lambda distributed: init() if distributed else World()


def part_of_batches(whole: Function) -> Function:
    """`training.remaining_batches`: this process's part of each batch."""

    def batches_of(run: Run) -> Iterator[Any]:
        part = part_of(run, run.loader)
        return run.loader.placed(run.first_epoch + run.epoch, run.batch, part=part, device=run.device)

    return batches_of


def summed(alone: Function) -> Function:
    """`training.totals_of`: each process evaluates its part of each batch, and the totals are added up."""

    def totals_of(run: Run, loader: DataLoader) -> Means:
        part = part_of(run, loader) if run.plugins else loader.part  # outside of `fit`, a process may evaluate alone
        if part == (0, 1):
            return alone(run, loader)
        own, totals = Means(), Means()
        for i, batch in enumerate(loader.placed(0, part=part, device=run.device)):
            rows = rows_of(loader.batch_length(i), *part)
            if n := samples_of(batch):  # a process may get no row of a short last batch
                with part_of_batch(rows, loader.batch_length(i)):
                    own.add(numbers_of(run.trainer._terms(batch)), n)
            if run.tell("breaks_off"):
                break
        for its_part in run.trainer.world.gather(own):
            totals.samples += its_part.samples
            for name, total in its_part.sums.items():
                totals.sums[name] = totals.sums.get(name, 0.0) + total
        return totals

    return totals_of


def read_by_the_first(alone: Function) -> Function:
    """`resuming.state_in`: the first process reads the state and sends it to the other processes."""

    def state_in(run: Run, path: Any) -> Any:
        world = run.trainer.world
        return world.share(alone(run, path) if world.rank == 0 else None)

    return state_in


def agreed(alone: Function) -> Function:
    """`interrupts.asked`: a signal to one process is a signal to all processes."""

    def asked(run: Run, held: HeldSignals) -> int | None:
        sharing = _plugin(run, Sharing)
        if sharing is None or sharing.world.size == 1:
            return alone(run, held)
        nothing_to_ask = sharing.at_step and sharing.asked is None
        sharing.at_step = False
        if nothing_to_ask:
            return None
        held.pending = max(sharing.world.gather(held.pending or 0)) or None
        return held.pending

    return asked
