"""The simplest autoencoder: 784 pixels, 64 numbers, 784 pixels, and no nonlinearity.

An autoencoder learns to reproduce its input. The encoder maps the 784 pixels of an image to 64 numbers, the latent
code. The decoder maps the code back to 784 pixels. The code is smaller than the image, so the code is a bottleneck.

How small can the error become? All outputs of a linear decoder with 64 inputs lie on a plane of 64 dimensions.
Principal component analysis (PCA) finds the plane closest to the data (Eckart & Young 1936). PCA therefore gives the
optimum before the training starts. PCA is our baseline: the result to compare with. Gradient descent should reach this
optimum, because the error has no other minima (Baldi & Hornik 1989).

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
sa.set_num_threads()  # threads that sleep while they wait, so that other programs on this machine do no harm
train_images, _, test_images, _ = load(args.data, data.mnist, data.mnist_sample)

# 1. The baseline needs no training: project the images onto the first 64 principal directions of the training images.
mean, directions = pca(train_images)
optimum = float(np.mean((test_images - pca_reconstruct(test_images, mean, directions[:CODE_SIZE])) ** 2))
print(f"{len(train_images):,} training images, {len(test_images):,} test images")
print(f"PCA with {CODE_SIZE} components, the optimum of all linear codes: test MSE {optimum:.6f}")

# 2. Gradient descent starts from random weights. The test loss should fall towards the optimum, and end a little above
#    the optimum.
model = sa.Autoencoder.dense((784, CODE_SIZE), activation=None, output=None, loss="mse")
print(model)
trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=LR))
history = trainer.fit(train_images, validation=test_images, epochs=EPOCHS[run], batch_size=BATCH_SIZE)

# 3. Draw the loss curve with the optimum, and ten reconstructions.
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
