"""Can a code follow a shift of a digit, and ignore noise?

A useful code follows the changes in which digits differ, for example a shift to the right. A useful code ignores other
changes, for example a little noise in each pixel. The training images of a plain autoencoder have no noise, so its
encoder never learns to ignore noise. The contractive autoencoder adds a penalty on the encoder's derivatives.

          image                code                reconstruction
       x (n, 784) -------> z (n, 64) -------> x' (n, 784)
         z = sigmoid(W x + b)     x' = sigmoid(V z + c)

The derivatives form the Jacobian matrix J (64, 784), with J[k, d] = dz_k / dx_d. A small step u of the image moves the
code by J u. The penalty uses ||J||^2, the squared Frobenius norm. This norm is the sum of all squared elements (Rifai
et al., "Contractive auto-encoders", ICML 2011).

    loss = mean binary cross-entropy + weight * mean over images of ||J||^2

The penalty alone would make the code constant. The reconstruction needs a code that changes with the digit. Both terms
together ask for the smallest Jacobian that still tells digits apart.

The first baseline is the plain autoencoder, with weight 0. The second baseline is principal component analysis (PCA,
tutorial 01) with 16 to 128 numbers. PCA has a constant Jacobian, and needs no training loop.

    python tutorials/08_contractive.py                 the embedded sample, about a minute
    python tutorials/08_contractive.py --data full     all of MNIST, 3 to 4 minutes
"""

import numpy as np
from common import finish, load, mse, pca, pca_reconstruct, settings, verdict

import scratchae as sa
from scratchae import data, optim, plotting
from scratchae.autoencoders import ContractiveAutoencoder, jacobian
from scratchae.plotting import style

CODE_SIZE = 64
WEIGHTS = (0.0, 1e-4, 5e-4, 2e-3, 1e-2)
MOST = 1.15  # largest validation MSE, contractive / plain
BATCH_SIZE = 128
LR = 1e-2
EPOCHS = {"quick": 8, "sample": 40, "full": 8}  # 288, 1,440 and 3,440 steps
LOOKED_AT = {"quick": 200, "sample": 500, "full": 500}  # number of images for the Jacobians
PCA_SIZES = (16, 24, 32, 48, 64, 96, 128)

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
digits = load(args.data, data.mnist, data.mnist_sample)
mean, directions = pca(digits.train)


def train(weight):
    sa.manual_seed(0)
    model = ContractiveAutoencoder.dense((784, CODE_SIZE), activation="sigmoid", weight=weight)
    # The decoder's bias starts at the mean image. With an ordinary start, the network first learns that most pixels are
    # black. This step moves all units of the code in one direction. Many units then stay in the flat part of the
    # sigmoid.
    image = digits.train.mean(axis=0).ravel().clip(1e-3, 1 - 1e-3)
    model.decoder[0].bias.data[:] = np.log(image / (1 - image))
    optimizer = optim.Adam(model.parameters(), lr=LR)
    sa.Trainer(model, optimizer).fit(digits.train, epochs=EPOCHS[run], batch_size=BATCH_SIZE, progress=False)
    return model


def steps(images):
    """Small changes of each image, as unit vectors (n, 784): along the image's own shift, and across."""
    shift = (np.roll(images, 1, axis=3) - np.roll(images, -1, axis=3)).reshape(len(images), -1)
    noise = np.random.default_rng(0).standard_normal(shift.shape)
    found = {"shift": shift, "shift of another image": np.roll(shift, 1, axis=0), "noise": noise}
    return {name: u / np.linalg.norm(u, axis=1, keepdims=True) for name, u in found.items()}


def moves(J, images):
    """The mean length of J u for each kind of step."""
    return {name: float(np.linalg.norm(J @ u[:, :, None], axis=1).mean()) for name, u in steps(images).items()}


# 1. For this encoder, the chain rule gives a formula for J. The derivative of the sigmoid of unit k is z_k (1 - z_k).
#
#        J = diag(z (1 - z)) W        ||J||^2 = sum over k of (z_k (1 - z_k))^2 * sum over d of W[k, d]^2
#
#    The function `jacobian` finds J for any encoder, with one backward pass for each unit. Both results must agree up
#    to rounding. The formula shows two ways to a small penalty. The weights W can become small. The code can come close
#    to 0 or 1, where the sigmoid is flat. Training also uses the formula, so the penalty costs no extra backward
#    passes.
x, x_test = digits.validation[: LOOKED_AT[run]], digits.test[: LOOKED_AT[run]]
models = {0.0: train(0.0)}
z, W = models[0.0].transform(x), models[0.0].encoder[1].weight.numpy()
difference = np.abs(jacobian(models[0.0], x) - (z * (1 - z))[:, :, None] * W).max()
print(f"largest difference between the backward passes and the formula: {difference:.0e}")

# 2. We move each image a small step u of length 1. The first step shifts the digit. The second step adds noise to all
#    pixels. The code moves by J u, and we compare the mean lengths of J u.
#
#        selectivity = mean ||J u_shift|| / mean ||J u_noise||
#
#    An encoder could also divide its code by ten, and the decoder could multiply by ten. J would then be ten times
#    smaller, without any gain. The selectivity would stay, so the selectivity is the better measure.

# Predict first: the penalty treats all directions of J alike. Which movement falls more? Choose (a) the movement by a
# shift, or (b) the movement by noise, or (c) both fall by the same factor.
print(f"{'':12}validation MSE  mean ||J||  moved by a shift  moved by noise  selectivity")
errors, selectivity = {}, {}


def report(name, J, error):
    moved = moves(J, x)
    errors[name], selectivity[name] = error, moved["shift"] / moved["noise"]
    norm = np.sqrt((J**2).sum(axis=(-2, -1))).mean()
    print(f"{name:12}{error:14.4f}{norm:12.2f}{moved['shift']:18.3f}{moved['noise']:16.3f}{selectivity[name]:13.2f}",
          flush=True)  # fmt: skip


for weight in WEIGHTS:
    models[weight] = models[weight] if weight in models else train(weight)
    error = mse(digits.validation, models[weight].reconstruct(digits.validation))
    report(f"weight {weight:g}", jacobian(models[weight], x), error)
for k in PCA_SIZES:
    rebuilt = pca_reconstruct(digits.validation, mean, directions[:k])
    report(f"PCA, {k}", directions[:k], mse(digits.validation, rebuilt))
chosen = max(w for w in WEIGHTS if errors[f"weight {w:g}"] <= MOST * errors["weight 0"])
print(f"the largest weight with an MSE of at most {MOST} times the plain one: {chosen:g}")

# What you should see, and why: answer (b). In the quick run, the weight 0.002 lowers the movement by a shift from 0.469
# to 0.286. The movement by noise falls from 0.226 to 0.083. The selectivity grows from 2.08 to 3.45. The penalty asks
# for a small J in all directions. The reconstruction needs a large J only in the directions in which digits vary. So J
# shrinks most in all other directions. In the longer sample run, noise moves the plain code even more than a
# shift, 0.470 against 0.393. On all of MNIST, the movements are 0.347 and 0.312.

# 3. Now the final numbers, with the chosen weight and the test images.
plain, contractive = jacobian(models[0.0], x_test), jacobian(models[chosen], x_test)
P = directions[:CODE_SIZE]
table = {
    "plain": moves(plain, x_test),
    "contractive": moves(contractive, x_test),
    f"PCA, {CODE_SIZE}": moves(P, x_test),
}
test_mse = [mse(digits.test, models[w].reconstruct(digits.test)) for w in (0.0, chosen)]
test_mse.append(mse(digits.test, pca_reconstruct(digits.test, mean, P)))
print(f"\n{'test images':14}{'MSE':>8}" + "".join(f"{'by a ' * (n != 'noise') + n:>29}" for n in table["plain"]))
for (name, moved), error in zip(table.items(), test_mse, strict=True):
    print(f"{name:14}{error:8.4f}" + "".join(f"{length:29.3f}" for length in moved.values()))
ratios = {name: table["plain"][name] / table["contractive"][name] for name in table["plain"]}
print(f"plain / contractive: a shift moves the code {ratios['shift']:.1f} times less, noise {ratios['noise']:.1f} "
      "times less")  # fmt: skip

# 4. The rows of J are directions in the space of images. The principal directions of the training images are the
#    directions in which digits vary most. Which share of ||J||^2 lies in the first 64 principal directions?

# Predict first: which share has the contractive encoder? Choose (a) 64 / 784 = 8%, as in random directions, or (b)
# about half, or (c) nearly all.
for name, J in (("plain", plain), ("contractive", contractive)):
    squares = np.linalg.svd(J, compute_uv=False) ** 2
    print(f"{name}: {((J @ P.T) ** 2).sum() / (J**2).sum():.0%} of ||J||^2 lies in the first 64 principal directions, "
          f"{(squares[:, :5].sum() / squares.sum()):.0%} in the 5 most sensitive directions")  # fmt: skip

# What you should see, and why: answer (c). In the quick run, the share is 41% for the plain encoder and 96% for the
# contractive encoder. The shares are 7% and 93% on the sample, and 9% and 90% on all of MNIST. Random directions would
# have 8%, so the plain encoder is no better after a long training. Digits hardly vary in the other directions, so a
# large J there does not change the reconstructions.
#
# The contractive encoder is still sensitive to many directions, not to a few. In the quick run, the 5 most sensitive
# directions hold 29% of ||J||^2, and 35% without the penalty. On all of MNIST, the shares are 14% and 24%.

# 5. The left side of the picture shows the movements of the code for the test images. The right side shows selectivity
#    against error for the validation images. High and left is good. PCA is a line, because k can be chosen.
figure = style.new_figure(11, 4)
left = style.add_axes(figure, (1, 2, 1), "mean movement of the code", "", "Small steps of length 1")
for i, (name, moved) in enumerate(list(table.items())[:2]):
    bars = left.barh(np.arange(3) + 0.38 * i, list(moved.values()), 0.36, color=style.PALETTE[i], label=name)
    left.bar_label(bars, fmt="%.3f", padding=4, fontsize=10, color=style.INK)
left.set_yticks(np.arange(3) + 0.19, ["a shift", "a shift of\nanother image", "noise"])
left.invert_yaxis()
left.margins(x=0.15)
left.grid(visible=False, axis="y")
style.legend(left, "lower right")
right = style.add_axes(figure, (1, 2, 2), "validation MSE", "selectivity: shift / noise", "Selectivity against error")
for i, kind in enumerate(("weight", "PCA")):
    points = [name for name in errors if name.startswith(kind)]
    xs, ys = [errors[name] for name in points], [selectivity[name] for name in points]
    label = {"weight": "autoencoder", "PCA": "PCA, k components"}[kind]
    right.plot(xs, ys, color=style.PALETTE[(1, 9)[i]], marker="os"[i], linestyle="-:"[i], label=label)
for name, place, side in (("weight 0", (9, -5), "left"), (f"weight {chosen:g}", (-4, 9), "right"),
                          ("PCA, 64", (6, -16), "left"), ("PCA, 16", (0, -16), "center")):  # fmt: skip
    right.annotate(name.replace("PCA, ", "k = "), (errors[name], selectivity[name]), place, fontsize=10,
                   textcoords="offset points", color=style.INK, horizontalalignment=side)  # fmt: skip
right.set_xlim(0)
right.set_ylim(0, 1.15 * max(selectivity.values()))
style.legend(right, "lower right")
figure.savefig(args.out / "answer.png", dpi=150)
rows = {"test image": x_test[:10]}
for name, u in steps(x_test).items():
    rows[f"plus 4 u, {name}"] = x_test[:10] + 4 * u[:10].reshape(-1, 1, 28, 28)
plotting.image_rows(rows, args.out / "steps.png")
plotting.filters(W, args.out / "weights_plain.png", CODE_SIZE)
plotting.filters(models[chosen].encoder[1].weight.numpy(), args.out / "weights_contractive.png", CODE_SIZE)
print(f"pictures: {args.out / 'answer.png'}, steps.png, weights_plain.png, weights_contractive.png")

# What you should see, and why: in the quick run, noise moves the contractive code 2.7 times less than the plain code. A
# shift moves the contractive code 1.6 times less. On all of MNIST, the factors are 5.2 and 1.6. The bars in the middle
# are a warning. The shift of another image moves the code nearly as much as the image's own shift. The encoder follows
# changes that are typical of digits in general. The encoder does not know the changes of a single image.
#
# PCA is a strong baseline, because its code also ignores all directions outside its plane. In the quick run, the
# weight 0.002 lies only 4% above PCA's line. After the longer training on the sample and on all of MNIST, the margin is
# larger.

xs, ys = [errors[f"PCA, {k}"] for k in PCA_SIZES], [selectivity[f"PCA, {k}"] for k in PCA_SIZES]
by_pca = np.interp(errors[f"weight {chosen:g}"], xs[::-1], ys[::-1])  # on the line between two code sizes
by_shift, by_noise = (table["contractive"][name] / table["plain"][name] for name in ("shift", "noise"))
target, pca_target = {"quick": (1.5, 1.0), "sample": (2.5, 1.05), "full": (2.5, 1.05)}[run]
verdict("selectivity, contractive / plain", target, by_shift / by_noise, at_least=True)
verdict("selectivity, contractive / PCA at equal MSE", pca_target, selectivity[f"weight {chosen:g}"] / by_pca,
        at_least=True)  # fmt: skip
verdict("test MSE, contractive / plain", MOST, test_mse[1] / test_mse[0])
finish()

# Exercises. The solutions are in tutorials/solutions/08_contractive.py.
#
# Change a constant: set the last of WEIGHTS to 10. Which image does this autoencoder return?
#
# Explain a number: PCA with 64 components has ||J|| = 8.00 in each run, and noise moves its code by about 0.286. Where
# do both numbers come from?
#
# Write code: estimate the mean of ||J||^2 without derivatives. Encode x and x + e u for noise u and a small number e.
