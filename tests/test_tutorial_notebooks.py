"""The tutorials as notebooks: the code of each script, and its whole story."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "tutorials").glob("[0-9]*_*.py"))
sys.path.append(str(ROOT / "docs" / "_ext"))

from notebooks import notebook, to_markdown  # noqa: E402
from story import parts_of, story_of  # noqa: E402


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_notebook_has_the_code_of_its_script(script: Path) -> None:
    cells = [("".join(cell["source"]), cell) for cell in notebook(script, "01 A title")["cells"]]
    text = [source for source, cell in cells if cell["cell_type"] == "markdown"]
    code = [source for source, cell in cells if cell["cell_type"] == "code"]
    assert text[0].startswith("# 01 A title\n\n")
    assert "%%writefile common.py\n" + script.with_name("common.py").read_text() in code
    start = next(i for i, source in enumerate(code) if f'__file__ = "{script.name}"' in source)
    compile(code[start], "start", "exec")
    whole = ast.parse(script.read_text())
    assert ast.dump(ast.parse("\n".join(code[start + 1 :]))) == ast.dump(ast.Module(whole.body[1:], []))
    assert len({cell["id"] for _, cell in cells}) == len(cells)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_no_word_of_a_story_is_lost(script: Path) -> None:
    doc, parts = parts_of(script.read_text())
    shown = words("".join("".join(cell["source"]) for cell in notebook(script, "")["cells"][:1]))
    assert shown == words(doc)
    for kind, comment in parts:
        if kind == "story":
            name, lines = story_of(comment)
            told = words(re.sub(r"^#", "", comment, flags=re.MULTILINE))
            assert words(name) + words(to_markdown(lines)) == told


def words(text: str) -> list[str]:
    return re.findall(r"\w+", re.sub("^```text$", "", text, flags=re.MULTILINE).lower())


def test_a_prediction_after_a_paragraph_is_a_part_of_its_own() -> None:
    script = (
        '"""What?\n"""\nx = 1\n\n# 1. One\n#    more.\n#\n# Predict first: which? Choose (a).\n# 0.5 or (b).\ny = 2\n'
    )
    doc, parts = parts_of(script)
    assert doc == "What?"
    assert parts == [
        ("code", "x = 1\n\n"), ("story", "# 1. One\n#    more.\n#\n"), ("code", ""),
        ("story", "# Predict first: which? Choose (a).\n# 0.5 or (b).\n"), ("code", "y = 2\n"),
    ]  # fmt: skip
    assert story_of(parts[1][1]) == ("1.", ["One", "more."])
    assert story_of(parts[3][1]) == ("Predict first", ["Which? Choose (a).", "0.5 or (b)."])


def test_text_keeps_its_drawings_formulas_and_marks() -> None:
    lines = ["A sum x * y * z of `a * b`,", "and _one.", "", "      x -> z", "", "         z = W x", "Then $5."]
    paragraph, drawing = "A sum x \\* y \\* z of `a * b`, and \\_one.", "```text\nx -> z\n\n   z = W x\n```"
    assert to_markdown(lines) == f"{paragraph}\n\n{drawing}\n\nThen \\$5."
