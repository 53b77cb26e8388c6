"""Seeds that are none, and states of the generators that come from elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import random
from scratchae.distributed import parts


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_normal_numbers_have_the_kind_shape_and_dtype_of_what_they_are_like(dtype: Any) -> None:
    drawn = np.float64 if dtype == np.float64 else np.float32
    wanted = np.random.default_rng(0).standard_normal((3, 2), dtype=drawn).astype(dtype)
    x = np.ones((3, 2), dtype)
    for like in (x, sa.Tensor(x, requires_grad=True)):
        sa.manual_seed(0)
        found = F.normal_like(like)
        assert type(found) is type(like) and found.dtype == dtype
        np.testing.assert_array_equal(found.numpy() if isinstance(found, sa.Tensor) else found, wanted)
        assert not getattr(found, "requires_grad", False)


def test_normal_numbers_like_integers_are_refused() -> None:
    for like in (np.ones(3, int), sa.Tensor(np.ones(3, int))):
        with pytest.raises(TypeError, match=r"normal_like: x is int64; convert it with .astype\('float32'\)"):
            F.normal_like(like)


NO_SEEDS = [
    -1,
    0.0,
    1.5,
    float("nan"),
    float("inf"),
    True,
    None,
    "1",
    [1],
    np.array(1),
    np.array([1, 2]),
    10**400,
    2**63,
]


@pytest.mark.parametrize("seed", NO_SEEDS, ids=lambda seed: type(seed).__name__ + str(seed)[:5])
def test_what_is_no_seed_is_refused_and_nothing_changes(seed: Any) -> None:
    before = random.random_state()
    with pytest.raises(ValueError, match=r"seed=.*; expected an integer of at (least 0|most 9223372036854775807)"):
        sa.manual_seed(seed)
    with pytest.raises(ValueError, match="seed="), random.fixed_seed(seed):
        pass
    assert random.random_state() == before


@pytest.mark.parametrize("seed", [0, 2**63 - 1, np.int32(5), np.uint64(7)])
def test_seeds_are_integers_of_any_kind(seed: Any) -> None:
    sa.manual_seed(seed)
    assert random.random_state()["seed"] == int(seed)
    assert sa.generator().random() == np.random.default_rng(int(seed)).random()


def changed(*path: str, to: Any) -> Any:
    """A good state, but for one entry."""
    sa.manual_seed(5)
    state = random.random_state()
    inner = state
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to
    return state


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in changed("seed", to=1).items() if key != name}


BAD = {
    "nothing": lambda: None,
    "empty": dict,
    "list": lambda: [1],
    "string": lambda: "state",
    "no seed": lambda: without("seed"),
    "no place": lambda: without("cpu"),
    **{f"seed {s!r}": lambda s=s: changed("seed", to=s) for s in (-1, 1.0, "1", True, [1], float("nan"))},
    **{f"forks {n!r}": lambda n=n: changed("forks", to=n) for n in (-1, 1.0, "1", True, None)},
    **{f"cpu {p!r}": lambda p=p: changed("cpu", to=p) for p in (None, {}, [], "PCG64", 3)},
    "another generator": lambda: changed("cpu", to=np.random.MT19937(0).state),
    "another name": lambda: changed("cpu", "bit_generator", to="MT19937"),
    "another entry": lambda: changed("cpu", "more", to=1),
    "a place below 0": lambda: changed("cpu", "state", "state", to=-1),
    "a place too far": lambda: changed("cpu", "state", "state", to=2**128),
    "half a place": lambda: changed("cpu", "state", "state", to=0.5),
    "a place in words": lambda: changed("cpu", "state", "inc", to="three"),
    "an array of places": lambda: changed("cpu", "state", "inc", to=np.arange(3)),
    "half a number left over": lambda: changed("cpu", "has_uint32", to=0.5),
    "too much left over": lambda: changed("cpu", "uinteger", to=2**40),
    "unknown": lambda: changed("tpu", to=[1, 2]),
    "a GPU without a number": lambda: changed("gpu:", to=[1, 2]),
    "a GPU below 0": lambda: changed("gpu:-1", to=[1, 2]),
    **{
        f"gpu {p!r}": lambda p=p: changed("gpu:0", to=p)
        for p in (None, 3, [1], [1, -1], [1, 2**64], ["1", 2], [1.0, 2])
    },
}


@pytest.mark.parametrize("state", BAD.values(), ids=BAD)
def test_what_is_no_state_is_refused_and_nothing_changes(state: Any) -> None:
    state = state()
    sa.manual_seed(1)
    before = random.random_state()
    for function in (random.check_random_state, random.set_random_state):
        with pytest.raises(ValueError, match="the random state (is|has) .*; expected "):
            function(state)
    assert random.random_state() == before


def test_states_of_before_and_of_gpus_that_are_not_here_are_taken() -> None:
    sa.manual_seed(4)
    wanted = sa.generator().random(3)
    sa.manual_seed(4)
    state = random.random_state()
    older = {"seed": 4, "cpu": state["cpu"]}
    for taken in (state, older, {**older, "gpu:0": [0, 2**64 - 1], "gpu:12345678901234567890": [1, 2]}):
        sa.manual_seed(9)
        random.check_random_state(taken)
        random.set_random_state(taken)
        assert random.random_state() == {**older, "forks": 0}
        np.testing.assert_array_equal(sa.generator().random(3), wanted)


def test_the_state_of_a_part_is_that_of_the_whole(device: str) -> None:
    sa.manual_seed(4)
    name = "cpu" if device == "cpu" else "gpu:0"
    sa.generator(device).random((3,))
    state = random.random_state()
    with parts.part_of_batch(slice(0, 2), 4):
        first = sa.generator(device, per_sample=True).random((2,))
        random.set_random_state(state)
        assert random.random_state()[name] == state[name]
        again = sa.generator(device, per_sample=True).random((2,))
    assert (first == again).all()
