"""scikit-learn is an extra: what happens without it. What happens with it is in sklearn_with_extras.py."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest


def test_without_scikit_learn_the_module_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)  # an import then fails as if it were not installed
    for name in [n for n in sys.modules if n.startswith("sklearn.") or n == "scratchae.sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module("scratchae.sklearn")
    assert str(caught.value).endswith("install it with:  pip install 'scratchae[sklearn]'")


def test_scratchae_itself_does_not_import_it() -> None:
    command = "import sys, scratchae; print([m for m in sys.modules if 'sklearn' in m])"
    assert subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout == "[]\n"
