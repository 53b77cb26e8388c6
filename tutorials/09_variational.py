"""Can an autoencoder draw new digits?

A decoder needs a code to draw an image. Tutorial 04 shows that the code space of a plain autoencoder has holes. A point
in a hole is not the code of any image, so the decoder was never trained near this point. A variational autoencoder
(VAE) returns a normal distribution q(z | x) instead of a point (Kingma & Welling, "Auto-encoding variational Bayes",
2014).

                                        noise (n, 20), drawn from N(0, 1)
                                               |
                                               v
                    +--> mu (n, 20) --> mu + sigma * noise = z --> decoder --> reconstruction
    x --> encoder --+                          ^                                  (n, 784)
                    +--> sigma (n, 20) --------+

The noise comes from outside the network. A random draw has no derivative, but a sum and a product have one. Gradients
therefore reach mu and sigma. This method is called the reparameterisation trick. The noise also fills the holes, as the
decoder sees the whole neighbourhood of each code in training.

The VAE is a model of images. A code z is drawn from N(0, 1), and then an image x from p(x | z). The probability density
p(x) has no formula that we can compute. But log p(x) has a lower bound, the evidence lower bound (ELBO). E_q is the
mean over draws z from q(z | x).

    log p(x)  >=  ELBO  =  E_q[log p(x | z)]  -  KL(q(z | x) || N(0, 1))
                           reconstruction        (mu^2 + sigma^2 - 1 - log sigma^2) / 2, summed over the 20 numbers

The loss is -ELBO, in nats (units of the natural logarithm). The Kullback-Leibler divergence (KL) is 0 where q(z | x) is
N(0, 1). The KL term keeps the distributions q(z | x) together, so that draws of N(0, 1) fall between them.

    python tutorials/09_variational.py                 the embedded sample, a few minutes
    python tutorials/09_variational.py --data full     all of MNIST, four minutes
"""

import numpy as np
from common import finish, load, settings, verdict

import scratchae as sa
from scratchae import data, nn, optim, plotting
from scratchae import functional as F

SIZES = (784, 400, 20)
BATCH_SIZE, LR = 128, 1e-3
EPOCHS = {"quick": 9, "sample": 44, "full": 11}  # 324, 1,584 and 4,730 steps
BETAS = {"quick": (1, 30), "sample": (1, 4, 30), "full": (1, 30)}
COMPONENTS = {"quick": (10, 30), "sample": (30, 100, 300), "full": (100, 300)}
DRAWS = (1, 10, 100)  # codes per image
ACTIVE = 0.01  # nats: a code unit with a smaller mean KL is unused

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
digits = load(args.data, data.mnist, data.mnist_sample)
rng = np.random.default_rng(0)


def train(kind, sizes=SIZES, loss="bce", **options):
    sa.manual_seed(0)
    model = kind.dense(sizes, activation="relu", loss=loss, **options)
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=LR))
    trainer.fit(digits.train, validation=digits.validation, epochs=EPOCHS[run], batch_size=BATCH_SIZE, progress=False)
    return model, trainer


# 1. We first draw with a plain autoencoder of the same layers. New codes can come from N(0, 1), or from a fitted normal
#    distribution. The fitted distribution has the mean and the covariance of the codes of the training images. The
#    plain autoencoder with this distribution is the baseline for drawing.
#
#    The Fréchet distance compares 1,000 drawings with the test images (Heusel et al. 2017). We train a small classifier
#    on the labels, and take the 200 numbers before its last layer. m and S are their mean and covariance over the
#    images. A bad drawing changes m and S, and a lack of variety makes S small.
#
#      distance = |m_1 - m_2|^2 + trace(S_1 + S_2 - 2 (S_1 S_2)^(1/2))
#
# Predict first: 1,000 training images have a distance of about 1. Which drawings have the smaller distance? Choose (a)
# those from N(0, 1), or (b) those from the fitted distribution, or (c) no difference, as the decoder is the same.
def shaped(images):
    return np.asarray(images, np.float32).reshape(-1, 1, 28, 28)


def features(images):
    with sa.no_grad():
        return classifier[:-1](shaped(images)).numpy().astype(np.float64)


def frechet(images):
    ours, of_test = features(images), features(digits.test)
    s_1, s_2 = np.cov(ours.T), np.cov(of_test.T)
    root = np.sqrt(np.maximum(np.linalg.eigvals(s_1 @ s_2).real, 0)).sum()
    return ((ours.mean(axis=0) - of_test.mean(axis=0)) ** 2).sum() + np.trace(s_1) + np.trace(s_2) - 2 * root


def draw(model, fitted):
    """1,000 drawings, from N(0, 1) or from the normal distribution fitted to the codes of the training images."""
    noise = np.random.default_rng(0).standard_normal((1000, SIZES[-1]))
    if fitted:
        codes = codes_of(model, digits.train)
        noise = codes.mean(axis=0) + noise @ np.linalg.cholesky(np.cov(codes.T)).T
    return shaped(model.inverse_transform(noise.astype(np.float32)))


def codes_of(model, images):
    if isinstance(model, sa.VariationalAutoencoder):
        with sa.no_grad():
            return model.reparameterise(*model.posterior(images)).numpy()
    return model.transform(images)


sa.manual_seed(0)
classifier = nn.Sequential(nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 10))
sa.Trainer(classifier, optim.Adam(classifier.parameters(), lr=LR), loss=F.cross_entropy).fit(
    (digits.train, digits.train_labels), epochs=max(5, EPOCHS[run] // 2), batch_size=BATCH_SIZE, progress=False
)
plain, _ = train(sa.Autoencoder)
drawings = {"plain, N(0, 1)": draw(plain, fitted=False), "plain, fitted": draw(plain, fitted=True)}
distances = {name: frechet(images) for name, images in drawings.items()}
print(f"Fréchet distance to the test images: training images {frechet(digits.train[:1000]):.1f}")
print("\n".join(f"{name:36} {distance:6.1f}" for name, distance in distances.items()))

# What you should see, and why: answer (b). In the quick run, the distance is 69 for N(0, 1), and 4.5 for the fitted
# distribution. The codes of images have another mean and covariance than N(0, 1). Draws of N(0, 1) therefore often fall
# where no image has its code. The fitted distribution still has holes, and some of its drawings are no digits. On all
# of MNIST, the distances are 199 and 13.6.

# 2. Now the VAE. The loss "bce" reads a grey of 0.3 as a coin that shows white three times in ten. This reading is
#    common practice. The test uses a sampled code z, as the training does.
#
# Predict first: which drawings have the smallest distance? Choose (a) the VAE's from N(0, 1), or (b) the plain
# autoencoder's from the fitted distribution, or (c) the VAE's from a distribution fitted to its codes z.
vae, trainer = train(sa.VariationalAutoencoder)
test = trainer.evaluate(digits.test)
print(f"VAE on the test images: reconstruction {test['reconstruction']:.1f} + KL {test['kl']:.1f} = "
      f"{test['loss']:.1f} nats")  # fmt: skip
print(f"test MSE from mu: VAE {vae.reconstruction_error(digits.test).mean():.4f}, "
      f"plain {plain.reconstruction_error(digits.test).mean():.4f}")  # fmt: skip
z = codes_of(vae, digits.test)
print(f"codes z of the test images: means within {np.abs(z.mean(axis=0)).max():.2f} of 0, "
      f"standard deviations {z.std(axis=0).min():.2f} to {z.std(axis=0).max():.2f}")  # fmt: skip
drawings |= {'VAE "bce", N(0, 1)': draw(vae, fitted=False), 'VAE "bce", fitted': draw(vae, fitted=True)}
distances = {name: frechet(images) for name, images in drawings.items()}
print("Fréchet distance to the test images")
print("\n".join(f"{name:36} {distance:6.1f}" for name, distance in distances.items()))

# What you should see, and why: answer (b). In the quick run, the VAE's drawings from N(0, 1) have a distance of 24.
# The plain autoencoder's distance is 69, so the VAE has filled many holes. But the plain autoencoder with a
# fitted distribution has 4.5, and the VAE with a fitted distribution 7.8. The noise makes the VAE's images blurred, and
# its test MSE is higher, 0.026 against 0.021. After this short training, the codes z are also wider than N(0, 1). Their
# standard deviations are 1.1 to 1.5.
#
# On all of MNIST, answer (c) is right. The VAE's distances are 16.4 from N(0, 1) and 11.9 from a fitted distribution.
# The plain autoencoder has 13.6. A fitted distribution therefore improves the drawings of both models. The VAE has two
# other advantages. The distribution of its codes is chosen before the training, and the ELBO is a bound for log p(x) of
# each image.

# 3. Is -ELBO really a negative log-likelihood? For black and white pixels, yes. For grey pixels, "bce" is no density of
#    x, because its integral over x is not 1. The continuous Bernoulli density adds the missing factor (Loaiza-Ganem &
#    Cunningham 2019). A pixel x in [0, 1] with the parameter p has the density
#
#      C(p) p^x (1 - p)^(1 - x)       C(p) = 2 artanh(1 - 2p) / (1 - 2p),  C(1/2) = 2
#
#    The loss "cb" is -log of this density. The mean of the density is not p but a number between p and 1/2. A mean of
#    0.01 needs p = e^-100. `reconstruct` and `sample` return the mean.
#
#    Two log-likelihoods are comparable only if both are logarithms of a density, of the same images. The number of
#    part 2 is no such logarithm. We therefore measure both VAEs with the continuous Bernoulli density. The output of
#    the "bce" model can be read as p, or as the mean of the pixel. `parameters` computes p from the mean.
#
#    The baseline is a mixture. Each component has a mean image, and its pixels are independent. The density of a
#    mixture is exact, and no bound is needed. The EM algorithm finds the means. The validation images choose the number
#    of components.
LOG_ODDS = np.linspace(-87, 16, 20_001)  # log(p / (1 - p)): float32 has no numbers p beyond
MEANS = F.continuous_bernoulli_mean(1 / (1 + np.exp(-LOG_ODDS)))


def parameters(means):
    return 1 / (1 + np.exp(-np.interp(means, MEANS, LOG_ODDS)))


def mixture_joint(images, means, shares):
    """log(share_k p_k(x)) for each image and each component k."""
    p = parameters(means)
    of_black = -F.continuous_bernoulli_nll(p, np.zeros_like(p), "none").sum(axis=1)  # log p_k of a black image
    return images.reshape(len(images), -1) @ np.log(p / (1 - p)).T + of_black + np.log(shares)


def mixture_log_p(images, means, shares):
    return float(np.mean(F.logsumexp(mixture_joint(images, means, shares), axis=1)))


def fit_mixture(n, rounds=10):
    flat = digits.train.reshape(len(digits.train), -1).astype(np.float64)
    average = flat.mean(axis=0)
    means, shares = (flat[rng.choice(len(flat), n, replace=False)] + average) / 2, np.full(n, 1 / n)
    for _ in range(rounds):
        weights = F.softmax(mixture_joint(flat, means, shares), 1)  # which component made which image
        counts = weights.sum(axis=0) + 1
        means, shares = (weights.T @ flat + average) / counts[:, None], counts / counts.sum()  # one average image more
    return means, shares


def elbo(model, images, to_parameters=lambda output: output):
    with sa.no_grad():
        mu, logvar = model.posterior(images)
        output = model.decode(model.reparameterise(mu, logvar)).numpy().reshape(images.shape)
    nll = F.continuous_bernoulli_nll(to_parameters(output), images, "sum") / len(images)
    return -float(nll) - F.gaussian_kl(mu, logvar, "batchmean").item()


# Predict first: which model has the highest ELBO? Choose (a) the "cb" model, as only this model was trained for the
# density, or (b) the "bce" model with its output read as p, or (c) the "bce" model with its output read as the mean.
vae_cb, trainer_cb = train(sa.VariationalAutoencoder, loss="cb")
mixtures = {n: fit_mixture(n) for n in COMPONENTS[run]}
best = max(mixtures, key=lambda n: mixture_log_p(digits.validation, *mixtures[n]))
drawings['VAE "cb", N(0, 1)'] = by_cb = draw(vae_cb, fitted=False)
table = {
    "independent pixels, log p(x)": mixture_log_p(digits.test, *fit_mixture(1, 1)),
    f"mixture of {best} images, log p(x)": mixture_log_p(digits.test, *mixtures[best]),
    'VAE "bce", output as p, ELBO': elbo(vae, digits.test),
    'VAE "bce", output as mean, ELBO': elbo(vae, digits.test, parameters),
    'VAE "cb", ELBO': elbo(vae_cb, digits.test),
}
print("\ncontinuous Bernoulli density, nats per test image")
print("\n".join(f"{name:36} {nats:8.1f}" for name, nats in table.items()))
test_cb = trainer_cb.evaluate(digits.test)
print(f'"cb": KL {test_cb["kl"]:.1f} nats, test MSE from mu {vae_cb.reconstruction_error(digits.test).mean():.4f}, '
      f"Fréchet distance {frechet(by_cb):.1f}")  # fmt: skip
for name, x in {"test images": digits.test, 'VAE "bce"': drawings['VAE "bce", N(0, 1)'], 'VAE "cb"': by_cb}.items():
    print(f"share of grey pixels, from 0.1 to 0.9: {name:12} {np.mean((x > 0.1) & (x < 0.9)):.1%}")

# What you should see, and why: answer (c). In the quick run, the "bce" model has an ELBO of 2,498 nats if its output is
# the mean, and of 1,116 nats if its output is p. The mean of x minimises the expected cross-entropy of a grey pixel, so
# the output is an estimate of the mean. The mixture has 2,343 nats, 155 fewer. The model "cb" has 2,260 nats, after the
# same number of steps. One likely reason is the range of the outputs. A black pixel needs log-odds log(p / (1 - p)) of
# -87 under "cb", and the mean is then 0.0115. Under "bce", log-odds of -4.5 have the same mean. The drawings of "cb"
# have the most grey, 69% of all pixels. The test images have 9%, and the drawings of "bce" 30%.
#
# A longer training brings the two losses together. On all of MNIST, the "bce" model has 2,787 nats with its output as
# the mean, "cb" has 2,759, and the mixture 2,530. The shares of grey pixels are 17% and 15%. The continuous Bernoulli
# density is right for measuring. As a loss for training, the density is no better than "bce" in both runs.

# 4. The picture shows ten test images, and ten drawings of each model.
plotting.image_rows({"test images": digits.test, **drawings}, args.out / "answer.png")

# 5. How tight is the bound? We test the "cb" model, as its loss has a density. Each draw z has the weight
#    p(x, z) / q(z | x). We average the weights of many draws, and then take the logarithm. One draw per image gives the
#    ELBO again. More draws approach log p(x) from below (Burda et al. 2016).
subset = digits.test[:500]
bound = -trainer_cb.evaluate(subset)["loss"]
estimates = {draws: vae_cb.log_likelihood(subset, draws).mean() for draws in DRAWS}
print(f"\n{len(subset)} test images, nats per image: ELBO {bound:.1f}; importance-weighted", end=" ")
print(", ".join(f"{estimate:.1f} ({draws})" for draws, estimate in estimates.items()), "(draws per image)")

# What you should see, and why: more draws give more nats. In the quick run, the ELBO is 2,260 nats, and 100 draws give
# 2,278. Each estimate is a lower bound of log p(x) on average, so the ELBO is about 19 nats too low, or more. On all of
# MNIST, the numbers are 2,780 and 2,796.

# 6. A factor beta can weigh the KL term (Higgins et al. 2017). Only beta = 1 belongs to the bound. A unit of the code
#    with a KL of 0 has the distribution N(0, 1) for every image, so the decoder cannot use this unit. A collapse of all
#    units leaves only one drawing, the mean image. This failure is called posterior collapse.
#
# Predict first: at beta = 30, how many of the 20 units are still active? Choose (a) all 20, or (b) about 5, or (c)
# none.
print("\nbeta    reconstruction     KL     sum   active units")
for beta in BETAS[run]:
    model, trained = (vae, trainer) if beta == 1 else train(sa.VariationalAutoencoder, beta=beta)
    terms = trained.evaluate(digits.test)
    with sa.no_grad():
        units = F.gaussian_kl(*model.posterior(digits.test), reduction="none").numpy().mean(axis=0)
    terms["kl"] /= beta
    print(f"{beta:<8}{terms['reconstruction']:14.2f} {terms['kl']:6.2f} {terms['reconstruction'] + terms['kl']:7.2f}"
          f"{np.sum(units > ACTIVE):8} of {len(units)}")  # fmt: skip
mean_image = np.broadcast_to(digits.train.mean(axis=0), digits.test.shape)
mean_error = F.binary_cross_entropy(mean_image, digits.test, "sum") / len(digits.test)
print(f"mean image: reconstruction {mean_error:.2f}")

# What you should see, and why: answer (c). In the quick run, no unit is active at beta = 30. The KL is 0.02 nats, and
# the reconstruction costs as much as the mean image. The KL term then has so much weight that information in the code
# costs more than the information saves. All of MNIST gives the same KL of 0.02 nats. Smaller weights at the start of
# training, or a smaller beta, are the usual cure.

# 7. With two numbers, we can draw the whole code space. The picture shows the decoded image at each place. A page lets
#    you walk there: open explorer.html in a browser, and drag the cursor.
flat, _ = train(sa.VariationalAutoencoder, sizes=(784, 400, 2))
title = "Decoded codes: first number from -2 (left) to 2, second number from -2 (bottom) to 2"
plotting.image_grid(flat.manifold(20), args.out / "manifold.png", 20, title=title)
sa.explore(flat, args.out / "explorer.html", digits.test, digits.test_labels, "Digits in two numbers")

# 8. A generative adversarial network (GAN) also draws images from random codes (Goodfellow et al. 2014). A GAN has a
#    decoder, called the generator, but no encoder. A second network, the discriminator, learns to tell drawings from
#    training images. The generator learns to mislead the discriminator. A GAN compares no drawing with a single
#    training image, so blurred means have no advantage. Drawings of GANs are often sharper than drawings of VAEs. But a
#    GAN gives no code for an image, and no bound for log p(x). Its training is a game of two networks, which can fail.
#    A frequent failure is mode collapse, where all drawings look alike.
print(f"\npictures and a page, explorer.html: {args.out}")
target = {"quick": 145.0, "sample": 116.0, "full": 106.0}[run]
verdict('test loss (-ELBO), "bce", nats', target, test["loss"])
ratio = distances['VAE "bce", N(0, 1)'] / distances["plain, N(0, 1)"]
verdict("Fréchet distance of drawings from N(0, 1), VAE / plain", 0.5, ratio)
verdict("log p(x) estimate minus ELBO, nats", 0.0, estimates[100] - bound, at_least=True)
_, mixture, _, bce_as_mean, _ = table.values()
verdict('ELBO of VAE "bce" minus log p(x) of the mixture, nats', 0.0, bce_as_mean - mixture, at_least=True)
finish()

# Exercises. The solutions are in tutorials/solutions/09_variational.py.
#
# Change a constant: draw codes from N(0, 1), and multiply them by 0.5 before decoding. What happens to the variety of
# the drawings? Measure the variance of each pixel over 1,000 drawings.
#
# Explain a number: the independent pixels have a log-likelihood of about +1,900 nats. How can the logarithm of a
# probability be positive?
#
# Write code: estimate KL(q(z | x) || N(0, 1)) for one test image from random draws of z. Does the estimate agree with
# the formula? How does its error change with the number of draws?
