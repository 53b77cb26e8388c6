"""The same numbers as PyTorch: operators, losses, layers, optimisers and schedules against reference.npz.

The file was written by make_reference.py; PyTorch itself is not needed here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from make_reference import CASES, DTYPES, FILE

import scratchae as sa

ALLOWED = {"float32": 1e-5, "float64": 1e-12}  # max|difference| / max|reference|

with np.load(FILE, allow_pickle=False) as _file:
    CONTENTS = dict(_file)
INPUTS = {name.removeprefix("input "): a for name, a in CONTENTS.items() if name.startswith("input ")}
ENDS = np.cumsum(CONTENTS["sizes"])[:-1]
REFERENCE = {dtype: dict(zip(CONTENTS["names"], np.split(CONTENTS[dtype], ENDS), strict=True)) for dtype in DTYPES}


class Scratchae:
    F, nn, optim, inputs = sa.functional, sa.nn, sa.optim, INPUTS

    class schedules:
        StepLR, CosineLR, ReduceOnPlateau = sa.optim.StepLR, sa.optim.CosineLR, sa.optim.ReduceOnPlateau
        LambdaLR, WarmupLR = sa.optim.LambdaLR, sa.optim.WarmupLR

        @staticmethod
        def warmup_then_cosine(optimizer: Any, steps: int, T_max: int) -> Any:
            return sa.optim.WarmupLR(optimizer, steps, sa.optim.CosineLR(optimizer, T_max))

    def __init__(self, dtype: str):
        self.dtype = np.dtype(dtype)

    def constant(self, array: np.ndarray) -> sa.Tensor:
        return sa.tensor(array, self.dtype if array.dtype.kind == "f" else None)

    def leaf(self, array: np.ndarray) -> sa.Tensor:
        return sa.tensor(array, self.dtype, requires_grad=True)

    def grad(self, out: sa.Tensor, inputs: list) -> Any:
        return sa.grad(out, inputs, create_graph=True)

    def module(self, module: Any) -> Any:
        return module.to(self.dtype)

    def numpy(self, result: Any) -> np.ndarray:
        return result.numpy() if isinstance(result, sa.Tensor) else result


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_equals_pytorch(name: str, dtype: str) -> None:
    lib = Scratchae(dtype)
    results = {f"{name}: {what}": lib.numpy(result) for what, result in CASES[name](lib).items()}
    assert set(results) == {key for key in REFERENCE[dtype] if key.startswith(f"{name}: ")}
    for key, found in results.items():
        wanted = REFERENCE[dtype][key]
        assert found.dtype == wanted.dtype or key.endswith("rates"), key
        error = np.abs(found.ravel() - wanted).max() / np.abs(wanted).max()
        assert error <= ALLOWED[dtype], f"{key}: relative error {error:.3g}"


def test_the_file_is_small_and_holds_every_case() -> None:
    assert FILE.stat().st_size <= 300_000
    assert {str(key).rpartition(": ")[0] for key in CONTENTS["names"]} == set(CASES)
