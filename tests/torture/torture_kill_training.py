"""SIGKILL in random steps of the runs of test_resume.py, then resumed: bit-equal to a run that was left alone."""

from __future__ import annotations

import random

import common
import test_resume

N = common.count(20)


def main() -> None:
    problems: list[str] = []
    random.seed(0)
    with common.folder() as folder:
        for name in test_resume.RUNS:
            wanted = test_resume.uninterrupted(name, folder / name)
            for i in range(N):
                step = random.randint(1, 18)
                if test_resume.kill(name, folder / f"{name}{i}", step) != wanted:
                    problems.append(f"{name}, killed in step {step}")
    names = ", ".join(test_resume.RUNS)
    outcome = f"{N} kills in random steps of each of the runs {names}; weights and history bit-equal once resumed"
    common.verdict(problems, outcome)


main()
