"""Does a network remove noise better than the best linear method?

A denoising autoencoder gets a noisy image x~ and must return the clean image x (P. Vincent, H. Larochelle, Y. Bengio,
P.-A. Manzagol, "Extracting and composing robust features with denoising autoencoders", ICML 2008). The code z needs no
bottleneck here. A network that copies its input also copies the noise, so a copy has a high loss.

         clean                noisy                     code                       denoised
    x (n, 1, 28, 28) ------> x~ (same) -------> z (n, 16, 14, 14) -------> x' (n, 1, 28, 28)
                      noise             encoder                    decoder
               loss = binary cross-entropy (BCE) of x' and the clean image x

The program draws the noise, so each clean image gives many pairs of input and target. Labels are not needed. Learning
from targets that the program makes from the data is called self-supervised.

The unit of quality is the decibel (dB). The peak signal-to-noise ratio is PSNR = 10 log10(1 / MSE) for pixels in
[0, 1]. At 10 dB more, the squared error is a tenth. At 3 dB more, the squared error is half.

    python tutorials/05_denoising.py                 the embedded sample, about 2 minutes
    python tutorials/05_denoising.py --data full     all of MNIST, 4 to 9 minutes
"""

import numpy as np
from common import finish, load, pca, settings, verdict

import scratchae as sa
from scratchae import data, nn, optim, plotting
from scratchae import functional as F
from scratchae.autoencoders import DenoisingAutoencoder
from scratchae.data import noise
from scratchae.plotting import style

NOISES = {"gaussian": noise.gaussian, "masking": noise.masking, "salt_and_pepper": noise.salt_and_pepper}
STRENGTHS = {"gaussian": (0.2, 0.4, 0.6), "masking": (0.25, 0.5, 0.75), "salt_and_pepper": (0.1, 0.3, 0.5)}
UNITS = {"gaussian": "standard deviation", "masking": "share of pixels set to 0",
         "salt_and_pepper": "share of pixels set to 0 or 1"}  # fmt: skip
SETTINGS = [(kind, strength) for kind, strengths in STRENGTHS.items() for strength in strengths]
COMPONENTS = (20, 30, 40, 50, 75, 100, 150, 200)
RIDGES = (1e-5, 1e-4, 1e-3)
CHANNELS = 16
BATCH_SIZE = {"quick": 32, "sample": 32, "full": 64}
LR = 3e-3
EPOCHS = {"quick": 2, "sample": 12, "full": 3}
CLASSIFIER_EPOCHS = {"quick": 5, "sample": 10, "full": 3}
PAIRS = {"quick": 1000, "sample": 2500, "full": 5000}  # images for the comparison of fixed with fresh noise
PAIR_EPOCHS = {"quick": 15, "sample": 20, "full": 20}
# dB above the regression, at the strength with the smallest margin
TARGET = {
    "quick": {"gaussian": -1, "masking": -0.5, "salt_and_pepper": -0.5},
    "sample": {"gaussian": 0.5, "masking": 0.5, "salt_and_pepper": 0.5},
    "full": {"gaussian": 0.5, "masking": 0.5, "salt_and_pepper": 0.5},
}
FRESH_TARGET = {"quick": 0.2, "sample": 0.5, "full": 0.3}  # dB of fresh noise above fixed pairs

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
digits = load(args.data, data.mnist, data.mnist_sample)
train, clean = digits.train, digits.test
rng = np.random.default_rng(0)


def psnr(images, clean):
    return float(10 * np.log10(1 / np.mean((images - clean) ** 2)))


def damaged(kind, strength, images):
    return NOISES[kind](images, strength, np.random.default_rng(1))


# 1. PCA is a linear denoiser. PCA keeps the first k principal directions, as in tutorial 01. The noise has a similar
#    size in all directions, so a small k removes most of the noise. The validation images choose k.
#
#    Linear regression from noisy to clean images is the best linear denoiser, and our baseline. Each clean pixel is
#    estimated by a weighted sum of all noisy pixels:
#
#        x' = m + (x~ - m~) A        A = (C + D)^-1 B
#
#    Here m is the mean clean image, and m~ is the mean noisy image. Let g(x) be the mean of x~ over the noise, for a
#    fixed clean image x. C is the covariance of g(x) with g(x), and B is the covariance of g(x) with x. The noise of
#    each pixel is independent of the other pixels. The noise therefore adds a diagonal matrix D of variances. The
#    script measures g and the variances with 10,000 draws for each of 256 grey levels. A regression on 10,000 noisy
#    copies of each image would give nearly the same A. Both methods clip x' to [0, 1].
#
# Predict first: by how much does the regression beat PCA? Choose (a) not at all, as both are linear, or (b) by 1 to 2
# dB, or (c) by 10 dB.
mean, directions = (array.astype(np.float32) for array in pca(train))
levels = np.linspace(0, 1, 256, dtype=np.float32)  # the images have 256 grey levels
grey = np.rint(train.reshape(len(train), -1) * 255).astype(np.uint8)


def project(noisy, k):
    centred = noisy.reshape(len(noisy), -1) - mean
    return (mean + centred @ directions[:k].T @ directions[:k]).reshape(noisy.shape)


def fit_pca(kind, strength):
    """PCA's denoiser, with the k and a linear change of the brightness that suit the validation images."""
    noisy, best, wanted = damaged(kind, strength, digits.validation), -np.inf, digits.validation
    for k in COMPONENTS:
        out = project(noisy, k)
        slope = np.mean((out - out.mean()) * (wanted - wanted.mean())) / out.var()
        shift = wanted.mean() - slope * out.mean()
        if (found := psnr(np.clip(shift + slope * out, 0, 1), wanted)) > best:
            best, kept = found, (k, shift, slope)
    k, shift, slope = kept
    return lambda images: np.clip(shift + slope * project(images, k), 0, 1)


def fit_regression(kind, strength):
    """The best linear denoiser. A little more on the diagonal, the ridge, can suit the validation images."""
    draws = NOISES[kind](np.tile(levels, (10_000, 1)), strength, rng)
    seen = draws.mean(axis=0)[grey]  # g(x) of all training images
    seen_mean = seen.mean(axis=0)
    seen -= seen_mean
    covariance, cross = seen.T @ seen / len(seen), seen.T @ (train.reshape(len(train), -1) - mean) / len(seen)
    variances = draws.var(axis=0)[grey].mean(axis=0)

    def denoiser(ridge):
        weights = np.linalg.solve(covariance + np.diag(variances + ridge), cross)
        return lambda x: np.clip(mean + (x.reshape(len(x), -1) - seen_mean) @ weights, 0, 1).reshape(x.shape)

    noisy = damaged(kind, strength, digits.validation)
    return max(map(denoiser, RIDGES), key=lambda denoise: psnr(denoise(noisy), digits.validation))


print(f"{len(train):,} training images; PSNR in dB on {len(clean):,} test images\n")
print("noise            strength   noisy     PCA  regression")
linear, table = {}, {}
for setting in SETTINGS:
    linear[setting] = {"PCA": fit_pca(*setting), "regression": fit_regression(*setting)}
    noisy = damaged(*setting, clean)
    table[setting] = {"noisy": psnr(noisy, clean)}
    table[setting] |= {name: psnr(denoise(noisy), clean) for name, denoise in linear[setting].items()}
    print(f"{setting[0]:15} {setting[1]:9}", *(f"{value:7.2f}" for value in table[setting].values()), flush=True)

# What you should see, and why: answer (b). The regression is 1.1 to 2.0 dB above PCA, in the quick run and on all of
# MNIST. PCA keeps a direction or drops the direction. The regression keeps a share of each direction. This share is
# small where the noise is larger than the image.


# 2. We train one network for each kind of noise. Each eighth of a batch gets noise of a new random strength. A
#    regression has its own weights for each strength, so the regression must know the strength. The network need not
#    know the strength.
#
#    The network consists of convolutions, which tutorial 06 explains. A convolution computes each output from a few
#    neighbouring pixels. The first layer turns 28 x 28 pixels into 16 small images of 14 x 14. The last layer turns
#    them back. A skip connection adds the input of some layers to their output. These layers look at 7 x 7 images,
#    where one pixel stands for a large part of the digit. Fine details pass through the skip connection.
#
# Predict first: at which strength is the network's margin over the regression largest? Choose (a) at light noise,
# or (b) at medium noise, or (c) at heavy noise.
class Skip(nn.Module):
    def __init__(self, *layers):
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.layers(x)


def convolutional(kind):
    sa.manual_seed(0)
    n, low, high = CHANNELS, min(STRENGTHS[kind]), max(STRENGTHS[kind])
    encoder = nn.Sequential(
        nn.Conv2d(1, n, 4, stride=2, padding=1), nn.ReLU(),  # (N, 16, 14, 14)
        nn.Conv2d(n, n, 3, padding=1), nn.ReLU(),
        Skip(
            nn.Conv2d(n, 2 * n, 4, stride=2, padding=1), nn.ReLU(),  # (N, 32, 7, 7)
            nn.Conv2d(2 * n, 2 * n, 3, padding=1), nn.ReLU(),
            nn.ConvTranspose2d(2 * n, n, 4, stride=2, padding=1),  # (N, 16, 14, 14)
        ), nn.ReLU(),
        nn.Conv2d(n, n, 3, padding=1), nn.ReLU(),
    )  # fmt: skip
    decoder = nn.Sequential(nn.ConvTranspose2d(n, 1, 4, stride=2, padding=1), nn.Sigmoid())

    def corruption(x):
        parts = [part for part in np.array_split(x, 8) if len(part)]
        return np.concatenate([NOISES[kind](part, rng.uniform(low, high), rng) for part in parts])

    return DenoisingAutoencoder(encoder, decoder, loss="bce", corruption=corruption)


class Cosine(sa.Callback):
    """Lower the learning rate to 0 along half a cosine, after each step."""

    def __init__(self, steps):
        self.steps, self.done = steps, 0

    def after_step(self, run):
        self.done += 1
        run.trainer.optimizer.lr = LR * (1 + np.cos(np.pi * min(self.done / self.steps, 0.999))) / 2


def fit(model, images, epochs, validation=None):
    n = len(images[0] if isinstance(images, tuple) else images)
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=LR), [Cosine(epochs * -(-n // BATCH_SIZE[run]))])
    return trainer.fit(images, validation=validation, epochs=epochs, batch_size=BATCH_SIZE[run], progress=False)


print("\nnoise            strength  network  above regression  above PCA")
denoised, margins = {}, {}
for kind, strengths in STRENGTHS.items():
    model = convolutional(kind)
    fit(model, train, EPOCHS[run])
    for strength in strengths:
        found, setting = table[kind, strength], (kind, strength)
        denoised[setting] = model.reconstruct(damaged(*setting, clean))
        found["network"] = psnr(denoised[setting], clean)
        margins[setting] = found["network"] - found["regression"]
        above = f"{margins[setting]:+17.2f} {found['network'] - found['PCA']:+10.2f}"
        print(f"{kind:15} {strength:9} {found['network']:8.2f} {above}", flush=True)
print(f"parameters of a network: {model.count_parameters():,}; of a regression: {784 * 785:,}")

# What you should see, and why: answer (b), for each kind of noise and in each run. On all of MNIST, the network is
# above the regression at all nine settings, by 1.34 to 3.69 dB. On the sample, the margin is 0.95 to 3.20 dB. Under
# light noise, the regression is already good. Under heavy noise, the image has lost details that no method can restore.
# The quick run has only 282 steps for each network. In the quick run, the margin is 0.78 to 1.31 dB at medium noise.
# The regression wins at light Gaussian noise by 0.72 dB. The regression also wins at light masking, and at heavy salt
# and pepper. A network needs enough steps, and the regression needs none.

# 3. Denoising can be a preprocessing step for another program. Here the program is a classifier with one hidden layer.
#    The classifier is trained on clean digits only, and tested on noisy and denoised digits.
#
# Predict first: in the quick run, the classifier recognises 93% of the clean digits. Which share remains under Gaussian
# noise of 0.6, and which share after denoising? Choose (a) 32% and 50%, or (b) 32% and 87%, or (c) 87% and 93%.
sa.manual_seed(0)
classifier = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
trainer = sa.Trainer(classifier, optim.Adam(classifier.parameters(), lr=1e-3), loss=F.cross_entropy)
trainer.fit((train, digits.train_labels), epochs=CLASSIFIER_EPOCHS[run], batch_size=BATCH_SIZE[run], progress=False)


def accuracy(images):
    with sa.no_grad():
        return float(np.mean(classifier(images).numpy().argmax(axis=1) == digits.test_labels))


print(f"\naccuracy of the classifier on clean digits: {accuracy(clean):.1%}")
print("noise            strength   noisy  regression  network")
for setting in SETTINGS:
    noisy = damaged(*setting, clean)
    by_regression = linear[setting]["regression"](noisy)
    found = (accuracy(noisy), accuracy(by_regression), accuracy(denoised[setting]))
    print(f"{setting[0]:15} {setting[1]:9} {found[0]:7.1%} {found[1]:11.1%} {found[2]:8.1%}")

# What you should see, and why: answer (b). In the quick run, the classifier recognises 32.4% of the noisy digits. The
# share is 83.6% after the regression and 87.1% after the network. On all of MNIST, the three shares are 24.5%, 80.9%
# and 91.6%. Denoising is of little use where the classifier copes with the noise. With 25% masked pixels, the accuracy
# of the quick run is 92.7% without denoising, and 92.4% after the network.

# 4. Sometimes each noisy image comes with its clean image, and you cannot draw the noise again. `fit` takes these fixed
#    pairs. Each image then has the same noise in every epoch. A dense network with 512 hidden units has 804,112
#    parameters, enough to memorise the noise of a few thousand images. Memorising details of the training set that do
#    not hold for other images is called overfitting. You see overfitting as a gap between the training loss and the
#    validation loss.
#
# Predict first: which training has the lower training loss, and which has the higher PSNR on new images?
# Choose (a) fixed pairs twice, or (b) fresh noise twice, or (c) first fixed pairs, then fresh noise.
few, strength = train[: PAIRS[run]], 0.4
held_out = (damaged("gaussian", strength, digits.validation), digits.validation)
noisy_few = noise.gaussian(few, strength, np.random.default_rng(2))
lines, pairs = {}, {}
for name, images in (("fixed pairs", (noisy_few, few)), ("fresh noise", few)):
    sa.manual_seed(0)
    options = {"code_activation": "relu", "corruption": "gaussian", "amount": strength}
    model = DenoisingAutoencoder.dense((784, 512), **options)
    history = fit(model, images, PAIR_EPOCHS[run], held_out)
    pairs[name] = psnr(model.reconstruct(damaged("gaussian", strength, clean)), clean)
    for part, loss in (("training", "loss"), ("validation", "val_loss")):
        lines[f"{name}, {part}"] = (range(1, PAIR_EPOCHS[run] + 1), history[loss])
    print(f"{name}: training loss {history['loss'][-1]:.4f}, validation loss {history['val_loss'][-1]:.4f}, "
          f"test PSNR {pairs[name]:.2f} dB")  # fmt: skip
plotting.curves(lines, args.out / "fixed_or_fresh.png", "epoch", "loss (BCE)", f"The same {len(few):,} images")

# What you should see, and why: answer (c). In the quick run, fixed pairs end at a training loss of 0.098 and a
# validation loss of 0.131. Fresh noise ends at 0.116 and 0.127. Fixed pairs have the larger gap, because the network
# has memorised a part of their noise. Fresh noise makes each epoch a new set. Fresh noise gains 0.31 dB on the test
# images of the quick run, and 0.63 dB on all of MNIST.

# 5. The picture shows the PSNR of all methods on top. Below are five test digits with noise of medium strength. PCA and
#    the regression leave grey stains around the digits, and the network leaves clean strokes.
figure = style.new_figure(11, 7)
for column, (kind, strengths) in enumerate(STRENGTHS.items()):
    title = kind.replace("_", " ").capitalize() + " noise"
    axes = style.add_axes(figure, (2, 3, column + 1), UNITS[kind], "" if column else "PSNR on test images (dB)", title)
    for name in ("noisy", "PCA", "regression", "network"):
        axes.plot(strengths, [table[kind, strength][name] for strength in strengths], label=name)
    axes.set_xticks(strengths)
    axes.set_ylim(5, 29)
    if column == 0:
        style.legend(axes, "upper right", ncols=2)
    middle = strengths[1]
    noisy = damaged(kind, middle, clean[:5])
    rows = {"clean": clean[:5], "noisy": noisy}
    rows |= {name: denoise(noisy) for name, denoise in linear[kind, middle].items()}
    rows["network"] = denoised[kind, middle][:5]
    axes = figure.add_subplot(2, 3, column + 4)
    mosaic = np.concatenate([np.concatenate(list(images[:, 0]), axis=1) for images in rows.values()])
    axes.imshow(mosaic, "gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks(28 * np.arange(len(rows)) + 14, list(rows) if column == 0 else [""] * len(rows))
    axes.tick_params(length=0, labelsize=10, labelcolor=style.INK)
    axes.set_xlabel(f"test digits, strength {middle}", fontsize=10, color=style.INK)
style.finish(figure, args.out / "answer.png")
print(f"pictures: {args.out / 'answer.png'}, {args.out / 'fixed_or_fresh.png'}")

for kind in STRENGTHS:
    margin = min(margins[kind, strength] for strength in STRENGTHS[kind])
    verdict(f"{kind}: PSNR above the regression in dB, at its smallest", TARGET[run][kind], margin, at_least=True)
gain = pairs["fresh noise"] - pairs["fixed pairs"]
verdict("PSNR of fresh noise above fixed pairs in dB", FRESH_TARGET[run], gain, at_least=True)
finish()

# Exercises. The solutions are in tutorials/solutions/05_denoising.py.
#
# Change a constant: train a dense network with Gaussian noise of 0.4 only, and test the network at 0.2, 0.4 and 0.6.
# Where is this network better than a network for all strengths, and where is it worse? Predict the signs first.
#
# Explain a number: Gaussian noise of 0.2 has a squared error of 0.04, which is 13.98 dB. The table of the quick run
# says 16.76 dB for the noisy images. Where do nearly 3 dB come from?
#
# Write code: a corruption may be any function from an array to an array. Hide a square of 8 x 8 pixels in each image,
# and train a network to fill the square. Compute the regression for this noise from noisy copies. Which one wins?
