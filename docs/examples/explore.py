"""A page to walk through two code units, written after a short training."""

import scratchae as sa
from scratchae import optim

sa.manual_seed(0)

# train
images, _ = sa.data.mnist_sample()
test_images, test_digits = sa.data.mnist_sample("test")
vae = sa.VariationalAutoencoder.dense((784, 128, 2))
optimizer = optim.Adam(vae.parameters(), lr=2e-3)
sa.Trainer(vae, optimizer).fit(images, epochs=12, batch_size=64)

# write
sa.explore(vae, "explorer.html", test_images, test_digits, "Digits in two numbers")
