"""The autoencoder: an encoder, a decoder, and a loss between the input and what comes back.

    code = encode(x)        reconstruction = decode(code)        loss = distance(reconstruction, x)

Every other kind changes what is encoded, or adds a penalty; everything else is here. A kind of your own overrides
`encode`, `decode`, `penalties` or `loss_terms` (with `distance`, for the reconstruction). Its constructor takes
(encoder, decoder, loss, *, options of its own, **others) and passes the first three and `others` on, so that kinds
combine by inheriting from two: `class DenoisingSparse(DenoisingAutoencoder, SparseAutoencoder): pass` takes the options
of both. (An option that both have, `weight`, goes to the first; the attributes `sparsity_weight` and
`contraction_weight` are separate. Convolutional halves come from `conv_encoder` and `conv_decoder`, for any kind.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae import nn
from scratchae.autograd import Tensor, no_grad
from scratchae.autograd.tensor import values_of
from scratchae.backend import Array, current, to_device, told_when_full
from scratchae.checks import check_choice, check_count, shown
from scratchae.nn.module import device_of_model, evaluating
from scratchae.random import generator

LOSSES: dict[str, Callable[..., Any]] = {
    "mse": F.mse_loss,
    "bce": F.binary_cross_entropy,
    "bce_logits": F.binary_cross_entropy_with_logits,
    "mae": F.l1_loss,
}
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}


class Autoencoder(nn.Module):
    """Any encoder and any decoder, trained to give the input back.

    Args:
        encoder: module from inputs (N, ...) to codes (N, code size).
        decoder: module from codes back. Its output may be flat; `forward` gives it the input's shape.
        loss: a function of (reconstruction, target), or "mse", "bce", "bce_logits" (the decoder then
            gives logits) or "mae".
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, loss: str | Callable[..., Any] = F.mse_loss):
        for name, half in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(half, nn.Module):
                raise TypeError(f"{type(self).__name__}: the {name} is a {type(half).__name__}; expected a module")
        self.encoder, self.decoder = encoder, decoder
        self._distance, self._loss_function = resolve_loss(loss)
        self._loss_name = getattr(self._loss_function, "__name__", type(loss).__name__)
        *_, last = decoder.modules()
        if self._loss_function is F.binary_cross_entropy_with_logits and isinstance(last, nn.Sigmoid):
            raise ValueError("this loss works on logits and applies a sigmoid itself, but the decoder ends in one; "
                             "build it with output=None, or use loss='bce'")  # fmt: skip

    @classmethod
    def dense(
        cls,
        sizes: Sequence[int],
        activation: str | None = "relu",
        output: str | None = "sigmoid",
        loss: str | Callable[..., Any] = "bce",
        code_activation: str | None = "default",
        **options: Any,
    ) -> Any:
        """Fully connected: `sizes=(784, 128, 64)` encodes 784-128-64 and decodes 64-128-784.

        Args:
            sizes: input size, hidden sizes, code size.
            activation: after every layer but the code's and the last; None for a linear model.
            output: activation of the last layer; none where the loss is "bce_logits", which applies the sigmoid.
            loss: see the class.
            code_activation: of the code; by default `activation` where that is "sigmoid" or "tanh", and
                none for "relu" and the like, which would cut half of the code off.
            options: for the class itself.

        Images are flattened on the way in, and `forward` gives them back in their shape.
        """
        sizes, output = check_sizes(sizes), output_activation(output, loss)
        if not isinstance(code_activation, str) or code_activation != "default":
            check_activation(code_activation, "code_activation")
        else:
            code_activation = cls.default_code_activation(activation, options)
        hidden = [check_activation(activation)] * (len(sizes) - 2)
        with drawn_or_not():
            encoder, told = cls.dense_encoder(sizes, hidden, code_activation)
            decoder = dense_layers(sizes[::-1], [*hidden, output])
            return cls(nn.Sequential(nn.Flatten(), *encoder), nn.Sequential(*decoder), loss=loss, **told, **options)

    @classmethod
    def default_code_activation(cls, activation: str | None, options: dict[str, Any]) -> str | None:
        """The code's activation in `dense`, where nothing is said of it."""
        return activation if activation in ("sigmoid", "tanh") else None

    @classmethod
    def dense_encoder(
        cls, sizes: list[int], hidden: list[str | None], code_activation: str | None
    ) -> tuple[list[nn.Module], dict[str, Any]]:
        """The encoder's layers in `dense`, and what the constructor is to be told of them."""
        return dense_layers(sizes, [*hidden, code_activation]), {}

    # --- on Tensors ---

    def encode(self, x: Any) -> Any:
        """Codes (N, code size) of inputs (N, ...)."""
        return self.encoder(x)

    def decode(self, z: Any) -> Any:
        """What the decoder makes of codes; flat if it ends in a linear layer."""
        return self.decoder(z)

    def forward(self, x: Any) -> Any:
        """The reconstruction, in the shape of `x`."""
        return self.shaped_like(self.decode(self.encode(x)), x)

    def loss_terms(self, x: Any, target: Any = None) -> dict[str, Any]:
        """The terms of the loss by name; their sum is the loss. `target` is `x` itself if None."""
        code = self.encode(x)
        return {"reconstruction": self.distance(self.decode(code), x, target), **self.penalties(x, code)}

    def distance(self, output: Any, x: Any, target: Any = None) -> Any:
        """The loss between what the decoder gives for `x`, in its shape, and `target`, which is `x` itself if None."""
        return self._distance(self.shaped_like(output, x), x if target is None else target)

    def penalties(self, x: Any, code: Any) -> dict[str, Any]:
        """What a kind adds to the loss, by name and already weighted: none here."""
        return {}

    def loss(self, x: Any, target: Any = None) -> Any:
        """The sum of `loss_terms`, to call backward() on. Kinds of autoencoders change the terms, not this."""
        terms = list((self.loss_terms(x) if target is None else self.loss_terms(x, target)).values())
        return sum(terms[1:], terms[0])

    def shaped_like(self, out: Any, x: Any) -> Any:
        """What the decoder gives, flat perhaps, in the shape of the inputs `x`."""
        if out.shape == x.shape:
            return out
        if out.size != x.size or min(out.ndim, x.ndim) > 2:
            raise ValueError(
                f"the decoder gives shape {out.shape} for inputs of shape {x.shape}; sizes must agree. "
                "Layers that halve an image and double it again need sides divisible by 2 as many times"
            )
        return F.reshape(out, x.shape)

    # --- on arrays: eval mode, in batches, no graph ---

    def reconstruct(self, x: Array, batch_size: int = 1024) -> np.ndarray:
        """Reconstructions of `x` (n, ...), in its shape; probabilities, where the loss works on logits."""
        return self.in_batches(lambda batch: self._visible(self.forward(batch)), x, batch_size)

    def transform(self, x: Array, batch_size: int = 1024) -> np.ndarray:
        """Codes (n, code size) of `x` (n, ...)."""
        return self.in_batches(self.encode, x, batch_size)

    def inverse_transform(self, z: Array, batch_size: int = 1024) -> np.ndarray:
        """What the decoder makes of codes `z` (n, code size)."""
        return self.in_batches(lambda batch: self._visible(self.decode(batch)), z, batch_size)

    def reconstruction_error(self, x: Array, batch_size: int = 1024) -> np.ndarray:
        """Mean squared error over the features, one number per sample: (n,)."""

        def error(batch: Tensor) -> Tensor:
            difference = (self._visible(self.forward(batch)) - batch).reshape(len(batch), -1)
            return (difference * difference).mean(axis=1)

        return self.in_batches(error, x, batch_size)

    def _visible(self, out: Any) -> Any:
        """Outputs as data: logits become probabilities."""
        return F.sigmoid(out) if self._loss_function is F.binary_cross_entropy_with_logits else out

    def in_batches(self, function: Callable[[Tensor], Tensor], arrays: Array, batch_size: int = 1024) -> np.ndarray:
        """`function` of Tensors, one half of the model say, over an array (n, ...): in eval mode, without a graph."""
        batch_size = check_count("batch_size", batch_size)
        arrays = check_samples(self, arrays)
        device = device_of_model(self)
        with evaluating(self), no_grad(), current(device), told_when_full(f"a batch of {batch_size} samples"):
            batches = (arrays[i : i + batch_size] for i in range(0, len(arrays), batch_size))
            return np.concatenate([function(Tensor(to_device(b, device))).numpy() for b in batches])


# --- building blocks of every kind ----------------------------------------------------------------


@contextmanager
def drawn_or_not() -> Iterator[None]:
    """Inside, layers are made; where one of them or the model is refused, no random number has been drawn."""
    before = generator().bit_generator.state
    try:
        yield
    except Exception:
        generator().bit_generator.state = before
        raise


def check_samples(model: nn.Module, arrays: Any) -> Array:
    """`arrays` as a plain array (n, ...), n at least 1; TypeError for what is none, ValueError for another shape."""
    arrays = values_of(arrays, f"{type(model).__name__}: the data")
    if arrays.ndim == 0:
        raise ValueError("got a single number; expected an array of samples, (n, ...)")
    if len(arrays) == 0:
        raise ValueError(f"got an empty array of shape {arrays.shape}; expected at least one sample")
    return arrays


def resolve_loss(loss: str | Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What to call with (reconstruction, target), and the plain function behind it: of nn.MSELoss(), F.mse_loss."""
    distance = loss if callable(loss) else LOSSES[check_choice("loss", loss, sorted(LOSSES), "a function or ")]
    return distance, getattr(type(distance), "function", distance)


def check_sizes(sizes: Sequence[int]) -> list[int]:
    """`sizes` as a list; ValueError unless it holds an input size and a code size, with hidden ones between."""
    if not isinstance(sizes, Iterable):
        raise ValueError(f"sizes={shown(sizes)}; expected several: input size, hidden sizes and code size")
    given = tuple(sizes)
    if len(given) < 2:
        raise ValueError(f"sizes={shown(given)}; expected input size, hidden sizes and code size, each at least 1")
    return [check_count(f"sizes={shown(given)}: sizes[{i}]", n) for i, n in enumerate(given)]


def check_activation(name: Any, option: str = "activation") -> str | None:
    """`name` if there is an activation of that name, or None; ValueError that names the option if not."""
    return None if name is None else check_choice(option, name, sorted(ACTIVATIONS), "None or ")


def activation_layers(name: str | None) -> list[nn.Module]:
    """The layer of that name, or none for None."""
    name = check_activation(name)
    return [] if name is None else [ACTIVATIONS[name]()]


def output_activation(output: str | None, loss: str | Callable[..., Any]) -> str | None:
    """The last layer's activation: where the loss works on logits, it applies the sigmoid itself."""
    check_activation(output, "output")
    on_logits = resolve_loss(loss)[1] is F.binary_cross_entropy_with_logits
    return None if on_logits and output == "sigmoid" else output


def dense_layers(sizes: Sequence[int], activations: Sequence[str | None]) -> list[nn.Module]:
    """Linear layers between the sizes, each followed by its activation."""
    layers: list[nn.Module] = []
    for n_in, n_out, name in zip(sizes[:-1], sizes[1:], activations, strict=True):
        layers += [nn.Linear(n_in, n_out), *activation_layers(name)]
    return layers
