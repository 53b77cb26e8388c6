"""The guide's conditional VAE, which is written from outside of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchae as sa

SCRIPT = Path(__file__).parents[1] / "docs" / "examples" / "conditional_vae.py"


@pytest.fixture
def kind() -> Any:
    """The class, without the training below it."""
    names: dict[str, Any] = {}
    classes, found, _ = SCRIPT.read_text().partition("\nimages, labels = ")
    assert found
    exec(compile(classes, str(SCRIPT), "exec"), names)
    return names["ConditionalVAE"]


def test_the_script_is_short() -> None:
    assert len(SCRIPT.read_text().splitlines()) < 60


def test_its_loss_is_the_bound_and_its_gradient_the_slope(kind: Any, rng: np.random.Generator) -> None:
    model = kind((1, 2, 3), classes=3, hidden=5, code_size=2).to(np.float64)
    x, labels = rng.random((4, 1, 2, 3)), np.eye(3)[[0, 1, 2, 1]]
    mu, logvar = model.encode(x, labels)
    kl = ((mu.data**2 + np.exp(logvar.data) - 1 - logvar.data) / 2).sum(axis=1).mean()
    assert model.loss_terms(x, labels)["kl"].item() == pytest.approx(kl, rel=1e-12)

    def loss(x: Any) -> Any:
        sa.manual_seed(1)
        return sum(model.loss_terms(x, labels).values())

    assert sa.gradcheck(loss, [x])


def test_it_learns_which_label_gives_what(kind: Any) -> None:
    """Pictures whose left or right half is white: the label says which, the code need not."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 256)
    images = np.zeros((256, 1, 4, 4), np.float32)
    for image, label in zip(images, labels, strict=True):
        image[..., 2 * label : 2 * label + 2] = rng.uniform(0.8, 1.0, (1, 4, 2))
    model = kind((1, 4, 4), classes=2, hidden=16, code_size=2)
    trainer = sa.Trainer(model, sa.optim.Adam(model.parameters(), lr=1e-2))
    history = trainer.fit((images, model.one_hot(labels)), epochs=15, batch_size=16, progress=False)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    for label in (0, 1):
        drawn = model.sample(7, label)
        assert drawn.shape == (7, 1, 4, 4) and drawn.dtype == np.float32
        halves = drawn.reshape(7, 4, 2, 2).mean(axis=(1, 3))
        assert (halves[:, label] > 0.7).all() and (halves[:, 1 - label] < 0.2).all()
    assert model.sample(2, [0, 1]).reshape(2, 4, 4)[1, 0, 3] > 0.7
    right, wrong = (np.mean((model.reconstruct(images, chosen) - images) ** 2) for chosen in (labels, 1 - labels))
    assert right < 0.02 < 0.3 < wrong
