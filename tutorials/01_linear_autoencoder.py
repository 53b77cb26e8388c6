"""The simplest autoencoder: 784 pixels, 64 numbers, 784 pixels, and no nonlinearity at all.

What could it learn at best? A linear code of 64 numbers spans a plane of 64 dimensions, and of all planes,
principal component analysis (PCA) finds the one closest to the data (Eckart & Young 1936). So the optimum is
known before the first step of training, and gradient descent can be watched on its way there (Baldi & Hornik
1989: it has no other minima to get caught in).

    python tutorials/01_linear_autoencoder.py                 the embedded sample, seconds
    python tutorials/01_linear_autoencoder.py --data full     all 60,000 images, under a minute
"""

import numpy as np
from common import finish, load, pca, pca_reconstruct, settings, verdict

import scratchae as sa
from scratchae import data, optim, plotting

CODE_SIZE = 64
BATCH_SIZE = 64
LR = 1e-3
EPOCHS = {"quick": 15, "sample": 30, "full": 10}  # 1,200, 2,400 and 9,400 steps
TARGET = {"quick": 0.0105, "sample": 0.0098, "full": 0.0093}  # test MSE

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
sa.manual_seed(0)
train_images, _, test_images, _ = load(args.data, data.mnist, data.mnist_sample)

# 1. The optimum, without any learning: the first 64 principal directions of the training images.
mean, directions = pca(train_images)
optimum = float(np.mean((test_images - pca_reconstruct(test_images, mean, directions[:CODE_SIZE])) ** 2))
print(f"{len(train_images):,} training images, {len(test_images):,} test images")
print(f"PCA with {CODE_SIZE} components, the best that any linear code can do: test MSE {optimum:.6f}")

# 2. The same by gradient descent.
model = sa.Autoencoder.dense((784, CODE_SIZE), activation=None, output=None, loss="mse")
print(model)
trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=LR))
history = trainer.fit(train_images, validation=test_images, epochs=EPOCHS[run], batch_size=BATCH_SIZE)

# 3. Look at it.
figure = history.plot()
figure.axes[0].axhline(optimum, color="black", linewidth=1, linestyle=":", label="PCA, the optimum")
figure.axes[0].legend(frameon=False)
figure.savefig(args.out / "loss.png", dpi=150)
shown = test_images[:10]
plotting.reconstructions(shown, model.reconstruct(shown), args.out / "reconstructions.png")
print(f"loss curve: {args.out / 'loss.png'}")
print(f"originals above reconstructions: {args.out / 'reconstructions.png'}")

error = float(model.reconstruction_error(test_images).mean())
print(f"test MSE {error:.6f}: {error / optimum - 1:.1%} above the optimum")
verdict("test MSE", TARGET[run], error)
finish()
