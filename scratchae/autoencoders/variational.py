"""Variational autoencoder: the code is a distribution, and the decoder a model of the data.

    (mu, logvar) = encoder(x)                          the posterior q(z | x) = N(mu, exp(logvar))
    z = mu + exp(logvar / 2) * noise                   a sample of it, differentiable in mu and logvar
    loss = -log p(x | z) + beta * KL(q(z | x) || N(0, 1))

With beta = 1, the expected loss is an upper bound of -log p(x) under "bce" for black and white pixels, and under "cb"
for pixels in [0, 1]. Under "mse" and "mae", the bound is the loss plus a constant for each feature: (log pi) / 2 for
"mse", log 2 for "mae". For grey pixels, "bce" lacks the factor that makes it a density. This factor depends on the
decoder's output, and is no constant. The loss "cb" has the factor.

Sources: D. Kingma, M. Welling, "Auto-encoding variational Bayes", ICLR 2014; beta: I. Higgins et al., ICLR 2017;
importance weighting: Y. Burda, R. Grosse, R. Salakhutdinov, ICLR 2016; "cb": G. Loaiza-Ganem, J. Cunningham, NeurIPS
2019.
"""

import math
from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae import nn
from scratchae.autoencoders.base import LOSSES, Autoencoder, Loss, check_samples, dense_layers, drawn_or_not
from scratchae.backend import Array, xp_of
from scratchae.checks import check_count, check_fits, check_number, shown
from scratchae.random import generator

# A loss summed over features is -log p(x | z) minus a constant per feature. The constant is the logarithm of the
# integral of exp(-(x - y)^2), a normal distribution of variance 1/2, or of exp(-|x - y|).
LOG_NORMALISERS = {
    F.mse_loss: 0.5 * math.log(math.pi), F.l1_loss: math.log(2),
    F.binary_cross_entropy: 0.0, F.binary_cross_entropy_with_logits: 0.0,
}  # fmt: skip


class VariationalAutoencoder(Autoencoder):
    """An encoder that ends in a normal distribution, regularised towards N(0, 1).

    Args:
        encoder: module from inputs to features (N, feature_size); the heads for mu and logvar are added here.
        decoder: module from codes (N, code_size) back.
        loss: see `Autoencoder`; a function must average over all elements. The terms of the loss are summed over
            features and averaged over samples, so that "bce" counts nats per image.
        code_size, feature_size: numbers of code units, and of the encoder's outputs.
        beta: weight of the KL term.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, loss: Loss = F.mse_loss, *,
        code_size: int, feature_size: int, beta: float = 1.0, **others: Any,
    ):  # fmt: skip
        super().__init__(encoder, decoder, loss, **others)
        if getattr(loss, "reduction", "mean") != "mean":
            raise ValueError(f"loss={loss}: expected a mean over all elements, which is scaled to a sum here")
        self.beta = check_number("beta", beta)
        sizes = f"(feature_size, code_size)={shown((feature_size, code_size))}"
        feature_size = check_count(f"{sizes}: feature_size", feature_size)
        self.code_size = check_count(f"{sizes}: code_size", code_size)
        with drawn_or_not():
            self.mu = nn.Linear(feature_size, self.code_size)
            self.logvar = nn.Linear(feature_size, self.code_size)

    @classmethod
    def default_code_activation(cls, activation: str | None, options: dict[str, Any]) -> str | None:
        """None: the code is normally distributed."""
        return None

    @classmethod
    def dense_encoder(cls, sizes: list[int], hidden: list, code_activation: str | None) -> tuple[list, dict[str, Any]]:
        """All but the last layer, which the heads replace: (784, 400, 20) has 400 features and codes of 20."""
        if code_activation is not None:
            raise ValueError(f"code_activation={code_activation!r}: the code of a VAE is normal, and takes none")
        return dense_layers(sizes[:-1], hidden), {"feature_size": sizes[-2], "code_size": sizes[-1]}

    # --- on Tensors ---

    def posterior(self, x: Any) -> tuple[Any, Any]:
        """mu and logvar of q(z | x), each (N, code size)."""
        features = self.encoder(x)
        return self.mu(features), self.logvar(features)

    def encode(self, x: Any) -> Any:
        """The posterior's mean: the most likely code."""
        return self.posterior(x)[0]

    def reparameterise(self, mu: Any, logvar: Any) -> Any:
        """A sample of N(mu, exp(logvar)) that passes gradients to both."""
        return mu + F.exp(0.5 * logvar) * F.normal_like(mu)

    def forward(self, x: Any) -> Any:
        """The reconstruction: from a sampled code in train mode, from the mean in eval mode."""
        mu, logvar = self.posterior(x)
        return self.shaped_like(self.decode(self.reparameterise(mu, logvar) if self.training else mu), x)

    def loss_terms(self, x: Any, target: Any = None) -> dict[str, Any]:
        """`reconstruction` and `kl`, from a sampled code in either mode: the mean's loss is no bound of -log p(x)."""
        mu, logvar = self.posterior(x)
        output = self.decode(self.reparameterise(mu, logvar))
        features = x.size // max(len(x), 1)
        return {
            "reconstruction": self.distance(output, x, target) * features,
            "kl": F.gaussian_kl(mu, logvar, reduction="sum") * (self.beta / len(x)),
            **self.penalties(x, mu),
        }

    def importance_bound(self, x: Any, mu: Any, logvar: Any, samples: int, target: Any = None) -> Any:
        """log mean of `samples` weights p(x, z) / q(z | x), (N,): a bound of log p(x), tighter with more samples.

        `mu` and `logvar` are the posterior of `x`. With `target`, z is the code of the noisy `x`, and the bound is one
        of log p(target).
        """
        normaliser = LOG_NORMALISERS[self._loss_function] * (x.size // len(x))
        log_weights = []
        for _ in range(samples):
            z = self.reparameterise(mu, logvar)
            output = self.shaped_like(self.decode(z), x)
            losses = self._loss_function(output, x if target is None else target, reduction="none")
            log_p_x = -F.sum(F.reshape(losses, (len(x), -1)), axis=1) - normaliser
            noise_squared = (z - mu) ** 2 * F.exp(-logvar)
            log_weights.append(log_p_x + 0.5 * F.sum(noise_squared - z * z + logvar, axis=1))
        return F.logsumexp(F.stack(log_weights), axis=0) - math.log(samples)

    # --- on arrays ---

    def sample(self, n: int) -> np.ndarray:
        """`n` new inputs, decoded from codes drawn from N(0, 1)."""
        n = check_count("n", n)
        check_fits(f"n={n}: the codes", (n, self.code_size))
        return self._decoded(generator().standard_normal((n, self.code_size)))

    def manifold(self, n: int = 20, low: float = -2.0, high: float = 2.0) -> np.ndarray:
        """An n x n map of a 2-D code, (n * n, ...), row by row, in standard deviations of the prior.

        z_1 runs from `low` on the left to `high` on the right, z_2 from `high` at the top to `low` at the bottom.
        """
        if self.code_size != 2:
            raise ValueError(f"manifold() draws codes of size 2, this model has {self.code_size}; see interpolate()")
        n = check_count("n", n)
        check_fits(f"n={n}: a map of n x n", (n, n, 2))
        low, high = (check_number(name, x, "[-10000, 10000]") for name, x in (("low", low), ("high", high)))
        across, down = np.meshgrid(np.linspace(low, high, n), np.linspace(high, low, n))
        return self._decoded(np.stack([across.ravel(), down.ravel()], axis=1))

    def interpolate(self, a: Array, b: Array, steps: int = 10) -> np.ndarray:
        """`steps` inputs (steps, ...) on the straight line between the codes of `a` and `b`, both included.

        `a` and `b` are single samples. A batch of one vector (1, n) or of one image (1, C, H, W) counts as a sample.
        """
        steps = check_count("steps", steps, least=2)
        check_fits(f"steps={steps}: the codes", (steps, self.code_size))
        a, b = (check_samples(self, x) for x in (a, b))
        a, b = (x[0] if x.ndim in (2, 4) and len(x) == 1 else x for x in (a, b))
        if a.shape != b.shape:
            raise ValueError(f"interpolate() between shapes {a.shape} and {b.shape}; they must be equal")
        start, end = self.transform(xp_of(a, b).stack([a, b]))
        return self._decoded(start + np.linspace(0, 1, steps)[:, None] * (end - start))

    def log_likelihood(self, x: Array, samples: int = 100, batch_size: int = 256) -> np.ndarray:
        """An estimate of log p(x) in nats, one number per sample (n,), from `samples` codes each.

        log p(x) = log E_q [p(x | z) p(z) / q(z | x)]; the estimate is a lower bound in expectation, and rises to
        the true value with `samples`. Under "mse" p(x | z) is normal with variance 1/2, under "mae" Laplace with
        scale 1, under "bce" Bernoulli, under "cb" continuous Bernoulli. Pixels between 0 and 1 have no probability
        under "bce": its numbers for them are no log-likelihood, and not comparable with those of another loss.
        """
        if self._loss_function not in LOG_NORMALISERS:
            raise ValueError(f"log_likelihood() needs a loss that is a log-probability: one of {sorted(LOSSES)}")
        samples = check_count("samples", samples)
        return self.in_batches(lambda b: self.importance_bound(b, *self.posterior(b), samples), x, batch_size)

    def _decoded(self, z: np.ndarray) -> np.ndarray:
        return self.inverse_transform(z.astype(self.mu.weight.dtype))
