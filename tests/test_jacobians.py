"""Jacobians and Hessians against closed forms, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn

A = np.random.default_rng(0).normal(size=(4, 3))
X = np.random.default_rng(1).normal(size=(2, 3))


def test_the_jacobian_of_a_linear_map_is_its_matrix() -> None:
    found = sa.jacobian(lambda x: F.linear(x, A), X[0])
    assert isinstance(found, sa.Tensor) and not found.requires_grad
    np.testing.assert_array_equal(found.numpy(), A)


def test_the_jacobian_has_the_axes_of_the_result_and_then_of_the_input() -> None:
    found = sa.jacobian(lambda x: F.sin(x @ A.T), X).numpy()
    wanted = np.cos(X @ A.T)[:, :, None, None] * np.eye(2)[:, None, :, None] * A[None, :, None, :]
    assert found.shape == (2, 4, 2, 3)
    np.testing.assert_allclose(found, wanted, rtol=1e-14)


@pytest.mark.parametrize("shape", [(), (0, 3), (3, 0)])
def test_jacobians_of_other_shapes(shape: tuple[int, ...]) -> None:
    x = np.ones(shape)
    found = sa.jacobian(lambda t: t * t, x).numpy()
    np.testing.assert_array_equal(found, 2 * np.eye(x.size).reshape(shape + shape))


def test_the_hessian_of_a_quadratic_form_is_exact_and_symmetric() -> None:
    found = sa.hessian(lambda x: (x @ A.T @ A * x).sum() / 2, X[0])
    np.testing.assert_allclose(found.numpy(), A.T @ A, rtol=1e-14)
    cubes = sa.hessian(lambda x: (x**3).sum(), X).numpy()
    np.testing.assert_allclose(cubes, np.diag(6 * X.ravel()).reshape(2, 3, 2, 3), rtol=1e-14)


def test_the_hessian_of_a_linear_function_is_zero() -> None:
    weight = sa.Tensor(A, requires_grad=True)
    for f in (lambda x: x.sum(), lambda x: F.linear(x, weight).sum()):
        np.testing.assert_array_equal(sa.hessian(f, X[0]).numpy(), np.zeros((3, 3)))


def test_x_may_be_a_tensor_or_a_list_and_no_gradient_changes() -> None:
    layer = nn.Linear(3, 2)
    x = sa.tensor(X, dtype=np.float32, requires_grad=True)
    with sa.no_grad():
        found = sa.jacobian(lambda t: layer(t * 2), x)
    assert found.dtype == np.float32 and found.shape == (2, 2, 2, 3)
    np.testing.assert_array_equal(found.numpy()[1, :, 1], 2 * layer.weight.numpy())
    assert x.grad is None and layer.weight.grad is None
    assert sa.jacobian(lambda t: t * t, [3.0, 4.0]).tolist() == [[6, 0], [0, 8]]


def test_the_rows_stay_on_the_device(device: str) -> None:
    x = sa.tensor([1.0, 2.0], device=device)
    for found in (sa.jacobian(lambda t: t**3, x), sa.hessian(lambda t: (t**4).sum() / 4, x)):
        assert found.device == x.device
        assert found.tolist() == [[3, 0], [0, 12]]


REFUSED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "an array": (lambda x: x.data, TypeError, r"f\(x\) is a ndarray; expected one Tensor"),
    "two results": (lambda x: (x, x), TypeError, r"f\(x\) is a tuple; expected one Tensor"),
    "integers": (lambda x: x.argmax(), TypeError, r"f\(x\) is a Tensor of int64; expected one Tensor"),
    "a constant": (lambda x: x.detach() * 2, ValueError, r"f\(x\) does not depend on x; compute it from the Tensor"),
    "other leaves": (lambda x: sa.tensor(1.0, requires_grad=True) * 2, ValueError, r"f\(x\) does not depend on x"),
}  # fmt: skip


@pytest.mark.parametrize("compute", [sa.jacobian, sa.hessian])
@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_jacobian_is_told(name: str, compute: Callable) -> None:
    f, error, told = REFUSED[name]
    with pytest.raises(error, match=f"{compute.__name__}: {told}"):
        compute(lambda x: f(x), X[0, 0])


def test_integers_have_no_jacobian() -> None:
    with pytest.raises(TypeError, match=r"needs floating point data, this is int64; convert with .astype\('float32'\)"):
        sa.jacobian(lambda x: x * 2, np.arange(3))


def test_a_hessian_is_of_one_number() -> None:
    with pytest.raises(ValueError, match=r"hessian: f\(x\) has shape \(3,\); expected one number of shape \(\)"):
        sa.hessian(lambda x: x * x, X[0])
