"""Importance-weighted autoencoder: a variational autoencoder trained on a tighter bound of log p(x).

    z_1, ..., z_K ~ q(z | x)        w_k = p(x | z_k) p(z_k) / q(z_k | x)
    loss = -log (w_1 + ... + w_K) / K

With K = 1 the loss is a sample of the negative evidence lower bound (ELBO). More samples make the bound tighter, and
the limit is -log p(x). Source: Y. Burda, R. Grosse, R. Salakhutdinov, "Importance weighted autoencoders", ICLR 2016.
"""

from typing import Any

from scratchae import functional as F
from scratchae import nn
from scratchae.autoencoders.base import LOSSES, Loss, check_samples
from scratchae.autoencoders.variational import LOG_NORMALISERS, VariationalAutoencoder
from scratchae.checks import check_count


class ImportanceWeightedAutoencoder(VariationalAutoencoder):
    """A variational autoencoder whose loss is the importance-weighted bound of `samples` codes per input.

    The loss has the one term `bound`, in nats per sample. `loss` must be a log-probability: one of the names. A step
    decodes `samples` codes, so a step costs as many decoder passes. Other options: see `VariationalAutoencoder`. The
    bound has no `beta`. Raises ValueError for another loss, and for fewer samples than 1.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, loss: Loss = F.mse_loss, *,
        code_size: int, feature_size: int, samples: int = 5, **others: Any,
    ):  # fmt: skip
        if "beta" in others:
            raise TypeError("ImportanceWeightedAutoencoder has no beta: the bound has one term; leave beta out")
        super().__init__(encoder, decoder, loss, code_size=code_size, feature_size=feature_size, **others)
        self.samples = check_count("samples", samples)
        if self._loss_function not in LOG_NORMALISERS:
            raise ValueError(f"loss={loss}: the bound needs a log-probability, one of {sorted(LOSSES)}")

    def loss_terms(self, x: Any, target: Any = None) -> dict[str, Any]:
        check_samples(self, x)
        mu, logvar = self.posterior(x)
        bound = F.mean(self.importance_bound(x, mu, logvar, self.samples, target))
        return {"bound": -bound, **self.penalties(x, mu)}
