"""Files: the list of what this room attaches to the core."""

from __future__ import annotations

from scratchae.attach import attach
from scratchae.files.identity import plain_options
from scratchae.made import kept

# --- runs: options as a checkpoint keeps them ---

attach(kept, forward=lambda as_given: plain_options)
