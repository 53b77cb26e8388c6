"""Deep autoencoders: more layers, a curved code instead of a plane, and the cost of a ReLU on the code.

A linear code of 64 numbers cannot be better than PCA (tutorial 01). A deep autoencoder has hidden layers and
nonlinearities on both sides of the code. The outputs then lie on a curved surface, not on a plane. The same 64 numbers
should then describe an image better: G. Hinton, R. Salakhutdinov, "Reducing the dimensionality of data with neural
networks", Science 313, 2006. The authors had to train the layers one by one before the whole network. With ReLU and
Adam, plain gradient descent is enough.

    python tutorials/04_deep_autoencoder.py                 the embedded sample, 1 to 2 minutes
    python tutorials/04_deep_autoencoder.py --data full     all 60,000 images, 10 to 20 minutes on two cores
    python tutorials/04_deep_autoencoder.py --data full --resume    continue an interrupted run
"""

import numpy as np
from common import finish, load, pca, pca_reconstruct, settings, verdict

import scratchae as sa
from scratchae import data, optim, plotting

SHALLOW, DEEP = (784, 128, 64), (784, 512, 256, 64)
CODE_SIZE = 64
LR = 1e-3
DEEP_LR = 3e-3  # the first rate; the rate falls to 0 along half a cosine
CODE_BIAS = 0.2
SHALLOW_BATCH = {"quick": 32, "sample": 32, "full": 128}
DEEP_BATCH = {"quick": 64, "sample": 64, "full": 256}
SHALLOW_EPOCHS = 5
DEEP_EPOCHS = {"quick": 6, "sample": 25, "full": 50}
TARGET_BCE = {"quick": 0.133, "sample": 0.133, "full": 0.095}  # MNIST, test
TARGET_RELU_CODE = {"quick": 0.0325, "sample": 0.0165, "full": 0.0045}  # MNIST, test MSE
TARGET_LINEAR_CODE = {"quick": 0.0285, "sample": 0.0145, "full": 0.0036}

args = settings(__file__, __doc__, resumes=True)
run = "quick" if args.quick else args.data


# 1. Train five epochs on each data set, with the binary cross-entropy (BCE). The target pixels are grey. For a pixel of
#    0.5, even the right answer costs log 2. The BCE therefore has a floor above 0. Fashion-MNIST has more grey pixels,
#    so its floor should be higher.
sets = {
    "MNIST": load(args.data, data.mnist, data.mnist_sample),
    "Fashion-MNIST": load(args.data, data.fashion_mnist, data.fashion_mnist_sample),
}
bce = {}
for name, (train_images, _, test_images, _) in sets.items():
    sa.manual_seed(0)
    model = sa.Autoencoder.dense(SHALLOW, activation="relu", output="sigmoid", loss="bce")
    print(f"{name}: {'-'.join(map(str, SHALLOW))} and back, {len(train_images):,} training images")
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=LR))
    history = trainer.fit(train_images, validation=test_images, epochs=SHALLOW_EPOCHS, batch_size=SHALLOW_BATCH[run])
    bce[name] = history["val_loss"][-1]
    grey = np.clip(test_images, 1e-7, 1 - 1e-7)
    floor = -np.mean(grey * np.log(grey) + (1 - grey) * np.log1p(-grey))
    print(f"test BCE {bce[name]:.4f}, of which {floor:.4f} is the floor\n")
    file = name.lower().replace("-", "_")
    plotting.loss_curves(history, args.out / f"loss_{file}.png", f"{name}: binary cross-entropy")
    plotting.reconstructions(test_images[:10], model.reconstruct(test_images[:10]), args.out / f"shallow_{file}.png")

# 2. Train a deeper network longer on MNIST, with the squared error. The first network has a ReLU on the code, like
#    after every other layer. The second network has a linear code. The learning rate falls to 0. A constant rate would
#    leave the noise of the batches, which hides the last tenth of the progress. The number of epochs is fixed before
#    the training. The script shows the loss on the test images, but the test images decide nothing.
train_images, _, test_images, test_labels = sets["MNIST"]


def train_deep(name, code_activation, code_bias=None, epochs=DEEP_EPOCHS[run]):
    sa.manual_seed(0)
    model = sa.Autoencoder.dense(DEEP, "relu", output="sigmoid", loss="mse", code_activation=code_activation)
    if code_bias is not None:
        model.encoder[-2].bias.data[...] = code_bias
    print(f"{name}: {'-'.join(map(str, DEEP))} and back")
    optimizer = optim.Adam(model.parameters(), lr=DEEP_LR)
    history = sa.Trainer(model, optimizer, [sa.Schedule(optim.CosineLR(optimizer, epochs))]).fit(
        train_images, validation=test_images, epochs=epochs, batch_size=DEEP_BATCH[run],
        checkpoint=args.out / f"{run}-{name.replace(' ', '-')}.safetensors", resume=args.resume,
    )  # fmt: skip
    return model, history


def firing(model):
    """For each unit of the code, the share of the test images with an output above 0."""
    return (model.transform(test_images) > 0).mean(axis=0)


# 3. If no image makes a ReLU unit positive, the unit gets no gradient and never changes. This unit is dead. With the
#    usual initialisation, a unit of the code gets nearly the same input for all images. Chance decides the sign of this
#    input. The first steps can push the input below 0 for all images. A bias above 0 should protect most units.
short, _ = train_deep("ReLU code, one epoch", "relu", epochs=1)
relu, relu_history = train_deep("ReLU code, biases above 0", "relu", CODE_BIAS)
linear, linear_history = train_deep("linear code", None)
dead, dead_by_default = (int((firing(model) == 0).sum()) for model in (relu, short))
print(f"dead units of {CODE_SIZE}: {dead_by_default} after one epoch by default, {dead} at the end with biases above 0")
print(f"on average, an image makes {firing(relu).sum():.1f} units positive")

#    A unit behind a ReLU uses only the half-space where its input is positive. In the other half-space, the unit is 0.
#    A linear unit uses the whole line, so the linear code should have the lower error.
mean, directions = pca(train_images)
by_pca = pca_reconstruct(test_images, mean, directions[:CODE_SIZE])
errors = {"PCA": np.mean((test_images - by_pca) ** 2)}
models = {"ReLU code": relu, "linear code": linear}
errors |= {name: model.reconstruction_error(test_images).mean() for name, model in models.items()}
print("test MSE")
for name, error in errors.items():  # 5,000 images are too few for these networks, and PCA is better there
    print(f"  {name:20} {error:.5f}")

# 4. Draw the loss curves and the reconstructions.
histories = {"ReLU code": relu_history, "linear code": linear_history}
plotting.curves(
    {name: (range(1, len(h["loss"]) + 1), h["val_loss"]) for name, h in histories.items()},
    args.out / "loss_deep.png", "epoch", "mean squared error", "Test images of MNIST", ylog=True, markers=False,
    references={"PCA": errors["PCA"]},
)  # fmt: skip
shown = test_images[:10]
rows = {name: model.reconstruct(shown) for name, model in models.items()}
plotting.image_rows({"original": shown, "PCA": by_pca[:10], **rows}, args.out / "reconstructions.png")
#    Draw the mean size of each unit's output, largest first.
codes = {name: model.transform(test_images) for name, model in models.items()}
ranks = np.arange(1, CODE_SIZE + 1)
plotting.curves(
    {name: (ranks, np.sort(np.abs(z).mean(axis=0))[::-1]) for name, z in codes.items()},
    args.out / "activations.png", "unit of the code, most active first", "mean |activation| on the test images",
    "A dead unit is 0 for every image",
)  # fmt: skip
#    Draw the codes on their own first two principal directions, with the classes as colours.
for name, z in codes.items():
    centre, axes = pca(z)
    path = args.out / f"codes_{name.split()[0].lower()}.png"
    plotting.latent_scatter((z - centre) @ axes[:2].T, test_labels, path, f"{name}, 2 principal components", "digit")
print(f"pictures: {args.out}")

verdict("MNIST test BCE after 5 epochs", TARGET_BCE[run], bce["MNIST"])
verdict("test MSE, ReLU code", TARGET_RELU_CODE[run], errors["ReLU code"])
verdict("test MSE, linear code", TARGET_LINEAR_CODE[run], errors["linear code"])
finish()
