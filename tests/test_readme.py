"""What the README shows is run as it stands, block after block."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def test_the_python_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    assert len(blocks) >= 4
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec("import numpy as np", names)
        for block in blocks:
            exec(block.replace("epochs=100", "epochs=6"), names)
    assert float(printed.getvalue().split()[0]) > 0.8  # the classifier's accuracy after one pass
    assert (tmp_path / "encoder.safetensors").exists() and (tmp_path / "run.safetensors").exists()
