"""The update rules. Numbers, defaults and the places of eps are PyTorch's.

A rule works in place: a new array for each result would cost more than the arithmetic.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from scratchae.backend import Array, xp_of
from scratchae.optim.base import Optimizer


class SGD(Optimizer):
    """p -= lr * v, with v = momentum * v + (1 - dampening) * g; v = g at first. Nesterov: g + momentum * v."""

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0.0, dampening: float = 0.0,
        weight_decay: float = 0.0, nesterov: bool = False,
    ):  # fmt: skip
        super().__init__(
            params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov
        )

    def _checked(self, group: Mapping[str, Any]) -> dict[str, Any]:
        checked = super()._checked(group)
        momentum, dampening = checked["momentum"], checked["dampening"]
        if checked["nesterov"] and (momentum <= 0 or dampening != 0):
            raise ValueError(f"nesterov needs momentum > 0 and dampening = 0, got {momentum} and {dampening}")
        return checked

    def state_names(self, group: dict) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def update(self, p: Array, g: Array, state: dict[str, Array], step: int, group: dict, scratch: Array) -> None:
        xp, (t, decayed) = xp_of(p), scratch
        g = with_decay(xp, p, g, group["weight_decay"], decayed)
        if group["momentum"]:
            v = state["momentum_buffer"]
            if step == 1:
                v[...] = g
            else:
                v *= group["momentum"]
                v += xp.multiply(g, 1 - group["dampening"], out=t)
            if group["nesterov"]:
                g = xp.add(g, xp.multiply(v, group["momentum"], out=t), out=t)
            else:
                g = v
        p -= xp.multiply(g, group["lr"], out=t)

def with_decay(xp: Any, p: Array, g: Array, weight_decay: float, out: Array) -> Array:
    """The gradient of the loss plus weight_decay * |p|^2 / 2."""
    if not weight_decay:
        return g
    xp.multiply(p, weight_decay, out=out)
    out += g
    return out


class Adam(Optimizer):
    """p -= lr * m^ / (sqrt(v^) + eps), m^ and v^ the running means of g and g^2 without their bias (Kingma & Ba 2015).

    The state holds the discounted sums M = sum beta1^i g and V = sum beta2^i g^2 over the steps so far. The means
    without bias are m^ = M (1 - beta1) / (1 - beta1^t) and v^ = V / r^2, with r^2 = (1 - beta2^t) / (1 - beta2).
    Hence m^ / (sqrt(v^) + eps) = r (1 - beta1) / (1 - beta1^t) * M / (sqrt(V) + r eps). A factor 1 - beta for each sum
    would cost a pass over the memory. In this form all factors are one number.
    """

    decoupled = False  # True: weight decay shrinks the parameters themselves, not through the gradient

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, amsgrad: bool = False,
    ):  # fmt: skip
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)

    def state_names(self, group: dict) -> tuple[str, ...]:
        return ("sum", "sum_sq", *(["max_sum_sq"] if group["amsgrad"] else []))

    def update(self, p: Array, g: Array, state: dict[str, Array], step: int, group: dict, scratch: Array) -> None:
        xp, (t, decayed), (beta1, beta2) = xp_of(p), scratch, group["betas"]
        M, V = state["sum"], state["sum_sq"]
        if self.decoupled:
            p *= 1 - group["lr"] * group["weight_decay"]
        else:
            g = with_decay(xp, p, g, group["weight_decay"], decayed)
        M *= beta1
        M += g
        V *= beta2
        V += xp.multiply(g, g, out=t)
        if group["amsgrad"]:
            V = xp.maximum(state["max_sum_sq"], V, out=state["max_sum_sq"])
        r = math.sqrt((1 - beta2**step) / (1 - beta2))
        xp.sqrt(V, out=t)
        t += group["eps"] * r
        xp.divide(M, t, out=t)
        t *= group["lr"] * r * (1 - beta1) / (1 - beta1**step)
        p -= t

class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters themselves: p *= 1 - lr * decay (Loshchilov & Hutter 2019)."""

    decoupled = True

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2, amsgrad: bool = False,
    ):  # fmt: skip
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)


class RMSprop(Optimizer):
    """p -= lr * g / (sqrt(v) + eps), v a running mean of g^2 (Tieleman & Hinton 2012).

    With momentum, b = momentum * b + g / (sqrt(v) + eps) and p -= lr * b. `centered` puts v - mean(g)^2 for v.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False,
    ):  # fmt: skip
        super().__init__(
            params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered
        )

    def state_names(self, group: dict) -> tuple[str, ...]:
        names = {"square_avg": True, "momentum_buffer": group["momentum"], "grad_avg": group["centered"]}
        return tuple(name for name, used in names.items() if used)

    def update(self, p: Array, g: Array, state: dict[str, Array], step: int, group: dict, scratch: Array) -> None:
        xp, (t, decayed), alpha = xp_of(p), scratch, group["alpha"]
        g, v = with_decay(xp, p, g, group["weight_decay"], decayed), state["square_avg"]
        v *= alpha
        v += xp.multiply(xp.multiply(g, g, out=t), 1 - alpha, out=t)
        if group["centered"]:
            mean = state["grad_avg"]
            mean *= alpha
            mean += xp.multiply(g, 1 - alpha, out=t)
            variance = xp.subtract(v, xp.multiply(mean, mean, out=t), out=t)
            v = xp.maximum(variance, 0, out=t)  # rounding can make a variance negative
        xp.sqrt(v, out=t)
        t += group["eps"]
        move = xp.divide(g, t, out=t)
        if group["momentum"]:
            move = state["momentum_buffer"]
            move *= group["momentum"]
            move += t
        p -= xp.multiply(move, group["lr"], out=t)
