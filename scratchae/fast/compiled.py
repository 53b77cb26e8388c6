"""Loops of loops.py in place of NumPy's passes: which arrays they take. numba comes with the extra [fast].

Large arrays are cut into pieces for the pool's threads, at places that depend on the sizes alone. Arrays of another
dtype are left to the formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchae.backend import Array
from scratchae.fast.elements import native
from scratchae.fast.numba import loops
from scratchae.fast.threads import cut, run
from scratchae.optim import SGD, Adam, RMSprop

Way = Callable[..., Any]
_LEAST = 1 << 11  # numbers: NumPy's passes over fewer take no longer than the call of a loop
_PIECE = 1 << 17  # numbers, or more, for a thread at a time


def by_loop(name: str, takes: str, kinds: str = "f") -> Callable[[Way], Way]:
    """Compute an operation on elements by the loop `name`.

    `takes` has a letter for each operand: "a" for an array, "m" for a mask, "1" for one number, which may be repeated
    in an array. All arrays have one shape. The first array's order in memory holds; others are copied into this order.
    `kinds` are the dtypes of the loop.
    """
    leading = takes.index("a")

    def decorator(formula: Way) -> Way:
        def looped(*operands: Any) -> Any:
            first = operands[leading]
            if type(first) is not np.ndarray or first.size < _LEAST or not native(first.dtype, kinds) or not loops():
                return formula(*operands)
            order = memory_order(first)
            values = [_value(a, kind, first, order) for a, kind in zip(operands, takes, strict=True)]
            if any(value is None for value in values):
                return formula(*operands)
            line, compute = np.empty(first.size, first.dtype), getattr(loops(), name)
            values.append(line)

            def part(piece: slice) -> None:
                compute(*(a[piece] if kind != "1" else a for a, kind in zip(values, takes + "a", strict=True)))

            run(part, cut(first.size, _PIECE))
            if order is None:
                return line.reshape(first.shape)
            return line.reshape([first.shape[axis] for axis in order]).transpose(np.argsort(order))

        return looped

    return decorator


def memory_order(x: Array) -> tuple[int, ...] | None:
    """The axes from the outermost in memory to the innermost. None if these are all axes as they come."""
    if x.flags.c_contiguous:
        return None
    return tuple(sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis])))


def _value(a: Any, kind: str, first: Array, order: tuple[int, ...] | None) -> Any:
    """An operand as its loop takes it, or None: a number of the dtype of `first`, or all numbers in a line."""
    if kind == "1":
        if type(a) is np.ndarray:
            return None if any(a.strides) or not a.size else a[(0,) * a.ndim]
        return first.dtype.type(a)
    if type(a) is not np.ndarray or a.shape != first.shape or a.dtype != (first.dtype if kind == "a" else bool):
        return None
    line = a if order is None else a.transpose(order)
    return line.reshape(-1)  # a copy, where the order in memory is another


# --- update rules ---------------------------------------------------------------------------------


def moved_by_loops(formula: Way) -> Way:
    """For `flat.move`: one loop for the whole rule. A subclass with an `update` of its own has no loop."""

    def move(optimizer: Any, flat: Any, group: dict[str, Any]) -> None:
        rule = RULES.get(type(optimizer).update)
        if rule is None or type(flat.values) is not np.ndarray or not native(flat.values.dtype) or not loops():
            return formula(optimizer, flat, group)
        for span, g, step in flat.runs():
            name, states, numbers = rule(optimizer, group, step)
            if name is None:
                return formula(optimizer, flat, group)
            p, state, compute = flat.values[span], flat.state_of(span), getattr(loops(), name)
            arrays = [p, g, *(state[n] for n in states)]
            constants = [p.dtype.type(c) for c in numbers]

            def part(piece: slice, compute: Any = compute, arrays: Any = arrays, constants: Any = constants) -> None:
                compute(*(a[piece] for a in arrays), *constants)

            run(part, cut(p.size, _PIECE))

    return move


def _adam(optimizer: Any, group: dict[str, Any], step: int) -> tuple:
    (beta1, beta2), lr, decay = group["betas"], group["lr"], group["weight_decay"]
    r = math.sqrt((1 - beta2**step) / (1 - beta2))
    rate, eps = lr * r * (1 - beta1) / (1 - beta1**step), group["eps"] * r
    weights = (0.0, 1 - lr * decay) if optimizer.decoupled else (decay, 1.0)
    return "adam" if not group["amsgrad"] else None, ("sum", "sum_sq"), (rate, beta1, beta2, eps, *weights)


def _sgd(optimizer: Any, group: dict[str, Any], step: int) -> tuple:
    damping = group["dampening"] if step > 1 else 0.0
    numbers = (group["lr"], group["momentum"], damping, group["nesterov"], group["weight_decay"])
    return "sgd" if group["momentum"] else None, ("momentum_buffer",), numbers


def _rmsprop(optimizer: Any, group: dict[str, Any], step: int) -> tuple:
    numbers = (group["lr"], group["alpha"], group["eps"], group["weight_decay"])
    return None if group["momentum"] or group["centered"] else "rmsprop", ("square_avg",), numbers


RULES: dict[Any, Callable[..., tuple]] = {Adam.update: _adam, SGD.update: _sgd, RMSprop.update: _rmsprop}
"""For each rule: the name of its loop (None: these options have no loop), its state's arrays, its numbers."""

