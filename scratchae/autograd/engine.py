"""Reverse-mode automatic differentiation: this file records operations, backprop.py walks the record backwards.

A *primitive* is a function on arrays plus, for each argument, a vector-Jacobian product (vjp). The vjp turns the
gradient `g` of the output into the gradient of that argument. An example:

    @primitive(x=lambda g, out: g * out)
    def exp(x):
        return xp_of(x).exp(x)

Called with arrays, a primitive computes and records nothing. Called with a Tensor that requires a gradient, the
primitive also creates a Node, which links the output to the inputs. The backward pass (backprop.py) follows the links.

The first parameter of a vjp is the gradient of the output (`g`, or `h` where an argument is called g). The other
parameters NAME the values that the vjp reads. A node keeps these values alive until the backward pass, and no others:

    an argument of the forward function      multiply: x=lambda g, y: g * y
    `out`, the forward function's result     exp, above
    the shape of an argument                 sum: x=lambda g, x_shape: broadcast_to(g, x_shape)
    a residual, which the forward function   max_pool: return best, {"index": index}
        returns in a dict beside its result
    `memory`, an array that the vjp may      linear's weight: see products.py
        write its result into, or None

Arguments that have a vjp are numbers, arrays, Tensors, or lists of Tensors (concatenate; the vjp then returns a list).
The other arguments are options. The engine passes options on unchanged. Results keep the operands' precision: where
NumPy makes float64 of float32 and an integer, the engine makes float32 of the result.

A vjp is written with primitives and operators, so the same vjp serves twice. On arrays it gives numbers at full speed.
On Tensors (`create_graph=True`) its own operations are recorded, which gives second derivatives.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from scratchae.attach import replaceable
from scratchae.autograd.modes import arrays_in, looked_at, recording, watchers
from scratchae.autograd.precision import HALF, rounded_once
from scratchae.autograd.tensor import Tensor, box
from scratchae.backend import Array
from scratchae.changes import moments


class Node:
    """One recorded operation.

    `parents` has one entry per argument. The entry is the argument's Node or Leaf, or None for a
    constant. A list argument has a list of such entries. Nodes point to their inputs and never to a Tensor, so there
    are no reference cycles. Dropping the loss frees the whole graph at once.
    """

    __slots__ = ("order", "op", "plan", "parents", "saved", "shape", "dtype")

    def __init__(self, op: _Op, plan: _Plan, parents: list, saved: list, out: Array):
        self.order = next(moments)
        self.op, self.plan = op, plan
        self.parents: Any = parents  # None once a backward pass has freed the node
        self.saved: Any = saved
        self.shape, self.dtype = out.shape, out.dtype


class _Call(NamedTuple):
    """One vjp to call in the backward pass."""

    argument: int  # the number of the argument whose gradient the vjp gives
    vjp: Callable
    slots: list[int]  # the values that the vjp reads, as places in the node's `saved`
    writes: bool  # whether the vjp has a parameter `memory`


class _Plan:
    """For one choice of arguments that need a gradient: the values to keep, and the vjps that read them.

    multiply(x, y), only x needs one:  keep [1], the value of y;  calls [(argument 0, vjp of x, slots [0])]
    """

    def __init__(self, op: _Op, needed: list[str]):
        reads = {name: [op.values.index(p) for p in op.reads[name] if p != "memory"] for name in needed}
        self.keep = sorted({value for values in reads.values() for value in values})
        self.read = [i for i, value in enumerate(self.keep) if value < len(op.arguments)]  # slots of arguments
        self.calls = [
            _Call(op.values.index(n), op.vjps[n], [self.keep.index(v) for v in reads[n]], "memory" in op.reads[n])
            for n in needed
        ]


class _Op:
    """The facts that the decorator reads from the signatures, once, when the primitive is defined."""

    def __init__(self, forward: Callable, vjps: dict[str, Callable]):
        self.forward, self.vjps, self.name = forward, vjps, forward.__name__.lstrip("_")
        self.signature = inspect.signature(forward)
        self.arguments = list(self.signature.parameters)
        self.defaults = [p.default for p in self.signature.parameters.values() if p.default is not p.empty]
        check_definition(self)
        self.operands = [i for i, a in enumerate(self.arguments) if a in vjps or not vjps]
        self.options = [i for i in range(len(self.arguments)) if i not in self.operands]
        self.reads = {name: list(inspect.signature(vjp).parameters)[1:] for name, vjp in vjps.items()}
        named = {p for names in self.reads.values() for p in names} - {*self.arguments, "out", "memory"}
        self.shapes = [i for i, a in enumerate(self.arguments) if f"{a}_shape" in named]
        shapes = [f"{self.arguments[i]}_shape" for i in self.shapes]
        self.residuals = sorted(named - set(shapes))
        self.more = bool(self.shapes or self.residuals)  # than arguments and `out`
        self.keeps_dtype = "dtype" in self.arguments  # the caller asks for a dtype, and float64 is meant
        self.values = [*self.arguments, "out", *shapes, *self.residuals]  # all values for vjps, in this order
        self.plans: dict[int, _Plan] = {}

    def plan(self, mask: int) -> _Plan:
        """The plan for the arguments whose bits are set in `mask`."""
        needed = [a for i, a in enumerate(self.arguments) if mask >> i & 1 and a in self.vjps]
        plan = self.plans[mask] = _Plan(self, needed)
        return plan


def primitive(**vjps: Callable) -> Callable[[Callable], Callable[..., Any]]:
    """Make a differentiable operation of a function on arrays (see the top of this file).

    Each keyword names an argument of the function and gives its vjp. Without keywords, the result is a constant.
    """
    return lambda forward: _operation(forward, vjps)


def primitive_in_float32(**vjps: Callable) -> Callable[[Callable], Callable[..., Any]]:
    """A primitive that adds up many numbers: half precision is computed in float32, forward and backward."""
    return lambda forward: _operation(forward, vjps, wide=True)


def _operation(forward: Callable, vjps: dict[str, Callable], wide: bool = False) -> Callable[..., Any]:
    op = _Op(forward, vjps)
    arity, operands, options = len(op.arguments), op.operands, op.options

    @functools.wraps(forward)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != arity:
            args = complete(op, args, kwargs)
        # Get the arrays, and the nodes that they came from.
        values, parents, mask, tensor = list(args), [None] * arity, 0, None
        others: tuple[int, ...] = ()
        for i in operands:
            a = args[i]
            if isinstance(a, Tensor):
                tensor, values[i] = a, a._data
                if a.node is not None:
                    parents[i] = a.node
                    mask |= 1 << i
            elif type(a) not in USUAL and (type(a) is not np.ndarray or not a.ndim or not vjps):
                others += (i,)
        if wide and getattr(values[0], "dtype", None) == HALF:
            return rounded_once(call, args, {})
        if others:
            tensor = unbox_others(op, others, values, parents, tensor)
            mask |= sum(1 << i for i in others if parents[i] and any(parents[i]))
        for i in options:
            if type(values[i]) not in _OPTIONS:
                tensor = unbox_options(op, values, tensor)
                break
        # Compute.
        try:
            out = op.forward(*values)
        except (TypeError, AttributeError, OverflowError) as error:
            explain(op, values, parents, error)
            raise
        # Record.
        if tensor is None:
            return with_residuals(op, out)[0] if op.residuals else out
        return _recorded(op, values, parents, mask, out)

    call.op = op  # type: ignore[attr-defined]  # for `attach`
    return call


def _recorded(op: _Op, values: list, parents: list, mask: int, out: Any) -> Tensor:
    """The result as a Tensor, with a node where a gradient is required. `mask` has a bit for each such operand."""
    if op.residuals:
        out, residuals = with_residuals(op, out)
    if isinstance(out, np.generic):  # NumPy's reductions to one number give a scalar
        out = np.asarray(out)
    kind = out.dtype.char  # cheaper to compare than dtypes
    if kind not in REAL:  # nor is an operand; checking all operands at each call would cost more
        error = TypeError(f"{op.name} gave {out.dtype}; expected real numbers, of options too")
        explain(op, values, parents, error)
        raise error
    if kind == "d" and not op.keeps_dtype and not any(a.dtype == np.float64 for a in arrays_in(values)):
        out = out.astype(np.float32)  # NumPy widens float32 beside integers
    if watchers:
        looked_at(out, op.name, values)
    if not mask or recording.blocked > 0 or not op.vjps or kind not in "efdg":
        return box(out, None, _origin(op, values, mask))
    plan = op.plans.get(mask) or op.plan(mask)
    values.append(out)  # `values` becomes the list of all op.values, in that order
    if op.more:
        values += [values[i].shape for i in op.shapes]
        values += [residuals[name] for name in op.residuals]
    return box(out, Node(op, plan, parents, [values[i] for i in plan.keep], out))


def _origin(op: _Op, values: Sequence, mask: int) -> Any:
    """For the error of a backward pass that starts where nothing was recorded; see debug/tensors.py."""
    if recording.blocked > 0:
        return "computed under no_grad()"
    if mask:
        return f"the result of {op.name}, which has no derivative"
    return op.name, [(a.dtype, a.shape) for a in arrays_in(values)]


# --- operands that are neither numbers, nor arrays, nor Tensors -----------------------------------

USUAL = {float, int, bool, type(None)}  # arguments that pass through unchanged
_OPTIONS = {*USUAL, tuple, str, slice}  # options that pass through unchanged
REAL = "fd?bBhHiIlLqQeg"  # the letters of the dtypes of real numbers


@replaceable
def check_definition(op: _Op) -> None:
    """Raise a TypeError for a primitive that the engine cannot read: see debug/primitives.py."""


@replaceable
def with_residuals(op: _Op, result: Any) -> Any:
    """The forward function's result and its residuals."""
    return result


@replaceable
def complete(op: _Op, args: tuple, kwargs: dict) -> tuple:
    """Keyword arguments and defaults put in their places."""
    required = len(op.arguments) - len(op.defaults)
    if not kwargs and required <= len(args) < len(op.arguments):
        return (*args, *op.defaults[len(args) - required :])
    bound = op.signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.args


@replaceable
def explain(op: _Op, values: list, parents: list, error: Exception) -> None:
    """Raise a better error than the forward function's error, if there is one; see debug/advice.py."""


@replaceable
def unbox_others(op: _Op, others: Sequence[int], values: list, parents: list, tensor: Any) -> Tensor | None:
    """Fill `values` and `parents` in for operands that are lists of Tensors, and return a Tensor of the operation.

    `tensor` is a Tensor among the other operands. interop/operands.py takes numbers of NumPy and lists of numbers too.
    """
    for i in others:
        if type(a := values[i]) is list and (boxed := [e for e in a if isinstance(e, Tensor)]):
            tensor = boxed[0]
            values[i] = [e._data if isinstance(e, Tensor) else e for e in a]
            parents[i] = [e.node if isinstance(e, Tensor) else None for e in a]
    return tensor


@replaceable
def unbox_options(op: _Op, values: list, tensor: Tensor | None) -> Tensor | None:
    """The same for options; see interop/operands.py."""
    return tensor
