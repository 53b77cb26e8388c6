"""How does a model draw the digit that you ask for?

A variational autoencoder (tutorial 09) draws digits, but chance chooses the digit. A conditional model also gets the
label y of each image. Both halves get the label, so the code need not hold the class.

       image x                           code z                         reconstruction
    (n, 784) ---> (n, 256) ---> mu, logvar ---> (n, 20) ---> (n, 256) ---> (n, 784)
                     ^                                          ^
                  label y                                    label y

The label enters each half after the first layer, as a bias of its own for each class:

    W x + b + B[y]         B (10, 256)

The loss bounds the cost of an image whose label is known (Sohn, Lee & Yan 2015). Its two terms are those of tutorial
09, both given the label:

    -log p(x | y)  <=  E[-log p(x | z, y)] + KL(q(z | x, y), N(0, I))

To draw a seven, we draw z from N(0, I) and decode z with the label 7.

    python tutorials/16_conditional.py                 the embedded sample, under a minute
    python tutorials/16_conditional.py --data full     all of MNIST, two to four minutes
"""

import numpy as np
from common import finish, load, settings, verdict

import scratchae as sa
from scratchae import data, measures, optim, plotting
from scratchae.autoencoders import ConditionalVariationalAutoencoder, LabelBias, VariationalAutoencoder

HIDDEN, CODE_SIZE = 256, 20
BATCH_SIZE = {"quick": 32, "sample": 32, "full": 128}
EPOCHS = {"quick": 9, "sample": 24, "full": 12}  # 1,270, 3,380 and 5,160 steps
LR, FASTER = 2e-3, 10  # the biases of the labels learn so many times faster
STYLES = 6

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
digits = load(args.data, data.mnist, data.mnist_sample)
by_digit = np.argsort(digits.test_labels, kind="stable")
images, labels = digits.test.reshape(-1, 784)[by_digit], digits.test_labels[by_digit]
counts = np.bincount(labels, minlength=10)


# 1. We train two models of equal size for the same number of epochs. The model without labels has four more hidden
#    units instead of B. Adam moves each number by about the learning rate per step, and B[y] only moves when y comes
#    up. The code would learn the class before B does. The biases of the labels therefore learn faster. Of the factors
#    1, 10 and 30, the factor 10 has the lowest bound on the validation images (--quick).
def trained(model, train, validation):
    biases = [layer.weight for layer in model.modules() if isinstance(layer, LabelBias)]
    known = {id(bias) for bias in biases}
    groups = [{"params": [p for p in model.parameters() if id(p) not in known]}]
    groups += [{"params": biases, "lr": FASTER * LR}] if biases else []
    trainer = sa.Trainer(model, optim.Adam(groups, lr=LR))
    trainer.fit(train, validation=validation, epochs=EPOCHS[run], batch_size=BATCH_SIZE[run])
    return trainer


sa.manual_seed(0)
plain = VariationalAutoencoder.dense((784, HIDDEN + 4, CODE_SIZE))
plain_trainer = trained(plain, digits.train, digits.validation)
sa.manual_seed(0)
conditional = ConditionalVariationalAutoencoder.dense((784, HIDDEN, CODE_SIZE), classes=10)
pairs = [(digits.train, digits.train_labels), (digits.validation, digits.validation_labels)]
conditional_trainer = trained(conditional, *pairs)
print(f"{plain.count_parameters():,} parameters without labels, {conditional.count_parameters():,} with labels")

# 2. We compare the bounds on the test images. A label is one of ten digits, so a label tells at most log 10 = 2.30
#    nats.
#
# Predict first: how much lower is the bound with labels? Choose (a) not lower, as the pixels are the same, or (b) at
# most 2.30 nats, or (c) more than 2.30 nats.
wrong = (labels + sa.generator().integers(1, 10, len(labels))) % 10
bounds = {
    "without labels": plain_trainer.evaluate(images),
    "with labels": conditional_trainer.evaluate((images, labels)),
    "with wrong labels": conditional_trainer.evaluate((images, wrong)),
}
print(f"\n{len(images):,} test images, nats per image    reconstruction     KL   bound")
for name, terms in bounds.items():
    print(f"{name:36} {terms['reconstruction']:14.2f} {terms['kl']:6.2f} {terms['loss']:7.2f}")
fall = bounds["without labels"]["loss"] - bounds["with labels"]["loss"]
print(f"fall of the bound {fall:.2f} nats, log 10 = {np.log(10):.2f}")

# What you should see, and why: answer (c). With --quick, the bound falls by 5.5 nats, and the KL term alone by 5.7
# nats. With labels, the code need not hold the class, so the code costs less. The label explains at most 2.30 nats of
# the fall. A better model explains the rest. The ten conditional models together are a mixture, and the bound with
# labels plus 2.30 is a bound of this mixture for images without labels. The bound of the mixture is 117.1, and the
# bound of the model without labels is 120.3. On all of MNIST, the bound falls by 4.7 nats, and the KL term by 4.9.
# Wrong labels cost 40 nats with --quick, so the model really uses the label.


# 3. We draw as many images of each digit as the test set has. The classifier of `sa.measures` judges the drawn images.
#    The Frechet distance compares the features of drawn and of test images, for each digit by itself. We print the mean
#    over the ten digits. Two baselines use labels after the training of the model without labels:
#
#    - The classifier: draw from N(0, I), and keep the images that the classifier takes for the digit.
#    - The Gaussians: fit a normal distribution to the codes of each digit, and draw from the digit's distribution.
#
#    The Gaussians also work for the conditional model. The codes of a digit need not fill N(0, I) evenly.
def judged(pictures):
    """The features (n, 64) of the pictures, and the digits (n,) that the classifier sees."""
    features, last = measures.features(pictures), measures.classifier()[-1]
    return features, last(sa.Tensor(features)).numpy().argmax(axis=1)


class Gaussians:
    """A normal distribution for the codes of each digit, fitted to the training images: mean + root @ noise."""

    def __init__(self, model):
        with sa.no_grad():
            mu, logvar = (found.numpy().astype(float) for found in model.posterior(digits.train))
        groups = [digits.train_labels == digit for digit in range(10)]
        self.means = np.stack([mu[group].mean(axis=0) for group in groups])
        spread = [np.cov(mu[group].T) + np.diag(np.exp(logvar[group]).mean(axis=0)) for group in groups]
        self.roots = np.linalg.cholesky(spread)

    def codes(self, noise, digit):
        return (self.means[digit] + np.einsum("nij,nj->ni", self.roots[digit], noise)).astype(np.float32)

    def noise(self, codes, digit):
        return np.linalg.solve(self.roots[digit], (codes - self.means[digit])[..., None])[..., 0]

    def guess(self, codes):
        """The digit of the highest density."""
        noise = np.stack([self.noise(codes, np.full(len(codes), digit)) for digit in range(10)])
        volume = np.log(np.diagonal(self.roots, axis1=1, axis2=2)).sum(axis=1)
        return (-(noise**2).sum(axis=-1) / 2 - volume[:, None]).argmax(axis=0)


def kept_by_classifier():
    """Images without a label that the classifier takes for the digits, and the number of draws."""
    found, draws = [np.empty((0, 784), np.float32)] * 10, 0
    while any(len(found[digit]) < counts[digit] for digit in range(10)):
        pictures = plain.sample(1000)
        seen, draws = judged(pictures)[1], draws + 1000
        found = [np.concatenate([found[d], pictures[seen == d]])[: counts[d]] for d in range(10)]
    return np.concatenate(found), draws


# Predict first: which method has the lowest distance? Choose (a) N(0, I) with labels, as the model was trained for this
# draw, or (b) the classifier, as the judge itself chose the images, or (c) the Gaussians.
sa.manual_seed(1)
gaussians = Gaussians(plain)
with conditional.given(digits.train_labels):
    gaussians_given = Gaussians(conditional)
noise = sa.generator().standard_normal((len(labels), CODE_SIZE))
kept, draws = kept_by_classifier()
first = np.concatenate([np.flatnonzero(digits.train_labels == d)[: counts[d]] for d in range(10)])
drawn = {
    "training images": digits.train[first].reshape(-1, 784),
    "without labels, classifier": kept,
    "without labels, Gaussians": plain.inverse_transform(gaussians.codes(noise, labels)),
    "with labels, N(0, I)": conditional.sample(len(labels), labels),
    "with labels, Gaussians": conditional.inverse_transform(gaussians_given.codes(noise, labels), labels),
}
real = judged(images)[0]
shares, distances = {}, {}
print(f"\n{'':28} as asked   distance per digit   sevens      (classifier: {draws:,} draws)")
for name, pictures in drawn.items():
    features, seen = judged(pictures)
    each = [measures.frechet_distance(real[labels == d], features[labels == d]) for d in range(10)]
    shares[name], distances[name] = np.mean(seen == labels), np.mean(each)
    print(f"{name:28} {shares[name]:8.1%} {distances[name]:20.1f} {each[7]:8.1f}")
plotting.image_rows({name: pictures[labels == 7] for name, pictures in drawn.items()}, args.out / "sevens.png", 14)

# What you should see, and why: answer (c). With --quick, the Gaussians have a distance of 168 with labels, and 223
# without. N(0, I) with labels has 290, because the codes of a digit do not fill N(0, I) evenly. The classifier has 523,
# the largest distance. The model without labels also draws mixtures of two digits, and the classifier has to call each
# mixture some digit. Labels also raise the share of images as asked by the Gaussians, from 86.3% to 96.8%. On all of
# MNIST, the order is the same: 74, 112, 135 and 346. Training images do not have the distance 0, but 25 with --quick
# and 5 on all of MNIST. Fewer images per digit give a larger distance, so compare only distances of the same run.

# 4. Does the code still hold the class? The Gaussians guess the digit from the code. Then we replace the true label by
#    a wrong label, in the encoder or in the decoder.
#
# Predict first: the encoder gets a wrong label, the decoder the true one. Which digit do you see? Choose (a) the true
# digit, or (b) the wrong digit, or (c) no digit.
codes, codes_given = plain.transform(images), conditional.transform(images, labels)
print(f"\ndigit guessed from the code: {np.mean(gaussians.guess(codes) == labels):.1%} without labels, "
      f"{np.mean(gaussians_given.guess(codes_given) == labels):.1%} with labels")  # fmt: skip
print("label of encoder, decoder    seen as the image's digit   as the wrong label     MSE")
for name in ("true, true", "wrong, true", "true, wrong", "wrong, wrong"):
    before, after = ({"true": labels, "wrong": wrong}[half] for half in name.split(", "))
    pictures = conditional.inverse_transform(conditional.transform(images, before), after)
    seen, error = judged(pictures)[1], np.mean((pictures - images) ** 2)
    print(f"{name:28} {np.mean(seen == labels):25.1%} {np.mean(seen == wrong):20.1%} {error:7.4f}")

# What you should see, and why: answer (a). With --quick, 99.4% show the image's digit, because the decoder draws its
# own label. The MSE is 0.034 in place of 0.017, because the encoder reads the style for the wrong digit. With the wrong
# label in the decoder alone, 86.5% show the wrong label. With the wrong label in both halves, 69.0% still show the
# image's digit, because the encoder then puts the class into the code. The code is not free of the class. The guess
# from the code is right for 79.8% with labels, and 95.6% without. The loss charges for the class in the code, but does
# not forbid the class. On all of MNIST, the guesses are right for 76.7% and 96.1%.


# 5. The code holds the style: the slant, the width of the stroke. We encode each test image with its label, and decode
#    the code with another label. The slant is the covariance of row and column, divided by the variance of the row. We
#    compare the slants and the mean brightness before and after, by their correlation. Two baselines change the codes
#    of the model without labels. The first baseline adds the difference of the two digits' means. The second baseline
#    keeps the noise, and exchanges the mean and the root of the Gaussian.
def slant(pictures):
    ink, place = pictures.reshape(-1, 28, 28).astype(float), np.arange(28.0)
    total = ink.sum(axis=(1, 2))
    rows, columns = (place - (ink.sum(axis=axis) @ place / total)[:, None] for axis in (2, 1))
    return np.einsum("nij,ni,nj->n", ink, rows, columns) / np.einsum("nij,ni->n", ink, rows**2)


# Predict first: how large is the correlation of the slants with labels? Choose (a) about 0, or (b) about 0.5, or (c)
# about 0.8.
between = (gaussians.means[wrong] - gaussians.means[labels]).astype(codes.dtype)
relabelled = {
    "without labels, means": plain.inverse_transform(codes + between),
    "without labels, Gaussians": plain.inverse_transform(gaussians.codes(gaussians.noise(codes, labels), wrong)),
    "with labels": conditional.inverse_transform(codes_given, wrong),
    "with labels, new codes": conditional.sample(len(wrong), wrong),
}
likeness = {}
print(f"\n{'another digit, same style':28} as asked   slant   brightness   (correlations)")
for name, pictures in relabelled.items():
    likeness[name] = np.corrcoef(slant(pictures), slant(images))[0, 1]
    brightness = np.corrcoef(pictures.mean(axis=1), images.mean(axis=1))[0, 1]
    print(f"{name:28} {np.mean(judged(pictures)[1] == wrong):8.1%} {likeness[name]:7.2f} {brightness:12.2f}")

# What you should see, and why: answer (c). With --quick, the correlation of the slants is 0.84, and 86.5% are the digit
# asked for. New codes have a correlation of about 0. Each baseline has only one of both. The means keep the slant,
# 0.82, but only 66.6% are the digit asked for. With the Gaussians, 89.0% are the digit asked for, but the correlation
# of the slants is 0.64. All ten digits of the conditional model share one decoder, so a step of the code changes the
# slant of all digits in a similar way. On all of MNIST, the correlations are 0.82 with labels, 0.83 with the means and
# 0.48 with the Gaussians. The shares as asked are 94.0%, 67.7% and 92.4%.

# 6. The first column of the picture shows test images, from a slant to the right to a slant to the left. The other
#    columns show the code of this image, decoded with each label. The page explorer.html has a button for each label,
#    and the decoder runs in the page.
chosen = np.argsort(slant(images))[(np.linspace(0.1, 0.9, STYLES) * len(images)).astype(int)]
rows = {}
for i, style in enumerate(chosen):
    code = conditional.transform(images[style][None], labels[style][None])
    ten = conditional.inverse_transform(code.repeat(10, axis=0), np.arange(10))
    rows[f"style {i + 1}"] = np.concatenate([images[style][None], np.ones((1, 784), np.float32), ten])
figure = plotting.image_rows(rows, n=12)
figure.axes[0].set_xticks(np.arange(12) + 0.5, ["image", "", *map(str, range(10))])
figure.axes[0].tick_params(length=0, top=True, labeltop=True, labelbottom=False)
figure.savefig(args.out / "answer.png", dpi=150, bbox_inches="tight", pad_inches=0.08)
sa.explore(conditional, args.out / "explorer.html", images, labels, "Draw me a seven")
print(f"pictures and a page, explorer.html: {args.out}")

best = min(distances[name] for name in drawn if name.startswith("without"))
verdict("share as asked by Gaussians, with labels minus without", 0.0,
        shares["with labels, Gaussians"] - shares["without labels, Gaussians"], at_least=True)  # fmt: skip
verdict("distance with labels / best without", 1.0, distances["with labels, Gaussians"] / best)
verdict("bound with labels + log 10 - bound without", 0.0, np.log(10) - fall)
verdict("slant correlation, labels minus Gaussians", 0.0,
        likeness["with labels"] - likeness["without labels, Gaussians"], at_least=True)  # fmt: skip
finish()

# Exercises. The solutions are in tutorials/solutions/16_conditional.py.
#
# Change a constant: set FASTER to 1, so that the labels learn like all other weights. Which share of the drawn images
# is the digit asked for?
#
# Explain a number: the bound falls by more than log 10 nats, but a label tells at most log 10 nats. Is the program
# wrong?
#
# Write code: the conditional model never learned to classify. Classify the test images with its bound, without training
# again.
