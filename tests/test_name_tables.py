"""The tables of names in the guides for users of other libraries: each of our names exists, and can be called so."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim

DOCS = Path(__file__).parents[1] / "docs"
MODEL = sa.Autoencoder.dense((4, 2))
OPTIMIZER = optim.SGD(MODEL.parameters())
NAMES = {
    "sa": sa, "F": F, "nn": nn, "optim": optim, "np": np, "x": sa.tensor([1.0]), "model": MODEL, "optimizer": OPTIMIZER,
    "trainer": sa.Trainer(MODEL, OPTIMIZER), "schedule": optim.StepLR(OPTIMIZER, 1), "history": sa.History(),
    "parameter": nn.Parameter([1.0]), "layer": nn.Linear(2, 2),
}  # fmt: skip

NAMES["parameter"].grad = np.ones(1, np.float32)


def tables(page: str) -> Iterator[list[list[str]]]:
    """The rows of each table of names, as [theirs, ours]."""
    for block in re.findall(r"(?:^\|.*\n)+", (DOCS / page).read_text(), re.MULTILINE):
        head, _, *rows = ([cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines())
        if head[1:] == ["scratchae"]:
            yield rows


def rows_of(page: str) -> list[list[str]]:
    return [row for table in tables(page) for row in table]


def spans(cell: str) -> list[str]:
    """The parts in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def found(node: ast.expr) -> Any:
    """What a dotted name means; None for a name that stands for something of the reader's."""
    path: list[str] = []
    while isinstance(node, ast.Attribute):
        path, node = [node.attr, *path], node.value
    if not isinstance(node, ast.Name) or node.id not in NAMES:
        return None
    return functools.reduce(getattr, path, NAMES[node.id])


def check(code: str) -> None:
    """Raise AttributeError for a name that is not there, TypeError for arguments that a function does not take."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute):
            found(node)
        if isinstance(node, ast.Call) and callable(function := found(node.func)):
            made = isinstance(function, type) and function.__init__ is not object.__init__  # type: ignore[misc]
            try:  # the signature of a class shows no inherited constructor in Python 3.10
                signature = inspect.signature(function.__init__ if made else function)
            except ValueError:  # some of NumPy's have none
                continue
            given = [None] * made + [a for a in node.args if not isinstance(a, ast.Starred)]
            signature.bind_partial(*given, **{k.arg: k.value for k in node.keywords if k.arg})


PAGES = {"from_pytorch.md": 400, "from_keras.md": 150}


@pytest.mark.parametrize("page", PAGES)
def test_every_name_of_ours_exists(page: str) -> None:
    rows = rows_of(page)
    assert len(rows) >= PAGES[page]
    for theirs, ours in rows:
        assert ours, theirs
        for code in spans(ours):
            try:
                check(code)
            except (AttributeError, TypeError, SyntaxError) as error:
                pytest.fail(f"{page}: {theirs}: {code}: {error}")


@pytest.mark.parametrize("page", PAGES)
def test_names_are_in_order_and_come_once(page: str) -> None:
    for table in tables(page):
        names = [name for theirs, _ in table for name in spans(theirs)]
        assert len(set(names)) == len(names)
        firsts = [row[0].strip("`").lower() for row in table]
        assert all(a <= b for a, b in pairwise(firsts)), [pair for pair in pairwise(firsts) if pair[0] > pair[1]]


WRONG = ["F.nothing(x)", "nn.Linear(2, 2, width=3)", "x.nothing", "sa.data.nothing", "nn.ReLU(1)"]


@pytest.mark.parametrize("code", WRONG)
def test_a_wrong_name_or_argument_is_noticed(code: str) -> None:
    with pytest.raises((AttributeError, TypeError)):
        check(code)
