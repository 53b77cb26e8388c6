"""Can 16 numbers describe a digit better than the 16 numbers of PCA?

A game gives the idea. You see a photo of a face, and describe the face in 16 words to a friend. Your friend draws the
face from your words. After each round, both of you compare the drawing with the photo. You learn to choose better
words, and your friend learns to draw. The encoder plays your part, and the decoder plays your friend's part. The 16
words are the latent code. The limit of 16 words is the bottleneck.

          image           hidden           code           hidden         reconstruction
       x (n, 784) --> h (n, 256) --> z (n, 16) --> g (n, 256) --> x' (n, 784)

       h = relu(W1 x + b1)     z = W2 h + b2     g = relu(W3 z + b3)     x' = sigmoid(W4 g + b4)

The baseline is principal component analysis (PCA) with 16 numbers. No linear code of 16 numbers has a lower training
error (tutorial 01). All reconstructions of PCA lie in a plane. Hidden layers with the activation relu(a) = max(a, 0)
bend this plane into a curved surface. A curved surface can come closer to the images (Hinton & Salakhutdinov, "Reducing
the dimensionality of data with neural networks", Science 2006).

    python tutorials/04_deep_autoencoder.py                 the embedded sample, 1 to 4 minutes
    python tutorials/04_deep_autoencoder.py --data full     all of MNIST, about 5 minutes
"""

import numpy as np
from common import finish, load, mse, pca, pca_reconstruct, settings, verdict

import scratchae as sa
from scratchae import data, optim, plotting
from scratchae.plotting import style

HIDDEN, CODE_SIZE = 256, 16
BATCH_SIZE = {"quick": 32, "sample": 32, "full": 128}
LR = 3e-3  # the first rate; the rate falls to 0 along half a cosine
EPOCHS = {"quick": 6, "sample": 25, "full": 8}
FEW, FEW_EPOCHS, FEW_SIZES = 500, 25, (4, 16, 64)  # the images, epochs and code sizes of part 3

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
digits = load(args.data, data.mnist, data.mnist_sample)


class Dead(sa.Callback):
    """After each epoch, the units of the code that no validation image makes positive: (epochs + 1, CODE_SIZE)."""

    def on_fit_begin(self, trainer):
        self.units = []
        self.on_epoch_end(trainer, {})

    def on_epoch_end(self, trainer, row):
        self.units.append((trainer.model.transform(digits.validation) <= 0).all(axis=0))


def train(images, epochs, size=CODE_SIZE, activation="relu", code_activation=None, code_bias=None):
    """A trained model, and the dead units of its code after each epoch."""
    sa.manual_seed(0)
    output = None if activation is None else "sigmoid"
    model = sa.Autoencoder.dense((784, HIDDEN, size), activation, output, "mse", code_activation)
    if code_bias is not None:
        model.encoder[-2].bias.data[...] = code_bias
    optimizer, dead = optim.Adam(model.parameters(), lr=LR), Dead()
    callbacks = [sa.Schedule(optim.CosineLR(optimizer, epochs)), dead]
    batch_size = 32 if len(images) == FEW else BATCH_SIZE[run]
    sa.Trainer(model, optimizer, callbacks).fit(images, digits.validation, epochs, batch_size, progress=False)
    return model, np.array(dead.units)


def report(name, reconstruct, training_images=digits.train):
    """Print and return the errors of the training, validation and test images."""
    errors = [mse(images, reconstruct(images)) for images in (training_images, digits.validation, digits.test)]
    print(f"{name:22} MSE: training {errors[0]:.4f}, validation {errors[1]:.4f}, test {errors[2]:.4f}", flush=True)
    return errors


# 1. First we test depth without activations. The network has 411,000 weights and biases, and PCA has 13,000 numbers.

# Predict first: how does a deep network without activations compare with PCA on test images? Choose (a) much better, as
# the network has 30 times the weights, or (b) about equal, or (c) much worse.
mean, directions = pca(digits.train)
test_mse = {"PCA": report("PCA", lambda x: pca_reconstruct(x, mean, directions[:CODE_SIZE]))[2]}
linear, _ = train(digits.train, EPOCHS[run], activation=None)
test_mse["deep, no activations"] = report("deep, no activations", linear.reconstruct)[2]

# What you should see, and why: answer (b). In the quick run, the test MSE is 0.0270 for PCA and 0.0271 for the network.
# Without activations, four linear layers in a row are one linear map, because a product of matrices is a matrix. So
# more layers without activations are no better than one layer.

# 2. Now the hidden layers get a ReLU. The code itself stays linear, z = W2 h + b2.

# Predict first: how much of PCA's test error is left? Choose (a) 95%, or (b) about half, or (c) 10%.
deep, _ = train(digits.train, EPOCHS[run])
test_mse["deep, linear code"] = report("deep, linear code", deep.reconstruct)[2]
print(f"of PCA's test error, {test_mse['deep, linear code'] / test_mse['PCA']:.0%} is left")

# What you should see, and why: answer (b). In the quick run, the test MSE falls from 0.0270 to 0.0171, so 63% is left.
# The sample run trains longer, and 52% is left. On all of MNIST, 40% is left. The code size is the same for PCA and for
# the network. Only the activations are new. The network of tutorial 02 with 16 numbers leaves 55% on all of MNIST. That
# network has GELU in place of ReLU, a linear last layer in place of the sigmoid, and 5 epochs in place of 8.

# 3. In part 2, the training error of the deep network is below the validation error. A network can learn details of its
#    training images that no other image has. This is overfitting. The ratio validation error / training error shows
#    overfitting. The ratio grows with the code size (tutorial 02). We train on 500 images only, to see overfitting
#    clearly.

# Predict first: which code size has the lowest validation error? Choose (a) 4, because the ratio is the lowest, or (b)
# 16, in the middle, or (c) 64, although the ratio is the highest.
few = digits.train[:FEW]
ratios = {}
for size in FEW_SIZES:
    model, _ = train(few, FEW_EPOCHS, size)
    errors = report(f"{FEW} images, {size} numbers", model.reconstruct, few)
    ratios[size] = errors[1] / errors[0]
print("validation / training:", ", ".join(f"{size} numbers {ratio:.2f}" for size, ratio in ratios.items()))

# What you should see, and why: answer (c). In the quick run, the ratio is 1.24 with 4 numbers, 1.73 with 16 and 1.79
# with 64. The validation errors are 0.0412, 0.0276 and 0.0274. A small code has little room for the details of single
# images. But 4 numbers are too few for a digit, so both errors are high. A low ratio alone does not make a good
# network. From 16 to 64 numbers, the validation error hardly falls. More images limit overfitting, and also reduce the
# error. With 4,500 images and 16 numbers, the ratio of part 2 is 1.15 in the quick run, and the validation error is
# 0.0181. The sample run has more epochs, and its ratio is 1.55.

# 4. A unit is one number of a layer. A code with a ReLU is z = relu(W2 h + b2). A unit of this code is dead if no image
#    makes the unit positive. The script counts the dead units on the validation images. The derivative of relu(a) is 0
#    for a < 0, so the weights of a dead unit get no gradient. The layers before the unit still change. These layers
#    change h, and a new h can make the unit positive again. At the start, a unit has similar sums W2 h + b2 for all
#    images. The first steps can push all these sums below 0. We train two networks. The first network has the usual
#    bias b2. The second network starts with b2 = 0.2, to keep more sums above 0.

# Predict first: how many of the 16 units are dead at the end without the bias? Choose (a) none, or (b) 1 or 2, or (c)
# more than half.
dead = {}
for name, bias in {"ReLU code": None, "ReLU code, bias 0.2": 0.2}.items():
    model, units = train(digits.train, EPOCHS[run], code_activation="relu", code_bias=bias)
    test_mse[name] = report(name, model.reconstruct)[2]
    dead[name] = units.sum(axis=1)
    before, first, *_, last = dead[name]
    print(f"dead units: {before} before training, {first} after epoch 1, {last} at the end; "
          f"{np.sum(units[:-1] & ~units[1:])} came back")  # fmt: skip

# What you should see, and why: answer (c). In the quick run, 10 of 16 units are dead at the end. Six numbers are left,
# and the test MSE of 0.0290 is higher than PCA's. With the bias, 4 units are dead, and the test MSE is 0.0213. The
# error with the bias is still 25% above the error of the linear code. The numbers of dead units are the same on all of
# MNIST. The test MSE there is 0.0236 without the bias, 0.0145 with the bias, and 0.0109 for the linear code. So a ReLU
# on the code is a bad choice, even with a good start. No unit came back in these runs. The third exercise asks when a
# dead unit comes back.

# 5. The left side of the picture shows the test errors. The right side shows the dead units of both ReLU codes.
figure = style.new_figure(11, 3.6)
left = style.add_axes(figure, (1, 2, 1), "test MSE", "", "Test error of 16 numbers")
bars = left.barh(list(test_mse), list(test_mse.values()), color=[style.PALETTE[i] for i in (9, 5, 0, 1, 2)])
left.bar_label(bars, fmt="%.4f", padding=4, fontsize=10, color=style.INK)
left.invert_yaxis()
left.margins(x=0.15)
left.grid(visible=False, axis="y")
right = style.add_axes(figure, (1, 2, 2), "epoch", f"dead units of {CODE_SIZE}", "Dead units of the code")
for i, (name, counts) in enumerate(dead.items()):
    right.plot(counts, color=style.PALETTE[1 + i], marker=style.MARKERS[i], markersize=5, label=name)
right.set_ylim(-0.5, CODE_SIZE)
right.locator_params("x", integer=True)
style.legend(right, "upper right")
figure.savefig(args.out / "answer.png", dpi=150)

# 6. The decoder draws an image from any 16 numbers. Can the decoder draw new digits from random codes? We take random
#    codes from the normal distribution with the mean and the covariance of all training codes.

# Predict first: what do the images of these random codes show? Choose (a) new digits, or (b) some digits and many
# shapes that are no digit, or (c) noise.
codes, test_codes = deep.transform(digits.train), deep.transform(digits.test)
rng = np.random.default_rng(0)
random_codes = rng.multivariate_normal(codes.mean(axis=0), np.cov(codes.T), len(test_codes)).astype(np.float32)
drawn = deep.inverse_transform(random_codes).reshape(digits.test.shape)


def nearest(points, others):
    """The distance of each point (n, D) to the nearest of the others (m, D)."""
    parts = [((part[:, None] - others) ** 2).sum(axis=2).min(axis=1) for part in np.array_split(points, 100)]
    return np.sqrt(np.concatenate(parts))


near = {"test": np.median(nearest(test_codes[:1000], codes[:4500])),
        "random": np.median(nearest(random_codes[:1000], codes[:4500]))}  # fmt: skip
print(
    f"distance to the nearest training code, median: test images {near['test']:.2f}, random codes {near['random']:.2f}"
)
rows = {"test image": digits.test, "reconstruction": deep.reconstruct(digits.test), "random code": drawn}
plotting.image_rows(rows, args.out / "random_codes.png", n=12)
print(f"pictures: {args.out / 'answer.png'}, {args.out / 'random_codes.png'}")

# What you should see, and why: answer (b). In the quick run, the median distance from a test code to the nearest
# training code is 4.9. From a random code, the distance is 7.7. Many random codes fall into holes, regions of the code
# space without codes of images. The decoder is not trained in a hole, so the image of such a code can have any shape.
# No term of the loss closes the holes. Tutorial 09 adds a term for the distribution of the codes.

target, relu_target = {"quick": (0.7, 0.9), "sample": (0.6, 0.8), "full": (0.5, 0.7)}[run]
verdict("test MSE, deep with linear code / PCA", target, test_mse["deep, linear code"] / test_mse["PCA"])
verdict("test MSE, ReLU code with bias / PCA", relu_target, test_mse["ReLU code, bias 0.2"] / test_mse["PCA"])
verdict("distance to the nearest code, random / test", 1.4, near["random"] / near["test"], at_least=True)
finish()

# Exercises. The solutions are in tutorials/solutions/04_deep_autoencoder.py.
#
# Change a constant: set CODE_SIZE to 8. Does the deep network keep its advantage over PCA?
#
# Explain a number: set CODE_SIZE to 64 and run with --quick. PCA then has the lower test error. Is overfitting the
# reason? Compare the training errors of both first.
#
# Write code: a dead unit gets no gradient. Train a network with a ReLU code for two epochs. Lower the bias of one unit
# until no training image makes the unit positive. Train one more epoch. Does the unit come back? In this network,
# `model.encoder[-2]` is the layer with the weights W2 and the bias b2.
