"""The list of names that this room offers under `functional`, `nn` and `optim`, and of what it attaches to training."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from scratchae import training
from scratchae.attach import attach
from scratchae.autoencoders import Autoencoder
from scratchae.autograd import reductions
from scratchae.data import loader
from scratchae.more import accumulate, batches, compared
from scratchae.plugins import ORDER


def offer(module: ModuleType, *things: Any) -> None:
    """Give `module` the functions or classes under their own names, and list the names in its `__all__`."""
    for thing in things:
        setattr(module, thing.__name__, thing)
        if thing.__name__ not in module.__all__:
            module.__all__.append(thing.__name__)


# --- training -------------------------------------------------------------------------------------

ORDER["weights"] = compared.weights_of
ORDER["metrics"] = lambda run: [compared.Metrics()] if run.trainer.metrics else []
ORDER["accumulate"] = accumulate.accumulating
attach(Autoencoder.distance, forward=compared.watched_distance)
attach(training.compared, forward=compared.watched_loss)
attach(training.numbers_of, forward=compared.with_metrics)
attach(training.totals_of, forward=compared.with_metrics_of_all)
attach(reductions.batch_mean, forward=accumulate.whole_batch_at_hand)
attach(loader.transformed, forward=batches.after_transform)
