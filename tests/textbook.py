"""Optimisers as the textbook writes them: one parameter, one step, state in a dict."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim


def sgd(p, g, s, t, *, lr, momentum, dampening, weight_decay, nesterov):
    g = g + weight_decay * p
    if momentum:
        s["v"] = g if t == 1 else momentum * s["v"] + (1 - dampening) * g
        g = g + momentum * s["v"] if nesterov else s["v"]
    return p - lr * g


def adam(p, g, s, t, *, lr, betas, eps, weight_decay, amsgrad, decoupled=False):
    if decoupled:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g * g
    s["max"] = np.maximum(s.get("max", 0), s["v"])
    v_hat = s["max" if amsgrad else "v"] / (1 - betas[1] ** t)
    return p - lr * s["m"] / (1 - betas[0] ** t) / (np.sqrt(v_hat) + eps)


def adamw(p, g, s, t, **options):
    return adam(p, g, s, t, **options, decoupled=True)


def rmsprop(p, g, s, t, *, lr, alpha, eps, weight_decay, momentum, centered):
    g = g + weight_decay * p
    s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g * g
    s["mean"] = alpha * s.get("mean", 0) + (1 - alpha) * g
    s["b"] = momentum * s.get("b", 0) + g / (np.sqrt(s["v"] - s["mean"] ** 2 if centered else s["v"]) + eps)
    return p - lr * s["b"]


def adagrad(p, g, s, t, *, lr, lr_decay, weight_decay, initial_accumulator_value, eps):
    g = g + weight_decay * p
    s["sum"] = s.get("sum", initial_accumulator_value) + g * g
    return p - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s["sum"]) + eps)


RULES: dict[str, tuple[type[optim.Optimizer], Callable]] = {
    "SGD": (optim.SGD, sgd), "Adam": (optim.Adam, adam), "AdamW": (optim.AdamW, adamw),
    "RMSprop": (optim.RMSprop, rmsprop), "Adagrad": (optim.Adagrad, adagrad),
}  # fmt: skip
CASES: list[tuple[str, dict]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.7, 0.9), "eps": 1e-2, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "betas": (0.7, 0.5), "amsgrad": True}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "betas": (0.7, 0.5), "weight_decay": 0.3, "amsgrad": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.8, "centered": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3}),
]
every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{n}{o}" for n, o in CASES])
every_rule = pytest.mark.parametrize("name", RULES)


class Textbook:
    """An optimiser as anybody would write it first; knows nothing of buffers."""

    def __init__(self, params: Any, name: str, **options: Any):
        cls, self.rule = RULES[name]
        defaults = {n: p.default for n, p in inspect.signature(cls).parameters.items() if n != "params"}
        self.params, self.options = list(params), {**defaults, **options}
        self.state: list[dict] = [{"t": 0} for _ in self.params]

    def step(self) -> None:
        for p, s in zip(self.params, self.state, strict=True):
            if p.grad is not None:
                s["t"] += 1
                p.data[...] = self.rule(p.data, p.grad, s, s["t"], **self.options)

    def zero_grad(self) -> None:
        for p in self.params:
            if p.requires_grad:
                p.grad = None


def leaf(values: Any, dtype: Any = np.float64) -> sa.Tensor:
    return sa.tensor(np.array(values, dtype), requires_grad=True)


def net() -> nn.Sequential:
    sa.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).to(np.float64)


def loss(model: Any, i: int) -> sa.Tensor:
    x = np.random.default_rng(i).standard_normal((6, 4))
    return F.mse_loss(model(sa.Tensor(x)), sa.Tensor(x[:, :3] ** 2))


def close(model: nn.Module, wanted: nn.Module) -> None:
    for (name, p), q in zip(model.named_parameters(), wanted.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-11, atol=1e-14, err_msg=name)


def bits(optimizer: optim.Optimizer) -> bytes:
    return pickle.dumps(optimizer.state_dict())
