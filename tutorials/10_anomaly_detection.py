"""Anomaly detection: an autoencoder cannot reconstruct images that are unlike its training images.

We train the autoencoder on normal data only. The narrow code then keeps the common features of normal images. An image
of another kind does not fit into this code, and its reconstruction error should be large (N. Japkowicz, C. Myers, M.
Gluck, IJCAI 1995). Neither the training nor the threshold needs anomalies. The baseline is PCA, which does the same
with a plane.

    python tutorials/10_anomaly_detection.py                 the embedded sample, a minute or two
    python tutorials/10_anomaly_detection.py --data full     all images, a few minutes
"""

import sys
from functools import partial

import numpy as np
from common import finish, load, pca, pca_reconstruct, settings, verdict
from matplotlib.figure import Figure

import scratchae as sa
from scratchae import data, optim, plotting

SIZES = (784, 256, 32)
EPOCHS = {"quick": 30, "sample": 60, "full": 20}  # on one digit: about 800, 1,700 and 1,800 steps
EPOCHS_ALL = {"quick": 6, "sample": 20, "full": 10}  # on all digits, against clothes
BATCH_SIZE = {"quick": 16, "sample": 16, "full": 64}
LR = {"quick": 3e-3, "sample": 1e-3, "full": 1e-3}
HELD_OUT = 0.1  # share of the normal training images, for the threshold
QUANTILES = (0.95, 0.99)
COMPONENTS = (8, 16, 32, 64)  # of PCA
SHOWN = 8  # the digit in the pictures
LEAD = {"quick": -0.01, "sample": -0.005, "full": 0.0}  # target: mean AUROC minus PCA's best, one digit against nine

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
train_images, train_labels, test_images, test_labels = load(args.data, data.mnist, data.mnist_sample)
_, _, clothes, _ = load(args.data, data.fashion_mnist, data.fashion_mnist_sample)


# 1. How well does a score separate anomalies from normal images, at all thresholds? The ROC curve has a point for every
#    threshold. The point shows the share of normal images at or above the threshold (false alarms). The point also
#    shows the share of anomalies (detections). The area under the curve is a probability: a random anomaly scores
#    higher than a random normal image. Ties count half (Mann & Whitney 1947). A sort is enough to compute this area.
def roc(normal, anomalous):
    thresholds = np.unique(np.concatenate([normal, anomalous]))[::-1]
    shares = [1 - np.searchsorted(np.sort(scores), thresholds) / len(scores) for scores in (normal, anomalous)]
    return [np.concatenate([[0.0], share]) for share in shares]


def auroc(normal, anomalous):
    ordered = np.sort(normal)
    fewer, no_more = (np.searchsorted(ordered, anomalous, side) for side in ("left", "right"))
    return float((fewer + no_more).mean() / 2 / len(normal))


# 2. The score. The plain score is the squared error of the reconstruction. But bold strokes leave larger errors than
#    thin strokes, whatever digit they form. Among bold 8s, a thin 1 would pass, and a bold 8 would cause an alarm. We
#    therefore divide the error by the length of the image as a vector. The error is then relative to the amount of ink.
def squared_error(images, reconstructed):
    return ((reconstructed - images).reshape(len(images), -1) ** 2).mean(axis=1)


def per_ink(images, reconstructed):
    return squared_error(images, reconstructed) / np.sqrt(squared_error(images, 0) + 1e-12)


SCORES = {"squared error": squared_error, "error per ink": per_ink}


# 3. The detectors are functions from images to reconstructions, fitted to normal images.
def autoencoder(images, epochs):
    sa.manual_seed(0)
    model = sa.Autoencoder.dense(SIZES, activation="relu", output="sigmoid", loss="mse")
    optimizer = optim.Adam(model.parameters(), lr=LR[run])
    trainer = sa.Trainer(model, optimizer, [sa.Schedule(optim.CosineLR(optimizer, epochs))])
    trainer.fit(images, epochs=epochs, batch_size=BATCH_SIZE[run], progress=False)
    return model.reconstruct


def detectors(images, epochs):
    mean, directions = pca(images)
    planes = {f"PCA-{k}": partial(pca_reconstruct, mean=mean, directions=directions[:k]) for k in COMPONENTS}
    return {"autoencoder": autoencoder(images, epochs), **planes}


def experiment(title, normal, normal_test, anomalies, epochs):
    """Print a line of the table. Return {(score, detector): (held out, normal, anomalous)} and the reconstruction."""
    n_held_out = int(HELD_OUT * len(normal))
    if not n_held_out or not len(normal_test) or not len(anomalies):
        sys.exit(
            f"{title}: {len(normal)} normal training images, {len(normal_test)} normal and {len(anomalies)} anomalous "
            f"test images; expected at least {1 / HELD_OUT:.0f}, 1 and 1: take a larger set, or a class that it has"
        )
    held_out, fit_on = normal[:n_held_out], normal[n_held_out:]
    fitted = detectors(fit_on, epochs)
    pairs = {name: [(x, f(x)) for x in (held_out, normal_test, anomalies)] for name, f in fitted.items()}
    scores = {(s, name): [measure(*pair) for pair in pairs[name]] for s, measure in SCORES.items() for name in pairs}
    print(f"{title:>16}", *(f"{auroc(*s[1:]):8.4f}" for s in scores.values()), flush=True)
    return scores, fitted["autoencoder"]


# 4. One digit is normal, and nine digits are anomalies. We repeat this for each of the ten digits, with the same
#    settings. The choice of the settings did not use the test set. We used images from the end of the training set and
#    the digits 2, 4, 5 and 8. There, a wide hidden layer and the error per ink helped. Denoising, smaller codes and
#    small convolutions did not help.
header = [f"{name:>8}" for name in ("ours", *(f"PCA-{k}" for k in COMPONENTS))]
print(f"AUROC{'':12}" + "".join(f"{score:^45}" for score in SCORES))
print(f"{'normal':>16}", *header, *header)
results = {}
for digit in range(10):
    is_normal = test_labels == digit
    normal, anomalies = test_images[is_normal], test_images[~is_normal]
    training = train_images[train_labels == digit]
    results[digit], reconstruct = experiment(f"digit {digit}", training, normal, anomalies, EPOCHS[run])
    if digit == SHOWN:
        shown = normal, anomalies, reconstruct
means = {key: float(np.mean([auroc(*results[d][key][1:]) for d in results])) for key in results[0]}
print(f"{'mean of ten':>16}", *(f"{area:8.4f}" for area in means.values()))

# 5. All digits are normal, and clothes are anomalies. This task should be easier, also for PCA.
fashion, _ = experiment("all, clothes", train_images, test_images, clothes, EPOCHS_ALL[run])

# 6. A detector in use needs a threshold, but has no anomalies to choose the threshold. A quantile of normal scores
#    promises a rate of false alarms. At 95%, one normal image in twenty should cause a false alarm. The scores must
#    come from held-out images. The model was fitted to its training images, so the scores of these images are too
#    small. The threshold then determines the rate of detections.
chosen = "error per ink", "autoencoder"
print("\nthresholds from held-out normal images, autoencoder, error per ink")
print(f"{'normal':>16}", *(f"{f'at {q:.0%}: false alarms':>24} {'detected':>9}" for q in QUANTILES))
rates = []
for title, scores in [*((f"digit {d}", r) for d, r in results.items()), ("all, clothes", fashion)]:
    held_out, normal, anomalies = scores[chosen]
    thresholds = [np.quantile(held_out, q) for q in QUANTILES]
    rates.append([(np.mean(normal > t), np.mean(anomalies > t)) for t in thresholds])
    print(f"{title:>16}", *(f"{alarms:24.1%} {detected:9.1%}" for alarms, detected in rates[-1]))
alarms = np.mean([at_95[0] for at_95, _ in rates[:10]])

# 7. Draw the ROC curves, the scores, and the images with extreme scores.
curves = {f"{d}, AUROC {auroc(*scores[chosen][1:]):.3f}": roc(*scores[chosen][1:]) for d, scores in results.items()}
curves[f"clothes, AUROC {auroc(*fashion[chosen][1:]):.3f}"] = roc(*fashion[chosen][1:])
plotting.roc_curves(curves, args.out / "roc.png", "One digit against nine, and all digits against clothes")

held_out, normal_scores, anomaly_scores = results[SHOWN][chosen]
figure = Figure(figsize=(7, 4), layout="constrained")
axes = figure.subplots()
bins = np.linspace(0, np.quantile(anomaly_scores, 0.995), 60)
axes.hist(normal_scores, bins, density=True, alpha=0.6, color=plotting.PALETTE[0], label=f"test images of {SHOWN}")
axes.hist(anomaly_scores, bins, density=True, alpha=0.6, color=plotting.PALETTE[1], label="all other test images")
for q, style in zip(QUANTILES, (":", "--"), strict=True):
    axes.axvline(np.quantile(held_out, q), color="black", linestyle=style, label=f"{q:.0%} of the held-out {SHOWN}s")
axes.set(xlabel="squared error per ink", ylabel="density", title=f"{SHOWN} is normal")
axes.legend(frameon=False)
figure.savefig(args.out / "scores.png", dpi=150)

normal, anomalies, reconstruct = shown
ends = {}
for name, images, s in ((f"{SHOWN}s", normal, normal_scores), ("others", anomalies, anomaly_scores)):
    for end, order in (("lowest", np.argsort(s)), ("highest", np.argsort(-s))):
        ends[f"{name}, {end} scores"] = images[order[:10]]
        ends[f"{name}, {end}, reconstructed"] = reconstruct(images[order[:10]])
plotting.image_rows(ends, args.out / "most_and_least.png")
print(f"pictures: {args.out}/roc.png, scores.png, most_and_least.png")

# 8. The baseline is PCA with its best number of components. We choose this number on the test set, in favour of PCA.
print()
for score in SCORES:
    best = max(means[score, f"PCA-{k}"] for k in COMPONENTS)
    result = means[score, "autoencoder"]
    print(f"{score}: autoencoder {result:.4f}, PCA's best {best:.4f}")
    verdict(f"mean AUROC of ten digits by {score}", best + LEAD[run], result, at_least=True)
areas = {name: auroc(*scores[1:]) for (score, name), scores in fashion.items() if score == "squared error"}
verdict("AUROC of clothes by squared error, above PCA-64", areas["PCA-64"], areas["autoencoder"], at_least=True)
verdict("mean false-alarm rate at the 95% threshold", 0.08, alarms)
finish()
