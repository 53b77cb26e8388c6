"""The contractive autoencoder: a code that hardly moves when the input does.

The penalty is the squared norm of the encoder's Jacobian J = d code / d x, averaged over the data. Alone it would make
the code constant. But the reconstruction needs to tell images apart, and so the encoder stays sensitive to the few
directions in which images vary, and goes numb to the many others (Rifai, Vincent, Muller, Glorot & Bengio,
"Contractive auto-encoders", 2011).

    python tutorials/08_contractive.py                 the embedded sample, about 2 minutes
    python tutorials/08_contractive.py --data full     all 60,000 images, about 5 minutes
"""

import numpy as np
from common import finish, load, settings, verdict

import scratchae as sa
from scratchae import data, optim, plotting
from scratchae.autoencoders import ContractiveAutoencoder, jacobian

CODE_SIZE = 64  # a training step takes a backward pass for each of them
WEIGHT = 5e-4
BATCH_SIZE = 128
LR = 1e-2
EPOCHS = {"quick": 8, "sample": 40, "full": 8}  # 320, 1,600 and 3,752 steps
LOOKED_AT = {"quick": 200, "sample": 1000, "full": 1000}  # test images whose Jacobians are taken
TIMES_SMALLER = {"quick": 1.9, "sample": 3.0, "full": 3.0}  # the norm of the Jacobian, at least
MSE_RATIO = 1.15  # test error against the plain autoencoder's, at most

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
train_images, _, test_images, _ = load(args.data, data.mnist, data.mnist_sample)


def train(model):
    # Start at the mean image. Otherwise the first thing to be learnt is that most pixels are black, every code unit is
    # pushed the same way for it, and many of them end up in the flat of the sigmoid, for good.
    mean = train_images.mean(axis=0).ravel().clip(1e-3, 1 - 1e-3)
    model.decoder[0].bias.data[:] = np.log(mean / (1 - mean))
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=LR))
    trainer.fit(train_images, validation=test_images, epochs=EPOCHS[run], batch_size=BATCH_SIZE)
    return model


# 1. Two autoencoders that differ in the penalty alone: one layer of sigmoids in, one out.
sizes = (784, CODE_SIZE)
sa.manual_seed(0)
plain = train(sa.Autoencoder.dense(sizes, activation="sigmoid"))
sa.manual_seed(0)
contractive = train(ContractiveAutoencoder.dense(sizes, activation="sigmoid", weight=WEIGHT))
models = {"plain": plain, "contractive": contractive}

# 2. The Jacobian of an encoder takes one backward pass for each code unit. Here it can be checked: for a single layer
#    h = sigmoid(W x + b) the chain rule gives J = diag(h (1 - h)) W, the paper's equation 4. The penalty therefore
#    has two ways down: smaller weights, or units that sit in the flat ends of the sigmoid, near 0 or near 1.
x = test_images[: LOOKED_AT[run]]
jacobians = {name: jacobian(model, x) for name, model in models.items()}
h, W = contractive.transform(x), contractive.encoder[1].weight.numpy()
by_formula = (h * (1 - h))[:, :, None] * W
print(f"\nbackward passes against the formula: {np.abs(jacobians['contractive'] - by_formula).max():.1e} apart at most")

# 3. How sensitive is the code, and where? At test images, halfway between two of them, and far off, at pure noise.


def norms(jacobians):
    return np.sqrt((jacobians**2).sum(axis=(1, 2)))


rng = np.random.default_rng(0)
places = {"halfway between two": (x + x[::-1]) / 2, "uniform noise": rng.uniform(size=x.shape).astype(x.dtype)}
table = {"test MSE": {name: model.reconstruction_error(test_images).mean() for name, model in models.items()}}
table["norm of J at test images"] = {name: norms(jacobians[name]).mean() for name in models}
for place, images in places.items():
    table[f"norm of J, {place}"] = {name: norms(jacobian(model, images)).mean() for name, model in models.items()}

# 4. A smaller norm can be a cheat: divide the encoder by ten and multiply the decoder by ten, and nothing is gained.
#    The paper bars that way by tying the decoder's weights to the encoder's. These are not tied, so look: by how
#    much did the codes shrink, and the decoder grow? The norm divided by the spread of the codes (the root of their
#    total variance over test images) does not change under any such scaling.
for name, model in models.items():
    spread = np.sqrt(model.transform(test_images).var(axis=0).sum())
    table.setdefault("spread of the codes", {})[name] = spread
    table.setdefault("norm of J / spread", {})[name] = table["norm of J at test images"][name] / spread
    table.setdefault("norm of the decoder's weights", {})[name] = np.linalg.norm(model.decoder[0].weight.numpy())

# 5. Which directions does it keep? Move an image a little one way, and the code moves by the length of J u: u being
#    the direction of a shift to the right, along which digits do vary, or one at random, along which they don't.
shift = (np.roll(x, 1, axis=3) - np.roll(x, -1, axis=3)).reshape(len(x), -1)
directions = {"a shift": shift, "a random direction": rng.standard_normal(shift.shape)}
for direction, u in directions.items():
    u = u / np.linalg.norm(u, axis=1, keepdims=True)
    table[f"code moves, along {direction}"] = {
        name: np.linalg.norm(J @ u[:, :, None], axis=1).mean() for name, J in jacobians.items()
    }

print(f"\n{'':36}{'plain':>12} {'contractive':>12}{'ratio':>8}")
for what, values in table.items():
    print(f"{what:36}{values['plain']:12.4f} {values['contractive']:12.4f}", end="")
    print(f"{values['plain'] / values['contractive']:8.2f}")

# 6. The singular values of J are the sensitivities along its own directions, the largest first. All 64 are needed for
#    the picture, so none goes to nothing; what shrinks most is the excess at the top.
spectra, tangents = {}, {}
for name, J in jacobians.items():
    _, spectrum, right = np.linalg.svd(J, full_matrices=False)
    spectra[name] = spectrum.mean(axis=0)
    tangents[name] = right[:10, :3]
    share = (spectrum[:, :5] ** 2).sum() / (spectrum**2).sum()
    print(f"{name}: the 5 leading directions of {CODE_SIZE} hold {share:.0%} of the squared norm")
order = np.arange(1, CODE_SIZE + 1)
plotting.curves(
    {name: (order, spectrum) for name, spectrum in spectra.items()},
    args.out / "spectrum.png", "direction, most sensitive first", "singular value of J (code per pixel)", ylog=True,
    markers=False,
)  # fmt: skip

#    The right singular vectors are images: what to add to x to move its code the most. White adds, black takes away.
#    The plain encoder listens hardest where digits hardly ever are, at the margins: nothing in the data told it not to.
#    The contractive one listens where the strokes are, to light and dark patches as wide as a stroke.
rows = {"test image": x[:10]}
for name, vectors in tangents.items():
    for i in range(vectors.shape[1]):
        v = vectors[:, i]
        rows[f"{name}, direction {i + 1}"] = 0.5 + 0.5 * v / np.abs(v).max(axis=1, keepdims=True)
plotting.image_rows({name: np.reshape(images, (10, 1, 28, 28)) for name, images in rows.items()},
                    args.out / "directions.png")  # fmt: skip
for name, model in models.items():
    plotting.filters(model.encoder[1].weight.numpy(), args.out / f"filters_{name}.png", CODE_SIZE)
rebuilt = {name: model.reconstruct(x[:10]) for name, model in models.items()}
plotting.image_rows({"original": x[:10], **rebuilt}, args.out / "reconstructions.png")

print(f"\npictures: {args.out}")
norm, mse = table["norm of J at test images"], table["test MSE"]
verdict("norm of J, plain / contractive", TIMES_SMALLER[run], norm["plain"] / norm["contractive"], at_least=True)
verdict("test MSE, contractive / plain", MSE_RATIO, mse["contractive"] / mse["plain"])
finish()
