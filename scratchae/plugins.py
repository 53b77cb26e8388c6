"""Plug-ins of a training step: objects with methods that are named after the moments at which they are called.

`Trainer.fit` calls a plug-in's methods with its `Run`, in this order:

    around_fit            a context manager around all that follows
    begin                 after the callbacks' `on_fit_begin`; a run that is resumed goes to its place here
    around_epochs         a context manager around all epochs
      begin_epoch         the model is in train mode
      around_epoch        a context manager around the steps of the epoch and the validation
        take              called with the batch too: do the whole step in another way and return True, or return False
        around_step       a context manager around forward and backward; an error of the step passes through it
          after_forward   `run.numbers` and `run.loss` are there
          after_backward  the gradients are there too; return True to put off the step until after the next batch
        after_step        the weights have moved
        between_steps     the place of the run, `run.batch` and `run.step`, has moved on too
        after_steps       the last step of the epoch is done
        breaks_off        in the validation, after each batch: return True to break the validation off
        pause             after the validation, and after the epoch: the run may end here; return True to validate again
        end_epoch         `run.row` holds the numbers of the epoch
      around_callbacks    a context manager around the callbacks' `on_epoch_end`
      save                the callbacks were told
      after_epoch         all of the epoch is done
    end                   after the callbacks' `on_fit_end`

Plug-ins tell two more moments to each other: `before_save`, before a checkpoint is written, and `before_end`, before a
signal ends the run. A plug-in has the methods that it needs. `ORDER` says which plug-in acts first at a moment.
Callbacks act at the moments inside a step too: see `Callback`.

A plug-in with `state_dict` and `load_state_dict` has a state in checkpoints. Three things are easy to overlook:

- A signal saves and ends the run in `between_steps`, before later plug-ins act. Note a step in `after_step`.
- Where `take` returns True, the moments from `around_step` to `after_step` are left out. A plug-in with one of these
  moments makes a GPU do the steps one by one, so that no step is replayed.
- At `end` the last checkpoint is written, and callbacks were told. A complete run that is resumed comes to `end` again.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

from scratchae.history import Means
from scratchae.optim import clip_grad_norm

STEP = ("around_step", "after_forward", "after_backward", "after_step")
"""The moments inside a step."""


class Run:
    """One call of `Trainer.fit`: its data, its options, and how far it has come.

    Attributes:
        trainer: has the model, the optimiser, the callbacks and the history.
        loader, held_out: the DataLoaders of the training data and of the validation data, or None.
        device: where the batches go; None leaves them where they are.
        options: `epochs`, `progress`, `checkpoint`, `checkpoint_every`, `resume` and `sample_weight` of `fit`, by name.
        plugins: the plug-ins, in the order in which they act.
        epoch: number of complete epochs; `batch`, `means` and `seconds` are of the epoch in progress.
        first_epoch: the loader's own count of epochs when the run began.
        told: how many callbacks were told of the last complete epoch.
        lively: ids of the frozen modules that were in train mode when the run began. They want batch statistics.
        first: whether this process shows the progress and writes the files.
        numbers, loss: the terms of the step's loss as numbers, by name, and their sum as a Tensor.
        row: the numbers of the last epoch, by name.
    """

    def __init__(self, trainer: Any, loader: Any, held_out: Any = None, device: str | None = None, **options: Any):
        self.trainer, self.loader, self.held_out, self.device = trainer, loader, held_out, device
        self.options = options
        self.epoch, self.batch, self.means, self.seconds = 0, 0, Means(), 0.0
        self.first_epoch, self.told, self.first = loader.epoch, 0, True
        self.lively = {id(m) for m in trainer.model.modules() if _is_frozen(m) and m.training}
        self.numbers: dict[str, float] = {}
        self.row: dict[str, float] = {}
        self.loss: Any = None
        self.plugins: list[Any] = []
        self._methods: dict[str, list[Callable]] = {}

    @property
    def step(self) -> int:
        """How many batches are done. A batch is a step, unless `Trainer(accumulate=...)` gives a step several."""
        return self.epoch * len(self.loader) + self.batch

    def tell(self, moment: str, *news: Any) -> bool:
        """Call the plug-ins' methods of that name, in their order, until one returns True. Returns whether one did."""
        return any(method(self, *news) is True for method in self._of(moment))

    @contextmanager
    def around(self, moment: str) -> Iterator[None]:
        """The contexts that the plug-ins' methods of that name give; the first plug-in's is the outermost."""
        with ExitStack() as contexts:
            for method in self._of(moment):
                contexts.enter_context(method(self))
            yield

    def _of(self, moment: str) -> list[Callable]:
        if moment not in self._methods:
            self._methods[moment] = [getattr(p, moment) for p in self.plugins if hasattr(p, moment)]
        return self._methods[moment]

    def calls(self, callback: Any) -> bool:
        """Whether this process calls a callback. A callback that only writes files is for the first process."""
        return self.first or not getattr(callback, "only_writes", False)

    def train_mode(self) -> None:
        """Train mode for all modules but those that are frozen, and were in eval mode when the run began."""
        model = self.trainer.model
        aside = [m for m in model.modules() if _is_frozen(m) and not m.training and id(m) not in self.lively]
        resting = [m for top in aside for m in top.modules()]
        model.train()
        for module in resting:
            module.training = False


def _is_frozen(module: Any) -> bool:
    """Whether a module has parameters, and none of them is trained."""
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)


class Clip:
    """Scales the gradients down to a joint norm of at most `max_norm`."""

    def __init__(self, max_norm: float):
        self.max_norm = max_norm

    def begin_epoch(self, run: Run) -> None:
        self.parameters = list(run.trainer.model.parameters())

    def after_backward(self, run: Run) -> None:
        clip_grad_norm((p for p in self.parameters if p.requires_grad), self.max_norm)


def _in_step(callback: Any) -> Any:
    """A callback as a plug-in: the methods of its class that are named after moments inside a step.

    Unlike a plug-in's, the callback's answers count for nothing.
    """
    own = {moment: getattr(callback, moment) for moment in STEP if callable(getattr(type(callback), moment, None))}
    silent = {moment: lambda run, tell=tell: [tell(run)] for moment, tell in own.items() if moment != "around_step"}
    return SimpleNamespace(**{**own, **silent})


def _none(run: Run) -> list:
    """The plug-ins of a room that nothing was attached from."""
    return []


ORDER: dict[str, Callable[[Run], list]] = {
    "arrays": _none,
    "alone": _none,
    "weights": _none,
    "metrics": _none,
    "processes": _none,  # they sum the numbers and gradients that the plug-ins after them look at
    "signals": _none,
    "replay": _none,
    "finite": _none,
    "accumulate": _none,  # the plug-ins before see each batch's gradient, those after see the step's
    "callbacks": lambda run: [_in_step(c) for c in run.trainer.callbacks if run.calls(c)],
    "clip": lambda run: [] if run.trainer.clip_grad_norm is None else [Clip(run.trainer.clip_grad_norm)],
    "checkpoint": _none,
    "progress": _none,
}
"""The plug-ins in the order in which they act at each moment, as functions that make them for a run.

A room above puts a function of its own in place of `_none`.
"""
