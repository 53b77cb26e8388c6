"""The list of names that this room offers under `functional`, `nn` and `optim`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from scratchae import functional, nn, optim
from scratchae.autoencoders.base import LOSSES
from scratchae.autoencoders.variational import LOG_NORMALISERS
from scratchae.more import loss_modules, losses
from scratchae.more import optim as optimizers
from scratchae.more.ssim import ssim


def offer(module: ModuleType, *things: Any) -> None:
    """Give `module` the functions or classes under their own names, and list the names in its `__all__`."""
    for thing in things:
        setattr(module, thing.__name__, thing)
        if thing.__name__ not in module.__all__:
            module.__all__.append(thing.__name__)


# --- losses ---

offer(functional, losses.cross_entropy, losses.binary_cross_entropy_with_logits)  # the core's, with more options
offer(functional, losses.huber_loss, losses.smooth_l1_loss, losses.gaussian_nll_loss, losses.cosine_similarity)
offer(functional, losses.continuous_bernoulli_nll, ssim)
offer(nn, loss_modules.CrossEntropyLoss, loss_modules.BCEWithLogitsLoss, loss_modules.KLDivLoss)
offer(nn, loss_modules.HuberLoss, loss_modules.SmoothL1Loss, loss_modules.GaussianNLLLoss)
offer(nn, loss_modules.CosineSimilarity)
LOSSES["bce_logits"] = losses.binary_cross_entropy_with_logits
LOG_NORMALISERS |= {losses.binary_cross_entropy_with_logits: 0.0, losses.continuous_bernoulli_nll: 0.0}

# --- optimisers and schedules ---

optim.Optimizer.add_param_group = optimizers.add_param_group
offer(optim, optimizers.Adagrad, optimizers.LambdaLR, optimizers.WarmupLR)
