"""Hyperparameters: code size first, then optimiser, learning rate, batch, width, depth, loss and inputs.

A linear autoencoder cannot be better than principal component analysis (PCA; Eckart & Young 1936, Baldi & Hornik 1989).
PCA's error at every code size is therefore the baseline. Linear autoencoders should lie on PCA's curve. Deep
autoencoders (Hinton & Salakhutdinov 2006) should lie below this curve. After the code size, the script changes one
hyperparameter at a time. All other settings stay at BASE. The same number judges all models: the mean squared error per
pixel on test images. This also holds for models that minimise another loss.

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
# Targets: test MSE / PCA's test MSE, at these code sizes
LINEAR_TARGET, LINEAR_SIZES = 1.02, (2, 16) if args.quick else (2, 16, 32, 64)
DEEP_TARGET, DEEP_SIZES = 1.0, CODE_SIZES[:-1] if run == "sample" else CODE_SIZES

train_images, _, test_images, _ = load(args.data, data.mnist, data.mnist_sample)


def train(**changes):
    """Train BASE with changes. Return the test MSE in pixels (NaN after divergence) and the test loss per epoch."""
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
    """Train once per setting of `turns`, {name: changes to BASE}. Print and return the test MSE of each setting."""
    print(f"\n{title:34}  test MSE  seconds", flush=True)
    errors, histories = {}, {}
    for name, changes in turns.items():
        start = time.perf_counter()
        errors[name], histories[name] = train(**changes)
        shown = "diverged" if np.isnan(errors[name]) else f"{errors[name]:.5f}"
        print(f"{name!s:34}  {shown:>8}  {time.perf_counter() - start:7.1f}", flush=True)
    return errors, histories


def line(errors):
    """The lists of x and of y of a dictionary {x: y}."""
    return list(errors), list(errors.values())


# 0. The baseline is PCA at every code size. There are three ways to prepare the pixels: unchanged, with mean 0, or with
#    mean 0 and variance 1. Pixels on the border hardly vary. A lower limit on the deviation keeps a few grey border
#    pixels from becoming huge.
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

# 1. Code size. A linear network learns PCA's directions one after the other. Strong directions come first, and a
#    plateau comes before each direction (Saxe et al. 2014). At Adam's usual rate of 1e-3, training ends before the weak
#    directions. A rate 5 to 10 times as large passes the plateaus. The decay of the rate to 0 then removes the noise of
#    the batches. This decay gains some per cent at the end. The linear inputs need no centring, because the biases
#    learn the mean. The deep networks have one hidden layer on either side of the code, and get centred pixels. Parts 3
#    and 5 measure the effect of the hidden layers and of centred pixels in a short training.
linear, _ = compare("linear, code size", {k: {"code": k, **LINEAR} for k in CODE_SIZES})
deep, _ = compare("deep, code size", {k: {"code": k, **DEEP} for k in CODE_SIZES})
print("\ncode size      PCA             linear               deep")
for k in CODE_SIZES:
    shares = [f"{errors[k]:.5f} ({errors[k] / optimum[k] - 1:+6.1%})" for errors in (linear, deep)]
    print(f"{k:9}  {optimum[k]:.5f}  {shares[0]:>17}  {shares[1]:>17}")
sizes = {"PCA": line(optimum), "linear autoencoder": line(linear), "deep autoencoder": line(deep)}
plotting.curves(sizes, args.out / "code_size.png", "code size", "test MSE", "A larger code loses less",
                xlog=True, ylog=True)  # fmt: skip

# 2. Optimiser and learning rate. Each optimiser needs its own rate, so a comparison at one rate would be unfair. The
#    loss is a mean over 784 pixels, so gradients are tiny. SGD should need rates above 1. Adam should work at small
#    rates, because Adam divides by the size of the gradients.
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
plotting.curves(by_rate, args.out / "learning_rate.png", "learning rate", "test MSE", "Each optimiser has its own rate",
                xlog=True, ylog=True, references=pca_level)  # fmt: skip
plotting.loss_curves(by_epoch, args.out / "optimiser.png", "Test MSE, each optimiser at its best rate")

# 3. Batch size, width and depth. At the same number of epochs, a larger batch means fewer steps, but less time per
#    image. More width and depth mean more parameters to train. Without a hidden layer, the network is the linear
#    autoencoder again.
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

# 4. Loss. All models end in a sigmoid here, because the cross-entropy needs values in [0, 1]. In a very long training,
#    the MSE loss would give the lowest MSE. In a short training, steep gradients may be more important. The sigmoid
#    flattens the gradient of the MSE at black and white, but not the gradient of the cross-entropy. The MAE aims at the
#    median, and the median of most pixels is black.
LOSSES = {"mean squared error": "mse", "binary cross-entropy": "bce_logits", "mean absolute error": "mae"}
turns = {name: {"loss": loss, "output": "sigmoid"} for name, loss in LOSSES.items()}
errors, _ = compare("loss, with a sigmoid at the end", turns)
plotting.bars(errors, args.out / "loss.png", "test MSE", "Trained with three losses, compared by MSE")

# 5. Inputs. All images share a large common part, the mean image. Centred inputs spare the first layer this part.
#    Division by the deviation makes a pixel near the border as important as a pixel in the middle.
errors, _ = compare("inputs", {name: {"inputs": name} for name in INPUTS})
plotting.bars(errors, args.out / "inputs.png", "test MSE", "Three kinds of inputs; errors in pixels")
print(f"\npictures: {args.out}\n")

for k in LINEAR_SIZES:
    verdict(f"linear, code size {k}: test MSE over PCA's", LINEAR_TARGET, linear[k] / optimum[k])
for k in DEEP_SIZES:
    verdict(f"deep, code size {k}: test MSE over PCA's", DEEP_TARGET, deep[k] / optimum[k])
finish()
