"""The measured training steps, as a user of each library would write them. Each library has a file.

    dense(case, weights)                        mean squared error; `case` is a `Dense` of workloads.py
    convolutional(weights)                      "conv-pool 1-16-16-16-1", cross entropy on logits
    variational(sizes, weights, noise)          cross entropy on logits, and the KL divergence; `noise()` is an array

A builder returns `step(x)`. A step trains with Adam (rate 1e-3) on a batch, and returns the loss. `batch` and `images`
turn arrays of NumPy into those of the library. `weights` are NumPy arrays in PyTorch's shapes and order. A line that
ends with "# equal weights" or "# equal noise" belongs to the comparison, and a user does not write this line. A library
without one of the builders has no operations for the workload.
"""

from __future__ import annotations

import ast
from pathlib import Path

COMPARISON = ("# equal weights", "# equal noise")
BUILDERS = ("dense", "convolutional", "variational")


def lines_of_a_step(module: str) -> dict[str, int]:
    """The number of lines that a user writes for the model, the loss, the optimiser and the step, by builder.

    The lines of the builder count, and the lines of the functions and classes of the same file that the builder uses.
    Imports, blank lines, comments, docstrings and lines of the comparison do not count. The file is read and not
    imported, so its library need not be installed.
    """
    text = (Path(__file__).parent / f"{module}.py").read_text()
    defined = {node.name: node for node in ast.parse(text).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    lines = text.splitlines()
    return {name: _count(name, defined, lines) for name in BUILDERS if name in defined}


def _count(name: str, defined: dict[str, ast.FunctionDef | ast.ClassDef], lines: list[str]) -> int:
    counted: set[int] = set()
    waiting, seen = [name], set()
    while waiting:
        node = defined[waiting.pop()]
        seen.add(node.name)
        here = _code_lines(node, lines)
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.lineno in here and n.id in defined}
        waiting += used - seen - set(waiting)
        counted |= here
    return len(counted)


def _code_lines(node: ast.AST, lines: list[str]) -> set[int]:
    docstrings: set[int] = set()
    for part in ast.walk(node):
        if isinstance(part, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(part) is not None:
            docstrings.update(range(part.body[0].lineno, part.body[0].end_lineno + 1))
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return {
        i
        for i in range(first, node.end_lineno + 1)
        if (line := lines[i - 1].strip())
        and not line.startswith("#")
        and not line.endswith(COMPARISON)
        and i not in docstrings
    }
