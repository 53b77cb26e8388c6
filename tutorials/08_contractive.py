"""The contractive autoencoder: a small change of the input hardly changes the code.

The encoder has the Jacobian J = d code / d x. The penalty is the squared norm of J, averaged over the data. The penalty
alone would make the code constant. But the reconstruction must tell images apart. The encoder should therefore stay
sensitive to the few directions in which images vary. The encoder should become insensitive to the many other directions
(Rifai, Vincent, Muller, Glorot & Bengio, "Contractive auto-encoders", 2011).

    python tutorials/08_contractive.py                 the embedded sample, about half a minute
    python tutorials/08_contractive.py --data full     all 60,000 images, about a minute
"""

import numpy as np
from common import finish, load, settings, verdict

import scratchae as sa
from scratchae import data, optim, plotting
from scratchae.autoencoders import ContractiveAutoencoder, jacobian

CODE_SIZE = 64
WEIGHT = 5e-4
BATCH_SIZE = 128
LR = 1e-2
EPOCHS = {"quick": 8, "sample": 40, "full": 8}  # 320, 1,600 and 3,752 steps
LOOKED_AT = {"quick": 200, "sample": 1000, "full": 1000}  # number of test images for the Jacobians
TIMES_SMALLER = {"quick": 1.9, "sample": 3.0, "full": 3.0}  # norm of the Jacobian, plain / contractive, at least
MSE_RATIO = 1.15  # test MSE, contractive / plain, at most

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
train_images, _, test_images, _ = load(args.data, data.mnist, data.mnist_sample)


def train(model):
    # The decoder's bias starts at the mean image. With an ordinary start, the network first learns that most pixels are
    # black. This step pushes every code unit in the same direction. Many units would then stay in the flat part of the
    # sigmoid.
    mean = train_images.mean(axis=0).ravel().clip(1e-3, 1 - 1e-3)
    model.decoder[0].bias.data[:] = np.log(mean / (1 - mean))
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=LR))
    trainer.fit(train_images, validation=test_images, epochs=EPOCHS[run], batch_size=BATCH_SIZE)
    return model


# 1. Train two autoencoders that differ only in the penalty. Each autoencoder has one layer of sigmoids in the encoder,
#    and one in the decoder.
sizes = (784, CODE_SIZE)
sa.manual_seed(0)
plain = train(sa.Autoencoder.dense(sizes, activation="sigmoid"))
sa.manual_seed(0)
contractive = train(ContractiveAutoencoder.dense(sizes, activation="sigmoid", weight=WEIGHT))
models = {"plain": plain, "contractive": contractive}

# 2. The Jacobian of an encoder needs one backward pass for each code unit. A formula can check this Jacobian. For a
#    single layer h = sigmoid(W x + b), the chain rule gives the paper's equation 4:
#
#      J = diag(h (1 - h)) W
#
#    The encoder can therefore reduce the penalty in two ways. The first way is smaller weights. The second way is units
#    in the flat parts of the sigmoid, near 0 or near 1.
x = test_images[: LOOKED_AT[run]]
jacobians = {name: jacobian(model, x) for name, model in models.items()}
h, W = contractive.transform(x), contractive.encoder[1].weight.numpy()
by_formula = (h * (1 - h))[:, :, None] * W
print(f"\nbackward passes against the formula: {np.abs(jacobians['contractive'] - by_formula).max():.1e} apart at most")

# 3. How sensitive is the code, and where? We measure the norm of J at test images, halfway between two test images, and
#    far away, at uniform noise.


def norms(jacobians):
    return np.sqrt((jacobians**2).sum(axis=(1, 2)))


rng = np.random.default_rng(0)
places = {"halfway between two": (x + x[::-1]) / 2, "uniform noise": rng.uniform(size=x.shape).astype(x.dtype)}
table = {"test MSE": {name: model.reconstruction_error(test_images).mean() for name, model in models.items()}}
table["norm of J at test images"] = {name: norms(jacobians[name]).mean() for name in models}
for place, images in places.items():
    table[f"norm of J, {place}"] = {name: norms(jacobian(model, images)).mean() for name, model in models.items()}

# 4. A smaller norm can come from scaling alone. The encoder could divide its output by ten, and the decoder could
#    multiply its input by ten. The norm of J would be a tenth, without any gain. The paper prevents this scaling with
#    equal weights in the encoder and the decoder. Our weights are separate, so we measure the spread of the codes and
#    the norm of the decoder's weights. The spread is the square root of the total variance of the codes over test
#    images. The norm of J divided by the spread does not change under this scaling.
for name, model in models.items():
    spread = np.sqrt(model.transform(test_images).var(axis=0).sum())
    table.setdefault("spread of the codes", {})[name] = spread
    table.setdefault("norm of J / spread", {})[name] = table["norm of J at test images"][name] / spread
    table.setdefault("norm of the decoder's weights", {})[name] = np.linalg.norm(model.decoder[0].weight.numpy())

# 5. Which directions does the encoder keep? A small step along the unit vector u moves the code by the length of J u.
#    The first u is a shift to the right, and digits do vary along a shift. The second u is a random direction, and
#    digits do not vary along this direction. The contractive code should move much less along the random direction.
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

# 6. The singular values of J are the sensitivities along its own directions, the largest first. The picture needs all
#    64 directions, so no singular value should fall to 0. The largest singular values should shrink most.
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

#    The right singular vectors of J are images. The first of these images changes the code most, when added to x. White
#    pixels add, and black pixels subtract. The plain encoder should react most at the margins, where digits have hardly
#    any ink. No penalty made the encoder insensitive there. The contractive encoder should react at the strokes, with
#    light and dark patches as wide as a stroke.
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
