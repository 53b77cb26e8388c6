"""The scikit-learn estimators, under scikit-learn's own checks and ours. Run by name, as it needs two extras:

pip install -e '.[test,sklearn]' pandas
python -m pytest tests/sklearn_with_extras.py
"""

from __future__ import annotations

import doctest
import operator
import os
import pickle
import runpy
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["SCIPY_ARRAY_API"] = "1"  # read when SciPy is imported; without it one of the checks would be skipped

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_matrix, csr_array
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import scratchae as sa
import scratchae.sklearn
from scratchae.autoencoders import KINDS
from scratchae.data import tilted_gaussian
from scratchae.sklearn import AutoencoderOutlierDetector, AutoencoderTransformer

PLANE = tilted_gaussian(1000)[0].astype(np.float64)  # a flat cloud in space, 0.1 thick
LINEAR: dict[str, Any] = {"hidden_sizes": (), "activation": None, "lr": 1e-2, "random_state": 0}


def quick(estimator: Any = AutoencoderTransformer, **options: Any) -> Any:
    return estimator(**{"code_size": 2, "epochs": 2, "random_state": 0, **options})


# --- scikit-learn's own ---------------------------------------------------------------------------


@parametrize_with_checks(
    [
        *(AutoencoderTransformer(kind=kind, epochs=20) for kind in KINDS),
        AutoencoderTransformer(),
        AutoencoderTransformer(early_stopping=True),
        AutoencoderOutlierDetector(),
    ]
)
@pytest.mark.filterwarnings("ignore:code_size=4 is no bottleneck")  # scikit-learn's have few features
def test_scikit_learns_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    try:
        check(estimator)
    except unittest.SkipTest as reason:
        pytest.fail(f"skipped: {reason}")


def test_the_examples_in_the_docstrings() -> None:
    results = doctest.testmod(scratchae.sklearn)
    assert results.failed == 0 < results.attempted


def test_pipeline_and_grid_search_find_that_a_plane_needs_two_numbers() -> None:
    pipeline = make_pipeline(StandardScaler(), AutoencoderTransformer(**LINEAR, epochs=10))
    search = GridSearchCV(pipeline, {"autoencodertransformer__code_size": [1, 2]}, cv=3, error_score="raise")
    search.fit(PLANE)
    assert search.best_params_ == {"autoencodertransformer__code_size": 2}
    one, two = search.cv_results_["mean_test_score"]
    assert one < 10 * two < 0  # minus an error
    codes = search.best_estimator_.transform(PLANE)
    assert codes.shape == (1000, 2)
    assert np.mean((search.best_estimator_.inverse_transform(codes) - PLANE) ** 2) < 0.01


def test_a_detector_takes_data_frames_without_a_warning() -> None:
    frame = pd.DataFrame(PLANE[:100], columns=["x", "y", "z"])
    detector = quick(AutoencoderOutlierDetector).fit(frame)
    assert detector.feature_contributions(frame).shape == (100, 3)
    np.testing.assert_array_equal(detector.predict(frame), quick(AutoencoderOutlierDetector).fit_predict(PLANE[:100]))


def test_data_frames_in_and_out_with_names() -> None:
    import pandas as pd

    frame = pd.DataFrame(PLANE[:50], columns=["x", "y", "z"], index=range(100, 150))
    transformer = quick().set_output(transform="pandas").fit(frame)
    codes = transformer.transform(frame)
    assert list(codes.columns) == ["autoencodertransformer0", "autoencodertransformer1"]
    assert list(codes.index) == list(frame.index)
    assert list(transformer.feature_names_in_) == ["x", "y", "z"]
    np.testing.assert_array_equal(codes, quick().fit(PLANE[:50]).transform(PLANE[:50]))


@pytest.mark.parametrize("estimator", [AutoencoderTransformer, AutoencoderOutlierDetector])
def test_pickles_and_clones(estimator: Any) -> None:
    options = {"kind": "sparse", "kind_params": {"weight": 0.01}, "hidden_sizes": [5, 4]}
    original = quick(estimator, **options).fit(PLANE)
    method = "transform" if estimator is AutoencoderTransformer else "score_samples"
    expected = getattr(original, method)(PLANE)
    np.testing.assert_array_equal(getattr(pickle.loads(pickle.dumps(original)), method)(PLANE), expected)
    fresh = clone(original)
    assert fresh.get_params() == original.get_params()
    with pytest.raises(NotFittedError):
        getattr(fresh, method)(PLANE)
    np.testing.assert_array_equal(getattr(fresh.fit(PLANE), method)(PLANE), expected)


# --- the numbers ----------------------------------------------------------------------------------


def test_a_linear_autoencoder_comes_to_pcas_error() -> None:
    pca = PCA(2).fit(PLANE)
    optimum = np.mean((pca.inverse_transform(pca.transform(PLANE)) - PLANE) ** 2)
    transformer = AutoencoderTransformer(**LINEAR, code_size=2, epochs=100).fit(PLANE)
    assert 1 <= -transformer.score(PLANE) / optimum < 1.02
    reconstruction = transformer.inverse_transform(transformer.transform(PLANE))
    assert transformer.score(PLANE) == pytest.approx(-np.mean((reconstruction - PLANE) ** 2), rel=1e-12)


def test_the_outliers_found_are_those_that_were_planted() -> None:
    rng = np.random.default_rng(0)
    normal = np.array([-1, -2, 2]) / 3  # of the plane
    planted = rng.choice(1000, 50, replace=False)
    X = PLANE.copy()
    X[planted] += 1.0 * rng.choice([-1, 1], (50, 1)) * normal  # ten times the cloud's thickness
    detector = AutoencoderOutlierDetector(**LINEAR, code_size=2, contamination=0.05)
    found = np.flatnonzero(detector.fit_predict(X) == -1)
    assert len(found) == 50
    assert len(np.intersect1d(found, planted)) == 50
    new = tilted_gaussian(1000, seed=1)[0]
    assert (detector.predict(new) == 1).mean() > 0.99
    assert (detector.predict(new + normal) == -1).mean() > 0.99


def test_contributions_name_the_feature_that_was_changed_and_sum_to_the_score() -> None:
    detector = AutoencoderOutlierDetector(**LINEAR, code_size=2, epochs=100).fit(PLANE)
    X = PLANE[:300].copy()
    X[np.arange(300), np.arange(300) % 3] += 50
    for data in (PLANE, X):
        added = detector.feature_contributions(data)
        assert added.shape == data.shape and (added >= 0).all()
        np.testing.assert_allclose(added.sum(axis=1), -detector.score_samples(data), rtol=1e-12)
    normal = np.array([-1, -2, 2]) / 3  # the error of a change lies along the normal of the plane
    np.testing.assert_allclose(added / added.sum(axis=1, keepdims=True), np.tile(normal**2, (300, 1)), atol=0.02)
    transformer = AutoencoderTransformer(**LINEAR, code_size=2, epochs=100).fit(PLANE)
    np.testing.assert_array_equal(transformer.feature_contributions(X), added)


def test_contributions_that_overflow_are_large_and_finite() -> None:
    detector = quick(AutoencoderOutlierDetector).fit(PLANE)
    added = detector.feature_contributions(np.array([[1e200, 0, 0], [1.7e308, -1.7e308, 1e308]]))
    assert np.isfinite(added).all() and (added[1] == np.finfo(float).max / 3).all()


@pytest.mark.parametrize("options", [{"early_stopping": True}, {"validation_fraction": 0.25}])
def test_held_out_samples_set_the_threshold(options: dict[str, Any]) -> None:
    detector = AutoencoderOutlierDetector(**LINEAR, **options, code_size=2, epochs=3, contamination=0.2).fit(PLANE)
    assert len(detector.history_["val_loss"]) == 3
    scores = detector.score_samples(PLANE)
    n = 250 if "validation_fraction" in options else 100
    below = (scores < detector.offset_).sum()  # a fifth of the held-out samples, and about a fifth of the others
    assert 0.1 < below / len(PLANE) < 0.3
    generator = np.random.RandomState(0)
    generator.randint(2**31 - 1)
    held_out = generator.permutation(len(PLANE))[:n]
    assert detector.offset_ == pytest.approx(np.quantile(scores[held_out], 0.2), rel=1e-9)


def test_early_stopping_ends_training_and_keeps_the_best_epoch() -> None:
    stopped = AutoencoderTransformer(
        **{**LINEAR, "lr": 0.3}, code_size=2, epochs=200, early_stopping=True, n_iter_no_change=3
    ).fit(PLANE)
    losses = stopped.history_["val_loss"]
    assert stopped.n_iter_ == len(losses) == int(np.argmin(losses)) + 4 < 200


def test_the_automatic_threshold_needs_no_share() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3)) @ rng.normal(size=(3, 12)) + 0.1 * rng.normal(size=(2000, 12))
    options: dict[str, Any] = {**LINEAR, "code_size": 3, "epochs": 30}
    options["contamination"] = "auto"
    alarms = AutoencoderOutlierDetector(**options).fit_predict(X) == -1
    assert alarms.mean() < 0.005
    X[:60] += rng.normal(size=(60, 12))
    found = AutoencoderOutlierDetector(**options).fit_predict(X) == -1
    assert found[:60].mean() > 0.9 and found[60:].mean() < 0.005
    same = AutoencoderOutlierDetector(**options).fit(np.ones((50, 12)))
    assert (same.predict(np.ones((5, 12))) == 1).all()


def test_a_code_as_wide_as_the_data_is_told() -> None:
    with pytest.warns(UserWarning, match="code_size=3 is no bottleneck for 3 features: the autoencoder can copy"):
        quick(code_size=3).fit(PLANE)
    quick(code_size=3, kind="contractive").fit(PLANE)  # its penalty keeps it from copying


@pytest.mark.parametrize("given", [np.float32, np.float64, np.float16, np.int64])
def test_computes_in_the_dtype_of_the_training_data(given: Any) -> None:
    dtype = np.float32 if given is np.float32 else np.float64
    X = (10 * PLANE).astype(given)
    transformer, detector = quick().fit(X), quick(AutoencoderOutlierDetector).fit(X)
    assert {p.dtype for p in transformer.model_.parameters()} == {np.dtype(dtype)}
    for other in (np.float32, np.float64):
        codes = transformer.transform(X.astype(other))
        assert codes.dtype == transformer.inverse_transform(codes).dtype == dtype
        assert detector.score_samples(X.astype(other)).dtype == dtype


@pytest.mark.parametrize("kind", KINDS)
def test_random_state_decides_everything_and_disturbs_nothing(kind: str) -> None:
    before = sa.random.random_state()

    def codes(random_state: Any) -> np.ndarray:
        return quick(kind=kind, random_state=random_state).fit(PLANE).transform(PLANE)

    zero = codes(0)
    np.testing.assert_array_equal(zero, codes(0))
    np.testing.assert_array_equal(zero, codes(np.random.RandomState(0)))
    assert not np.array_equal(zero, codes(1))
    instance = np.random.RandomState(0)
    assert not np.array_equal(codes(instance), codes(instance))
    np.random.seed(0)  # noqa: NPY002  (None means NumPy's global generator, to scikit-learn)
    np.testing.assert_array_equal(zero, codes(None))
    assert sa.random.random_state() == before


def test_a_pickle_is_hardly_larger_than_the_weights() -> None:
    fitted = quick(hidden_sizes=(1000,), code_size=100, kind="sparse").fit(PLANE)
    assert len(pickle.dumps(fitted)) < 1.01 * 8 * fitted.model_.count_parameters()


def test_history_counts_the_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    transformer = quick(epochs=3, kind="sparse").fit(PLANE)
    assert transformer.n_iter_ == len(transformer.history_["sparsity"]) == 3
    assert capsys.readouterr() == ("", "")
    quick(epochs=3, verbose=True).fit(PLANE)
    assert "epoch 3/3" in "".join(capsys.readouterr())


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "deep"}, "kind='deep'; expected one of"),
        ({"hidden_sizes": (2.5,)}, "sizes="),
        ({"code_size": 0}, "sizes="),
        ({"epochs": 0}, "epochs=0"),
        ({"contamination": 0.6}, "contamination=0.6; expected 'auto' or a share"),
        ({"contamination": "some"}, "contamination='some'; expected 'auto' or a share"),
        ({"contamination": None}, "contamination=None; expected 'auto' or a share"),
        ({"kind": "denoising", "kind_params": {"amout": 0.2}},
         "kind_params={'amout': 0.2}: the kind 'denoising' has no option 'amout'; expected corruption, amount, clip"),
        ({"kind_params": {"beta": 2}}, "the kind 'plain' has no option 'beta'; expected code_activation"),
        ({"kind": "variational", "kind_params": {"code_size": 2}}, "no option 'code_size'; expected beta, code_act"),
        ({"early_stopping": "yes"}, "early_stopping='yes'; expected True or False"),
        ({"early_stopping": True, "n_iter_no_change": 0}, "patience=0"),
        ({"validation_fraction": 1.5}, "validation_fraction=1.5; expected None or a share"),
        ({"validation_fraction": 1e-4}, "validation_fraction=0.0001 of 1000 samples holds out 0"),
    ],
)
def test_parameters_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quick(AutoencoderOutlierDetector, **options).fit(PLANE)


def test_data_that_do_not_fit() -> None:
    with pytest.raises(TypeError, match="dense data is required"):
        quick().fit(csr_array(PLANE))
    with pytest.raises(ValueError, match="contains NaN"):
        quick().fit(np.full((5, 3), np.nan))
    fitted = quick().fit(PLANE)
    with pytest.raises(ValueError, match="expecting 3 features"):
        fitted.transform(PLANE[:, :2])
    with pytest.raises(ValueError, match="X has 3 features, but the codes have 2"):
        fitted.inverse_transform(PLANE)


@pytest.mark.parametrize("dtype, huge", [(np.float64, 1e200), (np.float64, 1.7e308), (np.float32, 1e30)])
@pytest.mark.parametrize("kind", KINDS)
def test_finite_samples_that_overflow_are_outliers(kind: str, dtype: Any, huge: float) -> None:
    detector = quick(AutoencoderOutlierDetector, kind=kind).fit(PLANE.astype(dtype))
    X = np.array([PLANE[0], [huge, 0, 0], [-huge, huge, huge]], dtype)
    scores = detector.score_samples(X)
    assert scores[1:].tolist() == [-np.finfo(dtype).max] * 2 and -np.inf < detector.offset_ < 0
    assert detector.predict(X)[1:].tolist() == [-1, -1] and (detector.decision_function(X)[1:] < 0).all()


def test_the_score_of_samples_that_overflow_is_very_low_and_no_nan() -> None:
    transformer = quick().fit(PLANE)
    X = PLANE.copy()
    X[7, 1] = 1e200
    assert transformer.score(X) < -1e300 and transformer.score(np.full((3, 3), 1e200)) < -1e300
    np.testing.assert_array_equal(quick().fit(PLANE).score(PLANE), transformer.score(PLANE))


def test_codes_and_reconstructions_that_overflow_are_refused() -> None:
    transformer = quick(activation=None).fit(PLANE)
    X = PLANE[:3].copy()
    X[2] = 1.7e308
    with pytest.raises(ValueError, match=r"X\[2\] is too large for float64: put a scaler before the estimator"):
        transformer.transform(X)
    with pytest.raises(ValueError, match=r"X\[0\] is too large for float64"):
        transformer.inverse_transform(np.full((1, 2), 1.7e308))


# --- operands of these libraries ------------------------------------------------------------------

OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.matmul, operator.gt, operator.eq]
FOREIGN = {
    "Series": lambda: pd.Series([1.0, 2.0]),
    "DataFrame": lambda: pd.DataFrame([[1.0, 2.0], [3.0, 4.0]]),
    "Index": lambda: pd.Index([1.0, 2.0]),
    "an extension array": lambda: pd.array([1.0, 2.0]),
    "a sparse array": lambda: csr_array(np.eye(2)),
    "a sparse matrix": lambda: coo_matrix(np.eye(2)),
}


@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: op.__name__)
@pytest.mark.parametrize("name", FOREIGN)
def test_operands_of_pandas_and_scipy_are_refused_on_both_sides(name, op):
    x = sa.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    for operands in ((x, FOREIGN[name]()), (FOREIGN[name](), x)):
        with pytest.raises(TypeError, match=r"convert with \.to(_numpy|array)\(\)|would lose its graph|np\.ravel"):
            op(*operands)


@pytest.mark.parametrize("name", FOREIGN)
def test_data_of_pandas_and_scipy_are_refused_by_name(name):
    for call in (sa.tensor, lambda a: sa.functional.mse_loss(sa.tensor([1.0, 2.0]), a), lambda a: sa.DataLoader(a, 1),
                 sa.Autoencoder.dense((2, 1)).transform, sa.nn.Linear(2, 1)):  # fmt: skip
        with pytest.raises(TypeError, match=r"convert with \.to(_numpy|array)\(\)"):
            call(FOREIGN[name]())


# --- the guide on photographs ---------------------------------------------------------------------


def test_a_residual_network_beats_a_median_filter_on_photos_and_a_plain_autoencoder_does_not() -> None:
    names = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "examples" / "photos.py"))
    train, test = names["photo"]("flower.jpg"), names["photo"]("china.jpg")[:, :, 100:300, 200:400]
    found = names["denoise"](train, test, n=300, epochs=6)
    assert found["noisy"] == pytest.approx(20, abs=0.1)
    assert found["plain autoencoder"] + 1 < found["median filter"] < found["residual network"] - 1
