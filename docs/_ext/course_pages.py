"""Parts of the course's pages that are made from the tutorials: links by number, and tables of paths."""

from __future__ import annotations

import json
import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole
from tutorial_pages import SCRIPTS, TITLES

QUICK = Path(__file__).parents[1] / "course" / "quick_seconds.json"  # time_quick.py writes this file

PATHS = {
    "hour": ("0A", "01", "03"),
    "day": ("0A", "01", "02", "02B", "02C", "03", "04", "05", "06", "09", "10"),
    "week": None,  # all, in the order of tutorials/README.md
}
NUMBERS = {title.split()[0]: (name, title) for name, title in TITLES.items()}


LONG = """\
The column "all images" gives the time of a long run on all images. These times come from `tutorials/results.json`, from
a machine with two cores.
"""
SHORT = """\
The column `--quick` gives the time of a short run on the embedded images. The pages of the tutorials show this run.
"""


class Tutorial(SphinxRole):
    """{tutorial}`01` is the number 01, a link to its page."""

    def run(self) -> tuple[list[nodes.Node], list]:
        if self.text not in NUMBERS:
            logging.getLogger(__name__).warning("no tutorial %s", self.text, location=self.get_location())
            return [nodes.inline("", self.text)], []
        name, title = NUMBERS[self.text]
        target = f"/gallery/{Path(name).stem}"
        link = addnodes.pending_xref(
            self.rawtext, nodes.inline("", self.text), refdomain="std", reftype="doc", reftarget=target,
            refexplicit=True, refwarn=True, refdoc=self.env.docname, reftitle=title,
        )  # fmt: skip
        return [link], []


def question_of(script: Path) -> str:
    """The first sentence of a script's docstring."""
    first = re.match(r'"""(.*?)(?:\n\n|\n?""")', script.read_text(), re.DOTALL)[1]
    sentence = re.match(r"(.*?[.?!])(?:\s|$)", " ".join(first.split()))
    return (sentence[1] if sentence else first).replace("|", r"\|")


def write_tables(folder: Path) -> None:
    """For each path a table of its tutorials, with the times that were measured."""
    results = json.loads((SCRIPTS / "results.json").read_text())
    results = {name: found for name, found in results.items() if found["data"] == "full"}
    quick = json.loads(QUICK.read_text()) if QUICK.exists() else {}
    (folder / "path_columns.md").write_text(SHORT * bool(quick) + LONG)
    for path, numbers in PATHS.items():
        rows = [["tutorial", "question", "`--quick`", "all images", "notebook"], ["---"] * 5]
        together = [0.0, 0.0]
        for name, title in (NUMBERS[n] for n in numbers or NUMBERS if n in NUMBERS):
            stem = Path(name).stem
            short, long = quick.get(stem, 0), results.get(stem, {"minutes": 0})["minutes"]
            together = [together[0] + short / 60, together[1] + long]
            notebook = f"{{download}}`notebook </_generated/notebooks/{stem}.ipynb>`"
            question, seconds = question_of(SCRIPTS / name), f"{short:.0f} s" if short else ""
            rows.append([f"[{title}](/gallery/{stem}.rst)", question, seconds, spoken(long), notebook])
        rows.append(["**together**", "", *map(spoken, together), ""])
        if not quick:  # nothing was measured
            rows = [row[:2] + row[3:] for row in rows]
        (folder / f"path_{path}.md").write_text("".join(f"| {' | '.join(row)} |\n" for row in rows))


def spoken(minutes: float) -> str:
    if not minutes:
        return ""
    return f"{minutes / 60:.1f} h" if minutes >= 100 else f"{minutes:.0f} min" if minutes >= 1 else "under 1 min"
