"""Groups of parameters that join an optimiser later: as if they had been there, with no step taken."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textbook import RULES, bits, every_case, leaf, loss, net

import scratchae as sa
from scratchae import backend, nn, optim
from scratchae.optim import base

X = np.random.default_rng(0).random((32, 4)).astype(np.float32)


@every_case
@pytest.mark.parametrize("flat", [True, False])
def test_a_group_that_joins_moves_as_an_optimiser_of_its_own(
    name: str, options: dict, flat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not flat:
        monkeypatch.setattr(base.updaters_of.op, "forward", base.updaters_of.__wrapped__)  # type: ignore[attr-defined]
    cls, model, twin = RULES[name][0], net(), net()
    joint = cls(model[0].parameters(), **options)
    first, second = cls(twin[0].parameters(), **options), None
    for i in range(20):
        if i == 7:
            joint.add_param_group({"params": model[2].parameters(), "lr": 0.02})
            second = cls(twin[2].parameters(), **{**options, "lr": 0.02})
        for both in ((model, [joint]), (twin, [first, second])):
            both[0].zero_grad()
            loss(both[0], i).backward()
            for optimizer in both[1]:
                if optimizer is not None:
                    optimizer.step()
    assert second is not None and len(joint.param_groups) == 2 and joint.param_groups[1]["lr"] == 0.02
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-12, atol=1e-15)
    assert [e["step"] for g in joint.state_dict()["groups"] for e in g["params"]] == [20, 20, 13, 13]


def test_the_constructors_options_fill_the_group_up() -> None:
    optimizer = optim.SGD([leaf([1.0])], lr=0.5, momentum=0.9)
    optimizer.lr = 0.1
    optimizer.add_param_group({"params": leaf([1.0]), "weight_decay": 0.25})
    added = {k: v for k, v in optimizer.param_groups[1].items() if k != "params"}
    assert added == {"lr": 0.5, "momentum": 0.9, "dampening": 0.0, "weight_decay": 0.25, "nesterov": False}
    assert optimizer.made_with[1] == added and len(optimizer.made_with) == 2


def test_half_precision_and_double_may_join(rng: np.random.Generator) -> None:
    optimizer = optim.Adam([leaf(np.ones(3), np.float32)])
    optimizer.add_param_group({"params": [half := leaf(np.ones(3), np.float16), double := leaf(np.ones(2))]})
    half.grad, double.grad = np.full(3, 3e-4, np.float16), np.ones(2)
    optimizer.step()
    np.testing.assert_allclose(half.data, np.float16(0.999), rtol=1e-3)
    np.testing.assert_allclose(double.data, 0.999, rtol=1e-6)


class OwnState(optim.SGD):
    """An optimiser whose rule needs an attribute of its constructor."""

    def __init__(self, params: Any, kept: tuple[str, ...] = ("a", "b")):
        self.kept = kept
        super().__init__(params)

    def state_names(self, group: dict) -> tuple[str, ...]:
        return self.kept


def test_an_optimiser_of_ones_own_may_be_joined() -> None:
    optimizer = OwnState([leaf([1.0])])
    optimizer.add_param_group({"params": [leaf([2.0])]})
    assert set(optimizer.state_dict()["groups"][1]["params"][0]) == {"step", "a", "b"}


def test_a_state_with_both_groups_is_restored_and_copied() -> None:
    def made() -> tuple[nn.Sequential, optim.Optimizer]:
        model = net()
        optimizer = optim.Adam(model[0].parameters())
        optimizer.add_param_group({"params": model[2].parameters(), "lr": 0.02})
        return model, optimizer

    def train(model: nn.Sequential, optimizer: optim.Optimizer) -> bytes:
        for i in range(3):
            optimizer.zero_grad()
            loss(model, i).backward()
            optimizer.step()
        return bits(optimizer)

    model, optimizer = made()
    train(model, optimizer)
    copied = copy.deepcopy((model, optimizer)), pickle.loads(pickle.dumps((model, optimizer)))
    restored, other = made()
    restored.load_state_dict(model.state_dict())
    other.load_state_dict(optimizer.state_dict())
    wanted = train(model, optimizer)
    assert train(restored, other) == wanted
    assert [train(*pair) for pair in copied] == [wanted, wanted]


def test_what_does_not_fit_is_refused_and_nothing_is_added() -> None:
    p = leaf([1.0])
    optimizer = optim.Adam([p, leaf([2.0])])
    before, memory = bits(optimizer), p.data
    q = leaf([3.0])
    mine = q.data
    for group, error, text in [
        ([leaf([1.0])], TypeError, "takes a dict .*got a list"),
        ({"params": [p]}, ValueError, r"shape \(1,\) is given twice"),
        ({"params": [q, q]}, ValueError, "given twice"),
        ({"params": [q * 2]}, ValueError, "can only move leaves"),
        ({"params": []}, ValueError, "no parameters"),
        ({"lr": 0.1}, ValueError, "no parameters"),
        ({"params": {q}}, TypeError, "pass a list"),
        ({"params": [q], "momentum": 0.9}, TypeError, r"no options \['momentum'\]"),
        ({"params": [q], "lr": -1}, ValueError, "lr=-1"),
        ({"params": [np.ones(2)]}, TypeError, "takes Tensors, got a ndarray"),
    ]:
        with pytest.raises(error, match=text):
            optimizer.add_param_group(group)  # type: ignore[arg-type]
        assert bits(optimizer) == before and len(optimizer.made_with) == 1 and p.data is memory and q.data is mine


# --- schedules, runs, GPUs ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["StepLR", "LambdaLR", "WarmupLR", "ReduceOnPlateau"])
def test_a_schedule_takes_the_new_group_in(kind: str) -> None:
    def made(groups: int) -> Any:
        optimizer = optim.SGD([leaf([1.0])], lr=1.0)
        for _ in range(groups - 1):
            optimizer.add_param_group({"params": leaf([1.0]), "lr": 0.5})
        return {
            "StepLR": lambda: optim.StepLR(optimizer, 1, 0.5),
            "LambdaLR": lambda: optim.LambdaLR(optimizer, lambda epoch: 0.5**epoch),
            "WarmupLR": lambda: optim.WarmupLR(optimizer, 1, optim.StepLR(optimizer, 1, 0.5)),
            "ReduceOnPlateau": lambda: optim.ReduceOnPlateau(optimizer, 0.5, patience=0),
        }[kind]()  # fmt: skip

    schedule, metric = made(1), [1.0] if kind == "ReduceOnPlateau" else []
    for _ in range(2):
        schedule.step(*metric)
    schedule.optimizer.add_param_group({"params": leaf([1.0]), "lr": 0.5})
    before = schedule.rates
    other = made(2)
    other.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    assert other.rates == before
    for each in (schedule, other):
        each.step(*metric)
    assert other.rates == schedule.rates and schedule.rates[0] == before[0] / 2
    assert schedule.rates[1] == {"StepLR": 0.0625, "LambdaLR": 0.0625, "WarmupLR": 0.125}.get(kind, 0.25)


class Join(sa.Callback):
    """Lets the decoder join after the first epoch."""

    def on_epoch_end(self, trainer: sa.Trainer, row: Any) -> None:
        if len(trainer.optimizer.param_groups) == 1:
            trainer.optimizer.add_param_group({"params": trainer.model.decoder.parameters(), "lr": 0.05})


def run(device: str, *callbacks: Any, epochs: int = 3, joined: bool = False, **options: Any) -> dict[str, np.ndarray]:
    sa.manual_seed(0)
    model = sa.Autoencoder.dense((4, 3, 2), output=None, loss="mse").to(device)
    optimizer = optim.Adam(model.encoder.parameters(), lr=0.01)
    if joined:
        optimizer.add_param_group({"params": model.decoder.parameters(), "lr": 0.05})
    sa.Trainer(model, optimizer, callbacks).fit(X, epochs=epochs, batch_size=8, progress=False, **options)
    return {name: backend.to_device(a, "cpu") for name, a in model.state_dict().items()}


class EachStep(sa.Callback):
    def after_step(self, run: Any) -> None:
        """Looks at each step, so that none is replayed."""


def test_a_group_may_join_between_epochs_also_where_steps_are_replayed(stand_in: Any) -> None:
    on_cpu, replayed, one_by_one = run("cpu", Join()), run("gpu", Join()), run("gpu", Join(), EachStep())
    untrained = run("cpu")
    for name, wanted in on_cpu.items():
        assert replayed[name].tobytes() == one_by_one[name].tobytes(), name
        np.testing.assert_allclose(replayed[name], wanted, rtol=1e-4, atol=1e-6)
        assert (wanted != untrained[name]).any()


def test_a_parameter_that_no_kernel_moves_ends_the_replay(stand_in: Any) -> None:
    class JoinHalf(sa.Callback):
        def on_epoch_end(self, trainer: sa.Trainer, row: Any) -> None:
            if len(trainer.optimizer.param_groups) == 1:
                self.half = sa.tensor(np.ones(2, np.float16), requires_grad=True, device="gpu")
                trainer.optimizer.add_param_group({"params": [self.half]})

    with pytest.warns(UserWarning, match="one by one, .* of a dtype without kernels"):
        found = run("gpu", JoinHalf())
    np.testing.assert_allclose(found["encoder.1.weight"], run("cpu")["encoder.1.weight"], rtol=1e-4, atol=1e-6)


def test_a_run_with_a_group_that_joined_is_resumed_and_another_refused(tmp_path: Path) -> None:
    whole = run("cpu", joined=True, epochs=4)
    file = tmp_path / "run"
    run("cpu", joined=True, epochs=2, checkpoint=file)
    with pytest.raises(ValueError, match="groups?"):
        run("cpu", epochs=4, checkpoint=file, resume=True)
    resumed = run("cpu", joined=True, epochs=4, checkpoint=file, resume=True)
    assert all(resumed[name].tobytes() == a.tobytes() for name, a in whole.items())
