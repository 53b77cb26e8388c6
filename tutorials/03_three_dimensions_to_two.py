"""From three dimensions to two and back: you can see the parts that a code keeps and drops.

A flat cloud has a best plane. A linear autoencoder should find this plane, the plane of principal component analysis
(Baldi & Hornik 1989). A helix has no such plane. On any plane, parts of the curve lie on top of each other or lose
their height. But the curve itself has only one dimension. A deep autoencoder can bend its code along the curve (Kramer
1991: "nonlinear principal component analysis").

    python tutorials/03_three_dimensions_to_two.py --quick    seconds
    python tutorials/03_three_dimensions_to_two.py            the same with more epochs, a quarter of a minute
"""

import numpy as np
from common import finish, pca, pca_reconstruct, settings, verdict

import scratchae as sa
from scratchae import data, optim, plotting

POINTS = 1000
HIDDEN = (64, 64)
BATCH_SIZE = 50
LR = {"linear": 1e-2, "deep": 5e-3}  # the first rates; the rates fall to 0 along half a cosine
EPOCHS = {"linear": 100, "deep": 300}  # 20 steps each
QUICK_EPOCHS = {"linear": 100, "deep": 100}
SINE_TARGET = 0.01  # sine of the angle between the linear autoencoder's plane and PCA's
LINEAR_TARGET = 1.01  # test MSE / PCA's test MSE
DEEP_TARGET = 0.01  # test MSE / PCA's test MSE

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


def report(name, error, optimum):
    print(f"  {name:28} test MSE {error:.6f}   {error / optimum:7.2%} of PCA's")


# 1. The cloud is a tilted disc. The spread is 1 and 0.5 along the plane of the disc, and 0.1 across this plane. In
#    three dimensions, PCA only needs to solve an eigenvalue problem. The linear autoencoder starts from random weights,
#    and should reach PCA's error.
cloud, along = data.tilted_gaussian(POINTS)
test_cloud, _ = data.tilted_gaussian(POINTS, seed=1)
mean, directions = pca(cloud)
plane = directions[:2]
cloud_pca = float(np.mean((test_cloud - pca_reconstruct(test_cloud, mean, plane)) ** 2))
linear = train("linear", cloud, 2)
cloud_linear = float(linear.reconstruction_error(test_cloud).mean())

#    Are the two planes the same? All outputs of the decoder lie in the plane of its weight's columns. We make these
#    columns orthonormal, and measure their part outside PCA's plane. The largest singular value of this part is the
#    sine of the largest angle between the planes. The axes inside the plane are free, because any rotated or sheared
#    code has the same error.
columns = np.linalg.qr(linear.decoder[0].weight.numpy().astype(np.float64))[0]
sine = float(np.linalg.norm(columns - plane.T @ (plane @ columns), ord=2))
print("The tilted cloud, 3 numbers to 2")
report("PCA", cloud_pca, cloud_pca)
report("linear autoencoder", cloud_linear, cloud_pca)
print(f"  angle between their planes   {np.degrees(np.arcsin(sine)):.3f} degrees, sine {sine:.5f}")
print(f"  code axes of the autoencoder, in PCA's: {np.round(plane @ columns, 2).tolist()}")
plotting.points_3d({"cloud": cloud, "through 2 numbers, linear": linear.reconstruct(cloud)}, along,
                   args.out / "cloud.png", "position on the long axis")  # fmt: skip

# 2. The helix has three turns. The linear code must drop a direction, so its error should equal PCA's. The deep code
#    should have a much smaller error.
helix, t = data.helix(POINTS)
test_helix, _ = data.helix(POINTS, seed=1)
mean, directions = pca(helix)
helix_pca = float(np.mean((test_helix - pca_reconstruct(test_helix, mean, directions[:2])) ** 2))
models = {
    "linear, 2 numbers": train("linear", helix, 2),
    "deep, 2 numbers": train("deep", helix, 2),
    # The curve has one parameter, so one number per point is enough in principle (for example the height). But pieces
    # of the curve cannot pass each other on a line. Most pieces stay in the order of the random start.
    "deep, 1 number": train("deep", helix, 1),
}
errors = {name: float(model.reconstruction_error(test_helix).mean()) for name, model in models.items()}
print("The helix")
report("PCA, 2 numbers", helix_pca, helix_pca)
for name, error in errors.items():
    report(name, error, helix_pca)

# 3. Draw the helix before and after, and the codes. The colour is the parameter of the curve.
plotting.points_3d({"helix": helix, **{name: model.reconstruct(helix) for name, model in models.items()}}, t,
                   args.out / "helix.png", "parameter t of the curve")  # fmt: skip
for kind in ("linear", "deep"):
    codes = models[f"{kind}, 2 numbers"].transform(helix)
    plotting.latent_scatter(codes, t, args.out / f"code_{kind}.png", f"The helix in the {kind} code", "parameter t")
order = np.argsort(t)
code = models["deep, 1 number"].transform(helix)[:, 0]
plotting.curves({"code": (t[order], code[order])}, args.out / "code_one_number.png", "parameter t of the curve",
                "code", "One number for the whole helix", markers=False)  # fmt: skip
print(f"pictures: {args.out}")

verdict("tilted cloud, linear: sine of the angle to PCA's plane", SINE_TARGET, sine)
verdict("tilted cloud, linear: test MSE over PCA's", LINEAR_TARGET, cloud_linear / cloud_pca)
verdict("helix, linear: test MSE over PCA's", LINEAR_TARGET, errors["linear, 2 numbers"] / helix_pca)
verdict("helix, deep, 2 numbers: test MSE over PCA's", DEEP_TARGET, errors["deep, 2 numbers"] / helix_pca)
finish()
