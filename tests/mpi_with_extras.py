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

from scratchae.files.storage import read_arrays

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
        ("model", "process 1 of 2 differs from process 0 in model.encoder.1.weight, shape: 'float64 (21, 36)', not"),
        ("resume", "process 1 of 2 differs from process 0 in resume: False, not True"),
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


@pytest.mark.parametrize(
    "fault, status",
    [
        ("raise", 1),
        ("validation", 1),
        ("data", 1),
        ("exit", 7),
        ("exit 0", 1),
        ("leave", 9),
        ("kill", 9),
        ("term", 143),
        ("term twice", 143),
    ],
)
def test_a_fault_ends_all_processes_and_the_run_can_go_on(tmp_path: Path, fault: str, status: int) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert launch(whole, 2, "normalised").returncode == 0
    start = time.monotonic()
    done = launch(broken, 2, "normalised", fault=fault)
    assert time.monotonic() - start < 10 + 20  # ten seconds from the fault on, twenty to get there on a busy machine
    assert done.returncode == status
    if fault not in ("leave", "kill", "term"):
        assert "process 1 of 2 failed" in done.stderr and "process 0 of 2 failed" not in done.stderr
        error = {"raise": "a disk is on fire", "validation": "ZeroDivisionError", "data": "ZeroDivisionError"}
        assert error.get(fault, "SystemExit") in done.stderr
    assert not (broken / "end-2-0.safetensors").exists()
    assert launch(broken, 2, "normalised", resume=True).returncode == 0
    assert same_bits(weights(broken, 2), weights(whole, 2))


@pytest.mark.parametrize("fault", ["raise", "validation", "data", "exit"])
def test_what_all_processes_raise_can_be_caught_and_training_goes_on(tmp_path: Path, fault: str) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert launch(whole, 3, "normalised").returncode == 0
    done = launch(broken, 3, "normalised", fault=fault, everywhere=True, again=True)
    assert done.returncode == 0, done.stderr
    assert same_bits(weights(broken, 3), weights(whole, 3))


@pytest.mark.parametrize("fault, status", [("exit", 7), ("exit 0", 0)])
def test_what_all_processes_exit_with_is_the_status(tmp_path: Path, fault: str, status: int) -> None:
    done = launch(tmp_path, 2, "dense", fault=fault, everywhere=True)
    assert (done.returncode, done.stderr) == (status, "")
    assert not (tmp_path / "end-2-0.safetensors").exists()


START = "import os, sys, time, scratchae as sa; world = sa.distributed.init(); last = world.rank == world.size - 1\n"


def run(program: str, processes: int = 2) -> subprocess.CompletedProcess:
    command = [str(MPIEXEC), "-n", str(processes), sys.executable, "-c", START + program]
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}  # a line is written in one piece
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("call", ["share(1)", "gather(1)", "agree({})", "local_rank()", "together().__enter__()"])
@pytest.mark.parametrize("end", ["sys.exit()", "sys.exit(3)", "print('done')"])
def test_a_process_that_ends_early_is_told_to_those_who_wait_for_it(call: str, end: str) -> None:
    done = run(f"{end} if last else world.{call}")
    name = call.partition("(")[0]
    assert done.returncode == 1
    assert f"process 0 to {name}(), process 1 to the end of its script" in done.stderr
    assert "RuntimeError: all processes must come to the same place" in done.stderr
    assert done.stdout == ("done\n" if "done" in end else ""), "what a process printed before its end is not lost"


def test_processes_that_call_different_methods_are_told() -> None:
    done = run("world.share(1) if last else world.gather(1)")
    assert done.returncode == 1
    assert "process 0 to gather(), process 1 to share()" in done.stderr


def test_what_was_told_once_is_told_again() -> None:
    done = run(
        """
if not last:
    for _ in range(2):
        try:
            world.share(1)
        except RuntimeError as error:
            print("the end of its script" in str(error), flush=True)
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\nTrue\n", "")


@pytest.mark.parametrize("status", [0, 3])
def test_processes_may_end_one_after_the_other(status: int) -> None:
    done = run(f"world.share(1)\nif last: sys.exit({status})\ntime.sleep(1); print('written', flush=True)", 3)
    assert (done.returncode, done.stdout, done.stderr) == (status, "written\n" * 2, "")


@pytest.mark.parametrize("stream", ["None", "open('/dev/full', 'w')", "open(os.devnull, 'w')"])
def test_without_a_place_to_write_to_an_error_still_ends_all(stream: str) -> None:
    close = "sys.stdout.close(); sys.stderr.close()" if "devnull" in stream else "print('something')"
    done = run(f"sys.stdout = sys.stderr = {stream}; {close}\nif last: 1 / 0\nworld.share(1)")
    assert done.returncode == 1


def test_a_forked_process_is_a_world_of_its_own() -> None:
    done = run(
        """
import multiprocessing
def alone():
    with world.together():
        print(world.size, world.gather(1), sa.distributed.world().size, flush=True)
        sys.exit(5)
with world.together():
    child = multiprocessing.get_context("fork").Process(target=alone)
    child.start()
    child.join()
    print(child.exitcode, world.gather(1), flush=True)
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == ["1 [1] 1"] * 2 + ["5 [1, 1]"] * 2


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
