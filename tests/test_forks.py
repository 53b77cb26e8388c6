"""Processes forked while training runs: they have the handlers of the script, and random numbers of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from platforms import needs_fork

import scratchae as sa

pytestmark = needs_fork

START = """
import multiprocessing as mp, os, signal, threading, time, numpy as np, scratchae as sa
from scratchae import random
from scratchae.distributed import parts
from scratchae.files.interrupts import HELD, HeldSignals

signal.signal(signal.SIGINT, signal.default_int_handler)

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


def script(text: str) -> list[str]:
    """The lines that a script of its own prints; pytest's process has threads, which do not go well with a fork."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", START + textwrap.dedent(text)],
        env={**os.environ, "PYTHONPATH": str(Path(sa.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


# --- signals --------------------------------------------------------------------------------------


def test_workers_forked_by_a_callback_can_be_terminated() -> None:
    lines = script(
        """
        class Callback(sa.Callback):
            def on_epoch_end(self, trainer, row):
                act()

        def act():
            context = mp.get_context("fork")
            child = context.Process(target=time.sleep, args=(60,))
            child.start()
            child.terminate()
            child.join()
            print(child.exitcode)
            with context.Pool(2) as pool:
                print(pool.map(abs, [-1, 2]))
            with context.Pool(2) as pool:  # left at once, and while its workers are busy
                pool.map_async(time.sleep, [60, 60])
            print("left", [c.exitcode for c in mp.active_children()])

        model = sa.Autoencoder.dense((6, 2))
        trainer = sa.Trainer(model, sa.optim.Adam(model.parameters()), [Callback()])
        trainer.fit(np.ones((8, 6), np.float32) / 2, progress=False)
        """
    )
    assert lines == [f"-{int(signal.SIGTERM)}", "[1, 2]", "left []"]


def test_a_child_has_the_handlers_from_before_and_nothing_pending() -> None:
    lines = script(
        """
        def report(*signals):
            if not os.fork():
                if not os.fork():
                    own = [signal.getsignal(n) for n in HELD] == [signal.default_int_handler, mine]
                    print(own, [s.pending for s in signals], signal.pthread_sigmask(signal.SIG_BLOCK, ()), flush=True)
                    os._exit(0)
                os._exit(os.wait()[1])
            assert os.wait()[1] == 0

        def mine(number, frame):
            print("mine", flush=True)

        signal.signal(signal.SIGTERM, mine)
        with HeldSignals() as outer:
            with HeldSignals() as inner:
                signal.raise_signal(signal.SIGTERM)
                report(outer, inner)
                thread = threading.Thread(target=report, args=(outer, inner))
                thread.start()
                thread.join()
                print(inner.pending == signal.SIGTERM, signal.pthread_sigmask(signal.SIG_BLOCK, ()), flush=True)
        """
    )
    assert lines == ["True [None, None] set()"] * 2 + ["True set()", "mine"]


def test_a_block_that_is_left_in_the_child_as_well_is_the_parents_alone() -> None:
    lines = script(
        """
        try:
            with HeldSignals():
                child = os.fork()
                if child:
                    os.wait()
                signal.raise_signal(signal.SIGINT)
                print("parent goes on", flush=True)
        except KeyboardInterrupt:
            print("parent ends" if child else "child ends", flush=True)
            if child == 0:
                os._exit(0)
        """
    )
    assert lines == ["child ends", "parent goes on", "parent ends"]


def test_a_signal_that_comes_with_the_fork_is_not_lost() -> None:
    lines = script(
        """
        ended = []
        with HeldSignals():
            for _ in range(100):
                child = os.fork()
                if child == 0:
                    time.sleep(60)
                    os._exit(0)
                os.kill(child, signal.SIGTERM)
                ended.append(os.waitpid(child, 0)[1])
        print(set(ended) == {signal.SIGTERM}, len(ended))
        """
    )
    assert lines == ["True 100"]


# --- random numbers -------------------------------------------------------------------------------


def drawn_by(text: str) -> Any:
    """The numbers that a script prints."""
    (line,) = script(text)
    return eval(line)


def test_children_differ_and_are_the_same_each_time() -> None:
    text = """
    def run(seed):
        sa.manual_seed(seed)
        first = sa.generator().random()
        children = [forked() for _ in range(3)]
        return children, first, sa.generator().random()
    print([run(0), run(0), run(1)])
    """
    runs = drawn_by(text)
    assert runs[0] == runs[1] != runs[2] and drawn_by(text) == runs
    for seed, (children, *own) in zip((0, 0, 1), runs, strict=True):
        assert own == np.random.default_rng(seed).random(2).tolist(), "the parent's numbers are what they were"
        assert len({*children, *own}) == 5


def test_grandchildren_and_children_of_later_forks_differ() -> None:
    drawn = drawn_by(
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
    assert len({*drawn_by(text), *drawn_by(text)}) == 6


def test_a_pool_of_workers_draws_different_numbers() -> None:
    drawn = drawn_by(
        """
        def draw(barrier):
            barrier.wait()  # so that each worker takes one task
            return sa.generator().random(), random.random_seed(), float(random.normal_like(np.zeros(1))[0])
        sa.manual_seed(0)
        sa.generator().random()
        with mp.get_context("fork").Manager() as manager:
            barrier = manager.Barrier(4)
            with mp.get_context("fork").Pool(4) as pool:
                print(pool.map(draw, [barrier] * 4, chunksize=1))
        """
    )
    assert len({number for row in drawn for number in row}) == 12


def test_a_generator_that_somebody_keeps_draws_the_childs_numbers() -> None:
    drawn = drawn_by(
        """
        sa.manual_seed(0)
        kept = sa.generator()
        def draw(): return [kept.random(), kept is sa.generator()]
        print([forked(draw), forked(draw), draw()])
        """
    )
    assert len({number for number, _ in drawn}) == 3 and all(same for _, same in drawn)


def test_a_thread_that_draws_at_the_fork_does_not_stop_the_child() -> None:
    locked, later = drawn_by(
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
    fixed, part, outer = drawn_by(
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
                random.local.randomness = random.local.randomness.around  # as `fixed_seed` does when it ends
                return numbers()
            outer = [forked(around), forked(around), [forked(after), forked(after)]]
        with parts.part_of_batch(slice(2, 6), 8):
            drawn = lambda: sa.generator(per_sample=True).random(4).tolist()
            part = [forked(lambda: [drawn(), parts.batch_share()]), drawn()]
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
    ahead, again, parents, workers, seeded = drawn_by(
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
