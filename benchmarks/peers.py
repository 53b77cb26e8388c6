"""A training step in other libraries: times over ours, with equal weights, data, losses and Adam.

    python benchmarks/peers.py                              five workloads, five rounds, every installed library
    python benchmarks/peers.py --quick                      one workload of each kind, two short rounds
    python benchmarks/peers.py --cases conv                 only workloads with "conv" in their name
    python benchmarks/peers.py --contestants jax,tiny       only contestants with one of these texts in their name
    python benchmarks/peers.py --cases conv --add           three earlier rounds and five of now make eight

"scratchae" is scratchae with the extra [fast], where numba is installed. PyTorch runs in several modes, and the table
names the fastest mode. peer_steps/ has the code of all contestants, and paired.py the measurement. Each process may use
as many cores as `--threads`. A library that is not installed is left out, and the output says so.

The script writes outputs/benchmarks/peers.json and peers.png. A later call replaces only the workloads that the call
measures. The picture shows all workloads of the file. "lines" is the number of lines that a user writes for model,
loss, optimiser and step (see `peer_steps.lines_of_a_step`).
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import peers_picture
from convolutions import NETWORKS, Network
from paired import OURS, Result, command_line, describe_machine, measure, run_rounds, save, summary
from peer_steps import lines_of_a_step
from sides import initial_values, random_batches
from workloads import WORKLOADS, Variational

CONV_POOL = "conv-pool 1-16-16-16-1"
CASES = {
    **{name: case for name, case in WORKLOADS.items() if not name.startswith("contractive")},
    f"{CONV_POOL}, batch 128": NETWORKS[CONV_POOL],
}
QUICK = ("784-128", "variational", "conv-pool")  # one workload of each kind


@dataclass(frozen=True)
class Contestant:
    """The file of peer_steps/, what must be installed, and the settings that choose the mode."""

    label: str
    file: str
    packages: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    mode: str | None = None
    only_images: bool = False
    note: str = ""


ONE_THREAD = "has no setting for the number of threads of a CPU"
NUMPY_1 = "two names are replaced, so that the library works with NumPy 2 and computes in float32 (with_dezero.py)"


def _torch(mode: str, only_images: bool = False) -> Contestant:
    return Contestant("PyTorch", "with_torch", ("torch",), mode=mode, only_images=only_images)


CONTESTANTS = {
    OURS: Contestant("scratchae [fast]", "with_scratchae"),
    f"{OURS} threads": Contestant("scratchae, threads", "with_scratchae", environment={"SCRATCHAE_COMPILED": "0"}),
    f"{OURS} default": Contestant("scratchae, no extra", "with_scratchae", environment={"SCRATCHAE_COMPILED": "0"}),
    f"{OURS} plain": Contestant("scratchae, plain NumPy", "with_scratchae", environment={"SCRATCHAE_PLAIN": "1"}),
    "torch eager": _torch("eager"),
    "torch fused": _torch("fused"),
    "torch compile": _torch("compile"),
    "torch channels last": _torch("channels last", only_images=True),
    "torch channels last, compile": _torch("channels last, compile", only_images=True),
    "jax": Contestant("JAX", "with_jax", ("jax", "optax")),
    "keras jax": Contestant("Keras on JAX", "with_keras", ("keras", "jax"), {"KERAS_BACKEND": "jax"}),
    "keras torch": Contestant("Keras on PyTorch", "with_keras", ("keras", "torch"), {"KERAS_BACKEND": "torch"}),
    "tinygrad": Contestant("tinygrad", "with_tinygrad", ("tinygrad",), {"DEV": "CPU"}, note=ONE_THREAD),
    "mygrad": Contestant("MyGrad", "with_mygrad", ("mygrad",)),
    "autograd": Contestant("autograd", "with_autograd", ("autograd", "scipy")),
    "dezero": Contestant("DeZero", "with_dezero", ("dezero",), note=NUMPY_1),
}
LIBRARIES = ("numba", "torch", "jax", "optax", "keras", "tinygrad", "mygrad", "autograd", "dezero")


def main() -> None:
    args = command_line(__doc__, rounds=5, more=options)
    if args.child:
        name, who, seconds = args.child
        prepare(who, args.threads)
        print(json.dumps(measure(build(name, who), who, float(seconds), CASES[name].checked_steps)))
        return
    chosen = [name for name in CASES if args.cases in name and (not args.quick or args.cases or name.startswith(QUICK))]
    if not chosen:
        sys.exit(f"no workload has {args.cases!r} in its name; there are: {', '.join(map(repr, CASES))}")
    texts = args.contestants.split(",")
    asked = [who for who in CONTESTANTS if who == OURS or any(text in who for text in texts)]
    contestants = [who for who in asked if not missing(who)]
    versions = versions_of(LIBRARIES)
    machine = {**describe_machine("torch" in versions), **versions, "threads": str(args.threads)}
    print("\n".join(f"{k}: {v}" for k, v in machine.items()), f"\nrounds: {args.rounds}")
    for who in asked:
        if who not in contestants:
            print(f"{who} is left out, not installed: {', '.join(missing(who))}")
        elif CONTESTANTS[who].note:
            print(f"{who}: {CONTESTANTS[who].note}")
    if "numba" not in versions:
        print(f"numba is not installed, so {OURS} runs without the extra [fast]")
    print(flush=True)
    path = args.out / "peers.json"
    cases = earlier(path, machine)
    for name in chosen:
        able = [who for who in contestants if is_able(who, name)]
        before = cases.get(name, []) if args.add else []
        rounds = run_rounds(__file__, name, able, args.rounds, args.seconds, start=len(before))
        times = [{who: {"ms": r["ms"], "peak": r["peak"]} for who, r in found.items()} for found in rounds]
        cases[name] = before + times
        print(f"{name}\n{format_table(rows_of(cases[name]), lines_for(name))}\n", flush=True)
        cases = {name: cases[name] for name in CASES if name in cases}
        save(args.out, "peers.json", {"machine": machine, "cases": cases})
    peers_picture.draw({name: rows_of(rounds) for name, rounds in cases.items()}, args.out / "peers.png")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--contestants", default="", metavar="TEXTS", help="only those with one of the texts (a,b)")
    parser.add_argument("--add", action="store_true", help="keep the rounds of earlier calls, and add these rounds")


# --- in the child ---------------------------------------------------------------------------------


def prepare(who: str, threads: int) -> None:
    """Set the process up for a contestant, before the library is imported."""
    os.environ.update(CONTESTANTS[who].environment)
    if who in (OURS, f"{OURS} threads"):
        os.environ["SCRATCHAE_THREADS"] = str(threads)
    if hasattr(os, "sched_setaffinity"):  # some libraries take as many threads as the process may use cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def build(name: str, who: str) -> Callable[[int], float]:
    """`step(i)` of a contestant."""
    contestant, case = CONTESTANTS[who], CASES[name]
    library = importlib.import_module(f"peer_steps.{contestant.file}")
    if contestant.mode:
        library.mode = contestant.mode
    weights = list(initial_values(shapes_of(case)))
    if isinstance(case, Network):
        step = library.convolutional(weights)
        batches = [library.images(x) for x in random_batches(case.batch, 1, case.side, case.side, batches=8)]
    elif isinstance(case, Variational):
        rng = np.random.default_rng(0)
        size = (case.batch, case.sizes[-1])
        step = library.variational(case.sizes, weights, lambda: rng.standard_normal(size, dtype=np.float32))
        batches = [library.batch(x) for x in random_batches(case.batch, case.sizes[0])]
    else:
        step = library.dense(case, weights)
        batches = [library.batch(x) for x in case.data()]
    return lambda i: step(batches[i % len(batches)])


def shapes_of(case: Any) -> Iterator[tuple[int, ...]]:
    """A weight and a bias for each layer, in PyTorch's shapes."""
    if isinstance(case, Network):
        layers = [(*layer[1:3], 3, 3) for layer in case.layers if isinstance(layer, tuple)]
    elif isinstance(case, Variational):
        n, hidden, code = case.sizes
        layers = [(n, hidden), (code, hidden), (hidden, n), (hidden, code), (hidden, code)]
    else:
        layers = [layer[:2] for layer in case.layers()]
    for n_in, n_out, *kernel in layers:
        yield (n_out, n_in, *kernel)
        yield (n_out,)


# --- in the parent --------------------------------------------------------------------------------


def missing(who: str) -> list[str]:
    """The packages of a contestant that are not installed."""
    packages = CONTESTANTS[who].packages
    found = versions_of(packages)
    return [package for package in packages if package not in found]


def versions_of(packages: tuple[str, ...]) -> dict[str, str]:
    """The versions of the packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def builder_of(name: str) -> str:
    case = CASES[name]
    return "convolutional" if isinstance(case, Network) else "variational" if isinstance(case, Variational) else "dense"


def is_able(who: str, name: str) -> bool:
    """Whether the contestant has the workload's operations, and whether the mode makes a difference to the workload."""
    contestant = CONTESTANTS[who]
    if contestant.only_images and builder_of(name) != "convolutional":
        return False
    return builder_of(name) in lines_of_a_step(contestant.file)


def lines_for(name: str) -> dict[str, int]:
    """By label: the lines of a step."""
    return {c.label: lines_of_a_step(c.file).get(builder_of(name), 0) for c in CONTESTANTS.values()}


def earlier(path: Path, machine: dict[str, str]) -> dict[str, list[Result]]:
    """The rounds of earlier calls by workload. Rounds of another machine, version or number of threads are dropped."""
    if not path.exists():
        return {}
    content = json.loads(path.read_text())
    if content["machine"] == machine:
        return content["cases"]
    different = [k for k in {**machine, **content["machine"]} if machine.get(k) != content["machine"].get(k)]
    print(f"the rounds in {path} are dropped, because these differ: {', '.join(different)}\n")
    return {}


def rows_of(rounds: list[Result]) -> Result:
    """By label: time and ratio of each contestant, and of the fastest mode where there are several modes."""
    rows: Result = {}
    for who, contestant in CONTESTANTS.items():
        both = [{OURS: found[OURS], who: found[who]} for found in rounds if who in found]
        if not both:
            continue
        row = {**summary(both)[who], "mode": contestant.mode, "rounds": len(both)}
        if row["ms"] < rows.get(contestant.label, {}).get("ms", math.inf):
            rows[contestant.label] = row
    return rows


def format_table(rows: Result, lines: dict[str, int]) -> str:
    titles = {label: f"{label} ({row['mode']})" if row["mode"] else label for label, row in rows.items()}
    width = max(map(len, titles.values()))
    text = [f"  {'':{width}} {'ms':>9} {'(min to max)':>24} {'time / ours':>26} {'rounds':>6} {'lines':>5}"]
    for label, row in rows.items():
        spread, ratio = (
            "({:.3f} to {:.3f})".format(*row["ms_min_max"]),
            "{:.2f} ({:.2f} to {:.2f})".format(*row["ratio"]),
        )
        numbers = f"{row['ms']:9.3f} {spread:>24} {ratio:>26} {row['rounds']:6} {lines[label]:5}"
        text.append(f"  {titles[label]:{width}} {numbers}")
    return "\n".join(text)


if __name__ == "__main__":
    main()
