"""Docstrings and comments as reStructuredText.

Those in the code are written to be read in the code: `names` in single backticks, formulas with stars and bars, and
what is indented is an example or a table. This says the same in reStructuredText, so that the code need not know it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

SECTIONS = ("Args:", "Raises:", "Attributes:", "Returns:", "Yields:")


def to_rst(lines: list[str], code: Callable[[str], str] = "``{}``".format) -> list[str]:
    """Paragraphs with their marks escaped, indented blocks as literal ones; `code` renders what is in backticks."""
    out: list[str] = []
    literal, margin, section = False, 0, None
    for i, line in enumerate(lines):
        text, indent = line.strip(), len(line) - len(line.lstrip())
        if not text:
            out.append("")
            continue
        if section is not None and indent <= section:
            section = None
        if text in SECTIONS:
            section = indent
            out.append(line)
            margin, literal = indent, False
            continue
        if literal and indent > margin:
            out.append(line)
            continue
        if literal and out[-1]:
            out.append("")
        literal = indent > margin and section is None and i > 0
        if literal:
            out += ["", " " * margin + "::", "", line]
        else:
            margin = indent if section is None else margin
            doctest = text.startswith(">>>") or (i and lines[i - 1].strip().startswith(">>>"))
            out.append(line if doctest else " " * indent + _inline(text, code))
    return out


def _inline(text: str, code: Callable[[str], str]) -> str:
    parts = re.split(r"(?<![`\w])(``?)([^`]+)\1", text)
    for i in range(0, len(parts), 3):
        parts[i] = re.sub(r"[*|\\]|(?<=\w)_(?!\w)", r"\\\g<0>", parts[i])
        if i + 2 < len(parts):
            glued = parts[i + 3][:1].isalnum() if i + 3 < len(parts) else False
            parts[i + 1], parts[i + 2] = "", code(parts[i + 2]) + ("\\ " if glued else "")
    return "".join(parts)
