"""The basic variational autoencoder among PyTorch's examples: images of MNIST, codes of 20 numbers."""

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim, plotting

sa.manual_seed(1)
train_images, _ = sa.data.mnist_sample()
test_images, _ = sa.data.mnist_sample("test")
train_loader = sa.DataLoader(train_images, batch_size=128, shuffle=True, seed=1)
test_loader = sa.DataLoader(test_images, batch_size=128)


class VAE(nn.Module):
    def __init__(self):
        self.fc1 = nn.Linear(784, 400)
        self.fc21 = nn.Linear(400, 20)
        self.fc22 = nn.Linear(400, 20)
        self.fc3 = nn.Linear(20, 400)
        self.fc4 = nn.Linear(400, 784)

    def encode(self, x):
        h = F.relu(self.fc1(x))
        return self.fc21(h), self.fc22(h)

    def reparameterize(self, mu, logvar):
        return mu + F.exp(0.5 * logvar) * F.normal_like(mu)

    def decode(self, z):
        h = F.relu(self.fc3(z))
        return F.sigmoid(self.fc4(h))

    def forward(self, x):
        mu, logvar = self.encode(x.reshape(-1, 784))
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


model = VAE()
optimizer = optim.Adam(model.parameters(), lr=1e-3)


def loss_function(output, x, mu, logvar):
    reconstruction = F.binary_cross_entropy(output, x.reshape(-1, 784), reduction="sum")
    return reconstruction + F.gaussian_kl(mu, logvar, reduction="sum")


def train(epoch):
    model.train()
    total = 0.0
    for x in train_loader:
        optimizer.zero_grad()
        output, mu, logvar = model(x)
        loss = loss_function(output, x, mu, logvar)
        loss.backward()
        total += loss.item()
        optimizer.step()
    print(f"epoch {epoch}: average loss {total / len(train_images):.2f}")


def test():
    model.eval()
    total = 0.0
    with sa.no_grad():
        for x in test_loader:
            output, mu, logvar = model(x)
            total += loss_function(output, x, mu, logvar).item()
        output, _, _ = model(test_images[:8])
    plotting.reconstructions(test_images[:8], output.reshape(-1, 1, 28, 28), "pytorch_vae.png", n=8)
    return total / len(test_images)


if __name__ == "__main__":
    for epoch in range(1, 11):
        train(epoch)
    test_loss = test()
    print(f"test set loss {test_loss:.2f}")
    with sa.no_grad():
        sample = model.decode(sa.generator().standard_normal((64, 20), dtype="float32"))
    plotting.image_grid(sample.reshape(-1, 1, 28, 28), "pytorch_vae_samples.png")
