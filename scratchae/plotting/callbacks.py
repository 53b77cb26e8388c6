"""Callbacks that draw: the film strip of learning, and loss curves in a notebook."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scratchae.autograd.tensor import values_of
from scratchae.backend import Array, current, to_device
from scratchae.callbacks import Callback
from scratchae.checks import check_bool, check_count
from scratchae.data.loader import numbers_in
from scratchae.files.callbacks import arrays_by_name
from scratchae.files.disk import check_place
from scratchae.files.states import check_names
from scratchae.nn.module import device_of_model
from scratchae.plotting.images import image_rows
from scratchae.plotting.series import looks_like_series, series_rows
from scratchae.random import fixed_seed

Trainer = Any  # of training.py


class Snapshots(Callback):
    """A film strip of learning: reconstructions of the same images after every `every` epochs, one row each.

    The last row is of the last epoch. The picture at `path` is written anew each time, so that you can watch the
    picture grow. The attribute `frames` maps each row's title ("original", "before", "epoch 1", ...) to its images.

    A model that corrupts its input, such as `DenoisingAutoencoder`, reconstructs noisy images. The noise is drawn once,
    under a fixed seed. The titles are then "noisy", "before", "epoch 1", ..., and "clean".

    Series are drawn as lines. `series` is as in `plotting.reconstructions`.
    """

    only_writes = True

    def __init__(self, images: Array, path: str | os.PathLike[str], every: int = 1, series: bool | None = None):
        if Path(path).suffix not in (".png", ".svg", ".pdf"):
            raise ValueError(f"Snapshots({os.fspath(path)!r}): expected a name that ends in .png, .svg or .pdf")
        array = values_of(images, "Snapshots: images")
        self.images, self.path, self.every = to_device(array, "cpu"), path, check_count("Snapshots: every", every)
        found = looks_like_series(self.images.shape) if series is None else check_bool("Snapshots: series", series)
        self._draw = series_rows if found else image_rows
        self.frames: dict[str, Array] = {}
        self.latest: dict[str, Array] = {}  # of an epoch that has no row, unless it is the last

    def on_fit_begin(self, trainer: Trainer) -> None:
        check_place(self.path)
        model = trainer.model
        if not hasattr(model, "reconstruct"):
            raise TypeError(f"Snapshots: {type(model).__name__} has no reconstruct(); it is for autoencoders")
        denoises = hasattr(model, "corrupt")
        self.frames = {"noisy": _noisy(model, self.images)} if denoises else {"original": self.images}
        self._add({"before": self._reconstructed(trainer)})
        self.frames |= {"clean": self.images} if denoises else {}
        self.latest = {}
        # A trial drawing raises errors early. No file is written yet, since a resumed run may be refused or complete.
        self._draw(self.frames, n=len(self.images))

    def on_epoch_end(self, trainer: Trainer, row: Mapping[str, float]) -> None:
        epoch = len(trainer.history["loss"])
        self.latest = {f"epoch {epoch}": self._reconstructed(trainer)}
        if epoch % self.every == 0:
            self.on_fit_end(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Add the last epoch, unless it has a row."""
        if self.latest:
            self._add(self.latest)
            self.latest = {}
            self._draw(self.frames, self.path, len(self.images))

    def state_dict(self) -> dict[str, Any]:
        return {"frames": self.frames, "latest": self.latest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a state of `state_dict`. Raises ValueError, and changes nothing, for a state that does not fit."""
        check_names(state, ["frames"], newer=["latest"])
        frames = arrays_by_name("Snapshots: frames", state["frames"])
        latest = arrays_by_name("Snapshots: latest", state.get("latest", {}))
        if wrong := [title for title, frame in {**frames, **latest}.items() if frame.shape != self.images.shape]:
            raise ValueError(f"Snapshots: {wrong} have not the shape {self.images.shape}; nothing was loaded")
        self.frames, self.latest = frames, latest

    def _reconstructed(self, trainer: Trainer) -> Array:
        first = next(iter(self.frames.values()))  # the originals, or the noisy ones
        return trainer.model.reconstruct(first)

    def _add(self, frames: dict[str, Array]) -> None:
        """Add rows, before the clean images."""
        clean = {title: self.frames.pop(title) for title in ["clean"] if title in self.frames}
        self.frames = {**self.frames, **frames, **clean}


def _noisy(model: Any, images: Array) -> Array:
    """The images as the model corrupts them, under a fixed seed, on the CPU."""
    device = device_of_model(model)
    with fixed_seed(0), current(device):
        [pixels] = numbers_in([to_device(images, device)], model)
        return to_device(model.corrupt(pixels), "cpu")


class LivePlot(Callback):
    """Loss curves in a notebook, drawn anew after every epoch. Raises RuntimeError without IPython."""

    only_writes = True

    def on_fit_begin(self, trainer: Trainer) -> None:
        if "IPython" not in sys.modules:
            raise RuntimeError("LivePlot draws in a notebook; elsewhere use history.plot('loss.png') or SaveHistory")
        self._shown = None

    def on_epoch_end(self, trainer: Trainer, row: Mapping[str, float]) -> None:
        figure = trainer.history.plot()
        if self._shown is None:
            self._shown = sys.modules["IPython"].display.display(figure, display_id=True)
        elif self._shown:
            self._shown.update(figure)
