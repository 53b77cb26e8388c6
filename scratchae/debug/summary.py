"""A model as a table: in the terminal with output shapes, in a notebook as HTML. Methods of Module."""

from __future__ import annotations

import html
import threading
from typing import Any

import numpy as np

from scratchae.autograd import Tensor, no_grad
from scratchae.backend import to_device
from scratchae.checks import check_count, check_fits
from scratchae.nn.module import Module, evaluating, titled, watchers


def summary(self: Module, input_shape: tuple[int, ...]) -> None:
    """Print each layer with its output shape and parameter count, for one sample of `input_shape`.

    The model runs once, in eval mode, on a batch of one sample of zeros; `input_shape` does not count the batch.
    """
    if not isinstance(input_shape, (tuple, list)):
        raise ValueError(f"summary: input_shape={input_shape!r}; expected a tuple of sizes, such as (1, 28, 28)")
    shape = [check_count(f"summary: input_shape[{i}]", n) for i, n in enumerate(input_shape)]
    check_fits(f"summary: an input of shape {tuple(shape)}", shape)
    first = next(self.parameters(), None)
    zeros = np.zeros((1, *shape), np.float32 if first is None else first.dtype)
    inputs = Tensor(to_device(zeros, "cpu" if first is None else first.device))
    names, rows, thread = {id(layer): name for name, layer in leaves(self)}, [], threading.get_ident()

    def note(layer: Module, out: Any) -> None:
        """A row for a call of one of these layers, unless another thread, which may be training them, made it."""
        if threading.get_ident() == thread and id(layer) in names:
            shapes = ", ".join(str(o.shape[1:]) for o in (out if isinstance(out, (tuple, list)) else [out]))
            rows.append((f"{names[id(layer)]} {titled(layer)}".strip(), shapes, f"{layer.count_parameters():,}"))

    watchers.append(note)
    try:
        with evaluating(self), no_grad():
            self(inputs)
    finally:
        watchers.remove(note)
    table = [("layer", "output", "parameters"), *rows, ("total", "", f"{self.count_parameters():,}")]
    widths = [max(len(row[i]) for row in table) for i in range(3)]
    for a, b, c in table:
        print(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}")


def _repr_html_(self: Module) -> str:
    """A notebook's view of the model: a row per layer."""
    rows = [
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(titled(m))}</td>"
        f"<td style='text-align: right'>{m.count_parameters():,}</td></tr>"
        for name, m in leaves(self)
    ]
    head = "<tr><th>layer</th><th>kind</th><th>parameters</th></tr>"
    total = f"{html.escape(type(self).__name__)}, {self.count_parameters():,} parameters"
    return f"<b>{total}</b><table>{head}{''.join(rows)}</table>"


def leaves(model: Module) -> list[tuple[str, Module]]:
    """Modules without modules inside, by name."""
    return [(name, m) for name, m in model.named_modules() if not any(True for _ in m.children())]
