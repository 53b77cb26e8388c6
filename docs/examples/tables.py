"""A table with gaps and categories, in a pipeline of scikit-learn and on the command line."""

import contextlib
import csv
import io
import tempfile

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import scratchae as sa
from scratchae.__main__ import main as command_line
from scratchae.sklearn import AutoencoderOutlierDetector

ROWS, ANOMALIES, GAPS = 20_000, 400, 0.03

# table
rng = np.random.default_rng(0)


def noisy(x, share):
    return x * (1 + share * rng.standard_normal(ROWS))


machine, shift = rng.choice(["small", "medium", "large"], ROWS), rng.choice(["early", "late", "night"], ROWS)
size = np.select([machine == "small", machine == "medium"], [1.0, 1.6], 2.5)
load, wear, outside = rng.beta(2, 2, ROWS), rng.random(ROWS), rng.normal(12, 8, ROWS)
speed = noisy(900 + 1500 * load**0.7, 0.02)
power = noisy(size * (4 + 30 * load**1.5) * (1 + 0.3 * wear), 0.03)
current = noisy(power / (0.7 + 0.2 * load), 0.02)
flow = noisy(size * (2 + 10 * load), 0.04)
pressure = noisy(2 + 5 * (speed / 2400) ** 2 * (1 - 0.3 * wear), 0.03)
oil = 40 + 0.4 * outside + 25 * load + 12 * wear * load + rng.normal(0, 1, ROWS)
outlet = 0.8 * outside + 14 * power / (flow + 1) + rng.normal(0, 1, ROWS)
vibration = noisy(1 + 4 * wear**2 + 2 * (speed / 2400) ** 3, 0.06)
names = ["speed", "power", "current", "flow", "pressure", "outside", "oil", "outlet", "vibration"]
numbers = np.stack([speed, power, current, flow, pressure, outside, oil, outlet, vibration], axis=1)

# An anomaly has two values of other rows. Each value is usual. The relation to the other columns is not.
anomalous = np.isin(np.arange(ROWS), rng.choice(ROWS, ANOMALIES, replace=False))
broken = np.zeros(numbers.shape, bool)
for row in np.flatnonzero(anomalous):
    columns = rng.choice(len(names), 2, replace=False)
    numbers[row, columns] = numbers[rng.integers(ROWS, size=2), columns]
    broken[row, columns] = True
numbers[rng.random(numbers.shape) < GAPS] = np.nan
shift[rng.random(ROWS) < GAPS] = ""
gaps = np.isnan(numbers).any(axis=1) | (shift == "")

# pipeline
X = np.concatenate([numbers.astype(object), machine[:, None], shift[:, None]], axis=1)
y = np.where(anomalous, -1, 1)


def pipeline(detector, flags=False):
    medians = SimpleImputer(strategy="median", add_indicator=flags)
    prepare = make_column_transformer(
        (make_pipeline(medians, StandardScaler()), slice(0, 9)),
        (OneHotEncoder(sparse_output=False), slice(9, 11)),
    )
    return make_pipeline(prepare, detector)


class PCADetector(OutlierMixin, BaseEstimator):
    """Scores samples by the squared error of their reconstruction from principal components."""

    def __init__(self, n_components):
        self.n_components = n_components

    def fit(self, X, y=None):
        self.pca_ = PCA(self.n_components).fit(X)
        return self

    def decision_function(self, X):
        return -((self.pca_.inverse_transform(self.pca_.transform(X)) - X) ** 2).mean(axis=1)


detectors = {
    "IsolationForest": IsolationForest(random_state=0),
    **{f"PCA, {k} components": PCADetector(k) for k in (2, 4, 6, 8, 10)},
    **{f"autoencoder, code {k}": AutoencoderOutlierDetector(code_size=k, random_state=0) for k in (4, 8)},
}
models = {name: pipeline(detector) for name, detector in detectors.items()}
models["code 4, flags"] = pipeline(detectors["autoencoder, code 4"], flags=True)
folds = StratifiedKFold(3, shuffle=True, random_state=0)
for name, model in models.items():
    areas = cross_val_score(model, X, y, cv=folds, scoring="roc_auc")
    print(f"{name:20} AUROC {areas.mean():.3f}, folds from {areas.min():.3f} to {areas.max():.3f}")

# threshold
for share in ("auto", ANOMALIES / ROWS):
    detector = AutoencoderOutlierDetector(
        epochs=100, early_stopping=True, n_iter_no_change=3, contamination=share, random_state=0
    )
    fitted = pipeline(detector).fit(X)
    alarm = fitted.predict(X) == -1
    found = f"{alarm.sum()} alarms, {anomalous[alarm].sum()} of {ANOMALIES} anomalies"
    in_gaps = gaps[alarm & ~anomalous].mean()
    print(f"contamination={share}: {detector.n_iter_} epochs, {found}")
    print(f"  rows with gaps: {in_gaps:.0%} of the false alarms, {gaps.mean():.0%} of all rows")

# columns
errors = fitted[-1].feature_contributions(fitted[0].transform(X))
detected = anomalous & alarm
worst = errors[detected, : len(names)].argmax(axis=1)
right = broken[detected, worst].mean()
print(f"largest contribution: a broken column in {right:.0%} of {detected.sum()} anomalies")

# command line
def run(*arguments):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert command_line(arguments) == 0
    return printed.getvalue().splitlines()


columns = dict(zip(names, numbers.T, strict=True)) | {"machine": machine, "shift": shift, "label": y}
with tempfile.TemporaryDirectory() as folder:
    table, file = f"{folder}/table.csv", f"{folder}/model.safetensors"
    sa.data.write_table(table, columns)
    run("train", "--data", table, "--without", "label", "--out", file)
    lines = run("anomaly", file, table, table, "--quantile", "0.98")
    model = sa.load_model(file)
    scores = model.columns.errors(model.columns.load(table), model.reconstruct).sum(axis=1)
print("\n".join([*lines[:3], "...", *lines[10:15], "..."]))
rows = list(csv.DictReader(line for line in lines if line[0] != "#"))
area = roc_auc_score(anomalous, [float(row["error"]) for row in rows])
print(f"command line: AUROC {area:.3f}, in Python {roc_auc_score(anomalous, scores):.3f}")

# small table
data = load_breast_cancer()
malignant, benign = (np.flatnonzero(data.target == kind) for kind in (0, 1))
kept = np.concatenate([benign, malignant[:18]])
for name in ("IsolationForest", "PCA, 4 components", "autoencoder, code 4"):
    fitted = make_pipeline(StandardScaler(), detectors[name]).fit(data.data[kept])
    area = roc_auc_score(data.target[kept], fitted.decision_function(data.data[kept]))
    print(f"{name:20} AUROC {area:.3f} in {len(kept)} rows of 30 columns")
