"""The growth of a training step's time and memory with the batch, the width, the depth and the side of the images.

    python benchmarks/scaling.py                   all points, three rounds
    python benchmarks/scaling.py --quick           three points of each curve, one round
    python benchmarks/scaling.py --cases depth     one curve

The other contestant is PyTorch eager, measured as in paired.py. For each curve, the exponent k of cost ~ size^k is
fitted over the upper half of the sizes. k = 1 is linear growth. Writes outputs/benchmarks/scaling.json and scaling.png.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from convolutions import Network, conv
from paired import OURS, Step, command_line, describe_machine, measure, run_rounds, save, summary
from sides import random_batches, side, training_step
from workloads import Dense

CHECKED_STEPS = 5


@dataclass(frozen=True)
class Chain:
    """Layers of one width, with tanh between the layers.

    The initial weights are orthogonal. So a signal and its gradient do not vanish over a thousand layers.
    """

    depth: int
    width: int = 32
    batch: int = 64

    def build(self, who: str) -> Step:
        s, rng = side(who), np.random.default_rng(0)
        model = s.nn.Sequential(
            *(layer for _ in range(self.depth) for layer in (s.nn.Linear(self.width, self.width), s.nn.Tanh()))
        )
        for p in model.parameters():
            is_bias = len(p.shape) == 1
            value = np.zeros(self.width) if is_bias else np.linalg.qr(rng.standard_normal(tuple(p.shape)))[0]
            p.data[...] = s.wrap(value.astype(np.float32))
        optimizer = s.adam(model.parameters(), lr=1e-3 / self.depth)
        batches = [s.tensor(x) for x in random_batches(self.batch, self.width)]
        return training_step(lambda x: s.F.mse_loss(model(x), x), optimizer, batches)


def strided_network(image_side: int) -> Network:
    layers = (conv(1, 8, 2), "relu", conv(8, 16, 2), "relu", ("transpose", 16, 8), "relu", ("transpose", 8, 1))
    return Network(layers, batch=8, side=image_side)


# The learning rate is proportional to 1 / width or 1 / depth. Otherwise training of large models would be unstable, and
# rounding errors would grow into different results.
CURVES = {
    "batch": (lambda n: Dense((784, 128, 64), n), [4**k for k in range(7)], "batch, 784-128-64-128-784"),
    "width": (lambda n: Dense((n, n), 64, rate=1e-3 * 64 / n), [2**k for k in range(6, 13)], "width, n-n-n, batch 64"),
    "depth": (Chain, [1, 3, 10, 30, 100, 300, 1000], "layers of width 32, batch 64"),
    "side": (strided_network, [28, 56, 84, 112, 168, 224], "side of images, strided 1-8-16-8-1, batch 8"),
}


def main() -> None:
    args = command_line(__doc__, rounds=3)
    if args.child:
        case, who, seconds = args.child
        name, size = case.split()
        workload = CURVES[name][0](int(size))
        print(json.dumps(measure(workload.build(who), who, float(seconds), CHECKED_STEPS)))
        return
    rounds = 1 if args.quick else args.rounds
    contestants = [OURS, "torch eager"]
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: scratchae's growth is measured alone")
        contestants = [OURS]
    chosen = [name for name in CURVES if args.cases in name]
    if not chosen:
        sys.exit(f"no curve has {args.cases!r} in its name; there are: {', '.join(CURVES)}")
    machine = describe_machine(len(contestants) > 1)
    print("\n".join(f"{k}: {v}" for k, v in machine.items()), end="\n\n", flush=True)
    curves = {}
    for name in chosen:
        _, sizes, _ = CURVES[name]
        if args.quick:
            sizes = [sizes[0], sizes[len(sizes) // 2], sizes[-1]]
        curves[name] = curve(name, sizes, contestants, rounds, args.seconds)
    save(args.out, "scaling.json", {"machine": machine, "rounds": rounds, "curves": curves})
    plot(curves, args.out / "scaling.png")


def curve(name: str, sizes: list[int], contestants: list[str], rounds: int, seconds: float) -> dict:
    """Time and peak memory at each size, and the fitted exponents, per contestant."""
    found = {who: {"ms": [], "peak": []} for who in contestants}
    for size in sizes:
        results = summary(run_rounds(__file__, f"{name} {size}", contestants, rounds, seconds))
        for who in contestants:
            for what in ("ms", "peak"):
                found[who][what].append(results[who][what])
        line = ", ".join(f"{who} {r['ms']:.3f} ms {r['peak'] / 1e6:.3f} MB" for who, r in results.items())
        print(f"{name} {size:5}: {line}", flush=True)
    upper = slice(len(sizes) // 2, None)
    for who, values in found.items():
        for what in ("ms", "peak"):
            slope, _ = np.polyfit(np.log(sizes[upper]), np.log(np.maximum(values[what][upper], 1e-9)), 1)
            values[f"exponent_{what}"] = float(slope)
        exponents = f"time ~ {name}^{values['exponent_ms']:.2f}, memory ~ {name}^{values['exponent_peak']:.2f}"
        print(f"{name}, {who}: {exponents} (fitted from {sizes[upper][0]} on)", flush=True)
    return {"sizes": sizes, "contestants": found}


def plot(curves: dict, path: Path) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    from scratchae.plotting import PALETTE

    figure = Figure(figsize=(4 * len(curves), 6.4), layout="constrained")
    axes = figure.subplots(2, len(curves), squeeze=False, sharex="col")
    for column, (name, found) in enumerate(curves.items()):
        for row, (what, unit, label) in enumerate([("ms", 1, "ms per step"), ("peak", 1e6, "peak MB of a step")]):
            ax = axes[row, column]
            for (who, values), colour in zip(found["contestants"].items(), PALETTE, strict=False):
                text = f"{who}, slope {values[f'exponent_{what}']:.2f}"
                ax.plot(found["sizes"], np.array(values[what]) / unit, "o-", color=colour, label=text)
            ax.set(xscale="log", yscale="log")
            ax.set_xticks(found["sizes"], [f"{n}" for n in found["sizes"]], rotation=45)
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter("{x:g}")
            ax.minorticks_off()
            ax.grid(color="#E4E4E4")
            ax.legend(frameon=False, fontsize=9)
            if column == 0:
                ax.set_ylabel(label)
        axes[1, column].set_xlabel(CURVES[name][2])
    figure.savefig(path, dpi=120)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
