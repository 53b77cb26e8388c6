"""What a release must agree on: its version, the versions of Python, the lowest versions of dependencies, ruff."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import scratchae as sa
from scratchae.__main__ import main

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tools"))

from lower_bounds import lowest  # noqa: E402


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_one_version_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"{sa.__version__}\n"
    newest = re.search(r"^## (\S+), (\S+)$", text_of("CHANGELOG.md"), re.M)
    cited = re.search(r"^version: (\S+)\ndate-released: (\S+)$", text_of("CITATION.cff"), re.M)
    assert newest is not None and cited is not None
    assert newest.groups() == cited.groups() and newest[1] == sa.__version__


def test_ci_runs_on_the_versions_of_python_that_are_promised() -> None:
    project = text_of("pyproject.toml")
    promised = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    assert re.search(r'requires-python = ">=(.*)"', project)[1] == promised[0]  # type: ignore[index]
    matrix = re.search(r"python: \[(.*)\]", text_of(".github/workflows/ci.yml"))
    assert matrix is not None and re.findall(r'"(.*?)"', matrix[1]) == promised


def test_one_version_of_ruff() -> None:
    pinned = re.search(r'"ruff==(.*?)"', text_of("pyproject.toml"))
    hook = re.search(r"rev: v(.*)", text_of(".pre-commit-config.yaml"))
    assert pinned is not None and hook is not None and pinned[1] == hook[1]


def test_the_lowest_versions_are_those_of_the_extras() -> None:
    given = ["numpy>=2.0", "a-b>=1.2.3; extra == 'test'", 'c>=4; extra == "fast"', "d>=5 ; extra == 'docs'"]
    assert lowest(given, []) == ["numpy==2.0"]
    assert lowest(given, ["test", "fast"]) == ["numpy==2.0", "a-b==1.2.3", "c==4"]
    for unbounded in ("numpy", "numpy>=2,<3", "numpy~=2.0"):
        with pytest.raises(SystemExit, match="has no lower bound; write name>=version"):
            lowest([unbounded], [])
