"""What may stand beside a Tensor, and what is refused by name; on both sides, wherever arrays come in."""

from __future__ import annotations

import operator
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F

FOREIGN = {
    "a complex number": (1j, "a complex.*take .real and .imag"),
    "NumPy's complex number": (np.complex64(1j), "complex64.*take .real and .imag"),
    "complex numbers": (np.array([1j, 2]), "dtype complex128.*take .real and .imag"),
    "complex numbers in a list": ([1j, 2.0], "an item is a complex.*take .real"),
    "objects": (np.array([Decimal(1), Decimal(2)]), "dtype object.*astype"),
    "a masked array": (np.ma.masked_array([1.0, 2.0], [0, 1]), r"MaskedArray.*\.filled\(0\)"),
    "dates": (np.array(["2020", "2021"], "M8[D]"), r"datetime64\[D\].*astype\('int64'\)"),
    "a time": (np.timedelta64(1, "s"), "timedelta64"),
    "text": ("a", "a str"),
    "words": (np.array(["a", "b"]), "dtype <U1"),
    "words in a list": (["a", "b"], "an item is a str"),
    "records": (np.array([(1, 2.0)] * 2, "i4,f4"), "dtype .*f0"),
    "a Decimal": (Decimal(1), "a Decimal of decimal"),
    "a Fraction": (Fraction(1, 2), "a Fraction of fractions"),
    "a dict": ({}, "a dict"),
    "a set": ({1.0}, "a set"),
    "bytes": (b"ab", "a bytes"),
    "nothing": (None, "a NoneType"),
}
OPERATORS = {
    name: getattr(operator, name) for name in ("add", "sub", "mul", "truediv", "pow", "matmul", "gt", "le")
}


def cases():
    """All pairs, but those that never reach a Tensor: a Fraction makes a float of itself in a power."""
    for name in FOREIGN:
        for op in OPERATORS:
            yield pytest.param(name, op, False, id=f"Tensor {op} {name}")
            if (name, op) != ("a Fraction", "pow"):
                yield pytest.param(name, op, True, id=f"{name} {op} Tensor")


@pytest.mark.parametrize(("name", "op", "left"), list(cases()))
@pytest.mark.parametrize("requires_grad", [False, True])
def test_a_foreign_operand_is_refused_by_name(name, op, left, requires_grad):
    x = sa.tensor([1.0, 2.0], requires_grad=requires_grad)
    foreign, says = FOREIGN[name]
    with pytest.raises(TypeError, match=says):
        OPERATORS[op](foreign, x) if left else OPERATORS[op](x, foreign)


def test_a_subclass_of_an_array_is_refused():
    class Quantity(np.ndarray):
        pass

    x = sa.tensor([1.0, 2.0], requires_grad=True)
    for both in ((x, np.ones(2).view(Quantity)), (np.ones(2).view(Quantity), x)):
        with pytest.raises(TypeError, match="a Quantity of"):
            operator.mul(*both)


PLACES = {
    "sa.tensor": sa.tensor,
    "sa.Tensor": sa.Tensor,
    "mse_loss, the target": lambda a: F.mse_loss(sa.tensor([1.0, 2.0]), a),
    "mse_loss, the input": lambda a: F.mse_loss(a, np.ones(2, np.float32)),
    "binary_cross_entropy": lambda a: F.binary_cross_entropy(sa.tensor([0.5, 0.5]), a),
    "gaussian_kl": lambda a: F.gaussian_kl(a, sa.tensor([1.0, 2.0])),
    "kl_div": lambda a: F.kl_div(sa.tensor([1.0, 2.0]), a),
    "bernoulli_kl": lambda a: F.bernoulli_kl(a, sa.tensor([0.5, 0.5])),
    "the condition of where": lambda a: F.where(a, sa.tensor([1.0, 2.0]), 0.0),
    "maximum": lambda a: F.maximum(a, sa.tensor([1.0, 2.0])),
    "linear": lambda a: F.linear(a, sa.tensor([[1.0, 2.0]])),
    "a gradient": lambda a: (sa.tensor([1.0, 2.0], requires_grad=True) * 2).backward(a),
    ".grad": lambda a: setattr(sa.tensor([1.0, 2.0], requires_grad=True), "grad", a),
    ".data": lambda a: setattr(sa.tensor([1.0, 2.0]), "data", a),
    "concatenate": lambda a: F.concatenate([sa.tensor([1.0]), a]),
    "DataLoader": lambda a: sa.DataLoader(a, 1),
    "one of two in DataLoader": lambda a: sa.DataLoader((np.ones(2), a), 1),
    "dropout": lambda a: F.dropout(a),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["complex numbers", "objects", "a masked array", "dates", "words", "a dict", "text"])
def test_a_foreign_array_is_refused_wherever_arrays_come_in(place, name):
    foreign, says = FOREIGN[name]
    with pytest.raises(TypeError, match=says):
        PLACES[place](foreign)


def test_pandas_is_asked_to_leave_operators_to_tensors():
    assert sa.Tensor.__pandas_priority__ > 4000  # that of a DataFrame; without it `series * tensor` loses the graph


@pytest.mark.parametrize("op", ["add", "mul", "truediv", "pow", "gt"])
@pytest.mark.parametrize("other", [[1.0, 2.0], (1.0, 2.0), np.array([1.0, 2.0], ">f4"), np.array([1, 2], ">i2"), True,
                                   np.float64(2), np.array(2.0), np.array([True, True])], ids=repr)  # fmt: skip
def test_real_numbers_of_any_kind_are_operands_and_keep_float32(op, other):
    x, native = sa.tensor([3.0, 4.0], requires_grad=True), np.asarray(other).astype(np.float32)
    for result, wanted in (
        (OPERATORS[op](x, other), OPERATORS[op](x.data, native)),
        (OPERATORS[op](other, x), OPERATORS[op](native, x.data)),
    ):
        assert result.dtype == wanted.dtype and result.dtype.isnative and result.requires_grad == (op != "gt")
        np.testing.assert_allclose(result.data, wanted, rtol=1e-6)


def test_numbers_of_the_other_byte_order_become_native():
    big = np.array([[1.0, 2.0], [3.0, 4.0]], ">f4")
    for t in (sa.tensor(big), sa.Tensor(big)):
        assert t.dtype == np.float32 and t.dtype.isnative
        np.testing.assert_array_equal(t.data, big)


def test_an_integer_that_no_array_holds_is_told():
    x = sa.tensor([1.0], requires_grad=True)
    for op in (operator.add, operator.mul, operator.pow, operator.gt):
        with pytest.raises(ValueError, match="the integer . is too large"):
            op(x, 10**400)


def test_lists_of_tensors_and_of_numbers_where_an_array_belongs():
    x = sa.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match="sum takes no list of Tensors as x; put them together with F.stack"):
        F.sum([x, x])
    with pytest.raises(TypeError, match="sum: x is a list"):
        F.sum([1.0, 2.0])


OPTIONS = {
    "a complex bound": lambda x: x.clip(1j, None),
    "a complex slope": lambda x: F.leaky_relu(x, 1j),
    "a masked bound": lambda x: x.clip(np.ma.masked_array([1.0, 2.0], [1, 0]), None),
    "a complex dtype": lambda x: x.astype("complex64"),
    "objects as a dtype": lambda x: x.astype(object),
    "an operation of one's own": lambda x: sa.primitive(x=lambda g: g)(lambda x: np.fft.fft(x))(x),
    "a masked item of a list": lambda x: x + [np.ma.masked_array([5.0], [1]), 1.0],
    "a masked item of a stack": lambda x: F.stack([x, np.ma.masked_array([5.0, 6.0], [1, 0])]),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_nothing_but_real_numbers_comes_in_by_another_way(name):
    with pytest.raises(TypeError, match="real numbers"):
        OPTIONS[name](sa.tensor([1.0, 2.0], requires_grad=True))


def test_numbers_of_more_digits_take_the_tensors_dtype():
    x = sa.tensor([1.0, 2.0], requires_grad=True)
    for number in (np.longdouble(2), np.array(2, np.longdouble), np.float64(2)):
        assert (x * number).dtype == np.float32
    np.testing.assert_array_equal((x + range(2)).data, [1.0, 3.0])


def test_what_an_array_cannot_hold_is_told():
    for data, told in ((10**400, "an integer that is too large"), ([[1.0], [1.0, 2.0]], "lists of unequal lengths")):
        with pytest.raises(ValueError, match=told):
            sa.tensor(data)
