"""Files: the list of what this room attaches to the core."""

from __future__ import annotations

from scratchae.attach import attach
from scratchae.files import states
from scratchae.files.identity import plain_options
from scratchae.made import kept
from scratchae.nn import Module

# --- runs: options as a checkpoint keeps them ---

attach(kept, forward=lambda as_given: plain_options)

# --- states of modules, optimisers and schedules ---

Module.state_dict, Module.load_state_dict = states.state_dict, states.load_state_dict
Module.save_weights, Module.load_weights = states.save_weights, states.load_weights
