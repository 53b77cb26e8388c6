"""The tutorials as pages: sphinx-gallery runs them with --quick and shows what they print and draw.

The scripts stay as they are. Copies get the form that sphinx-gallery reads: a docstring in reStructuredText with a
title, and comments of the story as blocks of text. `story.py` says which comments these are.
"""

from __future__ import annotations

import builtins
import re
import shutil
import sys
from pathlib import Path

from plain_text import to_rst
from sphinx_gallery.scrapers import figure_rst
from story import parts_of, story_of

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "tutorials"
COPIES = Path(__file__).parents[1] / "_generated" / "tutorials"
OUT = "outputs"  # in COPIES, where sphinx-gallery runs them
HEADER = """\
Tutorials
=========

Read each page from top to bottom, in this order. :doc:`/course/paths` has shorter paths, with times. Each page shows a
run with ``--quick``, a few epochs on the embedded images. The small pictures below come from the longer runs that
``tutorials/README.md`` names. :doc:`/inside/reached` has the results on all 60,000 images. The first lines of each page
link to a notebook of the same content.

"""

FRAMES = {"Predict": "predict", "What": "result", "Exercises": "exercises"}  # classes in scratchae.css

sys.path.insert(0, str(SCRIPTS))

# {script: title}, in the order of the course
TITLES = {
    name: f"{number} {title}"
    for number, title, name in re.findall(r"### \[(\w+) (.+?)\]\((\w+\.py)\)", (SCRIPTS / "README.md").read_text())
}


def write_copies() -> None:
    shutil.rmtree(COPIES, ignore_errors=True)
    COPIES.mkdir(parents=True)
    (COPIES / "GALLERY_HEADER.rst").write_text(HEADER)
    if missing := {script.name for script in SCRIPTS.glob("[0-9]*_*.py")} - set(TITLES):
        raise ValueError(f"tutorials/README.md has no heading for {', '.join(sorted(missing))}")
    for name, title in TITLES.items():
        (COPIES / name).write_text(adapted((SCRIPTS / name).read_text(), title, Path(name).stem))


def course_order(name: str) -> int:
    """The place of a script in tutorials/README.md."""
    return list(TITLES).index(name)


def adapted(text: str, title: str, stem: str) -> str:
    doc, parts = parts_of(text)
    doc = "\n".join(_rst(doc.split("\n")))
    download = f":download:`Download this tutorial as a notebook </_generated/notebooks/{stem}.ipynb>`"
    picture = ROOT / "docs" / "tutorials" / f"{stem}.png"
    thumbnail = f"# sphinx_gallery_thumbnail_path = 'tutorials/{picture.name}'\n" if picture.exists() else ""
    blocks = "".join(part if kind == "code" else _text_block(part) for kind, part in parts)
    blocks = re.sub(r"# %%\n+(?=# %%\n)", "", blocks)  # between two texts
    return f'r"""\n{title}\n{"=" * len(title)}\n\n{doc}\n\n{download}\n"""\n{thumbnail}{blocks}'


def _rst(lines: list[str]) -> list[str]:
    """reStructuredText in which drawings and commands are not coloured as Python."""
    return [f"{line[:-2]}.. code-block:: none" if line.strip() == "::" else line for line in to_rst(lines)]


def _text_block(comment: str) -> str:
    """A comment of the story as text. Predictions, results and exercises get a frame with their name as its title."""
    name, lines = story_of(comment)
    rst = _rst(lines)
    if name[0].isdigit():
        rst[0] = f"**{name}** {rst[0]}"
    else:
        rst = [re.sub(r"^(Change a constant|Explain a number|Write code):", r"**\1:**", line) for line in rst]
        frame = [f".. admonition:: {name}", f"   :class: story {FRAMES[name.split()[0]]}", ""]
        rst = [*frame, *(f"   {line}".rstrip() for line in rst)]
    return "# %%\n" + "\n".join(f"# {line}".rstrip() for line in rst) + "\n\n# %%\n"


def arguments(gallery_conf: dict, script_vars: dict) -> list[str]:
    return ["--quick", "--out", OUT]


def prepare(gallery_conf: dict, script: str) -> None:
    """Before each script: what it finds when it is run by itself, but for an end that ends the process."""
    import common

    def finish() -> None:
        missed = [what for what, found in common._results.items() if not found["reached"]]
        common._results.clear()
        if missed:
            raise RuntimeError(f"missed: {', '.join(missed)}")

    common.finish = finish
    builtins.__file__ = str(script)  # sphinx-gallery sets none, and the scripts name their folder by it


class Pictures:
    """After each block of code: the pictures that it has written, each over the full width."""

    def __repr__(self) -> str:
        return "Pictures"

    def __call__(self, block: tuple, block_vars: dict, gallery_conf: dict) -> str:
        folder = COPIES / OUT / Path(block_vars["src_file"]).stem
        new = sorted(folder.glob("*.png"), key=lambda p: p.stat().st_mtime_ns)
        rst = ""
        for picture, target in zip(new, block_vars["image_path_iterator"], strict=False):
            shutil.move(picture, target)
            rst += figure_rst([target], gallery_conf["src_dir"])
        return rst + "\n\n.. rst-class:: run\n\nRun: ``--quick``, on the embedded data.\n\n" * bool(new)


pictures = Pictures()
