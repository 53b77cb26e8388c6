"""Autoencoders as scikit-learn estimators, for its pipelines, searches and scores: `pip install 'scratchae[sklearn]'`.

    AutoencoderTransformer        codes as features, an alternative to PCA
    AutoencoderOutlierDetector    badly reconstructed samples are outliers, an alternative to IsolationForest

Arrays are dense, of shape (n_samples, n_features). An estimator computes in float32 if `fit` gets float32, otherwise in
float64. The estimators do not scale the data. Put a scaler before the estimator in the Pipeline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any

import numpy as np

from scratchae import random
from scratchae.autoencoders import KINDS
from scratchae.optim import Adam
from scratchae.training import Trainer

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_array, check_is_fitted, validate_data
except ImportError as error:  # missing, or older than 1.6
    message = f"scratchae.sklearn needs scikit-learn ({error}); install it with:  pip install 'scratchae[sklearn]'"
    raise type(error)(message) from None

__all__ = ["AutoencoderOutlierDetector", "AutoencoderTransformer"]


@dataclass(eq=False, repr=False)  # scikit-learn reads the parameters from the signature of __init__
class _AutoencoderEstimator(BaseEstimator):
    """The base of both estimators: the parameters, the training, and the checks of the input."""

    hidden_sizes: Any = (64,)
    code_size: int = 8
    _: KW_ONLY
    activation: str | None = "relu"
    output: str | None = None
    loss: Any = "mse"
    kind: str = "plain"
    kind_params: dict[str, Any] | None = None
    lr: float = 1e-3
    epochs: int = 100
    batch_size: int = 64
    random_state: Any = None
    verbose: bool = False

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if tags.transformer_tags is not None:
            tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _train(self, X: Any) -> None:
        X = validate_data(self, X, dtype=[np.float64, np.float32])
        if self.kind not in KINDS:
            raise ValueError(f"kind={self.kind!r}; expected one of {sorted(KINDS)}")
        sizes = (X.shape[1], *np.atleast_1d(self.hidden_sizes).tolist(), self.code_size)
        options = dict(self.kind_params or {})
        if self.kind == "denoising":
            options.setdefault("corruption", "masking")  # Gaussian noise is for images in [0, 1]
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with random.fixed_seed(seed):  # weights and noise; the package's own generators are not touched
            model = KINDS[self.kind].dense(sizes, self.activation, self.output, self.loss, **options)
            trainer = Trainer(model.to(X.dtype), Adam(model.parameters(), lr=self.lr))
            trainer.fit(X, epochs=self.epochs, batch_size=self.batch_size, seed=seed, progress=self.verbose)
        model.zero_grad()  # in a pickle, the gradients would take as much space as the weights
        self.model_, self.history_ = model, trainer.history
        self.n_iter_ = len(trainer.history["loss"])
        self._n_features_out = self.code_size

    def _reconstruction_error(self, X: Any) -> np.ndarray:
        """One number per sample. An overflow gives the largest number, since scikit-learn's scores take no infinity."""
        X = self._checked(X)
        with np.errstate(over="ignore", invalid="ignore"):
            errors = self.model_.reconstruction_error(X)
        largest = np.finfo(errors.dtype).max
        return np.nan_to_num(errors, nan=largest, posinf=largest)

    def _finite(self, function: Callable[[np.ndarray], np.ndarray], X: np.ndarray) -> np.ndarray:
        """`function` of samples. Raises ValueError for a result that is not finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            found = function(X)
        if (odd := np.flatnonzero(~np.isfinite(found).all(axis=1))).size:
            raise ValueError(f"X[{odd[0]}] is too large for {found.dtype}: put a scaler before the estimator")
        return found

    def _checked(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, X, reset=False, dtype=self._dtype)

    @property
    def _dtype(self) -> Any:
        return next(self.model_.parameters()).dtype


class AutoencoderTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _AutoencoderEstimator):
    """Features learned by an autoencoder: `transform` gives codes, `inverse_transform` decodes codes.

    Args:
        hidden_sizes: sizes of the encoder's hidden layers, or one int; () for none. The decoder has the reverse order.
        code_size: number of features in the output.
        activation: after every hidden layer, such as "relu" or "tanh"; None for a linear model.
        output: activation of the last layer. None suits standardised data, "sigmoid" data in [0, 1].
        loss: "mse", "mae", and for data in [0, 1] "bce" with output="sigmoid", or "bce_logits".
        kind: "plain", "denoising", "sparse", "contractive" or "variational".
        kind_params: options of that kind's class, such as {"amount": 0.2}. "denoising" masks features unless
            "corruption" says otherwise.
        lr, epochs, batch_size: of the training with Adam.
        random_state: int, RandomState or None: initial weights, order of samples, noise.
        verbose: show the progress of training.

    Attributes:
        model_: the trained `Autoencoder`.
        history_: the losses per epoch, a `History`.
        n_iter_: number of epochs trained.
        n_features_in_: the number of features seen in `fit`.
        feature_names_in_: the names of these features, if `X` had names.

    >>> from scratchae.sklearn import AutoencoderTransformer
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X = load_iris().data
    >>> pipeline = make_pipeline(StandardScaler(), AutoencoderTransformer(code_size=2, random_state=0))
    >>> codes = pipeline.fit_transform(X)
    >>> codes.shape, pipeline.inverse_transform(codes).shape
    ((150, 2), (150, 4))
    """

    def fit(self, X: Any, y: Any = None) -> AutoencoderTransformer:
        """Train on `X`; `y` is ignored."""
        self._train(X)
        return self

    def transform(self, X: Any) -> Any:
        """Codes, (n_samples, code_size)."""
        X = self._checked(X)
        return self._finite(self.model_.transform, X)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Samples decoded from codes, (n_samples, n_features)."""
        check_is_fitted(self)
        codes = check_array(X, dtype=self._dtype)
        if codes.shape[1] != self._n_features_out:
            raise ValueError(f"X has {codes.shape[1]} features, but the codes have {self._n_features_out}")
        return self._finite(self.model_.inverse_transform, codes)

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the mean squared error of the reconstruction: higher is better, 0 is perfect."""
        with np.errstate(over="ignore"):
            return -float(self._reconstruction_error(X).mean(dtype=np.float64))


@dataclass(eq=False, repr=False)
class AutoencoderOutlierDetector(OutlierMixin, _AutoencoderEstimator):
    """Outliers are the samples that an autoencoder, trained on all samples, reconstructs worst.

    The code must be too small for the data. With a large code, the autoencoder reconstructs outliers too.

    Args:
        contamination: the share of outliers among the training samples, in (0, 0.5], which sets the threshold.
        others: see `AutoencoderTransformer`.

    Attributes:
        offset_: the threshold: the quantile of the training samples' scores at `contamination`.
        others: see `AutoencoderTransformer`.

    >>> import numpy as np
    >>> from scratchae.sklearn import AutoencoderOutlierDetector
    >>> X = np.random.default_rng(0).normal(size=(500, 1)) * [1.0, 2.0, 3.0]  # on a line
    >>> X[:2] = [[3, 0, -2], [-3, 3, 1]]  # not on it
    >>> detector = AutoencoderOutlierDetector(code_size=1, contamination=2 / 500, random_state=0)
    >>> np.flatnonzero(detector.fit_predict(X) == -1)
    array([0, 1])
    """

    _: KW_ONLY
    contamination: float = 0.1

    def fit(self, X: Any, y: Any = None) -> AutoencoderOutlierDetector:
        """Train on `X` and set the threshold; `y` is ignored."""
        if not isinstance(self.contamination, Real) or not 0 < self.contamination <= 0.5:
            raise ValueError(f"contamination={self.contamination!r}; expected a share of outliers in (0, 0.5]")
        self._train(X)
        self.offset_: float = float(np.quantile(self.score_samples(X), self.contamination))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """1 for samples like the training samples, -1 for outliers."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def decision_function(self, X: Any) -> np.ndarray:
        """The scores above the threshold: negative for outliers."""
        return self.score_samples(X) - self.offset_

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus each sample's mean squared error of the reconstruction. A lower score is more unusual."""
        return -self._reconstruction_error(X)
