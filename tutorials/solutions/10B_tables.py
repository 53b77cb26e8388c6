"""Solutions of tutorial 10B, on the simulated plant.

python tutorials/solutions/10B_tables.py
"""

import sys
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import data, optim

sys.path.append(str(Path(__file__).parents[1]))
from plant import SENSORS, plant, with_faults

N, ROWS = len(SENSORS), 3000


def auroc(normal, anomalous):
    ordered = np.sort(normal)
    return float(sum(np.searchsorted(ordered, anomalous, s).mean() for s in ("left", "right")) / 2 / len(normal))


def trained(noise, epochs=6):
    """The columns, and a small autoencoder."""
    train = plant(20_000, 0, noise)
    columns = data.Columns.of(train)
    sa.manual_seed(0)
    model = sa.Autoencoder.dense((columns.width, 64, 64, 6), activation="gelu", output=None, loss="mse")
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    trainer = sa.Trainer(model, optimizer, [sa.Schedule(optim.CosineLR(optimizer, epochs))])
    trainer.fit(columns.encode(train), epochs=epochs, batch_size=128, progress=False)
    return columns, model


print("Change a constant")
# Detectors of relations lose. A relation is exact up to the noise, and a small break disappears in a larger noise. The
# z-score does not use relations, and stays at chance.
areas = {}
for noise in (0.02, 0.1):
    columns, model = trained(noise)
    test, (broken, _) = plant(ROWS, 2, noise), with_faults(ROWS, 2, noise)["lost heat"]
    errors = [columns.errors(table, model.reconstruct).sum(axis=1) for table in (test, broken)]
    z_scores = [abs(columns.encode(table)[:, :N]).max(axis=1) for table in (test, broken)]
    areas[noise] = auroc(*errors), auroc(*z_scores)
    print(f"noise {noise}: AUROC of lost heat: autoencoder {areas[noise][0]:.3f}, z-score {areas[noise][1]:.3f}")
assert areas[0.1][0] < areas[0.02][0] - 0.1
assert abs(areas[0.1][1] - areas[0.02][1]) < 0.05

print("\nExplain a number")
# The noise moves a row in 10 directions. The plant has 5 causes that are numbers, so its normal states form a surface
# of 5 dimensions. A move along the surface gives another normal state. The network copies this part of the noise, and
# removes only the other 5 directions. A plane in 10 dimensions shows the same.
rng = np.random.default_rng(0)
basis = np.linalg.qr(rng.standard_normal((10, 5)))[0]
noise = rng.standard_normal((10_000, 10))
left = noise - noise @ basis @ basis.T
print(f"share of the noise that a plane of 5 dimensions does not copy: {np.mean(left**2) / np.mean(noise**2):.2f}")
print(f"5 of 10 directions: MSE {0.02**2 * 5 / 12:.5f}, the long run 0.00018")
assert abs(np.mean(left**2) / np.mean(noise**2) - 0.5) < 0.02

print("\nWrite code")
# A wrong value spoils the code, and then all outputs are a little wrong. As a gap, the value cannot spoil the code.
columns, model = trained(0.02)
right = {"largest error": [], "as a gap": []}
for kind in ("stuck", "drift"):
    table, faulty = with_faults(ROWS, 2)[kind]
    x = columns.encode(table)
    right["largest error"].append(((model.reconstruct(x) - x)[:, :N] ** 2).argmax(axis=1) == faulty)
    left_over = np.empty((ROWS, N))
    for i in range(N):
        features = x.copy()
        features[:, i] = 0
        for _ in range(20):
            features[:, i] = model.reconstruct(features)[:, i]
        squares = (model.reconstruct(features) - features) ** 2
        left_over[:, i] = np.delete(squares, i, axis=1).sum(axis=1)
    right["as a gap"].append(left_over.argmin(axis=1) == faulty)
shares = {name: np.mean(found) for name, found in right.items()}
print("right sensor:", ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))
assert shares["as a gap"] > shares["largest error"] + 0.05
