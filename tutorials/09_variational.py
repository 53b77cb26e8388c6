"""The variational autoencoder: a code that is a distribution, and a decoder that can draw new digits.

A plain autoencoder leaves holes in its code space. A point in a hole has no training image, so the decoder can return
any image there. The variational encoder returns a normal distribution q(z | x) instead of a point. A second term of the
loss keeps each q(z | x) close to N(0, 1). The decoder then sees the whole neighbourhood of each code in training. A
draw from N(0, 1) should therefore decode to a digit (Kingma & Welling, "Auto-encoding variational Bayes", 2014).

    python tutorials/09_variational.py                 the embedded sample, about 2 minutes
    python tutorials/09_variational.py --data full     all 60,000 images, about 6 minutes
"""

import numpy as np
from common import finish, load, pca, pca_reconstruct, settings, verdict

import scratchae as sa
from scratchae import data, optim, plotting
from scratchae import functional as F
from scratchae.autoencoders import VariationalAutoencoder

HIDDEN, CODE_SIZE = 400, 20
BATCH_SIZE = 128
LR = 1e-3
EPOCHS = {"quick": 8, "sample": 40, "full": 10}  # 320, 1,600 and 4,690 steps
BETAS = {"quick": (0.25, 1, 4), "sample": (0.25, 0.5, 1, 2, 4), "full": (0.25, 0.5, 1, 2, 4)}
DRAWS = {"quick": (1, 10, 100), "sample": (1, 10, 100, 1000), "full": (1, 10, 100, 1000)}  # codes per image
TARGET = {"quick": 145.0, "sample": 116.0, "full": 106.0}  # nats per test image
ACTIVE = 0.01  # nats: a code unit with a smaller mean KL is unused

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
train_images, _, test_images, test_digits = load(args.data, data.mnist, data.mnist_sample)


def train(code_size, beta=1.0):
    sa.manual_seed(0)
    vae = VariationalAutoencoder.dense((784, HIDDEN, code_size), activation="relu", loss="bce", beta=beta)
    trainer = sa.Trainer(vae, optim.Adam(vae.parameters(), lr=LR))
    trainer.fit(train_images, validation=test_images, epochs=EPOCHS[run], batch_size=BATCH_SIZE, progress=beta == 1)
    return vae, trainer


# 1. The loss has two terms, both in nats per image:
#
#      reconstruction   -log p(x | z), the cross-entropy of the pixels: the cost of x if z is known
#      KL               from q(z | x) to N(0, 1): the cost of z
#
#    The sum of both terms is an upper bound of -log p(x). The negative of this sum is the ELBO, the evidence lower
#    bound.
#
#    The reconstruction depends on a random z, and a random draw has no derivative. We therefore write the draw as
#
#      z = mu + sigma * noise
#
#    The noise comes from outside the network. Gradients pass to mu and sigma through an ordinary sum and product. This
#    method is the reparameterisation trick.
vae, trainer = train(CODE_SIZE)
test = trainer.evaluate(test_images)

# 2. Two baselines help to read these numbers. The first baseline is the mean image. A decoder that ignores z cannot be
#    better, and the KL of the mean image is 0. The second baseline is the entropy of the pixels. Pixels are grey, so
#    even a perfect reconstruction costs this entropy. The loss "bce" reads a grey of 0.3 as a coin that shows white
#    three times in ten. This reading is common practice. For grey pixels, the result is a probability only up to an
#    unknown normaliser (Loaiza-Ganem & Cunningham 2019). For black and white pixels, the result would be exact.


def cross_entropy(reconstruction, images):
    """In nats per image."""
    reconstruction = np.broadcast_to(reconstruction, images.shape).astype(images.dtype)
    return F.binary_cross_entropy(reconstruction, images, reduction="sum").item() / len(images)


from_the_mean = cross_entropy(vae.reconstruct(test_images), test_images)
rows = {
    "mean image": (cross_entropy(train_images.mean(axis=0), test_images), 0.0),
    "VAE": (test["reconstruction"], test["kl"]),
    "VAE, decoded from mu": (from_the_mean, test["kl"]),
    "the pixels themselves": (cross_entropy(test_images, test_images), 0.0),
}
print(f"\n{len(test_images):,} test images, nats per image    reconstruction     KL     sum")
for name, (reconstruction, kl) in rows.items():
    print(f"{name:40} {reconstruction:14.2f} {kl:7.2f} {reconstruction + kl:7.2f}")

#    The third row should look better than the second row, but the third row is no bound. The KL term charges for a
#    blurred z, so the reconstruction must use a blurred z too. The test loss therefore uses a sampled code, like the
#    training loss. To look at a reconstruction, use mu, the most likely code.
mean, directions = pca(train_images)
pca_error = np.mean((test_images - pca_reconstruct(test_images, mean, directions[:CODE_SIZE])) ** 2)
print(f"test MSE from mu: {vae.reconstruction_error(test_images).mean():.4f}; PCA with {CODE_SIZE}: {pca_error:.4f}")
plotting.loss_curves(trainer.history, args.out / "loss.png", "nats per image")
plotting.reconstructions(test_images[:10], vae.reconstruct(test_images[:10]), args.out / "reconstructions.png")

# 3. New digits. All q(z | x) together should fill the same space as N(0, 1). The draws of N(0, 1) then fall where the
#    decoder was trained. We can test this: the sampled codes of the test images should have mean 0 and standard
#    deviation 1.
with sa.no_grad():
    codes = vae.reparameterise(*vae.posterior(test_images)).numpy()
print(f"sampled codes: means within {np.abs(codes.mean(axis=0)).max():.2f} of 0, standard deviations", end=" ")
print(f"{codes.std(axis=0).min():.2f} to {codes.std(axis=0).max():.2f}")
plotting.image_grid(vae.sample(100), args.out / "samples.png", 10, title="Decoded from draws of N(0, 1)")

# 4. The way from one digit to another can go straight through the code space, or through the pixels. The mixed codes
#    should look like digits, and the mixed pixels should look like two digits at once.
first, second = test_images[test_digits == 7][0], test_images[test_digits == 6][0]
share = np.linspace(0, 1, 10, dtype=first.dtype)[:, None, None, None]
mixed = {"mixed pixels": (1 - share) * first + share * second, "mixed codes": vae.interpolate(first, second, 10)}
plotting.image_rows(mixed, args.out / "interpolation.png")

# 5. How tight is the bound? Each draw has the weight p(x, z) / q(z | x). We average the weights of many draws before
#    the logarithm. A single draw per image gives the ELBO again. More draws should approach log p(x) from below (Burda
#    et al. 2016).
subset = test_images[:500]
elbo = -trainer.evaluate(subset)["loss"]
estimates = {draws: vae.log_likelihood(subset, draws).mean() for draws in DRAWS[run]}
print(f"\nlog p(x) of {len(subset)} test images in nats: ELBO {elbo:.2f}; importance-weighted", end=" ")
print(", ".join(f"{estimate:.2f} ({draws})" for draws, estimate in estimates.items()), "(draws per image)")
plotting.curves(
    {"importance-weighted": (list(estimates), list(estimates.values()))},
    args.out / "log_likelihood.png", "codes drawn per image", "log p(x), nats per image", xlog=True,
    references={"ELBO": elbo},
)  # fmt: skip

# 6. The factor beta weighs the KL term (Higgins et al. 2017). A large beta should give a cheap code, and a small beta
#    should give a sharp picture. Only beta = 1 minimises the bound itself. If a unit has a KL of 0, the distribution of
#    the unit is the prior for every x. The decoder has then learned to ignore this unit.
print("\nbeta    reconstruction     KL     sum   active units")
family = {beta: (vae, trainer) if beta == 1 else train(CODE_SIZE, beta) for beta in BETAS[run]}
tradeoff = {}
for beta, (model, trained) in family.items():
    terms = trained.evaluate(test_images)
    tradeoff[beta] = terms["kl"] / beta, terms["reconstruction"]
    with sa.no_grad():
        units = F.gaussian_kl(*model.posterior(test_images), reduction="none").numpy().mean(axis=0)
    print(f"{beta:<8}{tradeoff[beta][1]:14.2f} {tradeoff[beta][0]:6.2f} {sum(tradeoff[beta]):7.2f}", end="")
    print(f"{np.sum(units > ACTIVE):8} of {CODE_SIZE}")
kls, reconstructions = zip(*tradeoff.values(), strict=True)
title = f"beta from {max(tradeoff)} (left) to {min(tradeoff)} (right)"
plotting.curves(
    {"test images": (kls, reconstructions)},
    args.out / "beta.png", "KL, nats per image", "reconstruction, nats per image", title=title,
)  # fmt: skip
drawn = {}
for beta, (model, _) in family.items():
    sa.manual_seed(1)  # the same draws for each beta
    drawn[f"beta {beta}"] = model.sample(10)
plotting.image_rows(drawn, args.out / "beta_samples.png")

# 7. With two code units, we can draw the whole code space. The first picture shows the codes of the test digits. The
#    digits should form groups, although the training used no labels. The second picture shows the decoded image at each
#    place, on the same axes.
flat, _ = train(2)
plotting.latent_scatter(flat.transform(test_images), test_digits, args.out / "latent.png", label_name="digit")
title = "Codes decoded: dimension 1 from -2 (left) to 2, dimension 2 from -2 (bottom) to 2"
plotting.image_grid(flat.manifold(20), args.out / "manifold.png", 20, title=title)

# 8. A picture stands still. We write both on one page, on which you walk through the code space. Open the page in a
#    browser and drag the cursor: the decoder runs in the page.
sa.explore(flat, args.out / "explorer.html", test_images, test_digits, "Digits in two numbers")

print(f"\npictures and a page, explorer.html: {args.out}")
verdict("test loss (-ELBO), nats", TARGET[run], test["loss"])
verdict("log p(x) estimate minus ELBO, nats", 0.0, estimates[100] - elbo, at_least=True)
finish()
