"""With and without the fast paths (SCRATCHAE_PLAIN=1), training gives the same numbers within rounding."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

PROGRAM = """
import json, sys
import numpy as np, scratchae as sa

sa.manual_seed(0)
model = {
    "dense": lambda: sa.Autoencoder.dense((64, 30, 8)),
    "pool": lambda: sa.ConvAutoencoder((1, 16, 4), size=8),
    "stride": lambda: sa.ConvAutoencoder((1, 6, 8), "stride", size=8),
    "variational": lambda: sa.VariationalAutoencoder.dense((64, 30, 8), activation="leaky_relu"),
}[sys.argv[1]]().to("float64")
images = np.random.default_rng(1).random((60, 1, 8, 8))
x = images if sys.argv[1] in ("pool", "stride") else images.reshape(60, 64)
optimizer = sa.optim.AdamW(model.parameters(), lr=1e-2)
history = sa.Trainer(model, optimizer, clip_grad_norm=0.5).fit(x, epochs=3, batch_size=20, progress=False)
weights = np.concatenate([p.numpy().ravel() for p in model.parameters()])
print(json.dumps({"plain": sa.attach.PLAIN, "loss": history["loss"], "weights": weights.tolist()}))
"""


@pytest.mark.parametrize("model", ["dense", "pool", "stride", "variational"])
def test_the_fast_paths_change_nothing_but_rounding(model: str) -> None:
    found = []
    for plain in ("0", "1"):
        environment = {**os.environ, "SCRATCHAE_PLAIN": plain}
        run = [sys.executable, "-c", PROGRAM, model]
        done = subprocess.run(run, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    fast, plain = found
    assert not fast["plain"] and plain["plain"]
    np.testing.assert_allclose(plain["loss"], fast["loss"], rtol=1e-11)
    np.testing.assert_allclose(plain["weights"], fast["weights"], rtol=0, atol=1e-10)
