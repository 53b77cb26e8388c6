"""A run that was broken off, at any step and in any way, ends as if it had not been.

This file is also a script, for what only a process of its own can show:

    test_resume.py fit RUN FOLDER SIGNAL STEP   a run that gets the signal in that step
    test_resume.py kill FOLDER STEP...          runs killed in these steps, resumed, and compared
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from platforms import needs_fork, needs_signals

import scratchae as sa
from scratchae import autoencoders as ae
from scratchae import nn, optim

X = np.random.default_rng(0).random((42, 1, 4, 4), np.float32)  # batches of 8 leave 2 over
EPOCHS, STEPS = 4, 6


class Run:
    """A model in training with all that has a state. Every one of the same name and folder is the same."""

    def __init__(self, name: str, folder: Path, seed: int = 0):
        folder.mkdir(exist_ok=True)
        sa.manual_seed(seed)
        self.data: Any = X
        self.options: dict[str, Any] = {"validation": X[:10], "epochs": EPOCHS, "batch_size": 8, "seed": 3}
        RUNS[name](self, folder, seed)
        self.path = folder / "run.safetensors"

    def build(self, model: nn.Module, optimizer: optim.Optimizer, *callbacks: Any, **options: Any) -> None:
        self.model, self.optimizer = model, optimizer
        self.trainer = sa.Trainer(model, optimizer, callbacks, **options)

    def fit(self, **options: Any) -> sa.History:
        options = {"checkpoint": self.path, "resume": True, "progress": False, **self.options, **options}
        return self.trainer.fit(self.data, **options)

    def at_step(self, step: int, act: Callable[[], Any]) -> None:
        """Do something within that step, before the weights change."""
        update, count = self.optimizer.step, iter(range(1, 10_000))

        def watched() -> None:
            if next(count) == step:
                act()
            update()

        self.optimizer.step = watched  # type: ignore[method-assign]

    def ended(self) -> bytes:
        """All that a run leaves behind, but for the seconds that it took."""
        history = {n: v for n, v in self.trainer.history.items() if n not in ("seconds", "images_per_second")}
        states = [c.state_dict() for c in self.trainer.callbacks]
        random = sa.random.random_state()
        return plain((history, self.model.state_dict(), self.optimizer.state_dict(), states, random))


def plain(tree: Any) -> bytes:
    """Bytes that are equal where the content is, whoever made the objects."""
    if isinstance(tree, dict):
        return b"{%s}" % b",".join(repr(k).encode() + plain(v) for k, v in tree.items())
    if isinstance(tree, (list, tuple)):
        return b"[%s]" % b",".join(map(plain, tree))
    return repr((tree.dtype, tree.shape)).encode() + tree.tobytes() if hasattr(tree, "dtype") else repr(tree).encode()


def denoising(run: Run, folder: Path, seed: int) -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3),
                            nn.Linear(8, 3))  # fmt: skip
    model = ae.DenoisingAutoencoder(encoder, nn.Sequential(nn.Linear(3, 16), nn.Sigmoid()), loss="bce", amount=0.2)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    run.build(model, optimizer, sa.Schedule(optim.CosineLR(optimizer, EPOCHS)), sa.EarlyStopping(patience=2))
    run.options["checkpoint_every"] = 4


def variational(run: Run, folder: Path, seed: int) -> None:
    model = ae.VariationalAutoencoder.dense((16, 8, 2), activation="tanh")
    optimizer = optim.AdamW(model.parameters(), lr=0.5, amsgrad=True)
    plateau = sa.Schedule(optim.ReduceOnPlateau(optimizer, patience=0, threshold=0.2), monitor="val_loss")
    csv = sa.SaveHistory(folder / "history.csv")
    run.build(model, optimizer, plateau, sa.Snapshots(X[:2], folder / "frames.png", every=2), csv)


def pairs_in_a_loader(run: Run, folder: Path, seed: int) -> None:
    model = nn.Sequential(nn.Linear(16, 5), nn.Dropout(0.2), nn.Tanh(), nn.Linear(5, 16))
    flat = X.reshape(42, 16)
    loader = sa.DataLoader((flat + np.float32(0.1), flat), 7, shuffle=True, seed=5, drop_last=True)
    if seed == 0:
        next(iter(loader))  # in use before: the run begins with the second order, and goes on with the third
    run.data, run.options["validation"] = loader, (flat[:5], flat[:5])
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    stop = sa.EarlyStopping(patience=1, min_delta=0.02, restore_best=True)
    run.build(model, optimizer, sa.Schedule(optim.StepLR(optimizer, 2)), stop, loss=sa.functional.mse_loss)
    run.options["checkpoint_every"] = 1


RUNS = {"denoising": denoising, "variational": variational, "pairs": pairs_in_a_loader}


def uninterrupted(name: str, folder: Path) -> bytes:
    run = Run(name, folder)
    run.fit(checkpoint=None, resume=False, checkpoint_every=None)
    return run.ended()


def signal_at(number: int) -> Callable[[], None]:
    return lambda: signal.raise_signal(number)


# --- broken off and resumed -----------------------------------------------------------------------

ENDS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: SystemExit}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("breaks", [[1], [5], [6], [18], [3, 9], [1, 1, 1, 4, 2, 8]], ids=str)
def test_a_run_broken_off_at_these_steps_ends_like_one_that_was_not(tmp_path: Path, name: str, breaks: list) -> None:
    wanted = uninterrupted(name, tmp_path / "straight")
    for i, step in enumerate(breaks):
        number = list(ENDS)[i % 2]
        run = Run(name, tmp_path / "broken", seed=i)
        run.at_step(step, signal_at(number))
        with pytest.raises(ENDS[number]):
            run.fit()
    run = Run(name, tmp_path / "broken", seed=99)
    run.fit()
    assert run.ended() == wanted


@pytest.mark.parametrize("name", RUNS)
def test_a_signal_during_validation_or_between_epochs_is_no_different(tmp_path: Path, name: str) -> None:
    wanted = uninterrupted(name, tmp_path / "straight")
    for seed in range(3):
        run = Run(name, tmp_path / "broken", seed)
        if seed == 1:
            last = run.trainer.callbacks[-1]
            last.on_epoch_end = before(last.on_epoch_end, signal_at(signal.SIGTERM))  # type: ignore[method-assign]
        else:
            run.trainer._terms = before(  # type: ignore[method-assign]
                run.trainer._terms, lambda m=run.model: None if m.training else signal.raise_signal(signal.SIGINT)
            )
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run.fit()
    run = Run(name, tmp_path / "broken", seed=99)
    run.fit()
    assert run.ended() == wanted


@needs_fork
def test_a_killed_run_ends_the_same_too(tmp_path: Path) -> None:
    steps = [1, 6, 13]
    run = script("kill", tmp_path, *steps)
    assert run.stdout.splitlines() == [f"{name} killed in step {k}: equal" for name in RUNS for k in steps], run.stderr


@needs_signals
@pytest.mark.parametrize("number, status", [(signal.SIGINT, -2), (signal.SIGTERM, 143)])
def test_a_script_ends_in_the_usual_way_and_leaves_a_checkpoint(tmp_path: Path, number: int, status: int) -> None:
    done = script("fit", "denoising", tmp_path / "broken", number, 8)
    assert done.returncode == status
    if number == signal.SIGINT:
        path = str(tmp_path / "broken" / "run.safetensors")
        told = f"training stopped after step 8 and was saved: go on with fit(checkpoint={path!r}, resume=True)"
        assert done.stderr.rstrip().endswith(f"KeyboardInterrupt: {told}")
    run = Run("denoising", tmp_path / "broken", seed=99)
    run.fit()
    assert run.ended() == uninterrupted("denoising", tmp_path / "straight")
    assert sorted(os.listdir(tmp_path / "broken")) == ["run.safetensors"]


def test_the_runs_use_what_they_are_for(tmp_path: Path) -> None:
    stopped, reduced, best = (Run(name, tmp_path / name) for name in RUNS)
    for run in (stopped, reduced, best):
        run.fit()
    assert stopped.optimizer.lr < 0.02 and reduced.optimizer.lr < 0.5 and best.optimizer.lr < 0.1
    assert len(best.trainer.history["loss"]) < EPOCHS
    assert best.trainer.callbacks[1].best_epoch < len(best.trainer.history["loss"])
    assert list(reduced.trainer.callbacks[1].frames) == ["original", "before", "epoch 2", "epoch 4"]


# --- a run that is complete, a run that is not there ----------------------------------------------


@pytest.mark.parametrize("name", RUNS)
def test_resuming_a_complete_run_returns_it(tmp_path: Path, name: str) -> None:
    run = Run(name, tmp_path / "a")
    history = run.fit()
    files = {path: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    again = Run(name, tmp_path / "a", seed=99)
    assert again.fit() == history  # with the same seconds
    assert again.ended() == run.ended()
    assert {path: path.read_bytes() for path in (tmp_path / "a").iterdir()} == files


def test_epochs_is_the_total(tmp_path: Path) -> None:
    wanted = uninterrupted("denoising", tmp_path / "straight")
    for seed, epochs in enumerate((1, 3, EPOCHS)):
        run = Run("denoising", tmp_path / "a", seed)
        assert len(run.fit(epochs=epochs)["loss"]) == epochs
    assert run.ended() == wanted
    assert len(Run("denoising", tmp_path / "a", seed=99).fit(epochs=2)["loss"]) == EPOCHS


def test_without_a_file_a_run_starts_afresh_and_without_resume_it_starts_over(tmp_path: Path) -> None:
    wanted = uninterrupted("variational", tmp_path / "straight")
    for _ in range(2):
        run = Run("variational", tmp_path / "a")
        run.fit(resume=False)
        assert run.ended() == wanted


def test_checkpoints_change_nothing_and_come_when_asked_for(tmp_path: Path) -> None:
    saved: list[int] = []
    run = Run("variational", tmp_path / "a")

    def note() -> None:
        saved.append(sa.load_checkpoint(run.path, Run("variational", tmp_path / "b").model)["step"])

    for step in range(2, EPOCHS * STEPS + 1):
        run.at_step(step, lambda: note() if run.path.exists() else saved.append(0))
    random = sa.random.random_state()
    run.fit(checkpoint_every=4)
    sa.random.set_random_state(random)
    assert saved == [0, 0, 0, 4, 4, 6, 6, 8, 8, 8, 8, 12, 12, 12, 12, 16, 16, 18, 18, 20, 20, 20, 20]
    assert sa.load_checkpoint(run.path, run.model, run.optimizer) == {"epoch": EPOCHS, "step": EPOCHS * STEPS}


# --- runs that do not belong together -------------------------------------------------------------

Y = X.copy()
Y[0, 0, 0, 0] += 1
CHANGES: dict[str, tuple[Callable[[Run], Any], str]] = {
    "data": (lambda r: setattr(r, "data", Y), "data"),
    "a shorter set": (lambda r: setattr(r, "data", X[:41]), "data"),
    "a pair": (lambda r: setattr(r, "data", (X, X)), "data"),
    "dtype": (lambda r: setattr(r, "data", X.astype(np.float64)), "data"),
    "validation": (lambda r: r.options.update(validation=X[:9]), "validation"),
    "no validation": (lambda r: (r.options.pop("validation"), r.trainer.callbacks.__delitem__(0)), "validation"),
    "seed": (lambda r: r.options.update(seed=4), "seed 4, not 3"),
    "batch size": (lambda r: r.options.update(batch_size=9), "batch_size 9, not 8"),
    "shuffle": (lambda r: r.options.update(shuffle=False), "shuffle False, not True"),
    "drop_last": (
        lambda r: setattr(r, "data", sa.DataLoader(X, 8, shuffle=True, seed=3, drop_last=True)),
        "drop_last True, not False",
    ),
    "a callback more": (lambda r: r.trainer.callbacks.append(sa.Callback()), r"callbacks \[.*'Callback'\], not \["),
    "a callback less": (lambda r: r.trainer.callbacks.pop(), r"'Snapshots'\], not .*'SaveHistory'\]"),
    "callbacks in another order": (lambda r: r.trainer.callbacks.reverse(), "nothing was loaded"),
    "another schedule": (
        lambda r: r.trainer.callbacks.__setitem__(0, sa.Schedule(optim.StepLR(r.optimizer, 2))), "nothing was loaded",
    ),
    "another model": (
        lambda r: r.build(m := ae.Autoencoder.dense((16, 2)), optim.AdamW(m.parameters()), *r.trainer.callbacks),
        "nothing was loaded",
    ),
    "another optimiser": (
        lambda r: r.build(r.model, optim.SGD(r.model.parameters()), *r.trainer.callbacks), "nothing was loaded",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_of_another_kind_is_refused_and_nothing_changes(tmp_path: Path, change: str) -> None:
    run = Run("variational", tmp_path)
    run.fit(epochs=1)
    file = run.path.read_bytes()
    other = Run("variational", tmp_path, seed=1)
    apply, message = CHANGES[change]
    apply(other)
    state = plain((other.model.state_dict(), other.optimizer.state_dict()))
    with pytest.raises(ValueError, match=message) as caught:
        other.fit()
    assert str(other.path) in str(caught.value)
    assert plain((other.model.state_dict(), other.optimizer.state_dict())) == state
    assert other.path.read_bytes() == file


def test_files_that_are_no_run_and_calls_that_name_no_file(tmp_path: Path) -> None:
    run = Run("denoising", tmp_path)
    sa.save_checkpoint(run.path, run.model, run.optimizer)
    with pytest.raises(ValueError, match="not written by Trainer.fit.*load_checkpoint"):
        run.fit()
    run.model.save_weights(run.path)
    with pytest.raises(ValueError, match=r"run\.safetensors is no checkpoint"):
        run.fit()
    run.path.write_bytes(run.path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"run\.safetensors"):
        run.fit()
    for options in ({"resume": True, "checkpoint_every": None}, {"resume": False, "checkpoint_every": 2}):
        with pytest.raises(ValueError, match=r"checkpoint='run\.safetensors'"):
            run.fit(checkpoint=None, **options)
    for every in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f"checkpoint_every={every}; expected an integer of at least 1"):
            run.fit(checkpoint_every=every)


def test_the_place_of_a_checkpoint_is_looked_at_before_training(tmp_path: Path) -> None:
    run = Run("denoising", tmp_path)
    run.at_step(1, lambda: 1 / 0)
    with pytest.raises(IsADirectoryError, match="is a folder; expected the name of a file"):
        run.fit(checkpoint=tmp_path)
    with pytest.raises(ZeroDivisionError):
        run.fit(checkpoint=tmp_path / "new" / "run")
    assert os.listdir(tmp_path) == []  # folders are made when there is something to write


# --- signals --------------------------------------------------------------------------------------


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in ENDS]


def test_handlers_are_put_back_after_a_run_an_error_and_an_interruption(tmp_path: Path) -> None:
    before, inside = handlers(), []
    run = Run("denoising", tmp_path)
    run.at_step(2, lambda: inside.append(handlers()))
    run.fit(epochs=1, resume=False)
    assert handlers() == before != inside[0]
    for act, error in ((lambda: 1 / 0, ZeroDivisionError), (signal_at(signal.SIGINT), KeyboardInterrupt)):
        run = Run("denoising", tmp_path)
        run.at_step(2, act)
        with pytest.raises(error):
            run.fit(resume=False)
        assert handlers() == before


def test_own_handlers_come_back_and_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    old = handlers()
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, mine := lambda number, frame: None)
        run = Run("denoising", tmp_path)
        run.at_step(2, signal_at(signal.SIGINT))
        assert len(run.fit()["loss"]) == EPOCHS and handlers() == [signal.SIG_IGN, mine]
    finally:
        for number, handler in zip(ENDS, old, strict=True):
            signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDS)
def test_a_second_signal_does_not_wait(tmp_path: Path, number: signal.Signals) -> None:
    run, unreached = Run("denoising", tmp_path), []

    def twice() -> None:
        signal.raise_signal(number)
        assert run.trainer.history == {}  # the first one has been noted, no more
        signal.raise_signal(number)
        unreached.append(True)

    run.at_step(2, twice)
    with pytest.raises(ENDS[number]) as caught:
        run.fit(checkpoint_every=1)
    assert not unreached and sa.load_checkpoint(run.path, run.model)["step"] == 1
    if number == signal.SIGTERM:
        assert caught.value.code == 143


def test_without_a_checkpoint_ctrl_c_finishes_the_step_and_raises(tmp_path: Path) -> None:
    run = Run("variational", tmp_path)
    run.at_step(8, signal_at(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match="stopped after step 8, and was not saved: pass checkpoint="):
        run.fit(checkpoint=None, resume=False)
    assert {entry["step"] for entry in run.optimizer.state_dict()["groups"][0]["params"]} == {8}
    assert len(run.trainer.history["loss"]) == 1


def test_training_works_in_a_thread_of_its_own(tmp_path: Path) -> None:
    run, before = Run("denoising", tmp_path / "a"), handlers()
    thread = threading.Thread(target=run.fit)
    thread.start()
    thread.join()
    assert run.ended() == uninterrupted("denoising", tmp_path / "b") and handlers() == before


# --- as a script ----------------------------------------------------------------------------------


def before(function: Callable, act: Callable[[], Any]) -> Callable:
    return lambda *args: (act(), function(*args))[1]


def script(*arguments: Any) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(Path(sa.__file__).parents[1])}
    command = [sys.executable, __file__, *(str(int(a)) if isinstance(a, int) else str(a) for a in arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def kill(name: str, folder: Path, step: int) -> bytes:
    """What is left of a run that was killed in that step and resumed."""
    if not (child := os.fork()):
        run = Run(name, folder)
        run.at_step(step, signal_at(signal.SIGKILL))
        run.fit()
        os._exit(1)  # was not killed
    if os.waitpid(child, 0)[1] != signal.SIGKILL:
        raise RuntimeError(f"{name} came to an end before step {step}")
    run = Run(name, folder)
    if run.path.exists():
        run = Run(name, folder, seed=99)
    run.fit()
    return run.ended()


def main(task: str, *arguments: str) -> None:
    if task == "fit":
        name, folder, number, step = arguments
        run = Run(name, Path(folder))
        run.at_step(int(step), signal_at(int(number)))
        run.fit()
        return
    folder, *steps = arguments
    for name in RUNS:
        wanted = uninterrupted(name, Path(folder) / name)
        for step in map(int, steps):
            equal = kill(name, Path(folder) / f"{name}{step}", step) == wanted
            print(f"{name} killed in step {step}: {'equal' if equal else 'DIFFERENT'}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])


def test_a_layer_without_weights_makes_another_run_too(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((8, 4)).astype(np.float32)

    def fit(*more: nn.Module, **options: Any) -> None:
        sa.manual_seed(0)
        model = sa.Autoencoder(nn.Sequential(nn.Linear(4, 2), *more), nn.Linear(2, 4))
        trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=1e-2))
        trainer.fit(x, batch_size=4, progress=False, checkpoint=tmp_path / "run", **options)

    fit()
    with pytest.raises(ValueError, match=r"nothing was loaded. This one has model\.encoder\.1 'Dropout', not None"):
        fit(nn.Dropout(0.5), epochs=2, resume=True)
