"""Several processes must do what one does. Needs `pip install 'scratchae[mpi]'`; run by name:

python -m pytest tests/mpi_with_extras.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi_program import CASES

from scratchae.storage import read_arrays

MPIEXEC = shutil.which("mpiexec", path=os.path.dirname(sys.executable)) or shutil.which("mpiexec")
PROGRAM = str(Path(__file__).with_name("mpi_program.py"))


def launch(folder: Path, processes: int, case: str, **options: Any) -> subprocess.CompletedProcess:
    folder.mkdir(exist_ok=True)
    assert MPIEXEC is not None, "mpiexec comes with pip install 'scratchae[mpi]'"
    start = [] if processes == 1 else [MPIEXEC, "-n", str(processes)]
    command = [*start, sys.executable, PROGRAM, case, str(folder), json.dumps(options)]
    return subprocess.run(
        command, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120
    )


def weights(folder: Path, processes: int, rank: int = 0) -> dict[str, np.ndarray]:
    return read_arrays(folder / f"end-{processes}-{rank}.safetensors", checked=True)[0]


def same_bits(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() for k in a)


@pytest.mark.parametrize("rule", ["Adam", "SGD"])
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("case", CASES)
def test_two_processes_end_where_one_does(tmp_path: Path, case: str, dtype: str, tolerance: float, rule: str) -> None:
    for n in (1, 2):
        done = launch(tmp_path, n, case, dtype=dtype, rule=rule, epochs=20)  # of 5 steps
        assert done.returncode == 0, done.stderr
        (tmp_path / "run.safetensors").unlink()
    alone, first, second = weights(tmp_path, 1), weights(tmp_path, 2, 0), weights(tmp_path, 2, 1)
    assert same_bits(first, second)
    for name, value in alone.items():
        assert np.abs(first[name] - value).max() <= tolerance, name
    one, two = (json.loads((tmp_path / f"history-{n}.json").read_text()) for n in (1, 2))
    assert one.keys() == two.keys() and len(one["val_loss"]) == 20
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=100 * tolerance)


@pytest.mark.parametrize("processes, batch_size", [(3, 32), (4, 146)])
def test_parts_may_be_uneven(tmp_path: Path, processes: int, batch_size: int) -> None:
    # 150 samples: 32 cannot be cut into three, and leaves 22; 146 leaves 4. The validation set has 31.
    for n in (1, processes):
        done = launch(tmp_path, n, "normalised", batch_size=batch_size)
        assert done.returncode == 0, done.stderr
        (tmp_path / "run.safetensors").unlink()
    alone, shared = weights(tmp_path, 1), weights(tmp_path, processes, processes - 1)
    for name, value in alone.items():
        assert np.abs(shared[name] - value).max() <= 1e-12, name


def test_weights_that_differ_at_the_start_become_the_first_ones(tmp_path: Path) -> None:
    for n, differs in ((1, ""), (2, "weights")):
        assert launch(tmp_path, n, "dense", differs=differs).returncode == 0
        (tmp_path / "run.safetensors").unlink()
    for name, value in weights(tmp_path, 1).items():
        assert np.abs(weights(tmp_path, 2, 1)[name] - value).max() <= 1e-12, name


@pytest.mark.parametrize(
    "differs, said",
    [
        ("data", "process 1 of 2 differs from process 0 in data: "),
        ("model", "process 1 of 2 differs from process 0 in model.encoder.1.weight: 'float64 (21, 36)', not"),
    ],
)
def test_a_process_that_differs_is_named(tmp_path: Path, differs: str, said: str) -> None:
    done = launch(tmp_path, 2, "dense", differs=differs)
    assert done.returncode != 0
    assert said in done.stderr


def test_a_batch_that_is_too_small_is_refused(tmp_path: Path) -> None:
    done = launch(tmp_path, 2, "dense", batch_size=149)
    assert done.returncode != 0
    assert "the smallest batch has 1 samples for 2 processes" in done.stderr


@pytest.mark.parametrize("fault, status", [("raise", 1), ("kill", 9), ("term", None)])
def test_a_fault_ends_all_processes_and_the_run_can_go_on(tmp_path: Path, fault: str, status: int | None) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert launch(whole, 2, "normalised").returncode == 0
    start = time.monotonic()
    done = launch(broken, 2, "normalised", fault=fault)
    assert time.monotonic() - start < 10 + 20  # ten seconds from the fault on, twenty to get there on a busy machine
    assert done.returncode != 0
    if fault == "raise":
        assert "process 1 of 2 failed" in done.stderr and "a disk is on fire" in done.stderr
    assert not (broken / "end-2-0.safetensors").exists()
    assert launch(broken, 2, "normalised", resume=True).returncode == 0
    assert same_bits(weights(broken, 2), weights(whole, 2))


def test_one_process_may_stop_all(tmp_path: Path) -> None:
    assert launch(tmp_path, 2, "dense", fault="stop").returncode == 0
    assert len(json.loads((tmp_path / "history-2.json").read_text())["loss"]) == 1


def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    whole, changed = tmp_path / "whole", tmp_path / "changed"
    assert launch(whole, 1, "normalised").returncode == 0
    assert launch(changed, 2, "normalised", epochs=2).returncode == 0
    assert launch(changed, 3, "normalised", epochs=4, resume=True).returncode == 0
    done = launch(changed, 1, "normalised", epochs=5, resume=True)
    assert done.returncode == 0, done.stderr
    for name, value in weights(whole, 1).items():
        assert np.abs(weights(changed, 1)[name] - value).max() <= 1e-12, name


def test_without_a_launcher_nothing_is_imported(tmp_path: Path) -> None:
    program = "import sys, scratchae as sa; print(sa.distributed.init().size, 'mpi4py' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["1", "False"]


def test_another_launcher_is_recognised() -> None:
    program = "import scratchae as sa; sa.distributed.init()"
    told = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, **told}, capture_output=True, text=True)
    assert "2 processes were started, but mpi4py sees 1" in done.stderr
