"""The state that a training step reads and changes, on the GPU and in Python. A replay needs the same state."""

from __future__ import annotations

from typing import Any

from scratchae import backend, random
from scratchae.gpu import cublas
from scratchae.gpu.updates import counters_of


class State:
    """The state of `model`, `optimizer` and the ledger of the steps (see kernels.cu).

    `kept` holds the model's buffers as they were before the step: (copy, module, name). A step that is not finite puts
    the copies back.
    """

    def __init__(self, model: Any, optimizer: Any, ledger: Any):
        self.model, self.optimizer, self.ledger = model, optimizer, ledger
        self.kept: list[tuple[Any, Any, str]] = []

    @property
    def flats(self) -> list[Any]:
        """The optimiser's flat buffers of now: a group of parameters may have joined."""
        return [flat for _, flat in self.optimizer.updaters()]

    def keep_buffers(self) -> None:
        self.kept = [(getattr(module, name).copy(), module, name) for module, name in self.model.buffer_places()]

    def arrays(self) -> list[Any]:
        """All arrays that a step may write to."""
        arrays = [self.ledger, *(kept for kept, *_ in self.kept)]
        arrays += [getattr(module, name) for _, module, name in self.kept]
        for flat in self.flats:
            arrays += [flat.values, *flat.state.values(), counters_of(flat).numbers]
        return arrays + random.generator(backend.device_of(self.ledger)).arrays()

    def copies(self) -> list[Any]:
        return [a.copy() for a in self.arrays()]

    def counted(self) -> list[tuple[list[int], int, int]]:
        return [(list(flat.steps), counters_of(flat).step, counters_of(flat).corrections) for flat in self.flats]

    def put_back(self, arrays: list[Any], counted: list) -> None:
        for array, value in zip(self.arrays(), arrays, strict=True):
            array[...] = value
        for flat, (steps, step, _) in zip(self.flats, counted, strict=True):
            flat.steps, counters_of(flat).step = list(steps), step

    def python(self) -> dict[str, Any]:
        """The state that Python keeps between steps: the modules' attributes, and the CPU's random numbers."""
        return {**self._attributes(), "the CPU's random generator": repr(random.generator().bit_generator.state)}

    def _attributes(self) -> dict[str, Any]:
        return {
            f"{path}.{name}".lstrip("."): tuple(value) if isinstance(value, list) else value
            for path, module in self.model.named_modules()
            for name, value in vars(module).items()
        }

    def signature(self) -> dict[str, Any]:
        """The arrays that a recording reads and writes, and the options with which the recording was made."""
        places = {
            # Only the gradients' address: with a second reference to their buffer, Flat would make a new buffer.
            f"buffer {i}": (flat.values, flat.gradients.data.ptr, *flat.state.values())
            for i, flat in enumerate(self.flats)
        }
        options = {
            f"group {i}, {name}": tuple(value) if isinstance(value, list) else value
            for i, group in enumerate(self.optimizer.param_groups)
            for name, value in group.items()
            if name != "lr"
        }
        source = random.generator(backend.device_of(self.ledger))
        moving = tuple(p.requires_grad or p.data for p in self.model.parameters())  # frozen: read at its address
        rest = {"moving": moving, "random numbers": source, "TF32": cublas.tf32_allowed()}
        return {**places, **options, **self._attributes(), **rest}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return a is b or (isinstance(a, (int, float, str)) and type(a) is type(b) and a == b)


def difference(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """The first name whose value has changed; None where all values are the same."""
    names = dict.fromkeys([*before, *after])
    return next((n for n in names if n not in before or n not in after or not _same(before[n], after[n])), None)


def same_bits(a: Any, b: Any) -> bool:
    return bool((a.ravel().view("uint8") == b.ravel().view("uint8")).all())
