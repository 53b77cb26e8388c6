"""Files: the list of what this room attaches to the core."""

from __future__ import annotations

from scratchae import random
from scratchae.attach import attach
from scratchae.autograd import Tensor
from scratchae.data.loader import DataLoader, batches_of
from scratchae.files import optimizer_states, pickles, states
from scratchae.files.data import batches_of_files, fingerprint
from scratchae.files.identity import plain_options
from scratchae.files.random_state import check_random_state, random_state, set_random_state
from scratchae.made import kept
from scratchae.nn import Module
from scratchae.optim import Optimizer
from scratchae.optim.schedules import LRSchedule

# --- runs: options as a checkpoint keeps them ---

attach(kept, forward=lambda as_given: plain_options)

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
