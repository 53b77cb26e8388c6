"""pytest-benchmark: the time of an import in fresh processes.

The difference of the two rows is the time of scratchae beyond NumPy. `extra_info` of the JSON has the same time, as
measured inside the process.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest

CODE = """
import json, sys, time
import numpy
start = time.perf_counter()
import {package}
print(json.dumps([time.perf_counter() - start, sorted(sys.modules)]))
"""
ONLY_ON_USE = {"matplotlib", "tqdm", "safetensors", "cupy", "torch", "onnx", "sklearn", "PIL"}


@pytest.mark.parametrize("package", ["numpy", "scratchae"])
def test_import(benchmark, package):
    seconds = []

    def run():
        done = subprocess.run([sys.executable, "-c", CODE.format(package=package)], capture_output=True, check=True)
        beyond_numpy, modules = json.loads(done.stdout)
        seconds.append(beyond_numpy)
        return modules

    modules = benchmark.pedantic(run, rounds=9, warmup_rounds=1)
    benchmark.extra_info["seconds beyond NumPy"] = statistics.median(seconds)
    assert package in modules
    assert not ONLY_ON_USE & set(modules)
