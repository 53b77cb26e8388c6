"""Looking glasses: the list of what this room attaches to the core."""

from __future__ import annotations

from scratchae.attach import attach
from scratchae.debug import summary
from scratchae.debug.hidden import guarded
from scratchae.nn.module import Module, inside

Module.summary, Module._repr_html_ = summary.summary, summary._repr_html_

attach(inside, forward=guarded)
