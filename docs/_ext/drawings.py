"""The drawings, made from the code itself: a graph that was recorded and walked, and the import contract."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

import scratchae as sa
from scratchae import functional as F
from scratchae.autograd.tensor import Leaf

FORWARD, BACKWARD, PAPER, INK = "#4c72b0", "#c44e52", "#ffffff", "#222222"
PLACES = {"x": (0, 2.6), "w": (0, 1.3), "b": (0, 0), "linear": (2.5, 1.3), "sigmoid": (5, 2.6),
          "multiply": (7.5, 1.3), "sum": (10, 1.3)}  # fmt: skip


def draw_walk(path: Path) -> None:
    """loss = sum(z * sigmoid(z)), z = linear(x, w, b): its nodes, and each gradient that was sent, in order."""
    rng = np.random.default_rng(0)
    x = sa.tensor(rng.normal(size=(4, 3)))
    w, b = (sa.tensor(rng.normal(size=shape), requires_grad=True) for shape in ((2, 3), (2,)))
    z = F.linear(x, w, b)
    loss = F.sum(z * F.sigmoid(z))
    nodes = _ancestors(loss.node)
    names = {id(w.node): "w", id(b.node): "b"} | {id(n): n.op.name for n in nodes}
    recorded = [(names[id(parent)], n.op.name) for n in nodes for parent in n.parents if parent is not None]
    sent = _walked(loss, nodes, names)  # this frees the graph

    figure = Figure(figsize=(10.6, 3.6))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-1.05, 11.05), ylim=(-0.75, 3.1))
    axes.axis("off")
    shapes = {"x": x.shape, "w": w.shape, "b": b.shape} | {n.op.name: n.shape for n in nodes}
    for name, (px, py) in PLACES.items():
        node = next((n for n in nodes if n.op.name == name), None)
        if node is not None:
            kept = ", ".join(node.op.values[i] for i in node.plan.keep)
            text = f"{name}  {shapes[name]}\nnode {node.order - nodes[-1].order}, keeps {kept}"
        else:
            text = f"{name}  {shapes[name]}\n" + ("constant" if name == "x" else "leaf, has .grad")
        _box(axes, px, py, text, "#eef2f8" if node is not None else "#f6f6f2")
    _arrow(axes, "x", "linear", FORWARD, 0.0, 0)
    for source, result in recorded:
        _arrow(axes, source, result, FORWARD, 0.13, 0)
    for step, (giver, taker) in enumerate(sent, 1):
        _arrow(axes, giver, taker, BACKWARD, 0.13, step)
    axes.text(6.2, -0.45, "blue: recorded on the way forward      red: gradients, in the order in which they are sent",
              ha="center", color=INK, fontsize=10)  # fmt: skip
    _save(figure, path)


def _ancestors(root) -> list:
    """The recorded nodes, newest first."""
    found, stack = {}, [root]
    while stack:
        node = stack.pop()
        if type(node) is not Leaf and node.order not in found:
            found[node.order] = node
            stack += [p for p in node.parents if p is not None]
    return [found[order] for order in sorted(found, reverse=True)]


def _walked(loss: sa.Tensor, nodes: list, names: dict[int, str]) -> list[tuple[str, str]]:
    """(from, to) of every gradient that a backward pass sends: each vjp of the plans reports its result."""
    sent = []
    calls = {node: node.plan.calls for node in nodes}

    def reporting(node, call):
        def reported(g, *values, **memory):
            sent.append((node.op.name, names[id(node.parents[call.argument])]))
            return call.vjp(g, *values, **memory)

        return call._replace(vjp=reported)

    try:
        for node in nodes:
            node.plan.calls = [reporting(node, call) for call in calls[node]]
        loss.backward()
    finally:
        for node in nodes:
            node.plan.calls = calls[node]
    return sent


def _box(axes, x: float, y: float, text: str, colour: str) -> None:
    box = FancyBboxPatch((x - 0.95, y - 0.36), 1.9, 0.72, boxstyle="round,pad=0,rounding_size=0.1", fc=colour, ec=INK)
    axes.add_patch(box)
    title, below = text.split("\n")
    axes.text(x, y + 0.13, title, ha="center", va="center", color=INK, fontsize=10, family="DejaVu Sans Mono")
    axes.text(x, y - 0.17, below, ha="center", va="center", color=INK, fontsize=8)


def _arrow(axes, giver: str, taker: str, colour: str, aside: float, number: int) -> None:
    """From box to box, a little to the left of the straight line, so that there and back do not meet."""
    start, end = (np.array(PLACES[name], float) for name in (giver, taker))
    way = (end - start) / np.linalg.norm(end - start)
    left = aside * np.array([-way[1], way[0]])
    start, end = start + left + way * _reach(way), end + left - way * _reach(way)
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.6})
    if number:
        x, y = (start + end) / 2 + 1.5 * left
        axes.text(x, y, f"{number}", ha="center", va="center", color=PAPER, fontsize=8.5, weight="bold",
                  bbox={"boxstyle": "circle,pad=0.2", "fc": colour, "ec": "none"})  # fmt: skip


def _reach(way: np.ndarray) -> float:
    """How far a box extends in this direction."""
    return min(0.98 / max(abs(way[0]), 1e-9), 0.40 / max(abs(way[1]), 1e-9))


WHAT = {
    "__main__": "the command line", "sklearn": "estimators", "interop": "ONNX, PyTorch",
    "training": "the loop: progress, validation", "runs": "one fit: saving, resuming, sharing",
    "resuming": "going on from a checkpoint",
    "progress": "what is shown meanwhile",
    "identity": "what a run was made with",
    "callbacks": "what looks in after each epoch", "builds": "models by description",
    "history": "numbers per epoch", "autoencoders": "the family", "checkpoint": "models and runs in files",
    "nn": "layers, losses, initialisation", "optim": "optimisers, schedules",
    "functional": "operators and losses as functions",
    "autograd": "Tensor, the engine, the operators",
    "plotting": "pictures", "data": "sets, batches, noise", "storage": "arrays in files", "interrupts": "Ctrl-C",
    "distributed": "several processes", "disk": "files written whole, places, locks",
    "gpu": "kernels, replayed steps", "backend": "NumPy or CuPy, devices", "random": "generators, seeds",
    "checks": "of options and numbers", "changes": "memory written in place",
}  # fmt: skip


def draw_layers(path: Path) -> None:
    """The import contract of pyproject.toml, from top to bottom."""
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    layers = [re.split(r" [|:] ", row) for row in project["tool"]["importlinter"]["contracts"][0]["layers"]]
    figure = Figure(figsize=(9, 0.68 * len(layers) + 0.3))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.55, 10.1), ylim=(-0.2, len(layers) + 0.15))
    axes.axis("off")
    for i, row in enumerate(reversed(layers)):
        width = 10 / len(row)
        for j, name in enumerate(row):
            box = FancyBboxPatch((j * width + 0.06, i + 0.09), width - 0.12, 0.8,
                                 boxstyle="round,pad=0,rounding_size=0.08", fc="#eef2f8", ec=INK)  # fmt: skip
            axes.add_patch(box)
            middle = (j + 0.5) * width
            centred = {"ha": "center", "va": "center", "color": INK}
            axes.text(middle, i + 0.64, name, family="DejaVu Sans Mono", fontsize=10, **centred)
            axes.text(middle, i + 0.3, WHAT[name], fontsize=8.5, **centred)
    axes.annotate("", (-0.25, 0.1), (-0.25, len(layers) - 0.1),
                  arrowprops={"arrowstyle": "-|>", "color": FORWARD, "lw": 1.6})  # fmt: skip
    axes.text(-0.42, len(layers) / 2, "may import", rotation=90, ha="center", va="center", fontsize=9, color=FORWARD)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "scratchae"}):
        figure.savefig(path, facecolor=PAPER, metadata={"Date": None})
