"""The scikit-learn estimators, under scikit-learn's own checks and ours. Run by name, as it needs two extras:

pip install -e '.[test,sklearn]' pandas
python -m pytest tests/sklearn_with_extras.py
"""

from __future__ import annotations

import doctest
import operator
import os
import pickle
import unittest
from collections.abc import Callable
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
        AutoencoderOutlierDetector(),
    ]
)
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
    transformer = AutoencoderTransformer(**LINEAR, code_size=2).fit(PLANE)
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
    fitted = quick(hidden_sizes=(1000,), code_size=100).fit(PLANE)
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
        ({"contamination": 0.6}, "contamination=0.6; expected a share"),
        ({"contamination": "auto"}, "contamination='auto'; expected a share"),
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
