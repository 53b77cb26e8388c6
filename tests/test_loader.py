"""Batches, noise and toy sets."""

import mmap
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchae.data import (
    DataLoader,
    helix,
    noise,
    tilted_gaussian,
)
from scratchae.random import manual_seed

# --- the loader -----------------------------------------------------------------------------------


def test_batches_in_order_are_views_that_cover_everything():
    x = np.arange(20).reshape(10, 2)
    loader = DataLoader(x, 4)
    batches = list(loader)
    assert len(loader) == 3 and [len(b) for b in batches] == [4, 4, 2]
    assert np.array_equal(np.concatenate(batches), x) and all(np.shares_memory(b, x) for b in batches)
    assert (loader.batch_size, loader.n_samples, loader.epoch) == (4, 10, 1)


@pytest.mark.parametrize(("n", "batch_size", "kept", "full"), [(10, 4, 3, 2), (8, 4, 2, 2), (3, 4, 1, 0)])
def test_drop_last(n, batch_size, kept, full):
    for drop_last, expected in ((False, kept), (True, full)):
        loader = DataLoader(np.arange(n), batch_size, drop_last=drop_last)
        assert len(loader) == len(list(loader)) == expected
    assert all(len(b) == batch_size for b in DataLoader(np.arange(n), batch_size, drop_last=True))


def test_shuffled_pairs_stay_together():
    x = np.arange(100, dtype=np.float32).reshape(100, 1)
    seen = [(a, b) for a, b in DataLoader((x, np.arange(100)), 7, shuffle=True, seed=1)]
    rows = np.concatenate([b for _, b in seen])
    assert np.array_equal(np.concatenate([a for a, _ in seen])[:, 0], rows)
    assert sorted(rows) == list(range(100)) and not np.array_equal(rows, np.arange(100))
    assert seen[0][0].dtype == np.float32 and isinstance(next(iter(DataLoader([x], 7))), tuple)


def test_the_order_follows_from_seed_and_epoch_alone():
    def order(loader):
        return np.concatenate(list(loader)).tolist()

    first, second = (DataLoader(np.arange(50), 8, shuffle=True, seed=3) for _ in range(2))
    epochs = [order(first) for _ in range(3)]
    assert epochs[0] != epochs[1] and first.epoch == 3
    assert epochs[0] == np.random.default_rng([3, 0]).permutation(50).tolist()
    second.epoch = 2
    assert order(second) == epochs[2]
    assert order(DataLoader(np.arange(50), 8, shuffle=True, seed=4)) != epochs[0]
    half = iter(first)
    next(half)
    assert first.epoch == 4 and order(first) == np.random.default_rng([3, 4]).permutation(50).tolist()


def test_without_a_seed_the_order_follows_manual_seed():
    orders = []
    for seed in (5, 5, 6):
        manual_seed(seed)
        orders.append(np.concatenate(list(DataLoader(np.arange(50), 8, shuffle=True))).tolist())
    assert orders[0] == orders[1] != orders[2]


def test_memory_map(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(40).reshape(20, 2))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    for shuffle in (False, True):
        batches = list(DataLoader(x, 6, shuffle=shuffle, seed=0))
        assert sorted(np.concatenate(batches)[:, 0]) == list(range(0, 40, 2))
        assert {type(b) for b in batches} == {np.ndarray}
        assert all(np.shares_memory(b, x) != shuffle for b in batches)


@pytest.mark.parametrize(
    ("arrays", "options", "error", "message"),
    [
        (np.zeros((0, 3)), {}, ValueError, r"empty data set of shape \(0, 3\)"),
        (np.zeros(()), {}, ValueError, "0-dimensional"),
        ((), {}, ValueError, "no arrays"),
        ((np.zeros(3), np.zeros(4), np.zeros(3)), {}, ValueError, r"lengths \[3, 4, 3\]"),
        ([1.0, 2.0], {}, TypeError, r"the data is a float; expected.*an array of them.*np.asarray"),
        ("abc", {}, TypeError, "the data is a str"),
        (np.zeros(3), {"batch_size": 0}, ValueError, "batch_size=0.*at least 1"),
        (np.zeros(3), {"batch_size": -2}, ValueError, "batch_size=-2.*at least 1"),
        (np.zeros(3), {"batch_size": 2.0}, TypeError, "batch_size=2.0.*integer"),
        (np.zeros(3), {"batch_size": True}, TypeError, "batch_size=True.*integer"),
        (np.zeros(3), {"seed": -1}, ValueError, "seed=-1.*at least 0"),
    ],
)
def test_loader_errors(arrays, options, error, message):
    with pytest.raises(error, match=message):
        DataLoader(arrays, **{"batch_size": 2, **options})


# --- noise ----------------------------------------------------------------------------------------

KINDS = [noise.gaussian, noise.masking, noise.salt_and_pepper]


@pytest.mark.parametrize("corrupt", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_keeps_dtype_shape_and_input(corrupt, dtype):
    x = np.full((4, 1, 28, 28), 0.5, dtype)
    noisy = corrupt(x, 0.3, np.random.default_rng(0))
    assert noisy.dtype == dtype and noisy.shape == x.shape and not np.shares_memory(noisy, x)
    assert np.all(x == 0.5) and noisy.min() >= 0 and noisy.max() <= 1
    assert np.array_equal(noisy, corrupt(x, 0.3, np.random.default_rng(0)))
    assert not np.array_equal(noisy, corrupt(x, 0.3, np.random.default_rng(1)))
    assert np.array_equal(corrupt(x, 0, np.random.default_rng(0)), x)


def test_noise_statistics():
    x, rng = np.full(100_000, 0.5, np.float32), np.random.default_rng(0)
    rough = noise.gaussian(x, 0.1, rng)  # clipping at five standard deviations hardly matters
    assert rough.mean() == pytest.approx(0.5, abs=2e-3) and rough.std() == pytest.approx(0.1, abs=2e-3)
    masked = noise.masking(x, 0.3, rng)
    assert set(masked.tolist()) == {0.0, 0.5} and (masked == 0).mean() == pytest.approx(0.3, abs=0.01)
    speckled = noise.salt_and_pepper(x, 0.3, rng)
    shares = [(speckled == value).mean() for value in (0, 0.5, 1)]
    assert shares == pytest.approx([0.15, 0.7, 0.15], abs=0.01) and sum(shares) == 1
    assert not noise.masking(x, 1, rng).any()
    assert set(noise.salt_and_pepper(x, 1, rng).tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("corrupt", KINDS)
@pytest.mark.parametrize("amount", [-0.1, float("nan"), float("inf"), "much", None])
def test_noise_refuses_an_amount_out_of_range(corrupt, amount):
    with pytest.raises(ValueError, match=f"{corrupt.__name__} noise got amount=.*expected a"):
        corrupt(np.zeros(3, np.float32), amount, np.random.default_rng(0))


def test_only_gaussian_noise_may_exceed_one():
    x, rng = np.full(9, 0.5, np.float32), np.random.default_rng(0)
    assert noise.gaussian(x, 2.0, rng).std() > 0.2
    for corrupt in KINDS[1:]:
        with pytest.raises(ValueError, match=r"amount=2.0; expected a number in \[0, 1\]"):
            corrupt(x, 2.0, rng)
    with pytest.raises(TypeError, match="got int64; expected an array of float32 or float64: use .astype"):
        noise.masking(np.zeros(3, np.int64), 0.1, rng)


# --- toy sets -------------------------------------------------------------------------------------


def test_helix_lies_on_its_curve():
    points, t = helix(500, turns=2.0, seed=1)
    assert points.shape == (500, 3) and t.shape == (500,) and points.dtype == t.dtype == np.float32
    curve = np.stack([np.cos(t), np.sin(t), t / (2 * np.pi) - 1], axis=1)
    assert np.abs(points - curve).max() < 1e-5 and np.abs(points).max() <= 1 + 1e-6
    assert 0 <= t.min() < 0.2 and 4 * np.pi - 0.2 < t.max() <= 4 * np.pi
    assert np.array_equal(points, helix(500, turns=2.0, seed=1)[0])
    assert not np.array_equal(points, helix(500, turns=2.0, seed=2)[0])
    off = helix(5000, turns=2.0, noise=0.1, seed=1)[0] - helix(5000, turns=2.0, seed=1)[0]
    assert off.std() == pytest.approx(0.1, abs=0.005)


def test_tilted_gaussian_has_the_documented_covariance():
    points, u = tilted_gaussian(50_000, noise=0.1, seed=0)
    assert points.shape == (50_000, 3) and points.dtype == u.dtype == np.float32
    axes = np.array([[2, 1, 2], [-2, 2, 1], [-1, -2, 2]]) / 3
    assert np.allclose(axes @ axes.T, np.eye(3)) and np.linalg.det(axes) == pytest.approx(1)
    expected = axes.T @ np.diag([1, 0.25, 0.01]) @ axes
    assert np.abs(np.cov(points.T) - expected).max() < 0.02
    assert np.abs(points @ axes[0] - u).max() < 1e-5
    flat = tilted_gaussian(100, noise=0, seed=0)[0]
    assert np.abs(flat @ axes[2]).max() < 1e-5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: helix(0), r"helix\(n=0\): expected a whole number of points, at least 1"),
        (lambda: helix(2.5), r"helix\(n=2.5\)"),
        (lambda: helix(5, turns=0), r"turns=0\): expected a finite number above 0"),
        (lambda: tilted_gaussian(5, noise=-1), r"tilted_gaussian\(noise=-1\): expected a finite"),
        (lambda: helix(5, noise=float("nan")), r"noise=nan"),
    ],
)
def test_toy_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("value", [np.nan, np.inf, -1, True, "3", None, 10**400, [3], np.array([3, 4])], ids=repr)
def test_toys_refuse_what_is_no_number(value) -> None:
    for toy, option in ((helix, "n"), (helix, "turns"), (helix, "noise"), (helix, "seed"), (tilted_gaussian, "n"),
                        (tilted_gaussian, "noise"), (tilted_gaussian, "seed")):  # fmt: skip
        with pytest.raises(ValueError, match=rf"{toy.__name__}\({option}="):
            toy(**{option: value})
    with pytest.raises(ValueError, match=r"turns=1e\+308\): expected a finite number"):  # its angles would be infinite
        helix(turns=1e308)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaussian_noise_takes_what_rounding_pushed_out_of_range(rng, dtype) -> None:
    eps = np.finfo(dtype).eps
    x = np.array([-1e-17, -2 * eps, 0.5, 1 + eps, 1 + 4 * eps], dtype)
    np.testing.assert_array_equal(noise.gaussian(x, 0.0, rng), np.array([0, 0, 0.5, 1, 1], dtype))
    for beyond in (-5 * eps, 1 + 8 * eps):
        x[0] = beyond
        with pytest.raises(ValueError, match=re.escape(f"{x[0]!s}")) as error:  # the digits that matter
            noise.gaussian(x, 0.1, rng)
        assert "expected images in [0, 1]: scale them, or pass clip=False" in str(error.value)
        assert noise.gaussian(x, 0.0, rng, clip=False)[0] == x[0]


@pytest.mark.parametrize("clip", [1, 0, None, "no", np.nan], ids=repr)
def test_clip_is_true_or_false(rng, clip) -> None:
    with pytest.raises(ValueError, match="clip=.*; expected True or False"):
        noise.gaussian(np.zeros(3), 0.1, rng, clip)


@pytest.mark.parametrize("corrupt", [noise.gaussian, noise.masking, noise.salt_and_pepper])
@pytest.mark.parametrize("x", [[0.5], None, np.ma.masked_array([0.5]), np.zeros(3, complex), np.zeros(3, ">f4")])
def test_noise_takes_plain_arrays_of_floats_alone(rng, corrupt, x) -> None:
    with pytest.raises(TypeError, match=f"{corrupt.__name__} noise got .*; expected an array of"):
        corrupt(x, 0.1, rng)


def test_a_place_is_for_one_iteration_and_leaves_others_alone() -> None:
    loader = DataLoader(np.arange(10), batch_size=4)
    batches = loader.placed(0, 1, (1, 2))
    assert [batch.tolist() for batch in loader] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [batch.tolist() for batch in batches] == [[6, 7], [9]]
    assert (loader.part, loader.device, loader.skip) == ((0, 1), None, 0)
    assert list(loader.placed(0, 3)) == []


@pytest.mark.parametrize("generator", [False, True])
def test_places_reach_loaders_with_an_iteration_of_their_own(generator: bool) -> None:
    class Doubled(DataLoader):
        def __iter__(self):
            batches = super().__iter__()
            return map(lambda batch: 2 * batch, batches)

    class DoubledLater(DataLoader):
        def __iter__(self):
            for batch in super().__iter__():
                yield 2 * batch

    loader = (DoubledLater if generator else Doubled)(np.arange(6), batch_size=2)
    assert [batch.tolist() for batch in loader.placed(0, 1, (0, 2))] == [[4], [8]]


def test_two_iterations_over_one_loader_do_not_disturb_each_other() -> None:
    loader, alone = (DataLoader(np.arange(12), 3, shuffle=True, seed=1) for _ in range(2))
    wanted = [[batch.tolist() for batch in alone] for _ in range(2)]
    first = loader.placed(0)
    next(first)
    for batch, again in zip(loader.placed(1), wanted[1], strict=True):
        assert batch.tolist() == again
    assert [batch.tolist() for batch in first] == wanted[0][1:]


def test_a_file_of_the_other_byte_order_gives_native_batches(tmp_path) -> None:
    np.save(tmp_path / "big.npy", np.arange(6, dtype=">f4"))
    for array in (np.load(tmp_path / "big.npy", mmap_mode="r"), np.arange(6, dtype=">f4")):
        for shuffle in (False, True):
            batches = list(DataLoader(array, 4, shuffle, seed=0))
            assert all(b.dtype == np.float32 and b.dtype.isnative and type(b) is np.ndarray for b in batches)
            assert sorted(np.concatenate(batches)) == [0, 1, 2, 3, 4, 5]


def test_a_list_of_samples_is_told_from_several_arrays() -> None:
    with pytest.raises(ValueError, match=r"a list of 3 samples becomes one array by np.stack"):
        DataLoader([np.zeros(3), np.zeros(4), np.zeros(3)], 2)


@pytest.mark.parametrize("kind", ["copy on write", "anonymous", "private memmap"])
def test_the_pages_of_a_private_map_are_never_dropped(kind: str, tmp_path: Path) -> None:
    rows = 5000
    (tmp_path / "rows").write_bytes(bytes(4 * rows * 16))
    with open(tmp_path / "rows", "r+b") as file:
        if kind == "copy on write":
            memory: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        elif kind == "anonymous":
            memory = mmap.mmap(-1, 4 * rows * 16, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        else:
            memory = np.memmap(tmp_path / "rows", np.float32, "c", shape=(rows, 16))
        a = np.ndarray((rows, 16), np.float32, buffer=memory)
        a[...] = 1
        assert sum(float(batch.sum()) for batch in DataLoader(a, 1)) == a.size
        assert a.sum() == a.size
