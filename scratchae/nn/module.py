"""Module: something with parameters that can be called; layers and whole models alike.

What a module holds is found by looking at its attributes, and into lists, tuples and dicts among them: a
Parameter is trained, a Module is a child, and an array registered as a buffer belongs to the state but is
not trained. Names in `state_dict()` are the attributes' own, joined with dots, as in PyTorch.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from scratchae import storage
from scratchae.autograd import Tensor, no_grad
from scratchae.backend import Array, is_array, to_device, xp_of
from scratchae.storage import FilePath


class Parameter(Tensor):
    """A Tensor that a module trains: a leaf with requires_grad=True."""

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(data, requires_grad)


class Module:
    """Base class of layers and models: assign Parameters and Modules as attributes, define `forward`."""

    training = True
    _buffers: tuple[str, ...] = ()

    def forward(self, *inputs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self.forward(*inputs, **options)

    # --- what is inside ---

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct children with their names; items of a list attribute are called `name.0`, `name.1`, ..."""
        return ((name, value) for name, value in _flattened(vars(self)) if isinstance(value, Module))

    def children(self) -> Iterator[Module]:
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all inside it, depth first, a shared one once."""
        seen: set[int] = set()
        stack = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module
                below = [(f"{name}.{n}" if name else n, child) for n, child in module.named_children()]
                stack.extend(reversed(below))

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every Parameter with its dotted name, a shared one once, under its first name."""
        seen: set[int] = set()
        for name, value in self._named_state():
            if isinstance(value, Parameter) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def parameters(self) -> Iterator[Parameter]:
        return (p for _, p in self.named_parameters())

    def count_parameters(self) -> int:
        """How many numbers are trained; frozen parameters count too."""
        return sum(p.size for p in self.parameters())

    def register_buffer(self, name: str, array: Array) -> None:
        """Set attribute `name` to an array that is saved with the model but not trained."""
        if not is_array(array):
            raise TypeError(f"register_buffer({name!r}): expected an array, got {type(array).__name__}")
        setattr(self, name, array)
        self._buffers = tuple(dict.fromkeys((*self._buffers, name)))

    def _walk(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, child in self.named_children():
            yield from child._walk(f"{prefix}.{name}" if prefix else name)

    def _named_state(self) -> Iterator[tuple[str, Any]]:
        """Parameters and buffers of this module and all inside it, under all of their names."""
        for path, module in self._walk():
            for name, value in _flattened(vars(module)):
                if isinstance(value, Parameter) or name in module._buffers:
                    yield (f"{path}.{name}" if path else name), value

    # --- state ---

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers by name, as arrays on the module's device."""
        arrays = {name: v.data if isinstance(v, Parameter) else v for name, v in self._named_state()}
        return {name: xp_of(a).array(a) for name, a in arrays.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy arrays into the parameters and buffers of the same names; they take the module's dtype and device.

        Raises ValueError that lists every missing, unexpected and mis-shaped name. Nothing is loaded
        then. PyTorch's `num_batches_tracked` is accepted and ignored.
        """
        own = dict(self._named_state())
        given = {n: v.data if isinstance(v, Tensor) else v for n, v in state.items()}
        given = {n: v for n, v in given.items() if not n.endswith("num_batches_tracked")}
        problems = [f"missing: {n}" for n in own if n not in given]
        problems += [f"unexpected: {n}" for n in given if n not in own]
        for name in own.keys() & given.keys():
            if not is_array(given[name]):
                problems.append(f"not an array: {name} is a {type(given[name]).__name__}")
            elif given[name].dtype.kind not in "fiub":
                problems.append(f"not real numbers: {name} is {given[name].dtype}")
            elif given[name].shape != own[name].shape:
                problems.append(f"shape: {name} is {given[name].shape} in the state, {own[name].shape} in the model")
        if problems:
            listed = "\n  ".join(sorted(problems))
            raise ValueError(f"the state does not fit the model; nothing was loaded:\n  {listed}")
        for name, value in own.items():
            array = value.data if isinstance(value, Parameter) else value
            array[...] = _onto(given[name], array)

    def save_weights(self, path: FilePath) -> None:
        """Write `state_dict()` as a safetensors file, readable by `safetensors.torch.load_file` too."""
        storage.write_arrays(path, self.state_dict())

    def load_weights(self, path: FilePath) -> None:
        """Load what `save_weights`, or PyTorch through `safetensors.torch.save_file`, wrote: all of it or nothing.

        Raises ValueError for a damaged file, or one that does not fit (see `load_state_dict`), OSError where there
        is none.
        """
        state, strings = storage.read_arrays(path)
        if strings.get("format") == storage.FORMAT:  # PyTorch and others write "pt" there
            raise ValueError(f"{path} is a checkpoint: read it with sa.load_checkpoint; nothing was loaded")
        try:
            self.load_state_dict(state)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def train(self, mode: bool = True) -> Module:
        """Switch dropout, noise and batch statistics on (or off) in this module and all inside it."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self) -> Module:
        return self.train(False)

    def requires_grad_(self, wanted: bool = True) -> Module:
        """Freeze all parameters (False), or let them be trained again."""
        for p in self.parameters():
            p.requires_grad = wanted
        return self

    def zero_grad(self) -> None:
        """Set every parameter's `.grad` to None."""
        for p in self.parameters():
            if p.requires_grad:
                p.grad = None

    def to(self, where: Any) -> Module:
        """Move to a device ('cpu', 'gpu', 'gpu:1') or convert to a dtype (np.float64), in place; gradients go."""
        for module in self.modules():
            for name, value in _flattened(vars(module)):
                if isinstance(value, Parameter):
                    value.data = _converted(value.data, where)
                    if value.requires_grad:
                        value.grad = None
                elif name in module._buffers:
                    setattr(module, name, _converted(value, where))
        return self

    # --- looking at it ---

    def describe(self) -> str:
        """What stands between the parentheses in `repr`."""
        return ""

    def __repr__(self) -> str:
        count = self.count_parameters()
        own = f"{type(self).__name__}({self.describe()})" + (f"  # {count:,} parameters" if count else "")
        below = [f"({name}): {child!r}" for name, child in self.named_children()]
        return "\n".join([own, *("  " + line for entry in below for line in entry.split("\n"))])

    def buffer_places(self) -> list[tuple[Module, str]]:
        """For each buffer the module that has it, and its name there."""
        return [(module, name) for module in self.modules() for name in module._buffers]

    def _named_leaves(self) -> list[tuple[str, Module]]:
        return [(name, m) for name, m in self.named_modules() if not any(True for _ in m.children())]

    def _repr_html_(self) -> str:
        """How a notebook shows it: a row per layer."""
        rows = [
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(f'{type(m).__name__}({m.describe()})')}</td>"
            f"<td style='text-align: right'>{m.count_parameters():,}</td></tr>"
            for name, m in self._named_leaves()
        ]
        head = "<tr><th>layer</th><th>kind</th><th>parameters</th></tr>"
        total = f"{html.escape(type(self).__name__)}, {self.count_parameters():,} parameters"
        return f"<b>{total}</b><table>{head}{''.join(rows)}</table>"

    def summary(self, input_shape: tuple[int, ...]) -> None:
        """Print each layer with its output shape and parameter count, for one sample of `input_shape`.

        The model runs once, in eval mode, on a batch of one sample of zeros; `input_shape` does not
        count the batch.
        """
        rows: list[tuple[str, str, str]] = []
        leaves = self._named_leaves()

        def watch(name: str, layer: Module) -> None:
            forward = layer.forward

            def watched(*inputs: Any, **options: Any) -> Any:
                out = forward(*inputs, **options)
                shapes = ", ".join(str(o.shape[1:]) for o in (out if isinstance(out, (tuple, list)) else [out]))
                title = f"{name} {type(layer).__name__}({layer.describe()})".strip()
                rows.append((title, shapes, f"{layer.count_parameters():,}"))
                return out

            layer.forward = watched  # type: ignore[method-assign]

        first = next(self.parameters(), None)
        zeros = np.zeros((1, *input_shape), np.float32 if first is None else first.dtype)
        try:
            for name, layer in leaves:
                watch(name, layer)
            with evaluating(self), no_grad():
                self(Tensor(to_device(zeros, device_of_model(self))))
        finally:
            for _, layer in leaves:
                vars(layer).pop("forward", None)
        table = [("layer", "output", "parameters"), *rows, ("total", "", f"{self.count_parameters():,}")]
        widths = [max(len(row[i]) for row in table) for i in range(3)]
        for a, b, c in table:
            print(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}")


def device_of_model(model: Module) -> str:
    """Where its parameters are; the CPU if it has none."""
    return next((p.device for p in model.parameters()), "cpu")


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Eval mode inside; afterwards every module is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _onto(array: Array, like: Array) -> Array:
    """`array` on the device of `like`."""
    return to_device(array, "cpu") if isinstance(like, np.ndarray) else to_device(array, f"gpu:{like.device.id}")


def _converted(array: Array, where: Any) -> Array:
    if isinstance(where, str) and where.partition(":")[0] in ("cpu", "gpu"):
        return to_device(array, where)
    try:
        dtype = np.dtype(where)
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind != "f":
        raise ValueError(f"to({where!r}): expected 'cpu', 'gpu', 'gpu:<number>' or a floating point dtype")
    return array.astype(dtype) if array.dtype.kind == "f" else array


def _flattened(attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(name, value) of everything in a dict, looking into lists, tuples and dicts: `blocks.0`, `heads.mu`."""
    for name, value in attributes.items():
        if isinstance(value, (list, tuple)):
            yield from ((f"{name}.{n}", v) for n, v in _flattened({str(i): v for i, v in enumerate(value)}))
        elif isinstance(value, dict):
            yield from ((f"{name}.{n}", v) for n, v in _flattened({str(k): v for k, v in value.items()}))
        else:
            yield name, value
