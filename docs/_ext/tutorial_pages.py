"""The tutorials as pages: sphinx-gallery runs them with --quick and shows what they print and draw.

The scripts stay as they are. Copies get the form that sphinx-gallery reads: a docstring in reStructuredText with a
title, and comments of the story as blocks of text. These comments begin with "# 1.", "# Predict first:", "# What you
should see" or "# Exercises", at the start of a line.
"""

from __future__ import annotations

import builtins
import re
import shutil
import sys
from pathlib import Path

from plain_text import to_rst
from sphinx_gallery.scrapers import figure_rst

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "tutorials"
COPIES = Path(__file__).parents[1] / "_generated" / "tutorials"
OUT = "outputs"  # in COPIES, where sphinx-gallery runs them
HEADER = """\
Tutorials
=========

Scripts to read from top to bottom, in this order. These pages were made by running them with ``--quick``, a few
epochs on the embedded images; the small pictures are from longer runs. What each reaches on all 60,000 images is
under :doc:`/inside/reached`.

"""

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
    doc, code = re.match(r'"""(.*?)\n"""\n(.*)', text, re.DOTALL).groups()
    doc = "\n".join(to_rst(doc.split("\n")))
    picture = ROOT / "docs" / "tutorials" / f"{stem}.png"
    thumbnail = f"# sphinx_gallery_thumbnail_path = 'tutorials/{picture.name}'\n" if picture.exists() else ""
    blocks = re.sub(rf"^# (?:{STORY}).*\n(?:#.*\n)*", _text_block, code, flags=re.MULTILINE)
    return f'r"""\n{title}\n{"=" * len(title)}\n\n{doc}\n"""\n{thumbnail}{blocks}'


STORY = r"\d+\.|Predict first|What you should see|Exercises"


def _text_block(match: re.Match) -> str:
    """A comment of the story as text. Predictions, results and exercises get a frame with their name as its title."""
    name, first, rest = re.match(rf"# ({STORY})[:.,]? ?(.*)\n((?:#.*\n)*)", match[0]).groups()
    body = [line[2:] for line in rest.rstrip("\n").split("\n")] if rest else []
    if name[0].isdigit():
        rst = to_rst([first, *(line[len(name) + 1 :] for line in body)])
        rst[0] = f"**{name}** {rst[0]}"
    else:
        rst = to_rst([first, *body])
        rst = [f".. admonition:: {name}", "   :class: story", "", *(f"   {line}" for line in rst)]
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
        return rst


pictures = Pictures()
