"""Trainer: the loop over epochs and batches, with progress, validation, checkpoints and a history.

What it does at each step is four lines that anybody can write:

    loss = sum(model.loss_terms(batch).values())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

The rest is here (validation, looking out for what is not finite), in runs.py and resuming.py (breaking off and going
on) and in progress.py.
"""

from __future__ import annotations

import inspect
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from scratchae import backend, progress, random
from scratchae import distributed as _distributed
from scratchae.autograd import Tensor, no_grad
from scratchae.autograd.modes import watchers
from scratchae.callbacks import Callback
from scratchae.checks import check_bool, check_count, check_number, is_finite, not_finite, shown
from scratchae.data.loader import DataLoader
from scratchae.distributed import parts
from scratchae.files.disk import check_place, locked
from scratchae.files.identity import plain, structure
from scratchae.files.interrupts import HELD, HeldSignals
from scratchae.files.runs import Run
from scratchae.files.storage import FilePath
from scratchae.gpu.replay import Steps, replayable, training_stream
from scratchae.history import History, Means
from scratchae.nn import Module
from scratchae.nn.module import device_of_model, evaluating
from scratchae.optim import Optimizer, clip_grad_norm


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
        self.world = _distributed.init() if distributed else _distributed.World()  # first: errors end all processes
        if clip_grad_norm is not None:
            check_number("clip_grad_norm", clip_grad_norm)
        for name, given, wanted in (("model", model, Module), ("optimizer", optimizer, Optimizer)):
            if not isinstance(given, wanted):
                example = "a Module" if wanted is Module else "an optimiser, such as optim.Adam(model.parameters())"
                raise TypeError(f"Trainer: {name} is {shown(given)}; expected {example}")
        if loss is not None and not callable(loss):
            raise TypeError(f"Trainer: loss={shown(loss)}; expected a function of (output, target), such as F.mse_loss")
        if not isinstance(callbacks, Iterable):
            raise TypeError(f"Trainer: callbacks={shown(callbacks)}; expected a list of them: [{shown(callbacks)}]")
        if loss is None and not hasattr(model, "loss_terms"):
            raise TypeError(f"{type(model).__name__} has no loss_terms(); pass a loss: Trainer(..., loss=F.mse_loss)")
        moved = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not any(id(p) in moved for p in model.parameters()):
            raise ValueError("the optimiser holds none of the model's parameters; make it from model.parameters()")
        self.model, self.optimizer, self.callbacks, self._loss = model, optimizer, list(callbacks), loss
        self._clip = clip_grad_norm
        self._loss_identity = structure(loss, "loss") if isinstance(loss, Module) else {"loss": plain(loss)}
        for callback in self.callbacks:
            if isinstance(callback, type):
                raise TypeError(f"callback {callback.__name__} is a class; pass one made of it: {callback.__name__}()")
            if not hasattr(callback, "on_epoch_end"):
                name = type(callback).__name__
                advice = "derive it from sa.Callback, or wrap a learning-rate schedule in sa.Schedule(...)"
                raise TypeError(f"callback {name} has no on_epoch_end(); {advice}")
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
                The kinds and options of all layers, the loss, the clipping, the frozen parameters, the options of
                optimiser and callbacks, the data and their order must be those of the run. What has changed since it
                began, such as the learning rate or a number among a layer's attributes, comes from the file. Free are
                `epochs`, `progress`, `checkpoint_every`, the device, the number of processes, and the options of
                callbacks that only write files.
            progress: show a bar in a terminal, one line per epoch elsewhere.
            checkpoint_every: write the checkpoint every so many steps too.

        Ctrl-C and SIGTERM finish the step, save, and then end the script in their usual ways; a second one does not
        wait. Modules that are frozen and in eval mode when `fit` begins stay in eval mode.

        Raises ValueError for an empty set, numbers out of range, or a checkpoint of another run; FileInUse (an
        OSError) for a checkpoint that another run writes; RuntimeError for a model that another `fit` trains; and
        FloatingPointError, before the weights change, when a loss or a gradient is not finite, or when an update has
        made weights infinite.
        """
        for name, count in (("epochs", epochs), ("checkpoint_every", checkpoint_every)):
            if count is not None:
                check_count(name, count)
        if checkpoint is None and (resume or checkpoint_every):
            raise ValueError("resume and checkpoint_every need to know the file: checkpoint='run.safetensors'")
        check_bool("resume", resume)
        loader = _loader(images, batch_size, shuffle, seed)
        held_out = None if validation is None else _loader(validation, batch_size, False, seed)
        self._check_number_of_arrays(loader)
        first = self.world.rank == 0
        if checkpoint is not None:
            check_place(checkpoint)  # before the first epoch, not after it
        held = locked(checkpoint) if checkpoint is not None and first else nullcontext()
        with _alone(self), self.world.together(), held:
            device = device_of_model(self.model)
            run = Run(self, loader, held_out, checkpoint, checkpoint_every, device)
            self.history, self.stop, self.validates = History(), False, held_out is not None
            self._tell("on_fit_begin")
            run.begin(epochs, resume)
            what = f"a step of {type(self.model).__name__} on a batch of {loader.batch_size} samples"
            with run.signals, backend.told_when_full(what), training_stream(device):
                self._epochs(run, epochs, progress and first)
            self._tell("on_fit_end")
            run.check_weights()
        return self.history

    def _epochs(self, run: Run, epochs: int, shown: bool) -> None:
        run.replay = self._replay()
        try:
            if run.told < len(self.callbacks) and run.epoch:  # a callback had raised
                self._end_epoch(run)
            while run.epoch < epochs and not self.stop:
                title = f"epoch {run.epoch + 1}/{epochs}"
                row = self.world.share(self._epoch(run, title, shown and progress.is_watched()))
                run.next_epoch(row)
                if shown and not progress.is_watched():
                    progress.line(f"{title}  {progress.text(row)}  {row['seconds']:.1f} s")
                self._end_epoch(run)
                run.warn_if_not_finite(row)
        finally:
            run.replay = None  # and with it the memory of its graph
            for loader in filter(None, (run.loader, run.held_out)):
                loader.forget_copies()
            run.loader.epoch = run.first_epoch + run.epoch + bool(run.batch)

    def _end_epoch(self, run: Run) -> None:
        """Tell the callbacks that have not seen the last epoch, and save."""
        row = {name: values[-1] for name, values in self.history.items() if len(values) == run.epoch}
        try:
            with self.world.together():  # while the first process saves, the others wait for it
                for callback in self.callbacks[run.told :]:
                    self._tell_one(callback, "on_epoch_end", row)
                    run.told += 1
        finally:  # an epoch is not lost to a picture that could not be written: its callbacks are told when it goes on
            run.save()
        self.stop = any(self.world.gather(self.stop))  # a callback may go by the clock
        run.end_if_asked()

    def evaluate(self, data: Any, batch_size: int = 256) -> dict[str, float]:
        """The mean loss and its terms over `data`, in eval mode and without a graph.

        Randomness in it comes from a fixed seed, and the generators go on afterwards where they were.
        """
        loader = _loader(data, batch_size, False, 0)
        return self._evaluate(loader, loader.part, None, HeldSignals())

    def _evaluate(
        self, loader: DataLoader, part: tuple[int, int], device: str | None, signals: HeldSignals
    ) -> dict[str, float]:
        totals, epoch = Means(), loader.epoch
        try:  # a shuffled loader gives the same batches each time, too
            loss = evaluating(self._loss) if isinstance(self._loss, Module) else nullcontext()
            here = backend.current(device_of_model(self.model))
            with evaluating(self.model), loss, no_grad(), random.fixed_seed(0), here:
                for i, batch in enumerate(loader.placed(0, 0, part, device)):
                    if n := len(_first(batch)):  # of a short last batch, a process may get nothing
                        with _part_of(loader, i, part):
                            totals.add(_numbers(self._terms(batch)), n)
                    if signals.pending is not None:
                        break
        finally:
            loader.epoch = epoch
        if part != (0, 1):
            own, totals = totals, Means()
            for its_part in self.world.gather(own):
                totals.join(its_part)
        return totals.means()

    def _tell(self, moment: str, *news: Any) -> None:
        for callback in self.callbacks:
            self._tell_one(callback, moment, *news)

    def _tell_one(self, callback: Any, moment: str, *news: Any) -> None:
        # any object with on_epoch_end will do
        if hasattr(callback, moment) and not (self.world.rank and getattr(callback, "only_writes", False)):
            getattr(callback, moment)(self, *news)

    def _epoch(self, run: Run, title: str, shown: bool) -> dict[str, float]:
        """The rest of an epoch, then the validation; the numbers that go into the history."""
        loader = run.loader
        run.train_mode()
        buffers = self.model.buffer_places()
        named = list(self.model.named_parameters())
        start = time.perf_counter() - run.seconds
        if run.replay is not None:
            run.replay.begin_epoch()
        with progress.bar(title, len(loader), run.batch, shown) as bar:
            for batch in loader.placed(run.first_epoch + run.epoch, run.batch, run.part, run.device):
                if run.replay is None or not run.replay.take(batch, run.step + 1):
                    run.catch_up()
                    run.means.add(self._step(batch, run, named, buffers), loader.batch_length(run.batch))
                run.batch += 1
                run.seconds = max(0.0, time.perf_counter() - start)  # some clocks go back
                if run.every and run.step % run.every == 0 and run.batch < len(loader):
                    run.save()
                if self.world.size == 1 or run.asked is not None:
                    run.end_if_asked()
                bar.update()
                if run.batch % 64 == 1:
                    run.catch_up(wait=False)
                    bar.set_postfix_str(progress.text(run.means.means()) if run.means.samples else "", refresh=False)
            run.catch_up()
            run.seconds = max(0.0, time.perf_counter() - start)
            row = run.means.means()
            if run.held_out is not None:
                while True:
                    held_out = self._evaluate(run.held_out, run.part_of(run.held_out), run.device, run.signals)
                    if not run.end_if_asked():  # a signal breaks off; a script's own handler may want to go on
                        break
                row |= {f"val_{name}": value for name, value in held_out.items()}
            bar.set_postfix_str(progress.text(row))
        speed = _samples(loader) / run.seconds if run.seconds else math.nan  # some clocks stand still
        return row | {"seconds": run.seconds, "images_per_second": speed}

    def _step(self, batch: Any, run: Run, named: list, buffers: list) -> dict[str, float]:
        """Forward, backward, update; FloatingPointError before the update where something is not finite."""
        before = [getattr(module, name).copy() for module, name in buffers]
        try:
            with _part_of(run.loader, run.batch, run.part):
                terms, share = self._terms(batch), parts.batch_share()
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
            raise run.with_checkpoint(error) from None
        self.optimizer.step()
        return numbers

    # --- on a GPU, steps that are replayed (gpu/replay.py) ---

    def _replay(self) -> Any:
        """What replays steps, or None where that cannot be: on the CPU, or if something has to look at every step."""
        if self.world.size > 1 or watchers or not replayable(self.model, self.optimizer):
            return None
        return Steps(self.model, self.optimizer, self._terms, self._clip)

    def _terms(self, batch: Any) -> dict[str, Any]:
        """The loss terms of one batch, by name, with the graph behind them."""
        device = device_of_model(self.model)
        tensors = [Tensor(backend.to_device(a, device)) for a in (batch if isinstance(batch, tuple) else (batch,))]
        if self._loss is None:
            terms = self.model.loss_terms(*tensors)  # type: ignore[attr-defined]
        elif len(tensors) != 2:
            raise ValueError(f"a batch has {len(tensors)} arrays; with a loss it must be a pair (inputs, targets)")
        else:
            terms = {"loss": self._loss(self.model(tensors[0]), tensors[1])}
        _check_terms(terms)
        return terms

    def _check_number_of_arrays(self, loader: DataLoader) -> None:
        """TypeError where the model's loss cannot take as many arrays as the data have."""
        if self._loss is not None or loader.arrays < 2:
            return
        takes = inspect.signature(self.model.loss_terms)  # type: ignore[attr-defined]
        try:
            takes.bind(*[None] * loader.arrays)
        except TypeError:
            name = f"{type(self.model).__name__}.loss_terms{takes}"
            raise TypeError(
                f"the data are {loader.arrays} arrays, which {name} does not take. A list of samples becomes one array "
                "by np.stack(...)"
            ) from None


def _loader(data: Any, batch_size: int, shuffle: bool, seed: int) -> DataLoader:
    loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size, shuffle, seed)
    if len(loader) == 0:
        raise ValueError(f"{loader.n_samples} samples, batch_size={loader.batch_size} and drop_last give no batch")
    return loader


_in_training: set[int] = set()  # parameters, by id
_entering = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_training.clear)  # the child has copies of its own


@contextmanager
def _alone(trainer: Trainer) -> Iterator[None]:
    """Inside, no other `fit` trains the same parameters: two would undo each other's work without a word."""
    groups = trainer.optimizer.param_groups
    moving = {id(p) for group in groups for p in group["params"] if p.requires_grad}
    with _entering:
        if moving & _in_training:
            name = type(trainer.model).__name__
            raise RuntimeError(f"this {name} is in training already; wait for that fit, or use a copy")
        _in_training.update(moving)
    try:
        yield
    finally:
        _in_training.difference_update(moving)


def _part_of(loader: DataLoader, i: int, part: tuple[int, int]) -> AbstractContextManager[None]:
    """Of batch `i`, the rows that are this process's part."""
    return parts.part_of_batch(parts.rows_of(loader.batch_length(i), *part), loader.batch_length(i))


def _check_terms(terms: Any) -> None:
    """TypeError or ValueError for what cannot be added up and differentiated."""
    if not isinstance(terms, Mapping) or not terms:
        raise TypeError(f"loss_terms gave {type(terms).__name__}; expected a dict of terms: {{'loss': ...}}")
    for name, value in terms.items():
        if not isinstance(name, str):
            raise TypeError(f"a loss term is called {name!r}; expected a name, such as 'reconstruction'")
        if not isinstance(value, Tensor):
            raise TypeError(f"the loss term {name!r} is a {type(value).__name__}; expected a Tensor: leave out .item()")
        if value.size != 1:
            raise ValueError(f"the loss term {name!r} has shape {value.shape}; reduce it to a number, with .mean() say")


def _numbers(terms: Mapping[str, Any]) -> dict[str, float]:
    return {name: value.item() for name, value in terms.items()}


def _samples(loader: DataLoader) -> int:
    return min(loader.n_samples, len(loader) * loader.batch_size)


def _first(batch: Any) -> Any:
    return batch[0] if isinstance(batch, tuple) else batch


def _check_finite_loss(terms: Mapping[str, float], step: int) -> None:
    for name, number in terms.items():
        if not math.isfinite(number):
            raise not_finite(f"the loss term {name!r} is {number}, not finite,", step)


def _check_finite_gradients(optimizer: Optimizer, named: Iterable[tuple[str, Any]], step: int) -> None:
    if not all(map(is_finite, optimizer.gradients())):
        bad = (name for name, p in named if p.grad is not None and not is_finite(p.grad))
        raise not_finite(f"the gradient of {next(bad, 'a parameter outside the model')} is not finite", step)
