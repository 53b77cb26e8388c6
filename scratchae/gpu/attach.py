"""GPUs: the list of what this room attaches to the core."""

from __future__ import annotations

from scratchae.gpu.replay import Replay
from scratchae.plugins import ORDER

# --- training: steps that are replayed ---

ORDER["replay"] = lambda run: [Replay()]
