"""How a tutorial tells its story: a docstring, then comments and code in turn.

A comment of the story begins at the start of a line with "# 1.", "# Predict first:", "# What you should see, and why:"
or "# Exercises". All other comments belong to the code.
"""

from __future__ import annotations

import re

NAMES = r"\d+\.(?= )|Predict first|What you should see, and why|What you should see|Exercises"


def parts_of(script: str) -> tuple[str, list[tuple[str, str]]]:
    """The docstring, and the rest as ("code", code) and ("story", comment) in turn."""
    doc, rest = re.match(r'"""(.*?)\n"""\n(.*)', script, re.DOTALL).groups()
    parts, end = [], 0
    for comment in re.finditer(rf"^# (?:{NAMES}).*\n(?:#(?! (?:{NAMES})).*\n)*", rest, re.MULTILINE):
        parts += [("code", rest[end : comment.start()]), ("story", comment[0])]
        end = comment.end()
    return doc, [*parts, ("code", rest[end:])]


def story_of(comment: str) -> tuple[str, list[str]]:
    """The name of a comment of the story, such as "1." or "Exercises", and its lines without marks of a comment."""
    name, first, rest = re.match(rf"# ({NAMES})[:.,]? ?(.*)\n((?:#.*\n)*)", comment).groups()
    first = first[:1].upper() + first[1:]
    margin = 2 + (len(name) + 1 if name[0].isdigit() else 0)
    lines = [line[margin:].rstrip() for line in rest.split("\n")]
    return name, [first, *"\n".join(lines).rstrip().split("\n")] if rest.strip("#\n") else [first]
