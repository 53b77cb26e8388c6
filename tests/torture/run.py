"""Run every torture in a process of its own, print a line for each, and write the outcome into README.md.

    python tests/torture/run.py [SCALE]

SCALE (default 1) multiplies the number of cases; below 1 it is for trying things out, and README.md stays as it is.
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
README = HERE / "README.md"
CASES = {
    "torture_kill_saving": 100,
    "torture_kill_training": 20,
    "torture_full_disk": 200,
    "torture_bytes": 255,
    "torture_fuzz": 10_000,
    "torture_crafted": 5000,
    "torture_two_writers": 100,
    "torture_links": 1000,
    "torture_slow_servers": 1000,
    "torture_memory": 100_000,
    "torture_large_file": 400,
}


def torture(name: str, cases: int) -> tuple[bool, str, float]:
    """Whether it held, its last line, and the seconds it took."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "PYTHONWARNINGS": "ignore"}
    start = time.perf_counter()
    command = [sys.executable, str(HERE / f"{name}.py"), str(cases)]
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    lines = run.stdout.splitlines() or ["no outcome"]
    return run.returncode == 0, lines[-1], time.perf_counter() - start


def machine() -> str:
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    system = f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}"
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, {system}, NumPy {np.__version__}"


def main() -> None:
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    rows, all_held = [], True
    for name, cases in CASES.items():
        held, outcome, seconds = torture(name, max(1, round(cases * scale)))
        all_held &= held
        print(f"{'held' if held else 'BROKE'}  {name}  {outcome}  ({seconds:.0f} s)", flush=True)
        rows.append(f"| `{name}.py` | {'held' if held else '**broke**'} | {outcome} | {seconds:.0f} |")
    if scale >= 1:
        table = ["| script | | outcome | seconds |", "|---|---|---|---|", *rows]
        head = f"{datetime.date.today().isoformat()}, {machine()}:"
        marks = r"(<!-- outcome -->\n).*(<!-- end of outcome -->)"
        text = "\n".join([head, "", *table, ""])
        README.write_text(re.sub(marks, lambda m: m[1] + text + m[2], README.read_text(), flags=re.DOTALL))
    sys.exit(0 if all_held else 1)


if __name__ == "__main__":
    main()
