"""The engine: what is recorded, kept, shared and freed, and what it says when asked for the impossible."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F


def leaf(values: Any = (1.0, 2.0, 3.0), dtype: Any = np.float64) -> sa.Tensor:
    return sa.tensor(np.array(values, dtype), requires_grad=True)


def equal(found: Any, wanted: Any) -> None:
    np.testing.assert_array_equal(found.numpy() if isinstance(found, sa.Tensor) else found, wanted)


# --- backward -------------------------------------------------------------------------------------


def test_a_gradient_is_none_then_a_writable_array_of_the_leafs_kind() -> None:
    x = leaf(np.ones((2, 3)), np.float32)
    assert x.grad is None
    (x.sum() * np.float64(2)).backward()
    assert isinstance(x.grad, np.ndarray) and (x.grad.shape, x.grad.dtype) == ((2, 3), np.float32)
    x.grad[0] = 7
    equal(x.grad, [[7] * 3, [2] * 3])


def test_gradients_add_up_over_backwards_and_over_uses() -> None:
    x = leaf()
    (x * x + x).sum().backward()
    equal(x.grad, [3, 5, 7])
    (2 * x).sum().backward()
    equal(x.grad, [5, 7, 9])


def test_a_diamond_is_walked_once_for_each_node() -> None:
    """y = x + x thirty times over: 2^30 paths, thirty nodes."""
    x = y = leaf(1.0)
    for _ in range(30):
        y = y + y
    y.backward()
    assert x.grad == 2.0**30


def test_a_second_backward_names_retain_graph() -> None:
    x = leaf()
    loss = (x * x).sum()
    loss.backward()
    for again in (loss.backward, lambda: loss.backward(retain_graph=True), lambda: sa.grad(loss, x)):
        with pytest.raises(RuntimeError, match="freed.*retain_graph=True"):
            again()
    equal(x.grad, [2, 4, 6])


def test_a_graph_that_leads_into_a_freed_one_names_retain_graph() -> None:
    x, y = leaf(), leaf()
    shared = F.exp(x)
    shared.sum().backward()
    before = x.grad.copy()
    with pytest.raises(RuntimeError, match="'exp'.*retain_graph=True"):
        (shared * y).sum().backward()
    equal(x.grad, before)
    assert y.grad is None


def test_a_retained_graph_accumulates() -> None:
    x = leaf()
    loss = (x**3).sum()
    for n in (1, 2):
        loss.backward(retain_graph=True)
        equal(x.grad, n * 3 * x.data**2)
    loss.backward()
    equal(x.grad, 9 * x.data**2)


def test_backward_from_a_vector_states_its_shape_and_two_ways_out() -> None:
    with pytest.raises(RuntimeError, match=r"\(3,\).*\.sum\(\) or \.mean\(\), or pass a gradient"):
        (leaf() * 2).backward()
    with pytest.raises(ValueError, match=r"shape \(2,\); expected the output's, \(3,\)"):
        (leaf() * 2).backward(np.ones(2))
    x = leaf()
    (x * x).backward([1.0, 0.0, 10.0])
    equal(x.grad, [2, 0, 60])


@pytest.mark.parametrize(
    ("make", "reached"),
    [
        (lambda: (sa.tensor([1.0]) * sa.tensor([2.0])).sum(), r"result of sum on float32\[1\]"),
        (lambda: sa.tensor(1.0), r"requires_grad=False"),
        (lambda: leaf(1.0).detach(), r"detached"),
        (lambda: sa.no_grad()(lambda: leaf(1.0) * 2)(), r"no_grad"),
        (lambda: leaf([1.0, 2.0]).argmax(), r"argmax"),
    ],
)
def test_where_nothing_requires_a_gradient_it_says_what_was_reached(make: Callable, reached: str) -> None:
    with pytest.raises(RuntimeError, match=rf"nothing requires a gradient.*\(\).*{reached}"):
        make().backward()


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_integers_cannot_require_a_gradient(dtype: str) -> None:
    for make in (sa.tensor, sa.Tensor):
        with pytest.raises(TypeError, match=rf"{dtype}.*\.astype"):
            make(np.ones(2, dtype), requires_grad=True)
    x = leaf([1.0, 2.0])
    with pytest.raises(TypeError, match=rf"{dtype}.*\.astype"):
        x.data = np.ones(2, dtype)
    equal(x, [1, 2])


def test_requires_grad_is_switched_on_leaves_only() -> None:
    x, y = sa.tensor([1.0, 2.0]), leaf([3.0, 4.0])
    x.requires_grad = True
    y.requires_grad = False
    (x * y).sum().backward()
    equal(x.grad, [3, 4])
    assert y.grad is None and not (y * 2).requires_grad and (x * 2).requires_grad
    with pytest.raises(RuntimeError, match="leaves only.*detach"):
        (x * 2).requires_grad = False


def test_detach_shares_the_values_and_stops_the_gradient() -> None:
    x = leaf()
    d = (x * x).detach()
    assert not d.requires_grad and np.shares_memory(x.detach().data, x.data)
    (x * d).sum().backward()
    equal(x.grad, [1, 4, 9])


# --- sa.grad --------------------------------------------------------------------------------------


def test_grad_takes_one_or_a_list_leaves_or_results_and_leaves_grad_alone() -> None:
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    product = x * y
    loss = (product * product).sum()
    alone = sa.grad(loss, product)
    assert isinstance(alone, sa.Tensor) and not alone.requires_grad
    equal(alone, 2 * product.data)
    for inputs in ([x, product, x], (x, product, x)):
        found = sa.grad(loss, inputs)
        for g, wanted in zip(found, (2 * x.data * y.data**2, 2 * product.data, 2 * x.data * y.data**2), strict=True):
            equal(g, wanted)
    assert x.grad is None and y.grad is None
    loss.backward()  # the graph is still there
    equal(y.grad, 2 * y.data * x.data**2)


def test_grad_of_several_outputs_is_their_sum_weighted() -> None:
    x = leaf([1.0, 2.0])
    equal(sa.grad([x.sum(), (x * x).sum()], x), [3, 5])
    equal(sa.grad([x * 1, x * x], x, [np.array([1.0, 10.0]), sa.tensor([0.0, 1.0])]), [1, 14])
    for one in ([0.0, 1.0], [np.array([0.0, 1.0])], sa.tensor([0.0, 1.0])):
        equal(sa.grad(x * x, x, one), [0, 4])
    equal(sa.grad((x * x).sum(), x, [3.0]), [6, 12])
    equal(sa.grad([x * x], x, np.array([0.0, 1.0])), [0, 4])
    with pytest.raises(ValueError, match="a list of 1; expected 2, one gradient for each output"):
        sa.grad([x * 1, x * x], x, [np.array([1.0, 10.0])])
    equal(sa.grad(x, x, np.array([7.0, 8.0])), [7, 8])


def test_grad_names_the_input_that_was_not_reached() -> None:
    x, unused, constant = leaf(), leaf([[1.0]]), sa.tensor([1.0, 2.0])
    with pytest.raises(ValueError, match=r"input 1 of shape \(1, 1\) \(requires_grad=True\).*input 2.*=False"):
        sa.grad(x.sum(), [x, unused, constant])


def test_grad_gives_none_for_an_unused_input_where_that_is_allowed() -> None:
    x, unused, constant = leaf(), leaf([[1.0]]), sa.tensor([1.0, 2.0, 3.0])
    for create_graph in (False, True):
        found = sa.grad((x * x).sum(), [unused, x], create_graph=create_graph, allow_unused=True)
        assert found[0] is None
        equal(found[1], 2 * x.data)
    assert sa.grad(x.sum(), unused, allow_unused=True) is None
    with pytest.raises(ValueError, match="input 1 .*=False.*set requires_grad=True first, or allow_unused"):
        sa.grad((x * constant).sum(), [unused, constant], allow_unused=True)


def test_the_third_derivative_of_the_sine_is_minus_the_cosine() -> None:
    x = leaf([0.3, 1.0])
    y = F.sin(x)
    for _ in range(3):
        y = sa.grad(y, x, np.ones(2), create_graph=True)
    np.testing.assert_allclose(y.numpy(), -np.cos(x.data), rtol=1e-15)
    y.sum().backward()
    np.testing.assert_allclose(x.grad, np.sin(x.data), rtol=1e-15)


def test_a_penalty_on_the_gradient_trains_the_weights(rng: np.random.Generator) -> None:
    def penalty(w: sa.Tensor, x: sa.Tensor) -> sa.Tensor:
        return (sa.grad(F.tanh(F.linear(x, w)).sum(), x, create_graph=True) ** 2).sum()

    assert sa.gradcheck(penalty, [rng.normal(size=(2, 3)), rng.normal(size=(4, 3))])


# --- what an argument may be ----------------------------------------------------------------------


def test_an_option_that_would_need_a_gradient_is_refused() -> None:
    x, slope = leaf([-1.0, 2.0]), leaf(0.1)
    for call in (lambda: F.leaky_relu(x, slope), lambda: F.clip(x, slope), lambda: x.clip(max=slope)):
        with pytest.raises(TypeError, match=r"has no derivative here; pass its values: \.detach\(\)"):
            call()
    equal(F.leaky_relu(x, slope.detach()), [-0.1, 2])
    with sa.no_grad():
        equal(F.clip(x, slope), [0.1, 2])


def test_tensors_in_tuples_and_lists_are_never_cut_off_silently() -> None:
    x, a, b = leaf([[1.0], [10.0]]), leaf(2.0), leaf(3.0)
    with pytest.raises(TypeError, match="multiply: y is a tuple of Tensors; put them together with F.stack"):
        x * (a, b)
    with pytest.raises(TypeError, match="multiply takes no list of Tensors for one argument; put them in F.stack"):
        (x * [a, b]).sum().backward()
    (x * F.stack([a, b])).sum().backward()
    equal(a.grad, 11)
    equal(sa.tensor([1.0, 2.0]) * (3, 4), [3, 8])  # of numbers, both are arrays


def test_numpys_functions_are_matched_by_what_they_are() -> None:
    x = sa.tensor([[3.0, 0.0], [0.0, 4.0]])
    array = np.ones(3)
    with pytest.raises(TypeError, match=r"array \+= tensor.*drops the graph: write array = array \+ tensor"):
        array += sa.tensor(np.ones(3), requires_grad=True)
    assert (array == 1).all()
    with pytest.raises(TypeError, match=r"np\.linalg\.norm is not an operator of Tensors; use F\.norm, or"):
        np.linalg.norm(x, 1)
    assert np.allclose(a=x, b=x.numpy()) and not np.allclose(x, b=x + 1)


def test_whole_numbers_without_a_sign_go_through_the_activations() -> None:
    five = sa.tensor(np.array([5], np.uint8))
    np.testing.assert_allclose(F.sigmoid(five).numpy(), 1 / (1 + np.exp(-5)), rtol=1e-6)
    np.testing.assert_allclose(F.softplus(five).numpy(), np.log1p(np.exp(5)), rtol=1e-6)


def test_results_that_are_no_floating_point_numbers_are_constants() -> None:
    x = leaf([1.5, -2.5])
    for y in (x.astype(int), x > 0, F.sign(x)):
        assert not y.requires_grad
        with pytest.raises(RuntimeError, match="which has no derivative"):
            y.backward(np.ones(2))


def test_options_come_as_numpy_gives_them() -> None:
    x = sa.tensor([-1.0, 2.0], requires_grad=True)
    F.where([True, False], x, 0.0).sum().backward()
    equal(x.grad, [1, 0])
    assert F.leaky_relu(x, np.asarray(0.5)).dtype == F.clip(x, np.float64(0.5)).dtype == np.float32
    grid = sa.tensor([[1.0, -1.0], [2.0, 3.0]]) > 0
    equal(grid.any(axis=(0, 1)), True)
    equal(F.all(grid, axis=(0, 1)), False)

    @sa.primitive(x=lambda g: g)
    def add_all(x: Any, others: Any) -> Any:
        return x + sum(others)

    equal(add_all(x, [sa.tensor([1.0, 1.0]), sa.tensor([2.0, 2.0])]), [2, 5])
    with pytest.raises(TypeError, match="others has no derivative here"):
        add_all(x, [x])


# --- no_grad --------------------------------------------------------------------------------------


def test_no_grad_nests_decorates_and_ends_after_an_exception() -> None:
    x = leaf()

    @sa.no_grad()
    def plain() -> sa.Tensor:
        return x * 2

    with sa.no_grad():
        with sa.no_grad():
            assert not (x * 2).requires_grad
        assert not (x * 2).requires_grad and not plain().requires_grad
    assert (x * 2).requires_grad and not plain().requires_grad
    with pytest.raises(KeyError), sa.no_grad():
        raise KeyError
    assert (x * 2).requires_grad


def test_no_grad_blocks_left_in_another_order() -> None:
    x, a, b = leaf(), sa.no_grad(), sa.no_grad()
    a.__enter__()
    b.__enter__()
    a.__exit__(None, None, None)
    assert not (x * 2).requires_grad
    b.__exit__(None, None, None)
    assert (x * 2).requires_grad


def test_each_thread_has_its_own_no_grad() -> None:
    x, seen = leaf(), []
    with sa.no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * 2).requires_grad))
        thread.start()
        thread.join()
        seen.append((x * 2).requires_grad)
    assert seen == [True, False]


def test_no_grad_left_inside_enable_grad_is_left() -> None:
    outside = sa.no_grad()
    outside.__enter__()
    with sa.enable_grad():
        outside.__exit__(None, None, None)
        assert sa.is_grad_enabled()
    assert sa.is_grad_enabled()


# --- primitives of one's own ----------------------------------------------------------------------


@sa.primitive(x=lambda g, place, n: F.where(place, g / n, 0.0))
def mean_of_largest(x: Any, n: int = 2) -> Any:
    """The mean of the `n` largest elements of a vector; where they stood is a residual."""
    place = x >= np.sort(x)[-n]
    return x[place].mean(), {"place": place}


@sa.primitive(xs=lambda g, xs: [g * F.exp(x) for x in xs])
def sum_of_exponentials(xs: list) -> Any:
    return sum(np.exp(x) for x in xs)


def test_a_primitive_of_ones_own_with_a_residual_and_a_default(rng: np.random.Generator) -> None:
    a = rng.normal(size=6)
    assert mean_of_largest.__name__ == "mean_of_largest" and "residual" in mean_of_largest.__doc__
    for call in (mean_of_largest, lambda x: mean_of_largest(x, n=3), lambda x: mean_of_largest(n=1, x=x)):
        assert sa.gradcheck(call, [a]) and sa.gradgradcheck(lambda x, f=call: f(x) ** 2, [a])
    raw = mean_of_largest(a)
    assert not isinstance(raw, sa.Tensor) and raw == np.sort(a)[-2:].mean()
    x = leaf(a)
    mean_of_largest(x).backward()
    equal(x.grad, np.where(a >= np.sort(a)[-2], 0.5, 0))


def test_a_primitive_of_a_list(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 3))
    assert sa.gradcheck(lambda x, y: sum_of_exponentials([x, y, x]), [a, b])
    assert sa.gradgradcheck(lambda x, y: sum_of_exponentials([x, y, x]), [a, b])
    x = leaf(a)
    sum_of_exponentials([b, x, sa.Tensor(b)]).sum().backward()
    np.testing.assert_allclose(x.grad, np.exp(a), rtol=1e-15)
    assert isinstance(sum_of_exponentials([a, b]), np.ndarray)


def test_a_primitive_without_a_vjp_is_a_constant_to_the_derivative() -> None:
    @sa.primitive()
    def floor(x: Any) -> Any:
        return np.floor(x)

    x = leaf([1.5, 2.5])
    assert not floor(x).requires_grad
    (x * floor(x)).sum().backward()
    equal(x.grad, [1, 2])


def test_a_vjp_for_no_argument_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match=r"half: vjps for \['y'\]; its arguments are \['x'\]"):

        @sa.primitive(y=lambda g: g)
        def half(x: Any) -> Any:
            return x / 2


def test_wrong_arguments_are_named() -> None:
    for call, message in (
        (lambda: F.relu(), r"relu\(x\): missing a required argument: 'x'"),
        (lambda: F.relu(leaf(), slope=1), r"relu\(x\): got an unexpected keyword argument 'slope'"),
        (lambda: F.relu(leaf(), x=leaf()), r"relu\(x\): multiple values for argument 'x'"),
    ):
        with pytest.raises(TypeError, match=message):
            call()


@pytest.mark.parametrize("shape", [(2,), (), (3, 1, 2)])
def test_a_vjp_of_the_wrong_shape_is_named(shape: tuple) -> None:
    @sa.primitive(x=lambda g: np.ones(shape))
    def wrong(x: Any) -> Any:
        return x * 2

    with pytest.raises(ValueError, match=rf"shape {re.escape(str(shape))} for an argument of shape \(1, 3\)"):
        wrong(leaf([[1.0, 2, 3]])).sum().backward()


# --- NumPy's own functions on Tensors ---------------------------------------------------------------


def test_numpy_functions_with_a_counterpart_are_recorded() -> None:
    x = leaf()
    for found, wanted in (
        (np.exp(x), np.exp(x.data)),
        (np.absolute(-x), np.abs(x.data)),
        (np.concatenate([x, x]), np.concatenate([x.data, x.data])),
        (np.add(x.data, x), 2 * x.data),
        (np.maximum(x, 2.0), np.maximum(x.data, 2)),
    ):
        assert found.requires_grad
        equal(found, wanted)
    assert np.allclose(x * 2, x.data * 2)


@pytest.mark.parametrize("call", [np.median, np.diff, lambda x: np.add.reduce(x), lambda x: np.arctan(x)])
def test_numpy_functions_that_would_cut_the_graph_say_so(call) -> None:
    with pytest.raises(TypeError, match=r"not an operator of Tensors.*\.numpy\(\)"):
        call(leaf())


def test_writing_into_a_tensor_is_refused_with_the_ways_out() -> None:
    x = leaf()
    with pytest.raises(TypeError, match=r"F\.where.*\.data"):
        x[0] = 1.0


def test_backward_of_one_model_in_several_threads_adds_up() -> None:
    layer = sa.nn.Linear(64, 64)
    optimizer = sa.optim.SGD(layer.parameters(), lr=0.1)
    x = sa.Tensor(np.ones((8, 64), np.float32))
    for _ in range(20):
        optimizer.zero_grad()
        losses = [layer(x).sum() for _ in range(2)]
        threads = [threading.Thread(target=loss.backward) for loss in losses]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal(layer.weight.grad, np.full((64, 64), 16.0))


@pytest.mark.parametrize("check", [sa.gradcheck, sa.gradgradcheck])
@pytest.mark.parametrize("alone", [np.ones((3, 4)), sa.tensor(np.ones((3, 4)))], ids=["array", "Tensor"])
def test_one_input_that_stands_alone_is_told(check, alone):
    with pytest.raises(TypeError, match=r"takes a list of inputs, got one .*check\(f, \[x\]\)"):
        check(lambda x: (x * x).sum(), alone)
