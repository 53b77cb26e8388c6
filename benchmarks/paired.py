"""Paired measurement: contestants run in turn, each in a process of its own, and ratios are taken within a round.

Two thread pools in one process disturb each other, and a shared machine is slower for a while, then faster; within
a round both see the same machine. A time counts only where the results agree.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

OURS = "scratchae"
Step = Callable[[int], float]
Result = dict[str, dict]


# --- in the child ---------------------------------------------------------------------------------


def measure(step: Step, who: str, seconds: float, checked_steps: int) -> dict:
    """Median time of a step in ms, its peak memory in bytes, and what the first steps returned."""
    values = [step(i) for i in range(checked_steps)]
    peak = peak_bytes(step, who)
    start = time.perf_counter()
    step(0)
    batch = max(1, min(16, int(0.05 / (time.perf_counter() - start))))
    for i in range(2 * batch):
        step(i)
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        for i in range(batch):
            step(i)
        times.append((time.perf_counter() - start) / batch * 1e3)
    return {"ms": statistics.median(times), "peak": peak, "values": values}


def peak_bytes(step: Step, who: str) -> int:
    """The most memory in use during one step, above what is in use when it starts."""
    if who == OURS:  # NumPy reports every array to tracemalloc
        tracemalloc.start()
        step(0)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        step(1)
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        return peak
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step(1)
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    in_use = np.cumsum([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())])
    return int(in_use.max(initial=0))


# --- in the parent --------------------------------------------------------------------------------


def run_rounds(script: str, name: str, contestants: Sequence[str], rounds: int) -> list[Result]:
    """Each round runs `script --child name contestant` once per contestant."""
    found = [{who: _run_child(script, name, who) for who in contestants} for _ in range(rounds)]
    ours = np.array(found[0][OURS]["values"])
    for who, result in found[0].items():
        if not np.allclose(ours, result["values"], rtol=2e-4, atol=1e-6):
            sys.exit(f"{name}: the results differ, so times mean nothing:\nours {ours}\n{who} {result['values']}")
    return found


def _run_child(script: str, name: str, who: str) -> dict:
    command = [sys.executable, script, "--child", name, who]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{who} failed on {name}:\n{done.stderr}")
    return json.loads(done.stdout)


def _environment() -> dict[str, str]:
    # These two would replace OpenBLAS's choice of kernel for this processor.
    return {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}


def summary(rounds: list[Result]) -> Result:
    """Per contestant: median ms, peak bytes, and its time over ours within each round (median, min, max)."""
    result = {}
    for who in rounds[0]:
        ratios = [r[who]["ms"] / r[OURS]["ms"] for r in rounds]
        result[who] = {
            "ms": statistics.median(r[who]["ms"] for r in rounds),
            "peak": statistics.median(r[who]["peak"] for r in rounds),
            "ratio": [statistics.median(ratios), min(ratios), max(ratios)],
        }
    return result


def format_summary(result: Result) -> str:
    lines = [f"  {'':14} {'ms/step':>8} {'time / ours':>22} {'peak MB':>8}"]
    for who, r in result.items():
        median, low, high = r["ratio"]
        spread = "" if who == OURS else f"{median:.2f} ({low:.2f} to {high:.2f})"
        lines.append(f"  {who:14} {r['ms']:8.3f} {spread:>22} {r['peak'] / 1e6:8.2f}")
    return "\n".join(lines)


def describe_machine() -> dict[str, str]:
    """Processor, cores, versions and the BLAS kernel that a child process gets."""
    code = (
        "import numpy, json; from threadpoolctl import threadpool_info; "
        "print(json.dumps([{k: i.get(k) for k in ('internal_api', 'version', 'architecture', 'num_threads')} "
        "for i in threadpool_info()]))"
    )
    blas = subprocess.run([sys.executable, "-c", code], env=_environment(), capture_output=True, text=True, check=True)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {
        "processor": f"{model}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas.stdout.strip(),
    }
