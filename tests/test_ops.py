"""Every operator of the table: its values, its first two derivatives, in both precisions and any memory layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from op_table import TABLE, Op, cases

import scratchae as sa
from scratchae import functional as F

CASES = list(cases())
SMOOTH = [c for c in CASES if c.differentiable]
every_op = pytest.mark.parametrize("op", CASES, ids=lambda op: op.name)
smooth_op = pytest.mark.parametrize("op", SMOOTH, ids=lambda op: op.name)

LAYOUTS = {
    "transposed": lambda a: a.T.copy().T,
    "strided": lambda a: np.repeat(a, 3, axis=-1)[..., ::3] if a.ndim else a,
    "negative strides": lambda a: np.flip(np.flip(a).copy()),
}


def close(found: Any, wanted: Any, tolerance: float = 1e-12) -> None:
    """Equal to within `tolerance` of the largest element (at least of 1)."""
    assert found.shape == np.shape(wanted)
    scale = max(1.0, np.abs(wanted).max(initial=0.0))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * scale)


def run(op: Op, arrays: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The value, and every input's gradient for a fixed gradient of the output."""
    inputs = [sa.Tensor(a, requires_grad=True) for a in arrays]
    out = op.f(*inputs)
    out.backward(np.cos(np.arange(out.size)).reshape(out.shape))
    return out.numpy(), [t.grad for t in inputs]


def test_the_table_covers_every_function() -> None:
    assert set(F.__all__) - {row.name.split()[0] for row in TABLE} == set()


@every_op
def test_the_value_is_the_closed_forms(op: Op) -> None:
    arrays = op.arrays()
    wanted = op.reference(*arrays)
    found = op.f(*map(sa.Tensor, arrays))
    assert isinstance(found, sa.Tensor) and not found.requires_grad
    close(found.numpy(), wanted)
    assert found.dtype == np.asarray(wanted).dtype


@every_op
def test_arrays_give_arrays_with_the_same_numbers(op: Op) -> None:
    arrays = op.arrays()
    found = op.f(*arrays)
    assert isinstance(found, (np.ndarray, np.generic))
    np.testing.assert_array_equal(found, op.f(*map(sa.Tensor, arrays)).numpy())


@smooth_op
def test_the_first_derivative_is_the_slope(op: Op) -> None:
    assert sa.gradcheck(op.f, op.arrays())


@smooth_op
def test_the_second_derivative_is_the_slope_of_the_first(op: Op) -> None:
    assert sa.gradgradcheck(op.f, op.arrays())


@smooth_op
def test_recording_the_gradient_does_not_change_it(op: Op) -> None:
    inputs = [sa.Tensor(a, requires_grad=True) for a in op.arrays()]
    out = op.f(*inputs)
    seed = np.sin(1.0 + np.arange(out.size)).reshape(out.shape)
    for plain, recorded in zip(sa.grad(out, inputs, seed), sa.grad(out, inputs, seed, create_graph=True), strict=True):
        close(recorded.numpy(), plain.numpy())


@smooth_op
def test_float32_stays_float32_and_is_near_float64(op: Op) -> None:
    value64, grads64 = run(op, op.arrays())
    value32, grads32 = run(op, op.arrays(np.float32))
    assert {value32.dtype, *(g.dtype for g in grads32)} == {np.dtype("float32")}
    for found, wanted in zip([value32, *grads32], [value64, *grads64], strict=True):
        close(found, wanted, 1e-5)
    inputs = [sa.Tensor(a, requires_grad=True) for a in op.arrays(np.float32)]
    out = op.f(*inputs)
    recorded = sa.grad(out, inputs, np.ones(out.shape, np.float32), create_graph=True)
    assert {g.dtype for g in recorded} == {np.dtype("float32")}


@pytest.mark.parametrize("layout", LAYOUTS)
@smooth_op
def test_the_memory_layout_does_not_matter(op: Op, layout: str) -> None:
    value, grads = run(op, op.arrays())
    value_there, grads_there = run(op, [LAYOUTS[layout](a) for a in op.arrays()])
    for found, wanted in zip([value_there, *grads_there], [value, *grads], strict=True):
        close(found, wanted)


# --- Tensor's own spellings -----------------------------------------------------------------------

METHODS = {
    "sum": (lambda t: t.sum(1), lambda a: a.sum(1)),
    "mean": (lambda t: t.mean((0, -1), keepdims=True), lambda a: a.mean((0, -1), keepdims=True)),
    "var": (lambda t: t.var(axis=0), lambda a: a.var(axis=0)),
    "max": (lambda t: t.max(-1), lambda a: a.max(-1)),
    "min": (lambda t: t.min(), lambda a: a.min()),
    "argmax": (lambda t: t.argmax(1), lambda a: a.argmax(1)),
    "argmin": (lambda t: t.argmin(), lambda a: a.argmin()),
    "T": (lambda t: t.T, lambda a: a.T),
    "reshape": (lambda t: t.reshape(4, -1), lambda a: a.reshape(4, -1)),
    "reshape tuple": (lambda t: t.reshape((2, 12)), lambda a: a.reshape((2, 12))),
    "ravel": (lambda t: t.ravel(), lambda a: a.ravel()),
    "transpose": (lambda t: t.transpose(2, 0, 1), lambda a: a.transpose(2, 0, 1)),
    "transpose tuple": (lambda t: t.transpose((1, 0, 2)), lambda a: a.transpose((1, 0, 2))),
    "transpose all": (lambda t: t.transpose(), lambda a: a.transpose()),
    "swapaxes": (lambda t: t.swapaxes(0, -1), lambda a: a.swapaxes(0, -1)),
    "squeeze": (lambda t: t[:1].squeeze(0), lambda a: a[:1].squeeze(0)),
    "astype": (lambda t: t.astype("float32"), lambda a: a.astype("float32")),
    "clip": (lambda t: t.clip(-0.5, 0.5), lambda a: a.clip(-0.5, 0.5)),
    "clip max": (lambda t: t.clip(max=0.5), lambda a: a.clip(max=0.5)),
    "getitem": (lambda t: t[1, ..., ::-1], lambda a: a[1, ..., ::-1]),
    "negative, positive, abs": (lambda t: abs(-t) + +t, lambda a: abs(-a) + +a),
    "@": (lambda t: t @ t[0].T, lambda a: a @ a[0].T),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_numpys(name: str, rng: np.random.Generator) -> None:
    a = rng.normal(size=(3, 4, 2))
    on_tensor, on_array = METHODS[name]
    found, wanted = on_tensor(sa.Tensor(a)), on_array(a)
    assert isinstance(found, sa.Tensor) and found.dtype == wanted.dtype
    close(found.numpy(), wanted)


def test_a_tensor_has_a_length_and_is_iterated_like_an_array() -> None:
    t = sa.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert (len(t), t.shape, t.ndim, t.size, t.device) == (2, (2, 2), 2, 4, "cpu")
    assert [row.tolist() for row in t] == t.tolist() == [[1, 2], [3, 4]]
    first, _ = t
    (first * first).sum().backward()
    np.testing.assert_array_equal(t.grad, [[2, 4], [0, 0]])
    for impossible in (len, list):
        with pytest.raises(TypeError, match=r"shape \(\)"):
            impossible(sa.tensor(1.0))


def test_a_tensor_of_one_element_is_a_number() -> None:
    t = sa.tensor([[2.5]])
    assert (t.item(), t[0, 0].item(), float(t[0, 0]), int(t[0, 0])) == (2.5, 2.5, 2.5, 2)
    assert isinstance(t.item(), float) and isinstance(sa.tensor(np.arange(3))[1].item(), int)
    assert bool(t > 2) and not bool(t > 3)
    with pytest.raises(ValueError, match=r"item\(\) needs one element.*\(2,\)"):
        sa.tensor([1.0, 2.0]).item()
    with pytest.raises(ValueError, match="ambiguous"):
        bool(sa.tensor([1.0, 2.0]) == 1)


def test_tensors_are_hashed_by_identity_and_compared_by_element() -> None:
    a, b = sa.tensor([1.0, 2.0]), sa.tensor([1.0, 3.0])
    assert {a: "a", b: "b"}[a] == "a" and len({a, b, a}) == 2
    assert (a == b).tolist() == [True, False] and (a != b).tolist() == [False, True]
    assert (a == b).dtype == bool and not (a < 2).requires_grad
    assert (np.array([1.0, 5.0]) == a).tolist() == [True, False]
    assert (np.array([1.0, 5.0]) > a).tolist() == [False, True]


def test_numpy_reads_a_tensor() -> None:
    t = sa.tensor([1.0, 2.0], requires_grad=True)
    assert np.asarray(t) is t.data and t.numpy() is t.data
    assert np.asarray(t, np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(t), t.data)


@pytest.mark.parametrize("library", ["pandas.core.series", "scipy.sparse._base", "polars.series"])
def test_a_library_with_operators_of_its_own_does_not_cut_the_graph(library: str) -> None:
    namespace: dict[str, Any] = {"np": np, "__name__": library}
    exec("def matmul(array, other): return array @ np.asarray(other)", namespace)
    t = sa.tensor([1.0, 2.0], requires_grad=True)
    for graph in (t, t * 2):
        with pytest.raises(TypeError, match=r"shape \(2,\) would lose its graph as a NumPy array: pass its .numpy\(\)"):
            namespace["matmul"](np.ones(2), graph)
    assert namespace["matmul"](np.ones(2), t.detach()) == 3


def test_repr_tells_values_dtype_and_origin() -> None:
    t = sa.tensor([1.0, 2.5], requires_grad=True)
    assert repr(t) == "tensor([1. , 2.5], requires_grad=True)"
    assert repr(t * 2) == "tensor([2., 5.], from=multiply)"
    assert repr(sa.tensor(np.arange(2))) == "tensor([0, 1], dtype=int64)"
    assert len(repr(sa.tensor(np.zeros((1000, 1000))))) < 400


def test_tensor_copies_and_the_constructor_does_not() -> None:
    a = np.ones(2)
    copied, shared = sa.tensor(a), sa.Tensor(a)
    a[0] = 5
    assert copied.tolist() == [1, 1] and shared.tolist() == [5, 1]


# --- any shape ------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3, min_side=0))
def test_broadcasting_is_undone(shapes: Any) -> None:
    """The gradient of sum(w x y): w y summed over the axes along which x was repeated."""
    rng = np.random.default_rng(0)
    x, y = (sa.Tensor(rng.normal(size=shape), requires_grad=True) for shape in shapes.input_shapes)
    w = rng.normal(size=shapes.result_shape)
    (x * y * w).sum().backward()
    for this, other in ((x, y), (y, x)):
        g = np.broadcast_to(w * other.data, w.shape)
        added = w.ndim - this.ndim
        stretched = tuple(i + added for i, n in enumerate(this.shape) if n == 1)
        close(this.grad, g.sum((*range(added), *stretched), keepdims=True).reshape(this.shape))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_reductions_over_any_axes(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)))
    n = len(shape)
    one = st.integers(-n, n - 1)
    axes = data.draw(st.none() | one | st.lists(one, unique_by=lambda a: a % n, max_size=n).map(tuple))
    keep = data.draw(st.booleans())
    a = np.random.default_rng(1).permuted(np.arange(1.0, 1 + np.prod(shape, dtype=int))).reshape(shape)
    for f, wanted in ((F.sum, np.sum), (F.mean, np.mean), (F.var, np.var), (F.max, np.max)):
        close(f(sa.Tensor(a), axes, keep).numpy(), wanted(a, axis=axes, keepdims=keep))
        assert sa.gradcheck(lambda x, f=f: f(x, axes, keep), [a])


# --- the check itself -----------------------------------------------------------------------------


def test_gradcheck_names_input_and_element_of_a_wrong_derivative() -> None:
    @sa.primitive(x=lambda g, y: g * y, y=lambda g, x, place: g * x * (1 + 0.01 * place))
    def wrong(x: Any, y: Any) -> Any:
        return x * y, {"place": np.eye(2)[::-1] * [[1.0], [0.0]]}

    with pytest.raises(AssertionError, match=r"input 1, element \(0, 1\): the vjps give .*finite differences"):
        sa.gradcheck(wrong, [np.ones((2, 2)), np.ones((2, 2))])


def test_gradgradcheck_notices_a_derivative_that_is_not_recorded() -> None:
    @sa.primitive(x=lambda g, x: g * (2 * (x.data if isinstance(x, sa.Tensor) else x)))
    def square(x: Any) -> Any:
        return x * x

    assert sa.gradcheck(square, [np.ones(3)])
    with pytest.raises(AssertionError, match="input 0"):
        sa.gradgradcheck(square, [np.ones(3)])


def test_gradcheck_wants_float64_and_leaves_constants_alone() -> None:
    with pytest.raises(TypeError, match="input 1 is float32.*astype"):
        sa.gradcheck(F.maximum, [np.ones(2), np.ones(2, np.float32)])
    x, constant = sa.tensor(np.ones(2), requires_grad=True), sa.tensor(np.ones(2))
    assert sa.gradcheck(lambda x, c: x * abs(c - 1), [x, constant])  # |c - 1| has a kink at 1
    assert x.tolist() == [1, 1] and x.grad is None
    with pytest.raises(AssertionError, match="no output of f depends"):
        sa.gradcheck(lambda x: x.argmax(), [np.ones(2)])


# --- what does not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["constant", "wrap"])
@pytest.mark.parametrize("widths", [[(1, 1)], 1, (1, 2), [(1, 1), (1,)], [(1, 1), 1], "ab", None])
def test_pad_wants_a_pair_for_each_axis(widths: Any, mode: str) -> None:
    with pytest.raises(ValueError, match=r"pad: widths=.*; expected one pair \(before, after\) for each of 2 axes"):
        F.pad(sa.Tensor(np.ones((2, 3))), widths, mode)


@pytest.mark.parametrize("width", [-1, 1.5, True, None, 2**63])
def test_pad_wants_counts(width: Any) -> None:
    with pytest.raises(ValueError, match=r"pad: a width=.*; expected an integer"):
        F.pad(sa.Tensor(np.ones((2, 3))), [(0, 0), (1, width)], "edge")


def test_pad_tells_its_modes_and_that_nothing_cannot_be_continued() -> None:
    with pytest.raises(ValueError, match="pad: mode='symmetric'; expected one of 'constant', 'reflect', 'edge'"):
        F.pad(sa.Tensor(np.ones(2)), [(1, 1)], "symmetric")
    with pytest.raises(ValueError, match=r"axis 0 of shape \(0, 3\) has no elements that mode='reflect' could"):
        F.pad(sa.Tensor(np.ones((0, 3))), [(1, 1), (0, 0)], "reflect")


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_padded_rows_are_numpys_for_any_width(mode: str) -> None:
    for n, before, after in np.ndindex(5, 9, 9):
        x = np.arange(1.0, n + 2)
        found = F.pad(x, ((before, after),), mode)
        np.testing.assert_array_equal(found, np.pad(x, (before, after), mode))


def test_matmul_of_a_scalar_names_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(\) and \(2, 3\)"):
        sa.tensor(2.0) @ sa.tensor(np.ones((2, 3)))


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout_drops_this_share_and_keeps_the_mean(p: float) -> None:
    x = sa.tensor(np.full((100, 1000), 3.0, np.float32), requires_grad=True)
    out = F.dropout(x, p)
    out.sum().backward()
    kept = np.float32(1 / (1 - p) if p < 1 else 0)
    assert set(np.unique(out.numpy())) <= {np.float32(0), 3 * kept}
    assert abs((out.numpy() == 0).mean() - p) < 0.01
    np.testing.assert_allclose(x.grad, out.numpy() / 3, rtol=1e-6)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_dropout_refuses_what_is_no_probability(p: float) -> None:
    with pytest.raises(ValueError, match=r"dropout: p=.*; expected a number in \[0, 1\]"):
        F.dropout(sa.tensor([1.0]), p)


@pytest.mark.parametrize("bound", [0.5, 1])
def test_integers_are_bounded_as_numpy_does_it_but_never_become_float64(bound: float) -> None:
    a = np.array([0, 1, 2])
    for found, wanted in (
        (F.maximum(sa.tensor(a), bound), np.maximum(a, bound)),
        (F.minimum(sa.tensor(a), bound), np.minimum(a, bound)),
        (F.clip(sa.tensor(a), bound), np.clip(a, bound, None)),
        (F.clip(sa.tensor(a), bound, 5), np.clip(a, bound, 5)),
    ):
        np.testing.assert_array_equal(found.numpy(), wanted)
        assert found.dtype == (a.dtype if bound == 1 else np.float32)


def test_converted_to_integers_it_is_a_constant_to_the_derivative() -> None:
    """Truncation has slope 0, so nothing may flow back through it."""
    x = sa.tensor([1.5, 2.5], requires_grad=True)
    assert not x.astype("int64").requires_grad
    (x.astype("int64") * x).sum().backward()
    np.testing.assert_array_equal(x.grad, [1.0, 2.0])
