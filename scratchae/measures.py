"""How good drawn images are, measured in the features of a classifier.

    images --classifier without its last layer--> features (n, 64)

    frechet_distance     |m_1 - m_2|^2 + trace(C_1 + C_2 - 2 (C_1 C_2)^(1/2)), the distance of two normal distributions
    precision_recall     the share of drawn images that look real, and the share of real images that can be drawn

A pixel-wise error cannot compare drawn images with real ones, because no real image belongs to a drawn one. Two images
with similar features look similar. The classifiers of MNIST and Fashion-MNIST come with the package; the script
tools/make_classifiers.py trained both (test accuracy 99.0% and 90.7%). The distance depends on the classifier and on
the number of images. So compare only distances from the same classifier and equal numbers. Reference values of 10,000
images against the first 10,000 training images, as distance, precision, recall:

                        MNIST                     Fashion-MNIST
    training images     1.35   0.87   0.88         0.37   0.88   0.89       the next 10,000
    test images         1.82   0.87   0.88         0.28   0.88   0.89
    uniform noise       1012   0.43   0.00          832   1.00   0.00
    mean image          1218   1.00   0.00          834   1.00   0.00

A precision without recall means little. One odd training image has a large ball, and noise can lie in this ball.

Sources: M. Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", NeurIPS
2017; T. Kynkaanniemi et al., "Improved precision and recall metric for assessing generative models", NeurIPS 2019.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from scratchae import nn
from scratchae.autograd import Tensor, no_grad
from scratchae.checks import check_choice, check_count, shown

FOLDER = Path(__file__).parent / "data" / "classifiers"
_AT_ONCE = 1000  # rows of a matrix of distances that are in memory


def new_classifier() -> nn.Sequential:
    """The classifier of images (n, 1, 28, 28) before its training. All layers but the last compute the features."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


@cache
def classifier(which: str = "mnist") -> nn.Sequential:
    """The trained classifier of "mnist" or "fashion-mnist"; its output (n, 10) are logits. Do not train it."""
    from safetensors.numpy import load_file  # at the first use, as everywhere

    path = FOLDER / f"{check_choice('which', which, ('fashion-mnist', 'mnist'))}.safetensors"
    model = new_classifier()
    model.load_state_dict({name: array.astype(np.float32) for name, array in load_file(path).items()})
    model.requires_grad_(False).eval()
    return model


def features(images: Any, which: str = "mnist") -> np.ndarray:
    """The features (n, 64) of images with values in [0, 1], (n, 1, 28, 28) or (n, 784)."""
    array = np.asarray(images)
    if array.ndim not in (2, 4) or array[:1].size != 784 or not len(array):
        raise ValueError(f"images of shape {array.shape}; expected (n, 1, 28, 28) or (n, 784)")
    if array.dtype.kind != "f" or not (np.isfinite(array).all() and -0.01 <= array.min() and array.max() <= 1.01):
        found = f"{array.dtype} from {array.min()!s} to {array.max()!s}"
        raise ValueError(f"images of {found}; expected floats in [0, 1]: divide bytes by 255")
    first_layers, flat = classifier(which)[:-1], array.astype(np.float32).reshape(-1, 1, 28, 28)
    with no_grad():
        parts = [first_layers(Tensor(flat[i : i + _AT_ONCE])).numpy() for i in range(0, len(flat), _AT_ONCE)]
    return np.concatenate(parts)


def frechet_distance(a: Any, b: Any) -> float:
    """The Frechet distance of two sets of features (n, d), 0 for equal means and covariances.

    Each set needs more than d rows, otherwise its covariance is singular and the distance is too large.
    """
    (mean_a, cov_a), (mean_b, cov_b) = map(_moments, _pair(a, b))
    values, vectors = np.linalg.eigh(cov_a)
    root = vectors * np.sqrt(values.clip(min=0)) @ vectors.T
    # The eigenvalues of root C_b root are those of C_a C_b, and this product is symmetric.
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(min=0)).sum()
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def precision_recall(real: Any, drawn: Any, k: int = 3) -> tuple[float, float]:
    """Precision and recall of the features of `drawn` images, (n, d), against those of `real` images, (m, d).

    Each point of a set has a ball that reaches to its k-th nearest neighbour in the set. Precision is the share of
    drawn images that lie in a ball of a real image. Recall is the share of real images in a ball of a drawn image.
    """
    real, drawn = _pair(real, drawn)
    if not 0 < check_count("k", k) < min(len(real), len(drawn)):
        raise ValueError(f"k={k} with {len(real)} and {len(drawn)} images; expected fewer neighbours than images")
    return _share_inside(drawn, real, k), _share_inside(real, drawn, k)


def _share_inside(points: np.ndarray, others: np.ndarray, k: int) -> float:
    """The share of `points` that lie in a ball of `others`."""
    radii = np.concatenate([np.partition(part, k, axis=1)[:, k] for part in _squares(others, others)])
    return float(np.mean(np.concatenate([(part <= radii).any(axis=1) for part in _squares(points, others)])))


def _squares(a: np.ndarray, b: np.ndarray) -> Any:
    """The squared distances between rows of `a` and of `b`, some rows of `a` at a time."""
    lengths = (b * b).sum(axis=1)
    for start in range(0, len(a), _AT_ONCE):
        part = a[start : start + _AT_ONCE]
        yield (part * part).sum(axis=1)[:, None] + lengths - 2 * part @ b.T


def _moments(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return points.mean(axis=0), np.cov(points.T)


def _pair(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both sets as float64, checked."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2 or a.shape[1] < 2:
        raise ValueError(f"features of shapes {a.shape} and {b.shape}; expected (n, d) and (m, d), as features() gives")
    for array in (a, b):
        if not np.isfinite(array).all():
            raise ValueError(f"features that are not finite, such as {shown(array[~np.isfinite(array)][0])}")
    return a, b
