"""Reverse-mode automatic differentiation: record the operations, then walk the record backwards.

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
The other arguments are options. The engine passes options on as they are. Results keep the operands' precision: where
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
from scratchae.autograd.modes import arrays_in, recording, watchers
from scratchae.autograd.precision import HALF, rounded_once
from scratchae.autograd.tensor import Tensor, box
from scratchae.backend import Array, is_array, numbers, plain_array, xp_of
from scratchae.changes import moments


class Node:
    """One recorded operation.

    `parents` has one entry per argument: the Node or Leaf that it came from, None for a constant, a
    list of these for a list argument. Nodes point to their inputs and never to a Tensor, so there
    are no reference cycles: dropping the loss frees the whole graph at once.
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

    argument: int  # whose gradient it gives, counted among the function's arguments
    vjp: Callable
    slots: list[int]  # what it reads, as places in the node's `saved`
    writes: bool  # whether it has a parameter `memory`


class _Plan:
    """For one choice of arguments that need a gradient: the values to keep, and the vjps that read them.

    multiply(x, y), only x needs one:  keep [1], the value of y;  calls [(argument 0, vjp of x, slots [0])]
    """

    def __init__(self, op: _Op, needed: list[str]):
        reads = {name: [p for p in op.reads[name] if p != "memory"] for name in needed}
        self.keep = sorted({op.values.index(p) for wanted in reads.values() for p in wanted})
        self.read = [i for i, value in enumerate(self.keep) if value < len(op.arguments)]  # slots of arguments
        self.calls = [
            _Call(
                op.values.index(name),
                op.vjps[name],
                [self.keep.index(op.values.index(p)) for p in reads[name]],
                "memory" in op.reads[name],
            )
            for name in needed
        ]


class _Op:
    """What the decorator learns from the signatures, once, when the primitive is defined."""

    def __init__(self, forward: Callable, vjps: dict[str, Callable]):
        self.forward, self.vjps, self.name = forward, vjps, forward.__name__.lstrip("_")
        self.signature = inspect.signature(forward)
        self.arguments = list(self.signature.parameters)
        self.defaults = [p.default for p in self.signature.parameters.values() if p.default is not p.empty]
        if unknown := set(vjps) - set(self.arguments):
            raise TypeError(f"primitive {self.name}: vjps for {sorted(unknown)}; its arguments are {self.arguments}")
        signatures = {name: inspect.signature(vjp) for name, vjp in vjps.items()}
        for signature in (self.signature, *signatures.values()):
            if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in signature.parameters.values()):
                raise TypeError(f"primitive {self.name}: name every parameter; *args and **kwargs cannot be matched")
        self.operands = [i for i, a in enumerate(self.arguments) if a in vjps or not vjps]
        self.options = [i for i in range(len(self.arguments)) if i not in self.operands]
        self.reads = {name: list(signature.parameters)[1:] for name, signature in signatures.items()}
        named = {p for names in self.reads.values() for p in names} - {*self.arguments, "out", "memory"}
        self.shapes = [i for i, a in enumerate(self.arguments) if f"{a}_shape" in named]
        shapes = [f"{self.arguments[i]}_shape" for i in self.shapes]
        self.residuals = sorted(named - set(shapes))
        self.keeps_dtype = "dtype" in self.arguments  # the caller asks for a dtype, and float64 is meant
        self.values = [*self.arguments, "out", *shapes, *self.residuals]  # all that a vjp may read, in this order
        self.plans: dict[int, _Plan] = {}

    def plan(self, mask: int) -> _Plan:
        """The plan for the arguments whose bits are set in `mask`."""
        if mask not in self.plans:
            needed = [a for i, a in enumerate(self.arguments) if mask >> i & 1 and a in self.vjps]
            self.plans[mask] = _Plan(self, needed)
        return self.plans[mask]

    def split(self, result: Any) -> Any:
        """The forward function's result and its residuals."""
        if type(result) is tuple and len(result) == 2 and not (missing := set(self.residuals) - set(result[1])):
            return result
        raise TypeError(
            f"primitive {self.name}: its vjps read {self.residuals}, so the function must return (out, dict with these)"
            + (f"; missing: {sorted(missing)}" if type(result) is tuple else "; is a name misspelt?")
        )

    def complete(self, args: tuple, kwargs: dict) -> tuple:
        """Keyword arguments and defaults put in their places."""
        required = len(self.arguments) - len(self.defaults)
        if not kwargs and required <= len(args) < len(self.arguments):
            return (*args, *self.defaults[len(args) - required :])
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}({', '.join(self.arguments)}): {error}") from None
        bound.apply_defaults()
        return bound.args


def primitive(**vjps: Callable) -> Callable[[Callable], Callable[..., Any]]:
    """Make a differentiable operation of a function on arrays (see the top of this file).

    Each keyword names an argument of the function and gives its vjp. Without any, the result is a constant.
    """
    if any(not callable(vjp) for vjp in vjps.values()):
        raise TypeError(f"primitive: each keyword gives a vjp, a function; got {vjps}")

    def decorate(forward: Callable) -> Callable[..., Any]:
        wide = hasattr(forward, "in_float32")
        forward = forward.__wrapped__ if wide else forward  # type: ignore[attr-defined]
        op = _Op(forward, vjps)
        arity, operands, options = len(op.arguments), op.operands, op.options

        @functools.wraps(forward)
        def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs or len(args) != arity:
                args = op.complete(args, kwargs)
            # Get the arrays, and the nodes that they came from.
            values, parents, mask, tensor = list(args), [None] * arity, 0, None
            odd: tuple[int, ...] = ()
            for i in operands:
                a = args[i]
                if isinstance(a, Tensor):
                    tensor, values[i] = a, a._data
                    if a.node is not None:
                        parents[i] = a.node
                        mask |= 1 << i
                elif type(a) not in _USUAL and (type(a) is not np.ndarray or not a.ndim or not vjps):
                    odd += (i,)
            if wide and getattr(values[0], "dtype", None) == HALF:
                return rounded_once(call, args, {})
            if odd:
                tensor, mask = _unbox_odd(op, odd, values, parents, tensor, mask)
            if options:
                tensor = _unbox_options(op, values, tensor)
            # Compute.
            try:
                out = op.forward(*values)
            except (TypeError, AttributeError, OverflowError) as error:
                explain(op, values, parents, error)
                raise
            # Record.
            if tensor is None:
                return op.split(out)[0] if op.residuals else out
            return _recorded(op, values, parents, mask, out)

        call.op = op  # type: ignore[attr-defined]  # for `attach`
        return call

    return decorate


def _recorded(op: _Op, values: list, parents: list, mask: int, out: Any) -> Tensor:
    """The result as a Tensor, with a node where a gradient is required. `mask` has a bit for each such operand."""
    out, residuals = op.split(out) if op.residuals else (out, {})
    if isinstance(out, np.generic):  # NumPy's reductions to one number give a scalar
        out = np.asarray(out)
    kind = out.dtype.char  # cheaper to compare than dtypes
    if kind not in _REAL:  # nor was an operand: to look at all of them each time would cost more
        error = TypeError(f"{op.name} gave {out.dtype}; expected real numbers, of options too")
        explain(op, values, parents, error)
        raise error
    if kind == "d" and not op.keeps_dtype and not any(a.dtype == np.float64 for a in arrays_in(values)):
        out = out.astype(np.float32)  # NumPy widens float32 beside integers
    for watch in watchers:
        watch(out, op.name, values)
    if not mask or recording.blocked > 0 or not op.vjps or kind not in "efdg":
        return box(out, None, _origin(op, values, mask))
    plan = op.plans.get(mask) or op.plan(mask)
    values.append(out)  # and on, until they are all of op.values, in that order
    if op.shapes:
        values.extend(values[i].shape for i in op.shapes)
    if residuals:
        values.extend(residuals[name] for name in op.residuals)
    return box(out, Node(op, plan, parents, [values[i] for i in plan.keep], out))


def _origin(op: _Op, values: Sequence, mask: int) -> Any:
    """For the error of a backward pass that starts where nothing was recorded; see Tensor.provenance."""
    if recording.blocked > 0:
        return "computed under no_grad()"
    if mask:
        return f"the result of {op.name}, which has no derivative"
    return op.name, [(a.dtype, a.shape) for a in arrays_in(values)]


# --- operands that are neither numbers, nor arrays, nor Tensors -----------------------------------

_USUAL = {float, int, bool, type(None)}  # arguments that pass through as they are
_REAL = "fd?bBhHiIlLqQeg"  # the letters of the dtypes of real numbers


@replaceable
def explain(op: _Op, values: list, parents: list, error: Exception) -> None:
    """Raise a better error than the forward function's own, where one is known: see debug/advice.py."""


def _unbox_odd(
    op: _Op, odd: Sequence[int], values: list, parents: list, tensor: Tensor | None, mask: int
) -> tuple[Tensor | None, int]:
    """The rest of `call`'s loop over operands: lists, and numbers that must take the Tensors' dtype. `values` and
    `parents` are filled in; the new `tensor` and `mask` are returned."""
    for i in odd:
        if type(a := values[i]) in (list, tuple) and (boxed := [e for e in a if isinstance(e, Tensor)]):
            if type(a) is tuple:
                raise TypeError(f"{op.name}: {op.arguments[i]} is a tuple of Tensors; put them together with F.stack")
            tensor = boxed[0]
            values[i] = [e._data if isinstance(e, Tensor) else e for e in a]
            parents[i] = [e.node if isinstance(e, Tensor) else None for e in a]
            mask |= any(p is not None for p in parents[i]) << i
    if tensor is None:
        return None, 0
    for i in odd:
        a = values[i]
        what = f"{op.name}: {op.arguments[i]}"
        if type(a) in (list, tuple, range):
            for array in filter(is_array, a):
                plain_array(array, f"{what}: an item")
            if op.arguments[i] != "axis" and parents[i] is None and not any(map(is_array, a)):
                values[i] = xp_of(tensor._data).asarray(numbers(a, what), tensor.dtype)  # [1, 2] beside a Tensor
        elif isinstance(a, np.generic) or type(a) is np.ndarray and not a.ndim:
            number = numbers(a, what).item()  # as a NumPy float64 it would drag float32 up
            values[i] = float(number) if isinstance(number, np.generic) else number  # of a longdouble
        else:
            values[i] = a = plain_array(a, what)
            if a.ndim == 0 and a.dtype.kind == tensor.dtype.kind == "f":
                values[i] = a.astype(tensor.dtype)  # on a GPU, where item() would wait
    return tensor, mask


def _unbox_options(op: _Op, values: list, tensor: Tensor | None) -> Tensor | None:
    """Options that are Tensors, lists of them, or NumPy's numbers."""
    for i in op.options:
        if type(a := values[i]) in _USUAL or type(a) is tuple:
            continue
        if type(a) is np.ndarray and a.ndim and a.dtype.char in _REAL and a.dtype.isnative:  # nearly always
            continue
        if boxed := [e for e in (a if type(a) is list else [a]) if isinstance(e, Tensor)]:
            if any(e.requires_grad for e in boxed) and recording.blocked <= 0:
                raise TypeError(f"{op.name}: {op.arguments[i]} has no derivative here; pass its values: .detach()")
            tensor = boxed[0]
            values[i] = [e._data if isinstance(e, Tensor) else e for e in a] if type(a) is list else a._data
        elif isinstance(a, np.generic) or (type(a) is np.ndarray and a.ndim == 0):
            values[i] = a.item()
        elif isinstance(a, np.ndarray):
            values[i] = plain_array(a, f"{op.name}: {op.arguments[i]}")
    return tensor
