"""The backward pass: walk the recorded nodes, newest first, and send each node's gradient to its inputs.

`Tensor.backward` calls `backward`, which adds to the `.grad` of the leaves. `sa.grad` calls `grad`, which returns
gradients and changes no Tensor. Both prepare a starting gradient (`_seed`) and do the same walk (`_walk`).
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

from scratchae.attach import replaceable
from scratchae.autograd.engine import Node
from scratchae.autograd.modes import looked_at, watchers
from scratchae.autograd.tensor import Leaf, Tensor, box
from scratchae.backend import Array, is_array, numbers, xp_of
from scratchae.changes import check_unchanged, latest


def backward(output: Tensor, gradient: Any = None, retain_graph: bool = False) -> None:
    """Add d(output)/d(leaf), times `gradient` (one for a scalar), to the `.grad` of every leaf."""
    memories: dict[Leaf, Array] = {}
    seed = _seed(output, gradient, create_graph=False)
    arrived = _walk([output], [seed], retain_graph, False, None, (), memories)
    for leaf, g in arrived.items():
        leaf.add(g, written=g is memories.get(leaf))


Tensors = Tensor | Sequence[Tensor]


def grad(outputs: Tensors, inputs: Tensors, grad_outputs: Any = None, create_graph: bool = False,
         allow_unused: bool = False) -> Any:  # fmt: skip
    """Gradients of `outputs` (summed) with respect to `inputs`, as Tensors; every `.grad` stays as it was.

    Args:
        outputs: a Tensor or a list of Tensors. Outputs that are not scalars need `grad_outputs`.
        inputs: a Tensor or a list of Tensors, which may be leaves or intermediate results.
        grad_outputs: one factor for each output, in the output's shape, multiplied with its Jacobian from the left.
        create_graph: record the computation of the gradients, so that they can be differentiated.
        allow_unused: give None for an input that requires a gradient, but that no output depends on.

    Returns: a Tensor if `inputs` is a Tensor, else a list. The graph is kept.

    Raises:
        ValueError: an input does not require a gradient; or no output depends on an input, without `allow_unused`.
    """
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for name, tensors in (("outputs", outs), ("inputs", ins)):
        if odd := [type(t).__name__ for t in tensors if not isinstance(t, Tensor)]:
            raise TypeError(f"grad: among the {name} is a {odd[0]}; expected Tensors, those that the graph was made of")
    listed = isinstance(grad_outputs, (list, tuple)) and not _is_one_gradient(grad_outputs, outputs)
    seeds = grad_outputs if listed else [grad_outputs] * len(outs)
    if len(seeds) != len(outs):
        raise ValueError(f"grad_outputs is a list of {len(seeds)}; expected {len(outs)}, one gradient for each output")
    found = gradients(outs, ins, seeds, create_graph)
    if missing := [i for i, g in enumerate(found) if g is None and not (allow_unused and ins[i].requires_grad)]:
        what = ", ".join(f"input {i} of shape {ins[i].shape} (requires_grad={ins[i].requires_grad})" for i in missing)
        raise ValueError(f"the outputs do not depend on {what}; set requires_grad=True first, or allow_unused=True")
    return found[0] if isinstance(inputs, Tensor) else found


def _is_one_gradient(given: Sequence, outputs: Any) -> bool:
    """Whether a list holds the numbers of a single output's gradient, and not gradients."""
    return isinstance(outputs, Tensor) and not (len(given) == 1 and getattr(given[0], "shape", ()) == outputs.shape)


def gradients(outputs: list[Tensor], inputs: list[Tensor], seeds: Sequence, create_graph: bool) -> list[Tensor | None]:
    """`grad` on lists, with None for an input that the outputs do not depend on."""
    targets = {t.node for t in inputs if t.node is not None}
    wanted = _leading_to(targets, [o.node for o in outputs])
    gs = [_seed(o, g, create_graph) for o, g in zip(outputs, seeds, strict=True)]
    arrived = _walk(outputs, gs, True, create_graph, wanted, targets, None)
    found = [arrived.get(t.node) for t in inputs]
    return [g if g is None or isinstance(g, Tensor) else box(xp_of(g).array(g), None) for g in found]


def _walk(
    outputs: list[Tensor], seeds: list, retain_graph: bool, create_graph: bool, wanted: Any, targets: Any, memories: Any
) -> dict:
    """Send gradients from `outputs` to the leaves, newest node first; return the gradients that arrived, by Leaf.

    With a set `wanted`, the walk visits these nodes only, and the gradients of `targets` are returned too. With a dict
    `memories`, vjps write the gradients of leaves into the leaves' memory, and the dict gets these arrays.

    A node is created after its inputs. In reverse order of creation, every node has received all of its gradient before
    its turn comes. The heap holds the nodes whose turn is still to come.
    """
    arrived: dict[Any, Any] = {}  # Leaf or Node -> the sum of the gradients that were sent to it so far
    heap: list[tuple[int, Node]] = []
    for output, g in zip(outputs, seeds, strict=True):
        _send(output.node, g, arrived, heap)
    while heap:
        node = heappop(heap)[1]
        g = arrived[node] if node in targets else arrived.pop(node)
        if node.parents is None:
            freed = f"{node.op.name!r}, whose graph an earlier backward() freed (or failed in)"
            raise RuntimeError(f"backward() through {freed}; call the earlier one with retain_graph=True")
        if latest[0] > node.order:
            check_unchanged(node)
        saved = _tensors(node) if create_graph else node.saved
        for argument, vjp, slots, writes in node.plan.calls:
            parent = node.parents[argument]
            several = type(parent) is list
            if wanted is not None and not several and parent not in wanted:
                continue
            values = [saved[i] for i in slots]
            if writes:
                memory = None
                if memories is not None and type(parent) is Leaf and parent not in arrived:
                    memory = memories[parent] = parent.take_memory(g)
                given = vjp(g, *values, memory=memory)
            else:
                given = vjp(g, *values)
            if several and type(given) is not list:
                raise TypeError(f"{node.op.name} takes no list of Tensors for one argument; put them in F.stack")
            if watchers:
                for p_g in given if several else [given]:
                    looked_at(p_g, f"the vjp of {node.op.name}", [g, *values])
            if not several:
                _send(parent, given, arrived, heap)
                continue
            for p, p_g in zip(parent, given, strict=True):
                if p is not None and (wanted is None or p in wanted):
                    _send(p, p_g, arrived, heap)
        if not retain_graph:
            node.parents = node.saved = None
    return arrived


def _send(to: Any, g: Any, arrived: dict, heap: list) -> None:
    """Add `g`, in the shape and dtype of `to`, to the gradient that has arrived at the Leaf or Node `to`."""
    if not hasattr(g, "shape"):
        raise TypeError(f"a vjp gave {g!r}; expected the gradient, an array")
    if g.shape != to.shape:
        g = _unbroadcast(g, to.shape)
    if g.dtype != to.dtype:
        g = g.astype(to.dtype)
    if to in arrived:
        arrived[to] = arrived[to] + g  # not in place: other nodes may have received the same array
    else:
        arrived[to] = g
        if type(to) is Node:
            heappush(heap, (-to.order, to))


def _tensors(node: Node) -> list:
    """A node's saved values as Tensors that are linked to their nodes, for `create_graph`."""
    values = list(node.saved)
    for i, position in enumerate(node.plan.keep):
        if position == len(node.parents):  # `out` comes after the arguments
            values[i] = box(values[i], node)
        elif position < len(node.parents) and (parent := node.parents[position]) is not None:
            if type(parent) is list:
                values[i] = [box(v, p) for v, p in zip(values[i], parent, strict=True)]
            else:
                values[i] = box(values[i], parent)
    return values


def _leading_to(targets: set, roots: Sequence) -> set:
    """The nodes among the ancestors of `roots` from which a target can be reached."""
    ancestors: set = set()
    stack = [root for root in roots if root is not None]
    while stack:
        node = stack.pop()
        if node not in ancestors:
            ancestors.add(node)
            stack.extend(_inputs(node))
    wanted = targets & ancestors
    for node in sorted((n for n in ancestors if type(n) is Node), key=lambda n: n.order):
        if any(parent in wanted for parent in _inputs(node)):
            wanted.add(node)
    return wanted


def _inputs(node: Any) -> list:
    """The Nodes and Leaves that a node's arguments came from."""
    if type(node) is Leaf or node.parents is None:
        return []
    flat = [p for parent in node.parents for p in (parent if type(parent) is list else [parent])]
    return [p for p in flat if p is not None]


def _unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Undo broadcasting: sum over the axes that were added or stretched."""
    added = g.ndim - len(shape)
    if added < 0 or any(n != size and size != 1 for n, size in zip(g.shape[added:], shape, strict=True)):
        raise ValueError(f"a vjp gave a gradient of shape {g.shape} for an argument of shape {shape}")
    stretched = tuple(i + added for i, size in enumerate(shape) if size == 1 and g.shape[i + added] != 1)
    return g.sum(axis=(*range(added), *stretched), keepdims=True).reshape(shape)


@replaceable
def origin_of(tensor: Tensor) -> str:
    """Where a Tensor without a gradient came from, for an error's text; debug/tensors.py says more."""
    return f"this Tensor of shape {tensor.shape} is a constant"


def _seed(output: Tensor, gradient: Any, create_graph: bool) -> Any:
    """The gradient to start from at `output`, checked."""
    if output.node is None:
        raise RuntimeError(f"nothing requires a gradient: {origin_of(output)}")
    if gradient is None:
        if output.shape != ():
            ways = "either reduce it to a scalar first, with .sum() or .mean(), or pass a gradient of that shape"
            raise RuntimeError(f"backward from a Tensor of shape {output.shape}; {ways}")
        one = xp_of(output._data).ones((), output.dtype)
        return box(one, None) if create_graph else one
    if not isinstance(gradient, Tensor):
        plain = numbers(gradient, "the gradient")
        gradient = box(plain if is_array(gradient) else xp_of(output._data).asarray(plain, output.dtype), None)
    xp_of(output._data, gradient._data)  # refuses two devices
    if gradient.shape != output.shape:
        raise ValueError(f"the gradient has shape {gradient.shape}; expected the output's, {output.shape}")
    return gradient if create_graph else gradient._data
