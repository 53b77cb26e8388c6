"""What processes that share a batch need, tried in one process; mpi_with_extras.py starts several."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae.data import DataLoader, noise
from scratchae.distributed import World


def comm(rank: int, others: list[Any]) -> Any:
    """A stand-in for MPI's communicator, in which the other processes always answer the same."""

    def allgather(value: Any) -> list[Any]:
        return [*others[:rank], value, *others[rank:]]

    return SimpleNamespace(rank=rank, size=len(others) + 1, allgather=allgather)


@pytest.mark.parametrize("size", range(1, 6))
@pytest.mark.parametrize("n", [0, 1, 4, 7, 128])
def test_rows_are_cut_into_parts_of_nearly_equal_size(n: int, size: int) -> None:
    parts = [sa.random.rows_of(n, rank, size) for rank in range(size)]
    assert [i for part in parts for i in range(n)[part]] == list(range(n))
    assert {part.stop - part.start for part in parts} <= {n // size, n // size + 1}


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_parts_of_a_batch_are_the_batch(shuffle: bool, size: int) -> None:
    data = np.arange(50.0).reshape(25, 2)
    loaders = [DataLoader(data, 8, shuffle, seed=3) for _ in range(size + 1)]
    for rank, loader in enumerate(loaders[1:]):
        loader.part = (rank, size)
        loader.skip = 1
    loaders[0].skip = 1
    for whole, *parts in zip(*loaders, strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert [loaders[0].batch_length(i) for i in range(4)] == [8, 8, 8, 1]


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: sa.random.normal_like(x),
        lambda x: F.dropout(x, 0.4),
        lambda x: noise.gaussian(x, 0.1, sa.generator()),
        lambda x: noise.salt_and_pepper(x, 0.3, sa.generator()),
        lambda x: sa.generator().random(len(x)),
        lambda x: sa.generator().standard_normal([*x.shape]),
    ],
)
def test_noise_for_a_part_is_that_part_of_the_noise(draw: Any) -> None:
    x = np.random.default_rng(0).random((10, 3))
    sa.manual_seed(1)
    whole = [draw(x), draw(x)]
    for rank in range(3):
        rows = sa.random.rows_of(10, rank, 3)
        sa.manual_seed(1)
        with sa.random.part_of_batch(rows, 10):
            assert sa.random.batch_share() == (rows.stop - rows.start) / 10
            np.testing.assert_array_equal(draw(x[rows]), whole[0][rows])
        assert sa.random.batch_share() == 1
        np.testing.assert_array_equal(draw(x), whole[1])  # and the generator stands where it would


def test_what_is_not_drawn_per_sample_is_drawn_as_ever() -> None:
    sa.manual_seed(1)
    wanted = [sa.generator().random((4, 2)), sa.generator().standard_normal(), sa.generator().integers(9, size=3)]
    sa.manual_seed(1)
    with sa.random.part_of_batch(slice(0, 3), 10):
        found = [sa.generator().random((4, 2)), sa.generator().standard_normal(), sa.generator().integers(9, size=3)]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


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
