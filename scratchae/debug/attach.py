"""What the looking glasses attach: longer texts for errors, and the watch over memory that a graph still reads."""

from __future__ import annotations

from scratchae import backend, changes
from scratchae.attach import attach
from scratchae.autograd import engine
from scratchae.debug import advice, summary
from scratchae.debug import changes as memory
from scratchae.nn import Module

attach(backend.not_numbers, forward=advice.not_numbers)
attach(backend.no_gpu, forward=advice.no_gpu)
attach(engine.explain, forward=advice.explain)
attach(changes.changed, forward=memory.changed)
attach(changes.check_unchanged, forward=memory.check_unchanged)
Module.summary, Module._repr_html_ = summary.summary, summary._repr_html_
