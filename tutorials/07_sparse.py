"""Sparse codes: many units, and few active units at a time.

A useful code need not be small. The code can have many units if each image activates only a few. Each unit must then
stand for a part of many images, such as a stroke. A whole digit is too large a part, and a pixel is too small. Two
penalties make a code sparse. The KL penalty moves the mean activation of every unit to a target (A. Ng, "Sparse
autoencoder", CS294A lecture notes, Stanford 2011). The L1 penalty makes every activation expensive, like sparse coding
(B. A. Olshausen, D. J. Field, "Emergence of simple-cell receptive field properties by learning a sparse code for
natural images", Nature 1996).

    python tutorials/07_sparse.py                 the embedded sample, about a minute
    python tutorials/07_sparse.py --data full     all 60,000 images, about 3 minutes
"""

import numpy as np
from common import finish, load, settings, verdict

import scratchae as sa
from scratchae import data, optim, plotting
from scratchae.autoencoders import SparseAutoencoder

SIZES = (784, 256)
ACTIVITY = 0.05  # the target of KL for the mean activation of every unit
KL_WEIGHT = 3e-2
L1_WEIGHT = 3e-4
SWEEP = (1e-3, 1e-2, 3e-2, 1e-1, 1.0)
BATCH_SIZE = 64
LR = {"kl": 5e-3, "l1": 1e-3}  # sigmoids learn slowly, and large steps make ReLUs dead
EPOCHS = {"quick": 8, "sample": 25, "full": 6}
SWEEP_EPOCHS = {"quick": 4, "sample": 10, "full": 10}
SWEEP_IMAGES = 5000
TARGET = {"quick": 0.2, "sample": 0.2, "full": 0.2}  # |mean activation / ACTIVITY - 1|

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
train_images, _, test_images, _ = load(args.data, data.mnist, data.mnist_sample)


def build(penalty, weight):
    """A sparse autoencoder. With weight 0, the plain autoencoder of the same shape."""
    sa.manual_seed(0)
    code = {"kl": "sigmoid", "l1": "relu"}[penalty]
    return SparseAutoencoder.dense(SIZES, code_activation=code, penalty=penalty, target=ACTIVITY, weight=weight)


def train(model, images, epochs):
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=LR[model.penalty]))
    return trainer.fit(images, epochs=epochs, batch_size=BATCH_SIZE, progress=False)


def share_within(activity, factor):
    """The share of units with a mean activation between ACTIVITY / factor and ACTIVITY * factor."""
    return np.mean((activity < ACTIVITY * factor) & (activity > ACTIVITY / factor))


# 1. How large should the weight be? The reconstruction term is a mean over pixels, and the penalty is a sum over units.
#    These scales are not comparable, so we try powers of ten on few images. With a small weight, the units ignore the
#    target. With a large weight, the reconstructions become worse. The right weight is about the smallest weight that
#    reaches the target.
print(f"KL with target {ACTIVITY}, {min(SWEEP_IMAGES, len(train_images)):,} images")
print(" weight  mean activation  units within a factor 2  test MSE")
sweep = {"mean activation": [], "test MSE": []}
for weight in SWEEP:
    model = build("kl", weight)
    train(model, train_images[:SWEEP_IMAGES], SWEEP_EPOCHS[run])
    activity = model.transform(test_images).mean(axis=0)
    error = model.reconstruction_error(test_images).mean()
    sweep["mean activation"].append(activity.mean())
    sweep["test MSE"].append(error)
    print(f"{weight:7g}  {activity.mean():15.3f}  {share_within(activity, 2):23.0%}  {error:8.4f}", flush=True)
lines = {name: (SWEEP, values) for name, values in sweep.items()}
plotting.curves(lines, args.out / "weight.png", "weight of the penalty", "mean over test images",
                xlog=True, ylog=True, references={"target activation": ACTIVITY})  # fmt: skip

# 2. Compare each sparse model with a plain model that has the same kind of code. A sigmoid is never 0, so a count of
#    non-zero values would mean nothing. A unit is active in an image above a tenth of its largest value.
models = {
    "plain sigmoid": build("kl", 0.0),
    "KL": build("kl", KL_WEIGHT),
    "plain ReLU": build("l1", 0.0),
    "L1": build("l1", L1_WEIGHT),
}
print(f"\n{len(train_images):,} training images, {SIZES[-1]} units")
print("               mean activation  active units an image  silent units  test MSE")
activities = {}
for name, model in models.items():
    train(model, train_images, EPOCHS[run])
    codes = model.transform(test_images)
    activities[name] = codes.mean(axis=0)
    active = np.mean(codes > 0.1 * codes.max(axis=0))
    silent = np.sum(codes.max(axis=0) < 1e-3)
    error = model.reconstruction_error(test_images).mean()
    print(f"{name:13}  {codes.mean():15.3f}  {active:21.1%}  {silent:12}  {error:8.5f}", flush=True)

# 3. Which units are active? KL treats all units alike. The curve of mean activations should be flat, and lie at the
#    target. L1 only makes the sum small, whichever units contribute. Some units should do the work, and other units
#    should be silent for all images.
shares = np.linspace(0, 100, SIZES[-1])
for kind, names in {"sigmoid": ("plain sigmoid", "KL"), "relu": ("plain ReLU", "L1")}.items():
    lines = {name: (shares, np.sort(activities[name])[::-1]) for name in names}
    level = {"target of KL": ACTIVITY} if kind == "sigmoid" else None
    plotting.curves(lines, args.out / f"activity_{kind}.png", "units, most active first (%)",
                    "mean activation on test images", markers=False, references=level)  # fmt: skip

# 4. What has each unit learned? The incoming weights show the pattern that activates the unit. The outgoing weights
#    show the pattern that the unit draws. We draw both for the 64 most active units. The plain models should show
#    blotches. KL and L1 should show strokes and arcs, clearest in the outgoing weights. Each incoming weight is
#    multiplied by the standard deviation of its pixel. Pixels on the border hardly vary, so a large weight there has no
#    effect.
spread = train_images.reshape(len(train_images), -1).std(axis=0)
for name, model in models.items():
    file = name.replace(" ", "_").lower()
    busiest = np.argsort(-activities[name])[:64]
    plotting.filters(model.encoder[1].weight.numpy()[busiest] * spread, args.out / f"encoder_{file}.png")
    plotting.filters(model.decoder[0].weight.numpy().T[busiest], args.out / f"decoder_{file}.png")

# 5. An image is a sum of strokes, because the decoder adds up the patterns of its units. Keep only the units with the
#    largest contributions. With more units, the digits should become complete.
model = models["KL"]
shown = test_images[:10]
codes = model.transform(shown)
reach = np.linalg.norm(model.decoder[0].weight.numpy(), axis=0)
order = np.argsort(-codes * reach, axis=1)
rows = {"original": shown}
for k in (1, 2, 5, 10, 20, SIZES[-1]):
    kept = np.zeros_like(codes)
    np.put_along_axis(kept, order[:, :k], np.take_along_axis(codes, order[:, :k], axis=1), axis=1)
    rows[f"{k} units" if k > 1 else "1 unit"] = model.inverse_transform(kept)
plotting.image_rows({name: np.reshape(images, (-1, 28, 28)) for name, images in rows.items()}, args.out / "sum.png")
print(f"pictures: {args.out}\n")

activity = activities["KL"]
print(f"{share_within(activity, 2):.0%} of the units under KL are within a factor 2 of {ACTIVITY}")
verdict("KL: |mean activation / target - 1|", TARGET[run], abs(activity.mean() / ACTIVITY - 1))
finish()
