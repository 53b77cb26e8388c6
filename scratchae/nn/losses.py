"""Losses as modules: `reduction` is set once, the call takes (input, target). See scratchae.functional."""

from typing import Any

from scratchae import functional as F
from scratchae.checks import check_bool, check_choice
from scratchae.nn.module import Module


class Loss(Module):
    """A loss with its reduction. debug/ attaches a `describe` that prints the options."""

    function: Any  # of (input, target, reduction=...)
    reductions: tuple[str, ...] = ("mean", "sum", "none")

    def __init__(self, reduction: str = "mean"):
        self.reduction = check_choice(f"{type(self).__name__}: reduction", reduction, self.reductions)

    def forward(self, input: Any, target: Any) -> Any:
        return type(self).function(input, target, reduction=self.reduction)


class MSELoss(Loss):
    """(input - target)^2."""

    function = F.mse_loss


class L1Loss(Loss):
    """|input - target|."""

    function = F.l1_loss


class BCELoss(Loss):
    """Binary cross-entropy of probabilities."""

    function = F.binary_cross_entropy


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of logits: sigmoid and logarithm in one, exact for any logit."""

    function = F.binary_cross_entropy_with_logits


class CrossEntropyLoss(Loss):
    """-log softmax(input)[label], with integer labels."""

    function = F.cross_entropy


class KLDivLoss(Loss):
    """target (log target - input) for a log-probability `input`."""

    function = F.kl_div
    reductions = ("mean", "sum", "none", "batchmean")

    def __init__(self, reduction: str = "mean", log_target: bool = False):
        super().__init__(reduction)
        self.log_target = check_bool("KLDivLoss: log_target", log_target)

    def forward(self, input: Any, target: Any) -> Any:
        return F.kl_div(input, target, self.reduction, self.log_target)
