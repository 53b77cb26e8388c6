"""Training steps against PyTorch: who is faster, by how much, and how sure is that?

    python benchmarks/compare.py            all modes of PyTorch, nine rounds (many minutes)
    python benchmarks/compare.py --quick    two rounds without torch.compile

How it is measured: see paired.py. Writes outputs/benchmarks/compare.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

from paired import OURS, describe_machine, format_summary, measure, run_rounds, summary
from workloads import WORKLOADS, build

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
        name, who = args.child
        print(json.dumps(measure(build(name, who), who, SECONDS, CHECKED_STEPS)))
        return

    rivals = ["torch eager", "torch fused", *([] if args.quick or args.no_compile else ["torch compile"])]
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: only scratchae is measured. Compare with:  pip install 'scratchae[reference]'")
        rivals = []
    machine = describe_machine()
    print("\n".join(f"{k}: {v}" for k, v in machine.items()), end="\n\n")
    table = {}
    for name in WORKLOADS:
        table[name] = summary(run_rounds(__file__, name, [OURS, *rivals], 2 if args.quick else args.rounds))
        print(f"{name}\n{format_summary(table[name])}\n", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "compare.json").write_text(json.dumps({"machine": machine, "steps": table}, indent=1))
    print(f"written: {args.out / 'compare.json'}")


if __name__ == "__main__":
    main()
