"""Numbers that are not finite are caught where they arise, and training keeps what was good."""

from __future__ import annotations

import copy
import math
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim

X = np.random.default_rng(0).random((12, 6), np.float32)


@pytest.fixture(autouse=True)
def _numpy_says_nothing() -> Any:
    with np.errstate(all="ignore"):
        yield


def leaf(*values: float) -> sa.Tensor:
    return sa.tensor(np.array(values, float), requires_grad=True)


# --- detect_anomaly -------------------------------------------------------------------------------

FORWARD: dict[str, tuple[Callable[[], Any], str]] = {
    "log": (lambda: F.log(leaf(1, 0, -1)), r"^log gave -inf at index \(1,\) of its result of shape \(3,\); it read "
                                           r"float64\[3\] in \[-1, 1\]"),
    "the second of a chain": (lambda: F.tanh(F.exp(leaf(1, 1000) * 2)), r"^exp gave inf at index \(1,\)"),
    "divide": (lambda: leaf(1, 2) / leaf(1, 0), r"^divide gave inf .*\[2\] in \[1, 2\]; float64\[2\] in \[0, 1\]"),
    "sqrt": (lambda: F.sqrt(leaf(-1)), r"^sqrt gave nan at index \(0,\)"),
    "two dimensions": (lambda: F.log(leaf(1, 1, 1, 0).reshape(2, 2)), r"gave -inf at index \(1, 1\)"),
    "a list": (lambda: F.concatenate([leaf(1), leaf(math.nan)]), r"concatenate gave nan at index \(1,\)"),
    "a constant": (lambda: F.log(sa.tensor(np.zeros(1))), r"^log gave -inf"),
    "a number": (lambda: F.log(sa.tensor(0.0)), r"^log gave -inf"),
    "a sum": (lambda: (leaf(1e308, 1e308) * 1.0).sum(), r"^sum gave inf"),
    "a loss": (lambda: F.mse_loss(leaf(1e200), leaf(0)), r"gave inf"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORWARD)
def test_the_operation_that_gave_it_is_named(case: str) -> None:
    call, message = FORWARD[case]
    call()  # nobody looks
    with pytest.raises(FloatingPointError, match=message), sa.detect_anomaly():
        call()
    call()  # nobody looks any more


BACKWARD: dict[str, tuple[Callable[[], sa.Tensor], str]] = {
    "sqrt at 0": (lambda: F.sqrt(leaf(1, 0)).sum(), r"^the vjp of sqrt gave inf at index \(1,\).*it read float64\[2\]"),
    "a chain": (lambda: (F.sqrt(leaf(1, 0) * 3) * 2).sum(), r"^the vjp of sqrt"),
    "a number": (lambda: F.sqrt(leaf(0).sum()), r"^the vjp of sqrt gave inf"),
    "a list": (lambda: F.concatenate([F.sqrt(leaf(0)), leaf(1)]).sum(), r"^the vjp of sqrt"),
    "0 times infinity": (lambda: F.sqrt(leaf(0) * leaf(0)).sum(), r"^the vjp of sqrt"),
}  # fmt: skip


@pytest.mark.parametrize("case", BACKWARD)
def test_the_vjp_that_gave_it_is_named(case: str) -> None:
    build, message = BACKWARD[case]
    build().backward()
    loss = build()
    with pytest.raises(FloatingPointError, match=message), sa.detect_anomaly():
        loss.backward()
    with pytest.raises(FloatingPointError, match=message), sa.detect_anomaly():
        build().backward()
    build().backward()


def test_second_derivatives_are_watched_too() -> None:
    x = leaf(1, 0)
    with pytest.raises(FloatingPointError, match=r"gave inf at index \(1,\)"), sa.detect_anomaly():
        sa.grad(F.sqrt(x).sum(), x, create_graph=True)
    (g,) = sa.grad((x**1.5).sum(), [x], create_graph=True)
    with pytest.raises(FloatingPointError, match="vjp of"), sa.detect_anomaly():
        sa.grad(g.sum(), x)


def test_blocks_nest_and_end(tmp_path: Path) -> None:
    bad = lambda: F.log(leaf(1, 0))  # noqa: E731
    with sa.detect_anomaly():
        with sa.detect_anomaly():
            with pytest.raises(FloatingPointError):
                bad()
        with pytest.raises(FloatingPointError):
            bad()
        with pytest.raises(ZeroDivisionError), sa.detect_anomaly():
            1 / 0  # noqa: B018
        with pytest.raises(FloatingPointError):
            bad()
    bad()
    one = sa.detect_anomaly()
    with one, one:
        with pytest.raises(FloatingPointError):
            bad()
    bad()


def test_it_decorates_functions_and_holds_for_all_threads() -> None:
    @sa.detect_anomaly()
    def both() -> list[BaseException]:
        caught: list[BaseException] = []

        def other() -> None:
            try:
                with np.errstate(all="ignore"):  # which each thread has of its own
                    F.log(leaf(1, 0))
            except FloatingPointError as error:
                caught.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        other()
        return caught

    assert len(both()) == 2
    F.log(leaf(1, 0))


def test_what_is_finite_passes_with_the_same_numbers(rng: np.random.Generator) -> None:
    def gradients() -> list[bytes]:
        sa.manual_seed(0)
        model = nn.Sequential(nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 2, 2, padding=1), nn.MaxPool2d(2), nn.Flatten(),
                              nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))  # fmt: skip
        F.cross_entropy(model(sa.Tensor(X)), np.arange(12) % 6).backward()
        return [p.grad.tobytes() for p in model.parameters()]

    plain = gradients()
    with sa.detect_anomaly():
        assert gradients() == plain
        F.concatenate([leaf(), leaf(1)]).sum().backward()  # an empty array has no smallest number
        sa.tensor(np.arange(3)) + 1


def test_it_tells_what_went_wrong_inside_a_training_run() -> None:
    data = X.copy()
    data[10, 2] = math.inf
    model = sa.Autoencoder.dense((6, 3), loss="mse")
    trainer = sa.Trainer(model, optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(FloatingPointError, match="^(linear|sub|subtract|reshape).* gave"), sa.detect_anomaly():
        trainer.fit(data, batch_size=4, shuffle=False, progress=False)


# --- Trainer --------------------------------------------------------------------------------------


class Fragile(nn.Module):
    """A chain of two weights, whose loss or gradient breaks at a given step."""

    def __init__(self, breaks: str, step: int):
        self.w, self.v = nn.Parameter(np.ones(6, np.float32)), nn.Parameter(np.ones(6, np.float32))
        self.register_buffer("seen", np.zeros(1, np.float32))
        self.breaks, self.step, self.count = breaks, step, 0

    def loss_terms(self, x: Any) -> dict[str, Any]:
        self.count += 1
        self.seen = self.seen + 1
        now = self.count == self.step
        terms = {"distance": ((self.w * x - x * self.v * 0.5) ** 2).mean(), "size": (self.v * self.v).sum() * 0.01}
        if now and self.breaks == "size":
            terms["size"] = terms["size"] * math.nan
        if now and self.breaks == "v":
            terms["size"] = terms["size"] + F.sqrt((self.v - self.v.detach()) ** 2).sum()
        return terms


def run_into(breaks: str, step: int, path: Path | None, **options: Any) -> tuple[sa.Trainer, str]:
    model = Fragile("nothing", 0)
    model.breaks, model.step = breaks, step  # no options of the constructor: those of a resumed run must be the same
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=0.01))
    with pytest.raises(FloatingPointError) as caught:
        trainer.fit(X, batch_size=4, epochs=9, progress=False, checkpoint=path, **options)
    return trainer, str(caught.value)


@pytest.mark.parametrize("breaks, what", [("size", "loss term 'size' is nan"), ("v", "gradient of v is not finite")])
@pytest.mark.parametrize("step, every", [(8, None), (9, 1), (6, 2), (4, None), (12, 4)])
def test_the_error_names_step_and_culprit_and_a_checkpoint_that_loads(
    tmp_path: Path, breaks: str, what: str, step: int, every: int | None
) -> None:
    path = tmp_path / "run.safetensors"
    trainer, message = run_into(breaks, step, path, checkpoint_every=every)
    saved = max(n for n in range(step) if n % 3 == 0 or every and n % every == 0)  # an epoch has 3 steps
    assert what in message and f"at step {step};" in message
    named = re.search(r"last good checkpoint is (.*), of step (\d+)$", message)
    assert named and (named[1], int(named[2])) == (str(path), saved)
    straight = Fragile("nothing", 0)
    by_hand(straight, optimizer := optim.Adam(straight.parameters(), lr=0.01), saved)
    loaded = Fragile("nothing", 0)
    fresh = optim.Adam(loaded.parameters(), lr=0.01)
    assert sa.load_checkpoint(named[1], loaded, fresh)["step"] == saved
    assert state(loaded) == state(straight) and str(fresh.state_dict()) == str(optimizer.state_dict())
    by_hand(loaded, fresh, step - 1, saved)
    assert state(trainer.model) == state(loaded)  # "the weights are those of the step before"


def by_hand(model: Fragile, optimizer: optim.Optimizer, stop: int, start: int = 0) -> None:
    """What the Trainer does, one batch after the other in its order."""
    loader = sa.DataLoader(X, 4, shuffle=True, seed=0)
    batches = [batch for _ in range(9) for batch in loader]
    for batch in batches[start:stop]:
        optimizer.zero_grad()
        sum(model.loss_terms(sa.Tensor(batch)).values()).backward()
        optimizer.step()


def state(model: nn.Module) -> list[bytes]:
    return [a.tobytes() for a in model.state_dict().values()]


def test_without_a_checkpoint_none_is_named(tmp_path: Path) -> None:
    assert "checkpoint" not in run_into("size", 8, None)[1]
    assert "checkpoint" not in run_into("size", 2, tmp_path / "run")[1] and not (tmp_path / "run").exists()


def test_after_a_resumption_the_checkpoint_resumed_from_is_the_last_good_one(tmp_path: Path) -> None:
    path = tmp_path / "run"
    model = Fragile("nothing", 0)
    sa.Trainer(model, optim.Adam(model.parameters(), lr=0.01)).fit(
        X, batch_size=4, epochs=2, progress=False, checkpoint=path
    )
    before = path.read_bytes()
    _, message = run_into("size", 8, path, resume=True)  # `count` goes on from the file
    assert "at step 8;" in message and message.endswith(f"last good checkpoint is {path}, of step 6")
    assert path.read_bytes() == before


def test_an_exploding_rate_is_told_and_a_smaller_one_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    """What a person would do: read the message, load the checkpoint that it names, lower the rate."""
    sa.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    first = copy.deepcopy(model)
    optimizer = optim.SGD(model.parameters(), lr=50.0)
    trainer = sa.Trainer(model, optimizer, loss=F.mse_loss)
    path = tmp_path / "run"
    sa.save_checkpoint(path, model, optimizer)
    with pytest.raises(FloatingPointError, match="at step .*learning rate|at step .*clip_grad_norm"):
        trainer.fit((X, X), batch_size=4, epochs=50, progress=False)
    assert all(np.isfinite(a).all() for a in model.state_dict().values())
    sa.load_checkpoint(path, model, optimizer)
    assert state(model) == state(first)
    optimizer.lr = 0.1
    losses = trainer.fit((X, X), batch_size=4, epochs=50, progress=False)["loss"]
    assert losses[-1] < 0.5 * losses[0]
