"""Samplers: densities that are fitted to the codes of a trained autoencoder, and give new codes.

    codes = model.transform(images)
    drawn = model.inverse_transform(fit_sampler("mixture", codes).sample(100))

A VAE's loss says how its codes are distributed. Most other kinds leave the distribution open, and a density that is
fitted afterwards draws better samples (P. Ghosh et al., "From variational to deterministic autoencoders", ICLR 2020).
All random numbers follow `manual_seed`.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from scratchae.autoencoders.clusters import k_means, vectors_of
from scratchae.autoencoders.neighbours import NeighbourSampler
from scratchae.checks import check_choice, check_count
from scratchae.random import generator, random_seed


def fit_sampler(kind: str, codes: Any, **options: Any) -> Any:
    """A sampler of `kind`, "normal", "mixture" or "neighbours", fitted to codes (n, ...).

    `options` are the arguments of the class. `sample(n)` of the sampler gives codes (n, ...). Raises ValueError for
    another kind, and for codes that do not suit.
    """
    return SAMPLERS[check_choice("sampler", kind, sorted(SAMPLERS))](**options).fit(codes)


class NormalSampler:
    """One normal distribution with the mean and the covariance of the codes (n, d)."""

    def fit(self, codes: Any) -> NormalSampler:
        codes = vectors_of(codes, 2)
        self.mean, self.factor = codes.mean(axis=0), _factor(np.cov(codes.T).reshape(codes.shape[1], -1))
        return self

    def sample(self, n: int) -> np.ndarray:
        """Codes (n, d)."""
        noise = generator().standard_normal((check_count("n", n), len(self.mean)))
        return (self.mean + noise @ self.factor.T).astype(np.float32)


class GaussianMixtureSampler:
    """A mixture of normal distributions with full covariances, fitted by expectation maximisation (EM).

    Each round has two steps (A. Dempster, N. Laird, D. Rubin 1977). The first step computes the probability that a code
    belongs to a component. The second step gives each component the weighted mean and covariance of all codes. The
    likelihood never falls. scikit-learn's GaussianMixture does the same, and is used where it is installed.

    Args:
        components: number of normal distributions; at least that many codes are needed.
        rounds: the largest number of rounds. EM ends before if the mean log-likelihood rises by less than 0.001.
    """

    def __init__(self, components: int = 10, rounds: int = 100):
        self.components, self.rounds = check_count("components", components), check_count("rounds", rounds)

    def fit(self, codes: Any) -> GaussianMixtureSampler:
        codes = vectors_of(codes, max(2, self.components))
        try:
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.mixture import GaussianMixture

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # `rounds` is a limit, and reaching it no mistake
                found = GaussianMixture(self.components, max_iter=self.rounds, random_state=random_seed()).fit(codes)
            self.weights, self.means, covariances = found.weights_, found.means_, found.covariances_
        except ImportError:
            self.weights, self.means, covariances = expectation_maximisation(codes, self.components, self.rounds)
        self.factors = np.stack([_factor(c) for c in covariances])
        return self

    def sample(self, n: int) -> np.ndarray:
        """Codes (n, d)."""
        draw = generator()
        which = draw.choice(len(self.weights), check_count("n", n), p=self.weights / self.weights.sum())
        noise = draw.standard_normal((n, self.means.shape[1]))
        return (self.means[which] + np.einsum("nij,nj->ni", self.factors[which], noise)).astype(np.float32)


def expectation_maximisation(codes: np.ndarray, components: int, rounds: int) -> tuple[Any, Any, Any]:
    """Weights (k,), means (k, d) and covariances (k, d, d) of a mixture, from codes (n, d)."""
    n, d = codes.shape
    floor = 1e-6 * codes.var(axis=0).mean() + 1e-12
    belongs = np.eye(components)[k_means(codes, components)[1]]
    before = -np.inf
    for _ in range(rounds):
        counts = belongs.sum(axis=0) + 1e-9
        means = belongs.T @ codes / counts[:, None]
        centred = codes[None] - means[:, None]  # (k, n, d)
        covariances = np.einsum("nk,kni,knj->kij", belongs, centred, centred, optimize=True) / counts[:, None, None]
        covariances += floor * np.eye(d)
        log_p = np.stack([_log_normal(c, v) for c, v in zip(centred, covariances, strict=True)], axis=1)
        log_p += np.log(counts / n)
        largest = log_p.max(axis=1, keepdims=True)
        log_total = largest + np.log(np.exp(log_p - largest).sum(axis=1, keepdims=True))
        belongs = np.exp(log_p - log_total)
        if (now := log_total.mean()) - before < 1e-3:
            break
        before = now
    return counts / n, means, covariances


SAMPLERS: dict[str, Any] = {
    "normal": NormalSampler, "mixture": GaussianMixtureSampler, "neighbours": NeighbourSampler,
}  # fmt: skip


def _factor(covariance: np.ndarray) -> np.ndarray:
    """L with L L^T = covariance. Codes on a plane have a covariance without an inverse, so a little is added."""
    size = len(covariance)
    return np.linalg.cholesky(covariance + (1e-9 * np.trace(covariance) / size + 1e-12) * np.eye(size))


def _log_normal(centred: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """log N(x; mean, covariance) of x - mean, (n, d)."""
    factor = np.linalg.cholesky(covariance)
    solved = np.linalg.solve(factor, centred.T)
    log_determinant = 2 * np.log(np.diagonal(factor)).sum()
    return -0.5 * (len(covariance) * np.log(2 * np.pi) + log_determinant + (solved**2).sum(axis=0))
