"""Module: the base class of layers and of whole models.

The parts of a module are its attributes, and the items of lists, tuples and dicts among them. A Parameter is trained.
A Module is a child. An array that is registered as a buffer belongs to the state, but is not trained. A name in
`state_dict()` joins the names of the attributes on the way with dots, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from reprlib import recursive_repr
from typing import Any, NamedTuple

import numpy as np

from scratchae.attach import replaceable
from scratchae.autograd import Tensor
from scratchae.autograd.tensor import data_of, values_of
from scratchae.backend import Array, is_array, to_device

watchers: list[Callable[[Any, Any], None]] = []
"""Functions of (module, output) that are called after every call of a module, in any thread."""


class Parameter(Tensor):
    """A Tensor that a module trains: a leaf with requires_grad=True."""

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(data, requires_grad)


class Module:
    """Base class of layers and models: assign Parameters and Modules as attributes, define `forward`."""

    state_dict: Callable[..., dict[str, Array]]  # from files/
    load_state_dict: Callable[..., Any]  # from files/
    save_weights: Callable[..., None]  # from files/
    load_weights: Callable[..., Any]  # from files/
    summary: Callable[..., None]  # from debug/
    _repr_html_: Callable[..., str]  # from debug/
    _buffers: tuple[str, ...] = ()
    training: bool = True
    """Whether dropout, noise and batch statistics are on."""

    def forward(self, *inputs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if inputs and type(inputs[0]) is not Tensor:
            inputs = (taken(self, inputs[0]), *inputs[1:])
        out = self.forward(*inputs, **options)
        for watcher in tuple(watchers):
            watcher(self, out)
        return out

    # --- what is inside ---

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct children with their names. Items of a list `blocks` have the names `blocks.0`, `blocks.1`, ..."""
        return ((name, value) for name, value in inside(self) if isinstance(value, Module))

    def children(self) -> Iterator[Module]:
        return (child for _, child in self.named_children())

    @replaceable
    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all inside it, depth first. A shared module comes once, under its first name.

        Raises ValueError where two modules have one name.
        """
        return ((path, module) for path, module, _ in walk(self, prefix, set()))

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every Parameter with its dotted name. A shared Parameter comes once, under its first name."""
        return once((place.name, place.value) for place in places_in(self) if isinstance(place.value, Parameter))

    def parameters(self) -> Iterator[Parameter]:
        return (p for _, p in self.named_parameters())

    def count_parameters(self) -> int:
        """How many numbers the parameters hold; frozen ones count too."""
        return sum(p.size for p in self.parameters())

    def register_buffer(self, name: str, array: Array) -> None:
        """Set attribute `name` to an array that is saved with the model but not trained.

        Raises TypeError for anything but an array of real numbers, ValueError for a name that is taken or has a dot.
        """
        check_buffer(self, name)
        setattr(self, name, values_of(array, f"register_buffer({name!r}): the buffer"))
        self._buffers = tuple(dict.fromkeys((*self._buffers, name)))

    def buffer_places(self) -> list[tuple[Module, str]]:
        """(module, name) of each buffer: the module that holds the buffer, and the attribute."""
        return [(m, name) for m in self.modules() for name in m._buffers if is_array(vars(m).get(name))]

    # --- modes and places ---

    @replaceable
    def train(self, mode: bool = True) -> Module:
        """Switch dropout, noise and batch statistics on (or off) in this module and all inside it.

        Inside `evaluating` a change of the switch shows when the block has ended.
        """
        for module in list(self.modules()):  # a list: an error while looking must leave all switches as they were
            module.training = mode
        return self

    def eval(self) -> Module:
        return self.train(False)

    @replaceable
    def requires_grad_(self, wanted: bool = True) -> Module:
        """Freeze all parameters (False), or let them be trained again. Raises TypeError for parameters of integers."""
        for p in self.parameters():
            p.requires_grad = wanted
        return self

    def zero_grad(self) -> None:
        """Set every parameter's `.grad` to None."""
        for p in self.parameters():
            if p.requires_grad:
                p.grad = None

    @replaceable
    def to(self, where: Any) -> Module:
        """Move to a device ('cpu', 'gpu', 'gpu:1') or convert to a dtype (np.float64), in place; gradients go.

        Shared arrays stay shared. Nothing changes where the device or the dtype cannot be had.
        """
        places = [(place, place.array) for place in places_in(self)]
        new = {id(array): converted(array, where) for _, array in places}
        for place, array in places:
            place.put(new[id(array)])
        self.zero_grad()
        return self

    # --- looking at it ---

    def describe(self) -> str:
        """The text between the parentheses in `repr`: nothing here, the options in a layer."""
        return ""

    @recursive_repr("...")
    def __repr__(self) -> str:
        count = self.count_parameters()
        own = titled(self) + (f"  # {count:,} parameters" if count else "")
        below = [f"({name}): {child!r}" for name, child in self.named_children()]
        return "\n".join([own, *("  " + line for entry in below for line in entry.split("\n"))])


def titled(module: Module) -> str:
    """The class and the options of a module: `Linear(784, 64)`."""
    return f"{type(module).__name__}({module.describe()})"


def device_of_model(model: Module) -> str:
    """The device of the first parameter; the CPU for a model that has none."""
    return next((p.device for p in model.parameters()), "cpu")


@replaceable
@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Eval mode for `model` and all inside it, in this block. Then the modules have their modes of before."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@replaceable
def taken(module: Module, x: Any) -> Any:
    """A first input that is no Tensor, as `forward` gets it."""
    return x


@replaceable
def check_buffer(owner: Module, name: str) -> None:
    """Refuse a name that a buffer cannot have."""


def converted(array: Array, where: Any) -> Array:
    """`array` on another device or in another dtype, see `Module.to`. Integers keep their dtype."""
    if isinstance(where, str) and where.partition(":")[0] in ("cpu", "gpu"):
        return to_device(array, where)
    return array.astype(np.dtype(where).newbyteorder("="), copy=False) if array.dtype.kind == "f" else array


# --- the walk over a model -----------------------------------------------------------------------


class Place(NamedTuple):
    """A parameter or a buffer under one of its names."""

    name: str  # from the model
    owner: Module
    attribute: str  # the owner's name for it
    value: Any  # a Parameter, or the buffer's array

    @property
    def array(self) -> Array:
        return data_of(self.value)

    def put(self, array: Array) -> None:
        """Replace the array."""
        if isinstance(self.value, Parameter):
            self.value.data = array
        else:
            setattr(self.owner, self.attribute, array)


@replaceable
def places_in(model: Module) -> Iterator[Place]:
    """The state of a model: its parameters and buffers, under all of their names."""
    for path, module, held in walk(model):
        for name, value in held:
            if isinstance(value, Parameter) or (name in module._buffers and value is not None):
                yield Place(joined(path, name), module, name, value)


Held = list[tuple[str, Any]]  # names and values inside a module


def walk(model: Module, path: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Module, Held]]:
    """(path, module, what is inside) of a model and all modules in it, depth first and under all of their names.

    With a set `seen`, a module comes once, under its first name. A module that contains itself is not entered again.
    """
    stack: list[tuple[str, Module, tuple[int, ...]]] = [(path, model, ())]
    while stack:
        path, module, around = stack.pop()
        if seen is not None:
            if id(module) in seen:
                continue
            seen.add(id(module))
        around = (*around, id(module))
        yield path, module, (held := list(inside(module)))
        for name, value in reversed(held):
            if isinstance(value, Module) and id(value) not in around:
                stack.append((joined(path, name), value, around))


@replaceable
def inside(owner: Module) -> Iterator[tuple[str, Any]]:
    """(name, value) of all attributes of `owner`, and of the items of lists, tuples and dicts: `blocks.0`, `heads.mu`.

    A list that contains itself is not entered again.
    """
    attributes = list(vars(owner).items())  # a list, since another thread may set an attribute meanwhile
    stack: list[tuple[str, Any, tuple[int, ...]]] = [(*item, ()) for item in reversed(attributes)]
    while stack:
        name, value, around = stack.pop()
        if not isinstance(value, (list, tuple, dict)):
            yield name, value
        elif id(value) not in around:
            items = list(value.items() if isinstance(value, dict) else enumerate(value))
            around = (*around, id(value))
            stack.extend((f"{name}.{key}", item, around) for key, item in reversed(items))


def once(named: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Each thing under the first of its names."""
    seen: set[int] = set()
    for name, thing in named:
        if id(thing) not in seen:
            seen.add(id(thing))
            yield name, thing


def joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
