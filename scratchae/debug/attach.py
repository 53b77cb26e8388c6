"""Looking glasses: the list of what this room attaches to the core."""

from __future__ import annotations

from scratchae.debug import summary
from scratchae.nn import Module

Module.summary, Module._repr_html_ = summary.summary, summary._repr_html_
