"""The tables for users of PyTorch, beside PyTorch: no name is missing, and the formulas give PyTorch's numbers.

    pip install -e '.[torch]' && python -m pytest tests/names_with_extras.py
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from test_name_tables import rows_of, spans

import scratchae as sa
from scratchae import functional as F
from scratchae import nn

ROWS = rows_of("from_pytorch.md")
LISTED = {name.strip("()") for theirs, _ in ROWS for name in spans(theirs)}
INSIDE = {"Container", "LinearCrossEntropyOptions", "UninitializedBuffer", "UninitializedParameter"}


def classes(module: Any, base: type = object) -> set[str]:
    return {n for n, v in vars(module).items() if inspect.isclass(v) and issubclass(v, base) and n[0] != "_"} - INSIDE


def functions() -> set[str]:
    """torch.nn.functional, without functions that write in place, give indices, or serve PyTorch itself."""
    found = {n for n, f in vars(torch.nn.functional).items() if callable(f) and n[0].islower()}
    own = {"assert_int_or_pair", "boolean_dispatch", "conv_tbc", "grouped_mm", "native_channel_shuffle", "scaled_mm"}
    others = ("_", "_with_indices", "torch_function", "torch_function_unary", "torch_function_variadic", "grouped_mm")
    return {n for n in found if not n.endswith(others)} - own


SCHEDULER = torch.optim.lr_scheduler.LRScheduler


@pytest.mark.parametrize("theirs", [
    classes(torch.nn), functions(), classes(torch.optim),
    classes(torch.optim.lr_scheduler, SCHEDULER) - {"LRScheduler"},
    {name for name in vars(torch.nn.init) if name.endswith("_") and name[0] != "_"},
    {name for name in vars(torch.nn.Module) if name.startswith(("named_", "register_forward", "load_", "state_dict"))},
], ids=["nn", "functional", "optim", "schedules", "init", "module"])  # fmt: skip
def test_every_name_of_pytorch_is_listed(theirs: set[str]) -> None:
    assert len(theirs) >= 6 and sorted(theirs - LISTED) == []


rng = np.random.default_rng(0)
VALUES = {name: rng.standard_normal((4, 6)) for name in ("x", "x1", "x2", "a", "p", "n", "target", "bias")}
VALUES["y"] = np.where(rng.random((4, 6)) < 0.5, -1.0, 1.0)
T = {name: torch.tensor(values) for name, values in VALUES.items()}
IMAGES, SERIES = rng.random((2, 4, 6, 6)) + 0.1, rng.random((2, 4, 6)) + 0.1


def formula(name: str) -> str:
    (ours,) = (ours for theirs, ours in ROWS if name in spans(theirs))
    return spans(ours)[0]


@pytest.mark.parametrize(("name", "theirs", "given"), [
    *((name, getattr(torch.nn, name)(), {}) for name in (
        "CELU", "Hardshrink", "Hardsigmoid", "Hardswish", "LogSigmoid", "Mish", "ReLU6", "SELU", "Softshrink",
        "Softsign", "Tanhshrink",
    )),
    ("Threshold", torch.nn.Threshold(0.3, 2.0), {"threshold": 0.3, "value": 2.0}),
    ("GLU", torch.nn.GLU(), {"n": 3}),
    ("LogSoftmax", torch.nn.LogSoftmax(1), {}), ("Softmin", torch.nn.Softmin(1), {}),
    ("RMSNorm", torch.nn.RMSNorm(6, eps=1e-3), {"eps": 1e-3, "weight": 1.0}),
    ("PReLU", torch.nn.PReLU(init=0.25), {"weight": 0.25}),
    ("normalize", torch.nn.functional.normalize, {}),
    ("ChannelShuffle", torch.nn.ChannelShuffle(2), {"x": IMAGES, "n": 2, "groups": 2, "h": 6, "w": 6}),
    ("LPPool1d", torch.nn.LPPool1d(2, 2), {"x": SERIES}), ("LPPool2d", torch.nn.LPPool2d(2, 2), {"x": IMAGES}),
    ("AdaptiveAvgPool2d", lambda x: torch.nn.AdaptiveAvgPool2d(1)(x)[:, :, 0, 0], {"x": IMAGES}),
    ("AdaptiveMaxPool1d", lambda x: torch.nn.AdaptiveMaxPool1d(1)(x)[:, :, 0], {"x": SERIES}),
    ("SoftMarginLoss", lambda x: torch.nn.SoftMarginLoss()(x, T["y"]), {}),
    ("HingeEmbeddingLoss", lambda x: torch.nn.HingeEmbeddingLoss()(x, T["y"]), {}),
    ("PoissonNLLLoss", lambda x: torch.nn.PoissonNLLLoss()(x, T["target"]), {}),
    ("MarginRankingLoss", lambda x: torch.nn.MarginRankingLoss()(T["x1"], T["x2"], T["y"]), {}),
    ("PairwiseDistance", lambda x: torch.nn.PairwiseDistance(eps=0)(T["x1"], T["x2"]), {}),
    ("TripletMarginLoss", lambda x: torch.nn.TripletMarginLoss(eps=0)(T["a"], T["p"], T["n"]), {}),
    ("cdist", lambda x: torch.cdist(x, T["x1"]), {"y": VALUES["x1"]}),
    ("tril", torch.tril, {"x": VALUES["x"][:, :4], "n": 4}), ("triu", torch.triu, {"x": VALUES["x"][:, :4], "n": 4}),
    ("topk", lambda x: torch.topk(x, 2).values, {"k": 2}),
    ("lerp", lambda x: torch.lerp(x, T["x1"], 0.3), {"y": VALUES["x1"], "weight": 0.3}),
    ("InstanceNorm1d", torch.nn.InstanceNorm1d(4), {"x": SERIES, "n": 4}),
])  # fmt: skip
def test_the_formulas_give_pytorchs_numbers(name: str, theirs: Callable[..., Any], given: dict[str, Any]) -> None:
    values = VALUES | given
    theirs = theirs.double() if isinstance(theirs, torch.nn.Module) else theirs
    expected = theirs(torch.tensor(values["x"]))
    tensors = {key: sa.Tensor(v) if isinstance(v, np.ndarray) else v for key, v in values.items()}
    ours = eval(formula(name), {"F": F, "nn": nn, "np": np, "sa": sa, **tensors})
    found = ours.to(np.float64)(tensors["x"]) if isinstance(ours, nn.Module) else ours
    reference = expected.detach().numpy()
    np.testing.assert_allclose(found.numpy(), reference, rtol=0, atol=1e-12 * abs(reference).max())
