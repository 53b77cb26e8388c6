"""Training steps and epochs against PyTorch and against the floor: ratios of times, with their spread.

    python benchmarks/compare.py                    all cases, nine rounds (an hour; --rounds 3: a third of an hour)
    python benchmarks/compare.py --quick            two short rounds without torch.compile
    python benchmarks/compare.py --cases epoch      only cases with "epoch" in the name
    python benchmarks/compare.py --device gpu       on a GPU, against PyTorch there (gpu.py); --tf32: in that mode

paired.py describes the measurement, and sides.py the contestants. Without PyTorch, scratchae is compared with the floor
only. The script writes outputs/benchmarks/compare.json and compare.png.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
from convolutions import NETWORKS
from epochs import EPOCHS
from paired import OURS, command_line, describe_machine, format_summary, measure, run_rounds, save, summary
from workloads import WORKLOADS

CASES = {**WORKLOADS, **NETWORKS, **EPOCHS}


def main() -> None:
    args = command_line(__doc__, rounds=9, more=options)
    if args.child:
        name, who, seconds = args.child
        case = CASES[name]
        print(json.dumps(measure(case.build(who), who, float(seconds), case.checked_steps)))
        return
    if args.device == "gpu":
        return compare_on_gpu(args)
    has_torch = importlib.util.find_spec("torch") is not None
    if not has_torch:
        print("PyTorch is not installed: scratchae is compared with the floor, where there is one, and with itself.\n"
              "PyTorch comes with:  pip install 'scratchae[torch]'")  # fmt: skip
    chosen = {name: case for name, case in CASES.items() if args.cases in name}
    if not chosen:
        sys.exit(f"no case has {args.cases!r} in its name; there are: {', '.join(map(repr, CASES))}")
    machine = describe_machine(has_torch)
    print("\n".join(f"{k}: {v}" for k, v in machine.items()), f"\nrounds: {args.rounds}\n", flush=True)
    table = {}
    for name, case in chosen.items():
        left_out = [
            who
            for who in case.rivals
            if (who.startswith("torch") and not has_torch) or (who == "torch compile" and args.quick)
        ]
        contestants = [OURS, *(who for who in case.rivals if who not in left_out)]
        table[name] = summary(run_rounds(__file__, name, contestants, args.rounds, args.seconds))
        print(f"{name}\n{format_summary(table[name])}\n", flush=True)
    save(args.out, "compare.json", {"machine": machine, "rounds": args.rounds, "cases": table})
    plot(table, args.out / "compare.png")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="default: %(default)s")
    parser.add_argument("--tf32", action="store_true", help="on a GPU, products may round their inputs to TF32")


def compare_on_gpu(args: argparse.Namespace) -> None:
    import gpu

    table, failed = gpu.compare(args)
    if table:
        plot(table, args.out / ("gpu_tf32.png" if args.tf32 else "gpu.png"))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def plot(table: dict, path: Path) -> None:
    """One line per case: each contestant's ratio as a dot, from its smallest to its largest."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    from scratchae.plotting import PALETTE

    rivals = list(dict.fromkeys(who for found in table.values() for who in found if who != OURS))
    if not rivals:
        return
    figure = Figure(figsize=(10, 0.62 * len(table) + 1.4), layout="constrained")
    axes = figure.subplots()
    for who, colour in zip(rivals, PALETTE, strict=False):
        ratios, places = [], []
        for i, found in enumerate(table.values()):
            if who in found:
                ratios.append(found[who]["ratio"])
                places.append(i - 0.4 + 0.8 * list(found).index(who) / len(found))  # scratchae is first, and has no dot
        median, low, high = np.transpose(ratios)
        axes.errorbar(median, places, xerr=(median - low, high - median), fmt="o", ms=5, color=colour, label=who)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(table)), list(table))
    axes.set_ylim(len(table) - 0.5, -0.5)
    for i in range(len(table) - 1):
        axes.axhline(i + 0.5, color="#E4E4E4", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="x", color="#E4E4E4")
    axes.set_axisbelow(True)
    axes.set_xlabel("time / ours: median, minimum and maximum over the rounds (above 1: we are faster)")
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=120)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
