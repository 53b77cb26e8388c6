"""A kind of autoencoder whose code units are uncorrelated: it adds the squared covariances between them."""

import numpy as np

import scratchae as sa
from scratchae import functional as F
from scratchae import optim


class DecorrelatedAutoencoder(sa.Autoencoder):
    def __init__(self, encoder, decoder, loss="mse", *, weight=1e-2, **others):
        super().__init__(encoder, decoder, loss, **others)
        self.decorrelation_weight = weight

    def penalties(self, x, code):
        centred = code - F.batch_mean(code, axis=0)
        covariances = F.batch_mean(centred[:, :, None] * centred[:, None, :], axis=0)
        variances = F.batch_mean(centred * centred, axis=0)
        between = F.sum_of_squares(covariances) - F.sum_of_squares(variances)
        return {**super().penalties(x, code), "decorrelation": self.decorrelation_weight * between}


class DenoisingDecorrelated(sa.DenoisingAutoencoder, DecorrelatedAutoencoder):
    pass


images, _ = sa.data.mnist_sample()
kinds = {
    "plain": (sa.Autoencoder, {}),
    "decorrelated": (DecorrelatedAutoencoder, {"weight": 0.1}),
    "and denoising": (DenoisingDecorrelated, {"weight": 0.1, "corruption": "masking", "amount": 0.3}),
}
for name, (kind, options) in kinds.items():
    sa.manual_seed(0)
    model = kind.dense((784, 128, 16), loss="mse", **options)
    history = sa.Trainer(model, optim.Adam(model.parameters())).fit(images, epochs=3, progress=False)
    correlations = np.corrcoef(model.transform(images), rowvar=False)
    size = np.abs(correlations[~np.eye(16, dtype=bool)]).mean()
    error = model.reconstruction_error(images).mean()
    terms = {term: round(history[term][-1], 4) for term in history if term in model.loss_terms(images[:64])}
    print(f"{name:14} mean |correlation| {size:.3f}   MSE {error:.4f}   {terms}")

# Is the gradient right? Finite differences need float64, and a small model.
model = DecorrelatedAutoencoder.dense((9, 5, 3), activation="tanh", loss="mse").to(np.float64)
print("gradients are right:", sa.gradcheck(model.loss, [np.random.default_rng(0).random((6, 9))]))
