"""Training steps on a machine that is busy: while 0, 1, ... other programs compute, as many as there are cores.

    python benchmarks/busy.py                        three cases, five rounds
    python benchmarks/busy.py --quick                short rounds, on a free machine and on a fully busy one
    python benchmarks/busy.py --cases conv           only cases with "conv" in their name

Ours runs in 1, 2, ... threads up to the number of cores, PyTorch in as many threads as there are cores. Each round
runs every contestant once, in a process of its own, while the same number of programs is busy. The table shows the
median round and the slowest. Writes outputs/benchmarks/busy.json and busy.png.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from convolutions import NETWORKS
from paired import OURS, command_line, describe_machine, measure, run_rounds, save, summary
from workloads import WORKLOADS

from scratchae.fast.cores import cores

CASES = {
    name: case
    for name, case in {**WORKLOADS, **NETWORKS}.items()
    if name.startswith(("linear", "784-512", "conv-pool 1"))
}


def main() -> None:
    args = command_line(__doc__, rounds=5)
    if args.child:
        name, who, seconds = args.child
        print(json.dumps(step_times(name, who, float(seconds))))
        return
    os.environ["SCRATCHAE_THREADS"] = str(args.threads)  # for the children
    has_torch = importlib.util.find_spec("torch") is not None
    chosen = [name for name in CASES if args.cases in name]
    if not chosen:
        sys.exit(f"no case has {args.cases!r} in its name; there are: {', '.join(CASES)}")
    machine = describe_machine(has_torch)
    print("\n".join(f"{k}: {v}" for k, v in machine.items()), f"\nrounds: {args.rounds}\n", flush=True)
    contestants = [OURS, *(f"{OURS} {n}" for n in range(1, args.threads))]
    contestants += ["torch eager", "torch fused"] if has_torch else []
    table: dict[str, dict[int, dict]] = {}
    for name in chosen:
        print(f"{name}: ms per step, median round (slowest round)")
        print(f"  {'busy':>4} " + " ".join(f"{label(who, args.threads):>24}" for who in contestants), flush=True)
        table[name] = {}
        for n in (0, cores()) if args.quick else range(cores() + 1):
            with busy_programs(n):
                found = summary(run_rounds(__file__, name, contestants, args.rounds, args.seconds))
            table[name][n] = found
            cells = (f"{found[who]['ms']:.2f} ({found[who]['ms_min_max'][1]:.2f})" if who in found else "-"
                     for who in contestants)  # fmt: skip
            print(f"  {n:4} " + " ".join(f"{cell:>24}" for cell in cells), flush=True)
    save(args.out, "busy.json", {"machine": machine, "rounds": args.rounds, "threads": args.threads, "cases": table})
    plot(table, args.threads, args.out / "busy.png")


def step_times(name: str, who: str, seconds: float) -> dict:
    """In the child. `who` is "scratchae", "scratchae 1" for one thread, or one of PyTorch's."""
    if who.startswith(OURS):
        import scratchae as sa

        if who != OURS:
            sa.set_num_threads(int(who.removeprefix(OURS)))
        who = OURS
    case = CASES[name]
    return measure(case.build(who), who, seconds, case.checked_steps)


def label(who: str, threads: int) -> str:
    """"scratchae, 1 thread" and the like."""
    if not who.startswith(OURS):
        return who
    n = int(who.removeprefix(OURS) or threads)
    return f"{OURS}, {n} thread{'s' * (n > 1)}"


@contextlib.contextmanager
def busy_programs(n: int) -> Iterator[None]:
    """Inside, `n` programs compute without a pause."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def plot(table: dict[str, dict[int, dict]], threads: int, path: Path) -> None:
    """One picture for each case: the median round as a line, up to the slowest round as a band."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    from scratchae.plotting import PALETTE

    figure = Figure(figsize=(4.4 * len(table), 4), layout="constrained")
    for ax, (name, found) in zip(figure.subplots(1, len(table), squeeze=False)[0], table.items(), strict=True):
        for who, colour in zip(dict.fromkeys(w for results in found.values() for w in results), PALETTE, strict=False):
            here = [n for n in found if who in found[n]]
            medians = [found[n][who]["ms"] for n in here]
            ax.plot(here, medians, "o-", color=colour, label=label(who, threads))
            ax.fill_between(here, medians, [found[n][who]["ms_min_max"][1] for n in here], color=colour, alpha=0.15)
        ax.set(yscale="log", title=name, xlabel="busy programs beside it")
        ax.set_xticks(list(found))
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.grid(color="#E4E4E4")
        ax.set_axisbelow(True)
    figure.axes[0].set_ylabel("ms per step")
    figure.axes[0].legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=120)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
