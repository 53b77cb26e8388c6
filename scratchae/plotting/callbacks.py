"""Callbacks that draw: the film strip of learning, and loss curves in a notebook."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scratchae.autograd.tensor import values_of
from scratchae.backend import Array, to_device
from scratchae.callbacks import Callback
from scratchae.checks import check_count
from scratchae.files.callbacks import arrays_by_name
from scratchae.files.disk import check_place
from scratchae.files.states import check_names
from scratchae.plotting.images import image_rows

Trainer = Any  # of training.py


class Snapshots(Callback):
    """A film strip of learning: reconstructions of the same images after every `every` epochs, one row each.

    The picture at `path` is written anew each time, so that you can watch the picture grow. The attribute `frames` maps
    each row's title ("original", "before", "epoch 1", ...) to its images.
    """

    only_writes = True

    def __init__(self, images: Array, path: str | os.PathLike[str], every: int = 1):
        if Path(path).suffix not in (".png", ".svg", ".pdf"):
            raise ValueError(f"Snapshots({os.fspath(path)!r}): expected a name that ends in .png, .svg or .pdf")
        array = values_of(images, "Snapshots: images")
        self.images, self.path, self.every = to_device(array, "cpu"), path, check_count("Snapshots: every", every)
        self.frames: dict[str, Array] = {}

    def on_fit_begin(self, trainer: Trainer) -> None:
        check_place(self.path)
        self.frames = {"original": self.images}
        self._take(trainer, "before")
        # A trial drawing raises errors early. No file is written yet, since a resumed run may be refused or complete.
        image_rows(self.frames, n=len(self.images))

    def on_epoch_end(self, trainer: Trainer, row: Mapping[str, float]) -> None:
        epoch = len(trainer.history["loss"])
        if epoch % self.every == 0:
            self._take(trainer, f"epoch {epoch}")
            image_rows(self.frames, self.path, len(self.images))

    def state_dict(self) -> dict[str, Any]:
        return {"frames": self.frames}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a state of `state_dict`. Raises ValueError, and changes nothing, for a state that does not fit."""
        check_names(state, ["frames"])
        frames = arrays_by_name("Snapshots: frames", state["frames"])
        if wrong := [title for title, frame in frames.items() if frame.shape != self.images.shape]:
            raise ValueError(f"Snapshots: {wrong} have not the shape {self.images.shape}; nothing was loaded")
        self.frames = frames

    def _take(self, trainer: Trainer, title: str) -> None:
        if not hasattr(trainer.model, "reconstruct"):
            raise TypeError(f"Snapshots: {type(trainer.model).__name__} has no reconstruct(); it is for autoencoders")
        self.frames[title] = trainer.model.reconstruct(self.images)


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
