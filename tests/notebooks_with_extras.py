"""Notebooks of the tutorials run by themselves, in an empty folder: pip install nbclient ipykernel"""

from __future__ import annotations

import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs" / "_ext"))

from notebooks import write_notebooks  # noqa: E402


@pytest.mark.parametrize("number", ["01", "03"])
def test_a_notebook_runs_in_an_empty_folder(number: str, tmp_path: Path) -> None:
    script = next((ROOT / "tutorials").glob(f"{number}_*.py"))
    write_notebooks({script.name: "A title"}, script.parent, tmp_path / "written")
    folder = tmp_path / "empty"
    folder.mkdir()
    notebook = nbformat.read(tmp_path / "written" / f"{script.stem}.ipynb", 4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "target" in printed and "MISSED" not in printed
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == len(list((folder / "outputs" / script.stem).glob("*.png"))) > 0
