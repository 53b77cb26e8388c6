"""Which runs are the same, and that one that goes on is the one that was never broken off, whatever broke it."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim
from scratchae.files.checkpoint import read_state, write_state

X = np.random.default_rng(0).random((32, 6)).astype(np.float32)
IMAGES = np.random.default_rng(1).random((8, 1, 4, 4)).astype(np.float32)


class Own(nn.Module):
    """A module of somebody's own, with an option of any kind."""

    def __init__(self, option: Any = 1.0):
        self.layer = nn.Linear(6, 6)
        self.option = option

    def forward(self, x: Any) -> Any:
        return self.layer(x)


class Pinball:
    """A loss with an option: what is too low counts `share`, what is too high the rest."""

    def __init__(self, share: float):
        self.share = share

    def __call__(self, output: Any, target: Any) -> Any:
        return F.maximum(self.share * (target - output), (self.share - 1) * (target - output)).mean()


def dense(**options: Any) -> nn.Module:
    return sa.Autoencoder.dense((6, 4, 2), **options)


def run(
    path: Path | None,
    model: Callable[[], nn.Module] = dense,
    epochs: int = 2,
    resume: bool = True,
    optimizer: Callable[..., Any] = lambda ps: optim.Adam(ps, lr=0.05),
    callbacks: Callable[[Any], list] = lambda optimizer: [],
    data: Any = None,
    **options: Any,
) -> sa.Trainer:
    """Train, or go on training, objects that are new each time."""
    sa.manual_seed(0)
    built = model()
    built_optimizer = optimizer(list(built.parameters()))
    trainer = sa.Trainer(built, built_optimizer, callbacks(built_optimizer), **options)
    pair = (X, X) if "loss" in options else X
    trainer.fit(pair if data is None else data, epochs=epochs, batch_size=8, checkpoint=path,
                resume=resume and path is not None, progress=False)  # fmt: skip
    return trainer


def weights(trainer: sa.Trainer) -> list[np.ndarray]:
    return [*trainer.model.state_dict().values()]


def assert_same(a: sa.Trainer, b: sa.Trainer) -> None:
    for x, y in zip(weights(a), weights(b), strict=True):
        np.testing.assert_array_equal(x, y)
    assert a.optimizer.lr == b.optimizer.lr and a.history["loss"] == b.history["loss"]


# --- what is another run --------------------------------------------------------------------------


def conv(**options: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, **options), nn.Flatten())


def freezing(*names: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        model = dense()
        for name, p in model.named_parameters():
            p.requires_grad = name not in names
        return model

    return build


def own(option: Any) -> dict[str, Any]:
    return {"model": lambda: Own(option), "loss": F.mse_loss}


def stepping(gamma: float) -> Callable[[Any], list]:
    return lambda optimizer: [sa.Schedule(optim.StepLR(optimizer, 1, gamma))]


def stopping(**options: Any) -> dict[str, Any]:
    return {"callbacks": lambda optimizer: [sa.EarlyStopping("loss", **options)]}


WEIGHT = 2.0
OTHER_RUNS: dict[str, tuple[dict, dict, str]] = {
    "activation": ({"model": lambda: dense(activation="relu")}, {"model": lambda: dense(activation="gelu")},
                   r"model\.encoder\.2 'GELU', not 'ReLU'"),
    "stride the other way round": (
        {"model": conv(stride=(1, 2)), "data": (IMAGES, np.zeros((8, 8), np.float32)), "loss": F.mse_loss},
        {"model": conv(stride=(2, 1)), "data": (IMAGES, np.zeros((8, 8), np.float32)), "loss": F.mse_loss},
        r"model\.0\.stride \[2, 1\], not \[1, 2\]"),
    "an own option": (own(1.0), own(2.0), r"model\.option 2\.0, not 1\.0"),
    "an own option, a NumPy number": (own(np.float32(1.0)), own(np.float32(2.0)), "model.option 2.0, not 1.0"),
    "an own option, None": (own(None), own(0), "model.option 0, not None"),
    "an own option, True is not 1": (own(True), own(1), "model.option 1, not True"),
    "an own option, a tuple": (own((1, 2)), own((2, 1)), r"model.option \[2, 1\], not \[1, 2\]"),
    "an own option, a name": (own("a"), own("b"), "model.option 'b', not 'a'"),
    "an own option, a function": (own(F.relu), own(F.gelu), "model.option 'gelu', not 'relu'"),
    "an own option, a class": (own(nn.ReLU), own(nn.GELU), "model.option 'GELU', not 'ReLU'"),
    "an own option, a dict": (own({"a": 1}), own({"a": 2}), "model.option"),
    "an own option among others": (own([nn.ReLU(), 1]), own([nn.ReLU(), 2]), "model.option"),
    "an own option, a set": (own({1, 2}), own({1, 3}), "model.option"),
    "an own option, weights of classes": (own(np.array([1.0, 2.0])), own(np.array([1.0, 3.0])), "model.option"),
    "an own option, a ufunc": (own(np.tanh), own(np.sin), "model.option 'sin', not 'tanh'"),
    "an own option, an object": (own(Pinball(0.1)), own(Pinball(0.9)), "model.option"),
    "a loss, an object": ({**own(1.0), "loss": Pinball(0.1)}, {**own(1.0), "loss": Pinball(0.9)}, "loss"),
    "an operator in a lambda": ({**own(1.0), "loss": lambda y, t: (y * y + t).sum()},
                                {**own(1.0), "loss": lambda y, t: (y * y - t).sum()}, "loss"),
    "a default of a lambda": ({**own(1.0), "loss": lambda y, t, k=1.0: F.mse_loss(y, t) * k},
                              {**own(1.0), "loss": lambda y, t, k=2.0: F.mse_loss(y, t) * k}, "loss"),
    "a class of the same options": (own(1.0), {"model": lambda: type("Other", (Own,), {})(1.0), "loss": F.mse_loss},
                                    "model 'Other', not 'Own'"),
    "a layer without options more": (
        {"model": lambda: nn.Sequential(nn.Linear(6, 6)), "loss": F.mse_loss},
        {"model": lambda: nn.Sequential(nn.Linear(6, 6), nn.ReLU()), "loss": F.mse_loss}, r"model\.1 'ReLU', not None"),
    "the number of a dropout": (
        {"model": lambda: nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.1)), "loss": F.mse_loss},
        {"model": lambda: nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.2)), "loss": F.mse_loss}, r"model\.1\.p 0\.2"),
    "a model's loss": ({"model": lambda: dense(loss="mse")}, {"model": lambda: dense(loss="mae")}, "model.loss 'mae'"),
    "the Trainer's loss": (own(1.0), {**own(1.0), "loss": F.l1_loss}, "loss 'l1_loss', not 'mse_loss'"),
    "the loss as a module": ({**own(1.0), "loss": nn.MSELoss()}, {**own(1.0), "loss": nn.MSELoss("sum")},
                             "loss.reduction 'sum', not 'mean'"),
    "what a lambda calls": ({**own(1.0), "loss": lambda y, t: F.mse_loss(y, t)},
                            {**own(1.0), "loss": lambda y, t: F.l1_loss(y, t)}, "loss"),
    "a number in a lambda": ({**own(1.0), "loss": lambda y, t: F.mse_loss(y, t) * 2.0},
                             {**own(1.0), "loss": lambda y, t: F.mse_loss(y, t) * 3.0}, "loss"),
    "options of a partial loss": ({**own(1.0), "loss": functools.partial(F.mse_loss, reduction="mean")},
                                  {**own(1.0), "loss": functools.partial(F.mse_loss, reduction="sum")}, "loss"),
    "clipping": ({}, {"clip_grad_norm": 1.0}, "clip_grad_norm 1.0, not None"),
    "frozen parameters": ({}, {"model": freezing("encoder.1.weight")}, r"frozen \['encoder.1.weight'\], not \[\]"),
    "the optimiser's rate": ({}, {"optimizer": lambda ps: optim.Adam(ps, lr=0.01)}, "lr 0.01, not 0.05"),
    "the optimiser's betas": ({}, {"optimizer": lambda ps: optim.Adam(ps, 0.05, (0.8, 0.999))}, r"betas \[0.8, "),
    "the optimiser's flag": ({}, {"optimizer": lambda ps: optim.Adam(ps, lr=0.05, amsgrad=True)}, "amsgrad True"),
    "the optimiser's groups": (
        {"optimizer": lambda ps: optim.Adam([{"params": ps[:2]}, {"params": ps[2:], "lr": 0.1}], lr=0.05)},
        {"optimizer": lambda ps: optim.Adam([{"params": ps[:2]}, {"params": ps[2:], "lr": 0.2}], lr=0.05)},
        "group 1, lr 0.2, not 0.1"),
    "the optimiser's kind": ({}, {"optimizer": lambda ps: optim.AdamW(ps, lr=0.05)}, "nothing was loaded"),
    "a callback's patience": (stopping(patience=5), stopping(patience=6), "callback 0, patience 6, not 5"),
    "a schedule's factor": ({"callbacks": stepping(0.5)}, {"callbacks": stepping(0.4)}, "gamma': 0.4"),
}  # fmt: skip


@pytest.mark.parametrize("change", OTHER_RUNS)
def test_another_run_is_refused_by_name_and_nothing_is_loaded(tmp_path: Path, change: str) -> None:
    first, second, told = OTHER_RUNS[change]
    path = tmp_path / "run"
    run(path, **first)
    file, untrained = path.read_bytes(), run(None, epochs=1, **second)
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        run(path, epochs=4, **second)
    if told != "nothing was loaded":
        assert caught.match(told) and caught.match("read the weights with sa.load_checkpoint and start a new run")
    assert path.read_bytes() == file and len(untrained.history["loss"]) == 1
    assert_same(run(path, epochs=4, **first), run(None, epochs=4, **first))


def test_what_may_change_between_the_parts_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "run"
    run(path, callbacks=lambda o: [sa.SaveHistory(tmp_path / "a.csv")])
    trainer = run(path, epochs=4, callbacks=lambda o: [sa.SaveHistory(tmp_path / "b.csv")])
    assert len(trainer.history["loss"]) == 4 and (tmp_path / "b.csv").exists()
    assert_same(trainer, run(None, epochs=4, callbacks=lambda o: [sa.SaveHistory(tmp_path / "c.csv")]))


def test_options_that_are_equal_as_numbers_are_the_same(tmp_path: Path) -> None:
    run(tmp_path / "run", **own(np.int64(2)))
    assert len(run(tmp_path / "run", epochs=3, **own(2.0)).history["loss"]) == 3
    run(tmp_path / "nan", **own(float("nan")))
    assert len(run(tmp_path / "nan", epochs=3, **own(float("nan"))).history["loss"]) == 3


def test_an_option_that_is_younger_than_the_file_may_be_at_its_default_only(tmp_path: Path) -> None:
    path, data = tmp_path / "run", {"data": (IMAGES, np.zeros((8, 16), np.float32)), "loss": F.mse_loss}
    run(path, conv(), **data)
    state = read_state(path)[0]
    assert state["run"].pop("model.0.padding_mode") == "zeros"
    write_state(path, state, {})
    with pytest.raises(ValueError, match="model.0.padding_mode 'reflect', not None"):
        run(path, conv(padding_mode="reflect"), epochs=3, **data)
    assert len(run(path, conv(), epochs=3, **data).history["loss"]) == 3


# --- what changes while a run goes on -------------------------------------------------------------


class WarmUp(sa.Callback):
    """A beta that rises with the epochs."""

    def on_epoch_end(self, trainer: Any, row: Any) -> None:
        trainer.model.beta = 0.1 * len(trainer.history["loss"])


class Thaw(sa.Callback):
    """Lets the encoder be trained after the first epoch."""

    def on_epoch_end(self, trainer: Any, row: Any) -> None:
        trainer.model.encoder.requires_grad_(True)


class Anneal(sa.Callback):
    """Settings of other types than they began with."""

    def on_epoch_end(self, trainer: Any, row: Any) -> None:
        n = len(trainer.history["loss"])
        trainer.model.beta = np.linspace(0, 1, 9)[n]
        trainer.model.phases = [*trainer.model.phases, np.float32(n), "x", None]
        trainer.model.unset = n


def counted() -> nn.Module:
    class Counted(sa.VariationalAutoencoder):
        unset, phases = None, ()

        def loss_terms(self, x: Any, target: Any = None) -> dict:
            terms = super().loss_terms(x, target)
            return {**terms, "count": terms["kl"] * (0.01 * (self.unset or 0))}

    return Counted.dense((6, 4, 2))


class ThenFreeze(sa.Callback):
    """Trains the encoder for an epoch, and puts it aside then."""

    def on_epoch_end(self, trainer: Any, row: Any) -> None:
        trainer.model.encoder.requires_grad_(False).eval()


def normalised() -> nn.Module:
    encoder = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))
    return sa.Autoencoder(encoder, nn.Linear(4, 6))


def variational() -> nn.Module:
    return sa.VariationalAutoencoder.dense((6, 4, 2), beta=0.0)


def frozen_encoder() -> nn.Module:
    model = dense()
    model.encoder.requires_grad_(False)
    return model


@pytest.mark.parametrize(("model", "callback"), [(variational, WarmUp), (frozen_encoder, Thaw), (counted, Anneal),
                                                 (normalised, ThenFreeze)])  # fmt: skip
@pytest.mark.parametrize("parts", [[1], [2, 3], [1, 2, 3, 4]], ids=str)
def test_a_setting_that_a_callback_moves_is_taken_along(tmp_path: Path, model: Any, callback: Any, parts: list) -> None:
    whole = run(None, model, epochs=5, callbacks=lambda o: [callback()])
    for epochs in [*parts, 5]:
        trainer = run(tmp_path / "run", model, epochs=epochs, callbacks=lambda o: [callback()])
    assert_same(trainer, whole)


@pytest.mark.parametrize(("model", "callback"), [(variational, WarmUp), (frozen_encoder, Thaw)])
def test_a_process_goes_on_from_its_own_checkpoint_with_what_a_callback_moved(
    tmp_path: Path, model: Any, callback: Any
) -> None:
    whole = run(None, model, epochs=4, callbacks=lambda o: [callback()])
    trainer = run(tmp_path / "run", model, epochs=2, callbacks=lambda o: [callback()])
    for epochs in (3, 4):
        options = {"batch_size": 8, "checkpoint": tmp_path / "run", "resume": True, "progress": False}
        trainer.fit(X, epochs=epochs, **options)
    assert_same(trainer, whole)


def test_a_change_whose_save_failed_does_not_make_the_same_objects_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scratchae.files import runs

    path, write = tmp_path / "run", runs.write_state
    whole = run(None, frozen_encoder, epochs=4, callbacks=lambda o: [Thaw()])

    def full(*arguments: Any) -> None:
        if path.exists():
            no_space()
        write(*arguments)

    sa.manual_seed(0)
    model = frozen_encoder()
    optimizer = optim.Adam(list(model.parameters()), lr=0.05)
    options: dict = {"epochs": 4, "batch_size": 8, "checkpoint": path, "checkpoint_every": 3, "progress": False}
    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(runs, "write_state", full)
        sa.Trainer(model, optimizer, [Thaw()]).fit(X, **options)
    trainer = sa.Trainer(model, optimizer, [Thaw()])
    trainer.fit(X, resume=True, **options)
    assert_same(trainer, whole)


# --- what breaks a run ----------------------------------------------------------------------------


class Breaks(sa.Callback):
    """Something that goes wrong at the end of the second epoch, while there is an `act`."""

    act: Any = None

    def on_epoch_end(self, trainer: Any, row: Any) -> None:
        if self.act is not None and len(trainer.history["loss"]) == 2:
            self.act()


def no_space() -> None:
    raise OSError(28, "No space left on device")


def ctrl_c_twice() -> None:
    for _ in range(2):
        signal.raise_signal(signal.SIGINT)


class Counts(sa.Callback):
    """How often it was told of an epoch's end."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    def on_epoch_end(self, trainer: Any, row: Any) -> None:
        self.epochs.append(len(trainer.history["loss"]))

    def state_dict(self) -> dict:
        return {"epochs": np.array(self.epochs)}

    def load_state_dict(self, state: Any) -> None:
        self.epochs = state["epochs"].tolist()


@pytest.mark.parametrize(("act", "error"), [(no_space, OSError), (ctrl_c_twice, KeyboardInterrupt)])
def test_callbacks_that_missed_an_epoch_are_told_when_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Any, error: Any
) -> None:
    def callbacks(o: Any) -> list:
        return [Counts(), Breaks(), sa.Schedule(optim.StepLR(o, 1, 0.5)), Counts()]

    whole = run(None, epochs=4, callbacks=callbacks)
    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(Breaks, "act", staticmethod(act))
        run(tmp_path / "run", epochs=4, callbacks=callbacks)
    assert sa.load_checkpoint(tmp_path / "run", dense()) == {"epoch": 2, "step": 8}  # the epoch is not lost
    trainer = run(tmp_path / "run", epochs=4, callbacks=callbacks)
    assert_same(trainer, whole)
    assert trainer.callbacks[0].epochs == trainer.callbacks[3].epochs == [1, 2, 3, 4]


def test_parameters_beside_the_model_are_saved_and_go_on(tmp_path: Path) -> None:
    def learn(path: Path | None, epochs: int) -> tuple[sa.Trainer, np.ndarray]:
        scale = nn.Parameter(np.zeros(1, np.float32))
        trainer = run(path, epochs=epochs, optimizer=lambda ps: optim.Adam([*ps, scale], lr=0.05),
                      loss=lambda y, t: (F.mse_loss(y, t) * F.exp(-scale) + scale).sum())  # fmt: skip
        return trainer, scale.data

    (whole, wanted), _ = learn(None, 4), learn(tmp_path / "run", 2)
    trainer, found = learn(tmp_path / "run", 4)
    assert_same(trainer, whole)
    assert found == wanted != 0


def test_a_stop_by_the_clock_is_no_end_of_the_run(tmp_path: Path) -> None:
    class TimeIsUp(sa.Callback):
        def on_epoch_end(self, trainer: Any, row: Any) -> None:
            trainer.stop = True

    for epochs in (1, 2, 3, 3):
        trainer = run(tmp_path / "run", epochs=3, callbacks=lambda o: [TimeIsUp()])
        assert len(trainer.history["loss"]) == epochs
    assert_same(trainer, run(None, epochs=3, callbacks=lambda o: [sa.Callback()]))


def test_early_stopping_stays_stopped(tmp_path: Path) -> None:
    def stopper(optimizer: Any) -> list:
        return [sa.EarlyStopping("loss", patience=1, min_delta=10.0)]

    for _ in range(3):
        trainer = run(tmp_path / "run", epochs=9, callbacks=stopper)
        assert len(trainer.history["loss"]) == 2 and trainer.stop


# --- weights that are not finite ------------------------------------------------------------------


def test_an_update_that_overflows_is_told_and_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "run"

    def explode(optimizer: Any) -> list:
        return [sa.Schedule(optim.StepLR(optimizer, 1, 1e30))]

    options = {"optimizer": lambda ps: optim.SGD(ps, lr=1e-2), "callbacks": explode, "data": X[:8]}
    good = "not finite.*last good checkpoint is"
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=good) as told:
        run(path, epochs=9, **options)
    state, metadata = read_state(path)
    assert all(np.isfinite(a).all() for a in state["model"].values())
    assert told.match(f"of step {metadata['step']}")


def test_fit_does_not_return_with_infinite_weights() -> None:
    options = {"data": 1000 * X[:8], "optimizer": lambda ps: optim.SGD(ps, lr=1e38)}
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="the weights .* not finite after step 1"):
        run(None, lambda: dense(output=None, loss="mse"), epochs=1, **options)


# --- crafted checkpoints --------------------------------------------------------------------------

ABSENT = object()
CRAFTED: dict[str, list[Any]] = {
    "epoch": [-1, "x", None, 1.5, True, 2**70, ABSENT],
    "batch": [-5, 10**9, "x", ABSENT],
    "told": [-1, 2, "x"],
    "samples": ["x", -1, ABSENT],
    "sums": [[], "x", {"loss": "x"}, ABSENT],
    "seconds": ["x", -1e9, float("nan"), ABSENT],
    "stop": ["x", 1],
    "first_epoch": ["x", -1, ABSENT],
    "history": [[], "x", {"a": 5}, {"loss": [1]}, {"loss": ["x", "y"]}, ABSENT],
    "random": [None, {}, {"seed": "x", "cpu": {}}, {"seed": 0, "cpu": {"bit_generator": "MT19937"}}, ABSENT],
    "settings": [[], {"nope.x": 1}, {"forward": "x"}, {"encoder": 1}, {"__class__": "x"}, {"encoder.training": True},
                 {"__dict__": {}}, {"code_size": "x"}, {"beta": True}, {"beta": [1]}, {"reconstruct": "x"},
                 {"_starts_in_train_mode": False}, {"_buffers": ["weight"]}, {"beta": {"a": 1}}, ABSENT],
    "callbacks": [[{}, {}], "x", None, [[]], ABSENT],
    "frozen": ["x", ["nope"], [1], [[]]],
    "evaluating": ["x", ["nope"], [1], [[]], None, ABSENT],
    "lively": ["x", ["nope"], [1], [[]], None, ABSENT],
    "loss": [1],
    "run": [1, [], {}, ABSENT],
}  # fmt: skip


@pytest.mark.parametrize("entry", CRAFTED)
def test_a_crafted_entry_is_refused_with_nothing_changed(tmp_path: Path, entry: str) -> None:
    path, loss = tmp_path / "run", nn.MSELoss() if entry == "loss" else None
    options: dict = {"loss": loss} if loss else {"model": lambda: sa.VariationalAutoencoder.dense((6, 4, 2))}
    run(path, callbacks=lambda o: [sa.EarlyStopping("loss")], **options)
    good = read_state(path)[0]
    for value in CRAFTED[entry]:
        crafted = {name: v for name, v in {**good, entry: value}.items() if v is not ABSENT}
        write_state(path, crafted, {})
        sa.manual_seed(5)
        model = options.get("model", dense)()
        optimizer = optim.Adam(model.parameters(), lr=0.05)
        trainer = sa.Trainer(model, optimizer, [sa.EarlyStopping("loss")], loss=loss)
        before, settings = model.state_dict(), [dict(vars(m)) for m in model.modules()]
        with pytest.raises(ValueError):
            trainer.fit((X, X) if loss else X, epochs=3, batch_size=8, checkpoint=path, resume=True, progress=False)
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(array, before[name])
        assert [dict(vars(m)) for m in model.modules()] == settings and trainer.history == {}
        assert optimizer.state_dict()["groups"][0]["params"][0]["step"] == 0


TOO_LARGE = {
    "an int64": (np.int64(1), 2**70),
    "a uint8": (np.uint8(1), -1),
    "a NaN": (np.int64(1), float("nan")),
    "a float32": (np.float32(1), 10**400),
}


@pytest.mark.parametrize(("now", "value"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_setting_too_large_for_its_type_is_refused_with_nothing_changed(tmp_path: Path, now: Any, value: Any) -> None:
    def weighted() -> sa.VariationalAutoencoder:
        model = sa.VariationalAutoencoder.dense((6, 4, 2))
        model.note = now  # type: ignore[attr-defined]
        return model

    path = tmp_path / "run"
    run(path, model=weighted)
    write_state(path, {**read_state(path)[0], "settings": {"note": value}}, {})
    model = weighted()
    before = model.state_dict()
    with pytest.raises(ValueError, match="setting note"):
        sa.Trainer(model, optim.Adam(model.parameters(), lr=0.05)).fit(
            X, epochs=3, batch_size=8, checkpoint=path, resume=True, progress=False
        )
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert model.note is now
