"""Trainer: the loop over epochs and batches, with progress, validation, checkpoints and a history.

What it does at each step is four lines that anybody can write:

    loss = sum(model.loss_terms(batch).values())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scratchae import backend
from scratchae import distributed as _distributed
from scratchae.autograd import Tensor, no_grad
from scratchae.autograd.modes import watchers
from scratchae.callbacks import Callback
from scratchae.checkpoint import apply_state, read_state, state_of, write_state
from scratchae.data import DataLoader
from scratchae.gpu.replay import Steps, replayable, training_stream
from scratchae.history import History, Means
from scratchae.interrupts import HELD, HeldSignals
from scratchae.nn import Module
from scratchae.nn.module import evaluating
from scratchae.optim import Optimizer, clip_grad_norm
from scratchae.optim.base import check_number
from scratchae.storage import FilePath


@dataclass
class _Run:
    """One call of `fit`: its data, where its checkpoints go, and how far it has come."""

    loader: DataLoader
    held_out: DataLoader | None
    checkpoint: FilePath | None
    every: int | None
    first_epoch: int  # the loader's, when the run began
    epoch: int = 0  # complete ones
    batch: int = 0  # of the epoch in progress, as are the next two
    means: Means = field(default_factory=Means)
    seconds: float = 0.0
    saved_step: int | None = None
    signals: HeldSignals = field(default_factory=HeldSignals)
    asked: int | None = None  # the signal that some process had at the last step, for all to end there
    replay: Any = None  # gpu.replay.Steps, where steps can be replayed
    identity: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)  # the model's, at the start

    def __post_init__(self) -> None:
        if self.checkpoint is not None:
            self.identify()

    def identify(self) -> None:
        """What a checkpoint's run, or another process, must have in common with this one."""
        settings = {name: getattr(self.loader, name) for name in ("batch_size", "seed", "shuffle", "drop_last")}
        validation = None if self.held_out is None else self.held_out.fingerprint()
        self.identity |= {**settings, "data": self.loader.fingerprint(), "validation": validation}

    @property
    def step(self) -> int:
        return self.epoch * len(self.loader) + self.batch


class Trainer:
    """Trains a model by mini-batches.

    Args:
        model: has `loss_terms(*batch)` giving a dict of scalars (every autoencoder here), or any Module
            if `loss` is given.
        optimizer: over the model's parameters.
        callbacks: called in order after each epoch.
        loss: a function of (model(inputs), targets), in place of the model's own loss terms; batches are then pairs
            (inputs, targets).
        clip_grad_norm: scale gradients down to this joint norm before each step.
        distributed: share each batch among the processes that `mpirun` started (see distributed.py). All must make
            the same model and data; they go on from the first one's weights, and end with the same bits as each other.
            Files are written by the first.

    `history` is there during and after `fit`, also after an interruption.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        callbacks: Iterable[Callback] = (),
        loss: Callable[[Any, Any], Any] | None = None,
        clip_grad_norm: float | None = None,
        distributed: bool = False,
    ):
        if clip_grad_norm is not None:
            check_number("clip_grad_norm", clip_grad_norm)
        if loss is None and not hasattr(model, "loss_terms"):
            raise TypeError(f"{type(model).__name__} has no loss_terms(); pass a loss: Trainer(..., loss=F.mse_loss)")
        moved = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not any(id(p) in moved for p in model.parameters()):
            raise ValueError("the optimiser holds none of the model's parameters; make it from model.parameters()")
        self.model, self.optimizer, self.callbacks, self._loss = model, optimizer, list(callbacks), loss
        self._clip = clip_grad_norm
        self.world = _distributed.init() if distributed else _distributed.World()
        for callback in self.callbacks:
            if not hasattr(callback, "on_epoch_end"):
                name = type(callback).__name__
                raise TypeError(f"callback {name} has no on_epoch_end(); wrap learning-rate schedules in Schedule(...)")
        self.history = History()
        self.stop = False
        self.validates = False  # whether the `fit` in progress has a validation set

    def fit(
        self,
        images: Any,
        validation: Any = None,
        epochs: int = 1,
        batch_size: int = 64,
        shuffle: bool = True,
        seed: int = 0,
        checkpoint: FilePath | None = None,
        resume: bool = False,
        progress: bool = True,
        checkpoint_every: int | None = None,
    ) -> History:
        """Train for `epochs` passes over `images`.

        Args:
            images: an array or memory map (n, ...), a tuple of them for (noisy, clean) or (inputs,
                targets), or a DataLoader, which then decides batch size and order itself.
            validation: the same kinds; its loss is taken after each epoch, in eval mode, under a fixed
                seed, and does not touch the random generators.
            epochs, batch_size, shuffle, seed: the order of epoch e follows from (seed, e), in every `fit` anew.
                `epochs` counts those before a resumption too.
            checkpoint: a file that gets the whole state after every epoch, and at an interruption; an older one is
                replaced. It is for going on: it holds the last weights, where early stopping may restore the best.
            resume: go on from that file, to the same weights as without the break; start afresh where there is none.
                The optimiser's options, the learning rate too, come from the file.
            progress: show a bar in a terminal, one line per epoch elsewhere.
            checkpoint_every: write the checkpoint every so many steps too.

        Ctrl-C and SIGTERM finish the step, save, and then end the script in their usual ways; a second one does not
        wait. Raises ValueError for an empty set, numbers out of range, or a checkpoint of another model, other data
        or settings; and FloatingPointError, before the weights change, when a loss or a gradient is not finite.
        """
        for name, count in (("epochs", epochs), ("checkpoint_every", checkpoint_every)):
            if count is not None and (not isinstance(count, (int, np.integer)) or count < 1):
                raise ValueError(f"{name}={count!r}; expected an integer of at least 1")
        if checkpoint is None and (resume or checkpoint_every):
            raise ValueError("resume and checkpoint_every need to know the file: checkpoint='run.safetensors'")
        loader = _loader(images, batch_size, shuffle, seed)
        held_out = None if validation is None else _loader(validation, batch_size, False, seed)
        run = _Run(loader, held_out, checkpoint, checkpoint_every, loader.epoch)
        if checkpoint is not None:
            _check_place(checkpoint)
        progress = progress and self.world.rank == 0
        self.history, self.stop, self.validates = History(), False, held_out is not None
        self._tell("on_fit_begin")
        run.settings = _settings(self.model)
        run.identity["callbacks"] = [type(c).__name__ for c in self.callbacks]
        run.identity |= {f"model.{name}": value for name, value in _settings(self.model, ours=True).items()}
        if self.world.size > 1:
            self._join(run, epochs)
        if resume and checkpoint is not None and self.world.share(os.path.exists(checkpoint)):
            self._resume(run, checkpoint)
        what = f"a step of {type(self.model).__name__} on a batch of {loader.batch_size} samples"
        device = self._device()
        with run.signals, backend.told_when_full(what), training_stream(device), ExitStack() as batches:
            for data in filter(None, (loader, held_out)):
                batches.enter_context(data.on(data.device or device))
            self._epochs(run, epochs, progress)
        self._tell("on_fit_end")
        return self.history

    def _epochs(self, run: _Run, epochs: int, progress: bool) -> None:
        run.replay = self._replay()
        try:
            while run.epoch < epochs and not self.stop:
                title = f"epoch {run.epoch + 1}/{epochs}"
                row = self.world.share(self._epoch(run, title, progress))
                if self.world.size > 1:
                    self.world.agree({f"the weights after {title}": self._digest()})
                self.history.append(row)
                run.epoch, run.batch, run.means, run.seconds = run.epoch + 1, 0, Means(), 0.0
                if progress and not _watched():
                    print(f"{title}  {_text(row)}  {row['seconds']:.1f} s", flush=True)
                try:
                    self._tell("on_epoch_end", row)
                finally:  # an epoch is not lost to a picture that could not be written
                    self._save(run)
                self.stop = any(self.world.gather(self.stop))  # a callback may go by the clock
                self._end_if_asked(run)
        finally:
            run.replay = None  # and with it the memory of its graph

    def evaluate(self, data: Any, batch_size: int = 256) -> dict[str, float]:
        """The mean loss and its terms over `data`, in eval mode and without a graph.

        Randomness in it comes from a fixed seed, and the generators go on afterwards where they were.
        """
        return self._evaluate(_loader(data, batch_size, False, 0), HeldSignals())

    def _evaluate(self, loader: DataLoader, signals: HeldSignals) -> dict[str, float]:
        totals = Means()
        epoch, loader.epoch = loader.epoch, 0  # a shuffled one gives the same batches each time, too
        with evaluating(self.model), no_grad(), backend.fixed_seed(0), backend.current(self._device()):
            for i, batch in enumerate(loader):
                if n := len(_first(batch)):  # of a short last batch, a process may get nothing
                    with _part_of(loader, i):
                        totals.add(_numbers(self._terms(batch)), n)
                if signals.pending is not None:
                    break
        loader.epoch = epoch
        if loader.part != (0, 1):
            own, totals = totals, Means()
            for part in self.world.gather(own):
                totals.join(part)
        return totals.means()

    def _tell(self, moment: str, *news: Any) -> None:
        for callback in self.callbacks:
            # any object with on_epoch_end will do
            if hasattr(callback, moment) and not (self.world.rank and getattr(callback, "only_writes", False)):
                getattr(callback, moment)(self, *news)

    def _epoch(self, run: _Run, title: str, progress: bool) -> dict[str, float]:
        """The rest of an epoch, then the validation; the numbers that go into the history."""
        from tqdm.auto import tqdm  # a widget in a notebook

        loader = run.loader
        loader.epoch, loader.skip = run.first_epoch + run.epoch, run.batch
        buffers = self.model.train().buffer_places()
        named = list(self.model.named_parameters())
        hidden = not (progress and _watched())
        start = time.perf_counter() - run.seconds
        if run.replay is not None:
            run.replay.begin_epoch()
        with tqdm(desc=title, total=len(loader), initial=run.batch, disable=hidden, unit="batch") as bar:
            for batch in loader:
                if run.replay is None or not run.replay.take(batch, run.step + 1):
                    self._catch_up(run)
                    run.means.add(self._step(batch, run, named, buffers), loader.batch_length(run.batch))
                run.batch += 1
                run.seconds = time.perf_counter() - start
                if run.every and run.step % run.every == 0 and run.batch < len(loader):
                    self._save(run)
                if self.world.size == 1 or run.asked is not None:
                    self._end_if_asked(run)
                bar.update()
                if run.batch % 64 == 1:
                    self._catch_up(run, wait=False)
                    bar.set_postfix_str(_text(run.means.means()) if run.means.samples else "", refresh=False)
            self._catch_up(run)
            run.seconds = time.perf_counter() - start
            row = run.means.means()
            if run.held_out is not None:
                row |= {f"val_{name}": value for name, value in self._evaluate(run.held_out, run.signals).items()}
                self._end_if_asked(run)
            bar.set_postfix_str(_text(row))
        return row | {"seconds": run.seconds, "images_per_second": _samples(loader) / run.seconds}

    def _step(self, batch: Any, run: _Run, named: list, buffers: list) -> dict[str, float]:
        """Forward, backward, update; FloatingPointError before the update where something is not finite."""
        before = [getattr(module, name).copy() for module, name in buffers]
        try:
            with _part_of(run.loader, run.batch):
                terms, share = self._terms(batch), backend.batch_share()
            numbers = _numbers(terms)
            if self.world.size == 1:
                _check_finite_loss(numbers, run.step + 1)
            else:  # what is small travels while the backward pass runs
                asked = [run.signals.pending == number for number in HELD]
                arrived = self.world.start_sum(np.array([*(share * v for v in numbers.values()), *asked]))
            self.optimizer.zero_grad()
            loss = sum(terms.values())
            (loss if share == 1 else loss * share).backward()
            if self.world.size > 1:
                *values, interrupted, terminated = arrived().tolist()
                numbers = dict(zip(terms, values, strict=True))
                run.asked = HELD[0] if interrupted else HELD[1] if terminated else None
                _check_finite_loss(numbers, run.step + 1)
                for gradients in self.optimizer.gradients():
                    self.world.sum(gradients)
            _check_finite_gradients(self.optimizer, named, run.step + 1)
            if self._clip is not None:
                clip_grad_norm((p for _, p in named if p.requires_grad), self._clip)
        except FloatingPointError as error:
            for (module, name), array in zip(buffers, before, strict=True):
                setattr(module, name, array)
            raise _with_checkpoint(error, run) from None
        self.optimizer.step()
        return numbers

    # --- on a GPU, steps that are replayed (gpu/replay.py) ---

    def _device(self) -> str:
        return next((p.device for p in self.model.parameters()), "cpu")

    def _replay(self) -> Any:
        """What replays steps, or None where that cannot be: on the CPU, or if something has to look at every step."""
        if self.world.size > 1 or watchers or not replayable(self.model, self.optimizer):
            return None
        return Steps(self.model, self.optimizer, self._terms, self._clip)

    def _catch_up(self, run: _Run, wait: bool = True) -> None:
        """Take in the losses of the steps that were replayed: of all, or of those that have arrived."""
        if run.replay is None:
            return
        try:
            rows = run.replay.read(wait)
        except FloatingPointError as error:
            raise _with_checkpoint(error, run) from None
        for i, terms in enumerate(rows, run.batch - len(run.replay.asked) - len(rows)):
            run.means.add(terms, run.loader.batch_length(i))

    def _terms(self, batch: Any) -> dict[str, Any]:
        """The loss terms of one batch, by name, with the graph behind them."""
        device = self._device()
        tensors = [Tensor(backend.to_device(a, device)) for a in (batch if isinstance(batch, tuple) else (batch,))]
        if self._loss is None:
            return self.model.loss_terms(*tensors)  # type: ignore[attr-defined]
        if len(tensors) != 2:
            raise ValueError(f"a batch has {len(tensors)} arrays; with a loss it must be a pair (inputs, targets)")
        inputs, targets = tensors
        return {"loss": self._loss(self.model(inputs), targets)}

    # --- several processes ---

    def _join(self, run: _Run, epochs: int) -> None:
        """Find out that all processes do the same, and start all of them from the first one's state."""
        world, loaders = self.world, [run.loader] if run.held_out is None else [run.loader, run.held_out]
        state = {**state_of(self.model, self.optimizer), "random": backend.random_state(), "seed": run.loader.seed}
        state = world.share(state)
        run.loader.seed = state["seed"]  # one that was drawn differs
        run.identify()
        shapes = {f"model.{n}": f"{p.dtype} {p.shape}" for n, p in self.model.named_parameters()}
        rules = {f"optimizer.{k}": v for g in self.optimizer.param_groups for k, v in g.items() if k != "params"}
        world.agree({**shapes, **run.identity, **rules, "epochs": epochs, "optimizer": type(self.optimizer).__name__})
        if (least := min(map(run.loader.batch_length, range(len(run.loader))))) < world.size:
            raise ValueError(
                f"the smallest batch has {least} samples for {world.size} processes; choose another batch_size, or "
                "leave the last batch out with a DataLoader(..., drop_last=True)"
            )
        apply_state("process 0", state, self.model, self.optimizer)
        backend.set_random_state(state["random"])
        for loader in loaders:
            loader.part = (world.rank, world.size)

    def _digest(self) -> str:
        """A hash of the weights, to find out that no process has drifted away."""
        digest = hashlib.sha256()
        for value in self.model.state_dict().values():
            digest.update(backend.to_device(value, "cpu").tobytes())
        return digest.hexdigest()

    # --- breaking off and going on ---

    def _end_if_asked(self, run: _Run) -> None:
        signals = run.signals
        if self.world.size > 1:  # one process is told, all must end at the same step
            signals.pending = max(self.world.gather(signals.pending or 0)) or None
        if signals.pending is not None:
            self._save(run)
            self.world.share(None)  # nobody leaves while the first one writes
            signals.act()

    def _save(self, run: _Run) -> None:
        if run.checkpoint is None or (run.batch and run.saved_step == run.step):
            return  # within an epoch, a step is saved once; at its end, history and callbacks are new
        self._catch_up(run)
        if self.world.rank == 0:
            write_state(run.checkpoint, self._state(run), {"epoch": run.epoch, "step": run.step})
        run.saved_step = run.step

    def _state(self, run: _Run) -> dict[str, Any]:
        """All that it takes to go on."""
        return {
            **state_of(self.model, self.optimizer),
            "run": run.identity,
            "settings": {k: v for k, v in _settings(self.model).items() if run.settings.get(k) != v},
            "epoch": run.epoch,
            "batch": run.batch,
            "first_epoch": run.first_epoch,
            "sums": run.means.sums,
            "samples": run.means.samples,
            "seconds": run.seconds,
            "stop": self.stop,
            "history": self.history,
            "random": backend.random_state(),
            "callbacks": [c.state_dict() if hasattr(c, "state_dict") else {} for c in self.callbacks],
        }

    def _resume(self, run: _Run, path: FilePath) -> None:
        state = self.world.share(read_state(path)[0] if self.world.rank == 0 else None)
        if "run" not in state:
            raise ValueError(f"{os.fspath(path)} was not written by Trainer.fit; see load_checkpoint for such files")
        own, theirs = run.identity, state["run"]
        before = state_of(self.model, self.optimizer)
        if own.keys() != theirs.keys():  # other layers: told best by their weights, if they have any
            apply_state(path, state, self.model, self.optimizer)
            apply_state(path, before, self.model, self.optimizer)
        if names := [name for name in {**own, **theirs} if own.get(name) != theirs.get(name)]:
            listed = "; ".join(f"{name} {own.get(name)!r}, not {theirs.get(name)!r}" for name in names)
            raise ValueError(f"{os.fspath(path)} is of another run, nothing was loaded. This one has {listed}")
        apply_state(path, state, self.model, self.optimizer)
        try:
            for callback, its_state in zip(self.callbacks, state["callbacks"], strict=True):
                if hasattr(callback, "load_state_dict"):
                    callback.load_state_dict(its_state)
        except Exception as error:
            apply_state(path, before, self.model, self.optimizer)
            where = f"{os.fspath(path)} is of another run: callback {type(callback).__name__}"
            raise ValueError(f"{where}: {error}; nothing was loaded") from None
        run.epoch, run.batch, run.first_epoch = state["epoch"], state["batch"], state["first_epoch"]
        run.means.sums, run.means.samples, run.seconds = state["sums"], state["samples"], state["seconds"]
        run.saved_step = run.step
        self.stop, self.history = state["stop"], History(state["history"])
        backend.set_random_state(state["random"])
        modules = dict(self.model.named_modules())
        for name, value in state["settings"].items():  # those that changed while it ran: a beta that warms up, say
            setattr(modules[name.rpartition(".")[0]], name.rpartition(".")[2], value)


def _with_checkpoint(error: FloatingPointError, run: _Run) -> FloatingPointError:
    if run.saved_step is None:
        return error
    return FloatingPointError(f"{error}. The last good checkpoint is {run.checkpoint}, of step {run.saved_step}")


def _loader(data: Any, batch_size: int, shuffle: bool, seed: int) -> DataLoader:
    loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size, shuffle, seed)
    if len(loader) == 0:
        raise ValueError(f"{loader.n_samples} samples, batch_size={loader.batch_size} and drop_last give no batch")
    return loader


def _check_place(checkpoint: FilePath) -> None:
    """Find out before the first epoch, not after it, that the file cannot be written."""
    if os.path.isdir(checkpoint):
        raise IsADirectoryError(f"checkpoint={os.fspath(checkpoint)!r} is a folder; expected the name of a file")
    os.makedirs(os.path.dirname(os.path.abspath(checkpoint)), exist_ok=True)


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


def _part_of(loader: DataLoader, i: int) -> AbstractContextManager[None]:
    """Of batch `i`, the rows that `loader` gives to this process."""
    return backend.part_of_batch(backend.rows_of(loader.batch_length(i), *loader.part), loader.batch_length(i))


def _numbers(terms: Mapping[str, Any]) -> dict[str, float]:
    return {name: value.item() for name, value in terms.items()}


def _watched() -> bool:
    """Whether a bar that moves can be shown: in a terminal or a notebook, not in a file."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def _samples(loader: DataLoader) -> int:
    return min(loader.n_samples, len(loader) * loader.batch_size)


def _first(batch: Any) -> Any:
    return batch[0] if isinstance(batch, tuple) else batch


def _text(row: Mapping[str, float]) -> str:
    """The losses of a row; a lone term that says the same as the loss is left out."""
    shown = {n: v for n, v in row.items() if n not in ("seconds", "images_per_second")}
    for prefix in ("", "val_"):
        if shown.get(prefix + "loss") == shown.get(prefix + "reconstruction"):
            shown.pop(prefix + "reconstruction", None)
    return "  ".join(f"{name} {value:.5g}" for name, value in shown.items())


def _check_finite_loss(terms: Mapping[str, float], step: int) -> None:
    for name, number in terms.items():
        if not math.isfinite(number):
            raise FloatingPointError(
                f"the loss term {name!r} is {number}, not finite, at step {step}; the weights are those of the "
                "step before. Check the data for NaN, or lower the learning rate"
            )


def _check_finite_gradients(optimizer: Optimizer, named: Iterable[tuple[str, Any]], step: int) -> None:
    if all(map(_is_finite, optimizer.gradients())):
        return
    bad = (name for name, p in named if p.grad is not None and not _is_finite(p.grad))
    raise FloatingPointError(
        f"the gradient of {next(bad, 'a parameter outside the model')} is not finite at step {step}; the weights "
        "are those of the step before. A smaller learning rate, or Trainer(..., clip_grad_norm=1.0), often helps"
    )


def _is_finite(g: Any) -> bool:
    flat = g.ravel()
    # One dot product tells almost always; only a huge but finite gradient needs the second look.
    with np.errstate(over="ignore", invalid="ignore"):
        square = float(flat @ flat)
    return math.isfinite(square) or bool(backend.xp_of(g).isfinite(g).all())
