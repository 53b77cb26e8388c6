"""Metrics, steps of several batches, and weights of samples: options of Trainer and fit."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim

X = np.random.default_rng(0).random((50, 6), np.float32)
Y = np.random.default_rng(1).integers(0, 3, 50)


def plain(kind: Any = sa.Autoencoder, dtype: Any = np.float32, **options: Any) -> Any:
    sa.manual_seed(0)
    return kind.dense((6, 4, 2), **options).to(dtype)


def classifier() -> nn.Module:
    sa.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3))


def trained(model: nn.Module, data: Any = X, *, batch_size: int = 8, lr: float = 0.05, fit: Any = None,
            optimizer: Any = None, **options: Any) -> sa.Trainer:  # fmt: skip
    trainer = sa.Trainer(model, (optimizer or functools.partial(optim.SGD, lr=lr))(model.parameters()), **options)
    trainer.fit(data, **{"epochs": 2, "batch_size": batch_size, "shuffle": False, "progress": False, **(fit or {})})
    return trainer


def weights(model: nn.Module) -> list[np.ndarray]:
    return [p.numpy().copy() for p in model.parameters()]


def furthest(a: nn.Module, b: nn.Module) -> float:
    """max |difference| / max |reference| over all parameters."""
    return max(float(abs(p - q).max() / abs(q).max()) for p, q in zip(weights(a), weights(b), strict=True))


# --- metrics --------------------------------------------------------------------------------------


def accuracy(output: Any, target: Any) -> Any:
    return (output.argmax(axis=1) == target).mean()


def test_metrics_are_means_over_samples_in_training_and_validation(device: str) -> None:
    model = nn.Sequential(nn.Linear(6, 3)).to(device)
    metrics = {"accuracy": accuracy, "nll": F.cross_entropy}
    fit = {"validation": (X[:21], Y[:21])}
    trainer = trained(model, (X, Y), lr=0.0, loss=F.cross_entropy, metrics=metrics, fit=fit)
    logits = model(sa.Tensor(X).to(device)).numpy()
    right = logits.argmax(axis=1) == Y
    history = trainer.history
    assert history["accuracy"] == pytest.approx([right.mean()] * 2) and history.metrics == ("accuracy", "nll")
    assert history["val_accuracy"] == pytest.approx([right[:21].mean()] * 2)
    np.testing.assert_allclose(history["nll"], history["loss"], rtol=1e-6)
    assert list(trainer.evaluate((X, Y))) == ["loss", "accuracy", "nll"]
    assert list(history)[:4] == ["loss", "accuracy", "nll", "val_loss"]


def test_metrics_do_not_change_the_training() -> None:
    alone = trained(model := classifier(), (X, Y), loss=F.cross_entropy)
    beside = trained(other := classifier(), (X, Y), loss=F.cross_entropy, metrics={"accuracy": accuracy})
    assert alone.history["loss"] == beside.history["loss"]
    assert [p.tobytes() for p in weights(model)] == [p.tobytes() for p in weights(other)]


def test_an_autoencoder_gives_metrics_its_reconstruction_and_the_clean_input() -> None:
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def note(reconstruction: Any, clean: Any) -> float:
        seen.append((reconstruction, clean))
        return 1.0

    images = X.reshape(50, 1, 2, 3)
    model = plain(sa.DenoisingAutoencoder, loss="bce_logits")
    trainer = trained(model, images, batch_size=50, metrics={"note": note}, fit={"epochs": 1})
    reconstruction, clean = seen[0]
    assert type(reconstruction) is np.ndarray and reconstruction.shape == clean.shape == images.shape
    np.testing.assert_array_equal(clean, images)
    assert 0 < reconstruction.min() and reconstruction.max() < 1  # probabilities, not logits
    trainer.model.amount = 0.0
    trainer.evaluate(images)
    np.testing.assert_allclose(seen[-1][0], model.reconstruct(images), rtol=1e-5)


@pytest.mark.parametrize("kind", [sa.SparseAutoencoder, sa.ContractiveAutoencoder, sa.VariationalAutoencoder])
def test_metrics_leave_the_loss_its_terms(kind: Any) -> None:
    history = trained(plain(kind), metrics={"mae": F.l1_loss}, fit={"validation": X}).history
    others = ("loss", "mae", "val_loss", "val_mae", "seconds", "images_per_second")
    terms = [name for name in history if name not in others]
    for prefix in ("", "val_"):
        own = [name for name in terms if name.startswith("val_") == bool(prefix)]
        assert len(own) == 2
        np.testing.assert_allclose(history[prefix + "loss"], sum(np.array(history[name]) for name in own), rtol=1e-6)


def test_metrics_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    trained(plain(), metrics={"mae": F.l1_loss}, fit={"progress": True, "epochs": 1, "validation": X})
    line = capsys.readouterr().out
    assert [word for word in line.split() if word[0].isalpha()] == ["epoch", "loss", "mae", "val_loss", "val_mae", "s"]


def test_a_metric_that_is_nan_does_not_end_the_training() -> None:
    history = trained(plain(), metrics={"odd": lambda output, target: np.nan}).history
    assert np.isnan(history["odd"]).all() and np.isfinite(history["loss"]).all()


class Terms(sa.Autoencoder):
    def loss_terms(self, x: Any, target: Any = None) -> dict[str, Any]:
        return {"mine": F.mse_loss(self(x), x)}


BAD_METRICS: dict[str, tuple[Any, type[Exception], str]] = {
    "a list": ([F.l1_loss], TypeError, "metrics=.*expected functions by name"),
    "no function": ({"mae": "mae"}, TypeError, "the metric 'mae' is 'mae'; expected a function"),
    "a class": ({"mae": nn.L1Loss}, TypeError, "the metric 'mae' is .*expected a function"),
    "a number": ({3: F.l1_loss}, ValueError, "a metric is called 3"),
    "a column": ({"seconds": F.l1_loss}, ValueError, "called 'seconds'; expected another word than loss, seconds"),
    "a prefix": ({"val_x": F.l1_loss}, ValueError, "none that begins with val_"),
    "a term": ({"reconstruction": F.l1_loss}, ValueError, r"metrics=\['reconstruction'\] are names of loss terms"),
    "not reduced": ({"mae": lambda o, t: abs(o - t)}, ValueError, r"'mae' has shape \(8, 6\); expected one number"),
    "a dict": ({"mae": lambda o, t: {}}, TypeError, r"the metric 'mae' is \{\}; expected one number"),
}


@pytest.mark.parametrize("case", BAD_METRICS)
def test_metrics_that_cannot_be_are_refused_before_the_weights_change(case: str) -> None:
    metrics, error, message = BAD_METRICS[case]
    model = plain()
    before = weights(model)
    with pytest.raises(error, match=message):
        trained(model, metrics=metrics)
    assert all(map(np.array_equal, before, weights(model)))


def test_terms_that_show_no_output_have_no_metrics() -> None:
    with pytest.raises(ValueError, match=r"no metrics of Terms: its loss_terms show no output.*call self.distance"):
        trained(plain(Terms), metrics={"mae": F.l1_loss})


# --- steps of several batches ---------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [functools.partial(optim.SGD, lr=0.1, momentum=0.9), optim.Adam])
@pytest.mark.parametrize("clip", [None, 0.01])
@pytest.mark.parametrize(("dtype", "most"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_several_batches_are_one_large_batch(optimizer: Any, clip: float | None, dtype: Any, most: float) -> None:
    options = {"optimizer": optimizer, "clip_grad_norm": clip, "fit": {"epochs": 3, "shuffle": True}}
    data = X.astype(dtype)
    # Steps of 24, 24 and 2 samples: the last batch is short, and the last step has one batch.
    large = trained(plain(dtype=dtype), data, batch_size=24, **options)
    small = trained(plain(dtype=dtype), data, batch_size=8, accumulate=3, **options)
    assert furthest(small.model, large.model) < most
    np.testing.assert_allclose(small.history["loss"], large.history["loss"], rtol=most)
    assert {entry["step"] for entry in small.optimizer.state_dict()["groups"][0]["params"]} == {9}
    assert furthest(trained(plain(dtype=dtype), data, batch_size=8, **options).model, large.model) > 100 * most


def test_a_step_of_batches_on_every_device(device: str) -> None:
    large = trained(plain().to(device), batch_size=20, optimizer=optim.Adam)
    small = trained(plain().to(device), batch_size=5, accumulate=4, optimizer=optim.Adam)
    assert furthest(small.model, large.model) < 1e-5


def test_half_precision_sums_its_gradients_in_float32() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False)).to(np.float16)
    model[0].weight.data[...] = 0
    ones = np.ones((4096, 1), np.float16)
    trained(model, (ones, 8 * ones), batch_size=2048, accumulate=2, lr=2**-6, loss=F.mse_loss, fit={"epochs": 1})
    assert model[0].weight.item() == 16 * 2**-6  # 2048 times the gradient of -16 is no float16


class Moments(sa.Callback):
    """Notes each step's gradient, and the batch at which it came."""

    def __init__(self) -> None:
        self.gradients: list[np.ndarray] = []
        self.batches: list[int] = []
        self.forwards = 0

    def after_forward(self, run: Any) -> bool:
        self.forwards += 1
        return True  # which counts for nothing

    def after_backward(self, run: Any) -> bool:
        self.gradients.append(np.concatenate([p.grad.ravel() for p in run.trainer.model.parameters()]))
        return True

    def after_step(self, run: Any) -> bool:
        self.batches.append(run.step + 1)
        return True


def test_callbacks_see_one_gradient_for_each_step() -> None:
    large, small = Moments(), Moments()
    trained(plain(), batch_size=24, callbacks=[large])
    trained(plain(), batch_size=8, accumulate=3, callbacks=[small])
    assert small.batches == [3, 6, 7, 10, 13, 14] and small.forwards == 14 and large.forwards == 6
    for mine, whole in zip(small.gradients, large.gradients, strict=True):
        np.testing.assert_allclose(mine, whole, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("stop_after", range(1, 8))
def test_a_run_goes_on_within_a_step(stop_after: int, tmp_path: Path) -> None:
    class Stop(sa.Callback):
        def after_forward(self, run: Any) -> None:
            if run.step == stop_after and stops:
                raise KeyboardInterrupt

    def go(path: Path) -> sa.Trainer:
        return trained(plain(), accumulate=3, callbacks=[Stop()], optimizer=optim.Adam, clip_grad_norm=0.01,
                       fit={"checkpoint": path, "checkpoint_every": 1, "resume": True, "shuffle": True})  # fmt: skip

    stops = False
    whole = go(tmp_path / "whole.safetensors")
    stops = True
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run.safetensors")
    stops = False
    again = go(tmp_path / "run.safetensors")
    for a, b in zip(weights(again.model), weights(whole.model), strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.history["loss"] == whole.history["loss"]


def test_a_parameter_that_some_batches_do_not_reach_has_the_mean_of_all() -> None:
    class Sometimes(nn.Module):
        def __init__(self) -> None:
            self.always, self.rarely = nn.Parameter(np.zeros(1)), nn.Parameter(np.zeros(1))

        def loss_terms(self, x: Any) -> dict[str, Any]:
            loss = F.mean(x * self.always)
            return {"loss": loss + F.mean(x * self.rarely) if x.data[0, 0] > 0 else loss}

    model = Sometimes()
    data = np.array([[3.0], [-1.0], [-1.0], [6.0], [0.0]])
    trained(model, data, batch_size=1, accumulate=3, lr=1.0, fit={"epochs": 1})
    np.testing.assert_allclose([model.always.item(), model.rarely.item()], [-(1 / 3 + 3), -(1 + 3)])


def test_what_needs_the_whole_batch_is_refused_with_several() -> None:
    sa.manual_seed(0)
    norm = sa.Autoencoder(nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)), nn.Linear(3, 6))
    for model in (norm, plain(sa.SparseAutoencoder)):
        before, buffers = weights(model), model.state_dict()
        with pytest.raises(ValueError, match=r"accumulate=.*needs all samples at once: BatchNorm .* 'kl'"):
            trained(model, accumulate=2)
        assert all(map(np.array_equal, before, weights(model)))
        assert all(np.array_equal(buffers[name], array) for name, array in model.state_dict().items())
    sa.Trainer(norm, optim.SGD(norm.parameters(), lr=0.1), accumulate=2).evaluate(X)  # eval mode needs no batch
    trained(norm)  # and later runs are free
    trained(plain(sa.SparseAutoencoder, penalty="l1"), accumulate=2)


@pytest.mark.parametrize(
    "loss", [nn.MSELoss("sum"), functools.partial(F.mse_loss, reduction="sum")], ids=["layer", "partial"]
)
def test_a_sum_over_samples_is_no_loss_for_several_batches_or_weights(loss: Any) -> None:
    with pytest.raises(ValueError, match="accumulate=2 with a loss of reduction='sum'; expected 'mean'"):
        trained(plain(), (X, X), loss=loss, accumulate=2)
    with pytest.raises(ValueError, match="accumulate=2 with a loss of reduction='sum'"):
        trained(sa.Autoencoder(nn.Linear(6, 2), nn.Linear(2, 6), loss=loss), accumulate=2)
    with pytest.raises(ValueError, match="sample_weight with a loss of reduction='sum'; expected 'mean'"):
        trained(plain(), (X, X), loss=loss, fit={"sample_weight": np.ones(50)})


@pytest.mark.parametrize("accumulate", [0, -1, 1.5, "2", None, True])
def test_accumulate_is_a_count(accumulate: Any) -> None:
    with pytest.raises(ValueError, match="accumulate=.*expected an integer of at least 1"):
        trained(plain(), accumulate=accumulate)


@pytest.mark.parametrize("damage", [
    lambda plugin: {**plugin, "samples": -1}, lambda plugin: {**plugin, "sums": {"0": np.zeros(3)}},
    lambda plugin: {**plugin, "sums": {"99": np.zeros(3)}}, lambda plugin: {},
])  # fmt: skip
def test_a_damaged_state_is_refused(damage: Callable[[dict], dict], tmp_path: Path) -> None:
    from scratchae.files.checkpoint import read_state, write_state

    path = tmp_path / "run.safetensors"
    fit = {"checkpoint": path, "resume": True}
    trained(plain(), accumulate=3, fit=fit)
    state, metadata = read_state(path)
    state["plugins"]["Accumulate"] = damage(state["plugins"]["Accumulate"])
    write_state(path, state, metadata)
    model = plain()
    before = weights(model)
    with pytest.raises(ValueError, match="nothing was loaded"):
        trained(model, accumulate=3, fit=fit | {"epochs": 3})
    assert all(map(np.array_equal, before, weights(model)))


# --- weights of samples ---------------------------------------------------------------------------

W = np.random.default_rng(2).integers(0, 4, 50)


LOSSES = ["mse", "bce", "mae", "bce_logits", "cb", nn.MSELoss(), functools.partial(F.mse_loss)]


@pytest.mark.parametrize("loss", LOSSES, ids=["mse", "bce", "mae", "bce_logits", "cb", "layer", "partial"])
@pytest.mark.parametrize("kind", [sa.Autoencoder, sa.DenoisingAutoencoder])
def test_weights_count_a_sample_several_times(kind: Any, loss: Any) -> None:
    options = {"amount": 0.0} if kind is sa.DenoisingAutoencoder else {}
    weighted = trained(plain(kind, np.float64, loss=loss, **options), X.astype(float), batch_size=50,
                       fit={"sample_weight": W * 0.7})  # fmt: skip
    repeated = trained(plain(kind, np.float64, loss=loss, **options), X.astype(float).repeat(W, 0), batch_size=500)
    assert furthest(weighted.model, repeated.model) < 1e-12
    np.testing.assert_allclose(weighted.history["loss"], repeated.history["loss"], rtol=1e-12)


def test_an_epochs_loss_is_the_weighted_mean_of_all_samples(device: str) -> None:
    model = plain(loss="mse").to(device)
    wanted = np.average(model.reconstruction_error(X), weights=W)
    fit = {"sample_weight": W.astype(np.float32), "shuffle": True, "validation": X}
    history = trained(model, lr=0.0, fit=fit).history
    np.testing.assert_allclose(history["loss"], [wanted] * 2, rtol=1e-6)
    np.testing.assert_allclose(history["val_loss"], [model.reconstruction_error(X).mean()] * 2, rtol=1e-6)


def test_weights_follow_the_order_of_the_samples_through_steps_of_batches() -> None:
    def build() -> nn.Module:
        sa.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))

    loader = sa.DataLoader((X, Y), 8, True, seed=4, transform=lambda batch, generator: batch)
    fitted, by_hand = build(), build()
    trained(fitted, loader, loss=nn.CrossEntropyLoss(), accumulate=2, fit={"sample_weight": W})
    optimizer = optim.SGD(by_hand.parameters(), lr=0.05)
    for epoch in range(2):
        order = np.random.default_rng([4, epoch]).permutation(50)
        for start in range(0, 50, 16):
            rows = order[start : start + 16]
            losses = F.cross_entropy(by_hand(sa.Tensor(X[rows])), Y[rows], reduction="none")
            optimizer.zero_grad()
            (losses * (W[rows] / W.mean()).astype(np.float32)).mean().backward()
            optimizer.step()
    assert furthest(fitted, by_hand) < 1e-5


def test_a_run_with_weights_goes_on_within_an_epoch(tmp_path: Path) -> None:
    class Stop(sa.Callback):
        def after_forward(self, run: Any) -> None:
            if run.step == 10 and stops:
                raise KeyboardInterrupt

    def go(path: Path, weights: np.ndarray = W) -> list[np.ndarray]:
        fit = {"checkpoint": path, "checkpoint_every": 1, "resume": True, "shuffle": True, "sample_weight": weights}
        return [p.data.copy() for p in trained(plain(), callbacks=[Stop()], fit=fit).model.parameters()]

    stops = False
    whole = go(tmp_path / "whole.safetensors")
    stops = True
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run.safetensors")
    stops = False
    with pytest.raises(ValueError, match="is of another run, nothing was loaded. This one has sample_weight"):
        go(tmp_path / "run.safetensors", W[::-1])
    for a, b in zip(go(tmp_path / "run.safetensors"), whole, strict=True):
        np.testing.assert_array_equal(a, b)


def test_half_precision_and_huge_weights_are_weighted_in_float32() -> None:
    model = plain(dtype=np.float16, loss="mse")
    wanted = np.average(model.reconstruction_error(X.astype(np.float16)), weights=W)
    fit = {"sample_weight": W * 1e307, "epochs": 1}
    history = trained(model, X.astype(np.float16), batch_size=50, lr=0.0, fit=fit).history
    np.testing.assert_allclose(history["loss"], [wanted], rtol=2e-3)


class Filtered(sa.DataLoader):
    def __iter__(self) -> Any:
        return super().__iter__()


BAD_WEIGHTS: dict[str, tuple[Callable[[], Any], Any, type[Exception], str]] = {
    "shape": (plain, np.ones((50, 1)), ValueError, r"has shape \(50, 1\) for 50 samples; expected \(50,\)"),
    "length": (plain, np.ones(49), ValueError, r"shape \(49,\) for 50 samples"),
    "negative": (plain, np.r_[-1.0, np.ones(49)], ValueError, r"ranges over \[-1, 1\]; expected finite numbers of"),
    "zeros": (plain, np.zeros(50), ValueError, r"ranges over \[0, 0\].*not all 0"),
    "NaN": (plain, np.full(50, np.nan), ValueError, "expected finite numbers"),
    "a list": (plain, [1.0] * 50, TypeError, "sample_weight is a list"),
    "sparse": (lambda: plain(sa.SparseAutoencoder), np.ones(50), TypeError, "SparseAutoencoder.loss_terms is no"),
    "contractive": (lambda: plain(sa.ContractiveAutoencoder), np.ones(50), TypeError, "ContractiveAutoencoder.loss"),
    "variational": (lambda: plain(sa.VariationalAutoencoder), np.ones(50), TypeError, "or Trainer.*Or repeat the"),
    "own terms": (lambda: plain(Terms), np.ones(50), TypeError, "Terms.loss_terms is no mean"),
    "no reduction": (
        lambda: plain(loss=lambda output, target: F.mse_loss(output, target)), np.ones(50), TypeError,
        "needs the loss of each sample, and .* takes no reduction='none'",
    ),
    "reduced": (
        lambda: plain(loss=lambda o, t, reduction="mean": F.mse_loss(o, t)), np.ones(50), ValueError,
        r"the loss with reduction='none' has shape \(\); expected \(8, ...\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_weights_that_cannot_be_are_refused_before_anything_changes(case: str) -> None:
    build, given, error, message = BAD_WEIGHTS[case]
    model = build()
    before = weights(model)
    with pytest.raises(error, match=message):
        trained(model, fit={"sample_weight": given})
    assert all(map(np.array_equal, before, weights(model)))


def test_weights_need_a_loader_whose_places_are_known() -> None:
    with pytest.raises(TypeError, match="sample_weight with a Filtered, which iterates in a way of its own"):
        trained(plain(), Filtered(X, 8), fit={"sample_weight": np.ones(50)})


# --- batches of several arrays --------------------------------------------------------------------


def test_a_model_takes_all_arrays_but_the_last_and_the_loss_takes_that() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            self.left, self.right = nn.Linear(6, 3), nn.Linear(2, 3)

        def forward(self, a: Any, b: Any) -> Any:
            return self.left(a) + self.right(b)

    model = Sum()
    wanted = F.cross_entropy(model(sa.Tensor(X), sa.Tensor(X[:, :2])), Y).item()
    history = trained(model, (X, X[:, :2], Y), lr=0.0, loss=F.cross_entropy, metrics={"accuracy": accuracy}).history
    np.testing.assert_allclose(history["loss"], [wanted] * 2, rtol=1e-6)


def test_more_arrays_than_a_model_takes_are_told_before_training() -> None:
    told = r"the data are 3 arrays, the last for the loss, which Linear.forward\(x.*\) .*does not take"
    with pytest.raises(TypeError, match=told):
        trained(nn.Linear(6, 3), (X, X, Y), loss=F.cross_entropy)


@pytest.mark.parametrize("data", [[X, X], [X], [X[0], X[1], X[2]]])
def test_a_list_is_no_pair(data: list) -> None:
    model = plain()
    trainer = sa.Trainer(model, optim.SGD(model.parameters(), lr=0.1))
    for call in (trainer.fit, trainer.evaluate, lambda listed: trainer.fit(X, listed)):
        message = rf"the data are a list of {len(data)}; expected .*a tuple \(inputs, targets\) is a pair, and np.stack"
        with pytest.raises(TypeError, match=message):
            call(data)


def test_the_options_stand_last_in_the_signatures() -> None:
    assert [*inspect.signature(sa.Trainer).parameters][-2:] == ["metrics", "accumulate"]
    assert [*inspect.signature(sa.Trainer.fit).parameters][-1] == "sample_weight"
    assert [*inspect.signature(sa.DataLoader).parameters][-1] == "transform"
