"""`sa.show_config()` names what computes."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae.fast import numba

ROOT = Path(sa.__file__).parents[1]


def shown(**environment: str) -> dict[str, str]:
    command = [sys.executable, "-c", "import scratchae as sa; sa.show_config()"]
    for name in ("SYSTEMROOT", "USERPROFILE"):  # Python on Windows does not start without the first
        if name in os.environ:
            environment[name] = os.environ[name]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return {name.strip(): text for name, _, text in (line.partition("  ") for line in done.stdout.splitlines())}


def test_versions_threads_and_ways(capsys: pytest.CaptureFixture[str]) -> None:
    sa.show_config()
    text = capsys.readouterr().out
    for part in (sa.__version__, platform.python_version(), np.__version__, "BLAS", "CuPy", "attached"):
        assert part in text


def test_versions_are_looked_up_only_here() -> None:
    """The lookup needs a fifth of the time of the import."""
    code = "import sys, numpy; before = set(sys.modules); import scratchae; print(*(set(sys.modules) - before))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert "scratchae.debug.config" in done.stdout and "importlib.metadata" not in done.stdout.split()


def test_what_the_environment_switches() -> None:
    plain = shown(SCRATCHAE_PLAIN="1")
    assert "by fast" not in plain["attached"] and "by debug" in plain["attached"]
    assert plain["compiled loops"].strip().startswith("none") and "SCRATCHAE_PLAIN=1" in plain["environment"]
    two = shown(SCRATCHAE_THREADS="2", SCRATCHAE_COMPILED="0", OMP_NUM_THREADS="1")
    assert two["threads"].strip() == "2, which sleep" and "OMP_NUM_THREADS=1" in two["environment"]
    assert two["attached"] != plain["attached"]


def test_a_gpu_library_without_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from scratchae.debug import config

    class Found:
        metadata: Any = {"Name": "cupy-cuda12x"}

    monkeypatch.setattr(metadata, "distributions", lambda: [Found()])
    monkeypatch.setattr(config, "_version", lambda package: "14.2" if package.startswith("cupy") else "")
    monkeypatch.setattr(numba, "INSTALLED", False)
    sa.show_config()
    text = capsys.readouterr().out
    assert "cupy-cuda12x 14.2, no GPU: device 'gpu' needs CuPy" in text and "pip install 'scratchae[fast]'" in text
