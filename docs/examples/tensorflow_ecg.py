"""The detector of abnormal heartbeats in TensorFlow's tutorial on autoencoders: 140 points, a code of 8 numbers."""

import numpy as np

import scratchae as sa
from scratchae import optim, plotting

# place, width and height of the waves P, Q, R, S, T
NORMAL = np.array([(0.20, 0.03, 0.2), (0.36, 0.015, -0.2), (0.40, 0.015, 1.2), (0.44, 0.015, -0.4), (0.65, 0.05, 0.4)])
VENTRICULAR = np.array([(0.20, 0.03, 0.0), (0.36, 0.03, 0.0), (0.40, 0.05, 1.0), (0.50, 0.05, -0.5), (0.7, 0.06, -0.4)])


def heartbeats(abnormal, rng):
    """(n, 140): five waves that share the phase and pace of a beat. An abnormal beat is more or less ventricular."""
    n, t = len(abnormal), np.linspace(0, 1, 140)
    share = (abnormal * rng.uniform(0.2, 1, n))[:, None, None]
    place, width, height = np.moveaxis((1 - share) * NORMAL + share * VENTRICULAR, 2, 0)[..., None]
    place = place * rng.normal(1, 0.03, (n, 1, 1)) + rng.normal(0, 0.01, (n, 1, 1))
    height = height * rng.normal(1, 0.1, height.shape)
    beats = (height * np.exp(-(((t - place) / width) ** 2) / 2)).sum(axis=1)
    return beats + 0.03 * rng.standard_normal(beats.shape)


rng = np.random.default_rng(0)
abnormal = rng.random(5000) < 0.42
data = heartbeats(abnormal, rng)
train_data, test_data, train_abnormal, test_abnormal = data[:4000], data[4000:], abnormal[:4000], abnormal[4000:]
low, high = train_data.min(), train_data.max()
train_data, test_data = (((part - low) / (high - low)).astype("float32") for part in (train_data, test_data))
normal_train_data = train_data[~train_abnormal]
normal_test_data, abnormal_test_data = test_data[~test_abnormal], test_data[test_abnormal]
plotting.series_rows({"normal": normal_test_data[:4], "abnormal": abnormal_test_data[:4]}, "ecg_beats.png")

sa.manual_seed(0)
autoencoder = sa.Autoencoder.dense((140, 32, 16, 8), code_activation="relu", output="sigmoid", loss="mae")
trainer = sa.Trainer(autoencoder, optim.Adam(autoencoder.parameters(), lr=1e-3))


def errors(beats):
    return np.abs(autoencoder.reconstruct(beats) - beats).mean(axis=1)


for epochs, batch_size in ((20, 512), (100, 64)):  # as in the tutorial, then longer
    history = trainer.fit(normal_train_data, test_data, epochs, batch_size, progress=False)
    train_errors, normal, abnormal = map(errors, (normal_train_data, normal_test_data, abnormal_test_data))
    threshold = train_errors.mean() + train_errors.std()
    alarms, false_alarms = abnormal > threshold, normal > threshold
    print(f"{epochs} epochs in batches of {batch_size}: threshold {threshold:.4f}")
    print(f"  accuracy {(alarms.sum() + (~false_alarms).sum()) / len(test_data):.3f}")
    print(f"  precision {alarms.sum() / (alarms.sum() + false_alarms.sum()):.3f}, recall {alarms.mean():.3f}")
    print(f"  AUROC {(abnormal[:, None] > normal).mean():.3f}")

history.plot("ecg_loss.png")
for name, beats in (("normal", normal_test_data), ("abnormal", abnormal_test_data)):
    plotting.reconstructions(beats, autoencoder.reconstruct(beats), f"ecg_{name}.png", n=4, series=True)
plotting.score_histogram({"normal": normal, "abnormal": abnormal}, threshold, "ecg_errors.png")
