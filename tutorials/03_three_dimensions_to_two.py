"""Can two coordinates describe points in three dimensions?

The code of an autoencoder is a vector, called the latent vector or latent code. Latent means hidden. The data do not
contain the code, and the encoder computes it. With two numbers, you can draw each code as a point of a plane. The two
numbers are coordinates on this map. The set of all codes is the latent space.

      point              latent code             reconstruction
    x (n, 3) ---------> z (n, 2) ---------> x' (n, 3)
             encoder             decoder

    linear:   3 -> 2 -> 3
    deep:     3 -> 64 -> 64 -> 2 -> 64 -> 64 -> 3     with the activation GELU after each layer of 64

The layer with the fewest numbers is the bottleneck. Without a bottleneck, with three numbers, the encoder could copy
its input. The error would be 0, and the code would say nothing new. Two numbers force the encoder to choose.

The baseline is PCA with the same code size. PCA projects the points onto the plane with the lowest training error. A
linear autoencoder should find this plane (Baldi & Hornik 1989). A deep autoencoder can bend its plane to a curved
surface (Kramer 1991).

    python tutorials/03_three_dimensions_to_two.py --quick    ten seconds
    python tutorials/03_three_dimensions_to_two.py            the same with more epochs, half a minute
"""

import numpy as np
from common import finish, pca, pca_reconstruct, settings, verdict

import scratchae as sa
from scratchae import data, optim, plotting
from scratchae.plotting import style

POINTS = 1000  # for training, and as many for the test
TURNS = 3.0  # of the helix
HIDDEN = (64, 64)
BATCH_SIZE = 50
LR = {"linear": 1e-2, "deep": 5e-3}  # the first rates; the rates fall to 0 along half a cosine
EPOCHS = {"linear": 100, "deep": 300}  # 20 steps each
QUICK_EPOCHS = {"linear": 100, "deep": 100}

args = settings(__file__, __doc__, uses_data=False)


def train(kind, points, code_size):
    """Train a linear or a deep autoencoder on `points` (N, 3)."""
    sa.manual_seed(0)
    sizes = (3, code_size) if kind == "linear" else (3, *HIDDEN, code_size)
    model = sa.Autoencoder.dense(sizes, activation=None if kind == "linear" else "gelu",
                                 output=None, loss="mse")  # fmt: skip
    optimizer = optim.Adam(model.parameters(), lr=LR[kind])
    epochs = (QUICK_EPOCHS if args.quick else EPOCHS)[kind]
    trainer = sa.Trainer(model, optimizer, [sa.Schedule(optim.CosineLR(optimizer, epochs))])
    trainer.fit(points, epochs=epochs, batch_size=BATCH_SIZE, progress=False)
    return model


def pca_error(training_points, test_points, code_size):
    mean, directions = pca(training_points)
    return float(np.mean((test_points - pca_reconstruct(test_points, mean, directions[:code_size])) ** 2))


# 1. The first data are a cloud in the shape of a tilted disc. The standard deviation is 1 and 0.5 along the disc, and
#    0.1 across the disc. So a plane is a good map. PCA computes the plane directly. The linear autoencoder starts from
#    random weights.
#
# Predict first: does the linear autoencoder find the same plane, and the same two axes in this plane? Choose (a) the
# same plane and the same axes, or (b) the same plane and other axes, or (c) another plane with the same error.
cloud, along = data.tilted_gaussian(POINTS)
test_cloud, _ = data.tilted_gaussian(POINTS, seed=1)
linear = train("linear", cloud, 2)
cloud_pca = pca_error(cloud, test_cloud, 2)
cloud_linear = float(linear.reconstruction_error(test_cloud).mean())
print("The tilted cloud, a code of 2 numbers")
ratio = cloud_linear / cloud_pca
print(f"  test MSE: PCA {cloud_pca:.6f}, linear autoencoder {cloud_linear:.6f}, {ratio:.2%} of PCA's")

#    All outputs of the decoder lie in the plane of the columns of its weight. We make these columns orthonormal (QR),
#    and keep the part of the columns outside PCA's plane. The largest singular value of this part is the sine of the
#    largest angle between both planes.
plane = pca(cloud)[1][:2]
columns = np.linalg.qr(linear.decoder[0].weight.numpy().astype(np.float64))[0]
sine = float(np.linalg.norm(columns - plane.T @ (plane @ columns), ord=2))
axes = plane @ linear.decoder[0].weight.numpy()  # each column: a unit of the code, in PCA's coordinates
print(f"  angle between both planes: {np.degrees(np.arcsin(sine)):.3f} degrees")
print(f"  the decoder's axes in PCA's coordinates: {np.round(axes.T, 2).tolist()}")
pairs = {"cloud, seen from its edge": cloud, "reconstruction: linear, 2 numbers": linear.reconstruct(cloud)}
figure = plotting.points_3d(pairs, along, colour_name="position on the long axis")
for ax in figure.axes[:2]:
    ax.view_init(elev=19.5, azim=135)
style.finish(figure, args.out / "cloud.png")

# What you should see, and why: answer (b). The error is 0.2% above PCA's, and the angle is 0.05 degrees, in both runs.
# The picture shows the cloud before and after. Only the thickness of the disc is missing. But the decoder's axes are
# turned by about 35 degrees in this plane. If the encoder turns the code, the decoder can turn the code back. The error
# stays the same. So a single number of a code has no fixed meaning. The position among the other codes has a meaning.

# 2. The second data are a helix, a curve that climbs in three turns. The point with the parameter t is
#    (cos t, sin t, t / (3 pi) - 1). One number t describes each point, so the curve has only one dimension. But no
#    plane contains the curve.
#
# Predict first: PCA keeps two directions of the helix and drops one. Which one does PCA drop? Choose (a) mainly the
# height, or (b) mainly a horizontal direction, or (c) none, because the helix has only one dimension.
helix, t = data.helix(POINTS, TURNS)
test_helix, _ = data.helix(POINTS, TURNS, seed=1)
directions = pca(helix)[1]
print("The helix")
print(f"  variance in PCA's directions: {np.var(helix @ directions.T, axis=0).round(3).tolist()}")
print(f"  direction dropped by PCA, in x, y, z: {directions[2].round(2).tolist()}")

# What you should see, and why: answer (a). PCA drops the direction with the smallest variance, 0.283. This direction is
# mainly the height z, with a weight of 0.92. All reconstructions then lie in one tilted plane.

# 3. Now the deep autoencoder, with the same two numbers, and then with only one number. PCA's error is about 0.097 with
#    two numbers and 0.267 with one number.
#
# Predict first: which test MSE has the deep autoencoder with two numbers? Choose (a) PCA's, because the code has the
# same size, or (b) about half of PCA's, or (c) less than a hundredth. And with one number, is the error below 0.097?
optimum = {size: pca_error(helix, test_helix, size) for size in (1, 2)}
models = {"linear, 2 numbers": train("linear", helix, 2), "deep, 2 numbers": train("deep", helix, 2),
          "deep, 1 number": train("deep", helix, 1)}  # fmt: skip
errors = {name: float(model.reconstruction_error(test_helix).mean()) for name, model in models.items()}
for name, error in {"PCA, 1 number": optimum[1], "PCA, 2 numbers": optimum[2], **errors}.items():
    print(f"  {name:18} test MSE {error:.6f}, {error / optimum[2]:8.3%} of PCA's with 2 numbers")

# What you should see, and why: answer (c). The quick run ends at 0.000007, 0.008% of PCA's error. The codes form a
# spiral. The angle on the map is the angle on the helix, and the distance from the middle is the height. The decoder
# bends the plane of the codes to a curved surface, and the helix lies on this surface.
#
# With one number, the test MSE is 0.079. This error is 30% of PCA's with one number. One number could be enough, for
# example the height. But training does not find this code. On a line, two pieces of the curve cannot pass each other
# without equal codes. So most pieces stay in the order of the random start.

# 4. The picture shows the helix and three reconstructions. The colour is the parameter t. Below each reconstruction,
#    you see its latent codes. Compare the codes of the three turns. Do different colours meet in one place?
figure = style.new_figure(15, 7)
sets = {"helix": helix, **{name: model.reconstruct(helix) for name, model in models.items()}}
for i, (name, points) in enumerate(sets.items()):
    ax = figure.add_subplot(2, 4, i + 1, projection="3d")
    dots = ax.scatter(*points.T, c=t, s=5, cmap="viridis")
    for which in "xyz":
        ax.set(**{f"{which}lim": (-1, 1), f"{which}ticks": (-0.5, 0, 0.5), f"{which}label": which})
        getattr(ax, f"{which}axis").set_pane_color((1, 1, 1, 0))
    ax.set_box_aspect((1, 1, 0.8), zoom=1.15)
    ax.set_title(name if i == 0 else f"reconstruction: {name}", fontsize=12, color=style.INK)
ax = style.add_axes(figure, (2, 4, 5), "test MSE", "", "errors on the helix")
bars = {"PCA, 1 number": optimum[1], "PCA, 2 numbers": optimum[2], **errors}
ax.bar_label(ax.barh(list(bars), list(bars.values()), color=style.PALETTE[0]), fmt=" {:.6f}", fontsize=9)
ax.set_xlim(0, 1.4 * optimum[1])
ax.invert_yaxis()
ax.grid(visible=False)
for i, (name, model) in enumerate(models.items()):
    codes = model.transform(helix)
    flat = codes.shape[1] == 2
    ax = style.add_axes(figure, (2, 4, i + 6), "code, number 1" if flat else "parameter t of the curve",
                        "code, number 2" if flat else "code, the only number", f"codes: {name}")  # fmt: skip
    ax.scatter(*(codes.T if flat else (t, codes[:, 0])), c=t, s=5, cmap="viridis")
    ax.set_aspect("equal" if flat else "auto", adjustable="datalim")
style.tidy_bar(figure.colorbar(dots, ax=figure.axes, aspect=40, shrink=0.8), "parameter t of the curve")
style.finish(figure, args.out / "answer.png")
print(f"pictures: {args.out / 'answer.png'}, {args.out / 'cloud.png'}")

verdict("tilted cloud, linear: sine of the angle to PCA's plane", 0.01, sine)
verdict("tilted cloud, linear: test MSE over PCA's", 1.01, ratio)
verdict("helix, linear: test MSE over PCA's", 1.01, errors["linear, 2 numbers"] / optimum[2])
verdict("helix, deep, 2 numbers: test MSE over PCA's", 0.01, errors["deep, 2 numbers"] / optimum[2])
verdict("helix, deep, 1 number: test MSE over PCA's", 0.5, errors["deep, 1 number"] / optimum[1])
finish()

# Exercises. The solutions are in tutorials/solutions/03_three_dimensions_to_two.py.
#
# Change a constant: set TURNS to 1. Is one number now enough for the deep autoencoder? Predict the error first.
#
# Explain a number: multiply all codes of the cloud by 10, and change the decoder so that the reconstructions stay the
# same. Why do the axes of step 1 differ from PCA's axes at nearly the same error?
#
# Write code: the linear autoencoder loses the height of the helix. Is the linear encoder or the linear decoder the
# reason? Train a deep network from PCA's two numbers to the three coordinates, and measure its test MSE.
