"""Sparse codes: many units, few of them on at a time.

A code need not be small to be of use. Let it have many units but let each image afford only a few, and each unit has
to stand for something that comes back in many images: a stroke, not a whole digit and not a pixel. Two ways to ask
for it: KL pulls every unit's mean activation to a target (A. Ng, "Sparse autoencoder", CS294A lecture notes,
Stanford 2011); L1 puts a price on activation itself, as sparse coding does (B. A. Olshausen, D. J. Field,
"Emergence of simple-cell receptive field properties by learning a sparse code for natural images", Nature 1996).

    python tutorials/07_sparse.py                 the embedded sample, about a minute
    python tutorials/07_sparse.py --data full     all 60,000 images, about 3 minutes
"""

import numpy as np
from common import finish, load, settings, verdict

import scratchae as sa
from scratchae import data, optim, plotting
from scratchae.autoencoders import SparseAutoencoder

SIZES = (784, 256)
ACTIVITY = 0.05  # the mean activation that KL asks of every unit
KL_WEIGHT = 3e-2
L1_WEIGHT = 3e-4
SWEEP = (1e-3, 1e-2, 3e-2, 1e-1, 1.0)
BATCH_SIZE = 64
LR = {"kl": 5e-3, "l1": 1e-3}  # sigmoids learn slowly, and ReLUs die of large steps
EPOCHS = {"quick": 8, "sample": 25, "full": 6}
SWEEP_EPOCHS = {"quick": 4, "sample": 10, "full": 10}
SWEEP_IMAGES = 5000
TARGET = {"quick": 0.2, "sample": 0.2, "full": 0.2}  # |mean activation / asked for - 1|

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
train_images, _, test_images, _ = load(args.data, data.mnist, data.mnist_sample)


def build(penalty, weight):
    """Without weight, the plain autoencoder of the same shape."""
    sa.manual_seed(0)
    code = {"kl": "sigmoid", "l1": "relu"}[penalty]
    return SparseAutoencoder.dense(SIZES, code_activation=code, penalty=penalty, target=ACTIVITY, weight=weight)


def train(model, images, epochs):
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=LR[model.penalty]))
    return trainer.fit(images, epochs=epochs, batch_size=BATCH_SIZE, progress=False)


def share_within(activity, factor):
    """The share of units whose mean activation is at most `factor` times the one asked for, and at least 1 / factor."""
    return np.mean((activity < ACTIVITY * factor) & (activity > ACTIVITY / factor))


# 1. How much weight? The reconstruction term is a mean over pixels, the penalty a sum over units: nothing makes them
#    comparable, so one tries powers of ten on few images. Too little, and units stay as busy as they like; too much,
#    and reconstructions pay for it. The right weight is about the smallest that is obeyed.
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

# 2. Each sparse model beside the plain one with the same kind of code. A unit counts as active in an image where it
#    exceeds a tenth of the largest value it takes: a sigmoid is never 0, so counting non-zeros would say nothing.
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

# 3. Which units fire? KL treats all units alike, so the curve of mean activations is flat and lies at the target. L1
#    asks for a small sum and does not care whose: some units do the work, and others are never heard of again.
shares = np.linspace(0, 100, SIZES[-1])
for kind, names in {"sigmoid": ("plain sigmoid", "KL"), "relu": ("plain ReLU", "L1")}.items():
    lines = {name: (shares, np.sort(activities[name])[::-1]) for name in names}
    level = {"target of KL": ACTIVITY} if kind == "sigmoid" else None
    plotting.curves(lines, args.out / f"activity_{kind}.png", "units, from the busiest to the laziest (%)",
                    "mean activation on test images", markers=False, references=level)  # fmt: skip

# 4. What has each unit learned? Its incoming weights say what it looks for, its outgoing ones what it draws; here for
#    the 64 busiest. Blotches under the plain models, strokes and arcs under KL and L1, clearest in what they draw.
#    Incoming weights are shown times the spread of their pixel: at the rim, where a pixel is hardly ever lit, weights
#    may be large without any effect.
spread = train_images.reshape(len(train_images), -1).std(axis=0)
for name, model in models.items():
    file = name.replace(" ", "_").lower()
    busiest = np.argsort(-activities[name])[:64]
    plotting.filters(model.encoder[1].weight.numpy()[busiest] * spread, args.out / f"encoder_{file}.png")
    plotting.filters(model.decoder[0].weight.numpy().T[busiest], args.out / f"decoder_{file}.png")

# 5. An image is a sum of strokes: the decoder adds up what its units draw. Keep only the units that contribute most.
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
