"""Can two coordinates describe points in three dimensions?

The encoder of an autoencoder maps each input to a vector, the latent vector or latent code. Latent means hidden. The
data do not contain the latent code, and the encoder computes this code. Two numbers are the coordinates of a point on a
plane, as on a map. So you can draw a code of two numbers. The plane of all codes is called the latent space.

      point              latent code             reconstruction
    x (n, 3) ---------> z (n, 2) ---------> x' (n, 3)
             encoder             decoder

    linear:   3 -> 2 -> 3
    deep:     3 -> 64 -> 64 -> 2 -> 64 -> 64 -> 3     after each 64 the activation GELU, a smooth ReLU

GELU is a smooth activation, close to max(0, a). The narrow layer in the middle is the bottleneck. With a code of three
numbers, the autoencoder could copy its input. The error would be 0, but a copy is useless. With two numbers, a small
error needs a rule in the data, such as a common plane.

The baseline is PCA with the same code size. PCA projects the points onto the plane with the lowest training error. A
linear autoencoder should find this plane (Baldi & Hornik 1989). The decoder of a deep autoencoder can bend the plane of
codes to a curved surface (Kramer 1991). The script compares no settings, so we need no validation points.

    python tutorials/03_three_dimensions_to_two.py --quick    10 to 25 seconds
    python tutorials/03_three_dimensions_to_two.py            the same with more epochs, 15 to 30 seconds
"""

import numpy as np
from common import finish, pca, pca_reconstruct, settings, verdict

import scratchae as sa
from scratchae import data, optim, plotting
from scratchae.plotting import style

POINTS = 1000  # for training, and as many for the test
TURNS = 3.0  # of the helix
HIDDEN = (64, 64)
BATCH_SIZE = 20
LR = 1e-2  # the first rate; the rate falls to 0 along half a cosine
EPOCHS = 100  # 50 steps each
QUICK_EPOCHS = 60

args = settings(__file__, __doc__, uses_data=False)


def train(kind, points, code_size):
    """Train a linear or a deep autoencoder on `points` (N, 3)."""
    sa.manual_seed(0)
    sizes = (3, code_size) if kind == "linear" else (3, *HIDDEN, code_size)
    model = sa.Autoencoder.dense(sizes, activation=None if kind == "linear" else "gelu",
                                 output=None, loss="mse")  # fmt: skip
    optimizer = optim.Adam(model.parameters(), lr=LR)
    epochs = QUICK_EPOCHS if args.quick else EPOCHS
    trainer = sa.Trainer(model, optimizer, [sa.Schedule(optim.CosineLR(optimizer, epochs))])
    trainer.fit(points, epochs=epochs, batch_size=BATCH_SIZE, progress=False)
    return model


def pca_error(training_points, test_points, code_size):
    mean, directions = pca(training_points)
    return float(np.mean((test_points - pca_reconstruct(test_points, mean, directions[:code_size])) ** 2))


# 1. The first data are a cloud of points, nearly a flat disc. The standard deviation is 1 along the disc's long axis,
#    0.5 along its short axis, and 0.1 through its thickness. PCA computes the plane of the disc directly. The linear
#    autoencoder starts from random weights. Its learning rate falls from 0.01 to 0 along half a cosine. Long steps at
#    the start save time, and short steps at the end do not jump over the minimum.

# Predict first: the decoder maps all codes to a plane in space. Does the linear autoencoder find PCA's plane, and PCA's
# axes in this plane? Choose (a) plane and axes, or (b) the plane, but other axes, or (c) neither.
cloud, along = data.tilted_gaussian(POINTS)
test_cloud, _ = data.tilted_gaussian(POINTS, seed=1)
linear = train("linear", cloud, 2)
cloud_pca = pca_error(cloud, test_cloud, 2)
cloud_linear = float(linear.reconstruction_error(test_cloud).mean())
print("The tilted cloud, a code of 2 numbers")
ratio = cloud_linear / cloud_pca
print(f"  test MSE: PCA {cloud_pca:.6f}, linear autoencoder {cloud_linear:.6f}, {ratio:.2%} of PCA's")

# 2. Are the two planes the same? The decoder computes x' = V z + c, so the two columns of V span its plane. We make
#    these columns orthonormal (QR), and compute their part outside PCA's plane. The largest singular value of this part
#    is the sine of the angle between the planes.
plane = pca(cloud)[1][:2]
columns = np.linalg.qr(linear.decoder[0].weight.numpy().astype(np.float64))[0]
sine = float(np.linalg.norm(columns - plane.T @ (plane @ columns), ord=2))
axes = plane @ linear.decoder[0].weight.numpy()  # column i: the axis of code number i, in PCA's coordinates
print(f"  angle between both planes: {np.degrees(np.arcsin(sine)):.3f} degrees")
print(f"  the decoder's axes in PCA's coordinates: {np.round(axes.T, 2).tolist()}")
pairs = {"cloud, seen from its edge": cloud, "reconstruction: linear, 2 numbers": linear.reconstruct(cloud)}
figure = plotting.points_3d(pairs, along, colour_name="position on the long axis")
for ax in figure.axes[:2]:
    ax.view_init(elev=19.5, azim=135)
    ax.set(xlabel="x1", ylabel="x2", zlabel="x3")
style.finish(figure, args.out / "cloud.png")

# What you should see, and why: answer (b). In the quick run, the test MSE is 0.03% above PCA's, and the angle between
# the planes is 0.02 degrees. The decoder's axes are turned by about 35 degrees in this plane. If the encoder turns the
# code, the decoder can turn the code back, and the error stays the same. So one number of a code has no meaning without
# the other number. But points near each other still get similar codes. In the picture, only the thickness of the disc
# is missing from the reconstruction.

# 3. The second data are a helix, a curve that climbs in three turns. The parameter t goes from 0 to 6 pi:
#
#        x1 = cos t,   x2 = sin t,   x3 = t / (3 pi) - 1
#
#    One number t describes each point, so the curve has only one dimension. But no plane contains the curve. The three
#    coordinates of a point x are x1, x2 and the height x3.

# Predict first: PCA keeps two directions of space and drops the third. Which direction does PCA drop? Choose (a) mainly
# the height, or (b) mainly a horizontal direction, or (c) exactly half of each.
helix, t = data.helix(POINTS, TURNS)
test_helix, _ = data.helix(POINTS, TURNS, seed=1)
directions = pca(helix)[1]
print("The helix")
print(f"  variance in PCA's directions: {np.var(helix @ directions.T, axis=0).round(3).tolist()}")
print(f"  direction dropped by PCA, in x1, x2, x3: {directions[2].round(2).tolist()}")

# What you should see, and why: answer (a). PCA drops the direction with the smallest variance, 0.283. This direction is
# mainly the height x3, with the coordinate 0.92. So PCA's reconstructions of all three turns lie in one tilted plane.

# 4. The deep autoencoder gets two numbers first, and then only one. PCA's test MSE is 0.097 with two numbers and 0.267
#    with one number.

# Predict first: which test MSE has the deep autoencoder with two numbers? Choose (a) the same as PCA, because the code
# has the same size, or (b) about half of PCA's, or (c) less than a hundredth of PCA's. And is one number enough?
optimum = {size: pca_error(helix, test_helix, size) for size in (1, 2)}
models = {"linear, 2 numbers": train("linear", helix, 2), "deep, 2 numbers": train("deep", helix, 2),
          "deep, 1 number": train("deep", helix, 1)}  # fmt: skip
errors = {name: float(model.reconstruction_error(test_helix).mean()) for name, model in models.items()}
for name, error in {"PCA, 1 number": optimum[1], "PCA, 2 numbers": optimum[2], **errors}.items():
    print(f"  {name:18} test MSE {error:.6f}, {error / optimum[2]:8.3%} of PCA's with 2 numbers")

# What you should see, and why: answer (c). The test MSE with two numbers is 0.000003 in the quick run, less than a
# ten-thousandth of PCA's. The codes form a spiral. Each place of the spiral belongs to one place of the helix. The
# decoder bends the plane of codes to a curved surface, and the helix lies on this surface. We tried nine random starts
# with the settings of the quick run. Eight ended below 0.00001, and one at 0.0005.
#
# One number is not enough here. The test MSE with one number is 0.070 in the quick run and 0.053 in the longer run.
# These values are 26% and 20% of PCA's with one number. A good code of one number exists, for example the height. But
# training does not find this code. The random start gives equal codes to different pieces of the curve. On a line, the
# codes of two pieces must meet before their order can change. At each meeting, the decoder cannot separate the two
# pieces, and the error is large.

# 5. Can two coordinates describe points in three dimensions? Yes, if all points lie near one surface. A linear
#    autoencoder needs a flat surface, and a deep autoencoder also finds a curved surface. The picture shows the helix
#    and three reconstructions, with the codes below. The colour is the parameter t. In the linear code, the three turns
#    cross. In the deep code, no two colours meet in one place.
figure = style.new_figure(15, 7)
sets = {"helix": helix, **{name: model.reconstruct(helix) for name, model in models.items()}}
for i, (name, points) in enumerate(sets.items()):
    ax = figure.add_subplot(2, 4, i + 1, projection="3d")
    dots = ax.scatter(*points.T, c=t, s=5, cmap="viridis")
    for number, which in enumerate("xyz", start=1):
        ax.set(**{f"{which}lim": (-1, 1), f"{which}ticks": (-0.5, 0, 0.5), f"{which}label": f"x{number}"})
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
# Change a constant: set TURNS to 1. Is one number now enough for the deep autoencoder? Predict the test MSE first.
#
# Explain a number: the axes of part 2 differ from PCA's axes, but the error is nearly the same. How must the decoder
# change if the encoder multiplies all codes by 10, or turns all codes? Check your answer with NumPy.
#
# Write code: the linear autoencoder loses the height of the helix. Is the linear encoder the reason, or the linear
# decoder? Train a deep decoder from PCA's two numbers to the three coordinates, and measure its test MSE. Tutorial 0A
# has a training loop for `nn.Sequential`.
