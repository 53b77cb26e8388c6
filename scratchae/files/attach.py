"""Files: the list of what this room attaches to the core."""

from __future__ import annotations

from scratchae.attach import attach
from scratchae.callbacks import EarlyStopping
from scratchae.files import callbacks, history
from scratchae.files.identity import plain_options
from scratchae.files.interrupts import Signals
from scratchae.files.runs import checkpoints_of
from scratchae.history import History
from scratchae.made import kept
from scratchae.plugins import ORDER

# --- runs: their checkpoints, the signals that end them, and their history ---

attach(kept, forward=lambda as_given: plain_options)
ORDER["signals"] = lambda run: [Signals()]
ORDER["checkpoint"] = checkpoints_of
History.to_csv = history.to_csv
History.to_json = history.to_json
EarlyStopping.state_dict = callbacks.state_of_stopping  # type: ignore[method-assign, assignment]
EarlyStopping.load_state_dict = callbacks.load_stopping  # type: ignore[method-assign, assignment]
