"""Operands and options of other kinds: lists of numbers, numbers of NumPy, Tensors among the options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scratchae.autograd import Tensor
from scratchae.autograd.engine import REAL, USUAL
from scratchae.autograd.modes import recording
from scratchae.backend import is_array, numbers, plain_array, xp_of


def unbox_others(formula: Callable) -> Callable[..., Any]:
    """For `engine.unbox_others`: beside a Tensor, numbers and lists of numbers take the dtype of the Tensor."""

    def unbox(op: Any, others: Sequence[int], values: list, parents: list, tensor: Any) -> Any:
        for i in others:
            if type(values[i]) is tuple and any(isinstance(e, Tensor) for e in values[i]):
                raise TypeError(f"{op.name}: {op.arguments[i]} is a tuple of Tensors; put them together with F.stack")
        tensor = formula(op, others, values, parents, tensor)
        if tensor is not None:
            for i in others:
                values[i] = _beside(tensor, values[i], parents[i], op.arguments[i], op.name)
        return tensor

    return unbox


def _beside(tensor: Tensor, a: Any, parents: Any, argument: str, name: str) -> Any:
    """An operand beside a Tensor."""
    what = f"{name}: {argument}"
    if type(a) in (list, tuple, range):
        for array in filter(is_array, a):
            plain_array(array, f"{what}: an item")
        if argument != "axis" and parents is None and not any(map(is_array, a)):
            return xp_of(tensor.data).asarray(numbers(a, what), tensor.dtype)  # [1, 2] beside a Tensor
        return a
    if isinstance(a, np.generic) or type(a) is np.ndarray and not a.ndim:
        number = numbers(a, what).item()  # a NumPy float64 would turn float32 into float64
        return float(number) if isinstance(number, np.generic) else number  # of a longdouble
    a = plain_array(a, what)
    same_kind = a.ndim == 0 and a.dtype.kind == tensor.dtype.kind == "f"
    return a.astype(tensor.dtype) if same_kind else a  # on a GPU, where item() would wait


def unbox_options(formula: Callable) -> Callable[..., Any]:
    """For `engine.unbox_options`: options that are Tensors, lists of Tensors, or numbers of NumPy."""

    def unbox(op: Any, values: list, tensor: Any) -> Any:
        for i in op.options:
            if type(a := values[i]) in USUAL or type(a) is tuple:
                continue
            if type(a) is np.ndarray and a.ndim and a.dtype.char in REAL and a.dtype.isnative:  # nearly always
                continue
            if boxed := [e for e in (a if type(a) is list else [a]) if isinstance(e, Tensor)]:
                if any(e.requires_grad for e in boxed) and recording.blocked <= 0:
                    raise TypeError(f"{op.name}: {op.arguments[i]} has no derivative here; pass its values: .detach()")
                tensor = boxed[0]
                values[i] = [e.data if isinstance(e, Tensor) else e for e in a] if type(a) is list else a.data
            elif isinstance(a, np.generic) or (type(a) is np.ndarray and a.ndim == 0):
                values[i] = a.item()
            elif isinstance(a, np.ndarray):
                values[i] = plain_array(a, f"{op.name}: {op.arguments[i]}")
        return tensor

    return unbox
