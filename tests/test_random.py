"""Random numbers in forked processes, and states of the generators that come from elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import random

# --- forked processes -----------------------------------------------------------------------------

DRAW = """
import multiprocessing, os, threading, numpy as np, scratchae as sa
from scratchae import random

def forked(draw=lambda: sa.generator().random()):
    "What `draw` gives in a forked process."
    there, here = os.pipe()
    if os.fork() == 0:
        os.write(here, repr(draw()).encode())
        os._exit(0)
    os.close(here)
    os.wait()
    return eval(os.read(there, 10_000))
"""


def script(text: str) -> Any:
    """What a script of its own prints last; pytest's process has threads, which do not go well with a fork."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRAW + textwrap.dedent(text)],
        env={**os.environ, "PYTHONPATH": str(Path(sa.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    return eval(run.stdout)


def test_children_differ_and_are_the_same_each_time() -> None:
    text = """
    def run(seed):
        sa.manual_seed(seed)
        first = sa.generator().random()
        children = [forked() for _ in range(3)]
        return children, first, sa.generator().random()
    print([run(0), run(0), run(1)])
    """
    runs = script(text)
    assert runs[0] == runs[1] != runs[2] and script(text) == runs
    for seed, (children, *own) in zip((0, 0, 1), runs, strict=True):
        assert own == np.random.default_rng(seed).random(2).tolist(), "the parent's numbers are what they were"
        assert len({*children, *own}) == 5


def test_grandchildren_and_children_of_later_forks_differ() -> None:
    drawn = script(
        """
        def family(depth):
            children = [forked(lambda: family(depth - 1)) for _ in range(2)] if depth else []
            return [sa.generator().random(), *sum(children, [])]
        sa.manual_seed(3)
        print(family(3))
        """
    )
    assert len(drawn) == len(set(drawn)) == 15


def test_without_a_seed_children_draw_anew() -> None:
    text = "sa.generator().random(); print([forked(), forked(), sa.generator().random()])"
    assert len({*script(text), *script(text)}) == 6


def test_a_pool_of_workers_draws_different_numbers() -> None:
    drawn = script(
        """
        def draw(barrier):
            barrier.wait()  # so that each worker takes one task
            return sa.generator().random(), random.random_seed(), float(random.normal_like(np.zeros(1))[0])
        sa.manual_seed(0)
        sa.generator().random()
        with multiprocessing.get_context("fork").Manager() as manager:
            barrier = manager.Barrier(4)
            with multiprocessing.get_context("fork").Pool(4) as pool:
                print(pool.map(draw, [barrier] * 4, chunksize=1))
        """
    )
    assert len({number for row in drawn for number in row}) == 12


def test_a_generator_that_somebody_keeps_draws_the_childs_numbers() -> None:
    drawn = script(
        """
        sa.manual_seed(0)
        kept = sa.generator()
        def draw(): return [kept.random(), kept is sa.generator()]
        print([forked(draw), forked(draw), draw()])
        """
    )
    assert len({number for number, _ in drawn}) == 3 and all(same for _, same in drawn)


def test_a_thread_that_draws_at_the_fork_does_not_stop_the_child() -> None:
    locked, later = script(
        """
        sa.manual_seed(0)
        lock = sa.generator().bit_generator.lock
        held, done = threading.Event(), threading.Event()
        def hold():
            with lock:
                held.set()
                done.wait()
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        locked = forked()
        done.set()
        thread.join()
        sa.manual_seed(0)
        sa.generator()
        print([locked, forked()])
        """
    )
    assert locked == later


def test_contexts_that_hold_at_the_fork_hold_in_the_child() -> None:
    fixed, part, outer = script(
        """
        sa.manual_seed(0)
        numbers = lambda: sa.generator().random(4).tolist()
        with random.fixed_seed(7):
            fixed = [forked(numbers), forked(numbers), numbers()]
            def around():
                inside = numbers()
                with random.fixed_seed(1):
                    seeded = numbers()
                return [inside, seeded]
            def after():
                random._local.randomness = random._local.randomness.around  # as `fixed_seed` does when it ends
                return numbers()
            outer = [forked(around), forked(around), [forked(after), forked(after)]]
        with random.part_of_batch(slice(2, 6), 8):
            part = [forked(lambda: [numbers(), random.batch_share()]), numbers()]
        print([fixed, part, outer])
        """
    )
    assert fixed[2] == np.random.default_rng(7).random(4).tolist()
    assert len({tuple(numbers) for numbers in fixed}) == 3
    assert part[0][1] == 0.5 and part[1] == np.random.default_rng(0).random(8)[2:6].tolist() != part[0][0]
    one, two, (three, four) = outer
    assert one[1] == two[1] == np.random.default_rng(1).random(4).tolist(), "a seed set in the child is that seed"
    assert one[0] != two[0] and three != four


def test_a_state_taken_in_a_child_and_one_taken_before_the_fork_can_be_set() -> None:
    ahead, again, parents, workers, seeded = script(
        """
        sa.manual_seed(0)
        before = random.random_state()
        number = lambda: sa.generator().random()
        def child():
            state = random.random_state()
            drawn = number()
            random.set_random_state(state)
            again = number()
            random.set_random_state(before)
            return [drawn, again, number()]
        drawn = forked(child)
        def seed(): sa.manual_seed(0); return number()
        state = random.random_state()
        workers = [forked(), forked()]
        random.set_random_state(state)
        print([*drawn, [workers, [forked(), forked()]], forked(seed)])
        """
    )
    assert ahead == again != parents == seeded == np.random.default_rng(0).random()
    assert workers[0] == workers[1], "a resumed run goes on counting where it was"


# --- seeds and states -----------------------------------------------------------------------------

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
    with random.part_of_batch(slice(0, 2), 4):
        first = sa.generator(device).random((2,))
        random.set_random_state(state)
        assert random.random_state()[name] == state[name]
        again = sa.generator(device).random((2,))
    assert (first == again).all()
