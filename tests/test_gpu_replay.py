"""Training on a GPU by recorded steps: the same bits as step by step, and nothing else that differs."""

from __future__ import annotations

import gc
import importlib
import math
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import backend, nn
from scratchae import functional as F
from scratchae.data import DataLoader
from scratchae.files.runs import Checkpoint
from scratchae.gpu import losses, memory, replay, state, upload

IMAGES = np.random.default_rng(5).random((75, 1, 8, 8)).astype(np.float32)  # four whole batches of 16, and 11 more


def _normalised() -> sa.Autoencoder:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2))
    return sa.Autoencoder(encoder, nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.LayerNorm(64)), loss="bce_logits")


MODELS: dict[str, Callable[[], Any]] = {
    "linear": lambda: sa.Autoencoder.dense((64, 8), activation=None, output=None, loss="mse"),
    "deep": lambda: sa.Autoencoder.dense((64, 20, 5)),
    "logits": lambda: sa.Autoencoder.dense((64, 20, 5), loss="bce_logits"),
    "batch norm and dropout": _normalised,
    "vae": lambda: sa.VariationalAutoencoder.dense((64, 16, 4)),
    "gaussian noise": lambda: sa.DenoisingAutoencoder.dense((64, 8), corruption="gaussian", amount=0.2),
    "salt and pepper": lambda: sa.DenoisingAutoencoder.dense((64, 8), corruption="salt_and_pepper", amount=0.2),
    "sparse": lambda: sa.SparseAutoencoder.dense((64, 8), weight=0.1),
    "sparse l1": lambda: sa.SparseAutoencoder.dense((64, 8), penalty="l1", weight=0.1),
    "contractive": lambda: sa.ContractiveAutoencoder.dense((64, 5), activation="sigmoid", weight=0.1),
    "conv and pool": lambda: sa.ConvAutoencoder((1, 3, 3)),
    "strided": lambda: sa.ConvAutoencoder((1, 3, 3), down="stride", loss="bce_logits"),
    "bilinear": lambda: sa.Autoencoder(
        nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.ReLU()),
        nn.Sequential(nn.Upsample(2, mode="bilinear"), nn.Conv2d(2, 1, 3, padding=1)),
    ),
}
every_model = pytest.mark.parametrize("name", MODELS)


class EachStep(sa.Callback):
    """Looks at each step, so that none is replayed."""

    def after_step(self, run: Any) -> None:
        pass


def _fit(
    name: str, device: str = "gpu", replayed: bool = True, epochs: int = 3, rule: Any = sa.optim.Adam, **options: Any
) -> tuple[sa.History, dict[str, np.ndarray], sa.Trainer]:
    data = options.pop("images", IMAGES)
    fit_options = {k: options.pop(k) for k in ("checkpoint", "resume", "validation") if k in options}
    sa.manual_seed(3)
    model = MODELS[name]().to(device)
    trainer = sa.Trainer(model, rule(model.parameters(), lr=1e-2), **options)
    if not replayed:
        trainer.callbacks.append(EachStep())
    history = trainer.fit(data, epochs=epochs, batch_size=16, progress=False, **fit_options)
    return history, {n: backend.to_device(v, "cpu") for n, v in model.state_dict().items()}, trainer


def _assert_same_bits(one: dict, two: dict) -> None:
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].tobytes() == two[name].tobytes(), name


def _losses(history: sa.History) -> dict[str, list]:
    return {name: values for name, values in history.items() if name not in ("seconds", "images_per_second")}


@every_model
def test_replayed_steps_are_the_bits_of_steps_one_by_one(name: str, stand_in: ModuleType) -> None:
    stand_in.counts.reset()
    history, weights, _ = _fit(name, validation=IMAGES[:20])
    # Of 15 steps two are watched, three are the short batches at the ends of epochs, one is done while it is recorded.
    assert stand_in.counts.graphs == 10
    one_by_one, expected, _ = _fit(name, replayed=False, validation=IMAGES[:20])
    _assert_same_bits(weights, expected)
    assert _losses(history) == _losses(one_by_one)


@pytest.mark.parametrize("name", ["linear", "deep", "logits", "sparse", "contractive", "conv and pool", "strided"])
def test_a_gpu_gives_the_weights_of_the_cpu(name: str, stand_in: ModuleType) -> None:
    history, weights, _ = _fit(name, rule=sa.optim.SGD)
    on_cpu, expected, _ = _fit(name, "cpu", rule=sa.optim.SGD)
    for key, value in weights.items():
        np.testing.assert_allclose(value, expected[key], rtol=0, atol=1e-5 * abs(expected[key]).max(), err_msg=key)
    np.testing.assert_allclose(history["loss"], on_cpu["loss"], rtol=1e-5)


@pytest.mark.parametrize("rule", [sa.optim.SGD, sa.optim.AdamW, sa.optim.RMSprop], ids=lambda r: r.__name__)
def test_every_rule_counts_on_by_itself(rule: Any, stand_in: ModuleType) -> None:
    _, weights, trainer = _fit("deep", rule=rule)
    _, expected, one_by_one = _fit("deep", rule=rule, replayed=False)
    _assert_same_bits(weights, expected)
    state, wanted = (t.optimizer.state_dict()["groups"][0]["params"] for t in (trainer, one_by_one))
    assert [entry["step"] for entry in state] == [entry["step"] for entry in wanted] == [15] * len(state)


def test_a_replayed_epoch_asks_for_one_graph_a_step_and_waits_for_none(stand_in: ModuleType) -> None:
    waits, graphs, n = [], [], 16 * 150

    class Note(sa.Callback):
        def on_epoch_end(self, trainer: sa.Trainer, row: dict) -> None:
            waits.append(stand_in.counts.synchronisations)
            graphs.append(stand_in.counts.graphs)

    _fit("vae", images=np.tile(IMAGES[:48], (n // 48, 1, 1, 1)), callbacks=[Note()])
    assert graphs[2] - graphs[1] == 150
    assert waits[2] - waits[1] <= 150 // losses.READ_EVERY * 2 + 4  # two looks at the losses, and the epoch's end


def test_a_replayed_vae_draws_new_noise_each_step(stand_in: ModuleType) -> None:
    same = np.repeat(IMAGES[:1], 16 * 40, axis=0)
    model = MODELS["vae"]().to("gpu")
    codes = []
    trainer = sa.Trainer(model, sa.optim.SGD(model.parameters(), lr=0.0))
    terms = trainer._terms
    trainer._terms = lambda batch: {"loss": terms(batch)["reconstruction"]}  # type: ignore[method-assign]
    steps = replay.steps_of(trainer, [])
    with replay.training_stream("gpu:0"):
        for i in range(40):
            if not steps.take(stand_in.asarray(same[:16]), i):
                continue
            codes += [row["loss"] for row in steps.read()]
    assert len(codes) == 38 and len(set(codes)) == 38


# --- what changes between epochs ----------------------------------------------------------------------


def test_a_schedule_reaches_the_recorded_steps(stand_in: ModuleType) -> None:
    results = []
    for replayed in (True, False):
        sa.manual_seed(3)
        model = MODELS["deep"]().to("gpu")
        optimizer = sa.optim.Adam(model.parameters(), lr=1e-2)
        schedule = sa.Schedule(sa.optim.StepLR(optimizer, 1, 0.1))
        trainer = sa.Trainer(model, optimizer, [schedule])
        if not replayed:
            trainer.callbacks.append(EachStep())
        stand_in.counts.reset()
        trainer.fit(IMAGES[:64], epochs=4, batch_size=16, progress=False)
        results.append({n: backend.to_device(v, "cpu") for n, v in model.state_dict().items()})
        assert stand_in.counts.graphs == (14 if replayed else 0)  # recorded once
    _assert_same_bits(*results)


def test_what_a_callback_changes_is_recorded_anew(stand_in: ModuleType) -> None:
    class WarmUp(sa.Callback):
        def on_epoch_end(self, trainer: sa.Trainer, row: dict) -> None:
            trainer.model.beta = 0.1 * len(trainer.history["loss"])
            next(trainer.model.parameters()).requires_grad = len(trainer.history["loss"]) < 3

    _, weights, _ = _fit("vae", callbacks=[WarmUp()], epochs=4)
    _, expected, _ = _fit("vae", callbacks=[WarmUp()], epochs=4, replayed=False)
    _assert_same_bits(weights, expected)


def test_loss_terms_may_come_and_go_between_epochs(stand_in: ModuleType) -> None:
    class Held(sa.Autoencoder):
        held = False

        def penalties(self, x: Any, code: Any) -> dict[str, Any]:
            return {"size": F.mean(code * code)} if self.held else {}

    class Hold(sa.Callback):
        def on_epoch_end(self, trainer: sa.Trainer, row: dict) -> None:
            trainer.model.held = len(trainer.history["loss"]) == 1

    found = []
    for replayed in (True, False):
        sa.manual_seed(0)
        model = Held.dense((64, 8)).to("gpu")
        trainer = sa.Trainer(model, sa.optim.Adam(model.parameters()), [Hold()])
        if not replayed:
            trainer.callbacks.append(EachStep())
        found.append(_losses(trainer.fit(IMAGES, epochs=3, batch_size=16, progress=False)))
    np.testing.assert_equal(*found)
    assert np.isnan(found[0]["size"]).tolist() == [True, False, True]


def test_a_recording_of_a_short_batch_gives_way_to_one_of_whole_batches(stand_in: ModuleType) -> None:
    _, weights, _ = _fit("deep", images=IMAGES[:40], epochs=4)  # 16, 16 and 8 an epoch
    assert stand_in.counts.graphs == 7  # the first short one, and all whole ones after it
    _, expected, _ = _fit("deep", images=IMAGES[:40], epochs=4, replayed=False)
    _assert_same_bits(weights, expected)


def test_a_parameter_that_stands_still_counts_no_steps(stand_in: ModuleType) -> None:
    class Freeze(sa.Callback):
        def on_epoch_end(self, trainer: sa.Trainer, row: dict) -> None:
            next(trainer.model.parameters()).requires_grad = False

    results = [_fit("deep", callbacks=[Freeze()], replayed=replayed) for replayed in (True, False)]
    _assert_same_bits(results[0][1], results[1][1])
    for *_, trainer in results:
        steps = [entry["step"] for entry in trainer.optimizer.state_dict()["groups"][0]["params"]]
        assert steps == [5, *[15] * (len(steps) - 1)]


def test_weights_that_a_callback_replaces_are_the_ones_that_move(stand_in: ModuleType) -> None:
    class Restart(sa.Callback):
        def on_epoch_end(self, trainer: sa.Trainer, row: dict) -> None:
            p = next(trainer.model.parameters())
            p.data = p.data * 0.5

    _, weights, _ = _fit("deep", callbacks=[Restart()])
    _, expected, _ = _fit("deep", callbacks=[Restart()], replayed=False)
    _assert_same_bits(weights, expected)


def test_frozen_weights_that_a_callback_loads_are_the_ones_that_are_read(stand_in: ModuleType) -> None:
    class Reload(sa.Callback):
        def on_epoch_end(self, trainer: sa.Trainer, row: dict) -> None:
            encoder = trainer.model.encoder
            encoder.load_state_dict({name: array * 0.5 for name, array in encoder.state_dict().items()})

    found = []
    for replayed in (True, False):
        sa.manual_seed(0)
        model = MODELS["deep"]().to("gpu")
        model.encoder.requires_grad_(False)
        trainer = sa.Trainer(model, sa.optim.Adam(model.decoder.parameters()), [Reload()])
        if not replayed:
            trainer.callbacks.append(EachStep())
        trainer.fit(IMAGES, epochs=3, batch_size=16, progress=False)
        found.append({n: backend.to_device(v, "cpu") for n, v in model.state_dict().items()})
    _assert_same_bits(*found)


def test_clipping_is_the_same(stand_in: ModuleType) -> None:
    _, weights, _ = _fit("deep", clip_grad_norm=0.05)
    _, expected, _ = _fit("deep", "cpu", clip_grad_norm=0.05)
    for key, value in weights.items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-4, atol=1e-6)


def test_pairs_and_a_loss_of_ones_own(stand_in: ModuleType) -> None:
    labels = np.arange(75) % 3
    results = []
    for replayed in (True, False):
        sa.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).to("gpu")
        trainer = sa.Trainer(model, sa.optim.Adam(model.parameters()), loss=F.cross_entropy)
        if not replayed:
            trainer.callbacks.append(EachStep())
        trainer.fit((IMAGES, labels), epochs=3, batch_size=16, progress=False)
        results.append({n: backend.to_device(v, "cpu") for n, v in model.state_dict().items()})
    _assert_same_bits(*results)


# --- when it cannot be --------------------------------------------------------------------------------


class Counting(nn.Module):
    """Remembers in Python how often it was called."""

    calls = 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return x * (1 + self.calls % 2)


class Looking(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * 2 if float(x.data.sum()) > 0 else x


@pytest.mark.parametrize(("layer", "why"), [(Counting, r"changes encoder\.0\.calls in Python"), (Looking, "capturing")])
def test_a_model_that_cannot_be_recorded_trains_all_the_same(layer: Any, why: str, stand_in: ModuleType) -> None:
    results = []
    for replayed in (True, False):
        sa.manual_seed(0)
        encoder = nn.Sequential(layer(), nn.Flatten(), nn.Linear(64, 4))
        model = sa.Autoencoder(encoder, nn.Linear(4, 64), loss="mse").to("gpu")
        trainer = sa.Trainer(model, sa.optim.Adam(model.parameters()))
        if not replayed:
            trainer.callbacks.append(EachStep())
            trainer.fit(IMAGES, epochs=2, batch_size=16, progress=False)
        else:
            with pytest.warns(UserWarning, match=f"done one by one, not replayed from a CUDA graph: .*{why}"):
                trainer.fit(IMAGES, epochs=2, batch_size=16, progress=False)
        results.append({n: backend.to_device(v, "cpu") for n, v in model.state_dict().items()})
    _assert_same_bits(*results)
    assert stand_in.counts.graphs == 0


def test_a_replay_that_gives_other_numbers_is_not_used(stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import strict_cupy

    launch = strict_cupy.Graph.launch
    monkeypatch.setattr(strict_cupy.Graph, "launch", lambda self, stream=None: self.work.pop() and launch(self))
    with pytest.warns(UserWarning, match="other numbers than the step itself"):
        _, weights, _ = _fit("deep")
    _, expected, _ = _fit("deep", replayed=False)
    _assert_same_bits(weights, expected)


def test_a_second_ctrl_c_leaves_a_stream_that_can_be_used(stand_in: ModuleType) -> None:
    class Interrupted(nn.Module):
        def forward(self, x: Any) -> Any:
            if stand_in.cuda.get_current_stream().is_capturing():
                raise KeyboardInterrupt
            return x

    encoder = nn.Sequential(Interrupted(), nn.Flatten(), nn.Linear(64, 4))
    model = sa.Autoencoder(encoder, nn.Linear(4, 64), loss="mse").to("gpu")
    with pytest.raises(KeyboardInterrupt):
        sa.Trainer(model, sa.optim.Adam(model.parameters())).fit(IMAGES, batch_size=16, progress=False)
    _fit("deep")
    assert stand_in.counts.graphs == 10


def test_threads_do_not_share_a_stream(stand_in: ModuleType) -> None:
    streams = []

    def note() -> None:
        with replay.training_stream("gpu:0"):
            streams.append(stand_in.cuda.get_current_stream())

    note()
    (other := threading.Thread(target=note)).start()
    other.join()
    assert streams[0] is not streams[1]


class Odd(nn.Module):
    """Keeps a buffer that the kernels do not know."""

    def __init__(self, buffer: np.ndarray):
        self.register_buffer("kept", buffer)

    def forward(self, x: Any) -> Any:
        self.kept[...] = self.kept + 1
        return x


@pytest.mark.parametrize("buffer", [np.zeros(2, np.int64), np.zeros((2, 3), np.float32).T], ids=["int", "transposed"])
def test_a_buffer_that_no_kernel_keeps_is_stepped_one_by_one(buffer: np.ndarray, stand_in: ModuleType) -> None:
    layer = Odd(buffer)
    model = sa.Autoencoder(nn.Sequential(layer, nn.Flatten(), nn.Linear(64, 4)), nn.Linear(4, 64), loss="mse")
    model.to("gpu")
    sa.Trainer(model, sa.optim.Adam(model.parameters())).fit(IMAGES, batch_size=16, progress=False)
    assert stand_in.counts.graphs == 0 and (layer.kept.get() == 5).all()


def test_a_rule_without_kernels_steps_one_by_one(stand_in: ModuleType) -> None:
    class Half(sa.optim.SGD):
        def update(self, p: Any, g: Any, *rest: Any) -> None:
            p -= g * 0.5

    _fit("deep", rule=Half)
    assert stand_in.counts.graphs == 0


# --- what is not finite -------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 7, 40, 70, 99])
def test_a_step_that_is_not_finite_is_named_and_leaves_nothing(at: int, stand_in: ModuleType) -> None:
    """Whether it is watched, recorded or long after that: the error, the weights and the counts are the CPU's."""
    images = np.tile(IMAGES[:20], (80, 1, 1, 1))[: 16 * 100].copy()
    images[16 * (at - 1) + 3, 0, 2, 2] = np.nan
    states = []
    for device in ("gpu", "cpu"):
        sa.manual_seed(0)
        model = MODELS["batch norm and dropout"]()
        model.encoder[4].p = 0.0  # the devices' random numbers differ
        model = model.to(device)
        optimizer = sa.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
        with pytest.raises(FloatingPointError, match=f"reconstruction'.*not finite.* at step {at}"):
            sa.Trainer(model, optimizer).fit(images, batch_size=16, shuffle=False, progress=False)
        values = {n: backend.to_device(v, "cpu") for n, v in model.state_dict().items()}
        states.append((values, [e["step"] for e in optimizer.state_dict()["groups"][0]["params"]]))
    (found, steps), (expected, wanted) = states
    assert steps == wanted == [at - 1] * len(steps)
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_a_gradient_that_is_not_finite_is_named(stand_in: ModuleType) -> None:
    class Root(nn.Module):
        def forward(self, x: Any) -> Any:
            return F.sqrt(F.abs(x))  # its slope at 0 is infinite

    images = np.ones((16 * 8, 4), np.float32)
    images[16 * 5 :] = 0
    model = sa.Autoencoder(nn.Sequential(nn.Linear(4, 2, bias=False), Root()), nn.Linear(2, 4), loss="mse").to("gpu")
    with pytest.raises(FloatingPointError, match=r"the gradient of encoder\.0\.weight is not finite at step 6"):
        sa.Trainer(model, sa.optim.Adam(model.parameters())).fit(images, batch_size=16, shuffle=False, progress=False)
    assert all(np.isfinite(p.numpy()).all() for p in model.parameters())


@pytest.mark.parametrize("loss", ["bce", "bce_logits"])
def test_a_target_out_of_range_is_not_trained_on(loss: str, stand_in: ModuleType) -> None:
    images = IMAGES[:64].copy()
    images[60, 0, 0, 0] = 1.5
    model = sa.Autoencoder.dense((64, 4), loss=loss).to("gpu")
    with pytest.raises(FloatingPointError, match="step 4.*targets outside their range"):
        sa.Trainer(model, sa.optim.Adam(model.parameters())).fit(images, batch_size=16, shuffle=False, progress=False)


@pytest.mark.parametrize("step, error", [(2, ValueError), (3, FloatingPointError), (4, FloatingPointError)])
def test_images_out_of_range_are_not_given_noise(step: int, error: type[Exception], stand_in: ModuleType) -> None:
    """In a step that is done by Python, recorded, and replayed."""
    images = IMAGES[:64].copy()
    images[16 * step - 4, 0, 0, 0] = 1.5
    model = sa.DenoisingAutoencoder.dense((64, 4), corruption="gaussian").to("gpu")
    trainer = sa.Trainer(model, sa.optim.Adam(model.parameters()))
    with pytest.raises(error, match=f"not finite at step {step}|expected images in"):
        trainer.fit(images, batch_size=16, shuffle=False, progress=False)
    assert all(np.isfinite(p.numpy()).all() for p in model.parameters())


def test_a_label_out_of_range_is_not_trained_on(stand_in: ModuleType) -> None:
    labels = np.arange(64) % 3
    labels[60] = -1  # as an index, the last class
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).to("gpu")
    trainer = sa.Trainer(model, sa.optim.Adam(model.parameters()), loss=F.cross_entropy)
    with pytest.raises(FloatingPointError, match="'loss' is not finite at step 4"):
        trainer.fit((IMAGES[:64], labels), batch_size=16, shuffle=False, progress=False)


# --- breaking off and going on ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vae", "batch norm and dropout"])
def test_a_run_that_is_resumed_ends_with_the_same_bits(name: str, stand_in: ModuleType, tmp_path: Path) -> None:
    history, weights, _ = _fit(name, checkpoint=tmp_path / "whole", epochs=4)
    _fit(name, checkpoint=tmp_path / "half", epochs=2)
    again, resumed, _ = _fit(name, checkpoint=tmp_path / "half", epochs=4, resume=True)
    _assert_same_bits(weights, resumed)
    assert _losses(history) == _losses(again)


def test_a_checkpoint_within_an_epoch_holds_the_losses_so_far(
    stand_in: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sa.manual_seed(0)
    model = MODELS["vae"]().to("gpu")
    trainer = sa.Trainer(model, sa.optim.Adam(model.parameters()))
    path, saved = tmp_path / "run", []
    save = Checkpoint.save

    def noted(self: Checkpoint, run: Any) -> None:
        save(self, run)
        saved.append((run.step, run.means.samples))

    monkeypatch.setattr(Checkpoint, "save", noted)
    trainer.fit(IMAGES[:64], epochs=3, batch_size=16, progress=False, checkpoint=path, checkpoint_every=3)
    assert saved == [(3, 48), (4, 0), (6, 32), (8, 0), (9, 16), (12, 0)]


# --- batches on their way -----------------------------------------------------------------------------


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_come_to_the_device(
    resident: bool, shuffle: bool, stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "RESIDENT", 10**9 if resident else 0)
    labels = np.arange(75)
    here = DataLoader((IMAGES, labels), 16, shuffle=shuffle, seed=1)
    there = DataLoader((IMAGES, labels), 16, shuffle=shuffle, seed=1, device="gpu")
    for _ in range(2):
        kept = list(there)
        for batch, expected in zip(kept, here, strict=True):
            for a, b in zip(batch, expected, strict=True):
                assert backend.device_of(a) == "gpu:0" and a.dtype == b.dtype
                np.testing.assert_array_equal(a.get(), b)


def test_a_set_stays_on_the_device_from_epoch_to_epoch(stand_in: ModuleType) -> None:
    loader = DataLoader(IMAGES, 25, device="gpu")
    list(loader)
    launches = stand_in.counts.launches
    list(loader)
    assert stand_in.counts.launches == launches  # slices of what is there


def test_large_sets_train_as_small_ones_do(stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    _, expected, _ = _fit("vae")
    monkeypatch.setattr(upload, "RESIDENT", 0)
    _, weights, _ = _fit("vae")
    _assert_same_bits(weights, expected)


def test_batches_that_the_loader_leaves_on_the_cpu_are_replayed_too(stand_in: ModuleType) -> None:
    _, expected, _ = _fit("deep")
    _, weights, _ = _fit("deep", images=DataLoader(IMAGES, 16, shuffle=True, seed=0, device="cpu"))
    _assert_same_bits(weights, expected)


def test_who_breaks_off_waits_for_the_batch_on_its_way(stand_in: ModuleType) -> None:
    batches = upload.ahead(((IMAGES[i : i + 16],) for i in range(0, 64, 16)), "gpu")
    next(batches)
    waits = stand_in.counts.synchronisations
    batches.close()
    assert stand_in.counts.synchronisations == waits + 1


def test_a_loader_on_a_device_that_is_not_there_says_so() -> None:
    with pytest.raises((RuntimeError, ValueError), match="gpu"):
        list(DataLoader(IMAGES, 16, device="gpu:99"))
    with pytest.raises(ValueError, match="expected 'cpu', 'gpu' or"):
        list(DataLoader(IMAGES, 16, device="cuda"))


def test_losses_are_read_in_the_order_of_the_steps(stand_in: ModuleType) -> None:
    """Through several rounds of the list on the GPU, read at odd moments."""
    model = MODELS["linear"]().to("gpu")
    trainer = sa.Trainer(model, sa.optim.SGD(model.parameters(), lr=0.0))
    scales = np.arange(1, 401, dtype=np.float32)
    trainer._terms = lambda batch: {"loss": sa.Tensor(batch[0]).sum() + 0 * sum(p.sum() for p in model.parameters())}
    steps, read = replay.steps_of(trainer, []), []
    with replay.training_stream("gpu:0"):
        for i, scale in enumerate(scales):
            if not steps.take(stand_in.full((2,), scale), i + 1):
                read.append(2 * float(scale))
            if i % 67 == 0:
                read += [row["loss"] for row in steps.read(wait=i % 2 == 0)]
        read += [row["loss"] for row in steps.read()]
    assert read == (2 * scales).tolist() and not steps.asked
    assert math.isclose(float(steps.ledger.get()[3]), 398)


# --- memory -------------------------------------------------------------------------------------------


def test_a_gpu_without_memory_says_what_for_and_can_go_on(stand_in: ModuleType) -> None:
    class Large(nn.Module):
        limit = 16

        def forward(self, x: Any) -> Any:
            if len(x) > self.limit:
                raise stand_in.cuda.memory.OutOfMemoryError("Out of memory allocating 5,000 bytes.")
            return x

    model = sa.Autoencoder(nn.Sequential(Large(), nn.Flatten(), nn.Linear(64, 4)), nn.Linear(4, 64)).to("gpu")
    trainer = sa.Trainer(model, sa.optim.Adam(model.parameters()))
    with pytest.raises(MemoryError, match="a step of Autoencoder on a batch of 32 samples: .*5,000 bytes.*1.00 of 2"):
        trainer.fit(IMAGES, batch_size=32, progress=False)
    with pytest.raises(MemoryError, match="a batch of 50 samples.*use a smaller batch_size"):
        model.transform(IMAGES, batch_size=50)
    assert stand_in.counts.released == 2
    assert len(trainer.fit(IMAGES, batch_size=16, progress=False)["loss"]) == 1
    assert model.transform(IMAGES, batch_size=16).shape == (75, 4)


MB = 1 << 20


def _limit(cupy: Any, left: int) -> None:
    """Leave so many bytes besides the arrays in use."""
    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    cupy.driver.limit = cupy.driver.taken + left


class Scratch(nn.Module):
    """Takes memory for a moment, in pieces of these sizes. The recorded step leaves the GPU with `left` bytes."""

    def __init__(self, cupy: Any, *sizes: int, left: int, at_the_end: bool):
        self.cupy, self.sizes, self.left, self.at_the_end = cupy, sizes, left, at_the_end

    def forward(self, x: Any) -> Any:
        recorded = self.cupy.cuda.get_current_stream().is_capturing()
        if recorded and not self.at_the_end:
            _limit(self.cupy, self.left)
        for size in self.sizes:
            self.cupy.zeros(size, "uint8")
        if recorded and self.at_the_end:
            _limit(self.cupy, self.left)
        return x


def _fit_with(layer: nn.Module, replayed: bool = True, warned: str = "", **options: Any) -> tuple[dict, dict]:
    """The losses and the weights of a model with that layer."""
    sa.manual_seed(3)
    encoder = nn.Sequential(layer, nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.2))
    model = sa.Autoencoder(encoder, nn.Linear(8, 64), loss="mse").to("gpu")
    trainer = sa.Trainer(model, sa.optim.Adam(model.parameters()), callbacks=[] if replayed else [EachStep()])
    warning = pytest.warns(UserWarning, match=f"not replayed from a CUDA graph: {warned}") if warned else nullcontext()
    with warning:
        history = trainer.fit(batch_size=16, progress=False, epochs=3, **options)
    return _losses(history), {n: backend.to_device(v, "cpu") for n, v in model.state_dict().items()}


def test_a_recording_keeps_its_memory_when_the_gpu_is_nearly_full(stand_in: ModuleType) -> None:
    """The larger piece fits only where the smaller piece, which the recording has written to, is freed."""
    layer = Scratch(stand_in, MB, 5 * MB // 4, left=3 * MB // 2, at_the_end=False)
    found, weights = _fit_with(layer, images=IMAGES, warned="OutOfMemoryError: Out of memory allocating 1,310,720")
    assert stand_in.counts.graphs == 0 and stand_in.driver.limit is not None
    expected, wanted = _fit_with(layer, replayed=False, images=IMAGES)
    _assert_same_bits(weights, wanted)
    assert found == expected


def test_the_stand_in_shows_a_graph_whose_memory_was_freed(
    stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "pool_that_keeps", lambda cupy: cupy.cuda.MemoryPool())
    layer = Scratch(stand_in, MB, 5 * MB // 4, left=3 * MB // 2, at_the_end=False)
    with pytest.raises(RuntimeError, match="the graph reads and writes memory that was freed"):
        _fit_with(layer, images=IMAGES)


@pytest.mark.parametrize(
    "options",
    [{"images": IMAGES}, {"images": IMAGES[:64], "validation": IMAGES[:20]}],
    ids=["short batch", "validation"],
)
def test_a_graph_gives_way_to_work_that_finds_no_memory(options: dict, stand_in: ModuleType) -> None:
    layer = Scratch(stand_in, MB, left=MB // 2, at_the_end=True)
    warned = "other work needs the memory of the graph: Out of memory allocating 1,048,576 bytes"
    found, weights = _fit_with(layer, warned=warned, **options)
    assert stand_in.counts.graphs == 2
    expected, wanted = _fit_with(layer, replayed=False, **options)
    _assert_same_bits(weights, wanted)
    assert found == expected


@pytest.mark.parametrize("finite", [True, False])
def test_a_graph_gives_way_to_the_next_batch(finite: bool, stand_in: ModuleType) -> None:
    """The losses of the replayed steps are read afterwards, and a step that was not finite is named."""
    model = MODELS["linear"]().to("gpu")
    trainer = sa.Trainer(model, sa.optim.SGD(model.parameters(), lr=0.0))
    steps, batch = replay.steps_of(trainer, []), IMAGES[:16].reshape(16, 64)
    with replay.training_stream("gpu:0"), memory.giving_way(stand_in, steps.release):
        assert [steps.take(batch, i) for i in (1, 2, 3)] == [False, False, True]
        assert steps.take(batch if finite else batch * np.float32(np.nan), 4)
        _limit(stand_in, 0)
        taken = stand_in.driver.taken
        with pytest.warns(UserWarning, match="other work needs the memory"):
            assert not steps.take(batch, 5)
        assert stand_in.driver.taken < taken and not steps.take(batch, 5)
        if finite:
            assert len(steps.read()) == 2
        else:
            with pytest.raises(FloatingPointError, match="not finite at step 4"):
                steps.read()


@pytest.mark.parametrize("which", [1, 2])
def test_steps_that_leave_no_memory_for_copies_are_done_one_by_one(
    which: int, stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copies are made before the step that is recorded, and after that step."""
    copies, calls = state.State.copies, []

    def too_large(self: state.State) -> list:
        calls.append(self)
        if len(calls) == which:
            raise stand_in.cuda.memory.OutOfMemoryError("Out of memory allocating 5,000 bytes.")
        return copies(self)

    monkeypatch.setattr(state.State, "copies", too_large)
    found, weights = _fit_with(nn.Identity(), images=IMAGES, warned="OutOfMemoryError.*5,000 bytes")
    assert stand_in.counts.graphs == 0 and len(calls) == which
    expected, wanted = _fit_with(nn.Identity(), replayed=False, images=IMAGES)
    _assert_same_bits(weights, wanted)
    assert found == expected


def test_a_loader_that_fit_used_stays_as_it_was(stand_in: ModuleType) -> None:
    loader = DataLoader(IMAGES, 16)
    model = MODELS["linear"]().to("gpu")
    sa.Trainer(model, sa.optim.Adam(model.parameters())).fit(loader, progress=False)
    assert loader.device is None and isinstance(next(iter(loader)), np.ndarray)


@pytest.fixture
def smoke(stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/gpu_smoke.py, which is run before all other checks on a GPU."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    found = importlib.import_module("gpu_smoke")
    monkeypatch.setattr(found, "BATCH", 4)
    monkeypatch.setattr(found, "STEPS", 2)
    return found


def test_the_smoke_test_names_the_gpu_and_what_works(smoke: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    smoke.main()
    names = [line.split("s  ", 1)[1].partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert names[:5] == ["name", "compute capability", "memory", "CUDA", "cupy"]
    assert names[-4:] == ["memory", "product", "training", "replay"]


def test_the_smoke_test_fails_where_steps_are_not_replayed(
    smoke: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "same_bits", lambda a, b: False)
    with pytest.warns(UserWarning, match="one by one"), pytest.raises(AssertionError, match="not replayed: .*numbers"):
        smoke.main()
