"""Solutions of tutorial 02B, on the embedded sample.

python tutorials/solutions/02B_optimiser_rate_batch.py
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import data, optim

sys.path.append(str(Path(__file__).parents[1]))
from common import load

digits = load("sample", data.mnist, data.mnist_sample)


def new_model():
    sa.manual_seed(0)
    return sa.Autoencoder.dense((784, 128, 32), activation="gelu", output=None, loss="mse")


def validation_mse(optimizer, lr, falling=False, epochs=3, batch_size=64):
    model = new_model()
    optimizer = optimizer(model.parameters(), lr=lr)
    callbacks = [sa.Schedule(optim.CosineLR(optimizer, epochs))] if falling else []
    try:
        with np.errstate(all="ignore"):
            trainer = sa.Trainer(model, optimizer, callbacks)
            trainer.fit(digits.train, epochs=epochs, batch_size=batch_size, progress=False)
    except FloatingPointError:
        return np.inf
    return float(np.mean((model.reconstruct(digits.validation) - digits.validation) ** 2))


print("Change a constant")
# A constant gradient g makes v grow to g / (1 - 0.5) = 2 g. SGD with this momentum at the rate 1.5 should therefore
# move like SGD at the rate 3.
without = validation_mse(optim.SGD, 3)
errors = {rate: validation_mse(partial(optim.SGD, momentum=0.5), rate) for rate in (0.75, 1.5, 3)}
print(f"SGD, rate 3: {without:.5f}")
print("momentum 0.5:", ", ".join(f"rate {rate:g}: {error:.5f}" for rate, error in errors.items()))
assert abs(errors[1.5] / without - 1) < 0.03 < min(errors[0.75] / without - 1, 1 - errors[3] / without)

print("\nExplain a number")
# At the first step, Adam's corrected m is g, and the corrected s is g^2. The step is r g / (|g| + 1e-8). All weights
# with a gradient far above 1e-8 move by r, the small gradients as far as the large gradients.
model = new_model()
weight = model.encoder[1].weight
before = weight.numpy().copy()
optimizer = optim.Adam(model.parameters(), lr=1e-3)
model.loss(sa.Tensor(digits.train[:64])).backward()
optimizer.step()
clear = np.abs(weight.grad) > 1e-6
moved = np.abs(weight.numpy() - before)[clear]
gradients = np.abs(weight.grad)[clear]
print(f"gradients from {gradients.min():.1e} to {gradients.max():.1e}")
print(f"steps from {moved.min():.6f} to {moved.max():.6f}")
assert gradients.max() > 100 * gradients.min() and moved.min() > 0.98e-3 and moved.max() < 1.02e-3

print("\nWrite code")
# Near the end, the steps are as long as at the start, and the weights jump around the minimum. A rate that falls to 0
# ends these jumps. The gain is largest with small batches, because their gradients differ most from batch to batch.
constant, falling = (validation_mse(optim.Adam, 3e-3, falling, 4, 16) for falling in (False, True))
print(f"batch of 16, Adam at 0.003: constant {constant:.5f}, falling to 0 {falling:.5f}")
assert falling < 0.98 * constant
