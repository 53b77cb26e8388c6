"""Files: the list of what this room attaches to the core."""

from __future__ import annotations

from typing import Any

from scratchae import random
from scratchae.attach import attach
from scratchae.autograd import Tensor
from scratchae.callbacks import Callback, EarlyStopping
from scratchae.data.loader import DataLoader, batches_of
from scratchae.files import callbacks, history, optimizer_states, pickles, states
from scratchae.files.data import batches_of_files, fingerprint
from scratchae.files.identity import Options, noting
from scratchae.files.interrupts import Signals
from scratchae.files.random_state import check_random_state, random_state, set_random_state
from scratchae.files.runs import checkpoints_of
from scratchae.history import History
from scratchae.nn import Module
from scratchae.optim import Optimizer
from scratchae.optim.schedules import LRSchedule
from scratchae.plugins import ORDER

# --- runs: their checkpoints, the signals that end them, and their history ---

kind: Any
for kind in (Module, Callback):
    kind.__new__, kind._made_with = noting(kind), Options()
ORDER["signals"] = lambda run: [Signals()]
ORDER["checkpoint"] = checkpoints_of
History.to_csv = history.to_csv
History.to_json = history.to_json
EarlyStopping.state_dict = callbacks.state_of_stopping  # type: ignore[method-assign, assignment]
EarlyStopping.load_state_dict = callbacks.load_stopping  # type: ignore[method-assign, assignment]

# --- copies and pickles ---

Tensor.__reduce__ = pickles.reduced  # type: ignore[method-assign]

# --- states of modules, optimisers and schedules ---

Module.state_dict, Module.load_state_dict = states.state_dict, states.load_state_dict
Module.save_weights, Module.load_weights = states.save_weights, states.load_weights
Optimizer.state_dict, Optimizer.load_state_dict = optimizer_states.state_dict, optimizer_states.load_state_dict
LRSchedule.state_dict = optimizer_states.schedule_state_dict
LRSchedule.load_state_dict = optimizer_states.load_schedule_state_dict

# --- random numbers and data -----------------------------------------------------------------------

random.random_state = random_state
random.check_random_state = check_random_state
random.set_random_state = set_random_state
DataLoader.fingerprint = fingerprint  # type: ignore[assignment]
attach(batches_of, forward=batches_of_files)
