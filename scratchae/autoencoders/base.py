"""The autoencoder: an encoder, a decoder, and a loss between the input and its reconstruction.

    code = encode(x)        reconstruction = decode(code)        loss = distance(reconstruction, x)

The other kinds change the encoder's input or add a penalty. A kind of your own overrides `encode`, `decode`,
`penalties` or `loss_terms`; `distance` gives the reconstruction's term. Its constructor takes (encoder, decoder, loss,
*, options of its own, **others) and passes the first three and `others` on.

Kinds combine by inheriting from two: `class DenoisingSparse(DenoisingAutoencoder, SparseAutoencoder): pass` takes the
options of both. An option of both, such as `weight`, goes to the first; the attributes `sparsity_weight` and
`contraction_weight` are separate. Convolutional halves for any kind come from `conv_encoder` and `conv_decoder`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from scratchae import functional as F
from scratchae import nn
from scratchae.attach import replaceable
from scratchae.autograd import Tensor, no_grad
from scratchae.autograd.tensor import values_of
from scratchae.backend import Array, current, to_device, told_when_full
from scratchae.checks import check_choice, check_count, shown
from scratchae.data.loader import numbers_in
from scratchae.nn.module import device_of_model, evaluating
from scratchae.random import generator

Loss = str | Callable[..., Any]  # a name of LOSSES, or a function of (reconstruction, target)

LOSSES: dict[str, Callable[..., Any]] = {
    "mse": F.mse_loss, "mae": F.l1_loss,
    "bce": F.binary_cross_entropy, "bce_logits": F.binary_cross_entropy_with_logits,
}  # fmt: skip
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "softplus": nn.Softplus,
}  # fmt: skip


class Autoencoder(nn.Module):
    """Any encoder and any decoder, trained to reconstruct the input.

    Args:
        encoder: module from inputs (N, ...) to codes (N, code size).
        decoder: module from codes back. Its output may be flat; `forward` gives it the input's shape.
        loss: a function of (reconstruction, target), or "mse", "mae", "bce", "bce_logits" or "cb". Under "bce_logits"
            the decoder gives logits. Under "cb", the continuous Bernoulli density, it gives the density's parameters.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, loss: Loss = F.mse_loss):
        for name, half in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(half, nn.Module):
                raise TypeError(f"{type(self).__name__}: the {name} is a {type(half).__name__}; expected a module")
        self.encoder, self.decoder = encoder, decoder
        self._distance, self._loss_function = resolve_loss(loss)
        self._loss_name = getattr(self._loss_function, "__name__", type(loss).__name__)
        *_, last = decoder.modules()
        if works_on_logits(loss) and (isinstance(last, nn.Sigmoid) or getattr(last, "function", None) is F.sigmoid):
            raise ValueError("this loss works on logits and applies a sigmoid itself, but the decoder ends in one; "
                             "build it with output=None, or use loss='bce'")  # fmt: skip

    @classmethod
    def dense(
        cls, sizes: Sequence[int], activation: str | None = "relu", output: str | None = "sigmoid", loss: Loss = "bce",
        code_activation: str | None = "default", **options: Any,
    ) -> Any:  # fmt: skip
        """Fully connected: `sizes=(784, 128, 64)` encodes 784-128-64 and decodes 64-128-784.

        Args:
            sizes: input size, hidden sizes, code size.
            activation: after every layer but the code's and the last; None for a linear model.
            output: activation of the last layer. The loss "bce_logits" applies the sigmoid itself.
            loss: see the class.
            code_activation: of the code. By default "sigmoid" and "tanh" hold for the code too. "relu" and the
                like do not: they would cut off half of the code.
            options: for the class itself.

        The encoder flattens images, and `forward` gives reconstructions the images' shape.
        """
        sizes = check_counts("sizes", sizes, "input size, hidden sizes and code size, each at least 1")
        output = output_activation(output, loss)
        if isinstance(code_activation, str) and code_activation == "default":
            code_activation = cls.default_code_activation(activation, options)
        check_activation(code_activation, "code_activation")
        hidden = [check_activation(activation)] * (len(sizes) - 2)
        with drawn_or_not():
            encoder, told = cls.dense_encoder(sizes, hidden, code_activation)
            decoder = dense_layers(sizes[::-1], [*hidden, output])
            return cls(nn.Sequential(nn.Flatten(), *encoder), nn.Sequential(*decoder), loss=loss, **told, **options)

    @classmethod
    def default_code_activation(cls, activation: str | None, options: dict[str, Any]) -> str | None:
        """The code's activation in `dense` by default."""
        return activation if activation in ("sigmoid", "tanh") else None

    @classmethod
    def dense_encoder(cls, sizes: list[int], hidden: list, code_activation: str | None) -> tuple[list, dict[str, Any]]:
        """The encoder's layers in `dense`, and the constructor's options that depend on them."""
        return dense_layers(sizes, [*hidden, code_activation]), {}

    # --- on Tensors ---

    def encode(self, x: Any) -> Any:
        """Codes (N, code size) of inputs (N, ...)."""
        return self.encoder(x)

    def decode(self, z: Any) -> Any:
        """Reconstructions from codes (N, code size); flat if the decoder ends in a linear layer."""
        return self.decoder(z)

    def forward(self, x: Any) -> Any:
        """The reconstruction, in the shape of `x`."""
        return self.shaped_like(self.decode(self.encode(x)), x)

    def loss_terms(self, x: Any, target: Any = None) -> dict[str, Any]:
        """The terms of the loss by name; their sum is the loss. `target` is `x` itself if None."""
        code = self.encode(x)
        return {"reconstruction": self.distance(self.decode(code), x, target), **self.penalties(x, code)}

    @replaceable
    def distance(self, output: Any, x: Any, target: Any = None) -> Any:
        """The loss between the decoder's `output` for `x` and `target`, which is `x` itself if None."""
        return self._distance(self.shaped_like(output, x), x if target is None else target)

    def penalties(self, x: Any, code: Any) -> dict[str, Any]:
        """The terms that a kind adds to the loss, by name and already weighted: none here."""
        return {}

    def loss(self, x: Any, target: Any = None) -> Any:
        """The sum of `loss_terms`, to call backward() on. Kinds of autoencoders change the terms, not the sum."""
        terms = list((self.loss_terms(x) if target is None else self.loss_terms(x, target)).values())
        return sum(terms[1:], terms[0])

    def shaped_like(self, out: Any, x: Any) -> Any:
        """The decoder's output `out`, flat or not, in the shape of the inputs `x`."""
        if out.shape == x.shape:
            return out
        if out.size != x.size or min(out.ndim, x.ndim) > 2:
            advice = "Layers that halve an image and double it again need sides divisible by 2 as many times"
            found = f"the decoder gives shape {out.shape} for inputs of shape {x.shape}"
            raise ValueError(f"{found}; sizes must agree. {advice}")
        return F.reshape(out, x.shape)

    # --- on arrays: eval mode, in batches, no graph; images of uint8 are divided by 255, batch by batch ---

    def reconstruct(self, x: Array, batch_size: int = 1024) -> np.ndarray:
        """Reconstructions of `x` (n, ...), in the shape of `x`. Logits become probabilities.

        Under "cb", these are the means of the densities.
        """
        return self.in_batches(lambda batch: self._visible(self.forward(batch)), x, batch_size)

    def transform(self, x: Array, batch_size: int = 1024) -> np.ndarray:
        """Codes (n, code size) of `x` (n, ...)."""
        return self.in_batches(self.encode, x, batch_size)

    def inverse_transform(self, z: Array, batch_size: int = 1024) -> np.ndarray:
        """Reconstructions from codes `z` (n, code size)."""
        if check_samples(self, z).dtype == np.uint8:
            raise TypeError("codes of uint8: expected floats, as transform gives them; undo your coding first")
        return self.in_batches(lambda batch: self._visible(self.decode(batch)), z, batch_size)

    def reconstruction_error(self, x: Array, batch_size: int = 1024) -> np.ndarray:
        """Mean squared error over the features, one number per sample: (n,)."""

        def error(batch: Tensor) -> Tensor:
            difference = (self._visible(self.forward(batch)) - batch).reshape(len(batch), -1)
            return (difference * difference).mean(axis=1)

        return self.in_batches(error, x, batch_size)

    @replaceable
    def _visible(self, out: Any) -> Any:
        """Outputs as data: logits become probabilities. more/ adds the means of densities."""
        return F.sigmoid(out) if works_on_logits(self._loss_function) else out

    def in_batches(self, function: Callable[[Tensor], Tensor], arrays: Array, batch_size: int = 1024) -> np.ndarray:
        """`function` of Tensors, such as `self.encode`, over an array (n, ...): in eval mode, without a graph.

        `function` gets images of uint8 as numbers in [0, 1].
        """
        batch_size = check_count("batch_size", batch_size)
        arrays = check_samples(self, arrays)
        device = device_of_model(self)
        with evaluating(self), no_grad(), current(device), told_when_full(f"a batch of {batch_size} samples"):
            batches = (arrays[i : i + batch_size] for i in range(0, len(arrays), batch_size))
            tensors = (Tensor(*numbers_in([to_device(b, device)], self)) for b in batches)
            return np.concatenate([function(batch).numpy() for batch in tensors])


# --- building blocks of every kind ----------------------------------------------------------------


@contextmanager
def drawn_or_not() -> Iterator[None]:
    """Inside, layers are made. An error undoes the draws of their weights."""
    before = generator().bit_generator.state
    try:
        yield
    except Exception:
        generator().bit_generator.state = before
        raise


def check_samples(model: nn.Module, arrays: Any) -> Array:
    """`arrays` as a plain array (n, ...), n at least 1; ValueError for other shapes, TypeError for other objects."""
    arrays = values_of(arrays, f"{type(model).__name__}: the data")
    if arrays.ndim == 0 or len(arrays) == 0:
        given = f"an empty array of shape {arrays.shape}" if arrays.ndim else "a single number"
        raise ValueError(f"got {given}; expected at least one sample, (n, ...)")
    return arrays


def resolve_loss(loss: Loss) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The function of (reconstruction, target), and the plain function behind a layer: of nn.MSELoss(), F.mse_loss."""
    distance = loss if callable(loss) else LOSSES[check_choice("loss", loss, sorted(LOSSES), "a function or ")]
    return distance, getattr(type(distance), "function", distance)


def works_on_logits(loss: Loss) -> bool:
    """Whether the loss applies the sigmoid itself."""
    return resolve_loss(loss)[1] is F.binary_cross_entropy_with_logits


def check_counts(name: str, given: Any, expected: str) -> list[int]:
    """`given` as a list of at least two integers of at least 1; ValueError for anything else."""
    counts = tuple(given) if isinstance(given, Iterable) else ()
    if len(counts) < 2:
        raise ValueError(f"{name}={shown(given)}; expected {expected}")
    return [check_count(f"{name}={shown(counts)}: {name}[{i}]", n) for i, n in enumerate(counts)]


def check_activation(name: Any, option: str = "activation") -> str | None:
    """A name of ACTIVATIONS or None, as given; ValueError that names the option for anything else."""
    return None if name is None else check_choice(option, name, sorted(ACTIVATIONS), "None or ")


def activation_layers(name: str | None) -> list[nn.Module]:
    """The layer of that name in a list, which is empty for None."""
    name = check_activation(name)
    return [] if name is None else [ACTIVATIONS[name]()]


def output_activation(output: str | None, loss: Loss) -> str | None:
    """The last layer's activation: no sigmoid if the loss works on logits."""
    check_activation(output, "output")
    return None if works_on_logits(loss) and output == "sigmoid" else output


def dense_layers(sizes: Sequence[int], activations: Sequence[str | None]) -> list[nn.Module]:
    """Linear layers between the sizes, each followed by its activation."""
    layers: list[nn.Module] = []
    for n_in, n_out, name in zip(sizes[:-1], sizes[1:], activations, strict=True):
        layers += [nn.Linear(n_in, n_out), *activation_layers(name)]
    return layers
