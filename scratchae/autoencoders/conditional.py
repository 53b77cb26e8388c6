"""Conditional autoencoders: encoder and decoder also get the label of each sample.

    code = encode(x, label)        reconstruction = decode(code, label)

The code then needs to hold only what the label does not tell. A model that can be sampled draws the label that you
choose. Any kind becomes conditional by inheritance:

    class ConditionalSparse(Conditional, SparseAutoencoder): pass

The layer `LabelBias` lets the labels in. Source of the conditional VAE: K. Sohn, H. Lee, X. Yan, "Learning structured
output representation using deep conditional generative models", NeurIPS 2015.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae import nn
from scratchae.autoencoders.base import Autoencoder, Loss, check_samples, drawn_or_not
from scratchae.autoencoders.labels import LABELS, LabelBias, with_labels
from scratchae.autoencoders.variational import VariationalAutoencoder
from scratchae.autograd import Tensor
from scratchae.autograd.tensor import values_of
from scratchae.backend import Array, seen, to_device
from scratchae.checks import check_count
from scratchae.nn.module import device_of_model


class Conditional(Autoencoder):
    """Makes the kind that follows in the list of base classes conditional.

    Args:
        encoder, decoder: the halves, as of the kind. In a Sequential, a `LabelBias` is put after the first linear or
            convolutional layer. Put one into a half of your own, or where you want the labels to enter.
        classes: number of labels. A label is a whole number from 0 to classes - 1.

    A batch is a pair (x, labels): `trainer.fit((images, labels))`. The methods on arrays take labels (N,), or one label
    for all samples. Inside `with model.given(labels):`, all methods of the kind can be called without labels.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, loss: Loss = F.mse_loss, *, classes: int, **others: Any):
        self.classes = check_count("classes", classes, 2)
        with drawn_or_not():
            halves = [with_labels(half, self.classes) for half in (encoder, decoder)]
            super().__init__(halves[0], halves[1], loss, **others)
        for name, half in zip(("encoder", "decoder"), halves, strict=True):
            if {m.classes for m in half.modules() if isinstance(m, LabelBias)} != {self.classes}:
                wanted = f"a layer LabelBias({self.classes}, features), where the labels enter"
                raise ValueError(f"{type(self).__name__}: in the {name} is no place for the labels; expected {wanted}")

    @contextmanager
    def given(self, labels: Any) -> Iterator[None]:
        """Inside, the model has these labels: (N,) whole numbers, or one number for all samples.

        Raises ValueError for a label out of range, and TypeError for anything but whole numbers.
        """
        given = np.asarray(labels) if isinstance(labels, (int, np.integer, list, tuple)) else labels
        labels = values_of(given, f"{type(self).__name__}: the labels")
        if labels.ndim > 1 or labels.dtype.kind not in "iu":
            found = f"labels of {labels.dtype} and shape {labels.shape}"
            raise TypeError(f"{type(self).__name__}: {found}; expected whole numbers of shape (N,), or one number")
        if labels.size and seen((labels < 0).any() | (labels >= self.classes).any()):
            found = f"labels from {labels.min()!s} to {labels.max()!s}"
            raise ValueError(f"{type(self).__name__}: {found}; expected 0 to {self.classes - 1}, as classes says")
        before = LABELS.set(to_device(labels, device_of_model(self)))
        try:
            yield
        finally:
            LABELS.reset(before)

    def loss_terms(self, x: Any, labels: Any, target: Any = None) -> dict[str, Any]:  # type: ignore[override]
        with self.given(labels):
            return super().loss_terms(x, target)

    # --- on arrays ---

    def reconstruct(self, x: Array, labels: Any = None, batch_size: int = 1024) -> np.ndarray:  # type: ignore[override]
        """Reconstructions of `x` (n, ...) under the labels (n,)."""
        with self._given_or_not(labels):
            return super().reconstruct(x, batch_size)

    def transform(self, x: Array, labels: Any = None, batch_size: int = 1024) -> np.ndarray:  # type: ignore[override]
        """Codes (n, code size) of `x` (n, ...) with the labels (n,)."""
        with self._given_or_not(labels):
            return super().transform(x, batch_size)

    def inverse_transform(self, z: Array, labels: Any = None, batch_size: int = 1024) -> np.ndarray:  # type: ignore[override]
        """Reconstructions from codes `z` (n, code size) and labels (n,)."""
        with self._given_or_not(labels):
            return super().inverse_transform(z, batch_size)

    def reconstruction_error(self, x: Array, labels: Any = None, batch_size: int = 1024) -> np.ndarray:  # type: ignore[override]
        """Mean squared error over the features under the labels (n,), one number per sample: (n,)."""
        with self._given_or_not(labels):
            return super().reconstruction_error(x, batch_size)

    def sample(self, n: int, labels: Any = None) -> np.ndarray:
        """`n` new inputs with the labels (n,), of a kind that can be sampled."""
        if not hasattr(super(), "sample"):
            raise TypeError(f"{type(self).__name__} has no distribution of codes; see scratchae.autoencoders.samplers")
        with self._given_or_not(labels):
            return super().sample(n)  # type: ignore[misc]

    def in_batches(self, function: Callable[[Tensor], Tensor], arrays: Array, batch_size: int = 1024) -> np.ndarray:
        """`function` of Tensors over an array (n, ...), each batch with its labels; see `Autoencoder`."""
        labels, n = LABELS.get(), len(check_samples(self, arrays))
        if labels is None or not labels.ndim:
            return super().in_batches(function, arrays, batch_size)
        if len(labels) != n:
            raise ValueError(f"{len(labels)} labels for {n} samples; expected as many, or one number for all")
        found = []
        for start in range(0, n, check_count("batch_size", batch_size)):
            batch = slice(start, start + batch_size)
            with self.given(labels[batch]):
                found.append(super().in_batches(function, arrays[batch], batch_size))
        return np.concatenate(found)

    def _given_or_not(self, labels: Any) -> Any:
        """Without labels, the labels around stay."""
        return nullcontext() if labels is None else self.given(labels)


class ConditionalAutoencoder(Conditional, Autoencoder):
    """A plain autoencoder with labels: see `Conditional`."""


class ConditionalVariationalAutoencoder(Conditional, VariationalAutoencoder):  # type: ignore[misc]
    """A variational autoencoder with labels. `sample(n, labels)` draws inputs of these labels: see `Conditional`."""
