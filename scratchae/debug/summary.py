"""A model as a table: in the terminal with output shapes, in a notebook as HTML."""

from __future__ import annotations

import html
import threading
from typing import Any

import numpy as np

from scratchae.autograd import Tensor, no_grad
from scratchae.backend import to_device
from scratchae.checks import check_count, check_fits
from scratchae.nn.modes import evaluating

watchers: list[_Watcher] = []
"""The summaries that are being made, in any thread: each is told of every module's call. Usually there is none."""


class _Watcher:
    """Notes the calls of some modules in one thread.

    The modules themselves are left alone, since another thread may be training them.
    """

    def __init__(self, names: dict[int, str]):
        self.names, self.thread = names, threading.get_ident()
        self.rows: list[tuple[str, str, str]] = []

    def told(self, layer: Any, out: Any) -> None:
        if threading.get_ident() == self.thread and id(layer) in self.names:
            shapes = ", ".join(str(o.shape[1:]) for o in (out if isinstance(out, (tuple, list)) else [out]))
            title = f"{self.names[id(layer)]} {type(layer).__name__}({layer.describe()})".strip()
            self.rows.append((title, shapes, f"{layer.count_parameters():,}"))


def print_summary(model: Any, input_shape: tuple[int, ...]) -> None:
    """Run `model` once and print a row per layer; see Module.summary."""
    if not isinstance(input_shape, (tuple, list)):
        raise ValueError(f"summary: input_shape={input_shape!r}; expected a tuple of sizes, such as (1, 28, 28)")
    shape = [check_count(f"summary: input_shape[{i}]", n) for i, n in enumerate(input_shape)]
    check_fits(f"summary: an input of shape {tuple(shape)}", shape)
    first = next(model.parameters(), None)
    zeros = np.zeros((1, *shape), np.float32 if first is None else first.dtype)
    inputs = Tensor(to_device(zeros, "cpu" if first is None else first.device))
    watcher = _Watcher({id(layer): name for name, layer in leaves(model)})
    watchers.append(watcher)
    try:
        with evaluating(model), no_grad():
            model(inputs)
    finally:
        watchers.remove(watcher)
    table = [("layer", "output", "parameters"), *watcher.rows, ("total", "", f"{model.count_parameters():,}")]
    widths = [max(len(row[i]) for row in table) for i in range(3)]
    for a, b, c in table:
        print(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}")


def as_html(model: Any) -> str:
    """A row per layer."""
    rows = [
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(f'{type(m).__name__}({m.describe()})')}</td>"
        f"<td style='text-align: right'>{m.count_parameters():,}</td></tr>"
        for name, m in leaves(model)
    ]
    head = "<tr><th>layer</th><th>kind</th><th>parameters</th></tr>"
    total = f"{html.escape(type(model).__name__)}, {model.count_parameters():,} parameters"
    return f"<b>{total}</b><table>{head}{''.join(rows)}</table>"


def leaves(model: Any) -> list[tuple[str, Any]]:
    """Modules without modules inside, by name."""
    return [(name, m) for name, m in model.named_modules() if not any(True for _ in m.children())]
