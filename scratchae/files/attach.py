"""What files bring: methods that save, load and compare, set on the classes and modules of the core."""

from __future__ import annotations

from scratchae import random
from scratchae.attach import attach
from scratchae.data.loader import DataLoader, batches_of
from scratchae.files.data import batches_of_files, fingerprint
from scratchae.files.random_state import check_random_state, random_state, set_random_state

# --- random numbers and data -----------------------------------------------------------------------

random.random_state = random_state
random.check_random_state = check_random_state
random.set_random_state = set_random_state
DataLoader.fingerprint = fingerprint  # type: ignore[assignment]
attach(batches_of, forward=batches_of_files)
