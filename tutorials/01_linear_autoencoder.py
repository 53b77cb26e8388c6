"""How much of a digit is left in 64 numbers?

An autoencoder learns to reproduce its input. The encoder maps the 784 pixels of an image to 64 numbers, the latent
code. The decoder maps the latent code back to 784 pixels. The code has fewer numbers than the image, so the code is a
bottleneck. This first autoencoder is linear, because its layers have no activation.

       image             code            reconstruction
    x (n, 784) ------> z (n, 64) ------> x' (n, 784)
             z = W x + b       x' = V z + c

The loss is the mean squared error (MSE), the mean of (x' - x)^2 over all pixels. Training needs no labels, because the
image itself is the target. Learning without labels is called unsupervised.

Principal component analysis (PCA) is the baseline, the result to compare with. The first principal direction is the
direction in which the training images vary most. Each later direction is perpendicular to all earlier directions, and
has the largest variance that is left. PCA describes an image by its coordinates along the first 64 directions.

All outputs of a linear decoder lie in a flat space of 64 dimensions. These tutorials call such a space a plane. PCA
finds the plane with the smallest squared distances to the training images (Eckart & Young 1936). So no linear
autoencoder has a lower training error. The loss of a linear autoencoder has no worse minimum (Baldi & Hornik 1989).

    python tutorials/01_linear_autoencoder.py                 the embedded sample, seconds
    python tutorials/01_linear_autoencoder.py --data full     all of MNIST, under a minute
"""

from common import finish, load, mse, pca, pca_reconstruct, settings, verdict

import scratchae as sa
from scratchae import data, optim, plotting

CODE_SIZE = 64
BATCH_SIZE = 64
LR = 1e-3
EPOCHS = {"quick": 18, "sample": 30, "full": 10}  # 1,278, 2,130 and 8,600 steps

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
sa.manual_seed(0)
digits = load(args.data, data.mnist, data.mnist_sample)
print(f"{len(digits.train):,} images for training, {len(digits.validation):,} for validation, {len(digits.test):,} for "
      f"the test")  # fmt: skip


# 1. The baseline needs no training loop. We project each image onto the first 64 principal directions of the training
#    images. Without a code, a decoder always returns the same image, at best the mean image. A useful code has a lower
#    error than the mean image.
#
# Predict first: the mean image has a test MSE of about 0.068. Which error has PCA with 64 of 784 numbers, 8% of them?
# Choose (a) 0.06, as 92% of the numbers are missing, or (b) 0.03, about half, or (c) 0.009.
mean, directions = pca(digits.train)
directions = directions[:CODE_SIZE]
by_pca = pca_reconstruct(digits.test, mean, directions)
optimum = mse(digits.test, by_pca)
training_optimum = mse(digits.train, pca_reconstruct(digits.train, mean, directions))
print(f"mean image:              test MSE {mse(digits.test, mean.reshape(1, 1, 28, 28)):.5f}")
print(f"PCA with {CODE_SIZE} components: test MSE {optimum:.5f}, training MSE {training_optimum:.5f}")

# What you should see, and why: answer (c). PCA's test MSE is 0.0093 on the sample and 0.0091 on all of MNIST.
# Neighbouring pixels have similar values, so 784 pixels contain far fewer than 784 independent numbers.

# 2. Gradient descent starts from random weights, and does not use PCA. The optimiser Adam is a form of gradient
#    descent. Each step uses a batch of 64 images. An epoch is one pass over all training images. After each epoch, the
#    trainer measures the loss on the validation images. No weight is trained on these images.
#
# Predict first: how far above PCA does the autoencoder end on the training images? Choose (a) below PCA, or (b) a few
# per cent above, or (c) at twice the error.
model = sa.Autoencoder.dense((784, CODE_SIZE), activation=None, output=None, loss="mse")
print(model)
trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=LR))
history = trainer.fit(digits.train, validation=digits.validation, epochs=EPOCHS[run], batch_size=BATCH_SIZE)
training_error = mse(digits.train, model.reconstruct(digits.train))
error = mse(digits.test, model.reconstruct(digits.test))
print(f"training MSE {training_error:.5f}, {training_error / training_optimum - 1:.1%} above the optimum")
print(f"test MSE     {error:.5f}, {error / optimum - 1:.1%} above PCA's")

# What you should see, and why: answer (b). The training MSE ends 9.1% above the optimum in the quick run. The longer
# runs end 2.2% above on the sample, and 1.3% on all of MNIST. Answer (a) is impossible, because PCA is the best linear
# code of the training images. Gradient descent finds directions with a large variance first, and directions with a
# small variance last. So the loss falls slowly at the end. On test images, PCA is only the baseline. Another linear
# code could be better there by chance.

# 3. The picture shows ten test digits, PCA's reconstructions and the autoencoder's. You should not see a difference
#    between the last two rows. The second picture shows the loss of each epoch on its way to the optimum.
shown = {"original": digits.test, f"PCA, {CODE_SIZE} numbers": by_pca, "autoencoder": model.reconstruct(digits.test)}
plotting.image_rows(shown, args.out / "answer.png")
figure = history.plot()
figure.axes[0].axhline(training_optimum, color="black", linewidth=1, linestyle=":", label="PCA, training images")
figure.axes[0].legend(frameon=False)
figure.savefig(args.out / "loss.png", dpi=150)
print(f"pictures: {args.out / 'answer.png'}, {args.out / 'loss.png'}")
verdict("test MSE", {"quick": 0.0105, "sample": 0.0098, "full": 0.0093}[run], error)
finish()

# Exercises. The solutions are in tutorials/solutions/01_linear_autoencoder.py.
#
# Change a constant: halve CODE_SIZE to 32. Does the error double? Predict PCA's error first. The last line then says
# MISSED, because its target is for 64 numbers.
#
# Explain a number: PCA drops 720 of the 784 directions. Add the variances of the training images along these 720
# directions, and divide the sum by 784. Why is the result PCA's training MSE?
#
# Write code: do PCA and a linear autoencoder with 4 numbers find the same plane? Compare the plane of the decoder's
# weights with the plane of the principal directions. Take orthonormal bases Q_1 and Q_2 of both planes with
# `numpy.linalg.qr`. The singular values of Q_1^T Q_2 are the cosines of the angles between both planes. Train for 40
# epochs with a rate that falls from 0.01 to 0, by `sa.Schedule(optim.CosineLR(optimizer, 40))`.
