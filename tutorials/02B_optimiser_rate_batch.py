"""Which optimiser, which learning rate, which batch size?

Training moves each weight w against its gradient g, the derivative of the loss. The loss is the mean squared error
(MSE) over a batch of images. The optimiser is the rule for this step. The learning rate r scales the step. All networks
here are the same, so only the training differs.

    x (n, 784) --> h (n, 128) --> z (n, 32) --> h' (n, 128) --> x' (n, 784)
              GELU           linear        GELU             linear

Four optimisers are compared:

    SGD                      w <- w - r g
    SGD with momentum 0.9    v <- 0.9 v + g                            w <- w - r v
    RMSprop                  s <- 0.99 s + 0.01 g^2                    w <- w - r g / (sqrt(s) + 1e-8)
    Adam                     m <- 0.9 m + 0.1 g,
                             s <- 0.999 s + 0.001 g^2                  w <- w - r m / (sqrt(s) + 1e-8)

SGD is stochastic gradient descent. At step t, Adam also divides m by 1 - 0.9^t and s by 1 - 0.999^t, because both start
at 0. A comparison at one common rate would be unfair. Each optimiser therefore gets the best rate of its own, chosen on
validation images. PCA with 32 numbers is the baseline (tutorial 01).

    python tutorials/02B_optimiser_rate_batch.py                 the embedded sample, a minute or two
    python tutorials/02B_optimiser_rate_batch.py --data full     20,000 images of MNIST, about 3 minutes
"""

import time
from functools import partial

import numpy as np
from common import finish, load, mse, pca, pca_reconstruct, settings, verdict

import scratchae as sa
from scratchae import data, optim
from scratchae import functional as F
from scratchae.plotting.style import INK, PALETTE, SAVED_DPI, add_axes, legend, new_figure

CODE_SIZE, WIDTH = 32, 128
IMAGES = 20_000  # of the training images; the sample has fewer
BATCH_SIZE = 64
EPOCHS = {"quick": 3, "sample": 8, "full": 3}  # 213, 568 and 939 steps
SEEDS = {"quick": 1, "sample": 3, "full": 3}
RATES = {
    "SGD": (1, 3, 10, 30, 100),
    "SGD, momentum": (0.3, 1, 3, 10, 30),
    "RMSprop": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "Adam": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
}
OPTIMIZERS = {
    "SGD": optim.SGD,
    "SGD, momentum": partial(optim.SGD, momentum=0.9),
    "RMSprop": optim.RMSprop,
    "Adam": optim.Adam,
}
SUM_RATES = {"SGD": 3, "Adam": 3e-3}
BATCH_SIZES = {"quick": (32, 256), "sample": (16, 64, 256, 1024), "full": (16, 64, 256, 1024)}
BATCH_RATES = {"quick": (3e-3, 1e-2), "sample": (1e-3, 3e-3, 1e-2), "full": (1e-3, 3e-3, 1e-2)}

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
digits = load(args.data, data.mnist, data.mnist_sample)
images = digits.train[:IMAGES]
if args.quick:
    RATES = {name: rates if name == "SGD" else rates[1:4] for name, rates in RATES.items()}


def train(optimizer, lr, batch_size=BATCH_SIZE, seed=0, loss="mse"):
    """Train the network. Return the model, or None if the loss became infinite."""
    sa.manual_seed(seed)
    model = sa.Autoencoder.dense((784, WIDTH, CODE_SIZE), activation="gelu", output=None, loss=loss)
    trainer = sa.Trainer(model, optimizer(model.parameters(), lr=lr))
    try:
        with np.errstate(all="ignore"):
            trainer.fit(images, epochs=EPOCHS[run], batch_size=batch_size, seed=seed, progress=False)
    except FloatingPointError:
        return None
    return model


def validate(model):
    return np.nan if model is None else mse(digits.validation, model.reconstruct(digits.validation))


def shown(error):
    return "diverged" if np.isnan(error) else f"{error:.5f}"


def best(errors):
    """The key with the smallest number. Rates that diverged are left out."""
    return min((rate for rate in errors if not np.isnan(errors[rate])), key=errors.get)


# 1. The baseline of all trainings is PCA of the same images. The error of the mean image is the upper end of the scale.
mean, directions = pca(images)
pca_validation = mse(digits.validation, pca_reconstruct(digits.validation, mean, directions[:CODE_SIZE]))
pca_test = mse(digits.test, pca_reconstruct(digits.test, mean, directions[:CODE_SIZE]))
mean_error = mse(digits.validation, mean.reshape(1, 1, 28, 28))
print(f"{len(images):,} training images, {EPOCHS[run]} epochs in batches of {BATCH_SIZE}")
print(f"validation MSE: mean image {mean_error:.5f}, PCA with {CODE_SIZE} numbers {pca_validation:.5f}")

# 2. Each optimiser is trained at five rates, each about 3 times the rate before. SGD gets the rates from 1 to 100.
#    `--quick` takes three of the five rates for the other optimisers. A training diverges if its loss grows without
#    limit. The best rate should have a higher error or a diverged training on both sides. Otherwise the list of rates
#    is too short.
#
# Predict first: which rate is the best for SGD here? Choose (a) 1, or (b) 10 or 30, or (c) 100.
by_rate, chosen = {}, {}
for name, optimizer in OPTIMIZERS.items():
    by_rate[name] = {rate: validate(train(optimizer, rate)) for rate in RATES[name]}
    chosen[name] = best(by_rate[name])
    print(f"{name:14}", *(f"{rate:g}: {shown(error)} " for rate, error in by_rate[name].items()), flush=True)
print("best rates:", ", ".join(f"{name} {rate:g}" for name, rate in chosen.items()))

# What you should see, and why: answer (b). SGD is best at 30 in the quick run and on the sample, and at 10 on 20,000
# images. RMSprop is best at 0.001 and Adam at 0.003, in all three runs. A rate of 10 looks wrong, but the gradients are
# tiny. The loss is a mean over 784 pixels, so each gradient contains a factor 1/784. Training diverges at larger rates.
# Each step then overshoots, and the loss grows until the loss is infinite.
#
# SGD with momentum is best at 3 in the quick run and on the sample, and at 10 on 20,000 images. SGD with momentum moves
# about as far as SGD at ten times the rate. On 20,000 images, SGD with momentum at 0.3 ends at 0.0332, and SGD at 3
# ends at 0.0330. Under a constant gradient g, v grows to g (1 + 0.9 + 0.9^2 + ...) = 10 g. RMSprop and Adam divide by
# the size of the gradient. The length of a step is then near the rate.


# 3. We test the explanation with the factor 1/784. The loss is now the sum over the pixels. Each gradient is then 784
#    times as large. SGD at a rate 784 times as small must make the same steps.
#
# Predict first: Adam gets the sum as the loss too. Which rate does Adam need? Choose (a) the old rate, or (b) a
# rate 784 times as small.
def summed(reconstruction, target):
    return 784 * F.mse_loss(reconstruction, target)


for name, rate in SUM_RATES.items():
    on_mean = train(OPTIMIZERS[name], rate)
    on_sum = {r: train(OPTIMIZERS[name], r, loss=summed) for r in (rate, rate / 784)}
    print(f"{name:4} on the mean, rate {rate:<8g} {shown(validate(on_mean))}")
    print(*(f"{name:4} on the sum,  rate {r:<8.3g} {shown(validate(model))}" for r, model in on_sum.items()), sep="\n")

# What you should see, and why: answer (a). At the old rate, SGD on the sum diverges. At 3/784 = 0.00383, SGD on the sum
# has the same error as before, to five digits. Adam keeps the error at the old rate, up to rounding, because the factor
# 784 cancels in m / sqrt(s). A rate of SGD suits one loss with one scale. If you copy such a rate, copy the loss, too.

# 4. Now the batch size changes, and the optimiser is Adam. A larger batch gives a more exact gradient, but an epoch
#    then has fewer steps. Each batch size gets the best of several rates.
#
# Predict first: all trainings see each image equally often. Which batch size ends at the lowest error? Choose (a) the
# smallest, or (b) the largest, or (c) all the same.
by_batch, seconds = {}, {}
for batch_size in BATCH_SIZES[run]:
    start = time.perf_counter()
    rates = BATCH_RATES[run]
    by_batch[batch_size] = {rate: validate(train(optim.Adam, rate, batch_size)) for rate in rates}
    seconds[batch_size] = (time.perf_counter() - start) / len(rates)
    steps = -(-len(images) // batch_size) * EPOCHS[run]
    print(f"batch of {batch_size:4}, {steps:5,} steps, {seconds[batch_size]:5.1f} s:",
          *(f"{rate:g}: {shown(error)} " for rate, error in by_batch[batch_size].items()), flush=True)  # fmt: skip
print("best rates:", ", ".join(f"batch of {n}: {best(errors):g}" for n, errors in by_batch.items()))

# What you should see, and why: answer (a), but the smallest batch costs time. On 20,000 images, batches of 16, 64, 256
# and 1,024 end at 0.0146, 0.0147, 0.0179 and 0.0299. Batches of 16 make 3,750 steps, and batches of 1,024 make 60
# steps. The trainings took 5.3, 2.8, 2.4 and 1.9 seconds. From 64 to 16, the error hardly falls, and the time doubles.
# In the quick run, batches of 32 end at 0.0187, and batches of 256 at 0.0329.

# 5. The final comparison uses the test images. Other first weights give another error, so each optimiser is trained
#    from several seeds at its best rate. `--quick` has one seed.
#
# Predict first: each optimiser has the best rate of its own. Does the optimiser still matter? Choose (a) Adam is ahead,
# and SGD is last, or (b) all end within 10%, or (c) SGD is ahead.
finals = {}
for name, optimizer in OPTIMIZERS.items():
    models = [train(optimizer, chosen[name], seed=seed) for seed in range(SEEDS[run])]
    errors = [mse(digits.test, model.reconstruct(digits.test)) for model in models if model is not None]
    finals[name] = float(np.mean(errors))
    print(f"{name:14} at {chosen[name]:5g}: test MSE {finals[name]:.5f}, from {min(errors):.5f} to {max(errors):.5f}, "
          f"{len(models) - len(errors)} of {len(models)} diverged")  # fmt: skip
print(f"PCA with {CODE_SIZE} numbers:        test MSE {pca_test:.5f}")

# What you should see, and why: answer (a). On 20,000 images, Adam ends at 0.0144 and RMSprop at 0.0183. SGD with
# momentum ends at 0.0195 and SGD at 0.0249. PCA has 0.0169, so only Adam is better than PCA after three epochs. In the
# quick run, Adam ends at 0.0200 and SGD at 0.0386. A wrong rate costs more than another optimiser. On 20,000 images,
# Adam at 0.03, ten times the best rate, has a validation MSE of 0.0519. SGD at the best rate has 0.0269.
#
# The best rate of one seed can be too high for another seed. On 20,000 images, SGD with momentum at 10 ends between
# 0.0159 and 0.0263. On the sample, SGD at 30 diverges with one of the three seeds. A rate three times lower is safer.

# 6. The left panel shows the validation MSE of each optimiser at each rate. A cross near the upper edge is a training
#    that diverged, or ended above the edge. The right panel shows Adam with several batch sizes.
figure = new_figure(11.5, 5)
panels = {
    "Each optimiser has its own rate": by_rate,
    "Adam: a small batch takes more steps": {f"batch of {n}": errors for n, errors in by_batch.items()},
}
top = 2 * mean_error
for i, (title, lines) in enumerate(panels.items()):
    ax = add_axes(figure, (1, 2, i + 1), "learning rate", "validation MSE", title)
    for j, ((name, errors), colour) in enumerate(zip(lines.items(), PALETTE[4 * i :], strict=False)):
        ax.plot(*zip(*errors.items(), strict=True), color=colour, label=name)
        if lost := [rate for rate, error in errors.items() if not error < top]:
            ax.plot(lost, [top * 0.87**j] * len(lost), "x", color=colour, markersize=9, mew=2, zorder=3)
    ax.axhline(mean_error, color=INK, linestyle="--", linewidth=1, label="mean image")
    ax.axhline(pca_validation, color="black", linestyle=":", linewidth=1.6, label=f"PCA, {CODE_SIZE} numbers")
    ax.set(xscale="log", yscale="log")
    ticks = BATCH_RATES[run] if i else (0.001, 0.01, 0.1, 1, 10, 100)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_yticks([0.01, 0.02, 0.05, 0.1], ["0.01", "0.02", "0.05", "0.1"])
    ax.minorticks_off()
    ax.set_ylim(0.8 * min(np.nanmin([*errors.values()]) for errors in by_rate.values()), 1.1 * top)
    legend(ax, "upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
figure.savefig(args.out / "answer.png", dpi=SAVED_DPI)
print(f"picture: {args.out / 'answer.png'}")
verdict("test MSE of Adam over PCA's", {"quick": 1.25, "sample": 1.0, "full": 1.0}[run], finals["Adam"] / pca_test)
verdict("best rate of SGD", 10, chosen["SGD"], at_least=True)
finish()

# Exercises. The solutions are in tutorials/solutions/02B_optimiser_rate_batch.py.
#
# Change a constant: set the momentum to 0.5. Which rate then gives the error of SGD at the rate 3? Predict the rate
# with the sum 1 + 0.5 + 0.5^2 + ....
#
# Explain a number: Adam's rate is 0.001. After the first step, nearly all weights have moved by 0.001. Why does the
# size of the gradient not matter?
#
# Write code: let the rate fall to 0 during the training. `sa.Schedule(optim.CosineLR(optimizer, epochs))` is a callback
# for the trainer. How much lower is then the error with batches of 16?
