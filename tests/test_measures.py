"""The Frechet distance, precision and recall against closed forms, and the classifiers behind the features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scratchae import data, measures

rng = np.random.default_rng(0)


def test_the_distance_of_two_normal_distributions() -> None:
    n, turn = 200_000, np.linalg.qr(rng.standard_normal((3, 3)))[0]
    a = rng.standard_normal((n, 3)) * [1.0, 2.0, 0.5] @ turn
    b = rng.standard_normal((n, 3)) * [3.0, 1.0, 0.5] @ turn + [1.0, 0.0, -2.0]
    exact = 5.0 + (1 - 3) ** 2 + (2 - 1) ** 2  # in common axes, the distance of the standard deviations
    assert measures.frechet_distance(a, b) == pytest.approx(exact, rel=0.02)
    assert measures.frechet_distance(b, a) == pytest.approx(measures.frechet_distance(a, b), rel=1e-9)


def test_the_distance_to_itself_is_zero_and_shifts_count_squared() -> None:
    a = rng.standard_normal((500, 4)) @ rng.standard_normal((4, 4))
    assert measures.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert measures.frechet_distance(a, a + 3.0) == pytest.approx(4 * 9, rel=1e-9)
    flat = a * [1, 1, 0, 0]  # singular covariances
    assert measures.frechet_distance(flat, flat) == pytest.approx(0, abs=1e-6)


def test_the_distance_of_covariances_without_common_axes() -> None:
    a, b = (rng.standard_normal((400, 3)) @ rng.standard_normal((3, 3)) for _ in range(2))
    products = np.linalg.eigvals(np.cov(a.T) @ np.cov(b.T))
    exact = np.trace(np.cov(a.T) + np.cov(b.T)) - 2 * np.sqrt(products.real).sum()
    exact += ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    assert measures.frechet_distance(a, b) == pytest.approx(exact, rel=1e-9)


def test_precision_and_recall_on_a_line() -> None:
    real = np.stack([np.arange(10.0), np.zeros(10)], axis=1)  # balls of radius 1, from -1 to 10 on the line
    drawn = np.array([[0.5, 0.0], [4.0, 0.9], [4.0, 1.1], [30.0, 0.0]])
    precision, recall = measures.precision_recall(real, drawn, k=1)
    assert precision == 0.5
    # the radii of the drawn points are 3.6, 0.2, 0.2 and 26: 0 to 4 lie in the first ball, 4 to 9 in the last
    assert recall == 1.0
    assert measures.precision_recall(real, real) == (1.0, 1.0)
    assert measures.precision_recall(real, real + 1000.0) == (0.0, 0.0)


def test_few_kinds_of_images_have_precision_without_recall() -> None:
    real = np.concatenate([rng.standard_normal((300, 2)), 20 + rng.standard_normal((300, 2))])
    precision, recall = measures.precision_recall(real, rng.standard_normal((300, 2)))
    assert precision > 0.9 and 0.4 < recall < 0.55


@pytest.mark.parametrize("which, read, least", [
    ("mnist", data.mnist_sample, 0.985), ("fashion-mnist", data.fashion_mnist_sample, 0.90),
])  # fmt: skip
def test_the_classifiers_classify(which: str, read: Any, least: float) -> None:
    images, labels = read("test")
    found = measures.classifier(which)(images)
    assert np.mean(np.asarray(found.data if hasattr(found, "node") else found).argmax(axis=1) == labels) > least
    assert measures.features(images[:5], which).shape == (5, 64)


def test_features_tell_drawings_from_noise() -> None:
    train, test = (measures.features(data.mnist_sample(split)[0]) for split in ("train", "test"))
    noise = measures.features(rng.random((1000, 784)))
    mean = data.mnist_sample()[0].mean(axis=0)
    grey = measures.features(np.clip(mean + 0.02 * rng.standard_normal((1000, 1, 28, 28)), 0, 1))
    near, far, blurred = (measures.frechet_distance(train, other) for other in (test, noise, grey))
    assert near < 0.1 * min(far, blurred)
    precision, recall = measures.precision_recall(train[:1000], test)
    assert precision > 0.8 and recall > 0.8
    assert measures.precision_recall(train[:1000], noise)[1] < 0.01  # noise may fall into the ball of an odd digit


MISTAKES: dict[str, tuple[Any, str]] = {
    "bytes": (lambda: measures.features(np.zeros((2, 784), np.uint8)), "divide bytes by 255"),
    "out of range": (lambda: measures.features(np.full((2, 784), 255.0)), r"floats in \[0, 1\]"),
    "other images": (lambda: measures.features(np.zeros((2, 3, 32, 32))), r"\(2, 3, 32, 32\)"),
    "no images": (lambda: measures.features(np.zeros((0, 784))), r"\(0, 784\)"),
    "another classifier": (lambda: measures.features(np.zeros((2, 784)), "cifar"), "'fashion-mnist' or 'mnist'"),
    "features of two kinds": (lambda: measures.frechet_distance(np.ones((5, 3)), np.ones((5, 2))), r"\(5, 2\)"),
    "one image": (lambda: measures.frechet_distance(np.ones((1, 3)), np.ones((5, 3))), r"\(1, 3\)"),
    "NaN": (lambda: measures.frechet_distance(np.full((5, 3), np.nan), np.ones((5, 3))), "finite"),
    "neighbours": (lambda: measures.precision_recall(np.ones((3, 2)), np.ones((5, 2)), k=3), "k=3"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(case: str) -> None:
    call, message = MISTAKES[case]
    with pytest.raises(ValueError, match=message):
        call()
