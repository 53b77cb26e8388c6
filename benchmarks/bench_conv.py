"""Convolutional layers: a comparison with PyTorch as a script, and small batches alone with `pytest benchmarks/`.

    python benchmarks/bench_conv.py            nine rounds
    python benchmarks/bench_conv.py --quick    two rounds

paired.py describes the measurement. "share" is the rate of multiplications, divided by the rate of a large matrix
product on the same machine. The script writes outputs/benchmarks/conv.json and conv.png. compare.py measures whole
networks.
"""

from __future__ import annotations

import importlib.util
import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from convolutions import LAYERS, OTHERS, SHAPES, reference
from paired import OURS, command_line, describe_machine, measure, run_rounds, save, summary

import scratchae as sa
from scratchae import functional as F


@pytest.mark.parametrize("name", {**SHAPES, **OTHERS})
def test_forward_and_backward(benchmark, name):
    layer = replace(LAYERS[name], batch=4)
    x, w, g = layer.arrays()
    x, w = sa.Tensor(x, requires_grad=True), sa.Tensor(w, requires_grad=True)

    def run():
        x.grad = w.grad = None
        out = F.conv2d(x, w, **layer.options)
        out.backward(g)
        return out.numpy()

    found = benchmark(run), w.grad, x.grad
    for ours, wanted in zip(found, reference(layer), strict=True):
        np.testing.assert_allclose(ours, wanted, atol=2e-6 * abs(wanted).max(), rtol=1e-5)


def matrix_rate() -> float:
    """FLOP/s of a product of two 1024 x 1024 float32 matrices."""
    a = np.random.default_rng(0).random((1024, 1024), dtype=np.float32)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return 2 * 1024**3 / sorted(times)[10]


def main() -> None:
    args = command_line(__doc__, rounds=9)
    if args.child:
        name, who, seconds = args.child
        if name == "rate":
            print(json.dumps({"values": [], "rate": matrix_rate()}))
        else:
            print(json.dumps(measure(LAYERS[name].build(who), who, float(seconds), LAYERS[name].checked_steps)))
        return
    has_torch = importlib.util.find_spec("torch") is not None
    machine = describe_machine(has_torch)
    rate = run_rounds(__file__, "rate", [OURS], 1, 0)[0][OURS]["rate"]
    print("\n".join(f"{k}: {v}" for k, v in machine.items()), f"\nmatrix products: {rate / 1e9:.0f} GFLOP/s\n")
    print(f"{'':34} {'ours ms':>8} {'torch / ours':>22} {'GFLOP/s':>8} {'share':>6} {'peak MB':>8} {'torch':>6}")
    table = {}
    for name, layer in LAYERS.items():
        if args.cases in name:
            contestants = [OURS, *(layer.rivals if has_torch else ())]
            table[name] = summary(run_rounds(__file__, name, contestants, args.rounds, args.seconds))
            print(f"{name:34} {row(table[name], layer.flops(), rate)}", flush=True)
    if has_torch and set(SHAPES) <= set(table):
        ratios = [best(table[name])["ratio"][0] for name in SHAPES]
        print(f"geometric mean of the first six: {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}")
    save(args.out, "conv.json", {"machine": machine, "rate": rate, "cases": table})
    plot(table, args.out / "conv.png")


def best(found: dict) -> dict | None:
    """The result of PyTorch's faster mode; None without PyTorch."""
    return min((r for who, r in found.items() if who != OURS), key=lambda r: r["ratio"][0], default=None)


def row(found: dict, flops: float, rate: float) -> str:
    ours, rival, speed = found[OURS], best(found), flops / found[OURS]["ms"] * 1e3
    ratio, peak = "", ""
    if rival is not None:
        ratio, peak = "{:.2f} ({:.2f} to {:.2f})".format(*rival["ratio"]), f"{rival['peak'] / 1e6:6.1f}"
    rates = f"{speed / 1e9:8.0f} {speed / rate:6.0%}"
    return f"{ours['ms']:8.2f} {ratio:>22} {rates} {ours['peak'] / 1e6:8.1f} {peak}"


def plot(table: dict, path: Path) -> None:
    from matplotlib.figure import Figure

    ratios = {name: best(found)["ratio"][0] for name, found in table.items() if len(found) > 1}
    if not ratios:
        return
    figure = Figure(figsize=(8, 0.32 * len(ratios) + 1), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(ratios), list(ratios.values()), color=["#44AA99" if r >= 1 else "#CC6677" for r in ratios.values()])
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.invert_yaxis()
    axes.set_xlabel("time of PyTorch's best mode / ours (above 1: we are faster)")
    figure.savefig(path, dpi=120)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
