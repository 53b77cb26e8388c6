"""The tutorials as pages: sphinx-gallery runs them with --quick and shows what they print and draw.

The scripts stay as they are. Copies get what sphinx-gallery wants to see: a docstring in reStructuredText with a title,
and comments that tell the story, which begin a line with "# 1." or go on with "#    ", as blocks of text.
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


def write_copies() -> None:
    shutil.rmtree(COPIES, ignore_errors=True)
    COPIES.mkdir(parents=True)
    (COPIES / "GALLERY_HEADER.rst").write_text(HEADER)
    titles = dict(re.findall(r"### \[\d\d (.+?)\]\((\w+)\.py\)", (SCRIPTS / "README.md").read_text()))
    titles = {name: title for title, name in titles.items()}
    for script in sorted(SCRIPTS.glob("[0-9][0-9]_*.py")):
        title = f"{script.stem[:2]} {titles.get(script.stem, script.stem[3:].replace('_', ' ').capitalize())}"
        (COPIES / script.name).write_text(adapted(script.read_text(), title, script.stem))


def adapted(text: str, title: str, stem: str) -> str:
    doc, code = re.match(r'"""(.*?)\n"""\n(.*)', text, re.DOTALL).groups()
    doc = "\n".join(to_rst(doc.split("\n")))
    picture = ROOT / "docs" / "tutorials" / f"{stem}.png"
    thumbnail = f"# sphinx_gallery_thumbnail_path = 'tutorials/{picture.name}'\n" if picture.exists() else ""
    blocks = re.sub(r"^# (?:\d\.| {3}).*\n(?:#.*\n)*", _text_block, code, flags=re.MULTILINE)
    return f'r"""\n{title}\n{"=" * len(title)}\n\n{doc}\n"""\n{thumbnail}{blocks}'


def _text_block(match: re.Match) -> str:
    lines = [line[2:] for line in match[0].rstrip("\n").split("\n")]
    number = re.match(r"(\d)\. ", lines[0])
    body = [line[3:] for line in lines]
    rst = to_rst(body)
    rst[0] = f"**{number[1]}.** {rst[0]}" if number else rst[0]
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
