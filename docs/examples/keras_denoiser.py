"""The convolutional autoencoder that removes noise, among Keras's examples, on images of MNIST."""

import numpy as np

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim, plotting


def noise(images):
    noisy = images + 0.4 * sa.generator().standard_normal(images.shape, dtype="float32")
    return np.clip(noisy, 0.0, 1.0)


sa.manual_seed(0)
train_images, _ = sa.data.mnist_sample()
test_images, _ = sa.data.mnist_sample("test")
train_images, test_images = train_images[:1000], test_images[:500]
noisy_train_images, noisy_test_images = noise(train_images), noise(test_images)

encoder = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding="same"), F.relu,
    nn.MaxPool2d(2),
    nn.Conv2d(32, 32, 3, padding="same"), F.relu,
    nn.MaxPool2d(2),
)  # fmt: skip
decoder = nn.Sequential(
    nn.Conv2d(32, 32, 3, padding="same"), F.relu,
    nn.Upsample(2),
    nn.Conv2d(32, 32, 3, padding="same"), F.relu,
    nn.Upsample(2),
    nn.Conv2d(32, 1, 3, padding="same"), F.sigmoid,
)  # fmt: skip
autoencoder = sa.Autoencoder(encoder, decoder, loss="bce")
trainer = sa.Trainer(autoencoder, optim.Adam(autoencoder.parameters(), lr=1e-3))
autoencoder.summary((1, 28, 28))

history = trainer.fit(
    (train_images, train_images),
    validation=(test_images, test_images),
    epochs=3,
    batch_size=16,
    progress=False,
)
print(f"images: test loss {history['val_loss'][-1]:.4f}")
plotting.reconstructions(test_images, autoencoder.reconstruct(test_images), "keras_images.png")

history = trainer.fit(
    (noisy_train_images, train_images),
    validation=(noisy_test_images, test_images),
    epochs=6,
    batch_size=16,
    progress=False,
)
print(f"noisy images: test loss {history['val_loss'][-1]:.4f}")
denoised = autoencoder.reconstruct(noisy_test_images)
for name, images in (("noisy", noisy_test_images), ("denoised", denoised)):
    print(f"{name}: mean squared error {np.square(images - test_images).mean():.4f}")
rows = {"noisy": noisy_test_images, "denoised": denoised, "clean": test_images}
plotting.image_rows(rows, "keras_denoiser.png")
