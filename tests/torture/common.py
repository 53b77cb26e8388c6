"""What the scripts share: the size of the job, the state of the process, the tests' own helpers."""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # for test_resume


def count(default: int) -> int:
    """The first argument: how many cases to run."""
    return int(sys.argv[1]) if len(sys.argv) > 1 else default


VALUES = [None, True, -1, 0, 1, 2**63, 2**80, 0.5, float("inf"), "", "x", "@", [], [1], {}, {"@": "x"}, {"@": 1}]


def nonsense(tree: Any, values: Sequence[Any] = VALUES) -> Any:
    """The tree with one random place of it exchanged, left out or doubled."""
    if isinstance(tree, (dict, list)) and tree and random.random() < 0.85:
        copy = tree.copy()
        key = random.choice(list(copy) if isinstance(copy, dict) else range(len(copy)))
        if random.random() < 0.15:
            del copy[key]
        else:
            copy[key] = nonsense(copy[key], values)
        return copy
    return random.choice(values)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        yield Path(name)


def memory(kind: str = "VmRSS") -> float:
    """Megabytes of this process: VmRSS now, VmHWM at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1024


def verdict(problems: list[str], outcome: str) -> None:
    """Print the outcome as the last line; exit status 1 where something went wrong."""
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    print(f"{'FAILED, ' + str(len(problems)) + ' times: ' if problems else ''}{outcome}", flush=True)
    os._exit(1 if problems else 0)
