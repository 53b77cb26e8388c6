"""Checkpoints and model files whose checksum is right and whose content is nonsense: refused, and nothing changed.

Each time one place in the tree of a run's checkpoint is exchanged before it is resumed, or one in the description of a
model before `scratchae info` reads it. Only ValueError and OSError may come, and name the file; model, optimiser and
random generators stay as they were; no memory is taken for what a file promises.
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import random
import resource
from collections import Counter
from typing import Any

import common
import numpy as np

import scratchae as sa
from scratchae import functional as F
from scratchae import optim
from scratchae.__main__ import main as command
from scratchae.files.checkpoint import save_checkpoint
from scratchae.files.storage import read_arrays, write_arrays

N = common.count(5000)
X = np.random.default_rng(0).random((16, 6), np.float32)
BUILD = {"kind": "conv", "sizes": [1, 2], "shape": [1, 4, 4], "code_size": 2, "activation": "relu", "loss": "bce"}
VALUES = [*common.VALUES, 10**9, 2**62, -(10**9), [10**9, 10**9], "__class__", "__dict__", "forward", float("-inf")]


class Memory(sa.Callback):
    """A callback with a state."""

    def __init__(self) -> None:
        self.seen = [1.5]

    def on_epoch_end(self, trainer: Any, row: Any) -> None:
        self.seen.append(row["loss"])

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Any) -> None:
        self.seen = [float(v) for v in state["seen"]]


def trainer() -> sa.Trainer:
    sa.manual_seed(0)
    model = sa.Autoencoder.dense((6, 4, 2))
    extra = sa.tensor([0.5], requires_grad=True)
    return sa.Trainer(model, optim.Adam([*model.parameters(), extra]), [Memory()], loss=F.mse_loss)


def state_of(t: sa.Trainer) -> bytes:
    outside = t.optimizer.param_groups[0]["params"][-1].data
    return pickle.dumps((t.model.state_dict(), t.optimizer.state_dict(), outside, sa.random.random_state()))


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # a promise of terabytes must not be believed
    random.seed(0)
    problems: list[str] = []
    outcomes: Counter[str] = Counter()
    with common.folder() as folder, np.errstate(all="ignore"):
        path, described = folder / "run", folder / "model"
        trainer().fit((X, X), epochs=2, batch_size=8, checkpoint=path, progress=False)
        arrays, strings = read_arrays(path)
        save_checkpoint(described, sa.autoencoders.ConvAutoencoder([1, 2], size=4, code_size=2), build=BUILD)
        held, texts = read_arrays(described)
        for i in range(N):
            if i % 2:
                tree = common.nonsense(json.loads(strings["state"]), VALUES)
                write_arrays(path, arrays, {**strings, "state": json.dumps(tree)})
                t = trainer()
                before = state_of(t)
                try:
                    t.fit((X, X), epochs=2, batch_size=8, checkpoint=path, resume=True, progress=False)
                    outcomes["taken"] += 1
                except (ValueError, OSError) as error:
                    outcomes["refused"] += 1
                    if str(path) not in str(error):
                        problems.append(f"the file is not named: {error!r}")
                    if state_of(t) != before:
                        problems.append(f"refused, but something was loaded: {error!r}")
                except BaseException as error:
                    problems.append(f"{type(error).__name__}: {error}")
            else:
                text = json.dumps({"build": common.nonsense(BUILD, VALUES)})
                write_arrays(described, held, {**texts, "metadata": text})
                printed = io.StringIO()
                try:
                    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                        status = command(["info", str(described)])
                    outcomes[f"info: status {status}"] += 1
                    if status not in (0, 1) or str(described) not in printed.getvalue():
                        problems.append(f"status {status}: {printed.getvalue()[:200]}")
                except BaseException as error:
                    problems.append(f"{type(error).__name__} from the description {text[:100]}")
    kinds = Counter(problem[:100] for problem in problems)
    listed = "; ".join(f"{n} x {problem}" for problem, n in kinds.most_common(6))
    told = ", ".join(f"{what} {n}" for what, n in sorted(outcomes.items()))
    common.verdict(problems, f"{N} files: {told}{'. ' + listed if listed else ''}")


main()
