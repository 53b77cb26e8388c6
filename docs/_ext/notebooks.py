"""The tutorials as notebooks, which run by themselves in any folder.

The code of a notebook is the code of the script. The docstring and the comments of the story become text. Some cells
before the script's code replace what a notebook lacks:

- a cell for each file that the script imports, such as common.py, writes this file;
- the last of them gives the script its name and its command line, and an end that does not end the kernel;
- this cell also shows each new picture of the script below the cell that has drawn the picture.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import textwrap
from pathlib import Path

from story import parts_of, story_of

NEEDS = """\
This notebook runs as it is, in any folder. It needs the package scratchae. The first cells write {files} into the
folder. The last of these cells holds the command line. `--quick` means a short training on the embedded images. Without
`--quick`, the notebook uses the whole sample. With `"--data", "full"`, most notebooks use all images.
"""

START = '''\
import sys
from pathlib import Path

from IPython import get_ipython
from IPython.display import Image, display

__file__ = "{script}"
sys.argv = [__file__, "--quick"]

import common

common.finish = lambda: None  # a script ends its process here; a notebook goes on


def _pictures():
    return {{path: path.stat().st_mtime_ns for path in Path("outputs", Path(__file__).stem).glob("*.png")}}


def _show_new_pictures(result):
    """Show the pictures that a cell has drawn."""
    new = {{path: time for path, time in _pictures().items() if _shown.get(path) != time}}
    for path in sorted(new, key=new.get):
        display(Image(str(path), width=700))
    _shown.update(new)


_shown = _pictures()
get_ipython().events.register("post_run_cell", _show_new_pictures)'''


def to_markdown(lines: list[str]) -> str:
    """Paragraphs with their marks escaped, each in a line of its own; what is indented, such as a drawing, as code."""
    blocks: list[tuple[str, list[str]]] = []  # ("text" or "code", lines)
    ended = True
    for line in lines:
        kind = "code" if line.startswith(" ") else "text"
        if not line.strip():
            ended = True
        elif blocks and blocks[-1][0] == kind == "code":  # also after an empty line
            blocks[-1][1].extend([""] * ended + [line])
            ended = False
        elif blocks and blocks[-1][0] == kind and not ended and not line.startswith("- "):
            blocks[-1][1].append(line)
        else:
            blocks.append((kind, [line]))
            ended = False
    texts = [
        "```text\n" + textwrap.dedent("\n".join(rows)) + "\n```" if kind == "code" else _inline(" ".join(rows))
        for kind, rows in blocks
    ]
    return "\n\n".join(texts)


def _inline(text: str) -> str:
    """`text` with Markdown's marks escaped outside backticks."""
    parts = re.split(r"(`+[^`]+`+)", text)
    return "".join(part if i % 2 else re.sub(r"[\\*$<>]|(?<!\w)_", r"\\\g<0>", part) for i, part in enumerate(parts))


def imported(script: Path) -> list[Path]:
    """The files beside a script that the script imports, and those that they import."""
    found: list[Path] = []
    waiting = [script]
    while waiting:
        names = re.findall(r"^\s*(?:from|import) (\w+)", waiting.pop().read_text(), re.MULTILINE)
        new = [file for name in names if (file := script.with_name(f"{name}.py")).exists() and file not in found]
        found += dict.fromkeys(new)
        waiting += new
    return sorted(found)


def quiet(code: str) -> str:
    """`code` with a semicolon after a last expression. A picture is shown from the file, and not a second time."""
    last = ast.parse(code).body[-1]
    if not isinstance(last, ast.Expr):
        return code
    lines = code.split("\n")
    row, column = last.end_lineno - 1, last.end_col_offset
    lines[row] = f"{lines[row][:column]};{lines[row][column:]}"
    return "\n".join(lines)


def notebook(script: Path, title: str) -> dict:
    """A script of the tutorials as a notebook, nbformat 4.5."""
    whole = script.read_text()
    doc, parts = parts_of(whole)
    files = imported(script)
    code = "".join(part for kind, part in parts if kind == "code")
    if script.name in re.sub(r"^#.*", "", code, flags=re.MULTILINE):
        files.append(script)  # the script starts itself again
    cells = [
        ("markdown", f"# {title}\n\n{to_markdown(doc.split(chr(10)))}"),
        ("markdown", " ".join(NEEDS.format(files=" and ".join(f"`{file.name}`" for file in files)).split())),
        *(("hidden", f"%%writefile {file.name}\n{file.read_text()}") for file in files),
        ("code", START.format(script=script.name)),
    ]
    for kind, part in parts:
        if kind == "code" and part.strip():
            cells.append(("code", quiet(part.strip("\n"))))
        elif kind == "story":
            name, lines = story_of(part)
            text = to_markdown(lines)
            if name[0].isdigit():
                cells.append(("markdown", f"**{name}** {text}"))
            else:
                cells.append(("markdown", textwrap.indent(f"**{name}**\n\n{text}", "> ", lambda line: True)))
    return {
        "cells": [_cell(kind, source, f"{script.stem} {i}") for i, (kind, source) in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _cell(kind: str, source: str, name: str) -> dict:
    cell = {
        "cell_type": "markdown" if kind == "markdown" else "code",
        "id": hashlib.sha256(name.encode()).hexdigest()[:12],
        "metadata": {"jupyter": {"source_hidden": True}} if kind == "hidden" else {},
        "source": source.splitlines(keepends=True),
    }
    return cell if kind == "markdown" else {**cell, "execution_count": None, "outputs": []}


def write_notebooks(titles: dict[str, str], scripts: Path, folder: Path) -> None:
    """A notebook for each {script: title} into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, title in titles.items():
        path = folder / f"{Path(name).stem}.ipynb"
        path.write_text(json.dumps(notebook(scripts / name, title), indent=1, ensure_ascii=False) + "\n")
