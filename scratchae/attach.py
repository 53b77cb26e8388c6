"""The door by which optional rooms come in: another way to compute what a function of the core computes.

The core says what is computed, in formulas. A room above the core (threads, CUDA kernels, several processes) knows a
better way for some arrays. The room attaches its way to the function, and the core does not know about the room:

    def by_a_kernel(formula):
        def tanh(x):
            return launch("tanh", x) if suits(x) else formula(x)
        return tanh

    attach(tanh, forward=by_a_kernel)

Each optional room has a file `attach.py` with the list of what it attaches.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

PLAIN = os.environ.get("SCRATCHAE_PLAIN", "0") != "0"
"""Set by `SCRATCHAE_PLAIN=1` in the environment: no faster way is attached, and the formulas of the core run.

Use it to find out whether a faster way is to blame for a number, and what each is worth.
"""

Function = TypeVar("Function", bound=Callable[..., Any])


def replaceable(function: Function) -> Function:
    """Let rooms attach to a function that is no primitive."""
    op = SimpleNamespace(forward=function, vjps={}, plans={})

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        return op.forward(*args, **options)

    call.op = op  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


def attach(function: Callable[..., Any], forward: Callable | None = None, **vjps: Callable) -> None:
    """Replace what a primitive or a replaceable function computes with, or the vjp of an argument.

    `forward` and each of `vjps`, which are named like the arguments, are decorators. A decorator takes the formula, or
    what was attached before, and returns a function of the same parameters that gives the same result. It calls the
    formula for all that it has no better way for. Raises TypeError for a function that nothing can be attached to, and
    for an argument that has no vjp.
    """
    op = getattr(function, "op", None)
    if op is None or (unknown := set(vjps) - set(op.vjps)):
        name = getattr(function, "__name__", repr(function))
        problem = "is neither a primitive nor replaceable" if op is None else f"has no vjps for {sorted(unknown)}"
        raise TypeError(f"attach: {name} {problem}")
    computing = op.forward if forward is None else forward(op.forward)
    new = {name: decorator(op.vjps[name]) for name, decorator in vjps.items()}  # all are made before one is attached
    op.forward = computing
    op.vjps.update(new)
    op.plans.clear()  # they hold the vjps from before
