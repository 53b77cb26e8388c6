"""What the rows of the table do not show of the operators in more/: zeros, ties, NaN, odd arguments, NumPy's calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F

X = np.random.default_rng(0).uniform(0.5, 1.5, (3, 4))
ZEROS = {
    "one": X * (np.arange(12).reshape(3, 4) != 5),
    "two in a row": X * (np.arange(12).reshape(3, 4) % 5 != 0),
    "all": np.zeros((3, 4)),
}


@pytest.mark.parametrize("zeros", ZEROS)
@pytest.mark.parametrize("name", ["prod", "cumprod"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_gradients_of_products_are_exact_where_elements_are_zero(name: str, axis: int | None, zeros: str) -> None:
    def f(x: Any) -> Any:
        return getattr(F, name)(x, axis)

    assert sa.gradcheck(f, [ZEROS[zeros]])
    assert sa.gradgradcheck(f, [ZEROS[zeros]])


def test_the_third_derivative_of_a_product_with_zeros() -> None:
    x = sa.tensor(np.array([0.0, 2.0, 0.0, 3.0]), requires_grad=True)
    for product in (F.prod(x), F.cumprod(x)[-1]):
        (first,) = sa.grad([product], [x], create_graph=True)
        (second,) = sa.grad([first[0]], [x], create_graph=True)  # d2/dx0 dx
        np.testing.assert_array_equal(second.numpy(), [0, 0, 6, 0])
        np.testing.assert_array_equal(sa.grad(second[2], x).numpy(), [0, 3, 0, 2])


def test_the_gradient_of_a_deviation_of_zero_is_zero() -> None:
    x = sa.tensor([[1.0, 1.0], [1.0, 3.0]], requires_grad=True)
    (slope,) = sa.grad([x.std(1).sum()], [x], create_graph=True)
    np.testing.assert_allclose(slope.numpy(), [[0, 0], [-0.5, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(sa.grad((slope * slope).sum(), x).numpy(), np.zeros((2, 2)), atol=1e-6)
    assert np.isnan(F.std(sa.tensor([1.0, np.nan])).item())


def test_equal_elements_keep_their_order_and_nan_comes_last() -> None:
    x = sa.tensor([2.0, np.nan, 1.0, np.inf, 2.0, 1.0, -np.inf], requires_grad=True)
    assert F.argsort(x).tolist() == [6, 2, 5, 0, 4, 3, 1]
    sorted_x = x.sort()
    np.testing.assert_array_equal(sorted_x.numpy(), [-np.inf, 1, 1, 2, 2, np.inf, np.nan])
    sorted_x.backward(np.arange(7.0))
    assert x.grad.tolist() == [3, 6, 1, 5, 4, 2, 0]
    many = np.random.default_rng(0).integers(0, 9, (1000, 2)).astype(float)
    np.testing.assert_array_equal(F.argsort(many, 0), np.argsort(many, 0, kind="stable"))


def test_the_gradient_of_an_element_taken_twice_is_the_sum() -> None:
    x = sa.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    F.take_along_axis(x, np.array([[2, 0, 2, -1]]), 1).backward([[1.0, 2.0, 4.0, 8.0]])
    assert x.grad.tolist() == [[2, 0, 13]]


def test_a_single_number_is_sorted_repeated_and_summed_up_as_in_numpy() -> None:
    for f, g in ((F.cumsum, np.cumsum), (F.cumprod, np.cumprod), (F.argsort, np.argsort)):
        for axis in (None, 0, -1):
            assert f(sa.tensor(3.0), axis).tolist() == g(3.0, axis).tolist()
    assert F.repeat(sa.tensor(3.0), 2, 0).tolist() == [3, 3]


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_einsum_of_integers_keeps_their_dtype(dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 90, (3, 4)).astype(dtype)
    for subscripts, operands in (("ij->i", [x]), ("ij,kj->ik", [x, x]), ("ij,ij->ij", [x, x]), ("ij->", [x])):
        found, wanted = F.einsum(subscripts, *map(sa.Tensor, operands)), np.einsum(subscripts, *operands)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found.numpy(), wanted)


# --- NumPy's functions on Tensors -----------------------------------------------------------------

INDICES = np.array([[1, 1], [0, 3], [2, 2]])
CALLS: dict[str, Callable[[Any], Any]] = {
    "prod": lambda x: np.prod(x, axis=(0, 1), keepdims=True),
    "cumsum": lambda x: np.cumsum(x, axis=1),
    "cumprod": lambda x: np.cumprod(x, 0),
    "std": lambda x: np.std(x, axis=1),
    "sort": lambda x: np.sort(x, axis=0),
    "argsort": lambda x: np.argsort(x),
    "argmin": lambda x: np.argmin(x, axis=1),
    "take_along_axis": lambda x: np.take_along_axis(x, INDICES, axis=1),
    "repeat": lambda x: np.repeat(x, 2, axis=1),
    "tile": lambda x: np.tile(x, (2, 1)),
    "roll": lambda x: np.roll(x, 1, axis=0),
    "flip": lambda x: np.flip(x, axis=1),
    "square": np.square,
    "log2": np.log2,
    "log10": np.log10,
    "tan": np.tan,
    "einsum": lambda x: np.einsum("ij,kj->ik", x, x),
    "pad": lambda x: np.pad(x, ((0, 1), (2, 3)), mode="reflect"),
}


@pytest.mark.parametrize("name", CALLS)
def test_numpys_function_on_a_tensor_is_recorded(name: str) -> None:
    x = sa.Tensor(X, requires_grad=True)
    found, wanted = CALLS[name](x), CALLS[name](X)
    assert isinstance(found, sa.Tensor) and found.dtype == wanted.dtype
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-13)
    assert found.requires_grad == (name not in ("argsort", "argmin"))


def test_the_calls_cover_all_operators_of_more_that_numpy_has() -> None:
    offered = {name for name in F.__all__ if getattr(F, name).__module__.startswith("scratchae.more")}
    assert {name for name in offered if hasattr(np, name)} == set(CALLS) - {"argmin"}


# --- what does not fit ----------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "axis": (lambda x: x.cumsum(2), ValueError, r"axis 2 is out of bounds for an array of shape \(3, 4\)"),
    "axis of sort": (lambda x: x.sum().sort(), ValueError, r"axis -1 is out of bounds for an array of shape \(\)"),
    "no axis": (lambda x: F.sort(x, "0"), TypeError, "axis='0'; expected an integer, or None"),
    "two axes": (lambda x: F.cumprod(x, (0, 1)), TypeError, r"axis=\(0, 1\); expected an integer, or None"),
    "repeats": (lambda x: x.repeat([1, 2, 3], 1), ValueError, r"3 repeats for axis 1 of .*\(3, 4\); expected 1 or 4"),
    "negative repeats": (lambda x: x.repeat(-1), ValueError, "repeat: repeats=-1; expected an integer of at least 0"),
    "half a copy": (lambda x: F.tile(x, (1, 0.5)), ValueError, "tile: reps=0.5; expected an integer of at least 0"),
    "real indices": (lambda x: F.take_along_axis(x, x), TypeError, "the indices are float64; expected integers"),
    "too few indices": (lambda x: F.take_along_axis(x, [0, 1], 1), ValueError,
                        r"indices of shape \(2,\) for an x of shape \(3, 4\); .* F.expand_dims\(indices, 1\)"),
    "subscripts": (lambda x: F.einsum(x, [0, 1]), TypeError, "the subscripts are a Tensor; expected a text"),
    "a digit": (lambda x: F.einsum("i1", x), ValueError, "'i1' in 'i1'; expected letters, and at most one '...'"),
    "two arrows": (lambda x: F.einsum("ij->->i", x), ValueError, "'->i' in 'ij->->i'; expected letters"),
    "four dots": (lambda x: F.einsum("i....", x), ValueError, r"'i....' in 'i....'; expected letters"),
    "a term too many": (lambda x: F.einsum("ij,", x), ValueError, "'ij,' has 2 terms for 1 operands"),
    "no operand": (lambda x: F.einsum("ij"), ValueError, "'ij' has 1 terms for 0 operands"),
    "a list as operand": (lambda x: F.einsum("ij,j", x, [1, 2, 3, 4]), TypeError, "einsum: operand 1 is a list"),
    "letters": (lambda x: F.einsum("...ijk", x), ValueError, r"'...ijk' does not fit operand 0 of shape \(3, 4\)"),
    "missing letter": (lambda x: F.einsum("i", x), ValueError, r"'i' does not fit operand 0 of shape \(3, 4\)"),
    "result from nowhere": (lambda x: F.einsum("ij->ik", x), ValueError, "'k' must be in an operand, and once"),
    "a diagonal as result": (lambda x: F.einsum("ij->ii", x), ValueError, "'i' must be in an operand, and once"),
    "a forgotten ellipsis": (lambda x: F.einsum("...j->j", x), ValueError, "the result needs '...'"),
    "an oblong diagonal": (lambda x: F.einsum("ii", x), ValueError, r"'i' is an operand's diagonal; .*\(3, 4\)"),
    "unequal lengths": (lambda x: F.einsum("ij,ji", x, x), ValueError, "'j' has length 4 in one operand, 3 in another"),
    "far index": (lambda x: F.take_along_axis(x, [[4]], 1), IndexError, "index 4 is out of bounds"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_told(name: str) -> None:
    f, error, told = REFUSED[name]
    with pytest.raises(error, match=told):
        f(sa.Tensor(X, requires_grad=True))
