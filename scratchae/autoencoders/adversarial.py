"""Adversarial autoencoder: a second network, the discriminator, judges whether codes look like N(0, 1).

    discriminator term    -log D(p) - log(1 - D(z)), over 2            p from N(0, 1), z = encode(x) held constant
    adversarial term      -weight * log D(encode(x))                   D held constant

The discriminator learns to tell the codes from samples of the prior. The encoder learns to make codes that the
discriminator takes for samples. At the optimum, the codes of all data together have the prior's distribution.

The two terms have no parameter in common, so one backward pass gives both networks their own gradients. The networks
want rates of their own, so give the optimiser two groups. An optimiser keeps a separate state for each parameter:

    groups = [{"params": model.halves()}, {"params": model.discriminator.parameters(), "lr": 5e-4}]
    sa.Trainer(model, optim.Adam(groups, lr=1e-3))

Source: A. Makhzani, J. Shlens, N. Jaitly, I. Goodfellow, B. Frey, "Adversarial autoencoders", 2015.
"""

from collections.abc import Iterator
from typing import Any

from scratchae import functional as F
from scratchae import nn
from scratchae.autoencoders.base import Loss, drawn_or_not
from scratchae.autoencoders.prior import NormalCodeAutoencoder
from scratchae.autograd import grad, is_grad_enabled
from scratchae.checks import check_number


class AdversarialAutoencoder(NormalCodeAutoencoder):
    """Adds a discriminator on the codes (N, code_size), and the terms `adversarial` and `discriminator`.

    Args:
        encoder, decoder, loss: see `Autoencoder`.
        code_size: number of code units.
        weight: of the adversarial term, beside a reconstruction term that is a mean over pixels.
        discriminator: module from codes (N, code_size) to logits (N, 1); by default two hidden layers of 128.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, loss: Loss = F.mse_loss, *,
        code_size: int, weight: float = 0.005, discriminator: nn.Module | None = None, **others: Any,
    ):  # fmt: skip
        super().__init__(encoder, decoder, loss, code_size=code_size, **others)
        self.adversarial_weight = check_number("weight", weight)
        if discriminator is None:
            with drawn_or_not():
                discriminator = nn.Sequential(
                    nn.Linear(self.code_size, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2),
                    nn.Linear(128, 1),
                )  # fmt: skip
        elif not isinstance(discriminator, nn.Module):
            raise TypeError(f"discriminator is a {type(discriminator).__name__}; expected a module or None")
        self.discriminator = discriminator

    def halves(self) -> Iterator[nn.Parameter]:
        """The parameters of the autoencoder without the discriminator."""
        judging = {id(p) for p in self.discriminator.parameters()}
        return (p for p in self.parameters() if id(p) not in judging)

    def penalties(self, x: Any, code: Any) -> dict[str, Any]:
        terms = super().penalties(x, code)
        fooled = _nll(self.discriminator(code), 1.0)
        caught = _nll(self.discriminator(code.detach()), 0.0)
        accepted = _nll(self.discriminator(F.normal_like(code.detach())), 1.0)
        adversarial = self.adversarial_weight * _for_code_alone(fooled, code)
        return {**terms, "adversarial": adversarial, "discriminator": (caught + accepted) / 2}


def _nll(logits: Any, answer: float) -> Any:
    """-log of the probability that the discriminator gives to `answer`."""
    return F.binary_cross_entropy_with_logits(logits, 0 * logits.data + answer)


def _for_code_alone(value: Any, code: Any) -> Any:
    """A term with the value of `value` and its derivative by `code`, but none by the discriminator's weights."""
    if not (is_grad_enabled() and code.requires_grad):
        return value.detach()
    slope = grad(value, code)
    return value.detach() + F.sum(slope * (code - code.detach()))
