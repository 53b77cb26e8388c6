"""How large should the code be?

The code size k is the number of values in the latent code. A small code loses detail. A large code needs more memory,
and keeps more noise. This tutorial trains a linear and a deep autoencoder at each code size. The deep autoencoder has a
hidden layer h on either side of the code.

    linear   x (n, 784) ------------------> z (n, k) ------------------> x' (n, 784)
    deep     x (n, 784) --> h (n, 256) --> z (n, k) --> h' (n, 256) --> x' (n, 784)

    h = GELU(W_1 x + b_1)      z = W_2 h + b_2      h' = GELU(W_3 z + b_3)      x' = W_4 h' + b_4

GELU is a smooth activation, close to max(0, t). The loss is the mean squared error (MSE). PCA with k directions is the
baseline at code size k. Tutorial 01 explains PCA, and why no linear code of k numbers has a lower training error. The
outputs of a deep decoder lie on a curved surface, and can be closer to the images than a plane.

    python tutorials/02_code_size.py                 the embedded sample, a minute or two
    python tutorials/02_code_size.py --data full     all of MNIST, about 5 minutes
"""

import numpy as np
from common import finish, load, mse, pca, pca_reconstruct, settings, verdict

import scratchae as sa
from scratchae import data, optim
from scratchae.plotting.style import PALETTE, SAVED_DPI, add_axes, legend, new_figure

PCA_SIZES = (2, 4, 8, 16, 32, 64, 128)
CODE_SIZES = {"quick": (2, 8, 32), "sample": PCA_SIZES, "full": PCA_SIZES}
WIDTH = 256
LINEAR = {"epochs": {"quick": 10, "sample": 20, "full": 7}, "batch_size": {"quick": 32, "sample": 32, "full": 128}}
DEEP = {"epochs": {"quick": 4, "sample": 12, "full": 5}, "batch_size": {"quick": 32, "sample": 32, "full": 128}}
LINEAR_LR, DEEP_LR = 1e-2, 3e-3  # the first rates; both fall to 0 along half a cosine
FEW, FEW_EPOCHS = 300, {"quick": 40, "sample": 60, "full": 60}  # for the experiment with overfitting
NOISE = 0.5  # standard deviation, for the experiment with noise

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
sizes = CODE_SIZES[run]
digits = load(args.data, data.mnist, data.mnist_sample)


def train(images, layers, activation, lr, epochs, batch_size):
    sa.manual_seed(0)
    model = sa.Autoencoder.dense(layers, activation=activation, output=None, loss="mse")
    optimizer = optim.Adam(model.parameters(), lr=lr)
    trainer = sa.Trainer(model, optimizer, [sa.Schedule(optim.CosineLR(optimizer, epochs))])
    history = trainer.fit(images, digits.validation, epochs, batch_size, progress=False)
    return model, history


# 1. PCA is the baseline at every code size. The mean image, the output of a decoder without a code, has the highest
#    error. This error is the variance of the images. PCA's error divided by this variance is the share of the variance
#    that PCA loses.
#
# Predict first: how many numbers does PCA need to keep 90% of the variance of 784 pixels? Choose (a) about 10,
# or (b) about 90, or (c) about 700.
mean, directions = pca(digits.train)
mean_error = mse(digits.test, mean.reshape(1, 1, 28, 28))
pca_errors = {k: mse(digits.test, pca_reconstruct(digits.test, mean, directions[:k])) for k in (*PCA_SIZES, 90)}
print(f"{len(digits.train):,} training images; test MSE of the mean image {mean_error:.5f}")
for k, error in sorted(pca_errors.items()):
    print(f"PCA with {k:3} numbers: test MSE {error:.5f}, {error / mean_error:5.1%} of the mean image's")
del pca_errors[90]

# What you should see, and why: answer (b). With 90 numbers, PCA loses 9.7% of the variance on the sample, and 9.4% on
# all of MNIST. PCA's error falls up to 784 numbers, because one more direction never increases the error. So the error
# alone does not tell you the best code size.

# 2. The linear autoencoders have no hidden layer and no activation. Gradient descent learns directions with a large
#    variance first. Large codes also have many directions with a small variance, so their training needs many steps.
#
# Predict first: where do the linear autoencoders end? Choose (a) clearly above PCA, or (b) at PCA, within 2%,
# or (c) below PCA.
errors = {"linear": {}, "deep": {}}
for k in sizes:
    model, _ = train(digits.train, (784, k), None, LINEAR_LR, LINEAR["epochs"][run], LINEAR["batch_size"][run])
    errors["linear"][k] = error = mse(digits.test, model.reconstruct(digits.test))
    print(f"linear, {k:3} numbers: test MSE {error:.5f}, {error / pca_errors[k]:.3f} of PCA's", flush=True)

# What you should see, and why: answer (b). The errors are at most 1.006 times PCA's in the quick run, and at most 1.012
# times on all of MNIST. More training cannot bring the linear autoencoder below PCA on the training images
# (tutorial 01).

# 3. The deep autoencoders have a hidden layer of 256 on either side. The code sizes are the same as before. The ratio
#    is the error of the deep autoencoder divided by PCA's error. A small ratio is good.
#
# Predict first: at which code size is the ratio to PCA the lowest? Choose (a) at the smallest, or (b) in the middle,
# or (c) at the largest.
deep = {}
for k in sizes:
    deep[k], _ = train(digits.train, (784, WIDTH, k), "gelu", DEEP_LR, DEEP["epochs"][run], DEEP["batch_size"][run])
    errors["deep"][k] = error = mse(digits.test, deep[k].reconstruct(digits.test))
    print(f"deep, {k:3} numbers: test MSE {error:.5f}, {error / pca_errors[k]:.3f} of PCA's", flush=True)

# What you should see, and why: answer (b). On all of MNIST, the ratio is 0.81 at 2 numbers, 0.55 at 16 and 1.09 at 128.
# The quick run shows the same shape, with 0.93 at 2 numbers, 0.76 at 8 and 0.90 at 32. Two numbers are few even for a
# curved surface. At 128 numbers, PCA has lost only 6% of the variance. The error of the deep autoencoder with 128
# numbers depends on the length of the training. PCA needs no training loop, and is the better choice at this size.


# 4. The elbow is the code size after which more numbers reduce the error only a little. We find the elbow on the
#    validation images. One rule takes the point of the curve that lies farthest below the straight line from the first
#    to the last point. For this rule, code size and error are scaled to [0, 1], without logarithms.
#
# Predict first: where is the elbow of the deep autoencoder on all of MNIST? Choose (a) below the elbow of PCA, or (b)
# at the elbow of PCA, or (c) above the elbow of PCA.
def elbow(errors):
    k, error = np.array([*errors], float), np.array([*errors.values()])
    across, down = (k - k[0]) / (k[-1] - k[0]), (error - error[-1]) / (error[0] - error[-1])
    return int(k[np.argmax(1 - across - down)])


validation = {
    "PCA": {k: mse(digits.validation, pca_reconstruct(digits.validation, mean, directions[:k])) for k in PCA_SIZES},
    "deep autoencoder": {k: mse(digits.validation, model.reconstruct(digits.validation)) for k, model in deep.items()},
}
for name, curve in validation.items():
    print(f"{name}: validation MSE, and the gain for each added number")
    for (k, error), (next_k, next_error) in zip([*curve.items()][:-1], [*curve.items()][1:], strict=True):
        gain = (error - next_error) / (next_k - k)
        print(f"    {k:3} to {next_k:3}: {error:.5f} to {next_error:.5f}, {gain:.6f} each")
    print(f"    elbow at {elbow(curve)} numbers")

# What you should see, and why: answer (a) on all of MNIST. The elbow of PCA is at 32 numbers, and the elbow of the deep
# autoencoder at 16. On the sample, both elbows are at 32. The quick run has only three sizes for the deep autoencoder,
# and gives 8. The gain for each added number falls steadily, so many sizes are reasonable. The elbow also depends on
# the first and the last size. Take the elbow as a first guess. The use of the code then decides the size.

# 5. A network with few training images can learn the details of these images. The training error is then far below the
#    validation error. This is called overfitting. The deep autoencoder now gets 300 training images.
#
# Predict first: from code size 2 to 32, how does the ratio of validation error to training error change? Choose (a) the
# ratio falls, or (b) stays, or (c) grows.
few = digits.train[:FEW]
few_mean, few_directions = pca(few)
few_errors = {"training": {}, "validation": {}, "PCA": {}}
for k in sizes:
    model, history = train(few, (784, WIDTH, k), "gelu", DEEP_LR, FEW_EPOCHS[run], 32)
    few_errors["training"][k] = low = mse(few, model.reconstruct(few))
    few_errors["validation"][k] = high = history["val_loss"][-1]
    few_errors["PCA"][k] = mse(digits.validation, pca_reconstruct(digits.validation, few_mean, few_directions[:k]))
    first = int(np.argmin(history["val_loss"])) + 1
    print(f"{FEW} images, {k:3} numbers: training {low:.5f}, validation {high:.5f}, ratio {high / low:.2f}, "
          f"lowest after {first} epochs; PCA {few_errors['PCA'][k]:.5f}", flush=True)  # fmt: skip

# What you should see, and why: answer (c). The ratio grows from 1.07 to 2.56 in the quick run, and from 1.15 to 4.93 on
# all of MNIST. A small code cannot hold the details of single images, so the bottleneck is a regulariser, a limit
# against overfitting. With 32 numbers, the validation error is lowest after about 25 epochs in all runs, and then
# rises. The deep autoencoder is better than PCA of the same 300 images at 8 numbers, and worse at 32. A large code
# needs many training images.

# 6. A small code also removes noise. Gaussian noise of standard deviation s spreads over all 784 directions. A
#    projection onto k directions keeps k/784 of the noise. The expected error against the clean image is then
#
#        E(k) + s^2 k / 784
#
#    where E(k) is the error without noise. The networks were trained on clean images.
#
# Predict first: which code size is the best for s = 0.5? Choose (a) the smallest, or (b) the largest, or (c) one in the
# middle.
rng = np.random.default_rng(0)
noisy = digits.test + np.float32(NOISE) * rng.standard_normal(digits.test.shape, dtype=np.float32)
noise_errors = {
    "E(k) + s^2 k / 784": {k: pca_errors[k] + NOISE**2 * k / 784 for k in PCA_SIZES},
    "PCA": {k: mse(digits.test, pca_reconstruct(noisy, mean, directions[:k])) for k in PCA_SIZES},
    "deep autoencoder": {k: mse(digits.test, model.reconstruct(noisy)) for k, model in deep.items()},
}
for k in PCA_SIZES:
    found = (f"{name} {line[k]:.5f}" for name, line in noise_errors.items() if k in line)
    print(f"noisy images, {k:3} numbers:", ", ".join(found))

# What you should see, and why: answer (c). E(k) falls with k, and the noise rises with k, so the sum is lowest in the
# middle. The formula agrees with PCA within 1%. The best size of PCA is 32, in all runs. At 128 numbers, 90% of the
# error is noise.
#
# The deep autoencoder is not a projection, so the formula does not hold for the deep autoencoder. At 8 numbers, noise
# adds 0.0085 to the error of the deep autoencoder in the quick run, and only 0.0025 to PCA's error. With 8 numbers, the
# deep autoencoder is still better, 0.0368 against 0.0398, because the error without noise is much lower, 0.0283 against
# 0.0373. At 32 numbers, PCA is better, also in the quick run.
#
# A longer training on clean images makes the deep autoencoder more sensitive to noise. On the sample, 8 numbers and 12
# epochs, noise adds 0.0137. We also tried 20 epochs, and noise adds 0.0191. On all of MNIST, noise adds 0.0214, and PCA
# is better at every size. The best size of the deep autoencoder is 32 in the quick run and on the sample, and 8 on all
# of MNIST. Tutorial 05 trains with noise.

# 7. The left panel shows the test error at each code size. PCA is the dashed line over the squares of the linear
#    autoencoders. The panel in the middle shows overfitting. The right panel shows noisy images, with the formula as
#    the dashed line over PCA's squares.
figure = new_figure(14, 4.6)


def draw(place, ylabel, title, lines):
    """A panel of {name: (errors, format, colour)} with two logarithmic axes."""
    ax = add_axes(figure, (1, 3, place), "code size", ylabel, title)
    for name, (line, form, colour) in lines.items():
        ax.plot(*zip(*line.items(), strict=True), form, color=colour, label=name, markersize=9 if form == "s" else 6)
    lowest = min(min(line.values()) for line, _, _ in lines.values())
    ticks = [tick for tick in (0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05) if tick > 0.75 * lowest]
    ax.set(xscale="log", yscale="log", xlim=(1.7, 150), ylim=(0.75 * lowest, 0.07))
    ax.set_xticks(PCA_SIZES, PCA_SIZES)
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    legend(ax, "upper center", bbox_to_anchor=(0.5, -0.15))


draw(1, "test MSE", f"{len(digits.train):,} training images", {
    "linear autoencoder": (errors["linear"], "s", PALETTE[1]),
    "deep autoencoder": (errors["deep"], "o-", PALETTE[0]),
    "PCA": (pca_errors, "--", "black"),
})  # fmt: skip
draw(2, "MSE", f"{FEW} training images", {
    "deep autoencoder, validation images": (few_errors["validation"], "o-", PALETTE[0]),
    "deep autoencoder, training images": (few_errors["training"], "^:", PALETTE[0]),
    "PCA, validation images": (few_errors["PCA"], "--", "black"),
})  # fmt: skip
draw(3, "test MSE", f"noise of {NOISE:g} on the test images", {
    "PCA": (noise_errors["PCA"], "s", PALETTE[2]),
    "deep autoencoder": (noise_errors["deep autoencoder"], "o-", PALETTE[0]),
    "E(k) + s^2 k / 784": (noise_errors["E(k) + s^2 k / 784"], "--", "black"),
})  # fmt: skip
figure.savefig(args.out / "answer.png", dpi=SAVED_DPI)
print(f"picture: {args.out / 'answer.png'}")
verdict("linear: largest test MSE over PCA's", 1.02, max(errors["linear"][k] / pca_errors[k] for k in sizes))
TARGET = {"quick": {8: 0.85}, "sample": {8: 0.8, 32: 0.9}, "full": {8: 0.65, 32: 0.65}}
for k, target in TARGET[run].items():
    verdict(f"deep, code size {k}: test MSE over PCA's", target, errors["deep"][k] / pca_errors[k])
finish()

# Exercises. The solutions are in tutorials/solutions/02_code_size.py.
#
# Change a constant: take 128 out of the sizes. Where does the elbow of PCA move? Predict the new place first.
#
# Explain a number: the code of size 784 is as large as the image. Which error does PCA reach with 784 numbers, and why
# is this PCA of no use?
#
# Write code: find the best code size of PCA for noise of 0.1, 0.2, 0.4 and 0.8, on the validation images. How does the
# best size change with the noise?
