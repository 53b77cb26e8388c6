"""Einstein's sums. A sum over two operands is one matrix product, so all derivatives are products again."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

import numpy as np

from scratchae.autograd import ops
from scratchae.autograd.precision import in_float32
from scratchae.autograd.tensor import Tensor, data_of
from scratchae.backend import plain_array, xp_of

Letters = list[Any]  # one for each axis of an operand; the axes of an ellipsis have numbers, -1 for the last


@in_float32
def einsum(subscripts: str, *operands: Any) -> Any:
    """NumPy's `einsum`: products of elements of the operands, summed over all letters that the result does not have.

    Args:
        subscripts: a letter for each axis, as in "ij,jk->ik". Without "->", the result has the letters that occur once,
            in alphabetical order. A letter twice in one operand takes its diagonal. "..." stands for all other axes,
            which broadcast from the right.
        operands: Tensors and arrays, multiplied from the left to the right.

    NumPy's form with lists of numbers in place of letters, and its options, are left out.

    Raises TypeError for subscripts that are no text, and for operands that are neither Tensors nor arrays. Raises
    ValueError for subscripts that cannot be read, or that do not fit the operands' shapes.
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: the subscripts are a {type(subscripts).__name__}; expected a text, as in 'ij,jk->ik'")
    xs = [np.asarray(x) if isinstance(x, np.generic) else x for x in operands]
    xs = [x if isinstance(x, Tensor) else plain_array(x, f"einsum: operand {i}") for i, x in enumerate(xs)]
    inputs, output = _parsed(subscripts, [x.shape for x in xs])
    terms = [_diagonal(x, letters) for x, letters in zip(xs, inputs, strict=True)]
    sizes = _sizes(terms, subscripts)
    terms = [(ops.broadcast_to(x, tuple(sizes[c] for c in letters)), letters) for x, letters in terms]
    (x, left), *others = terms
    for i, (y, right) in enumerate(others, 1):
        later = {c for _, letters in others[i:] for c in letters}
        x, left = _contracted(x, left, y, right, later.union(output), sizes)
    x, left = _summed(x, left, output)
    out = ops.transpose(x, tuple(left.index(c) for c in output))
    return out.astype(np.result_type(*(x.dtype for x in xs))) if out.dtype.kind in "iu" else out


def _parsed(subscripts: str, shapes: list[tuple[int, ...]]) -> tuple[list[Letters], Letters]:
    """The letters of each operand's axes, and of the result's axes."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    for term in (*terms, right):
        if not re.fullmatch(r"[A-Za-z]*(\.\.\.)?[A-Za-z]*", term):
            raise ValueError(f"einsum: {term!r} in {subscripts!r}; expected letters, and at most one '...'")
    if len(terms) != len(shapes):
        raise ValueError(f"einsum: {subscripts!r} has {len(terms)} terms for {len(shapes)} operands; expected one each")
    inputs = [_with_ellipsis(term, len(shape)) for term, shape in zip(terms, shapes, strict=True)]
    for i, (term, shape, letters) in enumerate(zip(terms, shapes, inputs, strict=True)):
        if len(letters) != len(shape):
            raise ValueError(f"einsum: {term!r} does not fit operand {i} of shape {shape}; expected a letter per axis")
    counts = Counter(c for letters in inputs for c in letters)
    dots = sorted(c for c in counts if isinstance(c, int))
    if not arrow:
        return inputs, dots + sorted(c for c, count in counts.items() if isinstance(c, str) and count == 1)
    output = _with_ellipsis(right, len(right.replace("...", "")) + len(dots))
    wrong = [c for c in output if c not in counts or output.count(c) > 1]
    if wrong or not set(dots) <= set(output):
        problem = f"{wrong[0]!r} must be in an operand, and once in the result" if wrong else "the result needs '...'"
        raise ValueError(f"einsum: {subscripts!r}: {problem}")
    return inputs, output


def _with_ellipsis(term: str, ndim: int) -> Letters:
    """The letters of `term`, and numbers for the axes that "..." stands for."""
    before, dots, after = term.partition("...")
    return [*before, *(range(len(before) + len(after) - ndim, 0) if dots else ()), *after]


def _diagonal(x: Any, letters: Letters) -> tuple[Any, Letters]:
    """The elements of `x` whose positions are equal along all axes of one letter, which becomes one axis."""
    for c in [c for c, count in Counter(letters).items() if count > 1]:
        same = [i for i, letter in enumerate(letters) if letter == c]
        rest = [i for i, letter in enumerate(letters) if letter != c]
        n = x.shape[same[0]]
        if any(x.shape[i] != n for i in same):
            raise ValueError(f"einsum: {c!r} is an operand's diagonal; expected equal lengths, got shape {x.shape}")
        places = xp_of(data_of(x)).arange(n)
        x = ops.getitem(ops.transpose(x, (*same, *rest)), (places,) * len(same))
        letters = [c, *(letters[i] for i in rest)]
    return x, letters


def _sizes(terms: list[tuple[Any, Letters]], subscripts: str) -> dict[Any, int]:
    """The length of each letter's axis. Axes of length 1 are stretched."""
    sizes: dict[Any, int] = {}
    for x, letters in terms:
        for c, n in zip(letters, x.shape, strict=True):
            known = sizes.setdefault(c, n)
            if n != known and 1 not in (n, known):
                raise ValueError(f"einsum: {subscripts!r}: {c!r} has length {known} in one operand, {n} in another")
            sizes[c] = n if known == 1 else known
    return sizes


def _summed(x: Any, letters: Letters, wanted: Any) -> tuple[Any, Letters]:
    """`x` summed over the letters that are not `wanted`."""
    axes = tuple(i for i, c in enumerate(letters) if c not in wanted)
    return (ops.sum(x, axes) if axes else x), [c for c in letters if c in wanted]


def _contracted(x: Any, left: Letters, y: Any, right: Letters, wanted: set, sizes: dict) -> tuple[Any, Letters]:
    """The product of two operands, summed over the letters that are not `wanted` any more."""
    x, left = _summed(x, left, wanted.union(right))
    y, right = _summed(y, right, wanted.union(left))
    both = [c for c in left if c in right]
    batch, inner = [c for c in both if c in wanted], [c for c in both if c not in wanted]
    rows, columns = [c for c in left if c not in both], [c for c in right if c not in both]
    x, y = _grouped(x, left, batch, rows, inner, sizes), _grouped(y, right, batch, inner, columns, sizes)
    product = ops.matmul(x, y) if inner else ops.multiply(x, y)  # without a sum: (.., rows, 1) * (.., 1, columns)
    letters = [*batch, *rows, *columns]
    return ops.reshape(product, tuple(sizes[c] for c in letters)), letters


def _grouped(x: Any, letters: Letters, batch: Letters, first: Letters, second: Letters, sizes: dict) -> Any:
    """`x` as matrices: the axes of `batch`, then all axes of `first` as one, and all axes of `second` as one."""
    x = ops.transpose(x, tuple(letters.index(c) for c in (*batch, *first, *second)))
    rows, columns = (math.prod(sizes[c] for c in group) for group in (first, second))
    return ops.reshape(x, (*(sizes[c] for c in batch), rows, columns))
