"""What processes that share a batch need, tried in one process; mpi_with_extras.py starts several."""

from __future__ import annotations

import io
import re
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae.autograd.reductions import batch_count
from scratchae.data import DataLoader, noise
from scratchae.distributed import World, parts, processes


def comm(rank: int, others: list[Any]) -> Any:
    """A stand-in for MPI's communicator, in which the other processes always answer the same."""

    def allgather(value: Any) -> list[Any]:
        return [*others[:rank], value, *others[rank:]]

    return SimpleNamespace(rank=rank, size=len(others) + 1, allgather=allgather)


@pytest.mark.parametrize("size", range(1, 6))
@pytest.mark.parametrize("n", [0, 1, 4, 7, 128])
def test_rows_are_cut_into_parts_of_nearly_equal_size(n: int, size: int) -> None:
    cut = [parts.rows_of(n, rank, size) for rank in range(size)]
    assert [i for part in cut for i in range(n)[part]] == list(range(n))
    assert {part.stop - part.start for part in cut} <= {n // size, n // size + 1}


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_parts_of_a_batch_are_the_batch(shuffle: bool, size: int) -> None:
    data = np.arange(50.0).reshape(25, 2)
    loaders = [DataLoader(data, 8, shuffle, seed=3) for _ in range(size + 1)]
    for rank, loader in enumerate(loaders[1:]):
        loader.part = (rank, size)
        loader.skip = 1
    loaders[0].skip = 1
    for whole, *cut in zip(*loaders, strict=True):
        np.testing.assert_array_equal(np.concatenate(cut), whole)
    assert [loaders[0].batch_length(i) for i in range(4)] == [8, 8, 8, 1]


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: sa.random.normal_like(x),
        lambda x: F.normal_like(sa.Tensor(x)).data,
        lambda x: F.dropout(x, 0.4),
        lambda x: noise.gaussian(x, 0.1, sa.generator(per_sample=True)),
        lambda x: noise.salt_and_pepper(x, 0.3, sa.generator(per_sample=True)),
        lambda x: sa.generator(per_sample=True).random(len(x)),
        lambda x: sa.generator(per_sample=True).standard_normal([*x.shape]),
        lambda x: sa.generator(per_sample=True).normal(0.5, 2.0, size=x.shape),
        lambda x: sa.generator(per_sample=True).integers(9, size=len(x)),
    ],
)
def test_noise_for_a_part_is_that_part_of_the_noise(draw: Any) -> None:
    x = np.random.default_rng(0).random((10, 3))
    sa.manual_seed(1)
    whole = [draw(x), draw(x)]
    for rank in range(3):
        rows = parts.rows_of(10, rank, 3)
        sa.manual_seed(1)
        with parts.part_of_batch(rows, 10):
            assert parts.batch_share() == (rows.stop - rows.start) / 10
            np.testing.assert_array_equal(draw(x[rows]), whole[0][rows])
        assert parts.batch_share() == 1
        np.testing.assert_array_equal(draw(x), whole[1])  # and the generator stands where it would


def test_what_is_not_drawn_per_sample_is_drawn_as_ever() -> None:
    def draws() -> list[Any]:
        g = sa.generator()
        x = np.ones((3, 2))  # as many rows as the part
        plain = [F.dropout(x, per_sample=False), F.normal_like(x, per_sample=False)]
        return [g.random((4, 2)), g.standard_normal(), g.integers(9, size=3), g.random((3, 2)), *plain]

    sa.manual_seed(1)
    wanted = draws()
    sa.manual_seed(1)
    with parts.part_of_batch(slice(0, 3), 10):
        found = draws()
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "draw, size",
    [
        (lambda g: g.random((4, 2)), r"\(4, 2\)"),
        (lambda g: g.standard_normal(), "None"),
        (lambda g: g.normal(0.0, 1.0, (3, 2)), "None"),
        (lambda g: F.dropout(np.ones((5, 2))), r"\(5, 2\)"),
        (lambda g: F.normal_like(np.ones(())), r"\(\)"),
    ],
)
def test_a_draw_per_sample_of_another_length_is_refused(draw: Any, size: str) -> None:
    draw(sa.generator(per_sample=True))  # one process has the whole batch, and takes any
    before = sa.generator().bit_generator.state
    with parts.part_of_batch(slice(0, 3), 10):
        source = sa.generator(per_sample=True)
        assert source.bit_generator is sa.generator().bit_generator
        with pytest.raises(ValueError, match=rf"has size={size}, but .* 3 samples \(of 10 in the batch\)"):
            draw(source)
    assert sa.generator().bit_generator.state == before


def test_means_of_the_batch_are_taken_over_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process has the same rows, so that the sum over processes is twice the own."""
    world = SimpleNamespace(sum=lambda a: 2 * a)
    monkeypatch.setattr(parts, "world", lambda: world)
    x = sa.tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    with parts.part_of_batch(slice(0, 3), 6):
        mean = F.batch_mean(x, 0)
        np.testing.assert_allclose(mean.data, x.data.mean(0))
        assert batch_count(3) == 6
        mean.sum().backward()
    np.testing.assert_allclose(x.grad, 1 / 3)  # 1 / 6 from each of both processes
    assert batch_count(3) == 3


def test_a_world_of_one_takes_the_formulas() -> None:
    with parts.part_of_batch(slice(0, 6), 6):
        assert parts.batch_share() == 1 and batch_count(6) == 6
        assert type(sa.generator(per_sample=True)) is np.random.Generator
        x = sa.tensor(np.arange(6.0), requires_grad=True)
        F.batch_mean(x).backward()
    np.testing.assert_allclose(x.grad, 1 / 6)


def test_alone_nothing_travels() -> None:
    world, a = World(), np.ones(3)
    assert (world.rank, world.size, world.local_rank()) == (0, 1, 0)
    assert world.sum(a) is a and world.share("x") == "x" and world.gather(2) == [2]
    world.agree({"data": 1})
    assert sa.distributed.world().size == 1


def test_those_who_differ_are_named() -> None:
    same = {"batch_size": 8, "data": "abc"}
    World(comm(0, [same, same])).agree(same)
    with pytest.raises(ValueError, match=r"process 2 of 3 differs from process 0 in batch_size: 16, not 8; data: None"):
        World(comm(0, [same, {"batch_size": 16}])).agree(same)


class Calls:
    """A stand-in for the communicator on which processes tell where they are: the others at `places`, in this order."""

    def __init__(self, *places: str):
        self.places = list(places)

    def Iallgather(self, told: np.ndarray, found: np.ndarray) -> Any:
        if not self.places:
            return SimpleNamespace(Test=lambda: False)  # they do something else
        found[:] = processes._PLACES.index(self.places.pop(0))
        found[0] = told[0]
        return SimpleNamespace(Test=lambda: True)

    def Dup(self) -> str:
        return "a new communicator"


def test_a_method_that_the_others_do_not_call_is_told_each_time() -> None:
    same = World(comm(0, [3, 3]), Calls("gather()"))
    assert same.gather(2) == [2, 3, 3] and same._lent == {}
    world = World(comm(0, [3, 3]), Calls("share()"))
    for _ in range(2):
        told = "process 0 to gather(), process 1 to share(), process 2 to share()"
        with pytest.raises(RuntimeError, match=f"all processes must come to the same place.*: {re.escape(told)}"):
            world.gather(2)


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), KeyboardInterrupt()])
def test_what_leaves_a_part_in_all_processes_goes_its_way(error: BaseException) -> None:
    alone, several = World(), World(comm(0, [1]), Calls("together()", "together()", "an exception"))
    for world in (alone, several):
        with pytest.raises(type(error)) as caught, world.together(), world.together():
            raise error
        assert caught.value is error
    assert several._calls.places == [], "the inner part asked, the outer one knows"
    assert several._comm == "a new communicator"


class Ended(Exception):
    """MPI has ended all processes."""


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The statuses with which MPI was told to end all processes."""
    statuses: list[int] = []

    def abort(status: int) -> None:
        statuses.append(status)
        raise Ended

    monkeypatch.setitem(sys.modules, "mpi4py.MPI", SimpleNamespace(COMM_WORLD=SimpleNamespace(Abort=abort)))
    monkeypatch.setattr(processes.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(processes, "_PATIENCE", 0.05)
    return statuses


@pytest.mark.parametrize(
    "error, status",
    [(ValueError("on fire"), 1), (SystemExit(7), 7), (SystemExit(), 1), (SystemExit(256), 1), (SystemExit("no"), 1)],
    ids=repr,
)
@pytest.mark.parametrize("others", [[], ["gather()"], ["the end of its script"]], ids=str)
def test_what_leaves_a_part_in_one_process_ends_all(
    error: BaseException, status: int, others: list[str], ended: list[int], monkeypatch: Any, capsys: Any
) -> None:
    world = World(comm(0, [1]), Calls("together()", *others))
    monkeypatch.setattr(processes, "_world", world)
    with pytest.raises(Ended), world.together():
        raise error
    told = capsys.readouterr().err
    assert ended == [status]
    assert told.startswith("process 0 of 2 failed and ends the others:\nTraceback") and repr(error)[:9] in told


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


class Full(io.StringIO):
    def write(self, text: str = "") -> int:
        raise OSError(28, "No space left on device")

    flush = write  # type: ignore[assignment]


@pytest.mark.parametrize("stderr", [lambda: None, closed, Full, io.StringIO])
@pytest.mark.parametrize("stdout", [lambda: None, closed, Full, io.StringIO])
def test_all_are_ended_where_nothing_can_be_written(stdout: Any, stderr: Any, ended: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(processes, "_world", World(comm(0, [1])))
    monkeypatch.setattr(sys, "stdout", stdout())
    monkeypatch.setattr(sys, "stderr", stderr())
    with pytest.raises(Ended):
        processes._end_all(ValueError, ValueError("on fire"), None)
    assert ended == [1]
    if stderr is io.StringIO:
        assert sys.stderr.getvalue().endswith("ValueError: on fire\n")  # type: ignore[union-attr]


def test_gradients_are_given_in_as_few_arrays_as_they_lie_in() -> None:
    model = sa.nn.Sequential(sa.nn.Linear(3, 4), sa.nn.Linear(4, 2))
    optimizer = sa.optim.Adam(model.parameters())
    optimizer.zero_grad()
    model(sa.Tensor(np.ones((2, 3), np.float32))).sum().backward()
    (flat,) = optimizer.gradients()
    flat *= 2
    again = [p.grad.copy() for p in model.parameters()]
    assert sum(map(np.size, again)) == flat.size
    for p in model.parameters():
        p.grad = p.grad.copy()  # no longer at home in the buffer
    for g, wanted in zip(optimizer.gradients(), again, strict=True):
        np.testing.assert_array_equal(g, wanted)
