"""Deep autoencoders: more layers, a curved code instead of a plane, and what a ReLU on the code costs.

A linear code of 64 numbers can do no better than PCA (tutorial 01). With hidden layers and nonlinearities on both
sides the code no longer spans a plane, and the same 64 numbers tell more about an image: G. Hinton, R. Salakhutdinov,
"Reducing the dimensionality of data with neural networks", Science 313, 2006. They had to train layer after layer
first; with ReLU and Adam, plain gradient descent does it.

    python tutorials/04_deep_autoencoder.py                 the embedded sample, 1 to 2 minutes
    python tutorials/04_deep_autoencoder.py --data full     all 60,000 images, 10 to 15 minutes on two cores
"""

import numpy as np
from common import finish, load, pca, pca_reconstruct, settings, verdict

import scratchae as sa
from scratchae import data, optim, plotting

SHALLOW, DEEP = (784, 128, 64), (784, 512, 256, 64)
CODE_SIZE = 64
LR = 1e-3  # the deep ones come down from there to 0 along half a cosine
SHALLOW_BATCH = {"quick": 32, "sample": 32, "full": 128}
DEEP_BATCH = {"quick": 64, "sample": 64, "full": 256}
SHALLOW_EPOCHS = 5
DEEP_EPOCHS = {"quick": 6, "sample": 25, "full": 50}
TARGET_BCE = {"quick": 0.133, "sample": 0.133, "full": 0.095}  # MNIST, test
TARGET_RELU_CODE = {"quick": 0.0292, "sample": 0.015, "full": 0.0045}  # MNIST, test MSE
TARGET_LINEAR_CODE = {"quick": 0.0265, "sample": 0.0134, "full": 0.0036}

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data


def adam(model):
    return optim.Adam(model.parameters(), lr=LR)


# 1. Five epochs on each set, with the binary cross-entropy. The targets are grey: for a pixel of 0.5 even the
#    right answer costs log 2, so that the loss has a floor above 0, and Fashion-MNIST, greyer, a higher one.
sets = {
    "MNIST": load(args.data, data.mnist, data.mnist_sample),
    "Fashion-MNIST": load(args.data, data.fashion_mnist, data.fashion_mnist_sample),
}
bce = {}
for name, (train_images, _, test_images, _) in sets.items():
    sa.manual_seed(0)
    model = sa.Autoencoder.dense(SHALLOW, activation="relu", output="sigmoid", loss="bce")
    print(f"{name}: {'-'.join(map(str, SHALLOW))} and back, {len(train_images):,} training images")
    trainer = sa.Trainer(model, adam(model))
    history = trainer.fit(train_images, validation=test_images, epochs=SHALLOW_EPOCHS, batch_size=SHALLOW_BATCH[run])
    bce[name] = history["val_loss"][-1]
    grey = np.clip(test_images, 1e-7, 1 - 1e-7)
    floor = -np.mean(grey * np.log(grey) + (1 - grey) * np.log1p(-grey))
    print(f"test BCE {bce[name]:.4f}, of which {floor:.4f} is the floor\n")
    file = name.lower().replace("-", "_")
    plotting.loss_curves(history, args.out / f"loss_{file}.png", f"{name}: binary cross-entropy")
    plotting.reconstructions(test_images[:10], model.reconstruct(test_images[:10]), args.out / f"shallow_{file}.png")

# 2. Deeper and longer, on MNIST, with the squared error; once with a ReLU on the code as after every other layer,
#    once with a linear code. The learning rate falls to 0, as the noise of the batches would otherwise hide the last
#    tenth of what can be learned. The number of epochs is fixed beforehand: the test images are watched, and decide
#    nothing.
train_images, _, test_images, test_labels = sets["MNIST"]


def train_deep(name, sizes, code_activation):
    sa.manual_seed(0)
    model = sa.Autoencoder.dense(sizes, "relu", output="sigmoid", loss="mse", code_activation=code_activation)
    print(f"{name}: {'-'.join(map(str, sizes))} and back")
    optimizer = adam(model)
    schedule = sa.Schedule(optim.CosineLR(optimizer, DEEP_EPOCHS[run]))
    history = sa.Trainer(model, optimizer, [schedule]).fit(
        train_images, validation=test_images, epochs=DEEP_EPOCHS[run], batch_size=DEEP_BATCH[run],
        checkpoint=args.out / f"{name.replace(' ', '-')}.safetensors", resume=args.resume,
    )  # fmt: skip
    return model, history


relu, relu_history = train_deep("ReLU code", DEEP, "relu")
linear, linear_history = train_deep("linear code", DEEP, None)

# 3. Why does the ReLU lose? Without it, every unit uses the whole line. With it, a unit says something only in the
#    half-space where its input is positive; and one that is pushed to where no image makes it positive gets no
#    gradient any more: it is dead, and stays so. How many are there?
codes = {"ReLU code": relu.transform(test_images), "linear code": linear.transform(test_images)}
fires = (codes["ReLU code"] > 0).mean(axis=0)
alive = int((fires > 0).sum())
print(f"ReLU code: {CODE_SIZE - alive} of {CODE_SIZE} units never fire on {len(test_images):,} test images")
print(f"           an image makes {fires.sum():.1f} of the {alive} others fire, on average\n")

#    Is it the dead units, then, or the half-spaces? A linear code of as many units as are alive has no half-spaces.
#    What it loses against 64 is the price of the dead units, what lies between it and the ReLU code that of the ReLU
#    on the living ones. In a few epochs on few images none is at its limit, and fewer units may even learn faster.
narrow, narrow_history = train_deep("as wide as alive", (*DEEP[:-1], alive), None)

mean, directions = pca(train_images)
by_pca = {size: pca_reconstruct(test_images, mean, directions[:size]) for size in (CODE_SIZE, alive)}
errors = {f"PCA, {size} components": np.mean((test_images - images) ** 2) for size, images in by_pca.items()}
models = {"ReLU code": relu, f"linear code of {alive}": narrow, f"linear code of {CODE_SIZE}": linear}
errors |= {name: model.reconstruction_error(test_images).mean() for name, model in models.items()}
print("test MSE")
for name, error in errors.items():  # 5,000 images are too few for networks of this size: there PCA stays ahead
    print(f"  {name:20} {error:.5f}")

# 4. Look at it.
histories = {
    "ReLU code": relu_history,
    f"linear code of {alive}": narrow_history,
    f"linear code of {CODE_SIZE}": linear_history,
}
plotting.curves(
    {name: (range(1, len(h["loss"]) + 1), h["val_loss"]) for name, h in histories.items()},
    args.out / "loss_deep.png", "epoch", "mean squared error", "Test images of MNIST", ylog=True, markers=False,
    references={f"PCA, {CODE_SIZE}, test images": errors[f"PCA, {CODE_SIZE} components"]},
)  # fmt: skip
shown = test_images[:10]
rows = {name: model.reconstruct(shown) for name, model in models.items()}
plotting.image_rows(
    {"original": shown, f"PCA, {CODE_SIZE}": by_pca[CODE_SIZE][:10], **rows}, args.out / "reconstructions.png"
)
#    The mean size of each unit's output, largest first: the ReLU code ends in a row of zeros.
ranks = np.arange(1, CODE_SIZE + 1)
plotting.curves(
    {name: (ranks, np.sort(np.abs(z).mean(axis=0))[::-1]) for name, z in codes.items()},
    args.out / "activations.png", "unit of the code, most active first", "mean |activation| on the test images",
    "A dead unit is 0 for every image",
)  # fmt: skip
#    Where the classes lie: the codes on their own first two principal directions.
for name, z in codes.items():
    centre, axes = pca(z)
    path = args.out / f"codes_{name.split()[0].lower()}.png"
    plotting.latent_scatter((z - centre) @ axes[:2].T, test_labels, path, f"{name}, 2 principal components", "digit")
print(f"pictures: {args.out}")

verdict("MNIST test BCE after 5 epochs", TARGET_BCE[run], bce["MNIST"])
verdict("test MSE, ReLU code", TARGET_RELU_CODE[run], errors["ReLU code"])
verdict("test MSE, linear code", TARGET_LINEAR_CODE[run], errors[f"linear code of {CODE_SIZE}"])
finish()
