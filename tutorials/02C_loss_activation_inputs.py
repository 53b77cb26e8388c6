"""Which inputs, activations, loss and layers suit the data?

The network below is the starting point. Each part of this tutorial changes one choice of this network, and keeps all
other choices.

    pixel, 0 to 255 --> x (n, 784) --> h (n, 128) --> z (n, 32) --> h' (n, 128) --> x' (n, 784)
                   / 255          GELU           linear        GELU            linear, MSE

A layer computes activation(W x + b). A linear layer has no activation. All networks are compared by the mean squared
error (MSE) of the test images, in pixels from 0 to 1. Each network has the best of several learning rates, chosen on
the validation images. `--quick` tries one rate. PCA with 32 numbers is the baseline (tutorial 01).

    python tutorials/02C_loss_activation_inputs.py                 the embedded sample, 2 to 4 minutes
    python tutorials/02C_loss_activation_inputs.py --data full     20,000 images of MNIST, about 3 minutes
"""

from functools import partial

import numpy as np
from common import finish, load, mse, pca, pca_reconstruct, settings, verdict

import scratchae as sa
from scratchae import data, optim
from scratchae import functional as F
from scratchae.plotting.style import INK, PALETTE, SAVED_DPI, add_axes, legend, new_figure

CODE_SIZE = 32
IMAGES = 20_000  # of the training images; the sample has fewer
EPOCHS = {"quick": 3, "sample": 8, "full": 3}
BATCH_SIZE = {"quick": 32, "sample": 32, "full": 64}
RATES = {"quick": (5e-3,), "sample": (3e-3, 1e-2), "full": (3e-3, 1e-2)}  # of Adam
LAYER_RATES = {"quick": (2e-3,), "sample": (1e-3, 3e-3), "full": (1e-3, 3e-3)}  # deep networks need lower rates
RAW_RATES = {"quick": (1e-5, 1e-4, 1), "sample": (1e-6, 1e-5, 1e-4, 1), "full": (1e-6, 1e-5, 1e-4, 1)}  # of SGD
BASE = {"inputs": "0 to 1", "layers": (784, 128, CODE_SIZE), "activation": "gelu", "output": None, "loss": "mse",
        "optimizer": optim.Adam}  # fmt: skip
SGD = {"optimizer": partial(optim.SGD, momentum=0.9)}

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
digits = load(args.data, data.mnist, data.mnist_sample)
images = digits.train[:IMAGES]
mean, directions = pca(images)
mean_image, deviation = images.mean(axis=0), images.std(axis=0)
INPUTS = {  # the network gets (pixel - shift) / scale, with pixels from 0 to 1
    "0 to 1": (np.float32(0), np.float32(1)),
    "0 to 255": (np.float32(0), np.float32(1 / 255)),
    "minus the mean": (mean_image, np.float32(1)),
    "standardised": (mean_image, np.maximum(deviation, np.float32(0.05))),
}


def train(lr, inputs, layers, activation, output, loss, optimizer):
    """Train a network. Return a function that reconstructs pixels, or None if the loss became infinite."""
    shift, scale = INPUTS[inputs]
    sa.manual_seed(0)
    model = sa.Autoencoder.dense(layers, activation=activation, output=output, loss=loss, code_activation=None)
    optimizer = optimizer(model.parameters(), lr=lr)
    schedule = sa.Schedule(optim.CosineLR(optimizer, EPOCHS[run]))  # the rate falls to 0
    try:
        with np.errstate(all="ignore"):
            trainer = sa.Trainer(model, optimizer, [schedule])
            trainer.fit((images - shift) / scale, epochs=EPOCHS[run], batch_size=BATCH_SIZE[run], progress=False)
    except FloatingPointError:
        return None
    return lambda pixels: model.reconstruct((pixels - shift) / scale) * scale + shift


def compare(choices):
    """Train each choice, {name: changes to BASE}, at each rate. Print and return the test MSE of each choice."""
    results = {}
    for name, changes in choices.items():
        rates = changes.get("rates", RATES[run])
        settings = BASE | {key: value for key, value in changes.items() if key != "rates"}
        found = {rate: train(rate, **settings) for rate in rates}
        lost = [f"{rate:g} diverged" for rate, network in found.items() if network is None]
        errors = {r: mse(digits.validation, network(digits.validation)) for r, network in found.items() if network}
        best = min(errors, key=errors.get)
        results[name] = mse(digits.test, found[best](digits.test))
        print(f"{name:36} test MSE {results[name]:.5f}, rate {best:g}", *lost, sep="; ", flush=True)
    return results


by_pca = mse(digits.test, pca_reconstruct(digits.test, mean, directions[:CODE_SIZE]))
mean_error = mse(digits.test, mean_image)
print(f"{len(images):,} training images, {EPOCHS[run]} epochs")
print(f"test MSE: mean image {mean_error:.5f}, PCA with {CODE_SIZE} numbers {by_pca:.5f}")

# 1. The inputs. Image files hold whole numbers from 0 to 255. Division by 255 gives numbers from 0 to 1. A network for
#    pixels from 0 to 255 can be as good. With these pixels, the weights W / 255 give the same sums as W with pixels
#    from 0 to 1. But the training is different. The first weights are drawn for inputs near 1, so W x + b becomes up to
#    255 times too large. The gradient of W contains x, and also the error x' - x. The gradient becomes up to 255^2 =
#    65,025 times as large.
#
#    Two other kinds of inputs are compared. "Minus the mean" is the pixel minus the mean of this pixel over all
#    training images. "Standardised" is also divided by the standard deviation of this pixel, at least 0.05.
#
# Predict first: which training ends at nearly the same error with pixels of 0 to 255? Choose (a) GELU with Adam, or (b)
# tanh with Adam, or (c) GELU with SGD.
raw = {"inputs": "0 to 255"}
inputs = compare({
    "0 to 1": {},
    "0 to 255": raw,
    "0 to 1, tanh": {"activation": "tanh"},
    "0 to 255, tanh": {"activation": "tanh"} | raw,
    "0 to 1, SGD": SGD | {"rates": (1, 3)},
    "0 to 255, SGD": SGD | {"rates": RAW_RATES[run]} | raw,
    "minus the mean": {"inputs": "minus the mean"},
    "standardised": {"inputs": "standardised"},
})  # fmt: skip

# What you should see, and why: answer (a). With GELU and Adam, the error rises from 0.0141 to 0.0155 on 20,000 images.
# In the quick run, the error rises from 0.0178 to 0.0185. Adam's steps do not depend on the size of the gradient
# (tutorial 02B). With tanh on 0 to 255, the error is about the error of the mean image. All tanh units are close to -1
# or 1, and the derivative is close to 0. The encoder cannot learn. SGD with momentum diverges on 0 to 255 at the rates
# 1 and 0.0001. On 20,000 images, SGD at 0.00001 ends at 0.0289, against 0.0178 on 0 to 1. After the division by 255,
# the usual rates and first weights fit.
#
# "Minus the mean" is a little better still, 0.0129 on 20,000 images. "Standardised" is worse, 0.0178. A pixel near the
# border becomes as important as a pixel in the middle. But in the MSE, pixels with a large variance count most.

# 2. The last activation. A sigmoid, 1 / (1 + e^-t), gives numbers between 0 and 1. A linear output gives all numbers.
#    The range of the data decides. Pixels lie between 0 and 1. Pixels minus the mean image lie between -1 and 1.
#
# Predict first: at which error does a sigmoid end on pixels minus the mean? Choose (a) near the linear output,
# or (b) at twice its error, or (c) at the error of the mean image.
centred = {"inputs": "minus the mean"}
outputs = {
    "0 to 1, linear": inputs["0 to 1"],
    "minus the mean, linear": inputs["minus the mean"],
    **compare({
        "0 to 1, sigmoid": {"output": "sigmoid"},
        "minus the mean, sigmoid": {"output": "sigmoid"} | centred,
    }),
}  # fmt: skip

# What you should see, and why: answer (c). The error is 0.0672 in the quick run and 0.0675 on 20,000 images, as for the
# mean image. A sigmoid never gives a number below 0, but pixels minus the mean are often negative. The sigmoid goes
# to 0 for all pixels. The derivative of the sigmoid goes to 0 too, and the training stops there.
#
# On pixels from 0 to 1, both outputs are possible. On 20,000 images, the sigmoid ends at 0.0138 and the linear output
# at 0.0141. All outputs of the sigmoid lie between 0 and 1. In the quick run, the sigmoid is slower, 0.0247 against
# 0.0178. Choose the last activation by the range of the data. Numbers from 0 to 1 allow a sigmoid. All other numbers
# need a linear output.

# 3. The hidden activations. Without an activation, two layers in a row are one linear layer. The network is then a
#    linear autoencoder, and PCA is the optimum. In the backward pass, the gradient is multiplied by the derivative of
#    the activation.
#
#        ReLU      max(0, t)                          derivative 0 or 1
#        GELU      t P(T < t), T standard normal      derivative from -0.13 to 1.13, smooth
#        tanh      (e^t - e^-t) / (e^t + e^-t)        derivative 1 - tanh(t)^2, at most 1
#        sigmoid   s = 1 / (1 + e^-t)                 derivative s (1 - s), at most 1/4
#
# Predict first: which of the four ends with the highest error? Choose (a) ReLU, or (b) tanh, or (c) sigmoid.
activations = {"GELU": inputs["0 to 1"], "tanh": inputs["0 to 1, tanh"]}
activations |= compare({
    "ReLU": {"activation": "relu"},
    "sigmoid": {"activation": "sigmoid"},
    "no activation": {"activation": None},
})  # fmt: skip

# What you should see, and why: answer (c). On 20,000 images, GELU ends at 0.0141, ReLU at 0.0152, tanh at 0.0171 and
# sigmoid at 0.0245. In the quick run, sigmoid is last too, at 0.0386, and the other three lie between 0.0177 and
# 0.0189. A sigmoid changes by at most 1/4 when t changes by 1. Each sigmoid layer makes the differences between images
# smaller. The outputs also lie around 1/2, not around 0. A sigmoid is a good last activation for numbers from 0 to 1,
# and a bad hidden activation.
#
# Without an activation, the error is 0.0174 in the quick run, below GELU's 0.0178. The quick run has only 423 steps.
# The network without activation is then already near its optimum, PCA's error of 0.0170. The GELU network needs more
# steps. On the sample, after 1,128 steps, GELU ends at 0.0153, and the network without activation at 0.0171. On 20,000
# images, the errors are 0.0141 and 0.0170.

# 4. The loss. For a reconstruction p and a target t, the losses of one pixel are
#
#        MSE   (p - t)^2
#        MAE   |p - t|                               mean absolute error
#        BCE   -t log p - (1 - t) log(1 - p)         binary cross-entropy
#
#    Suppose that the network returns the same output for three images. A pixel has the targets 0, 0 and 0.9 in these
#    images. Which p has the lowest mean loss?
#
# Predict first: the BCE is made for targets of 0 or 1, and 0.9 is grey. At which p is the mean BCE lowest?
# Choose (a) 0, or (b) 0.3, or (c) 0.9.
p, targets = np.linspace(0.001, 0.999, 999), np.array([0, 0, 0.9])
for name, loss in {"MSE": F.mse_loss, "MAE": F.l1_loss, "BCE": F.binary_cross_entropy}.items():
    costs = [loss(np.full(3, value), targets) for value in p]
    print(f"targets 0, 0, 0.9: the {name} is lowest at p = {p[np.argmin(costs)]:.3f}")
losses = {"MSE, linear": inputs["0 to 1"], "MSE, sigmoid": outputs["0 to 1, sigmoid"]}
losses |= compare({
    "BCE, sigmoid": {"loss": "bce_logits", "output": "sigmoid"},
    "MAE, sigmoid": {"loss": "mae", "output": "sigmoid"},
    "MAE, linear": {"loss": "mae"},
})  # fmt: skip

# What you should see, and why: answer (b). The derivative of the BCE by p is (p - t) / (p (1 - p)). The sum over the
# three targets is 0 at the mean of the targets, 0.3. The MSE has the same optimum, also for grey targets. The optimum
# of the MAE is the median, 0. The program prints 0.001, the lowest p of its list.
#
# The training still differs. The last layer computes p = sigmoid(a). The derivative of the MSE by a is 2 (p - t) p (1 -
# p). The derivative of the BCE by a is p - t. Near black and white, p (1 - p) is near 0, and the MSE learns slowly.
# On 20,000 images, the BCE ends at an MSE of 0.0117, and the MSE with a sigmoid at 0.0138. In the quick run, the two
# end at 0.0229 and 0.0247.
#
# The MAE has the highest MSE, because the median of most pixels is black. With a sigmoid, the MAE ends at 0.114 in the
# quick run. The gradient has the factor p (1 - p) too, so the network stays at black images. With a linear output, the
# MAE ends at 0.0299 in the quick run, and at 0.0220 on 20,000 images.

# 5. Outliers. These points have two numbers each. 95% of the points lie near a line. 5% lie far away, like errors of a
#    sensor. A linear autoencoder with one number learns a line. Under the MSE, an error of 6 costs 36 times as much as
#    an error of 1. Under the MAE, an error of 6 costs 6 times as much.
#
# Predict first: which angle lies between the line of the MSE and the line of the 95%? Choose (a) 1 degree, or (b) 10
# degrees, or (c) 90 degrees.
rng = np.random.default_rng(0)
t = rng.standard_normal((1000, 1))
points = t * [1, 0.5] + 0.05 * rng.standard_normal((1000, 2))
outliers = np.arange(1000) < 50
far = rng.uniform(0.5, 1.5, (50, 1)) * rng.choice([-1, 1], (50, 1)) * [-3, 6]
points[outliers] = far + 0.3 * rng.standard_normal((50, 2))
points = points.astype(np.float32)


def degrees(direction):
    """The angle between a direction and the line of the 95%."""
    line = np.array([1, 0.5])
    return float(np.degrees(np.arccos(abs(direction @ line) / np.linalg.norm(direction) / np.linalg.norm(line))))


lines = {"PCA": pca(points)[1][0]}
for loss in ("mse", "mae"):
    sa.manual_seed(0)
    model = sa.Autoencoder.dense((2, 1), activation=None, output=None, loss=loss)
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    trainer = sa.Trainer(model, optimizer, [sa.Schedule(optim.CosineLR(optimizer, 40))])
    trainer.fit(points, epochs=40, batch_size=50, progress=False)
    lines[loss.upper()] = model.decoder[0].weight.numpy()[:, 0]
angles = {name: degrees(direction) for name, direction in lines.items()}
print("angle to the line of the 95%:", ", ".join(f"{name} {angle:.1f} degrees" for name, angle in angles.items()))

# What you should see, and why: answer (c). PCA minimises the MSE, and so does the autoencoder with the MSE. The 5% lie
# so far away that the MSE is lowest on their line. The gradient of the MSE, 2 (x' - x), grows with the error. The
# gradient of the MAE is -1 or 1 for each number, so the 95% together have more influence than the 5%. The MAE's line is
# less than 1 degree off. But on images without outliers, the MAE has the higher MSE (part 4).

# 6. The hidden layers. All networks of this part have about 440,000 parameters. Towards the code, the hidden layers get
#    smaller (tapering), stay equal, or get larger (widening). `--quick` leaves out the last two networks.
#
# Predict first: which network is the best after a short training? Choose (a) one hidden layer, or (b) two that taper,
# or (c) three equal layers.
LAYERS = {
    "one layer, 268": (268,),
    "two, tapering: 256, 64": (256, 64),
    "two equal: 213, 213": (213, 213),
    "two, widening: 128, 742": (128, 742),
    "three equal: 185": (185, 185, 185),
}
if args.quick:
    LAYERS = dict(list(LAYERS.items())[:3])
for name, hidden in LAYERS.items():
    count = sum(p.size for p in sa.Autoencoder.dense((784, *hidden, CODE_SIZE)).parameters())
    print(f"{name}: {count:,} parameters")
shapes = compare({
    name: {"layers": (784, *hidden, CODE_SIZE), "rates": LAYER_RATES[run]} for name, hidden in LAYERS.items()
})  # fmt: skip

# What you should see, and why: answer (a). On 20,000 images, one hidden layer ends at 0.0123. Two equal layers end at
# 0.0132, and two that widen at 0.0140. Two that taper end at 0.0147, and three layers at 0.0200. In the quick run, one
# layer ends at 0.0167, two equal layers at 0.0232, and two that taper at 0.0247. Tapering is common, but not always
# better. The wide layers at the pixels take most of the parameters. A deeper network needs more steps before depth can
# help.

# 7. The picture has one panel for each part. Shorter bars are better, and the dotted line is PCA with 32 numbers. In
#    the panel of the outliers, the lines of PCA and of the MSE coincide. Both follow the outliers.
figure = new_figure(14, 7.5)
groups = {"Inputs": inputs, "Last activation": outputs, "Hidden activations": activations,
          "Loss": losses, "Hidden layers": shapes}  # fmt: skip
longest = max(max(errors.values()) for errors in groups.values())
for place, (title, errors) in zip((1, 2, 3, 4, 6), groups.items(), strict=True):
    ax = add_axes(figure, (2, 3, place), "test MSE", "", title)
    ax.barh(list(errors), list(errors.values()), height=0.7, color=PALETTE[5])
    for i, error in enumerate(errors.values()):  # beside the bar, and not on PCA's line
        ax.text(max(error, by_pca) + 0.002, i, f"{error:.4f}", verticalalignment="center", fontsize=10, color=INK)
    ax.axvline(by_pca, color="black", linestyle=":", linewidth=1.6)
    ax.set(xlim=(0, 1.3 * longest), xticks=[0, 0.05, 0.1])
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
ax = add_axes(figure, (2, 3, 5), "", "", "Outliers")
ax.plot(*points[~outliers].T, ".", color=PALETTE[5], markersize=3, label="95%")
ax.plot(*points[outliers].T, "x", color=PALETTE[1], markersize=4, label="outliers")
styles = {"PCA": ("-", PALETTE[3], 5), "MSE": ("--", "black", 1.5), "MAE": ("-", PALETTE[6], 1.8)}
for name, (style, colour, width) in styles.items():
    x, y = np.outer(lines[name] / np.linalg.norm(lines[name]), [-10, 10])
    ax.plot(x, y, style, marker="", color=colour, linewidth=width, label=name, zorder=1 if name == "PCA" else 3)
ax.set(xlim=(-10, 10), ylim=(-10, 10), xticks=[-10, -5, 0, 5, 10], yticks=[-10, -5, 0, 5, 10])
legend(ax, "center left", bbox_to_anchor=(1, 0.5))
figure.savefig(args.out / "answer.png", dpi=SAVED_DPI)
print(f"picture: {args.out / 'answer.png'}")
target = {"quick": 1.25, "sample": 1.0, "full": 1.0}[run]
verdict("test MSE of the starting point over PCA's", target, inputs["0 to 1"] / by_pca)
ratio = inputs["0 to 255, tanh"] / inputs["0 to 1, tanh"]
verdict("tanh, 0 to 255 over 0 to 1", 2, ratio, at_least=True)
ratio = outputs["minus the mean, sigmoid"] / outputs["minus the mean, linear"]
verdict("minus the mean, sigmoid over linear at the end", 2, ratio, at_least=True)
verdict("sigmoid over GELU, hidden", 1.3, activations["sigmoid"] / activations["GELU"], at_least=True)
verdict("outliers: degrees between the MAE's line and the 95%", 2, angles["MAE"])
finish()

# Exercises. The solutions are in tutorials/solutions/02C_loss_activation_inputs.py.
#
# Change a constant: take 10 outliers in place of 50, so 1% of the points. Which line does PCA find? Compute the two
# variances first, along the line of the 95% and along the outliers.
#
# Explain a number: 10% of the pixels of all training images are set to 1, at random places. With the MSE, the mean
# output at a corner pixel is then 0.102 on these training images, and 0.070 on clean test images. With the MAE, the two
# outputs are 0.003 and 0.002. Why?
#
# Write code: the Huber loss is quadratic for small errors and linear for large errors. Write this loss as a function of
# the reconstruction and the target. Pass this function as `loss` to the linear autoencoder of the outliers. `abs`,
# `F.where` and `F.mean` work on Tensors.
