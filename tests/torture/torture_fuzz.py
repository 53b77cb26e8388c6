"""Damaged, random and nonsensical IDX files and checkpoints: only documented exceptions, and nothing loaded.

Three kinds: random damage to IDX files, plain and gzipped; the same to checkpoints and weights; and checkpoints whose
JSON was changed before the checksum was taken, so that only their meaning is wrong.
"""

from __future__ import annotations

import gzip
import json
import pickle
import random
import resource
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import numpy as np

import scratchae as sa
from scratchae import nn, optim
from scratchae.data import DataError, read_idx, write_idx
from scratchae.files.storage import read_arrays, write_arrays

N = common.count(10_000)


def damaged(content: bytes) -> bytes:
    """Some bytes changed, cut out, doubled or put in; or random bytes altogether."""
    if random.random() < 0.05:
        return random.randbytes(random.randint(0, 200))
    data = bytearray(content)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(data) + 1)
        length = random.choice([0, 1, 1, 1, 4, 30])
        new = random.choice([b"", random.randbytes(length), b"\xff" * length, bytes(length), bytes(data[:length])])
        data[place : place + random.choice([0, len(new), len(new), 8])] = new
    return bytes(data[: random.randrange(len(data) + 1)]) if random.random() < 0.2 else bytes(data)


def model_and_optimizer() -> tuple[nn.Module, optim.Optimizer]:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizer = optim.Adam([{"params": list(model.parameters())[:2]}, {"params": list(model.parameters())[2:]}])
    return model, optimizer


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # a promise of terabytes must not be believed
    random.seed(0)
    problems: list[str] = []
    refused: Counter[str] = Counter()
    with common.folder() as folder:
        path = folder / "fuzzed"
        model, optimizer = model_and_optimizer()
        sa.save_checkpoint(path, model, optimizer, epoch=1)
        checkpoint = path.read_bytes()
        arrays, strings = read_arrays(path)
        model.save_weights(path)
        weights = path.read_bytes()
        write_idx(path, np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
        images = path.read_bytes()
        before = pickle.dumps((model.state_dict(), optimizer.state_dict()))

        def expect(kind: str, read: Callable[[Path], Any], errors: tuple[type[Exception], ...]) -> None:
            try:
                read(path)
            except errors as error:
                refused[kind] += 1
                if str(path) not in str(error):
                    problems.append(f"{kind}: the file is not named: {error!r}")
            except BaseException as error:
                problems.append(f"{kind}: {type(error).__name__}: {error}")
            else:  # taken: put everything back for the next one
                model.load_state_dict(pickle.loads(before)[0])
                optimizer.load_state_dict(pickle.loads(before)[1])
            if pickle.dumps((model.state_dict(), optimizer.state_dict())) != before:
                problems.append(f"{kind}: refused, but something was loaded")
                model.load_state_dict(pickle.loads(before)[0])
                optimizer.load_state_dict(pickle.loads(before)[1])

        with np.errstate(all="ignore"):
            for i in range(N):
                kind = ("IDX", "gzipped IDX", "checkpoint", "weights", "nonsense")[i % 5]
                if kind == "IDX":
                    path.write_bytes(damaged(images))
                    expect(kind, read_idx, (DataError, OSError))
                elif kind == "gzipped IDX":
                    packed = gzip.compress(damaged(images)) if i % 2 else damaged(gzip.compress(images))
                    path.write_bytes(packed)
                    expect(kind, read_idx, (DataError, OSError))
                elif kind == "checkpoint":
                    path.write_bytes(damaged(checkpoint))
                    expect(kind, lambda p: sa.load_checkpoint(p, model, optimizer), (ValueError, OSError))
                elif kind == "weights":
                    path.write_bytes(damaged(weights))
                    expect(kind, model.load_weights, (ValueError, OSError))
                else:
                    state = common.nonsense(json.loads(strings["state"]))
                    write_arrays(path, arrays, {**strings, "state": json.dumps(state)})
                    expect(kind, lambda p: sa.load_checkpoint(p, model, optimizer), (ValueError, OSError))
    kinds = Counter(problem[:70] for problem in problems)
    listed = "; ".join(f"{n} x {problem}" for problem, n in kinds.most_common(6))
    told = ", ".join(f"{kind} {n}" for kind, n in refused.items())
    common.verdict(problems, f"{N} files, refused: {told}; the others read{'. ' + listed if listed else ''}")


main()
