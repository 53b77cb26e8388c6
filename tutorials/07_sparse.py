"""Can a code be large, if each image uses only a few of its units?

A small code limits the numbers of all images alike. A sparse code is large, but only a few units are active for each
image. Different images can use different units. This network has a code of 256 units, and no hidden layers.

          image                 code                  reconstruction
       x (n, 784) -------> z (n, 256) -------> x' (n, 784)
         z = activation(W x + b)     x' = sigmoid(V z + c)

The script compares three ways to a sparse code. The KL penalty gives every unit the same small mean activation (A. Ng,
"Sparse autoencoder", CS294A lecture notes, Stanford 2011). The L1 penalty makes every activation expensive, as in
sparse coding (B. A. Olshausen, D. J. Field, "Emergence of simple-cell receptive field properties by learning a sparse
code for natural images", Nature 1996). The third way has no penalty. The k-sparse autoencoder keeps the k largest
numbers of each code, and sets all others to 0 (A. Makhzani, B. Frey, "k-Sparse autoencoders", 2013).

The baseline is principal component analysis (PCA, tutorial 01) with the same freedom. For each image, the baseline
keeps the k largest of the first 256 principal components.

    python tutorials/07_sparse.py                 the embedded sample, about 2 minutes
    python tutorials/07_sparse.py --data full     all of MNIST, about 8 minutes
"""

import numpy as np
from common import finish, load, pca, settings, verdict

import scratchae as sa
from scratchae import data, optim, plotting
from scratchae.autoencoders import SparseAutoencoder
from scratchae.plotting import style

UNITS = 256
ACTIVITY = 0.05  # the target of KL for the mean activation of every unit
KL_WEIGHTS = (1e-3, 1e-2, 3e-2, 1e-1)
L1_WEIGHTS = (3e-4, 6e-4)
KEPT = (10, 20, 40)  # numbers of active units in the comparison
BATCH_SIZE = 64
LR = {"sigmoid": 5e-3, "relu": 1e-3, "linear": 2e-3}  # sigmoids learn slowly, and large steps make ReLUs dead
EPOCHS = {"quick": 8, "sample": 25, "full": 4}
SWEEP_EPOCHS = {"quick": 4, "sample": 10, "full": 10}
SWEEP_IMAGES = 4500

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
digits = load(args.data, data.mnist, data.mnist_sample)
mean, directions = pca(digits.train)
directions = directions[:UNITS]


def mse(images, reconstructions):
    return float(np.mean((reconstructions.reshape(images.shape) - images) ** 2))


def build(penalty, weight):
    sa.manual_seed(0)
    code = {"kl": "sigmoid", "l1": "relu"}[penalty]
    sizes = (784, UNITS)
    return SparseAutoencoder.dense(sizes, code_activation=code, penalty=penalty, target=ACTIVITY, weight=weight)


def train(model, lr, images=digits.train, epochs=EPOCHS[run], falling=False):
    """Train with a constant rate, or with a rate that falls to 0 along half a cosine."""
    optimizer = optim.Adam(model.parameters(), lr=lr)
    callbacks = [sa.Schedule(optim.CosineLR(optimizer, epochs))] if falling else []
    sa.Trainer(model, optimizer, callbacks).fit(images, epochs=epochs, batch_size=BATCH_SIZE, progress=False)
    return model


def keep_largest(z, k, strength=1.0, rest=0.0):
    """Of each row of z (n, units), keep the k numbers with the largest |z - rest| * strength. Others become `rest`."""
    chosen = np.argpartition(-np.abs(z - rest) * strength, k - 1, axis=1)[:, :k]
    kept = np.broadcast_to(rest, z.shape).astype(z.dtype)
    np.put_along_axis(kept, chosen, np.take_along_axis(z, chosen, axis=1), axis=1)
    return kept


def from_few_units(model, images, k, rest=0.0):
    """Reconstructions from the k units of each image with the largest contributions to the output."""
    lengths = np.linalg.norm(model.decoder[0].weight.numpy(), axis=0)
    return model.inverse_transform(keep_largest(model.transform(images), k, lengths, rest)).reshape(images.shape)


# 1. Under the KL penalty, m_j is the mean activation of unit j over a batch. A sigmoid code lies between 0 and 1, so
#    m_j is read as a probability. The penalty is the sum of Kullback-Leibler divergences from the target r = 0.05.
#
#        KL(r || m_j) = r log(r / m_j) + (1 - r) log((1 - r) / (1 - m_j))
#        loss = mean binary cross-entropy + weight * sum over units j of KL(r || m_j)
#
#    The divergence is 0 for m_j = r, and grows on both sides of r. The cross-entropy is a mean over pixels, and the
#    penalty is a sum over units. The two scales differ, so we try four weights on few images. We take the smallest
#    weight that brings the mean activation within 25% of the target.

# Predict first: the weight grows from 0.001 to 0.1. What happens to the validation MSE? Choose (a) the MSE falls,
# or (b) the MSE stays, or (c) the MSE grows.
print(f"KL with target {ACTIVITY}, {SWEEP_IMAGES:,} images")
print("weight  mean activation  units within a factor 2  validation MSE")
kl_weight = None
for weight in KL_WEIGHTS:
    model = train(build("kl", weight), LR["sigmoid"], digits.train[:SWEEP_IMAGES], SWEEP_EPOCHS[run])
    activity = model.transform(digits.validation).mean(axis=0)
    within = np.mean((activity < ACTIVITY * 2) & (activity > ACTIVITY / 2))
    error = mse(digits.validation, model.reconstruct(digits.validation))
    print(f"{weight:<6g}  {activity.mean():15.3f}  {within:23.0%}  {error:14.4f}", flush=True)
    if kl_weight is None and (abs(activity.mean() / ACTIVITY - 1) < 0.25 or weight == KL_WEIGHTS[-1]):
        kl_weight = weight
print(f"chosen weight: {kl_weight}")

# What you should see, and why: answer (c). In the quick run, the validation MSE grows from 0.0175 to 0.0639. The mean
# activation falls from 0.157 to 0.054. The weight 0.03 is the smallest weight that comes close to the target of 0.05.
# Sparsity is a limit, like a small code, and each limit on the code costs detail.

# 2. The L1 penalty is weight * mean over images of sum over units of |z_j|. A ReLU code can be exactly 0. The k-sparse
#    autoencoder has no penalty. Its code is z = W x + b. Each image keeps only the k numbers with the largest |z_j|.
#    Its output has no sigmoid, and its training starts at PCA. So training shows how far a learned code goes beyond
#    PCA. The validation images choose the weight of L1, at 20 units for each image.


class KSparse(sa.Autoencoder):
    def __init__(self, k):
        encoder = sa.nn.Sequential(sa.nn.Flatten(), sa.nn.Linear(784, UNITS))
        super().__init__(encoder, sa.nn.Sequential(sa.nn.Linear(UNITS, 784)), loss="mse")
        encoder[1].weight.data[...], encoder[1].bias.data[...] = directions, -directions @ mean
        self.decoder[0].weight.data[...], self.decoder[0].bias.data[...] = directions.T, mean
        self.k = k

    def encode(self, x):
        z = self.encoder(x)
        return z * sa.Tensor((keep_largest(z.data, self.k) != 0).astype(z.dtype))  # the gradient of 0 is 0


models = {"plain": train(build("l1", 0.0), LR["relu"]), "KL": train(build("kl", kl_weight), LR["sigmoid"])}
by_weight = [train(build("l1", weight), LR["relu"]) for weight in L1_WEIGHTS]
few_units = [mse(digits.validation, from_few_units(model, digits.validation, 20)) for model in by_weight]
models["L1"] = by_weight[int(np.argmin(few_units))]
print("\nL1, validation MSE with the 20 largest contributions: "
      + ", ".join(f"weight {w:g} {error:.4f}" for w, error in zip(L1_WEIGHTS, few_units, strict=True)))  # fmt: skip
k_sparse = {k: train(KSparse(k), LR["linear"], falling=True) for k in KEPT}

# 3. Which units are active? A sigmoid is never exactly 0. We call a unit active in an image if its output is above a
#    tenth of its largest output. A silent unit stays below 0.001 for all images.

# Predict first: which code has silent units? Choose (a) KL, or (b) L1, or (c) both.
print("\n                     active units an image  silent units  test MSE of the whole code")
shares = {}
for name, model in {**models, "k-sparse, k = 20": k_sparse[20]}.items():
    z = np.abs(model.transform(digits.test))
    largest = z.max(axis=0)
    active = z > np.maximum(0.1 * largest, 1e-3)
    shares[name] = np.sort(active.mean(axis=0))[::-1]
    error = mse(digits.test, model.reconstruct(digits.test))
    print(f"{name:20} {active.sum(axis=1).mean():22.0f}  {np.sum(largest < 1e-3):12}  {error:26.4f}", flush=True)
figure = style.new_figure(8, 4)
axes = style.add_axes(figure, (1, 1, 1), "unit, most often active first", "share of test images", "Active units")
for name, share in shares.items():
    axes.plot(np.arange(1, UNITS + 1), share, marker="None", linewidth=1.8, label=name)
style.legend(figure)
figure.savefig(args.out / "units.png", dpi=150)

# What you should see, and why: answer (b). In the quick run, L1 leaves 100 of 256 units silent, and KL leaves none. KL
# has a term for each unit, so each unit must be active for some images. L1 has one sum of all activations, and a silent
# unit costs nothing. The plain ReLU code also has 24 silent units. These units are dead ReLUs (tutorial 04). KL is less
# sparse than the target suggests. An image has 77 active units, because many small values also have a small mean.

# 4. The columns of V are patterns, and a code adds up patterns. The output of the KL network is a sigmoid of this sum.
#
#        x' = sigmoid(c + z_1 v_1 + z_2 v_2 + ... + z_256 v_256)
#
#    We keep the k units with the largest contributions z_j * ||v_j||, and set all other units to 0.

# Predict first: the image is drawn from 1 of 256 units. What do you see? Choose (a) a single stroke, or (b) a whole
# blurred digit, or (c) a few pixels.
means = {name: model.transform(digits.train).mean(axis=0) for name, model in models.items()}
rows = {
    f"{k} unit{'s' * (k > 1)}": from_few_units(models["KL"], digits.test[:10], k) for k in (1, 2, 5, 10, 20, 80, UNITS)
}
plotting.image_rows({"test image": digits.test[:10], **rows}, args.out / "sum.png")
for name in ("KL", "L1"):
    busiest = np.argsort(-means[name])[:64]
    plotting.filters(models[name].decoder[0].weight.numpy().T[busiest], args.out / f"patterns_{name}.png")

# What you should see, and why: answer (b), in the row named 1 unit. The patterns in patterns_KL.png explain this
# result. In the quick run, many patterns are complete digits, and few are single strokes. The background of the first
# rows is grey. Nearly all patterns are negative outside the digit, and their sum makes the background black.

# 5. The fair comparison is at equal numbers of active units. PCA has two curves. The first curve takes the first k
#    components, the same for all images. The second curve takes the k largest of 256 components, for each image anew.
#    The plain, KL and L1 codes are cut to k units. All other units get the value 0, or their mean activation. The
#    validation images decide between both values. The k-sparse network is trained anew for each k.

# Predict first: which code has the lowest test MSE with 20 active units? Choose (a) KL, or (b) L1, or (c) PCA with the
# largest components, or (d) the k-sparse network.
flat = digits.test.reshape(len(digits.test), -1)
z = (flat - mean) @ directions.T
errors = {"PCA, first k": [mse(flat, mean + z[:, :k] @ directions[:k]) for k in KEPT],
          "PCA, largest k": [mse(flat, mean + keep_largest(z, k) @ directions) for k in KEPT]}  # fmt: skip
for name, model in models.items():
    cuts = (0.0, means[name])
    errors[name] = []
    for k in KEPT:
        by_cut = [mse(digits.validation, from_few_units(model, digits.validation, k, cut)) for cut in cuts]
        best = cuts[int(np.argmin(by_cut))]
        errors[name].append(mse(digits.test, from_few_units(model, digits.test, k, best)))
errors["k-sparse"] = [mse(digits.test, model.reconstruct(digits.test)) for model in k_sparse.values()]
print("\ntest MSE with    " + "".join(f"{k:>5} units" for k in KEPT))
for name, values in errors.items():
    print(f"{name:17}" + "".join(f"{value:11.4f}" for value in values))
plotting.curves({name: (KEPT, values) for name, values in errors.items()}, args.out / "answer.png",
                "active units of an image", "test MSE", "Error at equal numbers of units", ylog=True)  # fmt: skip
print(f"pictures: {args.out / 'answer.png'}, units.png, sum.png, patterns_KL.png, patterns_L1.png")

# What you should see, and why: answer (d), but with a small margin. In the quick run, the k-sparse network has a test
# MSE of 0.0150 with 20 units. PCA with the largest components has 0.0154, L1 has 0.0196, and KL has 0.0427. Neither
# penalty trains the code for exactly 20 units. Each of the other units is weak, but together these units carry much of
# the image. With 40 units, PCA is equal, with 0.0087 against 0.0088. PCA with the first k components is a weaker
# baseline, with 0.0236 for 20 units. So most of the gain comes from the choice of other components for each image.
# Learned patterns lower the error by only 3%. More training images and more steps help the learned patterns. On all of
# MNIST, the k-sparse network has 0.0109 with 20 units. PCA with the largest components has 0.0151, so the margin
# is 28%. There L1 is also below PCA, with 0.0134.

activity = models["KL"].transform(digits.test).mean()
ratio = errors["k-sparse"][KEPT.index(20)] / errors["PCA, largest k"][KEPT.index(20)]
verdict("KL: |mean activation / target - 1|", 0.2, abs(activity / ACTIVITY - 1))
target = {"quick": 1.0, "sample": 0.95, "full": 0.9}[run]
verdict("test MSE with 20 units, k-sparse / PCA with the 20 largest", target, ratio)
finish()

# Exercises. The solutions are in tutorials/solutions/07_sparse.py.
#
# Change a constant: set ACTIVITY to 0.2. Does the test error of KL rise or fall?
#
# Explain a number: under KL, the mean activation of 256 units is 0.05. The numbers of a code then have a sum of
# about 13. Why are many more than 13 units active?
#
# Write code: the k-sparse encoder chooses 20 units and their 20 numbers at once. Keep its units, and find the best
# numbers by least squares (`numpy.linalg.lstsq`). How much does the test error fall? Does PCA gain as well?
