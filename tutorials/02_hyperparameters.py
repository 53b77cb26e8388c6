"""What the knobs do: code size first, then optimiser, learning rate, batch, width, depth, loss and inputs.

A linear autoencoder can at best be principal component analysis (PCA; Eckart & Young 1936, Baldi & Hornik 1989), so
that PCA's error at every code size is the yardstick: linear ones should lie on its curve, deep ones (Hinton &
Salakhutdinov 2006) under it. After that, one knob is turned at a time and everything else stays at BASE. All are
judged by the same number, the mean squared error per pixel on test images, whatever they were trained to minimise.

    python tutorials/02_hyperparameters.py --quick        two code sizes, short trainings, under a minute
    python tutorials/02_hyperparameters.py                the embedded sample, about 3 minutes
    python tutorials/02_hyperparameters.py --data full    all 60,000 images, about 20 minutes
"""

import time
from functools import partial

import numpy as np
from common import finish, load, pca, pca_reconstruct, settings, verdict

import scratchae as sa
from scratchae import data, optim, plotting

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data

CODE_SIZES = (2, 16) if args.quick else (2, 4, 8, 16, 32, 64, 128)
LINEAR = {"activation": None, "hidden": (), "epochs": 20, "batch_size": 64, "lr": 1e-2}
DEEP = {"hidden": (512,), "inputs": "minus the mean", "epochs": 5 if args.quick else 20, "batch_size": 64}
if run == "full":
    LINEAR |= {"epochs": 10, "batch_size": 256, "lr": 5e-3}
    DEEP |= {"epochs": 8, "batch_size": 128}
BASE = {"code": 32, "hidden": (256, 256), "activation": "gelu", "output": None, "loss": "mse", "inputs": "pixels",
        "optimizer": optim.Adam, "lr": 2e-3, "batch_size": 128,
        "epochs": {"quick": 2, "sample": 6, "full": 3}[run]}  # fmt: skip
# Targets: test MSE as a multiple of PCA's, at these code sizes
LINEAR_TARGET, LINEAR_SIZES = 1.02, (2, 16) if args.quick else (2, 16, 32, 64)
DEEP_TARGET, DEEP_SIZES = 1.0, CODE_SIZES[:-1] if run == "sample" else CODE_SIZES

train_images, _, test_images, _ = load(args.data, data.mnist, data.mnist_sample)


def train(**changes):
    """BASE with changes, trained: the test MSE in pixels, NaN where it diverged, and the test loss per epoch."""
    knobs = BASE | changes
    sa.manual_seed(0)
    model = sa.Autoencoder.dense((784, *knobs["hidden"], knobs["code"]), activation=knobs["activation"],
                                 output=knobs["output"], loss=knobs["loss"])  # fmt: skip
    optimizer = knobs["optimizer"](model.parameters(), lr=knobs["lr"])
    schedule = sa.Schedule(optim.CosineLR(optimizer, knobs["epochs"]))  # half a cosine, from lr down to 0
    trainer = sa.Trainer(model, optimizer, [schedule])
    shift, scale = INPUTS[knobs["inputs"]]
    inputs, test_inputs = (train_images - shift) / scale, (test_images - shift) / scale
    try:
        history = trainer.fit(inputs, test_inputs, knobs["epochs"], knobs["batch_size"], progress=False)
    except FloatingPointError:
        return np.nan, []
    pixels = model.reconstruct(test_inputs) * scale + shift
    return float(np.mean((pixels - test_images) ** 2)), history["val_loss"]


def compare(title, turns):
    """Train once per setting of `turns`, {its name: changes to BASE}, and print and return the test MSE of each."""
    print(f"\n{title:34}  test MSE  seconds", flush=True)
    errors, histories = {}, {}
    for name, changes in turns.items():
        start = time.perf_counter()
        errors[name], histories[name] = train(**changes)
        shown = "diverged" if np.isnan(errors[name]) else f"{errors[name]:.5f}"
        print(f"{name!s:34}  {shown:>8}  {time.perf_counter() - start:7.1f}", flush=True)
    return errors, histories


def line(errors):
    """A dictionary {x: y} as a line to plot."""
    return list(errors), list(errors.values())


# 0. The yardstick, and three ways to feed the pixels in: as they are, around 0, or with variance 1 besides. Pixels on
#    the border hardly vary: without a floor, dividing by their deviation would blow up a few grey dots.
mean, directions = pca(train_images)
optimum = {
    k: float(np.mean((test_images - pca_reconstruct(test_images, mean, directions[:k])) ** 2))
    for k in sorted({*CODE_SIZES, BASE["code"]})
}
pca_level = {f"PCA, {BASE['code']} numbers": optimum[BASE["code"]]}
mean_image, deviation = train_images.mean(axis=0), train_images.std(axis=0)
INPUTS = {
    "pixels": (np.float32(0), np.float32(1)),
    "minus the mean": (mean_image, np.float32(1)),
    "minus the mean, over the deviation": (mean_image, np.maximum(deviation, np.float32(0.05))),
}

# 1. Code size. A linear network learns PCA's directions one after the other, strong ones first, with a plateau before
#    each (Saxe et al. 2014). At Adam's usual rate of 1e-3, training ends on the way to the weak ones; 5 to 10 times
#    that takes it past the plateaus, and its decay to 0 silences the noise of the batches, which is worth some
#    per cent in the end. Nobody need subtract the mean: the biases learn it. The deep ones have one hidden layer
#    on either side of the code and get centred pixels; 3 and 5 show what either is worth in a short training.
linear, _ = compare("linear, code size", {k: {"code": k, **LINEAR} for k in CODE_SIZES})
deep, _ = compare("deep, code size", {k: {"code": k, **DEEP} for k in CODE_SIZES})
print("\ncode size      PCA             linear               deep")
for k in CODE_SIZES:
    shares = [f"{errors[k]:.5f} ({errors[k] / optimum[k] - 1:+6.1%})" for errors in (linear, deep)]
    print(f"{k:9}  {optimum[k]:.5f}  {shares[0]:>17}  {shares[1]:>17}")
sizes = {"PCA": line(optimum), "linear autoencoder": line(linear), "deep autoencoder": line(deep)}
plotting.curves(sizes, args.out / "code_size.png", "code size", "test MSE", "The more numbers, the less is lost",
                xlog=True, ylog=True)  # fmt: skip

# 2. Optimiser and learning rate belong together: compared at one rate, one of two would be handicapped. The mean over
#    784 pixels makes gradients tiny. SGD needs rates above 1 to go anywhere; Adam divides by the gradients' size.
OPTIMIZERS = {
    "Adam": (optim.Adam, (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)),
    "SGD": (optim.SGD, (0.1, 0.3, 1.0, 3.0, 10.0)),
    "SGD, momentum 0.9": (partial(optim.SGD, momentum=0.9), (0.03, 0.1, 0.3, 1.0, 3.0)),
}
by_rate, by_epoch = {}, {}
for name, (optimizer, rates) in OPTIMIZERS.items():
    turns = {lr: {"optimizer": optimizer, "lr": lr} for lr in rates}
    errors, histories = compare(f"{name}, learning rate", turns)
    errors = {lr: error for lr, error in errors.items() if not np.isnan(error)}
    by_rate[name] = line(errors)
    best = min(errors, key=errors.get)
    by_epoch[f"{name}, rate {best:g}"] = histories[best]
plotting.curves(by_rate, args.out / "learning_rate.png", "learning rate", "test MSE", "Every optimiser has its rate",
                xlog=True, ylog=True, references=pca_level)  # fmt: skip
plotting.loss_curves(by_epoch, args.out / "optimiser.png", "Test MSE, each optimiser at its best rate")

# 3. Batch size: at the same number of epochs, larger batches are fewer steps, though faster ones. Width and depth:
#    parameters that have to be trained too. No hidden layer at all is the linear autoencoder again.
KNOBS = {
    "batch size": {n: {"batch_size": n} for n in (32, 128, 512, 2048)},
    "width of two hidden layers": {n: {"hidden": (n, n)} for n in (64, 128, 256, 512)},
}
for name, turns in KNOBS.items():
    errors, _ = compare(name, turns)
    plotting.curves({"autoencoder": line(errors)}, args.out / f"{name.replace(' ', '_')}.png", name, "test MSE",
                    xlog=True, references=pca_level)  # fmt: skip
depths = {f"{n} hidden": {"hidden": (256,) * n} for n in range(5)}
errors, _ = compare("depth, in layers of 256", depths)
plotting.bars(pca_level | errors, args.out / "depth.png", "test MSE", "Hidden layers of 256 on either side")

# 4. Loss: all end in a sigmoid here, as cross-entropy needs values in [0, 1]. The optimum for MSE is MSE's, but in a
#    short training the steepest slope may count for more: the sigmoid flattens MSE's gradient at black and white,
#    not that of cross-entropy. MAE aims at the median, and most pixels are black most of the time.
LOSSES = {"mean squared error": "mse", "binary cross-entropy": "bce_logits", "mean absolute error": "mae"}
turns = {name: {"loss": loss, "output": "sigmoid"} for name, loss in LOSSES.items()}
errors, _ = compare("loss, with a sigmoid at the end", turns)
plotting.bars(errors, args.out / "loss.png", "test MSE", "Trained for three losses, judged by one")

# 5. Inputs. Centred ones spare the first layers a large common part that tells images apart by nothing. Dividing by
#    the deviations, too, makes a pixel near the border count as much as one in the middle.
errors, _ = compare("inputs", {name: {"inputs": name} for name in INPUTS})
plotting.bars(errors, args.out / "inputs.png", "test MSE", "What is fed in; errors in pixels")
print(f"\npictures: {args.out}\n")

for k in LINEAR_SIZES:
    verdict(f"linear, code size {k}: test MSE over PCA's", LINEAR_TARGET, linear[k] / optimum[k])
for k in DEEP_SIZES:
    verdict(f"deep, code size {k}: test MSE over PCA's", DEEP_TARGET, deep[k] / optimum[k])
finish()
