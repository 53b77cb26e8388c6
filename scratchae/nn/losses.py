"""Losses as modules: the options are set once, the call takes (input, target). See scratchae.functional.

Losses with more options than `reduction` are in more/loss_modules.py.
"""

from typing import Any

from scratchae import functional as F
from scratchae.checks import check_choice
from scratchae.nn.module import Module


class Loss(Module):
    """A loss with its reduction. debug/ attaches a `describe` that prints the options."""

    function: Any  # of (input, target, reduction=..., and the options)
    options: tuple[str, ...] = ()  # attributes that the function gets by name
    reductions: tuple[str, ...] = ("mean", "sum", "none")

    def __init__(self, reduction: str = "mean"):
        self.reduction = check_choice(f"{type(self).__name__}: reduction", reduction, self.reductions)

    def forward(self, input: Any, target: Any) -> Any:
        options = {name: getattr(self, name) for name in self.options}
        return type(self).function(input, target, reduction=self.reduction, **options)


class MSELoss(Loss):
    """(input - target)^2, by default averaged over all elements."""

    function = F.mse_loss


class L1Loss(Loss):
    """|input - target|, by default averaged over all elements."""

    function = F.l1_loss


class BCELoss(Loss):
    """Binary cross-entropy of probabilities, by default averaged over all elements."""

    function = F.binary_cross_entropy
