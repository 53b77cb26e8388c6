"""A conditional variational autoencoder: encoder and decoder get the label too, so that you choose what is drawn."""

import numpy as np

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim


class ConditionalVAE(nn.Module):
    def __init__(self, shape, classes, hidden=256, code_size=4, beta=1.0):
        self.shape, self.classes, self.code_size, self.beta = shape, classes, code_size, beta
        n = int(np.prod(shape))
        self.encoder = nn.Sequential(nn.Linear(n + classes, hidden), nn.ReLU(), nn.Linear(hidden, 2 * code_size))
        self.decoder = nn.Sequential(nn.Linear(code_size + classes, hidden), nn.ReLU(), nn.Linear(hidden, n))

    def one_hot(self, labels):
        return np.eye(self.classes, dtype=np.float32)[np.asarray(labels)]

    def encode(self, x, labels):
        found = self.encoder(F.concatenate([F.reshape(x, (len(x), -1)), labels], axis=1))
        return found[:, : self.code_size], found[:, self.code_size :]

    def decode(self, z, labels):
        return F.reshape(self.decoder(F.concatenate([z, labels], axis=1)), (-1, *self.shape))

    def loss_terms(self, x, labels):
        """Both terms are sums over pixels and code units, and means over samples, so that `beta` means what it says."""
        mu, logvar = self.encode(x, labels)
        logits = self.decode(mu + F.exp(0.5 * logvar) * F.normal_like(mu), labels)
        reconstruction = F.binary_cross_entropy_with_logits(logits, x, "sum") / len(x)
        return {"reconstruction": reconstruction, "kl": self.beta * F.gaussian_kl(mu, logvar, "batchmean")}

    def reconstruct(self, x, labels):
        with sa.no_grad():
            mu, _ = self.encode(x, self.one_hot(labels))
            return F.sigmoid(self.decode(mu, self.one_hot(labels))).numpy()

    def sample(self, n, labels):
        """`n` pictures of the labels: one label for all pictures, or n labels."""
        z = sa.generator().standard_normal((n, self.code_size), dtype=np.float32)
        with sa.no_grad():
            return F.sigmoid(self.decode(z, self.one_hot(np.broadcast_to(labels, n)))).numpy()


images, labels = sa.data.mnist_sample()
sa.manual_seed(0)
model = ConditionalVAE(images.shape[1:], classes=10)
trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=3e-3))
history = trainer.fit((images, model.one_hot(labels)), epochs=10, batch_size=32, progress=False)
print({term: round(history[term][-1], 1) for term in ("reconstruction", "kl")})
wanted = np.arange(500) % 10
drawn = model.sample(500, wanted)
distances = [np.mean((drawn - images[labels == d].mean(axis=0)) ** 2, axis=(1, 2, 3)) for d in range(10)]
rate = np.mean(np.argmin(distances, axis=0) == wanted)
error = np.mean((model.reconstruct(images, labels) - images) ** 2)
wrong = np.mean((model.reconstruct(images, (labels + 1) % 10) - images) ** 2)
print(f"drawn digits that are nearest to the mean of their class: {rate:.2f}")
print(f"mean squared error of reconstructions: {error:.4f}, with the wrong label {wrong:.4f}")
