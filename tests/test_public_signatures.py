"""Odd numbers for every number that a public function or class takes: the documented errors, and no others.

The parameters are found by looking at the signatures. A new function is walked over by itself; where it needs an
argument of a name that is not known here, the test says so.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import data, nn, optim, plotting
from scratchae import functional as F
from scratchae.data import noise

ODD = {
    "NaN": math.nan, "inf": math.inf, "-inf": -math.inf, "-1": -1, "-0.5": -0.5, "0": 0, "0.5": 0.5, "True": True,
    "text": "3", "None": None, "10**400": 10**400, "-10**400": -(10**400), "2**63": 2**63, "1e308": 1e308,
    "an array": np.ones(2), "NumPy's NaN": np.float32(np.nan), "a list": [1, 2], "a dict": {}, "an object": object(),
}  # fmt: skip
ERRORS = (ValueError, TypeError)  # among them DataError and NumPy's AxisError
DOCUMENTED = {"gradcheck": AssertionError, "gradgradcheck": AssertionError, "fit": FloatingPointError}
X = np.random.default_rng(0).uniform(0.1, 0.9, (4, 6)).astype(np.float32)
IMAGES = X.repeat(6, 0).reshape(4, 1, 6, 6)
SERIES = X[:, None]


def leaf() -> sa.Tensor:
    return sa.tensor(X, requires_grad=True)


def optimizer() -> optim.Optimizer:
    return optim.SGD([leaf()])


def model() -> nn.Module:
    return sa.Autoencoder.dense((6, 4, 2))


def trainer(**options: Any) -> sa.Trainer:
    trained = model()
    return sa.Trainer(trained, optim.Adam(trained.parameters()), **options)


# What a parameter of that name may be given; functions are called anew each time.
GIVEN: dict[str, Any] = {
    "x": leaf, "xs": lambda: [leaf(), leaf()], "y": leaf, "input": leaf, "target": X, "t": leaf, "g": leaf,
    "weight": leaf, "condition": X > 0.5, "mu": leaf, "logvar": leaf, "rho": 0.3, "rho_hat": leaf,
    "params": lambda: [leaf()], "shape": (6, 4), "index": 0, "widths": ((1, 1), (0, 2)), "dtype": np.float64,
    "axis1": 0, "axis2": 1, "axis": 0, "optimizer": optimizer, "lr": 0.1, "step_size": 2, "T_max": 5,
    "f": lambda: (lambda t: (t * t).sum()), "inputs": lambda: [X.astype(float)], "outputs": None, "max_norm": 1.0,
    "seed": 3, "n": 5, "amount": 0.1, "rng": lambda: np.random.default_rng(0), "arrays": X, "batch_size": 2,
    "schedule": lambda: optim.StepLR(optimizer(), 1), "images": IMAGES, "path": None, "originals": IMAGES,
    "reconstructed": IMAGES, "rows": {"a": IMAGES}, "codes": X[:, :2], "weights": X.repeat(6, 0).reshape(4, 36),
    "sets": {"a": X[:, :3]}, "values": {"a": 1.0}, "rates": {"a": ([0, 1], [0, 1])},
    "lines": {"a": ([0, 1], [0, 1])}, "history": {"loss": [1.0, 0.5]}, "in_features": 3, "out_features": 2,
    "dim": 1, "in_channels": 2, "out_channels": 4, "kernel_size": 3, "scale_factor": 2, "factor": 1,
    "upscale_factor": 2, "downscale_factor": 2, "normalized_shape": 6, "num_features": 6, "value": 0.5,
    "num_groups": 2, "num_channels": 4, "net": nn.Identity, "shift": 2, "repeats": 2, "reps": 2,
    "sizes": (6, 4, 2), "channels": (1, 4), "size": 8, "code_size": 2, "feature_size": 4, "encoder": nn.Identity,
    "decoder": nn.Identity, "model": model, "trainer": trainer, "scores": {"a": [1.0, 2.0]},
    "generator": lambda: np.random.default_rng(0),
    "x1": leaf, "x2": leaf, "var": leaf, "steps": 3, "classes": 3, "features": 4, "entries": X,
}  # fmt: skip
# Some names mean something else here or there.
OWN: dict[str, dict[str, Any]] = {
    "conv2d": {"x": lambda: sa.tensor(IMAGES), "weight": lambda: sa.tensor(IMAGES[:2, :, :3, :3])},
    "conv_transpose2d": {"x": lambda: sa.tensor(IMAGES), "weight": lambda: sa.tensor(IMAGES[:1, :, :3, :3])},
    "max_pool2d": {"x": lambda: sa.tensor(IMAGES), "kernel_size": 2},
    "avg_pool2d": {"x": lambda: sa.tensor(IMAGES), "kernel_size": 2},
    "upsample": {"x": lambda: sa.tensor(IMAGES)},
    "pixel_shuffle": {"x": lambda: sa.tensor(IMAGES)},
    "pixel_unshuffle": {"x": lambda: sa.tensor(IMAGES)},
    "conv1d": {"x": lambda: sa.tensor(SERIES), "weight": lambda: sa.tensor(SERIES[:2, :, :3])},
    "conv_transpose1d": {"x": lambda: sa.tensor(SERIES), "weight": lambda: sa.tensor(SERIES[:1, :, :3])},
    "max_pool1d": {"x": lambda: sa.tensor(SERIES), "kernel_size": 2},
    "avg_pool1d": {"x": lambda: sa.tensor(SERIES), "kernel_size": 2},
    "matmul": {"y": lambda: sa.tensor(X.T)},
    "broadcast_to": {"shape": (2, 4, 6)},
    "cross_entropy": {"target": np.array([0, 1, 2, 3])},
    "kl_div": {"input": lambda: F.log_softmax(leaf())},
    "take_along_axis": {"indices": np.zeros((4, 6), int)},
    "ssim": {"x": lambda: sa.tensor(IMAGES), "y": IMAGES, "window_size": 3},
    "LambdaLR": {"f": lambda: (lambda epoch: 0.5**epoch)},
    "squeeze": {"x": lambda: sa.tensor(X[None]), "axis": 0},
    "invert": {"x": X > 0.5},
    "bitwise_and": {"x": X > 0.5, "y": X > 0.5},
    "bitwise_or": {"x": X > 0.5, "y": X > 0.5},
    "noise.gaussian": {"x": X}, "noise.masking": {"x": X}, "noise.salt_and_pepper": {"x": X},
    "Softmax": {"dim": 0}, "Unflatten": {"shape": (2, 3)}, "astype": {"dtype": np.dtype("float64")},
    "GaussianNoise": {}, "feature_size": {"size": 8}, "Snapshots": {"path": "strip.png"},
    "filters": {"shape": (6, 6)}, "bars": {}, "DataLoader": {}, "find_lr": {"images": X},
    "windows": {"series": X, "length": 2},
    **dict.fromkeys(("Conditional", "ConditionalAutoencoder", "ConditionalVariationalAutoencoder"),
                    {"encoder": lambda: nn.Linear(4, 2), "decoder": lambda: nn.Linear(2, 4)}),
}  # fmt: skip
# Not walked: what reads files, waits for the network or needs more than one argument to make sense. Their own tests do.
LEFT_OUT = {
    "mnist", "fashion_mnist", "image_folder", "load_array", "read_idx", "write_idx", "save_checkpoint",
    "load_checkpoint", "primitive", "grad", "jacobian", "allow_tf32", "SaveHistory", "Module", "Optimizer", "Parameter",
    "Sequential", "Tensor", "tensor", "History", "LivePlot", "LearningRates", "explore",
}  # fmt: skip


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Functions and classes of all public namespaces, and the methods that take numbers."""
    fills = type("init", (), {n: f for n, f in vars(nn.init).items() if n.endswith("_") and n[0] != "_"})
    for space, prefix in ((F, ""), (nn, ""), (fills, "init."), (optim, ""), (sa, ""), (sa.autoencoders, ""), (data, ""),
                          (noise, "noise."), (plotting, "")):  # fmt: skip
        for name in getattr(space, "__all__", [n for n in vars(space) if not n.startswith("_")]):
            thing = getattr(space, name)
            is_error = isinstance(thing, type) and issubclass(thing, Exception)
            ours = (getattr(thing, "__module__", None) or "").startswith("scratchae")
            if callable(thing) and ours and not is_error and thing is not sa.Trainer:
                yield prefix + name, thing
    for kind in ("Autoencoder", "DenoisingAutoencoder", "SparseAutoencoder", "ContractiveAutoencoder",
                 "VariationalAutoencoder"):  # fmt: skip
        yield f"{kind}.dense", getattr(sa, kind).dense
    vae = sa.VariationalAutoencoder.dense((6, 4, 2))
    yield "sample", vae.sample
    yield "manifold", vae.manifold
    yield "interpolate", lambda steps=10: vae.interpolate(X[0], X[1], steps)
    yield "log_likelihood", lambda samples=2, batch_size=2: vae.log_likelihood(X, samples, batch_size)
    yield "reconstruct", lambda batch_size=2: vae.reconstruct(X, batch_size)
    yield "transform", lambda batch_size=2: vae.transform(X, batch_size)
    yield "reconstruction_error", lambda batch_size=2: vae.reconstruction_error(X, batch_size)
    yield "fit", lambda epochs=1, batch_size=4, shuffle=True, seed=0, checkpoint_every=None: trainer().fit(
        X, None, epochs, batch_size, shuffle, seed, None, False, False, checkpoint_every
    )
    yield "evaluate", lambda batch_size=4: trainer().evaluate(X, batch_size)
    yield "Trainer", lambda clip_grad_norm=1.0, accumulate=1: trainer(
        clip_grad_norm=clip_grad_norm, accumulate=accumulate
    )


def takes_a_number(p: inspect.Parameter) -> bool:
    kind = str(p.annotation)
    numeric = any(word in kind for word in ("int", "float", "Size", "Axis", "bool")) and "Mapping" not in kind
    return numeric or isinstance(p.default, (int, float))


def walked() -> list[Any]:
    found = {}
    for name, thing in public():
        if name in LEFT_OUT:
            continue
        for p in inspect.signature(thing).parameters.values():
            if takes_a_number(p) and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                found[f"{name}: {p.name}"] = (name, thing, p.name)
    return [pytest.param(*entry, id=id) for id, entry in found.items()]


def arguments(name: str, thing: Any) -> dict[str, Any]:
    given = {}
    for p in inspect.signature(thing).parameters.values():
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or p.name in OWN.get(name, {}):
            known = {**GIVEN, **OWN.get(name, {})}
            assert p.name in known, f"{name} needs {p.name}: say in GIVEN what that may be"
            value = known[p.name]
            given[p.name] = value() if callable(value) and not isinstance(value, np.ndarray) else value
    return given


@pytest.mark.parametrize(("name", "thing", "parameter"), walked())
def test_an_odd_number_gives_a_documented_error_or_a_result(name: str, thing: Any, parameter: str) -> None:
    state = sa.random.random_state()
    bad = []
    try:
        for told, value in ODD.items():
            given = arguments(name, thing)
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("error")
                    warnings.simplefilter("ignore", RuntimeWarning)  # of numbers that overflow
                    thing(**{**given, parameter: value})
            except ERRORS as error:
                if not str(error):
                    bad.append(f"{told}: {type(error).__name__} without a text")
            except DOCUMENTED.get(name, ()):
                pass
            except Exception as error:
                bad.append(f"{told}: {type(error).__name__}: {str(error)[:80]}")
    finally:
        sa.random.set_random_state(state)
    assert not bad, "\n".join(bad)


def test_the_walk_covers_what_there_is() -> None:
    names = {param.id for param in walked()}
    assert len(names) > 200
    assert {"Adam: lr", "Conv2d: stride", "dropout: p", "StepLR: gamma", "helix: turns", "DataLoader: batch_size",
            "EarlyStopping: patience", "fit: epochs", "init.uniform_: low"} <= names  # fmt: skip
