"""Losses with more options than `reduction`, as modules: the options are set once. See scratchae.functional."""

from __future__ import annotations

from typing import Any

from scratchae import functional as F
from scratchae.autograd import tensor
from scratchae.checks import check_bool, check_count, check_number
from scratchae.more import losses
from scratchae.nn.layer import Layer, number
from scratchae.nn.losses import Loss


class CrossEntropyLoss(Loss):
    """-log softmax(input)[label], with integer labels.

    By default, this is an average over all labels that are not ignored, each with the weight of its class. The weights
    are a buffer: `.to` moves them.
    """

    function = losses.cross_entropy
    options = ("weight", "ignore_index", "label_smoothing")

    def __init__(
        self, reduction: str = "mean", weight: Any = None, ignore_index: int = -100, label_smoothing: float = 0.0
    ):
        super().__init__(reduction)
        _keep(self, "weight", weight)
        self.ignore_index = check_count("CrossEntropyLoss: ignore_index", ignore_index, least=-(2**63))
        self.label_smoothing = check_number("CrossEntropyLoss: label_smoothing", label_smoothing, "[0, 1]")


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of logits: sigmoid and logarithm in one, exact for any logit.

    By default, this is an average over all elements, which is not divided by the weights. The weights are buffers:
    `.to` moves them.
    """

    function = losses.binary_cross_entropy_with_logits
    options = ("weight", "pos_weight")

    def __init__(self, reduction: str = "mean", weight: Any = None, pos_weight: Any = None):
        super().__init__(reduction)
        _keep(self, "weight", weight)
        _keep(self, "pos_weight", pos_weight)


def _keep(loss: Loss, name: str, weights: Any) -> None:
    """Set attribute `name` to None, to a Tensor that is trained, or to a buffer."""
    if weights is None or getattr(weights, "requires_grad", False):
        setattr(loss, name, weights)
    else:
        loss.register_buffer(name, tensor(weights).data)


class KLDivLoss(Loss):
    """target (log target - input) for a log-probability `input`.

    By default, this is an average over all elements; "batchmean" averages over the samples alone.
    """

    function = F.kl_div
    options = ("log_target",)
    reductions = ("mean", "sum", "none", "batchmean")

    def __init__(self, reduction: str = "mean", log_target: bool = False):
        super().__init__(reduction)
        self.log_target = check_bool("KLDivLoss: log_target", log_target)


class HuberLoss(Loss):
    """Half the squared difference up to `delta`, and linear beyond; by default averaged over all elements."""

    function = losses.huber_loss
    options = ("delta",)

    def __init__(self, reduction: str = "mean", delta: float = 1.0):
        super().__init__(reduction)
        self.delta = check_number("HuberLoss: delta", delta, "(0, inf)")


class SmoothL1Loss(Loss):
    """The absolute difference, rounded off below `beta`; by default averaged over all elements."""

    function = losses.smooth_l1_loss
    options = ("beta",)

    def __init__(self, reduction: str = "mean", beta: float = 1.0):
        super().__init__(reduction)
        self.beta = check_number("SmoothL1Loss: beta", beta)


class GaussianNLLLoss(Loss):
    """-log of a normal density, called with (input, target, var); by default averaged over all elements."""

    function = losses.gaussian_nll_loss

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean"):
        super().__init__(reduction)
        self.full = check_bool("GaussianNLLLoss: full", full)
        self.eps = check_number("GaussianNLLLoss: eps", eps, "(0, inf)")

    def forward(self, input: Any, target: Any, var: Any) -> Any:  # type: ignore[override]
        return losses.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class CosineSimilarity(Layer):
    """The cosine of the angle between x1 and x2 along axis `dim`."""

    def __init__(self, dim: int = 1, eps: float = 1e-8):
        self.dim = check_count("CosineSimilarity: dim", dim, least=-64)
        self.eps = number(self, "eps", eps, "[0, inf)")

    def forward(self, x1: Any, x2: Any) -> Any:
        return losses.cosine_similarity(x1, x2, self.dim, self.eps)
