"""Total-correlation autoencoder (beta-TCVAE): a variational autoencoder that splits the KL term into three.

    KL(q(z | x) || p(z)), averaged over the data
        = I(x; z)                                    mutual_information: what the code tells about the input
        + KL(q(z) || product over j of q(z_j))       total_correlation: how much the units depend on each other
        + sum over j of KL(q(z_j) || p(z_j))         dimensions: how far each unit is from N(0, 1)

q(z) is the mean of q(z | x) over all N samples of the training set. A batch of M samples gives an unbiased estimate
(minibatch stratified sampling). The code z_i was drawn from q(z | x_i), so x_i has its own weight:

    q(z_i) = q(z_i | x_i) / N + (N - 1) / N * mean over j != i of q(z_i | x_j)

A large weight on the total correlation alone makes the units independent, and costs less reconstruction than a large
beta. Source: R. Chen, X. Li, R. Grosse, D. Duvenaud, "Isolating sources of disentanglement in variational
autoencoders", NeurIPS 2018.
"""

import math
from typing import Any

from scratchae import functional as F
from scratchae import nn
from scratchae.autoencoders.base import Loss
from scratchae.autoencoders.batch import has_pairs
from scratchae.autoencoders.variational import VariationalAutoencoder
from scratchae.backend import xp_of
from scratchae.checks import check_count, check_number


class TotalCorrelationAutoencoder(VariationalAutoencoder):
    """A variational autoencoder with a weight for each part of the KL term.

    Args:
        encoder, decoder, loss, code_size, feature_size: see `VariationalAutoencoder`.
        beta: weight of the total correlation.
        information, dimensions: weights of the two other parts.
        n_samples: N, the number of samples in the training set.

    With all weights 1 the loss is a sample of the VAE's loss. A batch needs two samples, in one process.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, loss: Loss = F.mse_loss, *,
        code_size: int, feature_size: int, beta: float = 6.0, information: float = 1.0, dimensions: float = 1.0,
        n_samples: int = 60_000, **others: Any,
    ):  # fmt: skip
        super().__init__(encoder, decoder, loss, code_size=code_size, feature_size=feature_size, beta=beta, **others)
        self.information = check_number("information", information)
        self.dimensions = check_number("dimensions", dimensions)
        self.n_samples = check_count("n_samples", n_samples, 2)

    def loss_terms(self, x: Any, target: Any = None) -> dict[str, Any]:
        pairs, (mu, logvar) = has_pairs(self, x), self.posterior(x)
        z = self.reparameterise(mu, logvar)
        parts = kl_parts(z, mu, logvar, self.n_samples) if pairs else [0 * F.sum(z)] * 3
        information, correlation, dimensions = parts
        return {
            "reconstruction": self.distance(self.decode(z), x, target) * (x.size // len(x)),
            "mutual_information": self.information * information,
            "total_correlation": self.beta * correlation,
            "dimensions": self.dimensions * dimensions,
            **self.penalties(x, mu),
        }


def kl_parts(z: Any, mu: Any, logvar: Any, n_samples: int) -> tuple[Any, Any, Any]:
    """The mutual information, the total correlation and the KL of the dimensions, in nats.

    `z` (M, d) are codes of M samples, and `mu` and `logvar` (M, d) are the posteriors of the same samples.
    """
    xp, m = xp_of(z.data), len(z)
    own, others = -math.log(n_samples), math.log((n_samples - 1) / (n_samples * (m - 1)))
    log_weights = xp.where(xp.eye(m, dtype=bool), own, others).astype(z.dtype)
    pairs = log_normal(z[:, None], mu[None], logvar[None])  # log q(z_ij | x_k), (M, M, d)
    log_q_given_x = F.sum(log_normal(z, mu, logvar), axis=1)
    log_q = F.logsumexp(F.sum(pairs, axis=2) + log_weights, axis=1)
    log_product = F.sum(F.logsumexp(pairs + log_weights[:, :, None], axis=1), axis=1)
    log_p = F.sum(log_normal(z, 0.0, 0.0 * z), axis=1)
    return F.mean(log_q_given_x - log_q), F.mean(log_q - log_product), F.mean(log_product - log_p)


def log_normal(z: Any, mu: Any, logvar: Any) -> Any:
    """The logarithm of the density of N(mu, exp(logvar)) at z, element by element."""
    return -0.5 * (math.log(2 * math.pi) + logvar + (z - mu) ** 2 * F.exp(-logvar))
