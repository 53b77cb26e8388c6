"""Module: something with parameters that can be called; layers and whole models alike.

What a module holds is found by looking at its attributes, and into lists, tuples and dicts among them: a
Parameter is trained, a Module is a child, and an array registered as a buffer belongs to the state but is
not trained. Names in `state_dict()` are the attributes' own, joined with dots, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from reprlib import recursive_repr
from typing import Any

import numpy as np

from scratchae.autograd import Tensor
from scratchae.autograd.tensor import values_of
from scratchae.backend import Array, is_array, to_device, xp_of
from scratchae.checks import check_bool, shown
from scratchae.debug import summary
from scratchae.files import storage
from scratchae.files.storage import FilePath
from scratchae.made import MadeWith
from scratchae.nn import loading
from scratchae.nn.inside import inside
from scratchae.nn.modes import evaluated, evaluating

__all__ = ["Module", "Parameter", "device_of_model", "evaluating"]


class Parameter(Tensor):
    """A Tensor that a module trains: a leaf with requires_grad=True."""

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(data, requires_grad)


class Module(MadeWith):
    """Base class of layers and models: assign Parameters and Modules as attributes, define `forward`."""

    _buffers: tuple[str, ...] = ()
    _starts_in_train_mode = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if isinstance(cls.training, bool):  # `training = False` in a class says how its modules start
            cls._starts_in_train_mode = cls.training
            cls.training = Module.training

    @property
    def training(self) -> bool:
        """Whether dropout, noise and batch statistics are on. Inside `evaluating` they are off, whatever the switch."""
        return self.__dict__.get("training", self._starts_in_train_mode) and id(self) not in evaluated.blocks

    @training.setter
    def training(self, mode: bool) -> None:
        self.__dict__["training"] = check_bool(f"{type(self).__name__}: training", mode)

    def forward(self, *inputs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if inputs and type(inputs[0]) is not Tensor:
            inputs = (self._taken(inputs[0]), *inputs[1:])
        out = self.forward(*inputs, **options)
        if summary.watchers:
            for watcher in tuple(summary.watchers):
                watcher.told(self, out)
        return out

    def _taken(self, x: Any) -> Any:
        """What `forward` gets of a first input that is no Tensor: anything here, arrays in a layer."""
        return x

    # --- what is inside ---

    def _inside(self) -> Iterator[tuple[str, Any]]:
        return inside(self, (Module, Parameter))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct children with their names; items of a list attribute are called `name.0`, `name.1`, ..."""
        return ((name, value) for name, value in self._inside() if isinstance(value, Module))

    def children(self) -> Iterator[Module]:
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all inside it, depth first, a shared one once. ValueError where two have one name."""
        names: set[str] = set()
        seen: set[int] = set()
        stack = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if id(module) not in seen:
                seen.add(id(module))
                if name in names:
                    raise self._collision("modules", name)
                names.add(name)
                yield name, module
                below = [(_joined(name, n), child) for n, child in module.named_children()]
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
        what = f"register_buffer({name!r})"
        if not isinstance(name, str):
            raise TypeError(f"{what}: expected a name, got {type(name).__name__}")
        if not name or "." in name:
            raise ValueError(f"{what}: a name has at least one character and no dot, which joins names")
        if isinstance(vars(self).get(name), (Module, Parameter)) or hasattr(Module, name):
            raise ValueError(f"{what}: the {type(self).__name__} has something else of that name; choose another")
        array = values_of(array, f"{what}: the buffer")
        setattr(self, name, array)
        self._buffers = tuple(dict.fromkeys((*self._buffers, name)))

    def buffer_places(self) -> list[tuple[Module, str]]:
        """For each buffer the module that has it, and its name there."""
        return [(m, name) for m in self.modules() for name in m._buffers if is_array(vars(m).get(name))]

    def _walk(self) -> Iterator[tuple[str, Module, list[tuple[str, Any]]]]:
        """(path, module, what is inside) of this module and all in it, under all of their names.

        One that contains itself is not entered again.
        """
        stack: list[tuple[str, Module, tuple[int, ...]]] = [("", self, ())]
        while stack:
            path, module, around = stack.pop()
            held = list(module._inside())
            yield path, module, held
            around = (*around, id(module))
            below = [(_joined(path, name), value, around) for name, value in held if isinstance(value, Module)]
            stack.extend(reversed([entry for entry in below if id(entry[1]) not in around]))

    def _state_places(self) -> Iterator[loading.Place]:
        """Parameters and buffers of this module and all inside it, under all of their names."""
        found: dict[str, Any] = {}
        for path, module, held in self._walk():
            for attribute, value in held:
                if not isinstance(value, Parameter) and (attribute not in module._buffers or value is None):
                    continue
                name = _joined(path, attribute)
                if not isinstance(value, Parameter) and not is_array(value):
                    raise TypeError(f"the buffer {name} is a {type(value).__name__}; expected an array")
                if found.setdefault(name, value) is not value:
                    raise self._collision("parameters or buffers", name)
                yield loading.Place(name, module, attribute, value)

    def _named_state(self) -> Iterator[tuple[str, Any]]:
        return ((place.name, place.value) for place in self._state_places())

    def _collision(self, what: str, name: str) -> ValueError:
        return ValueError(
            f"{type(self).__name__} has two {what} of the name {name!r}. Names are attributes and keys, joined with "
            "dots: rename one of these"
        )

    # --- state ---

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers by name, as arrays on the module's device."""
        arrays = {name: v.data if isinstance(v, Parameter) else v for name, v in self._named_state()}
        return {name: xp_of(a).array(a) for name, a in arrays.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy arrays into the parameters and buffers of the same names; they take the module's dtype and device.

        A parameter with several names needs one of them. All or nothing: raises ValueError that lists every
        missing, unexpected, mis-shaped and contradictory name. PyTorch's `num_batches_tracked` is ignored, unless
        the model has a buffer of that name.
        """
        loading.load(list(self._state_places()), state)

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
        """Switch dropout, noise and batch statistics on (or off) in this module and all inside it.

        Inside `evaluating` they stay off until the block has ended.
        """
        mode = check_bool("train: mode", mode)
        for module in list(self.modules()):  # found first, or none is changed
            module.training = mode
        return self

    def eval(self) -> Module:
        return self.train(False)

    def requires_grad_(self, wanted: bool = True) -> Module:
        """Freeze all parameters (False), or let them be trained again."""
        wanted = check_bool("requires_grad_: wanted", wanted)
        named = list(self.named_parameters())
        for name, p in named:
            if wanted and p.dtype.kind != "f":
                raise TypeError(f"requires_grad_: {name} is {p.dtype}; only floating point numbers can be trained")
        for _, p in named:
            p.requires_grad = wanted
        return self

    def zero_grad(self) -> None:
        """Set every parameter's `.grad` to None."""
        for p in self.parameters():
            if p.requires_grad:
                p.grad = None

    def to(self, where: Any) -> Module:
        """Move to a device ('cpu', 'gpu', 'gpu:1') or convert to a dtype (np.float64), in place; gradients go.

        What is shared stays shared. Nothing changes where the device or the dtype cannot be had.
        """
        _converted(np.zeros(0, np.float32), where)  # also a module without parameters refuses an unknown one
        places = list(self._state_places())
        arrays = {id(place.array): place.array for place in places}
        converted = {number: _converted(array, where) for number, array in arrays.items()}
        for place, array in [(place, converted[id(place.array)]) for place in places]:
            place.put(array)
        self.zero_grad()
        return self

    # --- looking at it ---

    def describe(self) -> str:
        """What stands between the parentheses in `repr`."""
        return ""

    @recursive_repr("...")
    def __repr__(self) -> str:
        count = self.count_parameters()
        own = f"{type(self).__name__}({self.describe()})" + (f"  # {count:,} parameters" if count else "")
        below = [f"({name}): {child!r}" for name, child in self.named_children()]
        return "\n".join([own, *("  " + line for entry in below for line in entry.split("\n"))])

    def _repr_html_(self) -> str:
        """How a notebook shows it: a row per layer."""
        return summary.as_html(self)

    def summary(self, input_shape: tuple[int, ...]) -> None:
        """Print each layer with its output shape and parameter count, for one sample of `input_shape`.

        The model runs once, in eval mode, on a batch of one sample of zeros; `input_shape` does not
        count the batch.
        """
        summary.print_summary(self, input_shape)


def device_of_model(model: Module) -> str:
    """Where its parameters are; the CPU if it has none."""
    for _, _, held in model._walk():
        for _, value in held:
            if isinstance(value, Parameter):
                return value.device  # the first will do: it is asked for at every step
    return "cpu"


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _converted(array: Array, where: Any) -> Array:
    if isinstance(where, str) and where.partition(":")[0] in ("cpu", "gpu"):
        return to_device(array, where)
    try:
        dtype = None if where is None else np.dtype(where).newbyteorder("=")
    except Exception:  # NumPy has many ways to refuse what is no dtype
        dtype = None
    if dtype is None or dtype.kind != "f":
        raise ValueError(f"to({shown(where)}): expected 'cpu', 'gpu', 'gpu:<number>' or a floating point dtype")
    return array.astype(dtype, copy=False) if array.dtype.kind == "f" else array
