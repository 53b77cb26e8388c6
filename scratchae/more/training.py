"""The list of what this room attaches to training: metrics, weights, accumulated gradients, changed batches."""

from __future__ import annotations

from scratchae import training
from scratchae.attach import attach
from scratchae.autoencoders import Autoencoder
from scratchae.autograd import reductions
from scratchae.data import loader
from scratchae.more import accumulate, batches, compared
from scratchae.plugins import ORDER

ORDER["weights"] = compared.weights_of
ORDER["metrics"] = lambda run: [compared.Metrics()] if run.trainer.metrics else []
ORDER["accumulate"] = accumulate.accumulating
attach(Autoencoder.distance, forward=compared.watched_distance)
attach(training.compared, forward=compared.watched_loss)
attach(training.numbers_of, forward=compared.with_metrics)
attach(training.totals_of, forward=compared.with_metrics_of_all)
attach(reductions.batch_mean, forward=accumulate.whole_batch_at_hand)
attach(loader.transformed, forward=batches.after_transform)
