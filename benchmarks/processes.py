"""Several processes: the speed-up, the cost of the exchange, and a prediction for more processes.

    python benchmarks/processes.py                            seven rounds, about ten minutes
    python benchmarks/processes.py --quick                    two short rounds
    python benchmarks/processes.py --alpha 2e-6 --beta 1e-10  predictions for a network of your own

Needs `pip install 'scratchae[mpi]'`. Within a round all runs take turns. A speed-up is a ratio within a round: images
per second, divided by those of one process with one thread. "exchange" is the time of the first process in a step's
two exchanges, including waiting for the other processes. "compute" is the rest of the step.

The model: a sum of m bytes over n processes takes 2 log2(n) alpha + 2 (n - 1)/n m beta. beta includes the additions.
The algorithm is a reduce-scatter by recursive halving and an all-gather by recursive doubling (R. Thakur,
R. Rabenseifner, W. Gropp, "Optimization of collective communication operations in MPICH", 2005). The loss terms and
signals of a step cost log2(n) alpha more. The time of one process alone is fixed + per image * images, also fitted.
Writes outputs/benchmarks/processes.json and processes.png.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from paired import OURS, THREAD_SETTINGS, describe_machine, save
from workloads import WORKLOADS, random_batches

import scratchae as sa

STEPS = 8  # per epoch; times are means over an epoch
LOCAL = (8, 32, 128, 512)  # batches for the fit of one process's time
SIZES = [1024 * 4**k for k in range(8)]  # bytes, 1 KB to 16 MB
RANKS = [2**k for k in range(3, 11)]
BATCHES = [4**k for k in range(4, 10)]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def dense(name: str) -> Any:
    return WORKLOADS[name].model(OURS)[0]


CASES = {  # the function that builds the model, the input shape, the batch; the last case only checks the prediction
    "784-512-256-64 mirrored": (lambda: dense("784-512-256-64 mirrored, batch 256"), (784,), 256),
    "conv 1-16-16 mirrored": (lambda: sa.ConvAutoencoder((1, 16, 16), loss="bce_logits"), (1, 28, 28), 128),
    "784-128-64 mirrored": (lambda: dense("784-128-64-128-784, batch 128"), (784,), 128),
}


# --- in the processes -----------------------------------------------------------------------------


class Enough(sa.Callback):
    """Stops after `seconds`, counted by the history, which is the same in all processes."""

    def __init__(self, seconds: float):
        self.seconds = seconds

    def on_epoch_end(self, trainer: Any, row: Any) -> None:
        trainer.stop = len(trainer.history["loss"]) > 3 and sum(trainer.history["seconds"]) > self.seconds


def train(case: str, batch: int, seconds: float) -> dict:
    """Times per step in ms, the first epoch's loss and the bytes of the gradients."""
    sa.manual_seed(0)
    build, shape, _ = CASES[case]
    model = build()
    images = random_batches(batch, *shape, batches=STEPS).reshape(-1, *shape)
    optimizer = sa.optim.Adam(model.parameters(), lr=1e-3)
    trainer = sa.Trainer(model, optimizer, [Enough(seconds)], distributed=True)
    world, calls = trainer.world, []

    def timed(exchange: Any) -> Any:
        def run(*what: Any) -> Any:
            start = time.perf_counter()
            result = exchange(*what)
            calls.append(time.perf_counter() - start)
            return timed(result) if callable(result) else result

        return run

    for name in ("sum", "start_sum"):
        setattr(world, name, timed(getattr(world, name)))
    history = trainer.fit(images, epochs=10**6, batch_size=batch, shuffle=False, progress=False)
    for name in ("sum", "start_sum"):
        delattr(world, name)
    # Each step starts to add up its loss terms, waits for them, and adds up gradients; the first epoch warms up.
    spent = 1e3 * np.array(calls if world.size > 1 else [0.0] * 6 * STEPS).reshape(-1, 3)[STEPS:]
    return {
        "ms": statistics.median(history["seconds"][1:]) / STEPS * 1e3,
        "exchange": float(np.median(spent.sum(axis=1))),
        "gradients": float(np.median(np.min(world.gather(spent[:, 2]), axis=0))),  # the last process does not wait
        "loss": history["loss"][0],
        "bytes": sum(g.nbytes for g in optimizer.gradients()),
    }


def all_reduces(repeats: int = 40) -> list[float]:
    """Median seconds to add up arrays of SIZES bytes."""
    world, times = sa.distributed.init(), []
    for size in SIZES:
        array, once = np.empty(size // 4, np.float32), []
        for _ in range(repeats):
            array[...] = 1  # the array was just written, as after a backward pass
            world.gather(None)
            start = time.perf_counter()
            world.sum(array)
            once.append(time.perf_counter() - start)
        times.append(float(np.median(np.min(world.gather(once), axis=0)[repeats // 4 :])))
    return times


def child(task: list[str]) -> None:
    if task[0] == "all-reduces":
        result: Any = all_reduces()
    else:
        result = [train(task[0], int(batch), float(task[2])) for batch in task[1].split(",")]
    if sa.distributed.world().rank == 0:
        print(json.dumps(result))


# --- in the parent --------------------------------------------------------------------------------


def launch(processes: int, threads: int, *task: object) -> Any:
    mpiexec = shutil.which("mpiexec", path=os.path.dirname(sys.executable)) or shutil.which("mpiexec")
    if mpiexec is None:
        sys.exit("mpiexec was not found: pip install 'scratchae[mpi]'")
    start = [mpiexec, "-n", str(processes)] if processes > 1 else []
    command = [*start, sys.executable, __file__, "--child", *map(str, task)]
    environment = {**os.environ, **dict.fromkeys(THREAD_SETTINGS, str(threads))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def scaling(case: str, rounds: int, seconds: float) -> dict:
    """Label -> medians over the rounds: of the results of `train`, and of the speed-ups within a round."""
    batch = CASES[case][2]
    runs = {"1 process": (1, 1, batch), "1 process, 2 threads": (1, 2, batch)}
    for n in (2, 4):
        note = ", oversubscribed" if n > CORES else ""
        runs |= {f"{n} processes, strong{note}": (n, 1, batch), f"{n} processes, weak{note}": (n, 1, n * batch)}
    found: dict[str, list] = {label: [] for label in runs}
    for i in range(rounds):
        for label in [*runs][i % len(runs) :] + [*runs][: i % len(runs)]:
            processes, threads, images = runs[label]
            found[label] += launch(processes, threads, case, images, seconds)
    one, table = found["1 process"], {}
    for label, (processes, threads, images) in runs.items():
        results = found[label]
        if images == batch and not math.isclose(results[0]["loss"], one[0]["loss"], rel_tol=1e-4):
            sys.exit(f"{case}, {label}: the loss is {results[0]['loss']}, that of one process {one[0]['loss']}")
        speedups = [images / batch * a["ms"] / b["ms"] for a, b in zip(one, results, strict=True)]
        table[label] = {key: statistics.median(r[key] for r in results) for key in one[0]}
        table[label] |= {"batch": images, "workers": processes * threads}
        table[label] |= {"speedup": [statistics.median(speedups), min(speedups), max(speedups)]}
    return table


def line(x: Any, times: Any) -> tuple[float, float, float]:
    """(a, b, largest relative deviation) of times = a + b x, fitted to equal relative errors."""
    x, times = np.asarray(x, float), np.asarray(times, float)
    (a, b), *_ = np.linalg.lstsq(np.stack([1 / times, x / times], axis=1), np.ones(len(x)), rcond=None)
    return float(a), float(b), float(np.abs((a + b * x) / times - 1).max())


def exchange_ms(n: int, size: float, alpha: float, beta: float) -> float:
    """The exchange of a step in ms: the gradients, and one trip for loss terms and signals."""
    trips = math.log2(n)
    return 1e3 * (2 * trips * alpha + 2 * (n - 1) / n * size * beta + trips * alpha)


def report(case: str, table: dict, own: dict, here: tuple, network: tuple) -> dict:
    """Print measurements and predictions. Returns the predicted efficiencies: batch -> one for each of RANKS."""
    one, fixed, each = table["1 process"], own["fixed"], own["per_image"]
    print(f"\n{case}: {one['bytes'] / 1e6:.3g} MB of gradients a step")
    print(f"  {'':35} {'batch':>5} {'ms/step':>8} {'compute':>8} {'exchange':>8} {'speed-up':>22} {'efficiency':>10}")
    for label, r in table.items():
        speedup, parts = "{:.2f} ({:.2f} to {:.2f})".format(*r["speedup"]), (r["ms"], r["ms"] - r["exchange"])
        print(f"  {label:35} {r['batch']:5} {parts[0]:8.2f} {parts[1]:8.2f} {r['exchange']:8.2f} {speedup:>22} "
              f"{r['speedup'][0] / r['workers']:10.0%}")  # fmt: skip
    print(f"  one process alone: {fixed:.3g} + {each:.3g} ms per image, within {own['off']:.0%}")
    two = next(r for label, r in table.items() if label.startswith("2 processes, strong"))
    step = fixed + each * two["batch"] / 2 + exchange_ms(2, two["bytes"], *here)
    summed = 1e3 * (2 * here[0] + two["bytes"] * here[1])
    print(
        f"  2 processes, strong, predicted / measured: ms to add up gradients {summed:.3f} / {two['gradients']:.3f}"
        f" = {summed / two['gradients']:.2f}, ms a step {step:.2f} / {two['ms']:.2f} = {step / two['ms']:.2f}"
    )
    predicted = {}
    print(f"  predicted efficiency\n  {'batch':>9}" + "".join(f"{n:>8}" for n in RANKS) + "  processes")
    between = [exchange_ms(n, one["bytes"], *network) for n in RANKS]
    for batch in BATCHES:
        predicted[batch] = [(fixed + each * batch) / (n * (fixed + t) + each * batch) if n <= batch else math.nan
                            for n, t in zip(RANKS, between, strict=True)]  # fmt: skip
        print(f"  {batch:9,}" + "".join(f"{'-' if math.isnan(e) else f'{e:.0%}':>8}" for e in predicted[batch]))
    enough = [max(n, (n * (fixed + t) - 2 * fixed) / each) for n, t in zip(RANKS, between, strict=True)]
    print("  50 % from" + "".join(f"{batch:8,.0f}" for batch in enough) + "  images a batch")
    return predicted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a look: two short rounds")
    parser.add_argument("--rounds", type=int, metavar="N", help="default 7")
    parser.add_argument("--alpha", type=float, help="seconds that a message takes; default: what is measured here")
    parser.add_argument("--beta", type=float, help="seconds per byte: 1e-10 is 10 GB/s")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks"), help="folder (default: %(default)s)")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.child)
    rounds, seconds = args.rounds or (2 if args.quick else 7), 0.3 if args.quick else 1.5
    machine = describe_machine(with_torch=False)
    print("\n".join(f"{k}: {v}" for k, v in machine.items()))

    times = np.median([launch(2, 1, "all-reduces") for _ in range(rounds)], axis=0)
    both_ways, beta, off = line(SIZES, times)
    alpha = both_ways / 2  # two processes: 2 alpha + m beta
    print("\nall-reduce, 2 processes")
    print("\n".join(f"  {size >> 10:6} KB {t * 1e6:9.1f} us" for size, t in zip(SIZES, times, strict=True)))
    print(f"  alpha {alpha * 1e6:.2f} us, beta {beta * 1e9:.3f} ns/B ({1e-9 / beta:.2f} GB/s), within {off:.0%}")
    here = alpha, beta
    network = alpha if args.alpha is None else args.alpha, beta if args.beta is None else args.beta
    whose = "this machine's memory as the network" if network == here else "alpha and beta as given"
    print(f"predictions below take {whose}; the fit never saw the steps that it is held against")
    tables, own, predicted = {}, {}, {}
    for case in CASES:
        tables[case] = scaling(case, rounds, seconds)
        batches = ",".join(map(str, LOCAL))
        alone = [[r["ms"] for r in launch(1, 1, case, batches, seconds)] for _ in range(rounds)]
        own[case] = dict(zip(("fixed", "per_image", "off"), line(LOCAL, np.median(alone, axis=0)), strict=True))
        predicted[case] = report(case, tables[case], own[case], here, network)
    save(args.out, "processes.json", {"machine": machine, "all_reduce": dict(zip(SIZES, times, strict=True)),
         "here": here, "network": network, "own": own, "cases": tables, "ranks": RANKS,
         "predicted": predicted})  # fmt: skip
    plot(tables, predicted, args.out / "processes.png")


def plot(tables: dict, predicted: dict, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(tables) + 2, 3.6), layout="constrained")
    for axes, case in zip(figure.subplots(1, len(tables), sharey=True), tables, strict=True):
        for kind, marker in (("strong", "o"), ("weak", "s")):
            points = [(r["workers"], r["speedup"][0] / r["workers"]) for k, r in tables[case].items() if kind in k]
            axes.plot(*zip((1, 1), *points, strict=True), marker + "-", label=f"measured, {kind}")
        for batch, values in predicted[case].items():
            axes.plot(RANKS, values, "--", linewidth=1, label=f"predicted, batch {batch:,}")
        axes.axhline(0.5, color="black", linewidth=1, linestyle=":")
        axes.set(title=case, xlabel="processes", ylim=(0, None))
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
    axes.figure.axes[0].set_ylabel("efficiency")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(path, dpi=120)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
