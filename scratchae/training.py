"""Trainer: the loop over epochs and batches.

At each step the Trainer does four lines that anybody can write:

    loss = sum(model.loss_terms(batch).values())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

Everything around them (clipping, progress, checkpoints, several processes, ...) is a plug-in: see plugins.py.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any

from scratchae import backend, random
from scratchae.attach import replaceable
from scratchae.autograd import Tensor, no_grad
from scratchae.callbacks import Callback
from scratchae.checks import check_count, check_number, shown
from scratchae.data.loader import DataLoader
from scratchae.history import History, Means
from scratchae.nn import Module
from scratchae.nn.module import device_of_model, evaluating
from scratchae.optim import Optimizer
from scratchae.plugins import ORDER, Run


class Trainer:
    """Trains a model by mini-batches.

    Args:
        model: has `loss_terms(*batch)` giving a dict of scalars (every autoencoder here), or any Module
            if `loss` is given.
        optimizer: over the model's parameters.
        callbacks: called in order after each epoch, and at the moments of a step for which they have a method.
        loss: a function of (model(inputs), targets), in place of the model's own loss terms; batches are then pairs
            (inputs, targets).
        clip_grad_norm: scale gradients down to this joint norm before each step.
        distributed: share each batch among the processes that `mpirun` started. All processes must make
            the same model and data. They go on from the first process's weights, and end with equal bits.
            The first process writes the files.

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
        self.world = processes(distributed)  # first: from here on an error ends all processes
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
        self.model, self.optimizer, self.callbacks, self.loss = model, optimizer, list(callbacks), loss
        self.clip_grad_norm = clip_grad_norm
        for callback in self.callbacks:
            if isinstance(callback, type):
                raise TypeError(f"callback {callback.__name__} is a class; pass one made of it: {callback.__name__}()")
            if not hasattr(callback, "on_epoch_end"):
                advice = "derive it from sa.Callback, or wrap a learning-rate schedule in sa.Schedule(...)"
                raise TypeError(f"callback {type(callback).__name__} has no on_epoch_end(); {advice}")
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
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        progress: bool = True,
        checkpoint_every: int | None = None,
    ) -> History:
        """Train for `epochs` passes over `images`.

        Args:
            images: an array or memory map (n, ...), a tuple of them for (noisy, clean) or (inputs, targets), or a
                DataLoader. A DataLoader has its own batch size and order.
            validation: the same kinds of data. Its loss is computed after each epoch, in eval mode, under a fixed
                seed, and does not touch the random generators.
            epochs: their total number; a run that is resumed counts the earlier epochs too.
            batch_size, shuffle, seed: the order of epoch e follows from (seed, e), in every `fit` anew.
            checkpoint: a file that gets the whole state after every epoch, and at an interruption. An older file is
                replaced. The file serves for going on: it holds the last weights, not the best ones.
            resume: go on from that file, to the same weights as without the break. Without a file, training starts
                afresh. The kinds and options of all layers, the loss, the clipping, the frozen parameters, the options
                of optimiser and callbacks, the data and their order must be those of the run. Values that have changed
                since the run began, such as the learning rate, come from the file. You may change `epochs`,
                `progress`, `checkpoint_every`, the device, the number of processes, and the options of callbacks that
                only write files.
            progress: show a bar in a terminal, one line per epoch elsewhere.
            checkpoint_every: write the checkpoint every so many steps too.

        After Ctrl-C or SIGTERM, training finishes the step, saves, and then ends the script in the usual way. A second
        signal acts at once. Modules that are frozen and in eval mode when `fit` begins stay in eval mode.

        Raises ValueError for an empty set, numbers out of range, or a checkpoint of another run. Raises FileInUse (an
        OSError) for a checkpoint that another run writes, and RuntimeError for a model that another `fit` trains.
        Raises FloatingPointError, before the weights change, when a loss or a gradient is not finite, and also when an
        update has made weights infinite.
        """
        check_count("epochs", epochs)
        loader = _loader(images, batch_size, shuffle, seed)
        held_out = None if validation is None else _loader(validation, batch_size, False, seed)
        options: dict[str, Any] = {"epochs": epochs, "progress": progress, "resume": resume}
        options |= {"checkpoint": checkpoint, "checkpoint_every": checkpoint_every}
        run = Run(self, loader, held_out, device_of_model(self.model), **options)
        for plugins_of in ORDER.values():
            run.plugins += plugins_of(run)
        with run.around("around_fit"):
            self.history, self.stop, self.validates = History(), False, held_out is not None
            for callback in self.callbacks:
                self._tell(run, callback, "on_fit_begin")
            run.tell("begin")
            with run.around("around_epochs"):
                try:
                    if run.epoch and run.told < len(self.callbacks):  # a callback had raised
                        self._end_epoch(run)
                    while run.epoch < epochs and not self.stop:
                        self._epoch(run)
                        self._end_epoch(run)
                finally:
                    loader.epoch = run.first_epoch + run.epoch + bool(run.batch)
            for callback in self.callbacks:
                self._tell(run, callback, "on_fit_end")
            run.tell("end")
        return self.history

    def _epoch(self, run: Run) -> None:
        """The rest of an epoch, and the validation: a new row of the history."""
        loader, start = run.loader, time.perf_counter() - run.seconds
        run.train_mode()
        run.tell("begin_epoch")
        with run.around("around_epoch"):
            for batch in remaining_batches(run):
                if not run.tell("take", batch):
                    self._step(run, batch)
                    run.means.add(run.numbers, loader.batch_length(run.batch))
                run.batch += 1
                run.seconds = max(0.0, time.perf_counter() - start)  # some clocks go back
                run.tell("between_steps")
            run.tell("after_steps")
            run.seconds = max(0.0, time.perf_counter() - start)
            samples = min(loader.n_samples, len(loader) * loader.batch_size)
            speed = samples / run.seconds if run.seconds else math.nan  # some clocks stand still
            run.row = run.means.means() | self._validation(run)
            run.row |= {"seconds": run.seconds, "images_per_second": speed}
            run.tell("end_epoch")
        self.history.append(run.row)
        run.epoch, run.batch, run.means, run.seconds, run.told = run.epoch + 1, 0, Means(), 0.0, 0

    def _step(self, run: Run, batch: Any) -> None:
        """Forward, backward, update."""
        with run.around("around_step"):
            terms = self._terms(batch)
            run.numbers, run.loss = numbers_of(terms), sum(terms.values())
            run.tell("after_forward")
            self.optimizer.zero_grad()
            run.loss.backward()
            run.tell("after_backward")
        self.optimizer.step()
        run.loss = None  # and with it the memory of its graph
        run.tell("after_step")

    def _terms(self, batch: Any) -> dict[str, Any]:
        """The loss terms of one batch, by name, with the graph behind them."""
        device = device_of_model(self.model)
        tensors = [Tensor(backend.to_device(a, device)) for a in (batch if isinstance(batch, tuple) else (batch,))]
        if self.loss is None:
            terms = self.model.loss_terms(*tensors)  # type: ignore[attr-defined]
        elif len(tensors) != 2:
            raise ValueError(f"a batch has {len(tensors)} arrays; with a loss it must be a pair (inputs, targets)")
        else:
            terms = {"loss": self.loss(self.model(tensors[0]), tensors[1])}
        _check_terms(terms)
        return terms

    def _end_epoch(self, run: Run) -> None:
        """Tell the callbacks that have not seen the last epoch, and save."""
        row = {name: values[-1] for name, values in self.history.items() if len(values) == run.epoch}
        try:
            with run.around("around_callbacks"):
                for callback in self.callbacks[run.told :]:
                    self._tell(run, callback, "on_epoch_end", row)
                    run.told += 1
        finally:  # a callback that raised does not cost the epoch: a run that is resumed tells the callback again
            run.tell("save")
        run.tell("after_epoch")
        run.tell("pause")

    def _tell(self, run: Run, callback: Any, moment: str, *news: Any) -> None:
        if hasattr(callback, moment) and run.calls(callback):  # any object with on_epoch_end will do
            getattr(callback, moment)(self, *news)

    def _validation(self, run: Run) -> dict[str, float]:
        """The numbers of the validation set, under names that begin with `val_`."""
        if run.held_out is None:
            return {}
        while True:
            found = self._evaluate(run, run.held_out)
            if not run.tell("pause"):  # a signal breaks off; a script's own handler may want to go on
                return {f"val_{name}": value for name, value in found.items()}

    def evaluate(self, data: Any, batch_size: int = 256) -> dict[str, float]:
        """The mean loss and its terms over `data`, in eval mode and without a graph.

        The random numbers in it come from a fixed seed, and the generators go on afterwards where they were.
        """
        loader = _loader(data, batch_size, False, 0)
        return self._evaluate(Run(self, loader), loader)

    def _evaluate(self, run: Run, loader: DataLoader) -> dict[str, float]:
        loss = evaluating(self.loss) if isinstance(self.loss, Module) else nullcontext()
        here = backend.current(device_of_model(self.model))
        with evaluating(self.model), loss, no_grad(), random.fixed_seed(0), here:
            return totals_of(run, loader).means()


@replaceable
def processes(distributed: bool) -> Any:
    """The processes that train together: None for this process alone."""


@replaceable
def remaining_batches(run: Run) -> Iterator[Any]:
    """The batches of the epoch in progress that are left."""
    return run.loader.placed(run.first_epoch + run.epoch, run.batch, device=run.device)


@replaceable
def totals_of(run: Run, loader: DataLoader) -> Means:
    """The loss terms over all batches of a loader; always of its first order, where the loader shuffles."""
    totals = Means()
    for batch in loader.placed(0, device=run.device):
        if n := samples_of(batch):
            totals.add(numbers_of(run.trainer._terms(batch)), n)
        if run.tell("breaks_off"):
            break
    return totals


def samples_of(batch: Any) -> int:
    """The number of samples in a batch."""
    return len(batch[0] if isinstance(batch, tuple) else batch)


def numbers_of(terms: Mapping[str, Any]) -> dict[str, float]:
    """Loss terms as numbers."""
    return {name: value.item() for name, value in terms.items()}


def _loader(data: Any, batch_size: int, shuffle: bool, seed: int) -> DataLoader:
    loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size, shuffle, seed)
    if len(loader) == 0:
        raise ValueError(f"{loader.n_samples} samples, batch_size={loader.batch_size} and drop_last give no batch")
    return loader


def _check_terms(terms: Any) -> None:
    """TypeError or ValueError for what cannot be added up and differentiated."""
    if not isinstance(terms, Mapping) or not terms:
        raise TypeError(f"loss_terms gave {type(terms).__name__}; expected a dict of terms: {{'loss': ...}}")
    for name, value in terms.items():
        if not isinstance(name, str):
            raise TypeError(f"a loss term is called {name!r}; expected a name, such as 'reconstruction'")
        if not isinstance(value, Tensor):
            advice = "let the model's loss_terms return it" if isinstance(value, Mapping) else "leave out .item()"
            raise TypeError(f"the loss term {name!r} is a {type(value).__name__}; expected a Tensor: {advice}")
        if value.size != 1:
            raise ValueError(f"the loss term {name!r} has shape {value.shape}; reduce it to a number, with .mean() say")
