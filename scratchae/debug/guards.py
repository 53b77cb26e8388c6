"""Guards: errors for mistakes that the core would answer with an unclear error, or with none.

Each function but `chain` takes a function of the core, and returns the same function behind a check.
"""

from __future__ import annotations

import functools
from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from scratchae.autograd import Tensor
from scratchae.autograd.tensor import Leaf
from scratchae.backend import is_array, plain_array
from scratchae.checks import check_bool, check_number, shown
from scratchae.nn.layer import Layer
from scratchae.nn.linear import Sequential
from scratchae.nn.module import Module, Parameter, Place, converted, titled

# --- modules --------------------------------------------------------------------------------------

_VIEWS: list[type] = [type({}.keys()), type({}.values()), type({}.items())]
_CLOSED = {set, frozenset, deque, UserList, UserDict, ChainMap, MappingProxyType, np.ndarray, *_VIEWS}


def hidden(inside: Callable[[Module], Iterator[tuple[str, Any]]]) -> Callable[[Module], Iterator[tuple[str, Any]]]:
    """`inside` that raises TypeError for a module or a parameter that would be neither trained nor saved."""

    def guard(owner: Module) -> Iterator[tuple[str, Any]]:
        for name, value in inside(owner):
            if type(value) in _CLOSED:
                _refuse_hidden(owner, name, value)
            yield name, value

    return guard


def _refuse_hidden(owner: Module, name: str, value: Any) -> None:
    if isinstance(value, np.ndarray):
        items = value.ravel().tolist() if value.dtype == object else []
    else:
        items = list(value.values() if isinstance(value, Mapping) else value)
    for part in (part for item in items for part in (item if isinstance(item, tuple) else (item,))):
        if isinstance(part, (Module, Parameter)):
            raise TypeError(
                f"{type(owner).__name__}.{name} is a {type(value).__name__} with a {type(part).__name__} in it, "
                "which would be neither trained nor saved; use a list, a tuple or a dict"
            )


def modules(formula: Callable[..., Iterator]) -> Callable[..., Iterator[tuple[str, Module]]]:
    """For `Module.named_modules`: ValueError where two modules have one name."""

    def guard(model: Module, prefix: str = "") -> Iterator[tuple[str, Module]]:
        found: dict[str, Module] = {}
        for name, module in formula(model, prefix):
            _check_name(model, "modules", found.setdefault(name, module) is module, name)
            yield name, module

    return guard


def places(formula: Callable[[Module], Iterator[Place]]) -> Callable[[Module], Iterator[Place]]:
    """For `module.places_in`: ValueError where two values have one name, TypeError for a buffer that is no array."""

    def guard(model: Module) -> Iterator[Place]:
        found: dict[str, Any] = {}
        for place in formula(model):
            name, value = place.name, place.value
            if not isinstance(value, Parameter) and not is_array(value):
                raise TypeError(f"the buffer {name} is a {type(value).__name__}; expected an array")
            _check_name(model, "parameters or buffers", found.setdefault(name, value) is value, name)
            yield place

    return guard


def _check_name(model: Module, kind: str, unique: bool, name: str) -> None:
    if not unique:
        raise ValueError(
            f"{type(model).__name__} has two {kind} of the name {name!r}. Names are attributes and keys, joined with "
            "dots: rename one of these"
        )


def buffer_name(formula: Callable) -> Callable[[Module, str], None]:
    """For `module.check_buffer`."""

    def check(owner: Module, name: str) -> None:
        what = f"register_buffer({name!r})"
        if not isinstance(name, str):
            raise TypeError(f"{what}: expected a name, got {type(name).__name__}")
        if not name or "." in name:
            raise ValueError(f"{what}: a name has at least one character and no dot, which joins names")
        if isinstance(vars(owner).get(name), (Module, Parameter)) or hasattr(Module, name):
            raise ValueError(f"{what}: the {type(owner).__name__} has something else of that name; choose another")

    return check


def input_of_layer(formula: Callable) -> Callable[[Module, Any], Any]:
    """For `module.taken`: a layer's first input as an array of real numbers.

    Raises TypeError that names the layer for another kind of input. A user's subclass with a `forward` of its own takes
    any input.
    """

    def taken(module: Module, x: Any) -> Any:
        own = not type(module).forward.__module__.startswith("scratchae.")
        if own or not isinstance(module, Layer) or isinstance(x, Tensor):
            return x
        if isinstance(x, (int, float, np.generic)):
            x = np.asarray(x, None if isinstance(x, np.generic) else np.float32)
        try:
            return plain_array(x, "the input")
        except TypeError as error:
            raise TypeError(f"{titled(module)}: {error}") from None

    return taken


def chain(self: Sequential, x: Any) -> Any:
    """`Sequential.forward` with the layer's place in the chain in an error."""
    for i, layer in enumerate(self):
        try:
            x = layer(x)
        except (TypeError, ValueError) as error:
            if type(error) in (TypeError, ValueError):  # other classes may take other arguments
                error.args = (f"layer {i}: {error}",)
            raise
    return x


def mode(formula: Callable) -> Callable[..., Module]:
    """For `Module.train`."""
    return lambda model, mode=True: formula(model, check_bool("train: mode", mode))


def wanted(formula: Callable) -> Callable[..., Module]:
    """For `Module.requires_grad_`: TypeError, before anything changes, for parameters of integers."""

    def requires_grad_(model: Module, wanted: bool = True) -> Module:
        wanted = check_bool("requires_grad_: wanted", wanted)
        for name, p in model.named_parameters():
            if wanted and p.dtype.kind != "f":
                raise TypeError(f"requires_grad_: {name} is {p.dtype}; only floating point numbers can be trained")
        return formula(model, wanted)

    return requires_grad_


def where(formula: Callable) -> Callable[[Module, Any], Module]:
    """For `Module.to`: ValueError for what is no device and no dtype, for a model without parameters too."""

    def to(model: Module, where: Any) -> Module:
        empty = np.zeros(0, np.float32)
        if isinstance(where, str) and where.partition(":")[0] in ("cpu", "gpu"):
            converted(empty, where)
            return formula(model, where)
        try:
            known = where is not None and np.dtype(where).kind == "f"
        except Exception:  # NumPy has many ways to refuse what is no dtype
            known = False
        if not known:
            raise ValueError(f"to({shown(where)}): expected 'cpu', 'gpu', 'gpu:<number>' or a floating point dtype")
        return formula(model, where)

    return to


def distance(formula: Callable) -> Callable[..., Any]:
    """For `Autoencoder.distance`: TypeError for a loss that gives several terms, which the kinds could not weigh."""

    def checked(model: Any, output: Any, x: Any, target: Any = None) -> Any:
        found = formula(model, output, x, target)
        if isinstance(found, (Mapping, tuple, list)):
            raise TypeError(
                f"{type(model).__name__}: the loss gave a {type(found).__name__}; expected one Tensor. For several "
                "terms, inherit from the class, and let loss_terms(self, x, target=None) return a dict of them"
            )
        return found

    return functools.wraps(formula)(checked)


# --- initialisation -------------------------------------------------------------------------------


def uniform(formula: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """For `init.uniform_`."""

    def uniform_(t: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
        largest = _largest(t, "uniform_")
        low = check_number("uniform_: low", low, f"[-{largest}, {largest}]")
        high = check_number("uniform_: high", high, f"[{low}, {largest}]")
        check_number("uniform_: high - low", high - low, f"[0, {largest}]")
        return formula(t, low, high)

    return uniform_


def normal(formula: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """For `init.normal_`."""

    def normal_(t: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
        largest = _largest(t, "normal_")
        mean = check_number("normal_: mean", mean, f"[-{largest / 2}, {largest / 2}]")
        std = check_number("normal_: std", std, f"[0, {largest / 100}]")  # no number drawn is as large as 50
        return formula(t, mean, std)

    return normal_


def constant(formula: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """For `init.constant_`."""

    def constant_(t: Tensor, value: float) -> Tensor:
        if _tensor(t, "constant_").dtype.kind in "iu":
            limits = np.iinfo(t.dtype)
            within = f"[{max(limits.min, -(2**53))}, {min(limits.max, 2**53)}]"  # integers that a float holds exactly
        else:
            within = f"[-{_largest(t, 'constant_')}, {_largest(t, 'constant_')}]"
        return formula(t, check_number("constant_: value", value, within))

    return constant_


def fan(formula: Callable[..., int]) -> Callable[..., int]:
    """For `init.fan`."""
    return lambda t, mode: formula(_tensor(t, "initialisation"), mode)


def _tensor(t: Any, what: str) -> Tensor:
    if not isinstance(t, Tensor):
        raise TypeError(f"{what}: expected a Tensor or a Parameter to fill, got {type(t).__name__}")
    return t


def _largest(t: Tensor, what: str) -> float:
    """The largest number that `t` can hold."""
    if _tensor(t, what).dtype.kind != "f":
        raise TypeError(f"{what}: a Tensor of {t.dtype} cannot hold fractions; convert it with .astype('float32')")
    return float(np.finfo(t.dtype).max)


# --- optimisers -----------------------------------------------------------------------------------

_FLAGS = ("nesterov", "amsgrad", "centered")
_BELOW_1 = ("alpha", "betas")
_ADAGRAD = ("lr_decay", "initial_accumulator_value")
_NUMBERS = ("lr", "momentum", "dampening", "eps", "weight_decay", *_ADAGRAD, *_BELOW_1)
_NO_LISTS: dict[Any, str] = {
    Tensor: "pass [tensor]",
    Mapping: "pass [group], or model.parameters()",
    (set, frozenset): "its order differs from run to run, so pass a list",
}


def option(formula: Callable) -> Callable[[str, Any], Any]:
    """For `base.checked_option`: Python's own bool, float or pair of floats in the range of the option.

    NumPy's numbers would make each update compute in float64. Options of a user's optimiser may have other names.
    Raises ValueError for another type, or a value out of range.
    """

    def checked(name: str, value: Any) -> Any:
        if name == "betas":
            pair = value.tolist() if isinstance(value, np.ndarray) else value
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise ValueError(f"betas={shown(value)}; expected two numbers of at least 0 and below 1")
            return tuple(check_number(name, beta, "[0, 1)") for beta in pair)
        if name in _FLAGS or (name not in _NUMBERS and isinstance(value, (bool, np.bool_))):
            return check_bool(name, value)
        return check_number(name, value, "[0, 1)" if name in _BELOW_1 else "[0, inf)")

    return checked


def members(formula: Callable[[Any], list]) -> Callable[[Any], list]:
    """For `base.members`: TypeError for an object that is no list of parameters, or has no fixed order."""

    def listed(params: Any) -> list[Any]:
        iterable = isinstance(params, Iterable)
        found = (advice for kind, advice in _NO_LISTS.items() if isinstance(params, kind))
        if advice := next(found, "" if iterable else "pass model.parameters()"):
            raise TypeError(f"expected a list of parameters, got a {type(params).__name__}; {advice}")
        return formula(params)

    return listed


def tensors(formula: Callable[[Any], list[Tensor]]) -> Callable[[Any], list[Tensor]]:
    """For `base.tensors`: TypeError for anything but Tensors."""
    in_order = members(list)

    def listed(params: Any) -> list[Tensor]:
        given = formula(params if isinstance(params, Tensor) else in_order(params))
        _check_tensors("an optimiser", given)
        return given

    return listed


def _check_tensors(taker: str, given: list) -> None:
    if odd := [type(p).__name__ for p in given if not isinstance(p, Tensor)]:
        raise TypeError(f"{taker} takes Tensors, got a {odd[0]}; pass model.parameters()")


def clipped(formula: Callable[..., float]) -> Callable[..., float]:
    """For `base.clip_grad_norm`: TypeError for anything but Tensors."""

    def clip(params: Any, max_norm: float) -> float:
        if not isinstance(params, Iterable) or isinstance(params, Mapping):
            raise TypeError(f"clip_grad_norm: params is a {type(params).__name__}; pass model.parameters()")
        given = [params] if isinstance(params, Tensor) else list(params)
        _check_tensors("clip_grad_norm", given)
        return formula(given, max_norm)

    return clip


def leaves(formula: Callable) -> Callable[[list[Tensor]], None]:
    """For `base.check_leaves`: ValueError for a result, or for a parameter given twice."""

    def check(params: list[Tensor]) -> None:
        seen: set[int] = set()
        for p in params:
            if p.node is not None and type(p.node) is not Leaf:
                raise ValueError(f"a Tensor of shape {p.shape} is a result; an optimiser can only move leaves")
            if id(p) in seen:
                raise ValueError(f"a parameter of shape {p.shape} is given twice")
            seen.add(id(p))

    return check
