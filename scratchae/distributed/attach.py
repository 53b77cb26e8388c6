"""Several processes: the list of what this room attaches to the core and to files/."""

from __future__ import annotations

from scratchae import training
from scratchae.attach import attach
from scratchae.distributed import sharing
from scratchae.files import interrupts, resuming
from scratchae.plugins import ORDER

# --- training by several processes ---

ORDER["processes"] = sharing.sharing_of
attach(training.processes, forward=sharing.joined)
attach(training.batches_of, forward=sharing.part_of_batches)
attach(training.totals_of, forward=sharing.summed)
attach(resuming.state_in, forward=sharing.read_by_the_first)
attach(interrupts.asked, forward=sharing.agreed)
