"""Paired measurement: contestants run in turn, each in a process of its own, and ratios are taken within a round.

Two thread pools in one process disturb each other. The speed of a shared machine changes over time, but less within a
round. A time counts only where the results agree.
"""

from __future__ import annotations

import argparse
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
from typing import Any

import numpy as np

OURS = "scratchae"
THREAD_SETTINGS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
LONGEST_CHILD = 900  # seconds; a longer child has failed
PAUSE = 0.2  # seconds before each child; OpenBLAS's threads wait in a loop for half of this time after a product
Step = Callable[[int], "float | None"]
Result = dict[str, dict]


def command_line(
    description: str | None, rounds: int, more: Callable[[argparse.ArgumentParser], None] | None = None
) -> argparse.Namespace:
    """The options that all comparisons share, and `more`. A child is started with `--child CASE WHO SECONDS`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a look: few and short rounds, the slowest left out")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"default {rounds}")
    parser.add_argument("--cases", default="", metavar="TEXT", help="only those whose name contains TEXT")
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, default=threads, help="of either side (default here: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks"), help="folder (default: %(default)s)")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    if more:
        more(parser)
    args = parser.parse_args()
    args.rounds = args.rounds or (min(2, rounds) if args.quick else rounds)
    args.seconds = 0.3 if args.quick else 1.0  # measured per process, after the warm-up
    os.environ.update(dict.fromkeys(THREAD_SETTINGS, str(args.threads)))  # for the children
    return args


# --- in the child ---------------------------------------------------------------------------------


def measure(step: Step, who: str, seconds: float, checked_steps: int) -> dict:
    """Median time of a step in ms, the step's peak memory in bytes, and the results of the first steps."""
    values, once, end = [], [], time.perf_counter() + seconds / 4
    while len(values) < checked_steps or time.perf_counter() < end:  # the warm-up
        start = time.perf_counter()
        values.append(step(len(values)))
        once.append(time.perf_counter() - start)
    peak = peak_bytes(step, who)
    batch = max(1, min(16, int(0.05 / min(once))))
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        for i in range(batch):
            step(i)
        times.append((time.perf_counter() - start) / batch * 1e3)
    return {"ms": statistics.median(times), "peak": peak, "values": values[:checked_steps]}


def peak_bytes(step: Step, who: str) -> int:
    """The peak memory in use during one step, minus the memory in use at the step's start."""
    if not who.startswith("torch"):  # NumPy reports every array to tracemalloc
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


def run_rounds(
    script: str,
    case: str,
    contestants: Sequence[str],
    rounds: int,
    seconds: float,
    rtol: float = 2e-4,
    start: int = 0,
) -> list[Result]:
    """Each round runs `script --child case contestant seconds` once per contestant, and starts with another contestant.

    A pause comes before each child. A contestant that fails is left out, with a printed line. If scratchae fails, the
    program ends. `start` is the number of earlier rounds.
    """
    found: list[Result] = []
    alive = list(contestants)
    for i in range(rounds):
        first, results = (start + i) % len(alive), {}
        for who in alive[first:] + alive[:first]:
            time.sleep(PAUSE)
            try:
                results[who] = _run_child(script, case, who, seconds)
            except RuntimeError as error:
                if who == OURS:
                    sys.exit(f"{who} failed on {case}:\n{error}")
                print(f"{case}: {who} is left out, it failed: {str(error).splitlines()[-1]}", flush=True)
                alive.remove(who)
        found.append(results)
    found = [{who: results[who] for who in alive} for results in found]
    ours = found[0][OURS]["values"]
    for who, result in found[0].items():
        if None in result["values"]:
            continue  # only a part of the step, which has no result
        if not np.allclose(ours, result["values"], rtol=rtol, atol=1e-6):
            sys.exit(f"{case}: the results differ, so times mean nothing:\nours {ours}\n{who} {result['values']}")
    return found


def _run_child(script: str, case: str, who: str, seconds: float) -> dict:
    command = [sys.executable, script, "--child", case, who, str(seconds)]
    try:
        done = subprocess.run(command, env=_environment(who), capture_output=True, text=True, timeout=LONGEST_CHILD)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"it took over {LONGEST_CHILD} s") from None
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"exit status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def _environment(who: str) -> dict[str, str]:
    # The first two variables would replace OpenBLAS's choice of kernel for this processor. The third variable switches
    # scratchae's allocator setting off for PyTorch, except for the contestant "our allocator".
    env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    ours = not who.startswith("torch") or who.endswith("our allocator")
    return {**env, "SCRATCHAE_KEEP_MEMORY": "1" if ours else "0"}


def summary(rounds: list[Result]) -> Result:
    """Per contestant: median ms, peak bytes, and the ratio to scratchae's time within rounds (median, min, max)."""
    result = {}
    for who in rounds[0]:
        ratios = [r[who]["ms"] / r[OURS]["ms"] for r in rounds]
        times = [r[who]["ms"] for r in rounds]
        result[who] = {
            "ms": statistics.median(times),
            "ms_min_max": [min(times), max(times)],
            "peak": statistics.median(r[who]["peak"] for r in rounds),
            "ratio": [statistics.median(ratios), min(ratios), max(ratios)],
        }
    return result


def format_summary(result: Result) -> str:
    width = max(map(len, result))
    lines = [f"  {'':{width}} {'ms':>9} {'(min to max)':>22} {'time / ours':>22} {'peak MB':>8}"]
    for who, r in result.items():
        median, low, high = r["ratio"]
        ratio = "" if who == OURS else f"{median:.2f} ({low:.2f} to {high:.2f})"
        spread = "({:.3f} to {:.3f})".format(*r["ms_min_max"])
        lines.append(f"  {who:{width}} {r['ms']:9.3f} {spread:>22} {ratio:>22} {r['peak'] / 1e6:8.2f}")
    return "\n".join(lines)


def describe_machine(with_torch: bool) -> dict[str, str]:
    """Processor, versions, threads and BLAS kernels that the children get."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    blas = (
        "import numpy; from threadpoolctl import threadpool_info; "
        "print(*('{internal_api} {version}, kernel {architecture}, {num_threads} threads'.format_map(i) "
        "for i in threadpool_info() if i['user_api'] == 'blas'))"
    )
    torch = (
        "import torch; print(f'{torch.__version__}, {torch.get_num_threads()} threads,', "
        "'MKL' if torch.backends.mkl.is_available() else 'no MKL', torch.backends.cpu.get_cpu_capability())"
    )
    return {
        "processor": f"{model}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "numpy": f"{np.__version__}, {_answer(blas)}",
        **({"torch": _answer(torch)} if with_torch else {}),
    }


def _answer(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], env=_environment(OURS), capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else f"unknown ({done.stderr.strip().splitlines()[-1]})"


def save(folder: Path, name: str, content: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content, indent=1))
    print(f"written: {folder / name}")
