"""The drawings. Two are made from the code itself: a graph that was recorded and walked, and the import contract."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon

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


CODE = (0.9, 0.1, 0.6, 0.3, 0.8, 0.2, 0.5, 1.0, 0.4, 0.7, 0.2, 0.9, 0.5, 0.1, 0.8, 0.3)  # heights of a drawn code


def draw_autoencoder(path: Path) -> None:
    """Image, encoder, latent code, decoder, reconstruction, and the loss that compares both ends."""
    figure = Figure(figsize=(10.6, 4.2))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 10.6), ylim=(0, 4.2))
    axes.axis("off")
    centred = {"ha": "center", "va": "center", "color": INK}
    for x, name, colour, text in ((0.95, "x", "#f6f6f2", "image\n784 pixels"),
                                  (9.65, "x\u2032", "#f6f6f2", "reconstruction\n784 pixels")):  # fmt: skip
        _room(axes, x - 0.6, 1.9, 1.2, 1.9, colour)
        axes.text(x, 3.1, name, fontsize=15, style="italic", **centred)
        axes.text(x, 2.4, text, fontsize=9, **centred)
    for points, x, name, formula in (
        (((1.9, 3.8), (4.2, 3.25), (4.2, 2.45), (1.9, 1.9)), 3.05, "encoder", "z = f(W x + b)"),
        (((6.4, 3.25), (8.7, 3.8), (8.7, 1.9), (6.4, 2.45)), 7.55, "decoder", "x\u2032 = g(V z + c)"),
    ):
        axes.add_patch(Polygon(points, fc="#eef2f8", ec=INK))
        axes.text(x, 3.05, name, fontsize=12, **centred)
        axes.text(x, 2.6, formula, fontsize=9.5, family="DejaVu Sans Mono", **centred)
    for i, height in enumerate(CODE):
        axes.add_patch(Polygon(_bar(4.62 + 0.085 * i, 2.5, 0.06, 0.65 * height), fc=FORWARD, ec="none"))
    axes.text(5.3, 3.55, "latent code z, 16 numbers", fontsize=10, **centred)
    axes.text(5.3, 2.2, "the bottleneck", fontsize=10, **centred)
    for start, end in ((1.55, 1.9), (4.2, 4.55), (6.05, 6.4), (8.7, 9.05)):
        axes.annotate("", (end, 2.85), (start, 2.85), arrowprops={"arrowstyle": "-|>", "color": FORWARD, "lw": 1.6})
    for x in (0.95, 9.65):
        axes.plot((x, x), (1.9, 0.9), color=BACKWARD, lw=1.6)
        style = {"arrowstyle": "-|>", "color": BACKWARD, "lw": 1.6, "shrinkA": 0}
        axes.annotate("", (2.95 if x < 5 else 7.65, 0.9), (x, 0.9), arrowprops=style)
    _room(axes, 2.95, 0.4, 4.7, 1.0, "#fdf0e3")
    axes.text(5.3, 1.08, "loss: how far is x\u2032 from x?", fontsize=11, **centred)
    axes.text(5.3, 0.7, "its gradient changes W, b, V and c", fontsize=9, **centred)
    _save(figure, path)


def _bar(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


WHAT = {
    "__main__": "the command line",
    "commands": "verbs of the command line", "explorer": "a page to walk in the code space",
    "distributed": "several processes", "interop": "NumPy, ONNX, PyTorch",
    "measures": "of drawn images", "plotting": "pictures", "sklearn": "estimators", "data.datasets": "MNIST",
    "builds": "models by description",
    "data.download": "published files", "data.files": "your own files", "data.toys": "point clouds",
    "data.transforms": "changes of images",
    "data.columns": "tables as features", "data.series": "windows", "data.tables": "tables in files",
    "data.idx": "the file format of MNIST",
    "debug": "guards, longer errors, gradcheck", "files": "weights, checkpoints, resuming, signals",
    "gpu": "kernels, replayed steps", "more": "what few models need",
    "fast": "faster ways on the CPU", "guards": "finite numbers in training", "progress": "the bar of a run",
    "autoencoders": "the family, one kind per file", "training": "the loop over epochs and batches",
    "callbacks": "after each epoch, and in a step", "plugins": "the moments of a step",
    "data.loader": "batches", "data.noise": "ways to damage an input",
    "history": "numbers per epoch", "optim": "optimisers and schedules",
    "nn": "layers, losses, initialisation", "images.layers": "layers for images",
    "functional": "operators and losses as functions",
    "losses": "the formulas of losses", "images.functions": "operators on images, arguments checked",
    "images.options": "strides, paddings", "images.pooling": "pooling, and its reverse",
    "images.conv": "the three convolutions",
    "autograd": "Tensor, the engine, operators", "random": "generators, seeds", "images.window": "a kernel on an image",
    "backend": "NumPy or CuPy, devices", "changes": "memory written in place", "checks": "of options and numbers",
    "attach": "the door for optional rooms",
}  # fmt: skip

SECOND = re.compile(r"images\.|autoencoders|training|callbacks|plugins|history|data\.(loader|noise)")
"""What is read on the second evening; below the rooms, all other files are for the first evening."""
OPTIONAL = "optional, attached from above"
COLOURS = {OPTIONAL: "#f6f6f2", "the second evening": "#fdf0e3", "the first evening": "#eef2f8"}


def layers() -> list[list[str]]:
    """The rows of the import contract of pyproject.toml, from top to bottom."""
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    rows = project["tool"]["importlinter"]["contracts"][0]["layers"]
    return [re.split(r" [|:] ", row) for row in rows]


def draw_layers(path: Path) -> None:
    """The import contract, and what is read on which evening."""
    rows = layers()
    rooms = next(i for i, row in enumerate(rows) if "training" in row)  # the first row of the core
    figure = Figure(figsize=(10.2, 0.58 * len(rows) + 0.6))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.55, 10.1), ylim=(-0.7, len(rows) + 0.15))
    axes.axis("off")
    centred = {"ha": "center", "va": "center", "color": INK}
    for i, row in enumerate(rows):
        width, y = 10 / len(row), len(rows) - 1 - i
        for j, name in enumerate(row):
            core = "the second evening" if SECOND.match(name) else "the first evening"
            _room(axes, j * width + 0.06, y + 0.09, width - 0.12, 0.8, COLOURS[OPTIONAL if i < rooms else core])
            middle = (j + 0.5) * width
            axes.text(middle, y + 0.65, name, family="DejaVu Sans Mono", fontsize=9.5, **centred)
            axes.text(middle, y + 0.3, WHAT[name], fontsize=7.5, **centred)
    for j, (text, colour) in enumerate(COLOURS.items()):
        _room(axes, 0.06 + 3.1 * j, -0.5, 0.4, 0.3, colour)
        axes.text(0.6 + 3.1 * j, -0.35, text, ha="left", va="center", color=INK, fontsize=9)
    axes.annotate("", (-0.25, 0.1), (-0.25, len(rows) - 0.1),
                  arrowprops={"arrowstyle": "-|>", "color": FORWARD, "lw": 1.6})  # fmt: skip
    axes.text(-0.42, len(rows) / 2, "may import", rotation=90, ha="center", va="center", fontsize=9, color=FORWARD)
    _save(figure, path)


def _room(axes, x: float, y: float, width: float, height: float, colour: str) -> None:
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.08", fc=colour, ec=INK))


def _save(figure: Figure, path: Path) -> None:
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "scratchae"}):
        figure.savefig(path, facecolor=PAPER, metadata={"Date": None})
