"""Solutions of tutorial 03.

python tutorials/solutions/03_three_dimensions_to_two.py
"""

import sys
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import data, nn, optim
from scratchae import functional as F

sys.path.append(str(Path(__file__).parents[1]))
from common import pca, pca_reconstruct

EPOCHS, BATCH_SIZE = 60, 20


def pca_error(training_points, test_points, code_size):
    mean, directions = pca(training_points)
    return float(np.mean((test_points - pca_reconstruct(test_points, mean, directions[:code_size])) ** 2))


def trained(model, points, lr):
    optimizer = optim.Adam(model.parameters(), lr=lr)
    schedule = sa.Schedule(optim.CosineLR(optimizer, EPOCHS))
    sa.Trainer(model, optimizer, [schedule]).fit(points, epochs=EPOCHS, batch_size=BATCH_SIZE, progress=False)
    return model


print("Change a constant")
# On a single turn, the code can follow the curve from the start. No piece has to pass another piece.
for turns in (3.0, 1.0):
    helix, test_helix = data.helix(1000, turns)[0], data.helix(1000, turns, seed=1)[0]
    sa.manual_seed(0)
    model = sa.Autoencoder.dense((3, 64, 64, 1), activation="gelu", output=None, loss="mse")
    error = float(trained(model, helix, 1e-2).reconstruction_error(test_helix).mean())
    print(f"{turns:g} turns, 1 number: PCA {pca_error(helix, test_helix, 1):.6f}, deep autoencoder {error:.6f}")
    assert error < 1e-3 if turns == 1 else error > 0.01

print("\nExplain a number")
# Let A be an invertible matrix. If the code z becomes A z and the decoder's weight V becomes V A^-1, the output
# V A^-1 A z = V z is the same. A = 10 I multiplies by 10, and a rotation A turns the axes. So many codes have the same
# error. Gradient descent stops at a code that depends on the random start.
cloud = data.tilted_gaussian(1000)[0]
sa.manual_seed(0)
model = trained(sa.Autoencoder.dense((3, 2), activation=None, output=None, loss="mse"), cloud, 1e-2)
codes = model.transform(cloud)
weight, bias = (p.numpy() for p in model.decoder.parameters())
turn = np.array([[0.6, -0.8], [0.8, 0.6]])
for name, A in {"10 times": 10 * np.eye(2), "turned": turn}.items():
    difference = np.abs((codes @ A.T) @ (weight @ np.linalg.inv(A)).T + bias - model.reconstruct(cloud)).max()
    print(f"{name}: largest change of the reconstructions {difference:.1e}")
    assert difference < 1e-5

print("\nWrite code")
# The linear decoder is the reason. PCA's codes of the three turns cross only in a few places. Elsewhere, a deep decoder
# can find the height from the code.
helix, test_helix = data.helix(1000)[0], data.helix(1000, seed=1)[0]
mean, directions = pca(helix)
codes, test_codes = (((points - mean) @ directions[:2].T).astype(np.float32) for points in (helix, test_helix))
sa.manual_seed(0)
decoder = nn.Sequential(nn.Linear(2, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 3))
optimizer = optim.Adam(decoder.parameters(), lr=1e-2)
schedule, rng = optim.CosineLR(optimizer, EPOCHS), np.random.default_rng(0)
for _ in range(EPOCHS):
    for rows in rng.permutation(1000).reshape(-1, BATCH_SIZE):
        loss = F.mse_loss(decoder(codes[rows]), helix[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    schedule.step()
with sa.no_grad():
    error = float(np.mean((decoder(test_codes).numpy() - test_helix) ** 2))
linear_error = pca_error(helix, test_helix, 2)
print(f"PCA's code, test MSE: linear decoder {linear_error:.6f}, deep decoder {error:.6f}")
assert error < 0.2 * linear_error
