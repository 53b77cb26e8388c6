"""Training steps against PyTorch: who is faster, by how much, and how sure is that?

    python benchmarks/compare.py            all modes of PyTorch, nine rounds (some minutes)
    python benchmarks/compare.py --quick    two rounds without torch.compile

Every measurement runs in a process of its own, since two thread pools in one process disturb each other. In a
round each contestant runs once, one after the other; the ratio is taken within the round, so that a machine
which is slower for a while is slower for all. Before anything counts, the losses of the first steps must agree.
Writes outputs/benchmarks/compare.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
from workloads import WORKLOADS, Step, build

OURS = "scratchae"
SECONDS = 1.0  # measured per process, after the warm-up
CHECKED_STEPS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rounds, without torch.compile")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, whose start takes longest")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks"))
    parser.add_argument("--child", nargs=2, metavar=("WORKLOAD", "WHO"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(*args.child)))
        return

    rounds_wanted = 2 if args.quick else args.rounds
    rivals = ["torch eager", "torch fused", *([] if args.quick or args.no_compile else ["torch compile"])]
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: only scratchae is measured. Compare with:  pip install 'scratchae[reference]'")
        rivals = []
    machine = describe_machine()
    print("\n".join(f"{k}: {v}" for k, v in machine.items()), end="\n\n")
    table = {}
    for name in WORKLOADS:
        rounds = [{who: run_child(name, who) for who in [OURS, *rivals]} for _ in range(rounds_wanted)]
        check_equal(name, rounds[0])
        table[name] = summary(rounds)
        print(f"{name}\n{format_summary(table[name])}\n", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "compare.json").write_text(json.dumps({"machine": machine, "steps": table}, indent=1))
    print(f"written: {args.out / 'compare.json'}")


# --- in the child ---------------------------------------------------------------------------------


def measure(name: str, who: str) -> dict:
    """Median time of a step in ms, its peak memory in bytes, and the first losses."""
    step = build(name, who)
    losses = [step(i) for i in range(CHECKED_STEPS)]
    peak = peak_bytes(step, who)
    for i in range(30):
        step(i)
    times, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        for i in range(16):
            step(i)
        times.append((time.perf_counter() - start) / 16 * 1e3)
    return {"ms": statistics.median(times), "peak": peak, "losses": losses}


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


def run_child(name: str, who: str) -> dict:
    # These two would replace OpenBLAS's choice of kernel for this processor.
    env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    command = [sys.executable, __file__, "--child", name, who]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{who} failed on {name}:\n{done.stderr}")
    return json.loads(done.stdout)


def check_equal(name: str, results: dict[str, dict]) -> None:
    ours = np.array(results[OURS]["losses"])
    for who, result in results.items():
        if not np.allclose(ours, result["losses"], rtol=2e-4, atol=0):
            sys.exit(f"{name}: the losses differ, so times mean nothing:\nours {ours}\n{who} {result['losses']}")


def summary(rounds: list[dict[str, dict]]) -> dict:
    """Per contestant: median ms, peak bytes, and the ratio to ours within each round (median, min, max)."""
    result = {}
    for who in rounds[0]:
        ratios = [r[who]["ms"] / r[OURS]["ms"] for r in rounds]
        result[who] = {
            "ms": statistics.median(r[who]["ms"] for r in rounds),
            "peak": statistics.median(r[who]["peak"] for r in rounds),
            "ratio": [statistics.median(ratios), min(ratios), max(ratios)],
        }
    return result


def format_summary(result: dict) -> str:
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
    env = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    blas = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {
        "processor": f"{model}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas.strip(),
    }


if __name__ == "__main__":
    main()
