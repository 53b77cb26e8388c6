"""The Trainer is the loop that anybody would write, with exact records of it and nothing else changed."""

from __future__ import annotations

import copy
import csv
import math
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim

X = np.random.default_rng(5).random((10, 6), np.float32)  # batches of 4 leave 2 over
Y = np.random.default_rng(6).integers(0, 3, 10).astype(np.uint8)
Bits = list[bytes]


def model(seed: int = 0, dropout: float = 0.0, **options: Any) -> sa.Autoencoder:
    sa.manual_seed(seed)
    encoder = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Dropout(dropout), nn.Linear(4, 2))
    return sa.Autoencoder(encoder, nn.Sequential(nn.Linear(2, 6), nn.Sigmoid()), **options)


def trainer(net: nn.Module, *callbacks: sa.Callback, lr: float = 0.05, **options: Any) -> sa.Trainer:
    return sa.Trainer(net, optim.Adam(net.parameters(), lr=lr), callbacks, **options)


def fit(net: nn.Module, data: Any = X, *, loss: Any = None, lr: float = 0.05, **options: Any) -> sa.History:
    options = {"epochs": 3, "batch_size": 4, "progress": False, **options}
    return trainer(net, lr=lr, loss=loss).fit(data, **options)


def bits(net: nn.Module) -> Bits:
    return [a.tobytes() for a in net.state_dict().values()]


def by_hand(net: nn.Module, loader: sa.DataLoader, loss: Callable, epochs: int = 3, lr: float = 0.05) -> list[float]:
    """The mean loss of each epoch."""
    optimizer, means = optim.Adam(net.parameters(), lr=lr), []
    for _ in range(epochs):
        total = 0.0
        for batch in loader:
            value = loss(*map(sa.Tensor, batch if isinstance(batch, tuple) else (batch,)))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            total += value.item() * len(batch[0] if isinstance(batch, tuple) else batch)
        means.append(total / loader.n_samples)
    return means


class Each(sa.Callback):
    """Calls a function after each epoch."""

    def __init__(self, function: Callable[[sa.Trainer, Any], Any]):
        self.on_epoch_end = function  # type: ignore[method-assign]


class TwoTerms(sa.Autoencoder):
    def loss_terms(self, x: Any, target: Any = None) -> dict[str, Any]:
        return {**super().loss_terms(x, target), "size": 0.1 * F.sum_of_squares(self.encode(x), 1.0)}


# --- the loop -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [True, False])
def test_records_are_the_exact_means_and_weights_those_of_a_loop_by_hand(shuffle: bool) -> None:
    net, other = model(), model()
    history = fit(net, shuffle=shuffle, seed=7)
    wanted = by_hand(other, sa.DataLoader(X, 4, shuffle, 7), other.loss)
    assert history["loss"] == history["reconstruction"] == pytest.approx(wanted, rel=1e-14)
    assert bits(net) == bits(other)
    assert {n: len(v) for n, v in history.items()} == dict.fromkeys(
        ["loss", "reconstruction", "seconds", "images_per_second"], 3
    )
    for seconds, rate in zip(history["seconds"], history["images_per_second"], strict=True):
        assert seconds > 0 and rate == pytest.approx(10 / seconds, rel=1e-12)


def test_every_term_is_recorded_and_the_loss_is_their_sum() -> None:
    sa.manual_seed(0)
    net = TwoTerms(nn.Linear(6, 2), nn.Linear(2, 6))
    history = fit(net, validation=X)
    for prefix in ("", "val_"):
        sums = [a + b for a, b in zip(history[f"{prefix}reconstruction"], history[f"{prefix}size"], strict=True)]
        assert history[f"{prefix}loss"] == pytest.approx(sums, rel=1e-14)
    terms = {n: v.item() for n, v in net.eval().loss_terms(sa.Tensor(X)).items()}
    found = trainer(net).evaluate(X, batch_size=100)
    assert found == pytest.approx({"loss": sum(terms.values()), **terms}, rel=1e-14)


def test_the_optimiser_steps_once_per_batch_the_partial_one_included() -> None:
    net = model()
    run = trainer(net)
    run.fit(X, epochs=2, batch_size=4, progress=False)
    assert {e["step"] for e in run.optimizer.state_dict()["groups"][0]["params"]} == {6}


def test_the_same_seed_gives_the_same_bits_and_another_others() -> None:
    def run(seed: int, start: int = 0) -> Bits:
        net = model(start, dropout=0.5)
        fit(net, seed=seed)
        return bits(net)

    assert run(1) == run(1) != run(2)
    assert run(1) != run(1, start=1)


def test_pairs_go_to_loss_terms_or_to_the_loss() -> None:
    noisy = X + 0.1
    history = fit(net := model(), (noisy, X), lr=0.0, epochs=1)
    wanted = F.mse_loss(net(sa.Tensor(noisy)), sa.Tensor(X)).item()
    assert history["loss"][0] == pytest.approx(wanted, rel=1e-6)
    sa.manual_seed(0)
    classifier = nn.Sequential(nn.Linear(6, 3))
    twin = copy.deepcopy(classifier)
    history = fit(classifier, (X, Y), loss=F.cross_entropy, shuffle=False, validation=(X[:5], Y[:5]))
    hand = by_hand(twin, sa.DataLoader((X, Y), 4), lambda x, y: F.cross_entropy(twin(x), y))
    assert history["loss"] == pytest.approx(hand, rel=1e-14) and bits(classifier) == bits(twin)
    held_out = F.cross_entropy(classifier(sa.Tensor(X[:5])), Y[:5]).item()
    assert history["val_loss"][-1] == pytest.approx(held_out, rel=1e-6)
    assert set(history) == {"loss", "val_loss", "seconds", "images_per_second"}


def test_a_loader_decides_batches_and_order_itself() -> None:
    net, other = model(), model()
    history = fit(net, sa.DataLoader(X, 3, shuffle=True, seed=4, drop_last=True), batch_size=1, shuffle=False)
    total = by_hand(other, sa.DataLoader(X, 3, shuffle=True, seed=4, drop_last=True), other.loss)
    assert history["loss"] == pytest.approx([t * 10 / 9 for t in total], rel=1e-14)  # 9 of 10 samples were seen
    assert bits(net) == bits(other)


def test_a_memory_map_is_as_good_as_an_array(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", X)
    net, other = model(), model()
    fit(net, np.load(tmp_path / "x.npy", mmap_mode="r"))
    fit(other)
    assert bits(net) == bits(other)


# --- validation -----------------------------------------------------------------------------------


def test_validation_is_the_loss_in_eval_mode_and_leaves_modes_as_they_were() -> None:
    net, modes = model(dropout=0.5), []
    run = trainer(net, Each(lambda t, row: modes.append([m.training for m in net.modules()])))
    history = run.fit(X, validation=X[:7], epochs=2, batch_size=4, progress=False)
    wanted = net.eval().loss(sa.Tensor(X[:7])).item()
    assert history["val_loss"][-1] == pytest.approx(wanted, rel=1e-6)
    assert history["val_reconstruction"] == history["val_loss"] and modes == [[True] * len(list(net.modules()))] * 2


def test_validation_leaves_weights_and_random_generators_alone() -> None:
    class AlwaysNoisy(sa.Autoencoder):  # draws numbers in eval mode too
        def encode(self, x: Any) -> Any:
            return super().encode(F.dropout(x, 0.5))

    draws = []
    for validation in (None, X[:5]):
        net = AlwaysNoisy(*(lambda m: (m.encoder, m.decoder))(model(dropout=0.3)))
        history = fit(net, validation=validation)
        draws.append((bits(net), history["loss"], sa.random.generator().random()))
    assert draws[0] == draws[1]
    still = fit(net, validation=X, lr=0.0)["val_loss"]
    assert still[0] == still[1] == still[2]  # the same noise in every epoch


# --- what is shown and kept -----------------------------------------------------------------------


def test_elsewhere_than_in_a_terminal_each_epoch_prints_one_line(capsys: pytest.CaptureFixture) -> None:
    history = fit(model(), validation=X, epochs=2, progress=True)
    out, err = capsys.readouterr()
    number = r"\d+\.\d+"
    for i, line in enumerate(lines := out.splitlines()):
        assert re.fullmatch(rf"epoch {i + 1}/2  loss {number}  val_loss {number}  {number} s", line)
        shown = [float(n) for n in re.findall(rf"loss ({number})", line)]
        assert shown == pytest.approx([history["loss"][i], history["val_loss"][i]], rel=1e-4)
    assert len(lines) == 2 and err == ""


def test_in_a_terminal_there_is_a_bar_and_no_lines(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    history = fit(model(), epochs=2, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "epoch 2/2: 100%" in err and "3/3" in err and f"loss {history['loss'][1]:.5g}" in err
    fit(model(), progress=False)
    assert capsys.readouterr() == ("", "")


def test_progress_false_prints_nothing(capsys: pytest.CaptureFixture) -> None:
    fit(model(), validation=X)
    assert capsys.readouterr() == ("", "")


def test_the_csv_file_holds_the_numbers_exactly(tmp_path: Any) -> None:
    history = fit(model(), validation=X)
    history.to_csv(tmp_path / "run.csv")
    with open(tmp_path / "run.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["epoch", *history] and [r[0] for r in rows] == ["1", "2", "3"]
    assert [[float(n) for n in r[1:]] for r in rows] == [list(r) for r in zip(*history.values(), strict=True)]


# --- callbacks ------------------------------------------------------------------------------------


def test_callbacks_see_each_row_in_order_and_may_stop() -> None:
    seen: list = []

    def stop(run: sa.Trainer, row: Any) -> None:
        run.stop = len(seen) == 4

    net = model()
    run = trainer(net, *(Each(lambda t, row, k=k: seen.append((k, row["loss"]))) for k in "ab"), Each(stop))
    history = run.fit(X, epochs=9, progress=False)
    assert seen == [(k, loss) for loss in history["loss"] for k in "ab"] and len(history["loss"]) == 2
    assert len(run.fit(X, epochs=1, progress=False)["loss"]) == 1 and run.history is not history


def test_a_schedule_steps_after_each_epoch() -> None:
    rates: list[float] = []
    net = model()
    optimizer = optim.SGD(net.parameters(), lr=1.0)
    note = Each(lambda t, row: rates.append(t.optimizer.lr))
    sa.Trainer(net, optimizer, [sa.Schedule(optim.StepLR(optimizer, 2, 0.5)), note]).fit(X, epochs=4, progress=False)
    assert rates == [1.0, 0.5, 0.5, 0.25]
    plateau = optim.ReduceOnPlateau(optimizer, factor=0.5, patience=0)
    optimizer.lr, still = 0.0, X  # a rate of 0 never improves
    run = sa.Trainer(net, optimizer, [sa.Schedule(plateau, monitor="val_loss")])
    run.fit(X, still, epochs=3, progress=False)
    assert (plateau.epoch, plateau.bad_epochs) == (3, 0) and plateau.best == run.history["val_loss"][0]
    with pytest.raises((KeyError, ValueError), match="val_loss.*there is no validation"):
        run.fit(X, epochs=1, progress=False)  # no validation: the names that there are must be told


def test_after_an_interruption_the_history_is_there() -> None:
    def interrupt(run: sa.Trainer, row: Any) -> None:
        if len(run.history["loss"]) == 2:
            raise KeyboardInterrupt

    run = trainer(net := model(), Each(interrupt))
    with pytest.raises(KeyboardInterrupt):
        run.fit(X, epochs=5, batch_size=4, seed=1, progress=False)
    assert run.history["loss"] == fit(other := model(), epochs=2, seed=1)["loss"] and bits(net) == bits(other)


# --- numbers that are not finite ------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mse", "mae", "bce"])
def test_nan_in_the_data_stops_before_the_weights_change(loss: str) -> None:
    bad = X.copy()
    bad[9, 2] = math.nan  # in the third batch
    net, other = model(loss=loss), model(loss=loss)
    fit(other, X[:8], epochs=1, shuffle=False)
    run = trainer(net)
    with pytest.raises(FloatingPointError, match="'reconstruction' is nan, not finite, at step 3"):
        run.fit(bad, batch_size=4, shuffle=False, progress=False)
    assert bits(net) == bits(other) and run.history == {}


def test_nan_in_the_data_leaves_running_statistics_as_they_were_too() -> None:
    sa.manual_seed(0)
    net = sa.Autoencoder(nn.Sequential(nn.Linear(6, 2), nn.BatchNorm1d(2)), nn.Linear(2, 6))
    twin = copy.deepcopy(net)
    fit(twin, X[:4], epochs=1, shuffle=False)
    with pytest.raises(FloatingPointError, match="at step 2"):
        fit(net, np.concatenate([X[:4], np.full((4, 6), np.nan, np.float32)]), epochs=1, shuffle=False)
    assert bits(net) == bits(twin)


def test_steps_are_counted_over_the_epochs() -> None:
    data = X.copy()
    run = trainer(model(), Each(lambda t, row: data.fill(math.inf)))
    with np.errstate(invalid="ignore"), pytest.raises(FloatingPointError, match="not finite.*at step 4"):
        run.fit(data, batch_size=4, epochs=2, progress=False)
    assert len(run.history["loss"]) == 1


class Line(nn.Module):
    """A model of one float32 number and a loss of (number, batch)."""

    def __init__(self, loss: Callable[[Any, Any], Any]):
        self.w, self.function = nn.Parameter(np.zeros(1, np.float32)), loss

    def loss_terms(self, x: Any) -> dict[str, Any]:
        return {"term": self.function(self.w, x)}


def test_an_exploding_run_stops_with_the_last_finite_weights() -> None:
    net = Line(lambda w, x: ((w - x) * (w - x)).mean())
    optimizer, data = optim.SGD(net.parameters(), lr=1e6), np.ones((1, 1), np.float32)
    w, step = np.float32(0), 0
    with np.errstate(over="ignore"):
        while np.isfinite((w - 1) ** 2):
            step, w = step + 1, w - np.float32(1e6) * (2 * (w - 1))
        with pytest.raises(FloatingPointError, match=f"'term' is inf, not finite, at step {step + 1};"):
            sa.Trainer(net, optimizer).fit(data, epochs=99, progress=False)
    assert net.w.data[0] == pytest.approx(w, rel=1e-5) and 1 < step < 10


def test_a_gradient_that_is_not_finite_is_named_and_stops_too() -> None:
    net = Line(lambda w, x: F.sqrt(abs(w) * x).mean())  # 0, with infinite slope on either side
    net.w.data[...] = 1e-45
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="gradient of w is not finite at step 1;"):
        sa.Trainer(net, optim.SGD(net.parameters(), lr=0.1)).fit(np.full((1, 1), 1e38, np.float32), progress=False)
    assert net.w.data[0] == np.float32(1e-45)


def test_a_huge_but_finite_gradient_is_no_reason_to_stop_or_warn() -> None:
    net = Line(lambda w, x: (w * x).mean())
    sa.Trainer(net, optim.SGD(net.parameters(), lr=1e-25)).fit(np.full((1, 1), 1e25, np.float32), progress=False)
    assert net.w.data[0] == pytest.approx(-1, rel=1e-6)


# --- mistakes -------------------------------------------------------------------------------------


def test_numpys_integers_are_integers() -> None:
    assert len(fit(model(), epochs=np.int64(2), batch_size=np.int32(4), seed=np.uint8(1))["loss"]) == 2


MISTAKES: dict[str, tuple[Callable[[sa.Trainer], Any], type[Exception], str]] = {
    "epochs 0": (lambda t: t.fit(X, epochs=0), ValueError, "epochs=0; expected an integer of at least 1"),
    "epochs 1.5": (lambda t: t.fit(X, epochs=1.5), ValueError, "epochs=1.5"),
    "no data": (lambda t: t.fit(X[:0]), ValueError, r"empty data set of shape \(0, 6\)"),
    "no validation data": (lambda t: t.fit(X, validation=X[:0]), ValueError, r"empty data set of shape \(0, 6\)"),
    "batch size 0": (lambda t: t.fit(X, batch_size=0), ValueError, "batch_size=0.*at least 1"),
    "no batch": (lambda t: t.fit(sa.DataLoader(X, 64, seed=0, drop_last=True)), ValueError, "10.*64|64.*10"),
    "pair of lengths": (lambda t: t.fit((X, X[:5])), ValueError, r"\[10, 5\]"),
    "a list of rows": (lambda t: t.fit(X.tolist()), TypeError, r"a list of 10; expected .*a tuple .* is a pair"),
    "no pair": (lambda t: sa.Trainer(t.model, t.optimizer, loss=F.mse_loss).fit(X), ValueError, r"\(inputs, targets\)"),
    "three": (lambda t: t.fit((X, X, X)), (TypeError, ValueError), "3"),
    "no loss": (lambda t: sa.Trainer(nn.Identity(), t.optimizer), TypeError, r"Identity.*loss=F\.mse_loss"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named_and_change_nothing(case: str) -> None:
    call, error, message = MISTAKES[case]
    run = trainer(net := model())
    before, random = bits(net), sa.random.generator().bit_generator.state
    with pytest.raises(error, match=message):
        call(run)
    assert bits(net) == before and sa.random.generator().bit_generator.state == random


def test_a_trainer_refuses_another_models_optimiser_and_a_bare_schedule() -> None:
    model, other = sa.Autoencoder.dense((4, 2)), sa.Autoencoder.dense((4, 2))
    with pytest.raises(ValueError, match=r"none of the model's parameters.*model\.parameters\(\)"):
        sa.Trainer(model, optim.SGD(other.parameters(), lr=0.1))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TypeError, match=r"StepLR has no on_epoch_end.*Schedule"):
        sa.Trainer(model, optimizer, [optim.StepLR(optimizer, 1)])


def test_gradients_are_clipped_on_request() -> None:
    x = np.random.default_rng(0).random((8, 4)).astype(np.float32)
    moved = {}
    for limit in (None, 1e-3):
        sa.manual_seed(0)
        model = sa.Autoencoder.dense((4, 2), activation=None, output=None, loss="mse")
        before = model.state_dict()
        trainer = sa.Trainer(model, optim.SGD(model.parameters(), lr=1.0), clip_grad_norm=limit)
        trainer.fit(x, batch_size=8, progress=False)
        change = [model.state_dict()[name] - before[name] for name in before]
        moved[limit] = float(np.sqrt(sum((c**2).sum() for c in change)))
    assert moved[None] > 0.01 and moved[1e-3] == pytest.approx(1e-3, rel=1e-3)
    with pytest.raises(ValueError, match="clip_grad_norm=-1"):
        sa.Trainer(model, optim.SGD(model.parameters(), lr=1.0), clip_grad_norm=-1)


def test_a_warm_up_of_beta_goes_on_after_a_break(tmp_path: Any) -> None:
    class WarmUp(sa.Callback):
        def on_epoch_end(self, trainer: sa.Trainer, row: Any) -> None:
            trainer.model.beta += 0.25

    x = np.random.default_rng(0).random((16, 6)).astype(np.float32)

    def run(epochs: int, **options: Any) -> Any:
        sa.manual_seed(0)
        model = sa.VariationalAutoencoder.dense((6, 4, 2), beta=0.0)
        trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=1e-2), [WarmUp()])
        return trainer.fit(x, epochs=epochs, batch_size=8, progress=False, **options)

    whole = run(4)
    run(2, checkpoint=tmp_path / "run")
    assert run(4, checkpoint=tmp_path / "run", resume=True)["kl"] == whole["kl"]
    sa.manual_seed(0)
    model = sa.VariationalAutoencoder.dense((6, 4, 2), beta=3.0)
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=1e-2), [WarmUp()])
    with pytest.raises(ValueError, match=r"nothing was loaded. This one has model\.beta 3\.0, not 0\.0"):
        trainer.fit(x, epochs=4, batch_size=8, progress=False, checkpoint=tmp_path / "run", resume=True)


def test_terms_that_come_and_go_leave_gaps() -> None:
    history = sa.History()
    history.append({"loss": 1.0})
    history.append({"loss": 2.0, "late": 3.0})
    assert history["loss"] == [1.0, 2.0] and np.isnan(history["late"][0]) and history["late"][1] == 3.0


def test_an_evaluation_that_fails_leaves_the_loader_where_it_was() -> None:
    model = sa.Autoencoder.dense((4, 2))
    loader = sa.DataLoader(np.zeros((8, 5), np.float32), batch_size=4)
    loader.epoch = 5
    with pytest.raises(ValueError, match="the input has shape"):
        sa.Trainer(model, optim.SGD(model.parameters(), lr=0.1)).evaluate(loader)
    assert loader.epoch == 5
