"""DLPack with NumPy, on each device. interop_with_extras.py exchanges arrays with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import scratchae as sa

needs_writing = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.1.0", reason="NumPy 2.0 makes an array that comes by DLPack read-only"
)


@needs_writing
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "uint8", "bool"])
def test_numpy_and_a_tensor_share_memory_both_ways(dtype: str) -> None:
    t = sa.tensor(np.arange(6).reshape(2, 3).T, dtype=dtype)
    array = np.from_dlpack(t)
    back = sa.from_dlpack(array)
    assert array.dtype == back.dtype == dtype and array.shape == back.shape == (3, 2)
    array[2, 1] = 0
    assert t.data[2, 1] == back.data[2, 1] == 0
    assert np.shares_memory(back.data, t.data) and not back.requires_grad


@needs_writing
def test_a_tensor_stays_on_its_device(device: str) -> None:
    t = sa.tensor([1.0, 2.0], device=device)
    u = sa.from_dlpack(t)
    assert type(u.data) is type(t.data) and u.device == t.device
    u.data[0] = 5
    assert t.tolist() == [5, 2]
    assert t.__dlpack_device__() == ((1, 0) if device == "cpu" else (2, 0))


def test_a_tensor_that_requires_a_gradient_is_refused_as_in_pytorch() -> None:
    leaf = sa.tensor([1.0, 2.0], requires_grad=True)
    for t in (leaf, leaf * 2):
        with pytest.raises(BufferError, match=r"shape \(2,\) requires a gradient.*pass its .detach\(\)"):
            np.from_dlpack(t)
        assert np.shares_memory(np.from_dlpack(t.detach()), t.data)


class Foreign:
    """An array of another library that lies on a device of DLPack's number `kind`."""

    dtype = "bfloat16"

    def __init__(self, kind: int):
        self.kind = kind

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, 0

    def __dlpack__(self, **options: Any) -> Any:
        raise RuntimeError("Unsupported dtype in DLTensor.")


def test_what_cannot_be_shared_is_told() -> None:
    with pytest.raises(TypeError, match="from_dlpack: a list has no __dlpack__; sa.tensor takes"):
        sa.from_dlpack([1.0, 2.0])
    with pytest.raises(ValueError, match="from_dlpack: a Foreign on DLPack's device 8; move it to the CPU first"):
        sa.from_dlpack(Foreign(8))
    with pytest.raises(TypeError, match="a Foreign of bfloat16: Unsupported dtype.*Convert it to float32 first"):
        sa.from_dlpack(Foreign(1))
    with pytest.raises(TypeError, match="dtype complex64.*take .real and .imag"):
        sa.from_dlpack(np.ones(2, np.complex64))
