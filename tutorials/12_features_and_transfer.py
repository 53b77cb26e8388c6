"""Two uses of a code: as features for a classifier with few labels, and as the start of another training.

Images are cheap, and labels are expensive. An autoencoder needs no labels. The code may separate the classes better
than pixels: P. Vincent et al., "Stacked denoising autoencoders", JMLR 11, 2010. The authors found that the autoencoder
needs noisy inputs for this. A plain autoencoder finds a short code, but not a code that separates classes. The same
weights can also be the start of another training: D. Erhan et al., "Why does unsupervised pre-training help deep
learning?", JMLR 11, 2010.

    python tutorials/12_features_and_transfer.py                 the embedded sample, 1 to 2 minutes
    python tutorials/12_features_and_transfer.py --data full     all 60,000 images, 6 to 10 minutes
"""

import numpy as np
from common import finish, load, pca, settings, verdict

import scratchae as sa
from scratchae import data, nn, optim, plotting
from scratchae import functional as F

SIZES = (784, 256, 128, 32)
CODE_SIZE = SIZES[-1]
MASKED = 0.5  # share of the pixels that are set to 0
EPOCHS = {"quick": 15, "sample": 25, "full": 10}
BATCH_SIZE = {"quick": 64, "sample": 64, "full": 128}
LABELS = {"quick": (100, 1000), "sample": (100, 300, 1000, 3000), "full": (100, 300, 1000, 5000, 20000)}
DRAWS = {"quick": 3, "sample": 5, "full": 5}
DECAYS = (0.1, 0.01, 0.001)  # weight decays to choose from
STEPS = {"quick": 150, "sample": 200, "full": 400}  # of the logistic regression
TUNED_LABELS = {"quick": (100, 300), "sample": (100, 300, 1000), "full": (100, 1000, 5000)}
TUNED_DRAWS = {"quick": 2, "sample": 3, "full": 3}
TUNED_EPOCHS = 30
TARGET = {"quick": 0.0, "sample": 0.0, "full": 0.0}  # accuracy on codes minus accuracy on pixels, 100 labels

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
train_images, train_labels, test_images, test_labels = load(args.data, data.mnist, data.mnist_sample)
other_images = load(args.data, data.fashion_mnist, data.fashion_mnist_sample)[0]


def accuracy(model, inputs):
    with sa.no_grad():
        return float(np.mean(model(inputs).numpy().argmax(axis=1) == test_labels))


def labelled(count, draw):
    """The positions of the `count` training images with labels in this draw."""
    return np.random.default_rng(draw).permutation(len(train_images))[:count]


def table(title, counts, results):
    """Mean and standard deviation over the draws, in percent."""
    print(f"\n{title}\n{'labels':22}" + "".join(f"{count:>14,}" for count in counts))
    for name, rows in results.items():
        cells = (f"{100 * np.mean(row):.1f} ± {100 * np.std(row):.1f}" for row in rows)
        print(f"{name:22}" + "".join(f"{cell:>14}" for cell in cells))


# 1. Codes without labels. The denoising autoencoder sees only half of the pixels, and must fill in the others. For this
#    task, the network must learn the shapes of digits. The training uses all training images, and no labels.
def pretrain(images):
    sa.manual_seed(0)
    model = sa.autoencoders.DenoisingAutoencoder.dense(SIZES, corruption="masking", amount=MASKED)
    history = sa.Trainer(model, optim.Adam(model.parameters(), lr=1e-3)).fit(
        images, epochs=EPOCHS[run], batch_size=BATCH_SIZE[run], progress=False
    )
    print(f"loss {history['loss'][0]:.4f} in the first epoch, {history['loss'][-1]:.4f} in the last")
    return model


print(f"denoising autoencoder {'-'.join(map(str, SIZES))} and back, {len(train_images):,} images of MNIST")
model = pretrain(train_images)


# 2. There are three kinds of features: pixels, PCA and the code. PCA is a rotation of the pixels that keeps the longest
#    axes. A linear classifier can do this rotation itself, so PCA should hardly be better than pixels. The code is
#    curved, so the code can be better.
def scaled(train, test):
    """Features minus their mean, over one number: the same weight decays then suit every kind of features."""
    mean = train.mean(axis=0)
    scale = np.sqrt(np.mean(np.sum((train - mean) ** 2, axis=1)) / CODE_SIZE)
    return [((features - mean) / scale).astype(np.float32) for features in (train, test)]


pixels = [images.reshape(len(images), -1) for images in (train_images, test_images)]
mean, directions = pca(train_images)
features = {
    "pixels": scaled(*pixels),
    f"PCA, {CODE_SIZE}": scaled(*((flat - mean) @ directions[:CODE_SIZE].T for flat in pixels)),
    f"code, {CODE_SIZE}": scaled(model.transform(train_images), model.transform(test_images)),
}


# 3. The classifier is logistic regression, one linear layer. The choice of the weight decay uses only the labels of the
#    draw. We train on four fifths of these labels, and compare the decays on the other fifth. Then we train again on
#    all labels of the draw.
def logistic_regression(inputs, labels, decay):
    sa.manual_seed(0)
    linear = nn.Linear(inputs.shape[1], 10)
    optimizer = optim.Adam(linear.parameters(), lr=0.03, weight_decay=decay)
    batch_size = min(len(inputs), 256)
    epochs = -(-STEPS[run] * batch_size // len(inputs))
    sa.Trainer(linear, optimizer, loss=F.cross_entropy).fit(
        (inputs, labels), epochs=epochs, batch_size=batch_size, progress=False
    )
    return linear


def chosen_decay(inputs, labels):
    kept = len(inputs) * 4 // 5

    def held_out_loss(decay):
        linear = logistic_regression(inputs[:kept], labels[:kept], decay)
        with sa.no_grad():
            return F.cross_entropy(linear(inputs[kept:]), labels[kept:]).item()

    return min(DECAYS, key=held_out_loss)


results = {name: [] for name in features}
for name, (train, test) in features.items():
    for count in LABELS[run]:
        drawn = [labelled(count, draw) for draw in range(DRAWS[run])]
        fits = [logistic_regression(train[i], train_labels[i], chosen_decay(train[i], train_labels[i])) for i in drawn]
        results[name].append([accuracy(linear, test) for linear in fits])
table(f"Logistic regression: test accuracy in %, {DRAWS[run]} draws of the labels", LABELS[run], results)

# 4. Transfer. The encoder with a linear layer on top learns the digits, and all weights change. The first training
#    starts from random weights. The second training starts from clothes, and the third from digits without labels. Does
#    a start from clothes help with digits?
print(f"\nthe same autoencoder, {len(other_images):,} images of Fashion-MNIST")
starts = {"from scratch": None, "from Fashion-MNIST": pretrain(other_images), "from MNIST, unlabelled": model}


class TestAccuracy(sa.Callback):
    """Measure the test accuracy after every epoch. The training does not use this accuracy."""

    def on_fit_begin(self, trainer):
        self.measured = []

    def on_epoch_end(self, trainer, row):
        self.measured.append(accuracy(trainer.model, test_images))


def fine_tune(start, chosen, seed):
    """Test accuracy after each epoch."""
    sa.manual_seed(seed)
    encoder = sa.Autoencoder.dense(SIZES).encoder
    if start is not None:
        encoder.load_state_dict(start.encoder.state_dict())
    classifier = nn.Sequential(encoder, nn.Linear(CODE_SIZE, 10))
    optimizer, watch = optim.Adam(classifier.parameters(), lr=1e-3), TestAccuracy()
    sa.Trainer(classifier, optimizer, [watch], loss=F.cross_entropy).fit(
        (train_images[chosen], train_labels[chosen]), epochs=TUNED_EPOCHS, batch_size=20, progress=False
    )
    return watch.measured


draws = range(TUNED_DRAWS[run])
learning = {
    name: np.array([[fine_tune(start, labelled(n, draw), draw) for draw in draws] for n in TUNED_LABELS[run]])
    for name, start in starts.items()
}  # each of shape (numbers of labels, draws, epochs)
tuned = {name: accuracies[:, :, -1] for name, accuracies in learning.items()}
table(f"Fine-tuned: test accuracy in %, {len(draws)} draws of the labels", TUNED_LABELS[run], tuned)
fewest = TUNED_LABELS[run][0]
gain = np.mean(tuned["from Fashion-MNIST"][0]) - np.mean(tuned["from scratch"][0])
print(f"\nwith {fewest} labels, starting from clothes changes the accuracy by {100 * gain:+.1f} points")

# 5. Draw the accuracies and the codes.
plotting.curves(
    {name: (LABELS[run], 100 * np.mean(rows, axis=1)) for name, rows in results.items()},
    args.out / "features.png", "labelled images", "test accuracy, %", "Logistic regression on features", xlog=True,
)  # fmt: skip
plotting.curves(
    {name: (TUNED_LABELS[run], 100 * np.mean(rows, axis=1)) for name, rows in tuned.items()},
    args.out / "transfer.png", "labelled images", "test accuracy, %", "Fine-tuned on MNIST", xlog=True,
)  # fmt: skip
plotting.curves(
    {name: (range(1, TUNED_EPOCHS + 1), 100 * a[0].mean(axis=0)) for name, a in learning.items()},
    args.out / "learning.png", "epoch", "test accuracy, %", f"Fine-tuning with {fewest} labels", markers=False,
)  # fmt: skip
some = slice(2000)  # more points would hide each other
for name in (f"PCA, {CODE_SIZE}", f"code, {CODE_SIZE}"):
    codes = features[name][1]
    centre, axes = pca(codes)
    plotting.latent_scatter(
        ((codes - centre) @ axes[:2].T)[some], test_labels[some], args.out / f"latent_{name.split(',')[0].lower()}.png",
        f"{name}: first 2 principal components", "digit",
    )  # fmt: skip
print(f"pictures: {args.out}")

advantage = np.mean(results[f"code, {CODE_SIZE}"][0]) - np.mean(results["pixels"][0])
verdict("accuracy with 100 labels, code minus pixels", TARGET[run], advantage, at_least=True)
finish()
