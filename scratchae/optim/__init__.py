"""Optimisers and learning-rate schedules; names, defaults and numbers are PyTorch's."""

from scratchae.optim.algorithms import SGD, Adam, AdamW, RMSprop
from scratchae.optim.base import Optimizer, clip_grad_norm
from scratchae.optim.schedules import CosineLR, ReduceOnPlateau, StepLR

__all__ = ["Optimizer", "SGD", "Adam", "AdamW", "RMSprop", "clip_grad_norm", "StepLR", "CosineLR", "ReduceOnPlateau"]


def __getattr__(name):  # type checkers read here that rooms add names, such as those of more/
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
