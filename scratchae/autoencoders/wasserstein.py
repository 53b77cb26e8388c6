"""Wasserstein autoencoder: the codes of a batch, taken together, are distributed like the prior.

    penalty = MMD^2(codes, samples of N(0, 1))

The maximum mean discrepancy (MMD) compares two sets of points by a kernel k, which is large for points that are near:

    MMD^2 = mean of k(x, x') + mean of k(y, y') - 2 mean of k(x, y)

The means leave out the pairs of a point with itself, so the estimate is unbiased and may be negative. The kernels are

    "imq"    k(x, y) = C / (C + |x - y|^2)                 inverse multiquadratic, with long tails
    "rbf"    k(x, y) = exp(-|x - y|^2 / C)

averaged over several widths C. A VAE pulls each posterior to N(0, 1). Here single codes stay sharp.
Source: I. Tolstikhin, O. Bousquet, S. Gelly, B. Schoelkopf, "Wasserstein auto-encoders", ICLR 2018.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from scratchae import functional as F
from scratchae import nn
from scratchae.autoencoders.base import Loss
from scratchae.autoencoders.batch import has_pairs
from scratchae.autoencoders.prior import NormalCodeAutoencoder
from scratchae.checks import check_choice, check_number, shown

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class WassersteinAutoencoder(NormalCodeAutoencoder):
    """Adds `weight` times the squared MMD between the codes (N, code_size) and N(0, 1).

    The widths C of the kernel are 2 d times `SCALES`, because two points of N(0, 1) in d dimensions have a mean squared
    distance of 2 d. Raises ValueError for another kernel, and for a batch of one sample.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, loss: Loss = F.mse_loss, *,
        code_size: int, weight: float = 0.1, kernel: str = "imq", **others: Any,
    ):  # fmt: skip
        super().__init__(encoder, decoder, loss, code_size=code_size, **others)
        self.discrepancy_weight = check_number("weight", weight)
        self.kernel: str = check_choice("kernel", kernel, ("imq", "rbf"))

    def penalties(self, x: Any, code: Any) -> dict[str, Any]:
        pairs, terms = has_pairs(self, x), super().penalties(x, code)
        found = mmd(code, F.normal_like(code), self.kernel) if pairs else 0 * F.sum(code)
        return {**terms, "discrepancy": self.discrepancy_weight * found}


def mmd(x: Any, y: Any, kernel: str = "imq", scales: Sequence[float] = SCALES) -> Any:
    """The squared maximum mean discrepancy of two sets of points (N, d), N at least 2. Unbiased, at most 2.

    Raises ValueError for other shapes, another kernel, no scales, or a scale that is not positive.
    """
    check_choice("mmd: kernel", kernel, ("imq", "rbf"))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(f"mmd of shapes {x.shape} and {y.shape}; expected points (N, d) and (M, d), 2 or more of each")
    if isinstance(scales, (str, dict, set)) or not isinstance(scales, Iterable) or not (given := list(scales)):
        raise ValueError(f"mmd: scales={shown(scales)}; expected a list of positive numbers")
    widths = [2 * x.shape[1] * check_number("mmd: a scale", scale, "(0, inf)") for scale in given]

    def similarity(a: Any, b: Any) -> Any:
        squares = F.sum(a * a, axis=1)[:, None] + F.sum(b * b, axis=1)[None] - 2 * (a @ b.T)
        return sum(c / (c + squares) if kernel == "imq" else F.exp(squares / -c) for c in widths) / len(widths)

    def within(a: Any) -> Any:
        n = len(a)
        return (F.sum(similarity(a, a)) - n) / (n * (n - 1))  # without the n ones on the diagonal

    return within(x) + within(y) - 2 * F.mean(similarity(x, y))
