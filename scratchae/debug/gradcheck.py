"""Compare derivatives with finite differences. Every operator and every model of scratchae passes this check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scratchae.autograd.backprop import gradients
from scratchae.autograd.tensor import Tensor
from scratchae.checks import check_number


def gradcheck(
    f: Callable[..., Any], inputs: Sequence[Any], eps: float = 1e-6, rtol: float = 1e-5, atol: float = 1e-7
) -> bool:
    """Compare the gradient of `f(*inputs)` with central differences. Returns True, or raises an error with the place.

    The outputs are reduced to one number with fixed random weights, so that no two errors cancel.

    Args:
        f: a function of Tensors that returns a Tensor or a list of Tensors. `f` must give the same result for the same
            inputs. Freeze random numbers with a seed.
        inputs: float64 arrays or Tensors. All inputs are checked. But if any Tensor has requires_grad=True, Tensors
            with requires_grad=False are not checked.
        eps: the step of the differences, times the absolute value of the input element where that is larger than 1.
        rtol, atol: the allowed difference is atol + rtol * max|gradient of that input|.

    Raises:
        TypeError: an input is not float64, whose precision the differences need.
        AssertionError: a gradient differs; the message names input, element and both values.
    """
    _check_listed("gradcheck", inputs)
    check_number("gradcheck: eps", eps, "(0, inf)")
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        check_number(f"gradcheck: {name}", tolerance)
    arrays = [np.array(x.numpy() if isinstance(x, Tensor) else x) for x in inputs]
    for i, a in enumerate(arrays):
        if a.dtype != np.float64:
            raise TypeError(f"gradcheck: input {i} is {a.dtype}; differences need float64: use .astype('float64')")
    chosen = [getattr(x, "requires_grad", True) for x in inputs]
    chosen = chosen if any(chosen) else [True] * len(arrays)

    def run() -> tuple[list[Tensor], list[Tensor]]:
        # Always with gradients: f may use sa.grad itself.
        ts = [Tensor(a.copy(), requires_grad=c) for a, c in zip(arrays, chosen, strict=True)]
        out = f(*ts)
        return ts, [out] if isinstance(out, Tensor) else list(out)

    rng = np.random.default_rng(0)
    ts, outs = run()
    if not any(o.requires_grad for o in outs):
        raise AssertionError("gradcheck: no output of f depends on an input through recorded operations")
    weights = [rng.uniform(0.5, 1.5, o.shape) * rng.choice([-1.0, 1.0], o.shape) for o in outs]
    live = [(o, w) for o, w in zip(outs, weights, strict=True) if o.requires_grad]
    found = gradients([o for o, _ in live], ts, [w for _, w in live], create_graph=False)

    def value() -> float:
        return sum(float((o.numpy() * w).sum()) for o, w in zip(run()[1], weights, strict=True))

    for i, (a, g) in enumerate(zip(arrays, found, strict=True)):
        if not chosen[i]:
            continue
        analytic = np.zeros(a.shape) if g is None else g.numpy()
        numeric = np.empty(a.shape)
        for index in np.ndindex(a.shape):
            numeric[index] = _slope(value, a, index, eps)
        _compare(i, analytic, numeric, rtol, atol)
    return True


def _check_listed(name: str, inputs: Any) -> None:
    """Refuse a single array as `inputs`, which would be split along its first axis."""
    if not isinstance(inputs, (list, tuple)):
        raise TypeError(f"{name} takes a list of inputs, got one {type(inputs).__name__}: {name}(f, [x])")


def _slope(value: Callable[[], float], a: np.ndarray, index: tuple[int, ...], eps: float) -> float:
    """The central difference of `value()` in one element of `a`. The element gets its old value back."""
    old = a[index]
    h = eps * max(1.0, abs(old))
    a[index] = old + h
    above = value()
    a[index] = old - h
    below = value()
    a[index] = old
    return (above - below) / (2 * h)


def _compare(i: int, analytic: np.ndarray, numeric: np.ndarray, rtol: float, atol: float) -> None:
    if analytic.size == 0:
        return
    error = np.abs(analytic - numeric)
    allowed = atol + rtol * np.abs(numeric).max()
    if not (error <= allowed).all():  # written so that NaN fails
        place = np.argmax(np.where(np.isnan(error), np.inf, error))
        worst = tuple(int(n) for n in np.unravel_index(place, error.shape))
        raise AssertionError(
            f"gradcheck: input {i}, element {worst}: the vjps give {analytic[worst]:.10g}, finite differences "
            f"{numeric[worst]:.10g}; they differ by {error[worst]:.3g}, allowed are {allowed:.3g}"
        )


def gradgradcheck(f: Callable[..., Any], inputs: Sequence[Any], **tolerances: float) -> bool:
    """`gradcheck` for the second order. The checked function is the gradient of `f`, computed with create_graph=True.

    The vector in the product with the Jacobian is an input of this check too.
    """
    _check_listed("gradgradcheck", inputs)
    inputs = [x if isinstance(x, Tensor) else Tensor(np.asarray(x), requires_grad=True) for x in inputs]
    n = len(inputs)
    first = f(*inputs)
    shapes = [o.shape for o in ([first] if isinstance(first, Tensor) else first)]
    rng = np.random.default_rng(1)
    seeds = [Tensor(np.asarray(rng.uniform(0.5, 1.5, shape)), requires_grad=True) for shape in shapes]

    def slopes(*args: Tensor) -> list[Tensor]:
        ts, vs = list(args[:n]), list(args[n:])
        out = f(*ts)
        outs = [out] if isinstance(out, Tensor) else list(out)
        live = [(o, v) for o, v in zip(outs, vs, strict=True) if o.requires_grad]
        found = gradients([o for o, _ in live], ts, [v for _, v in live], create_graph=True)
        return [Tensor(np.zeros(t.shape)) if g is None else g for t, g in zip(ts, found, strict=True)]

    return gradcheck(slopes, [*inputs, *seeds], **tolerances)
