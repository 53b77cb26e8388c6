"""Convolutions against PyTorch: single layers and whole convolutional autoencoders.

    python benchmarks/bench_conv.py            nine rounds
    python benchmarks/bench_conv.py --quick    two rounds

How it is measured: see paired.py. "share" is the rate of the multiplications over that of a large matrix product on
the same machine. Writes outputs/benchmarks/conv.json and conv.png.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from paired import OURS, Step, describe_machine, measure, run_rounds, summary

BATCH = 128
SECONDS = 0.7


@dataclass(frozen=True)
class Layer:
    """One convolution, forward or forward and backward; a first layer's input needs no gradient."""

    channels: int
    size: int
    out: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    backward: bool = True

    @property
    def first(self) -> bool:
        return self.channels in (1, 3)

    def flops(self) -> float:
        pixels = BATCH * (-(-self.size // self.stride)) ** 2
        one = 2 * pixels * self.out * self.channels // self.groups * self.kernel**2
        return one * ((2 if self.first else 3) if self.backward else 1)

    def build(self, who: str) -> Step:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((BATCH, self.channels, self.size, self.size), dtype=np.float32)
        w = rng.standard_normal((self.out, self.channels // self.groups, self.kernel, self.kernel), dtype=np.float32)
        out = -(-self.size // self.stride)
        g = rng.standard_normal((BATCH, self.out, out, out), dtype=np.float32)
        options: dict[str, Any] = {"stride": self.stride, "padding": self.kernel // 2, "groups": self.groups}
        return self._ours(x, w, g, options) if who == OURS else self._torch(x, w, g, options, "channels last" in who)

    def _ours(self, x: np.ndarray, w: np.ndarray, g: np.ndarray, options: dict) -> Step:
        import scratchae as sa
        from scratchae import functional as F

        def innermost(a: np.ndarray) -> np.ndarray:  # as it lies in memory between two layers
            return np.ascontiguousarray(a.transpose(2, 1, 3, 0)).transpose(3, 1, 0, 2)

        X = sa.Tensor(x if self.first else innermost(x), requires_grad=not self.first)
        W, G = sa.Tensor(w, requires_grad=True), innermost(g)

        def step(i: int) -> float:
            if not self.backward:
                with sa.no_grad():
                    return float(F.conv2d(X, W, **options).data[0, 0, 1, 1])
            for leaf in [W] if self.first else [X, W]:
                leaf.grad = None
            F.conv2d(X, W, **options).backward(G)
            return float(W.grad[0, 0, 0, 0])

        return step

    def _torch(self, x: np.ndarray, w: np.ndarray, g: np.ndarray, options: dict, channels_last: bool) -> Step:
        import torch

        torch.set_num_threads(2)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        X, W, G = (torch.from_numpy(a).contiguous(memory_format=layout) for a in (x, w, g))
        X.requires_grad_(not self.first), W.requires_grad_(True)

        def step(i: int) -> float:
            if not self.backward:
                with torch.no_grad():
                    return torch.nn.functional.conv2d(X, W, **options)[0, 0, 1, 1].item()
            X.grad = W.grad = None
            torch.nn.functional.conv2d(X, W, **options).backward(G)
            return W.grad[0, 0, 0, 0].item()

        return step


@dataclass(frozen=True)
class Network:
    """A training step (Adam, in PyTorch the fused one; cross-entropy on logits) of a convolutional autoencoder.

    `layers`: ("conv", in, out, stride), ("transpose", in, out) with stride 2, "relu", "pool", "upsample".
    """

    layers: tuple

    def flops(self) -> float:
        return math.nan

    def build(self, who: str) -> Step:
        x = np.random.default_rng(1).random((8, BATCH, 1, 28, 28), dtype=np.float32)
        if who == OURS:
            import scratchae as sa
            from scratchae import functional as F
            from scratchae import nn

            wrap, optimizer_of = sa.Tensor, sa.optim.Adam
        else:
            import torch
            import torch.nn.functional as F  # type: ignore[no-redef]
            from torch import nn  # type: ignore[no-redef]

            torch.set_num_threads(2)
            wrap = torch.from_numpy

            def optimizer_of(params: Any, lr: float) -> Any:
                return torch.optim.Adam(params, lr=lr, fused=True)

        make = {
            "conv": lambda a, b, stride: nn.Conv2d(a, b, 3, stride, 1),
            "transpose": lambda a, b: nn.ConvTranspose2d(a, b, 3, 2, 1, 1),
            "relu": nn.ReLU,
            "pool": lambda: nn.MaxPool2d(2),
            "upsample": lambda: nn.Upsample(scale_factor=2),
        }
        layers = [make[s]() if isinstance(s, str) else make[s[0]](*s[1:]) for s in self.layers]
        model = nn.Sequential(*layers)
        rng = np.random.default_rng(0)
        for p in model.parameters():
            value = (rng.standard_normal(tuple(p.shape)) * 0.1).astype(np.float32)
            p.data = value if who == OURS else torch.from_numpy(value)
        optimizer = optimizer_of(model.parameters(), lr=1e-3)
        batches = [wrap(b) for b in x]
        if "channels last" in who:
            model = model.to(memory_format=torch.channels_last)
            batches = [b.contiguous(memory_format=torch.channels_last) for b in batches]

        def step(i: int) -> float:
            batch = batches[i % len(batches)]
            loss = F.binary_cross_entropy_with_logits(model(batch), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item()

        return step


def conv(a: int, b: int, stride: int = 1) -> tuple:
    return ("conv", a, b, stride)


SHAPES = {
    "1 -> 16, 28x28": Layer(1, 28, 16),
    "16 -> 16, 14x14": Layer(16, 14, 16),
    "16 -> 1, 28x28": Layer(16, 28, 1),
    "32 -> 64, 14x14": Layer(32, 14, 64),
    "1 -> 16, 28x28, stride 2": Layer(1, 28, 16, stride=2),
    "16 -> 32, 14x14, stride 2": Layer(16, 14, 32, stride=2),
}
OTHERS = {
    "32 -> 32, 28x28": Layer(32, 28, 32),
    "16 -> 16, 14x14, 5x5": Layer(16, 14, 16, kernel=5),
    "32 -> 32, 14x14, depthwise": Layer(32, 14, 32, groups=32),
    "32 -> 64, 14x14, 1x1": Layer(32, 14, 64, kernel=1),
    "3 -> 32, 64x64": Layer(3, 64, 32),
}
NETWORKS = {
    "conv-pool 1-16-16-16-1": Network(
        (conv(1, 16), "relu", "pool", conv(16, 16), "relu", "pool", conv(16, 16), "relu", "upsample", conv(16, 16),
         "relu", "upsample", conv(16, 1))
    ),
    "strided 1-16-32-16-1": Network(
        (conv(1, 16, 2), "relu", conv(16, 32, 2), "relu", ("transpose", 32, 16), "relu", ("transpose", 16, 1))
    ),
    "pool and transposed, 32 channels": Network(
        (conv(1, 32), "relu", "pool", conv(32, 32), "relu", "pool", ("transpose", 32, 32), "relu",
         ("transpose", 32, 32), "relu", conv(32, 1))
    ),
}  # fmt: skip
FORWARD = {f"{name}, forward": Layer(**{**vars(layer), "backward": False}) for name, layer in SHAPES.items()}
CASES: dict[str, Layer | Network] = {**SHAPES, **FORWARD, **OTHERS, **NETWORKS}


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rounds")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks"))
    parser.add_argument("--cases", default="", metavar="TEXT", help="only those whose name contains TEXT")
    parser.add_argument("--child", nargs=2, metavar=("CASE", "WHO"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        name, who = args.child
        if name == "rate":
            print(json.dumps({"ms": 0.0, "peak": 0, "values": [], "rate": matrix_rate()}))
        else:
            print(json.dumps(measure(CASES[name].build(who), who, SECONDS, 5)))
        return
    rivals = ["torch eager", "torch channels last"] if importlib.util.find_spec("torch") else []
    machine, rounds = describe_machine(), 2 if args.quick else args.rounds
    rate = run_rounds(__file__, "rate", [OURS], 1)[0][OURS]["rate"]
    print("\n".join(f"{k}: {v}" for k, v in machine.items()), f"\nmatrix products: {rate / 1e9:.0f} GFLOP/s\n")
    print(f"{'':34} {'ours ms':>8} {'torch / ours':>22} {'GFLOP/s':>8} {'share':>6} {'peak MB':>8} {'torch':>6}")
    table = {}
    for name, case in CASES.items():
        if args.cases in name:
            table[name] = found = summary(run_rounds(__file__, name, [OURS, *rivals], rounds))
            print(f"{name:34} {row(found, case.flops(), rate)}", flush=True)
    if rivals and set(SHAPES) <= set(table):
        best = [min(math.log(table[name][who]["ratio"][0]) for who in rivals) for name in SHAPES]
        print(f"geometric mean of the six shapes, forward and backward: {math.exp(sum(best) / len(best)):.2f}")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "conv.json").write_text(json.dumps({"machine": machine, "rate": rate, "cases": table}, indent=1))
    plot(table, args.out / "conv.png")
    print(f"written: {args.out / 'conv.json'}, {args.out / 'conv.png'}")


def row(found: dict, flops: float, rate: float) -> str:
    ours, others = found[OURS], [r for who, r in found.items() if who != OURS]
    best = min(others, key=lambda r: r["ratio"][0], default=None)
    ratio = "" if best is None else "{:.2f} ({:.2f} to {:.2f})".format(*best["ratio"])
    speed = flops / ours["ms"] * 1e3
    rates = "" if math.isnan(flops) else f"{speed / 1e9:8.0f} {speed / rate:6.0%}"
    torch_peak = "" if best is None else f"{best['peak'] / 1e6:6.1f}"
    return f"{ours['ms']:8.2f} {ratio:>22} {rates:>15} {ours['peak'] / 1e6:8.1f} {torch_peak}"


def plot(table: dict, path: Path) -> None:
    from matplotlib.figure import Figure

    rivals = {name: [r["ratio"][0] for who, r in found.items() if who != OURS] for name, found in table.items()}
    ratios = {name: min(found) for name, found in rivals.items() if found}
    if not ratios:
        return
    figure = Figure(figsize=(8, 0.32 * len(ratios) + 1), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(ratios), list(ratios.values()), color=["#44AA99" if r >= 1 else "#CC6677" for r in ratios.values()])
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.invert_yaxis()
    axes.set_xlabel("time of PyTorch's best mode / ours (above 1: we are faster)")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
