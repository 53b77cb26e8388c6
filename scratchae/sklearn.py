"""Autoencoders as scikit-learn estimators, for its pipelines, searches and scores: `pip install 'scratchae[sklearn]'`.

    AutoencoderTransformer        codes as features, an alternative to PCA
    AutoencoderOutlierDetector    badly reconstructed samples are outliers, an alternative to IsolationForest

Arrays are dense, of shape (n_samples, n_features). An estimator computes in float32 if `fit` gets float32, otherwise in
float64. The estimators do not scale the data. Put a scaler before the estimator in the Pipeline.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any

import numpy as np

from scratchae import random
from scratchae.autoencoders import KINDS
from scratchae.builds import options_of, usual_options
from scratchae.callbacks import EarlyStopping
from scratchae.checks import check_bool, shown
from scratchae.data.loader import DataLoader
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

    hidden_sizes: Any = (32,)
    code_size: int = 4
    _: KW_ONLY
    activation: str | None = "relu"
    output: str | None = None
    loss: Any = "mse"
    kind: str = "plain"
    kind_params: dict[str, Any] | None = None
    lr: float = 1e-3
    epochs: int = 20
    batch_size: int = 64
    early_stopping: bool = False
    validation_fraction: float | None = None
    n_iter_no_change: int = 10
    random_state: Any = None
    verbose: bool = False

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if tags.transformer_tags is not None:
            tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _train(self, X: Any) -> np.ndarray:
        """Train on the samples, and return the held-out ones; all samples where none are held out."""
        X = validate_data(self, X, dtype=[np.float64, np.float32])
        options = self._kind_options(len(X))
        sizes = (X.shape[1], *np.atleast_1d(self.hidden_sizes).tolist(), self.code_size)
        generator = check_random_state(self.random_state)
        seed = int(generator.randint(2**31 - 1))
        kept, held_out = self._split(X, generator)
        stopping = [EarlyStopping(patience=self.n_iter_no_change)] if self.early_stopping else []
        with random.fixed_seed(seed):  # weights and noise; the package's own generators are not touched
            model = KINDS[self.kind].dense(sizes, self.activation, self.output, self.loss, **options)
            if self.kind == "plain" and self.code_size >= X.shape[1]:
                found = f"code_size={self.code_size} is no bottleneck for {X.shape[1]} features"
                advice = "the autoencoder can copy every sample, also outliers. Choose a smaller code_size"
                warnings.warn(f"{found}: {advice}", UserWarning, stacklevel=3)
            trainer = Trainer(model.to(X.dtype), Adam(model.parameters(), lr=self.lr), stopping)
            alone = (
                len(kept) > 1 and len(kept) % self.batch_size == 1 and self.kind in ("total-correlation", "wasserstein")
            )
            batches = DataLoader(kept, self.batch_size, shuffle=True, seed=seed, drop_last=alone)  # they compare pairs
            trainer.fit(batches, held_out, self.epochs, self.batch_size, progress=self.verbose)
        model.zero_grad()  # in a pickle, the gradients would take as much space as the weights
        self.model_, self.history_ = model, trainer.history
        self.n_iter_ = len(trainer.history["loss"])
        self._n_features_out = model.transform(X[:1]).shape[1]
        return X if held_out is None else held_out

    def _kind_options(self, n_samples: int) -> dict[str, Any]:
        """The options of the kind. Raises ValueError for a name that the kind does not have."""
        if self.kind not in KINDS:
            raise ValueError(f"kind={self.kind!r}; expected one of {sorted(KINDS)}")
        options = dict(self.kind_params or {})
        known = [*options_of(self.kind), "code_activation"]
        if unknown := [name for name in options if name not in known]:
            found = f"kind_params={shown(options)}: the kind {self.kind!r} has no option {unknown[0]!r}"
            raise ValueError(f"{found}; expected {', '.join(known)}")
        return {**usual_options(self.kind, n_samples, features=1), **options}

    def _split(self, X: np.ndarray, generator: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """The samples for training, and the held-out ones or None."""
        share = 0.1 if self.validation_fraction is None else self.validation_fraction
        if not isinstance(share, Real) or not 0 < share < 1:
            raise ValueError(f"validation_fraction={share!r}; expected None or a share of the samples in (0, 1)")
        if not check_bool("early_stopping", self.early_stopping) and self.validation_fraction is None:
            return X, None
        n = round(share * len(X))
        if not 0 < n < len(X):
            found = f"validation_fraction={share} of {len(X)} samples holds out {n}"
            raise ValueError(f"{found}; expected at least one sample on each side, so choose another share")
        order = generator.permutation(len(X))
        return X[order[n:]], X[order[:n]]

    def feature_contributions(self, X: Any) -> np.ndarray:
        """What each feature adds to the error of each sample, (n_samples, n_features).

        The sum of a row is the mean squared error of the sample, which is minus the score of `score_samples`. The
        largest numbers of a row name the features that do not fit to the others. Errors that overflow become the
        largest number, divided by the number of features.
        """
        X = self._checked(X)
        with np.errstate(over="ignore", invalid="ignore"):
            squares = (self.model_.reconstruct(X) - X) ** 2 / X.shape[1]
        largest = np.finfo(squares.dtype).max / X.shape[1]
        return np.nan_to_num(squares, nan=largest, posinf=largest).clip(max=largest)

    def _errors(self, X: np.ndarray) -> np.ndarray:
        """One number per sample. An overflow gives the largest number, since scikit-learn's scores take no infinity."""
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
        kind: a name of `scratchae.autoencoders.KINDS`, such as "plain", "denoising" or "variational".
        kind_params: options of that kind's class, such as {"amount": 0.2}, and "code_activation". "denoising" masks
            features unless "corruption" says otherwise.
        lr, epochs, batch_size: of the training with Adam.
        early_stopping: hold out samples, end the training when their loss has not fallen for `n_iter_no_change`
            epochs, and keep the weights of the best epoch.
        validation_fraction: the share of the samples to hold out, whose loss is `val_loss` in the history. None is 0.1
            with early stopping, and otherwise nothing.
        n_iter_no_change: epochs, for early stopping.
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
        return self._finite(self.model_.transform, X).astype(self._dtype, copy=False)  # whole numbers too

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Samples decoded from codes, (n_samples, n_features)."""
        check_is_fitted(self)
        codes = check_array(X, dtype=self._dtype)
        if codes.shape[1] != self._n_features_out:
            raise ValueError(f"X has {codes.shape[1]} features, but the codes have {self._n_features_out}")
        if self.kind == "vector-quantised":
            codes = np.rint(codes).astype(np.int64)
        return self._finite(self.model_.inverse_transform, codes)

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the mean squared error of the reconstruction: higher is better, 0 is perfect."""
        with np.errstate(over="ignore"):
            return -float(self._errors(self._checked(X)).mean(dtype=np.float64))


@dataclass(eq=False, repr=False)
class AutoencoderOutlierDetector(OutlierMixin, _AutoencoderEstimator):
    """Outliers are the samples that an autoencoder, trained on all samples, reconstructs worst.

    The code must be too small for the data. With a large code, the autoencoder reconstructs outliers too. A plain
    autoencoder whose code is as wide as the data gives a warning.

    Args:
        contamination: the share of outliers among the training samples, in (0, 0.5], which sets the threshold. With
            "auto", outliers are the samples whose root mean squared error lies more than 3.5 standard deviations above
            the median. The standard deviation is 1.4826 times the median absolute deviation, which outliers do not
            change much (B. Iglewicz, D. Hoaglin, "How to detect and handle outliers", 1993).
        others: see `AutoencoderTransformer`. Where samples are held out, the threshold comes from the held-out ones.

    Attributes:
        offset_: the threshold of the scores.
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
    contamination: float | str = 0.1

    def fit(self, X: Any, y: Any = None) -> AutoencoderOutlierDetector:
        """Train on `X` and set the threshold; `y` is ignored."""
        share = self.contamination
        is_auto = isinstance(share, str) and share == "auto"
        if not is_auto and (not isinstance(share, Real) or not 0 < share <= 0.5):
            raise ValueError(f"contamination={share!r}; expected 'auto' or a share of outliers in (0, 0.5]")
        scores = -self._errors(self._train(X))
        self.offset_: float = _automatic(scores) if is_auto else float(np.quantile(scores, share))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """1 for samples like the training samples, -1 for outliers."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def decision_function(self, X: Any) -> np.ndarray:
        """The scores above the threshold: negative for outliers."""
        return self.score_samples(X) - self.offset_

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus each sample's mean squared error of the reconstruction. A lower score is more unusual."""
        return -self._errors(self._checked(X))


def _automatic(scores: np.ndarray) -> float:
    """The threshold of scores that does not need the share of outliers."""
    roots = np.sqrt(-scores.astype(np.float64))
    middle = np.median(roots)
    spread = 1.4826 * np.median(abs(roots - middle))  # the standard deviation of a normal distribution
    largest = np.sqrt(np.finfo(scores.dtype).max / 2)  # the median may be an error that overflows
    return -float(min(middle + 3.5 * spread, largest) ** 2)
