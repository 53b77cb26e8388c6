"""Training steps on a GPU, against PyTorch on the same GPU. `compare.py --device gpu` runs this file.

gpu_sides.py describes the contestants, and ceilings.py the peaks. After a case fails, the other cases are still
measured. Writes gpu.json, gpu.png and a table for the README, gpu.md (gpu_tf32.* with --tf32).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import subprocess
import sys
from dataclasses import replace
from typing import Any

from ceilings import device, work
from convolutions import NETWORKS
from gpu_sides import EAGER, GRAPHS, RIVALS, STEP_BY_STEP, Workload, epochs_of_vae, measure
from paired import OURS, Result, format_summary, run_rounds, summary
from workloads import Dense, Variational

MODELS: dict[str, tuple[Workload, tuple[int, ...]]] = {  # and their batches
    "784-128-64-128-784": (Dense((784, 128, 64), 128), (128, 1024)),
    "linear 784-64-784": (Dense((784, 64), 64, None, None), (64, 256, 1024, 8192)),
    "784-512-256-64 mirrored": (Dense((784, 512, 256, 64), 64), (64, 256, 1024, 8192)),
    "variational 784-400-20": (Variational((784, 400, 20), 64), (64, 256, 1024, 8192)),
    "conv-pool 1-16-16-16-1": (NETWORKS["conv-pool 1-16-16-16-1"], (128, 1024)),
    "strided 1-16-32-16-1": (NETWORKS["strided 1-16-32-16-1"], (128, 1024)),
}
CASES = {f"{name}, batch {n}": replace(model, batch=n) for name, (model, batches) in MODELS.items() for n in batches}
QUICK = (
    "784-128-64-128-784, batch 128", "784-512-256-64 mirrored, batch 64", "variational 784-400-20, batch 64",
    "conv-pool 1-16-16-16-1, batch 128", "strided 1-16-32-16-1, batch 128",
)  # fmt: skip
VAE, DEVICE = "epoch of 60,000 images, variational 784-400-20, batch 128", "device"
TF32 = ", TF32"  # at the end of a case's name
EPOCHS = {OURS: 22, STEP_BY_STEP: 4}  # 22 epochs are over 10,000 steps


def child(name: str, who: str, seconds: str) -> Any:
    tf32, name = name.endswith(TF32), name.removesuffix(TF32)
    if name == DEVICE:
        return device()
    if name == VAE:
        return epochs_of_vae(who, tf32, EPOCHS[who])
    return measure(CASES[name], who, float(seconds), tf32)


# --- in the parent, which does not use the GPU ------------------------------------------------------


def compare(args: argparse.Namespace) -> tuple[dict[str, Result], list[str]]:
    """Measure the chosen cases. Returns the summaries, and the names of the failed cases."""
    stem, suffix = ("gpu_tf32", TF32) if args.tf32 else ("gpu", "")
    machine = _machine()
    print("\n".join(f"{k}: {v}" for k, v in machine.items()), f"\nrounds: {args.rounds}\n", flush=True)
    rivals = (STEP_BY_STEP, EAGER, GRAPHS) if args.quick else RIVALS
    if not importlib.util.find_spec("torch"):
        rivals = (STEP_BY_STEP,)
        print("PyTorch is not installed: scratchae is compared with itself.\n")
    names = [VAE, *(QUICK if args.quick else CASES)]
    chosen = [name for name in names if args.cases in name]
    if not chosen:
        sys.exit(f"no case has {args.cases!r} in its name; there are: {', '.join(map(repr, names))}")
    args.out.mkdir(parents=True, exist_ok=True)
    table: dict[str, Result] = {}
    failed = []
    for name in chosen:
        contestants = (OURS, STEP_BY_STEP) if name == VAE else (OURS, *rivals)
        tolerance = 1e-2 if args.tf32 else 2e-4  # TF32 keeps 10 bits
        try:
            rounds = run_rounds(__file__, name + suffix, contestants, args.rounds, args.seconds, tolerance)
        except SystemExit as failure:
            print(f"{failure}\n", flush=True)
            failed.append(name)
        else:
            table[name] = summary(rounds)
            for who, found in table[name].items():
                found |= {key: value for key, value in rounds[-1][who].items() if key not in ("ms", "peak", "values")}
            print(f"{name}\n{format_summary(table[name])}\n{_remarks(table[name])}", flush=True)
        content = {"machine": machine, "rounds": args.rounds, "tf32": args.tf32, "cases": table, "failed": failed}
        for kind, text in ((".json", json.dumps(content, indent=1)), (".md", markdown(content))):
            (args.out / stem).with_suffix(kind).write_text(text)  # after each case, in case the run breaks off
    print(f"written: {args.out / stem}.json and .md")
    return table, failed


def _machine() -> dict[str, Any]:
    """In place of paired.describe_machine, since steps on a GPU do not use the CPU's BLAS."""
    torch = (
        "import json, torch; cudnn = torch.backends.cudnn.version(); "
        "print(json.dumps(f'{torch.__version__}, CUDA {torch.version.cuda}, cuDNN {cudnn}'))"
    )
    return {
        "processor": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        **_ask(__file__, "--child", DEVICE, OURS, "0"),
    } | ({"torch": _ask("-c", torch)} if importlib.util.find_spec("torch") else {})


def _ask(*arguments: str) -> Any:
    """The answer of another process, so that this process does not occupy the GPU."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        sys.exit(f"error: {last.removeprefix('RuntimeError: ')}")
    return json.loads(done.stdout.splitlines()[-1])


def _remarks(result: Result) -> str:
    lines = [f"  {who}: {found['note']}" for who, found in result.items() if found.get("note")]
    if used := result[OURS].get("used"):
        lines.append("  " + _memory(used, result[OURS]["steps"]))
    return "".join(f"{line}\n" for line in lines)


def _memory(used: list[int], steps: int) -> str:
    early, late = used[1], used[-1]
    return (
        f"device memory in use after two of {len(used)} epochs {early / 1e6:.1f} MB, after all {steps:,} steps "
        f"{late / 1e6:.1f} MB: {'flat' if late == early else f'{(late - early) / 1e6:+.1f} MB'}"
    )


def markdown(content: dict[str, Any]) -> str:
    """The table for the README. A share is the rate of the replayed step over the peak by the GPU's attributes."""
    machine, mode = content["machine"], "tf32" if content["tf32"] else "float32"
    flops, bandwidth = machine["peaks"][mode], machine["peaks"]["bytes"]
    lines = [
        f"{machine['name']} ({machine['memory']}), CUDA {machine['CUDA']}, CuPy {machine['cupy']}, PyTorch "
        f"{machine.get('torch', 'none')}; {mode}; {content['rounds']} rounds. Peaks: {flops / 1e12:.1f} TFLOP/s "
        f"({machine['peaks from']}), {bandwidth / 1e9:.0f} GB/s. ms per step; ratios: median (minimum to maximum).\n",
        "| step | step by step | replayed | eager | fused | graphs | best of PyTorch / ours | launches, ours / eager "
        "| of peak FLOP/s | of peak bytes/s | peak MB, ours / graphs |",
        "|---" * 11 + "|",
    ]
    for name, result in content["cases"].items():
        if name == VAE:
            continue
        need, seconds, empty = work(CASES[name]), result[OURS]["ms"] / 1e3, {"ms": math.nan, "peak": math.nan}
        times = [f"{result.get(who, empty)['ms']:.3f}" for who in (STEP_BY_STEP, OURS, *RIVALS[1:])]
        best = min((found["ratio"] for who, found in result.items() if who.startswith("torch")), default=[math.nan] * 3)
        counts = [str(result.get(who, empty).get("launches") or "-") for who in (OURS, EAGER)]
        peaks = [f"{result.get(who, empty)['peak'] / 1e6:.1f}" for who in (OURS, GRAPHS)]
        cells = [
            name, *times, "{:.2f} ({:.2f} to {:.2f})".format(*best), " / ".join(counts),
            f"{need['flop'] / seconds / flops:.1%}", f"{need['bytes'] / seconds / bandwidth:.1%}", " / ".join(peaks),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |".replace("nan%", "-").replace("nan", "-"))
    lines.append("")
    if VAE in content["cases"]:
        result = content["cases"][VAE]
        lines.append(
            f"An {VAE}, through the Trainer: {result[OURS]['ms'] / 1e3:.3f} s after the first; step by step "
            f"{result[STEP_BY_STEP]['ms'] / 1e3:.3f} s. CuPy's pools held {result[OURS]['peak'] / 1e6:.1f} MB; "
            f"{_memory(result[OURS]['used'], result[OURS]['steps'])}.\n"
        )
    lines += [f"- {n}: {who}: {r['note']}" for n, case in content["cases"].items() for who, r in case.items()
              if r.get("note")]  # fmt: skip
    lines += [f"- failed: {name}" for name in content["failed"]]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(json.dumps(child(*sys.argv[2:])))
